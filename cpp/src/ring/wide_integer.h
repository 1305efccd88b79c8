// Layer: ring. Non-negative integers below 2^512 for set-up: products of primes, Delta, divisors
// and the planner's inequality. Not constant-time; never sees a secret.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace veilsum::ring {

class WideInteger {
 public:
  WideInteger() = default;
  explicit WideInteger(std::uint64_t value) { words_[0] = value; }

  /// 2^exponent, exponent < 512.
  static WideInteger power_of_two(unsigned exponent);

  /// this * factor; the caller keeps the product below 2^512.
  WideInteger times(std::uint64_t factor) const;
  WideInteger times(const WideInteger& factor) const;
  WideInteger plus(std::uint64_t value) const;
  WideInteger plus(const WideInteger& value) const;
  WideInteger shifted_left(unsigned bits) const;
  WideInteger shifted_right(unsigned bits) const;
  /// this mod 2^bits, bits < 512.
  WideInteger low_bits(unsigned bits) const;
  /// floor(this / divisor), divisor >= 1.
  WideInteger divided_by(std::uint64_t divisor) const;
  std::uint64_t mod(std::uint64_t q) const;
  /// Number of significant bits; 0 for zero.
  unsigned bit_length() const noexcept;
  /// Nearest double (relative error below 2^-52).
  double to_double() const noexcept;
  /// Word i of the base-2^52 representation.
  std::uint64_t word52(unsigned i) const noexcept;
  std::uint64_t low64() const noexcept { return words_[0]; }

  friend bool operator<(const WideInteger& a, const WideInteger& b) noexcept;
  friend bool operator==(const WideInteger&, const WideInteger&) = default;

 private:
  static constexpr std::size_t kWords = 8;
  std::array<std::uint64_t, kWords> words_{};
};

}  // namespace veilsum::ring
