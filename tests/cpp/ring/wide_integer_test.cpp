// Layer: tests (ring). 512-bit set-up arithmetic against 128-bit numbers of the compiler, against
// the tests' own unbounded integers, and against values known from outside.
#include "ring/wide_integer.h"

#include <cmath>
#include <cstdint>

#include "check.h"
#include "ring/block_arithmetic.h"
#include "ring/primes.h"
#include "support/big_integer.h"
#include "support/modulus.h"
#include "support/random.h"

namespace veilsum::test {
namespace {

using ring::WideInteger;

/// The same number, word by word.
BigInteger big(const WideInteger& x) {
  BigInteger out;
  for (unsigned i = 8; i-- > 0;) {
    out = out * BigInteger::power_of_two(64) + BigInteger(x.shifted_right(64 * i).low64());
  }
  return out;
}

WideInteger random_wide(Random& random, unsigned bits) {
  WideInteger out;
  for (unsigned done = 0; done < bits; done += 32) {
    const unsigned now = bits - done < 32 ? bits - done : 32;
    const std::uint64_t word =
        random.next() & 3 ? random.next() >> (64 - now) : (std::uint64_t{1} << now) - 1;
    out = out.times(std::uint64_t{1} << now).plus(word);
  }
  return out;
}

TEST("products and sums against 128-bit arithmetic") {
  Random random(1);
  for (int i = 0; i < 5000; ++i) {
    const std::uint64_t a = random.edgy(~std::uint64_t{0}), b = random.edgy(~std::uint64_t{0});
    const Uint128 product = static_cast<Uint128>(a) * b;
    const WideInteger wide = WideInteger(a).times(b);
    CHECK_EQ(wide.low64(), static_cast<std::uint64_t>(product));
    CHECK_EQ(wide.shifted_right(64).low64(), static_cast<std::uint64_t>(product >> 64));
    const WideInteger sum = WideInteger(a).plus(b);
    const Uint128 expected = static_cast<Uint128>(a) + b;
    CHECK_EQ(sum.low64(), static_cast<std::uint64_t>(expected));
    CHECK_EQ(sum.shifted_right(64).low64(), static_cast<std::uint64_t>(expected >> 64));
    CHECK(WideInteger(a).times(WideInteger(b)) == wide);
    CHECK(WideInteger(a).plus(WideInteger(b)) == sum);
    const std::uint64_t q = 1 + random.edgy(~std::uint64_t{0});
    CHECK_EQ(wide.mod(q), static_cast<std::uint64_t>(product % q));
    const Uint128 quotient = product / q;
    CHECK_EQ(wide.divided_by(q).low64(), static_cast<std::uint64_t>(quotient));
    CHECK_EQ(wide.divided_by(q).shifted_right(64).low64(),
             static_cast<std::uint64_t>(quotient >> 64));
  }
}

TEST("everything up to 512 bits against unbounded integers") {
  Random random(2);
  for (unsigned bits = 1; bits <= 512; ++bits) {
    const WideInteger x = random_wide(random, bits);
    const BigInteger expected = big(x);
    CHECK_EQ(x.bit_length(), expected.bit_length());
    const std::uint64_t factor = random.edgy(~std::uint64_t{0});
    if (bits <= 448) {
      CHECK_EQ(big(x.times(factor)), expected * BigInteger(factor));
      CHECK_EQ(big(x.plus(factor)), expected + BigInteger(factor));
    }
    for (unsigned shift = 0; shift <= 512 - bits; shift += 1 + shift % 13) {
      CHECK_EQ(big(x.shifted_left(shift)), expected * BigInteger::power_of_two(shift));
    }
    for (unsigned shift = 0; shift <= 512; shift += 1 + shift % 7) {
      CHECK_EQ(big(x.shifted_right(shift)), expected.shifted_right(shift));
      if (shift < 512) CHECK_EQ(big(x.low_bits(shift)), expected.low_bits(shift));
    }
    for (const std::uint64_t q : ring::kPrimes) CHECK_EQ(x.mod(q), expected.mod(q));
    CHECK_EQ(x.mod(1), 0u);
    for (unsigned word = 0; word < 10; ++word) {
      CHECK_EQ(x.word52(word), expected.shifted_right(52 * word).mod(std::uint64_t{1} << 52));
    }
    const WideInteger y = random_wide(random, bits);
    CHECK_EQ(x < y, expected < big(y));
    CHECK_EQ(x == y, expected == big(y));
    CHECK(!(x < x));
    if (bits < 512) CHECK(x < x.plus(1));
  }
}

TEST("products and sums of two wide numbers, up to 512 bits") {
  Random random(4);
  for (unsigned bits = 1; bits < 512; bits += 3) {
    const WideInteger x = random_wide(random, bits), y = random_wide(random, 512 - bits);
    CHECK_EQ(big(x.times(y)), big(x) * big(y));
    CHECK(x.times(y) == y.times(x));
    const WideInteger z = random_wide(random, 511);
    CHECK_EQ(big(x.plus(z)), big(x) + big(z));
    CHECK(x.plus(z) == z.plus(x));
  }
  const WideInteger zero;
  CHECK(zero.times(WideInteger::power_of_two(511)) == zero);
  CHECK(zero.plus(WideInteger::power_of_two(511)) == WideInteger::power_of_two(511));
}

TEST("quotients: the largest number whose product is not above, and the rest") {
  Random random(5);
  for (unsigned bits = 1; bits <= 512; ++bits) {
    const WideInteger x = random_wide(random, bits);
    for (const std::uint64_t divisor :
         {std::uint64_t{1}, std::uint64_t{2}, std::uint64_t{7}, ring::kPrimes[0],
          std::uint64_t{1} << 63, ~std::uint64_t{0}, 1 + random.edgy(~std::uint64_t{0})}) {
      const BigInteger below = big(x.divided_by(divisor)) * BigInteger(divisor);
      CHECK(big(x) >= below);
      CHECK(big(x) < below + BigInteger(divisor));
      CHECK_EQ(big(x), below + BigInteger(x.mod(divisor)));
    }
  }
}

TEST("powers of two and the edges of words") {
  for (unsigned exponent = 0; exponent < 512; ++exponent) {
    const WideInteger power = WideInteger::power_of_two(exponent);
    CHECK_EQ(power.bit_length(), exponent + 1);
    CHECK_EQ(big(power), BigInteger::power_of_two(exponent));
    CHECK(power == WideInteger(1).shifted_left(exponent));
    CHECK(power.shifted_right(exponent) == WideInteger(1));
    CHECK_EQ(power.to_double(), std::ldexp(1.0, static_cast<int>(exponent)));
  }
  CHECK_EQ(WideInteger().bit_length(), 0u);
  CHECK_EQ(WideInteger().to_double(), 0.0);
  CHECK_EQ(WideInteger(~std::uint64_t{0}).plus(1).bit_length(), 65u);  // the carry arrives
}

TEST("to_double is within 2^-52 of the number") {
  Random random(3);
  for (unsigned bits = 1; bits <= 512; ++bits) {
    for (int i = 0; i < 20; ++i) {
      const WideInteger x = random_wide(random, bits);
      if (x.bit_length() == 0) continue;
      // Compared in integers: the double's mantissa, 53 bits, against the number's top 60.
      int exponent = 0;
      const double mantissa = std::frexp(x.to_double(), &exponent);
      const BigInteger number = big(x);
      const BigInteger value = BigInteger(static_cast<std::uint64_t>(std::ldexp(mantissa, 53))) *
                               BigInteger::power_of_two(static_cast<unsigned>(exponent + 200));
      const BigInteger scaled = number * BigInteger::power_of_two(253);
      const BigInteger distance = value < scaled ? scaled - value : value - scaled;
      CHECK(distance * BigInteger::power_of_two(52) < scaled + BigInteger(1));
    }
  }
}

TEST("the moduli of the rings") {
  BigInteger expected(1);
  for (std::uint32_t limbs = 1; limbs <= 4; ++limbs) {
    expected = expected * BigInteger(ring::kPrimes[limbs - 1]);
    CHECK_EQ(big(ring::ring_modulus(limbs)), expected);
    CHECK_EQ(ring::ring_modulus(limbs).bit_length(), 48 * limbs);
  }
}

}  // namespace
}  // namespace veilsum::test
