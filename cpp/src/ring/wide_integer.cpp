// Layer: ring. See wide_integer.h.
#include "ring/wide_integer.h"

#include <bit>
#include <cmath>

#include "ring/modular.h"

namespace veilsum::ring {

WideInteger WideInteger::power_of_two(unsigned exponent) {
  WideInteger out;
  out.words_[exponent / 64] = std::uint64_t{1} << (exponent % 64);
  return out;
}

WideInteger WideInteger::times(std::uint64_t factor) const {
  WideInteger out;
  uint128 carry = 0;
  for (std::size_t i = 0; i < kWords; ++i) {
    carry += static_cast<uint128>(words_[i]) * factor;
    out.words_[i] = static_cast<std::uint64_t>(carry);
    carry >>= 64;
  }
  return out;
}

WideInteger WideInteger::plus(std::uint64_t value) const {
  WideInteger out;
  uint128 carry = value;
  for (std::size_t i = 0; i < kWords; ++i) {
    carry += words_[i];
    out.words_[i] = static_cast<std::uint64_t>(carry);
    carry >>= 64;
  }
  return out;
}

WideInteger WideInteger::plus(const WideInteger& value) const {
  WideInteger out;
  uint128 carry = 0;
  for (std::size_t i = 0; i < kWords; ++i) {
    carry += static_cast<uint128>(words_[i]) + value.words_[i];
    out.words_[i] = static_cast<std::uint64_t>(carry);
    carry >>= 64;
  }
  return out;
}

WideInteger WideInteger::times(const WideInteger& factor) const {
  WideInteger out;
  for (unsigned i = 0; i < kWords; ++i) {
    if (factor.words_[i] != 0) out = out.plus(times(factor.words_[i]).shifted_left(64 * i));
  }
  return out;
}

WideInteger WideInteger::low_bits(unsigned bits) const {
  WideInteger out;
  for (unsigned i = 0; i < kWords && 64 * i < bits; ++i) {
    const unsigned here = bits - 64 * i;
    out.words_[i] = here >= 64 ? words_[i] : words_[i] & ((std::uint64_t{1} << here) - 1);
  }
  return out;
}

WideInteger WideInteger::divided_by(std::uint64_t divisor) const {
  WideInteger out;
  uint128 rest = 0;
  for (std::size_t i = kWords; i-- > 0;) {
    rest = (rest << 64) | words_[i];
    out.words_[i] = static_cast<std::uint64_t>(rest / divisor);
    rest %= divisor;
  }
  return out;
}

WideInteger WideInteger::shifted_left(unsigned bits) const {
  WideInteger out = *this;
  for (; bits >= 32; bits -= 32) out = out.times(std::uint64_t{1} << 32);
  return out.times(std::uint64_t{1} << bits);
}

WideInteger WideInteger::shifted_right(unsigned bits) const {
  WideInteger out;
  const unsigned skip = bits / 64;
  const unsigned part = bits % 64;
  for (unsigned i = 0; i + skip < kWords; ++i) {
    std::uint64_t word = words_[i + skip] >> part;
    if (part != 0 && i + skip + 1 < kWords) word |= words_[i + skip + 1] << (64 - part);
    out.words_[i] = word;
  }
  return out;
}

std::uint64_t WideInteger::mod(std::uint64_t q) const {
  uint128 rest = 0;
  for (std::size_t i = kWords; i-- > 0;) rest = ((rest << 64) | words_[i]) % q;
  return static_cast<std::uint64_t>(rest);
}

unsigned WideInteger::bit_length() const noexcept {
  for (unsigned i = kWords; i-- > 0;) {
    if (words_[i] != 0) return 64 * i + static_cast<unsigned>(std::bit_width(words_[i]));
  }
  return 0;
}

double WideInteger::to_double() const noexcept {
  // The top 64 bits carry more precision than a double; dropping the rest moves the value by less
  // than 2^-63 of itself.
  const unsigned length = bit_length();
  if (length <= 64) return static_cast<double>(words_[0]);
  const WideInteger top = shifted_right(length - 64);
  return std::ldexp(static_cast<double>(top.words_[0]), static_cast<int>(length - 64));
}

std::uint64_t WideInteger::word52(unsigned i) const noexcept {
  return shifted_right(52 * i).words_[0] & ((std::uint64_t{1} << 52) - 1);
}

bool operator<(const WideInteger& a, const WideInteger& b) noexcept {
  for (std::size_t i = WideInteger::kWords; i-- > 0;) {
    if (a.words_[i] != b.words_[i]) return a.words_[i] < b.words_[i];
  }
  return false;
}

}  // namespace veilsum::ring
