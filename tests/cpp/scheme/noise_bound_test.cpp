// Layer: tests (scheme). The noise bound against DESIGN's formula, derived a second time as a
// fraction of unbounded integers; and against sums constructed to be as noisy as can be, which must
// come up to it and never exceed it.
#include "scheme/noise_bound.h"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "check.h"
#include "ring/primes.h"
#include "support/big_integer.h"
#include "support/modulus.h"
#include "support/random.h"

namespace veilsum::test {
namespace {

using scheme::NoiseBound;

/// noise = numerator / denominator, from
///   W (1/2 + eps + 9 2^B / q) + 1/2 + eps
/// times 2 q 2^119 (one limb) or 2 q 2^(48 k).
struct Fraction {
  BigInteger numerator, denominator;
};

Fraction noise_of(std::uint32_t limbs, std::uint64_t weight, unsigned bits) {
  BigInteger q(1);
  for (std::uint32_t i = 0; i < limbs; ++i) q = q * BigInteger(ring::kPrimes[i]);
  const BigInteger w(weight), one(1);
  BigInteger eps;  // times 2^scale
  const unsigned scale = limbs == 1 ? 119 : 48 * limbs;
  if (limbs == 1) {
    // (delta / 2^27 + delta^2 / 2^48 (1 + 2^-23)) 2^(B - 48), over 2^(27 + 44 + 48) = 2^(48 + 23 +
    // 48).
    const BigInteger delta = BigInteger::power_of_two(48) - q;
    eps = delta * BigInteger::power_of_two(bits + 44) +
          delta * delta * (BigInteger::power_of_two(23) + one) * BigInteger::power_of_two(bits);
  } else {
    eps = BigInteger(limbs) * BigInteger::power_of_two(bits);
  }
  const BigInteger half_step = q * BigInteger::power_of_two(scale) + BigInteger(2) * q * eps;
  const BigInteger errors =
      w * BigInteger(18) * BigInteger::power_of_two(bits) * BigInteger::power_of_two(scale);
  return {(w + one) * half_step + errors, q * BigInteger::power_of_two(scale + 1)};
}

TEST("floor, hundredths and the smallest Delta, for all widths and weights of every size") {
  Random random(1);
  for (const std::uint32_t limbs : {1u, 2u, 4u}) {
    for (unsigned bits = 1; bits <= 48 * limbs - 2; ++bits) {
      for (const std::uint64_t weight : {std::uint64_t{1}, std::uint64_t{2}, std::uint64_t{10},
                                         1 + random.below(1u << 20), std::uint64_t{1} << 20}) {
        const NoiseBound bound(limbs, weight, bits);
        const Fraction noise = noise_of(limbs, weight, bits);
        const auto& [numerator, denominator] = noise;
        CHECK(numerator >= BigInteger(bound.floor()) * denominator);
        CHECK(numerator < BigInteger(bound.floor() + 1) * denominator);
        CHECK(BigInteger(bound.hundredths()) * denominator >= BigInteger(100) * numerator);
        CHECK(BigInteger(bound.hundredths() - 1) * denominator < BigInteger(100) * numerator);
        // Delta >= 2 noise + 1
        const BigInteger wanted = BigInteger(2) * numerator + denominator;
        CHECK(BigInteger(bound.smallest_delta()) * denominator >= wanted);
        CHECK(BigInteger(bound.smallest_delta() - 1) * denominator < wanted);
      }
    }
  }
}

TEST("DESIGN's rows") {
  const auto check = [](std::uint32_t limbs, std::uint64_t weight, unsigned bits,
                        std::uint64_t floor, std::uint64_t hundredths) {
    const NoiseBound bound(limbs, weight, bits);
    CHECK_EQ(bound.floor(), floor);
    CHECK_EQ(bound.hundredths(), hundredths);
  };
  check(1, 10, 43, 8, 832);
  check(2, 10, 81, 5, 551);
  check(4, 10, 178, 5, 551);
  check(1, 10, 38, 5, 559);
  check(1, 4, 44, 4, 476);
  check(1, 8, 40, 4, 479);
  check(1, 3, 42, 2, 243);
}

/// One coefficient of a one-limb plan, in plain integers.
struct Coefficient {
  std::uint64_t q, base;
  std::uint32_t digits;
  unsigned bits;

  std::uint64_t delta() const { return (std::uint64_t{1} << 48) - q; }
  std::uint64_t mask() const { return (std::uint64_t{1} << bits) - 1; }
  std::uint64_t lift(std::uint64_t x) const {
    return (x << (48 - bits)) - ((x >> (bits - 27)) * delta() >> 27);
  }
  std::uint64_t round(std::uint64_t u) const {
    return (u + ((u >> 21) * delta() >> 27) + (std::uint64_t{1} << (47 - bits))) >> (48 - bits) &
           mask();
  }
  /// The smallest residue that rounds up to `step` + 1.
  std::uint64_t just_above_half(std::uint64_t step) const {
    const auto u =
        static_cast<std::uint64_t>((2 * static_cast<Uint128>(step) + 1) * q >> (bits + 1));
    return round(u) == (step & mask()) ? u + 1 : u;
  }
};

TEST("constructed sums come up to the bound, and none exceeds it") {
  struct Row {
    std::uint64_t weight, value_bits;
    std::uint32_t digits;
    unsigned bits;
    std::int64_t reached;
  };
  for (const Row& row :
       {Row{10, 16, 2, 43, 8}, Row{10, 8, 3, 38, 5}, Row{4, 8, 4, 44, 4}, Row{3, 4, 7, 42, 2}}) {
    const std::uint64_t base = row.weight * ((std::uint64_t{1} << row.value_bits) - 1) + 1;
    const Coefficient c{ring::kPrimes[0], base, row.digits, row.bits};
    std::uint64_t power = 1;
    for (std::uint32_t d = 0; d < row.digits; ++d) power *= base;
    const std::uint64_t scale = (std::uint64_t{1} << row.bits) / power;  // Delta
    Random random(row.bits);
    std::int64_t most = 0, least = 0;
    for (int trial = 0; trial < 20'000; ++trial) {
      // All errors at one end, all uploads rounded to one side; messages anything that sums.
      const bool up = trial % 2 == 0;
      std::uint64_t total = 0, message = 0, pad = 0;
      for (std::uint64_t k = 0; k < row.weight; ++k) {
        std::uint64_t m = 0;
        for (std::uint32_t d = 0; d < row.digits; ++d) {
          m = m * base + random.edgy(std::uint64_t{1} << row.value_bits);
        }
        const std::uint64_t error = up ? 8 : c.q - 8;
        const std::uint64_t half = c.just_above_half(random.below((c.mask() >> 1) - 1));
        const std::uint64_t u = half - (up ? 0 : 1);
        pad = (pad + u + 3 * c.q - error - c.lift(scale * m) % c.q) % c.q;
        total += c.round(u);
        message += m;
      }
      const std::uint64_t x = (total - c.round(pad) - scale * message) & c.mask();
      const auto noise = x > c.mask() / 2 ? -static_cast<std::int64_t>(c.mask() - x + 1)
                                          : static_cast<std::int64_t>(x);
      most = std::max(most, noise);
      least = std::min(least, noise);
    }
    const auto bound = static_cast<std::int64_t>(NoiseBound(1, row.weight, row.bits).floor());
    CHECK_EQ(bound, row.reached);
    CHECK_EQ(most, bound);
    CHECK(least >= -bound);
  }
}

}  // namespace
}  // namespace veilsum::test
