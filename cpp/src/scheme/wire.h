// Layer: scheme. The envelope every serialised object travels in: magic, version, kind, length,
// payload, CRC-32C. docs/wire-format.md describes all payloads byte by byte. The checksum finds
// accidents; authenticity comes from ids, signatures and the capsule's own check.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "base/bytes.h"

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

/// Header and trailer around a payload given in parts; header || parts || trailer is the object.
struct Envelope {
  Bytes header;
  Bytes trailer;
};
Envelope seal_envelope(ObjectKind kind, std::span<const ByteView> parts);

/// Checks magic, version, kind, length and checksum and returns the payload.
/// @throws WireFormatError naming the first of them that is wrong
ByteView open_envelope(ByteView bytes, ObjectKind kind);

}  // namespace veilsum::scheme
