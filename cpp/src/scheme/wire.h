// Layer: scheme. The envelope every serialised object travels in: magic, version, kind, length,
// payload, CRC-32C. docs/wire-format.md describes all payloads byte by byte. The checksum finds
// accidents; authenticity comes from ids, signatures and sealed keys.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <span>
#include <string>

#include "base/bytes.h"
#include "base/file_io.h"

namespace veilsum::scheme {

/// Kinds of objects, the same for all engines: a plan names its engine, and whatever belongs to a
/// round has the round's.
enum class ObjectKind : std::uint16_t {
  kPlan = 1,
  kPublicKey = 2,
  kSecretKey = 3,
  kRound = 4,
  kUpload = 5,
  kAggregate = 6,
  kOpeningRequest = 7,
  kSumKey = 8,
  kDecryptionShare = 9,  ///< of an engine whose key holders share one key
  kPublicIdentity = 10,
  kMemberRequest = 11,
  kEndorsement = 12,
  kCertificate = 13,
  kAnswer = 14,
  kGroup = 15,  ///< a group's keys, sealed to one of its clients each
  kChallengeAnswer = 16,
  kVerdict = 17,
};

inline constexpr std::uint16_t kWireVersion = 2;
inline constexpr std::size_t kEnvelopeHeaderBytes = 16;
inline constexpr std::size_t kEnvelopeTrailerBytes = 4;

/// Name of a kind for messages: "upload", "sum key", ...
std::string kind_name(ObjectKind kind);

/// What stands before and after a payload.
struct Frame {
  std::size_t total;  ///< bytes of the object
  Bytes header;
  Bytes trailer;
};
/// The frame of a payload given in parts, for objects that are written without joining them.
Frame frame_around(ObjectKind kind, std::span<const ByteView> parts);

/// The object around a payload given in parts: header, parts, checksum. One allocation of the final
/// size, so that a secret payload leaves no smaller copies behind.
Bytes seal(ObjectKind kind, std::span<const ByteView> parts);
inline Bytes seal(ObjectKind kind, std::initializer_list<ByteView> parts) {
  return seal(kind, std::span(parts.begin(), parts.size()));
}

/// Writes the same bytes to a file, without joining the parts in memory.
void seal_to_file(const std::string& path, FileKind file_kind, ObjectKind kind,
                  std::initializer_list<ByteView> parts);

/// The 16 bytes before a payload, of an object of `total_bytes` in all.
Bytes envelope_header(ObjectKind kind, std::uint64_t total_bytes);
/// Checks magic, version, kind and length of an object of `actual_bytes`, given its first bytes;
/// for objects that are read in portions, whose checksum their reader must check.
/// @throws WireFormatError naming the first of them that is wrong
void check_envelope_header(ByteView first_bytes, std::uint64_t actual_bytes, ObjectKind kind);
/// Refuses a file with an object of another kind, by its first bytes alone: for files that are then
/// read under rules that such an object does not keep.
/// @throws WireFormatError; std::system_error
void refuse_other_kind(const std::string& path, ObjectKind kind);
/// Reads an object of `actual_bytes` in portions for its checksum alone; `read` fills the given
/// bytes from an offset on. For when something in it is wrong: damage is told before anything else.
/// @throws WireFormatError when the checksum is wrong
void check_checksum_of(const std::function<void(std::uint64_t, std::span<std::uint8_t>)>& read,
                       std::uint64_t actual_bytes, ObjectKind kind);
/// What a damaged object is refused with.
[[noreturn]] void refuse_checksum(ObjectKind kind);

/// CRC-32C of a followed by b, from crc(a), crc(b) and b's length: a's register is carried over
/// `bytes_of_b` zero bytes, a multiplication by x^(8 bytes_of_b) modulo the polynomial.
std::uint32_t crc32c_combine(std::uint32_t crc_of_a, std::uint32_t crc_of_b,
                             std::uint64_t bytes_of_b) noexcept;

/// Checks magic, version, kind, length and checksum and returns the payload.
/// @throws WireFormatError naming the first of them that is wrong
ByteView open_envelope(ByteView bytes, ObjectKind kind);

}  // namespace veilsum::scheme
