// Layer: tests. Hexadecimal test vectors to bytes and back.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace veilsum::test {

using Bytes = std::vector<std::uint8_t>;

/// Hexadecimal digits, spaces allowed, to bytes.
inline Bytes from_hex(std::string_view text) {
  Bytes bytes;
  int high = -1;
  for (const char c : text) {
    if (c == ' ') continue;
    const int digit = c <= '9' ? c - '0' : c - 'a' + 10;
    if (high < 0) {
      high = digit;
    } else {
      bytes.push_back(static_cast<std::uint8_t>(16 * high + digit));
      high = -1;
    }
  }
  return bytes;
}

inline std::string to_hex(const std::uint8_t* data, std::size_t size) {
  constexpr const char* kDigits = "0123456789abcdef";
  std::string text;
  for (std::size_t i = 0; i < size; ++i) {
    text += kDigits[data[i] >> 4];
    text += kDigits[data[i] & 15];
  }
  return text;
}

inline std::string to_hex(const Bytes& bytes) { return to_hex(bytes.data(), bytes.size()); }

}  // namespace veilsum::test
