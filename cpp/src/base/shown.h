// Layer: base. How an argument may stand in a message: only where it cannot be a secret. The value
// of an argument helps whoever mistyped it, but a key, a seed or an update in the wrong place would
// stand in logs. So counts and short words are shown, and of everything else its size alone.
#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace veilsum {

/// Sizes and counts have fewer bits; a longer number may be a seed or a key.
inline constexpr int kShownBits = 48;
/// Names of options are shorter; 22 letters are already enough for a key of 128 bits in base64.
inline constexpr std::size_t kShownLetters = 16;

template <std::integral T>
std::string shown(T number) {
  // Negated as an unsigned number: the smallest one has no counterpart.
  const auto bits = static_cast<std::uint64_t>(number);
  const std::uint64_t magnitude = std::cmp_less(number, 0) ? 0 - bits : bits;
  if (std::bit_width(magnitude) <= kShownBits) return std::to_string(number);
  return "a number of " + std::to_string(std::bit_width(magnitude)) + " bits";
}

inline std::string shown(std::string_view word) {
  bool plain = word.size() <= kShownLetters;
  for (const char letter : word) {
    plain = plain && ((letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z') ||
                      (letter >= '0' && letter <= '9') || letter == '_' || letter == '-' ||
                      letter == '.' || letter == ' ');
  }
  if (plain) return '"' + std::string(word) + '"';
  return "a text of " + std::to_string(word.size()) + " bytes";
}

}  // namespace veilsum
