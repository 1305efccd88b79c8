// Layer: tests. Ledger files as docs/wire-format.md has them, made apart from scheme/: what the
// code writes is compared with them, and what it reads is made of them.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>

#include "base/bytes.h"

namespace veilsum::test {

inline constexpr std::size_t kLedgerHead = 48;

/// CRC-32C, bit by bit.
inline std::uint32_t plain_crc32c(const std::string& bytes) {
  std::uint32_t crc = 0xffffffffu;
  for (const char byte : bytes) {
    crc ^= static_cast<std::uint8_t>(byte);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1u) != 0 ? 0x82f63b78u : 0u);
  }
  return ~crc;
}

inline std::string number_bytes(std::uint64_t value, std::size_t count) {
  std::string out;
  for (std::size_t i = 0; i < count; ++i) out.push_back(static_cast<char>(value >> (8 * i)));
  return out;
}

inline std::string text_of_digest(const Digest& digest) {
  return {reinterpret_cast<const char*>(digest.data()), digest.size()};
}

/// The header of a ledger: of opened rounds (1) or of a member (2).
inline std::string ledger_head(int kind, const Digest& owner) {
  std::string out = "VSLEDG1\n";
  out.push_back(static_cast<char>(kind));
  out += std::string(3, '\0') + text_of_digest(owner);
  return out + number_bytes(plain_crc32c(out), 4);
}

/// `file` with one record more.
inline std::string with_record(const std::string& file, const std::string& payload) {
  const std::string length = number_bytes(payload.size(), 4);
  return file + length + number_bytes(plain_crc32c(number_bytes(file.size(), 8) + length), 4) +
         payload + number_bytes(plain_crc32c(payload), 4);
}

}  // namespace veilsum::test
