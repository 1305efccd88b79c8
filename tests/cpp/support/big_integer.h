// Layer: tests. Non-negative integers of any size, schoolbook style, in base 2^32: the oracle for
// every bound and product that outgrows 128 bits. Written apart from ring/wide_integer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <ostream>
#include <vector>

namespace veilsum::test {

class BigInteger {
 public:
  BigInteger(std::uint64_t value = 0) {  // NOLINT: numbers convert on purpose
    while (value != 0) {
      words_.push_back(static_cast<std::uint32_t>(value));
      value >>= 32;
    }
  }
  static BigInteger power_of_two(unsigned exponent) {
    BigInteger out;
    out.words_.assign(exponent / 32 + 1, 0);
    out.words_.back() = std::uint32_t{1} << (exponent % 32);
    return out;
  }

  friend BigInteger operator+(const BigInteger& a, const BigInteger& b) {
    BigInteger out;
    std::uint64_t carry = 0;
    for (std::size_t i = 0; i < a.words_.size() || i < b.words_.size() || carry != 0; ++i) {
      carry += std::uint64_t{a.word(i)} + b.word(i);
      out.words_.push_back(static_cast<std::uint32_t>(carry));
      carry >>= 32;
    }
    return out.trimmed();
  }
  /// a - b for a >= b.
  friend BigInteger operator-(const BigInteger& a, const BigInteger& b) {
    BigInteger out;
    std::int64_t borrow = 0;
    for (std::size_t i = 0; i < a.words_.size(); ++i) {
      const std::int64_t difference =
          static_cast<std::int64_t>(a.word(i)) - static_cast<std::int64_t>(b.word(i)) + borrow;
      out.words_.push_back(static_cast<std::uint32_t>(difference));
      borrow = difference < 0 ? -1 : 0;
    }
    return out.trimmed();
  }
  friend BigInteger operator*(const BigInteger& a, const BigInteger& b) {
    BigInteger out;
    out.words_.assign(a.words_.size() + b.words_.size(), 0);
    for (std::size_t i = 0; i < a.words_.size(); ++i) {
      std::uint64_t carry = 0;
      for (std::size_t j = 0; j < b.words_.size(); ++j) {
        carry += std::uint64_t{a.words_[i]} * b.words_[j] + out.words_[i + j];
        out.words_[i + j] = static_cast<std::uint32_t>(carry);
        carry >>= 32;
      }
      out.words_[i + b.words_.size()] = static_cast<std::uint32_t>(carry);
    }
    return out.trimmed();
  }
  /// floor(this / 2^bits)
  BigInteger shifted_right(unsigned bits) const {
    BigInteger out;
    for (std::size_t i = bits / 32; i < words_.size(); ++i) {
      const std::uint64_t pair = std::uint64_t{word(i + 1)} << 32 | word(i);
      out.words_.push_back(static_cast<std::uint32_t>(pair >> (bits % 32)));
    }
    return out.trimmed();
  }
  /// this mod 2^bits
  BigInteger low_bits(unsigned bits) const {
    return *this - shifted_right(bits) * power_of_two(bits);
  }
  BigInteger power(unsigned exponent) const {
    BigInteger out(1);
    for (unsigned i = 0; i < exponent; ++i) out = out * *this;
    return out;
  }
  /// floor(a / b) for b > 0, bit by bit.
  friend BigInteger operator/(const BigInteger& a, const BigInteger& b) {
    BigInteger quotient, rest;
    quotient.words_.assign(a.words_.size(), 0);
    rest.words_.assign(b.words_.size() + 1, 0);
    for (unsigned bit = a.bit_length(); bit-- > 0;) {
      std::uint32_t carry = (a.words_[bit / 32] >> (bit % 32)) & 1u;
      for (std::uint32_t& word : rest.words_) {
        const std::uint32_t top = word >> 31;
        word = word << 1 | carry;
        carry = top;
      }
      if (rest.subtract_if_at_least(b)) quotient.words_[bit / 32] |= std::uint32_t{1} << (bit % 32);
    }
    return quotient.trimmed();
  }
  /// Remainder by a divisor below 2^63.
  std::uint64_t mod(std::uint64_t divisor) const {
    std::uint64_t rest = 0;
    for (unsigned bit = bit_length(); bit-- > 0;) {
      rest = 2 * rest + ((words_[bit / 32] >> (bit % 32)) & 1u);
      if (rest >= divisor) rest -= divisor;
    }
    return rest;
  }
  unsigned bit_length() const {
    unsigned length = 32 * static_cast<unsigned>(words_.size());
    while (length != 0 && ((words_[(length - 1) / 32] >> ((length - 1) % 32)) & 1u) == 0) --length;
    return length;
  }
  bool is_zero() const { return words_.empty(); }
  std::uint64_t low64() const { return std::uint64_t{word(1)} << 32 | word(0); }

  friend bool operator==(const BigInteger&, const BigInteger&) = default;
  friend bool operator<(const BigInteger& a, const BigInteger& b) {
    if (a.words_.size() != b.words_.size()) return a.words_.size() < b.words_.size();
    for (std::size_t i = a.words_.size(); i-- > 0;) {
      if (a.words_[i] != b.words_[i]) return a.words_[i] < b.words_[i];
    }
    return false;
  }
  friend bool operator>=(const BigInteger& a, const BigInteger& b) { return !(a < b); }
  friend std::ostream& operator<<(std::ostream& out, const BigInteger& value) {
    constexpr const char* kDigits = "0123456789abcdef";
    out << "0x";
    for (unsigned nibble = (value.bit_length() + 3) / 4; nibble-- > 0;) {
      out << kDigits[(value.words_[nibble / 8] >> (nibble % 8 * 4)) & 15u];
    }
    return out;
  }

 private:
  std::uint32_t word(std::size_t i) const { return i < words_.size() ? words_[i] : 0; }
  /// this -= b when this >= b. This may have leading zeros, and has more words than b.
  bool subtract_if_at_least(const BigInteger& b) {
    for (std::size_t i = words_.size(); i-- > 0;) {
      if (words_[i] > b.word(i)) break;
      if (words_[i] < b.word(i)) return false;
    }
    std::int64_t borrow = 0;
    for (std::size_t i = 0; i < words_.size(); ++i) {
      const std::int64_t difference =
          static_cast<std::int64_t>(words_[i]) - static_cast<std::int64_t>(b.word(i)) + borrow;
      words_[i] = static_cast<std::uint32_t>(difference);
      borrow = difference < 0 ? -1 : 0;
    }
    return true;
  }
  BigInteger trimmed() const {
    BigInteger out = *this;
    while (!out.words_.empty() && out.words_.back() == 0) out.words_.pop_back();
    return out;
  }

  std::vector<std::uint32_t> words_;  // little-endian, no leading zeros
};

}  // namespace veilsum::test
