// Layer: tests (ring). Every constant of a block's arithmetic against its definition, in the tests'
// own unbounded integers; then `lift`, `round` and the way back, done here with those constants as
// isa::BlockView states them, against the exact quotients that they stand for.
#include "ring/block_arithmetic.h"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "check.h"
#include "ring/fields.h"
#include "ring/primes.h"
#include "support/big_integer.h"
#include "support/modulus.h"
#include "support/random.h"
#include "veilsum/errors.h"

namespace veilsum::test {
namespace {

using ring::BlockArithmetic;

struct Shape {
  std::uint32_t degree, limbs, bits;
  std::uint64_t base;
  std::uint32_t digits;
};

/// DESIGN's plans, and the corners: narrow and wide fields, B below 27 and at its limit, one digit,
/// the most digits and planes, bases from 2 to 2^52, planes filled to the last bit.
constexpr std::uint64_t kTop52 = std::uint64_t{1} << 52;
constexpr Shape kShapes[] = {
    {2048, 1, 43, 655351, 2},
    {4096, 2, 81, 655351, 4},
    {8192, 4, 178, 655351, 9},
    {2048, 1, 38, 2551, 3},
    {2048, 1, 44, 1021, 4},
    {2048, 1, 40, 505, 4},
    {2048, 1, 42, 46, 7},
    {64, 1, 8, 7, 2},
    {64, 1, 26, 7, 8},
    {64, 1, 27, 7, 8},
    {64, 1, 46, 2, 46},
    {64, 1, 46, 2, 40},
    {64, 1, 46, std::uint64_t{1} << 46, 1},
    {64, 1, 46, (std::uint64_t{1} << 40) + 1, 1},
    {64, 1, 30, 3, 1},
    {64, 2, 8, 2, 8},
    {64, 2, 94, 2, 90},
    {64, 2, 94, kTop52, 1},
    {64, 2, 94, kTop52 - 1, 1},
    {64, 2, 52, 7, 10},
    {64, 2, 53, 7, 10},
    {64, 2, 80, (std::uint64_t{1} << 24), 3},
    {64, 2, 80, (std::uint64_t{1} << 24) + 1, 3},
    {64, 4, 190, kTop52, 3},
    {64, 4, 190, (std::uint64_t{1} << 24) + 1, 7},
    {64, 4, 190, 3, 96},
    {64, 4, 104, 1000, 9},
    {64, 4, 156, 1000, 15},
    {64, 4, 157, (std::uint64_t{1} << 16), 9},
};

const isa::BlockView& view_of(const BlockArithmetic& arithmetic) { return arithmetic.view(); }

BlockArithmetic make(const Shape& s) {
  return BlockArithmetic(*ring::Ring::get(s.degree, s.limbs), s.bits, s.base, s.digits);
}

BigInteger from_words(const std::uint64_t* words, unsigned count) {
  BigInteger out;
  for (unsigned w = count; w-- > 0;) {
    out = out * BigInteger::power_of_two(52) + BigInteger(words[w]);
  }
  return out;
}
template <std::size_t kCount>
BigInteger from_words(const std::uint64_t (&words)[kCount]) {
  for (const std::uint64_t word : words) CHECK(word < kTop52);
  return from_words(words, kCount);
}
BigInteger big(const ring::WideInteger& x) {
  std::uint64_t words[10];
  for (unsigned w = 0; w < 10; ++w) words[w] = x.word52(w);
  return from_words(words);
}

BigInteger modulus_of(std::uint32_t limbs) {
  BigInteger q(1);
  for (std::uint32_t i = 0; i < limbs; ++i) q = q * BigInteger(ring::kPrimes[i]);
  return q;
}

/// The divider's function, as kernels compute it.
std::uint64_t divide(std::uint64_t x, const isa::Divider& d) {
  return static_cast<std::uint64_t>(static_cast<Uint128>(x) * d.multiplier >> 50) >> d.shift;
}

void check_divider(const isa::Divider& d, std::uint64_t divisor, std::uint64_t end) {
  CHECK_EQ(d.divisor, divisor);
  CHECK(d.multiplier < kTop52);
  Random random(divisor);
  // Multiples of the divisor and what lies just below are where a reciprocal errs first: the first
  // few, the last few below `end`, and random ones.
  for (int i = 0; i < 2000; ++i) {
    const std::uint64_t whole = (end - 1) / divisor;
    const auto step = static_cast<std::uint64_t>(i / 3);
    const std::uint64_t quotient = i % 3 == 0   ? std::min(step, whole)
                                   : i % 3 == 1 ? whole - std::min(step, whole)
                                                : random.below(whole + 1);
    const std::uint64_t first = quotient * divisor;
    for (const std::uint64_t x : {first, first + divisor - 1, first + random.below(divisor)}) {
      if (x < end) CHECK_EQ(divide(x, d), quotient);
    }
  }
  CHECK_EQ(divide(end - 1, d), (end - 1) / divisor);
  CHECK_EQ(divide(0, d), 0u);
}

TEST("shapes, Delta and what follows from it") {
  for (const Shape& s : kShapes) {
    const BlockArithmetic arithmetic = make(s);
    const isa::BlockView& v = view_of(arithmetic);
    CHECK_EQ(v.limb_count, s.limbs);
    CHECK_EQ(v.bits, s.bits);
    CHECK_EQ(v.digit_count, s.digits);
    CHECK_EQ(v.words, (s.bits + 51) / 52);
    std::uint32_t bits = 0;
    for (std::uint32_t w = 0; w < v.words; ++w) {
      CHECK(v.fields[w] == &ring::field_table(v.fields[w]->bits));
      CHECK(w + 1 == v.words || v.fields[w]->bits == 52);
      bits += v.fields[w]->bits;
    }
    CHECK_EQ(bits, s.bits);
    CHECK(v.residue_fields == &ring::field_table(48));
    for (std::uint32_t i = 0; i < s.limbs; ++i) {
      CHECK_EQ(v.modulus[i].q, ring::kPrimes[i]);
      CHECK_EQ(v.modulus[i].q + v.modulus[i].delta, std::uint64_t{1} << 48);
    }

    const BigInteger delta = big(arithmetic.delta());
    const BigInteger power = BigInteger(s.base).power(s.digits);
    const BigInteger two_b = BigInteger::power_of_two(s.bits);
    CHECK(two_b >= delta * power);
    CHECK(two_b < (delta + BigInteger(1)) * power);
    CHECK_EQ(from_words(v.half_delta), delta.shifted_right(1));
    CHECK_EQ(from_words(v.limit), delta * power);
  }
}

TEST("digits and planes: as many digits in a plane as fit 48 bits, all of them with one limb") {
  for (const Shape& s : kShapes) {
    const BlockArithmetic arithmetic = make(s);
    const isa::BlockView& v = view_of(arithmetic);
    const BigInteger delta = big(arithmetic.delta()), base(s.base);
    const std::uint32_t g = v.digits_per_plane;
    if (s.limbs == 1) {
      CHECK_EQ(g, s.digits);
      CHECK_EQ(v.plane_count, 1u);
    } else {
      CHECK(g == 1 || BigInteger::power_of_two(48) >= base.power(g));
      CHECK(g == s.digits || BigInteger::power_of_two(48) < base.power(g + 1));
      CHECK_EQ(v.plane_count, (s.digits + g - 1) / g);
    }
    CHECK(v.plane_count <= isa::kMaxPlanes);
    for (std::uint32_t d = 0; d < g; ++d) {
      const BigInteger scale = base.power(d) * (s.limbs == 1 ? delta : BigInteger(1));
      CHECK_EQ(BigInteger(v.digit_scale[d]), scale);
    }
    const BigInteger q = modulus_of(s.limbs);
    for (std::uint32_t p = 0; p < v.plane_count; ++p) {
      const BigInteger weight = delta * base.power(g * p);
      CHECK_EQ(from_words(v.divisor[p]), weight);
      CHECK_EQ(from_words(v.plane_scale[p]), (weight * q).low_bits(s.bits));
      // 1.0 / divisor: the product with the divisor is one, up to a rounding of each.
      double divisor = 0;
      for (unsigned w = isa::kMaxWords; w-- > 0;) {
        divisor = divisor * 0x1p52 + static_cast<double>(v.divisor[p][w]);
      }
      const double product = v.divisor_reciprocal[p] * divisor;
      CHECK(product > 1 - 0x1p-50 && product < 1 + 0x1p-50);
    }
  }
}

TEST("the constants of several limbs") {
  for (const Shape& s : kShapes) {
    if (s.limbs == 1) continue;
    const BlockArithmetic arithmetic = make(s);
    const isa::BlockView& v = view_of(arithmetic);
    const BigInteger q = modulus_of(s.limbs);
    const unsigned fraction_bits = 48 * (s.limbs + 1);
    for (std::uint32_t i = 0; i < s.limbs; ++i) {
      const std::uint64_t qi = ring::kPrimes[i];
      BigInteger hat(1);
      for (std::uint32_t j = 0; j < s.limbs; ++j) {
        if (j != i) hat = hat * BigInteger(ring::kPrimes[j]);
      }
      CHECK(v.hat_inverse[i] < qi);
      CHECK_EQ((hat * BigInteger(v.hat_inverse[i])).mod(qi), 1u);
      CHECK_EQ(v.hat_inverse_shoup[i], shoup(v.hat_inverse[i], qi));
      const BigInteger fraction = from_words(v.fraction[i]);
      CHECK(BigInteger::power_of_two(fraction_bits) >= fraction * BigInteger(qi));
      CHECK(BigInteger::power_of_two(fraction_bits) < (fraction + BigInteger(1)) * BigInteger(qi));
      CHECK(fraction.bit_length() <= 52 * s.limbs);  // k words
      for (unsigned w = 0; w < isa::kMaxWords; ++w) {
        // -2^(52 w - B): together with 2^(52 w - B) it vanishes.
        const BigInteger scaled = BigInteger(v.lift_scale[i][w]) * BigInteger::power_of_two(s.bits);
        CHECK(v.lift_scale[i][w] < qi);
        CHECK_EQ((scaled + BigInteger::power_of_two(52 * w)).mod(qi), 0u);
        CHECK_EQ(v.lift_scale_shoup[i][w], shoup(v.lift_scale[i][w], qi));
      }
    }
  }
}

TEST("dividers are exact up to their extremes") {
  for (const Shape& s : kShapes) {
    const BlockArithmetic arithmetic = make(s);
    const isa::BlockView& v = view_of(arithmetic);
    constexpr std::uint64_t kEnd = std::uint64_t{1} << 50;
    if (s.limbs == 1) check_divider(v.delta, arithmetic.delta().low64(), kEnd);
    if (v.digits_per_plane > 1) check_divider(v.base, s.base, kEnd);
  }
}

// --- the functions that the constants are for ----------------------------------------------------

/// lift(Delta m) mod q_i from digits, as isa::BlockView states it.
std::vector<std::uint64_t> lift(const isa::BlockView& v, const std::vector<std::uint64_t>& digits) {
  std::vector<std::uint64_t> out;
  if (v.limb_count == 1) {
    std::uint64_t x = 0;
    for (std::uint32_t d = 0; d < v.digit_count; ++d) x += digits[d] * v.digit_scale[d];
    const std::uint64_t top = v.bits >= 27 ? x >> (v.bits - 27) : x << (27 - v.bits);
    out.push_back(((x << (48 - v.bits)) - (top * v.modulus[0].delta >> 27)) % v.modulus[0].q);
    return out;
  }
  BigInteger low;
  for (std::uint32_t p = 0; p < v.plane_count; ++p) {
    std::uint64_t plane = 0;
    for (std::uint32_t i = 0; i < v.digits_per_plane; ++i) {
      const std::uint32_t d = p * v.digits_per_plane + i;
      if (d < v.digit_count) plane += digits[d] * v.digit_scale[i];
    }
    CHECK(plane < kTop52);
    low = low + BigInteger(plane) * from_words(v.plane_scale[p]);
  }
  low = low.low_bits(v.bits);
  for (std::uint32_t i = 0; i < v.limb_count; ++i) {
    BigInteger residue;
    for (unsigned w = 0; w < v.words; ++w) {
      residue = residue + low.shifted_right(52 * w).low_bits(52) * BigInteger(v.lift_scale[i][w]);
    }
    out.push_back(residue.mod(v.modulus[i].q));
  }
  return out;
}

BigInteger round(const isa::BlockView& v, const std::vector<std::uint64_t>& u) {
  if (v.limb_count == 1) {
    const std::uint64_t stretched =
        u[0] + ((u[0] >> 21) * v.modulus[0].delta >> 27) + (std::uint64_t{1} << (47 - v.bits));
    return BigInteger(stretched >> (48 - v.bits)).low_bits(v.bits);
  }
  const unsigned fraction_bits = 48 * (v.limb_count + 1);
  BigInteger sum = BigInteger::power_of_two(fraction_bits - v.bits - 1);
  for (std::uint32_t i = 0; i < v.limb_count; ++i) {
    const std::uint64_t y = multiply_mod(u[i], v.hat_inverse[i], v.modulus[i].q);
    sum = sum + BigInteger(y) * from_words(v.fraction[i]);
  }
  return sum.shifted_right(fraction_bits - v.bits).low_bits(v.bits);
}

std::vector<std::uint64_t> random_digits(Random& random, const Shape& s) {
  std::vector<std::uint64_t> digits(s.digits);
  const std::uint64_t kind = random.below(4);
  for (std::uint64_t& digit : digits) {
    digit = kind == 0 ? s.base - 1 : kind == 1 ? 0 : random.edgy(s.base);
  }
  return digits;
}

BigInteger message_of(const Shape& s, const std::vector<std::uint64_t>& digits) {
  BigInteger m;
  for (std::uint32_t d = s.digits; d-- > 0;) m = m * BigInteger(s.base) + BigInteger(digits[d]);
  return m;
}

TEST("lift: floor(x q / 2^B) with several limbs; with one, above x q / 2^B by less than allowed") {
  Random random(3);
  for (const Shape& s : kShapes) {
    const BlockArithmetic arithmetic = make(s);
    const BigInteger q = modulus_of(s.limbs);
    for (int i = 0; i < 200; ++i) {
      const auto digits = random_digits(random, s);
      const BigInteger x = message_of(s, digits) * big(arithmetic.delta());
      const auto lifted = lift(view_of(arithmetic), digits);
      if (s.limbs > 1) {
        const BigInteger expected = (x * q).shifted_right(s.bits);
        for (std::uint32_t limb = 0; limb < s.limbs; ++limb) {
          CHECK_EQ(lifted[limb], expected.mod(ring::kPrimes[limb]));
        }
        continue;
      }
      // 0 <= lift - x q / 2^B < 1 + delta / 2^27, times 2^(B + 27).
      BigInteger value(lifted[0]);
      if (value * BigInteger::power_of_two(s.bits) < x * q) value = value + q;  // reduced above
      const BigInteger scaled = value * BigInteger::power_of_two(s.bits + 27);
      const BigInteger exact = x * q * BigInteger::power_of_two(27);
      CHECK(scaled >= exact);
      const std::uint64_t delta = (std::uint64_t{1} << 48) - ring::kPrimes[0];
      CHECK(scaled - exact < BigInteger((1u << 27) + delta) * BigInteger::power_of_two(s.bits));
    }
  }
}

/// Residues of an integer below q that is 0, q - 1, or near a half step of the field, or random.
std::vector<std::uint64_t> random_residues(Random& random, const Shape& s, BigInteger& u) {
  const BigInteger q = modulus_of(s.limbs);
  const std::uint64_t kind = random.below(8);
  if (kind == 0) {
    u = BigInteger(random.below(3));
  } else if (kind == 1) {
    u = q - BigInteger(1 + random.below(3));
  } else {
    BigInteger step;
    for (unsigned w = 0; w < 4; ++w) {
      step = step * BigInteger::power_of_two(52) + BigInteger(random.below(kTop52));
    }
    step = step.low_bits(s.bits);
    // (step + 1/2) q / 2^B, and a few to either side.
    u = ((step + step + BigInteger(1)) * q).shifted_right(s.bits + 1) + BigInteger(random.below(5));
    if (u >= BigInteger(2)) u = u - BigInteger(2);
    if (kind > 4) u = u.shifted_right(static_cast<unsigned>(random.below(20)));
    if (u >= q) u = u - q;
  }
  std::vector<std::uint64_t> residues(s.limbs);
  for (std::uint32_t i = 0; i < s.limbs; ++i) residues[i] = u.mod(ring::kPrimes[i]);
  return residues;
}

TEST("round: within 1/2 of u 2^B / q above, and within 1/2 + eps below") {
  Random random(4);
  const std::uint64_t delta = (std::uint64_t{1} << 48) - ring::kPrimes[0];
  for (const Shape& s : kShapes) {
    const BlockArithmetic arithmetic = make(s);
    const BigInteger q = modulus_of(s.limbs);
    // eps = e 2^(B - scale), as in DESIGN.
    const unsigned scale = s.limbs == 1 ? 119 : 48 * s.limbs;
    const BigInteger e =
        s.limbs == 1 ? BigInteger(delta) * BigInteger::power_of_two(44) +
                           BigInteger(delta) * BigInteger(delta) * BigInteger((1u << 23) + 1)
                     : BigInteger(s.limbs);
    for (int i = 0; i < 500; ++i) {
      BigInteger u;
      const auto residues = random_residues(random, s, u);
      BigInteger field = round(view_of(arithmetic), residues);
      CHECK(field < BigInteger::power_of_two(s.bits));
      // All times q 2^(scale + 1). A field of 0 may stand for 2^B.
      const BigInteger unit = q * BigInteger::power_of_two(scale + 1);
      const BigInteger exact = u * BigInteger::power_of_two(s.bits + scale + 1);
      if (field == BigInteger(0) && exact >= unit) field = BigInteger::power_of_two(s.bits);
      const BigInteger rounded = field * unit;
      const BigInteger half = q * BigInteger::power_of_two(scale);
      CHECK(rounded < exact + half + BigInteger(1));
      CHECK(rounded + half + e * q * BigInteger::power_of_two(s.bits + 1) >= exact);
    }
  }
}

TEST("there and back: digits survive any noise of less than half of Delta") {
  Random random(5);
  for (const Shape& s : kShapes) {
    const BlockArithmetic arithmetic = make(s);
    const isa::BlockView& v = view_of(arithmetic);
    const BigInteger delta = big(arithmetic.delta()), half = from_words(v.half_delta);
    const BigInteger two_b = BigInteger::power_of_two(s.bits);
    for (int i = 0; i < 50; ++i) {
      const auto digits = random_digits(random, s);
      // Delta m + half + noise, for noise at both ends and between: [-half, Delta - half).
      const BigInteger offset = i % 3 == 0   ? BigInteger(0)
                                : i % 3 == 1 ? delta - BigInteger(1)
                                             : half;
      BigInteger x = (message_of(s, digits) * delta + offset).low_bits(s.bits);
      CHECK(x < from_words(v.limit));
      CHECK(from_words(v.limit) < two_b + BigInteger(1));
      std::vector<std::uint64_t> found;
      for (std::uint32_t p = v.plane_count; p-- > 0;) {
        // floor(x / divisor), found bit by bit.
        const BigInteger divisor = from_words(v.divisor[p]);
        std::uint64_t plane = 0;
        for (unsigned bit = 53; bit-- > 0;) {
          const BigInteger part = divisor * BigInteger::power_of_two(bit);
          if (x >= part) {
            x = x - part;
            plane |= std::uint64_t{1} << bit;
          }
        }
        if (s.limbs == 1) CHECK_EQ(divide((BigInteger(plane) * delta).low64(), v.delta), plane);
        std::vector<std::uint64_t> low;
        for (std::uint32_t d = 0; d < v.digits_per_plane; ++d) {
          if (p * v.digits_per_plane + d >= v.digit_count) break;
          const std::uint64_t rest = v.digits_per_plane > 1 ? divide(plane, v.base) : 0;
          low.push_back(plane - rest * s.base);
          plane = rest;
        }
        CHECK_EQ(plane, 0u);
        found.insert(found.begin(), low.begin(), low.end());
      }
      CHECK_EQ(found, digits);
    }
  }
}

TEST("what does not fit together is refused") {
  const auto make_with = [](std::uint32_t limbs, std::uint32_t bits, std::uint64_t base,
                            std::uint32_t digits) { make({64, limbs, bits, base, digits}); };
  CHECK_THROWS_WITH(make_with(3, 40, 7, 2), ParameterError, "1, 2 or 4");
  CHECK_THROWS_WITH(make_with(1, 7, 2, 1), ParameterError, "7 bits");
  CHECK_THROWS_WITH(make_with(1, 47, 2, 1), ParameterError, "log2 q - 2");
  CHECK_THROWS_WITH(make_with(2, 95, 2, 1), ParameterError, "log2 q - 2");
  CHECK_THROWS_WITH(make_with(4, 191, 2, 1), ParameterError, "log2 q - 2");
  CHECK_THROWS_WITH(make_with(1, 40, 0, 1), ParameterError, "base");
  CHECK_THROWS_WITH(make_with(1, 40, 1, 1), ParameterError, "base");
  CHECK_THROWS_WITH(make_with(2, 90, kTop52 + 1, 1), ParameterError, "base");
  CHECK_THROWS_WITH(make_with(1, 40, 7, 0), ParameterError, "digits");
  CHECK_THROWS_WITH(make_with(4, 190, 2, 97), ParameterError, "digits");
  CHECK_THROWS_WITH(make_with(1, 40, 7, 15), ParameterError, "2^B");  // 7^15 = 2^42.1
  CHECK_THROWS_WITH(make_with(1, 46, (std::uint64_t{1} << 46) + 1, 1), ParameterError, "2^B");
}

}  // namespace
}  // namespace veilsum::test
