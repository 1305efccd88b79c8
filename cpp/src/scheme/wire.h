// Layer: scheme. The envelope every serialised object travels in: magic, version, kind, length,
// payload, CRC-32C. docs/wire-format.md describes all payloads byte by byte. The checksum finds
// accidents; authenticity comes from ids, signatures and the capsule's own check.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>

#include "base/bytes.h"
#include "base/file_io.h"

namespace veilsum::scheme {

enum class ObjectKind : std::uint16_t {
  kPlan = 1,
  kPublicKey = 2,
  kSecretKey = 3,
  kRound = 4,
  kUpload = 5,
  kAggregate = 6,
  kOpeningRequest = 7,
  kSumKey = 8,
};

inline constexpr std::uint16_t kWireVersion = 1;
inline constexpr std::size_t kEnvelopeHeaderBytes = 16;
inline constexpr std::size_t kEnvelopeTrailerBytes = 4;

/// Name of a kind for messages: "upload", "sum key", ...
std::string kind_name(ObjectKind kind);

/// The object around a payload given in parts: header, parts, checksum. One allocation of the final
/// size, so that a secret payload leaves no smaller copies behind.
Bytes seal(ObjectKind kind, std::initializer_list<ByteView> parts);

/// Writes the same bytes to a file, without joining the parts in memory.
void seal_to_file(const std::string& path, FileKind file_kind, ObjectKind kind,
                  std::initializer_list<ByteView> parts);

/// Checks magic, version, kind, length and checksum and returns the payload.
/// @throws WireFormatError naming the first of them that is wrong
ByteView open_envelope(ByteView bytes, ObjectKind kind);

}  // namespace veilsum::scheme
