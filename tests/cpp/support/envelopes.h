// Layer: tests. Envelopes as bytes, apart from scheme/wire.cpp: sealed, opened, and put right again
// after damage, since a checksum hides most of a parser from it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "isa/dispatch.h"
#include "support/bytes.h"

namespace veilsum::test {

inline constexpr std::size_t kHeaderBytes = 16;
inline constexpr std::size_t kTrailerBytes = 4;

/// Puts the right CRC-32C at the end.
inline void repair_checksum(Bytes& object) {
  if (object.size() < kTrailerBytes) return;
  const std::size_t body = object.size() - kTrailerBytes;
  const std::uint32_t crc = isa::kernels().crc32c(0, object.data(), body);
  std::memcpy(object.data() + body, &crc, sizeof crc);
}

/// Puts the right length into the header, then the right checksum at the end.
inline void repair_length(Bytes& object) {
  if (object.size() >= kHeaderBytes) {
    const std::uint64_t total = object.size();
    std::memcpy(object.data() + 8, &total, sizeof total);
  }
  repair_checksum(object);
}

/// Versions of the format: this one, and the one before it, of which nothing is read any more.
inline constexpr std::uint8_t kVersion = 2;
inline constexpr std::uint8_t kFormerVersion = 1;

/// An envelope around a payload, written apart from scheme/wire.cpp.
inline Bytes envelope_of(std::uint16_t kind, const Bytes& payload,
                         std::uint8_t version = kVersion) {
  Bytes object = {'V',
                  'S',
                  'U',
                  'M',
                  version,
                  0,
                  static_cast<std::uint8_t>(kind),
                  static_cast<std::uint8_t>(kind >> 8)};
  object.resize(kHeaderBytes);
  object.insert(object.end(), payload.begin(), payload.end());
  object.resize(object.size() + kTrailerBytes);
  repair_length(object);
  return object;
}

/// The same object with another version in its header, its checksum right.
inline Bytes with_version(Bytes object, std::uint8_t version) {
  object[4] = version;
  repair_checksum(object);
  return object;
}

inline Bytes payload_of(const Bytes& object) {
  return {object.begin() + kHeaderBytes, object.end() - static_cast<std::ptrdiff_t>(kTrailerBytes)};
}

}  // namespace veilsum::test
