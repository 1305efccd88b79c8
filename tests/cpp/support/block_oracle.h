// Layer: tests. Blocks by their definitions in isa/kernels.h, in unbounded integers: the tables and
// constants that block kernels take, `lift`, `round`, packed rows, and messages from digits.
// Written apart from cpp/src/ring, which makes the real constants, so that tests of kernels need no
// layer above.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "isa/kernels.h"
#include "support/big_integer.h"
#include "support/bytes.h"
#include "support/modulus.h"
#include "support/random.h"

namespace veilsum::test {

inline constexpr unsigned kWordBits = 52;
inline constexpr std::uint64_t kWord = std::uint64_t{1} << kWordBits;

/// The tables of one field width, from the sentences at isa::FieldTable.
inline isa::FieldTable make_field_table(unsigned bits) {
  isa::FieldTable table{};
  table.bits = bits;
  table.mask = (std::uint64_t{1} << bits) - 1;
  for (unsigned field = 0; field < 8; ++field) {
    const unsigned first = bits * field / 8, last = (bits * field + bits - 1) / 8;
    table.first_bit[field] = bits * field % 8;
    for (unsigned k = 0; k < 8; ++k) {
      table.window_bytes[8 * field + k] = static_cast<std::uint8_t>(std::min(first + k, 63u));
    }
    for (unsigned byte = first; byte <= last; ++byte) {
      (field % 2 == 0 ? table.even_bytes : table.odd_bytes)[byte] =
          static_cast<std::uint8_t>(8 * field + byte - first);
      (field % 2 == 0 ? table.even_mask : table.odd_mask) |= std::uint64_t{1} << byte;
    }
  }
  return table;
}

/// Field i of a row occupies bits [bits i, bits i + bits), for any number of fields.
inline Bytes pack_bits(const std::vector<std::uint64_t>& fields, unsigned bits) {
  Bytes out((fields.size() * bits + 7) / 8, 0);
  for (std::size_t i = 0; i < fields.size(); ++i) {
    for (unsigned bit = 0; bit < bits; ++bit) {
      const std::size_t at = i * bits + bit;
      out[at / 8] = static_cast<std::uint8_t>(out[at / 8] | ((fields[i] >> bit) & 1) << (at % 8));
    }
  }
  return out;
}

inline std::vector<std::uint64_t> unpack_bits(const std::uint8_t* row, std::size_t count,
                                              unsigned bits) {
  std::vector<std::uint64_t> fields(count, 0);
  for (std::size_t i = 0; i < count; ++i) {
    for (unsigned bit = 0; bit < bits; ++bit) {
      const std::size_t at = i * bits + bit;
      fields[i] |= std::uint64_t{row[at / 8] >> (at % 8) & 1u} << bit;
    }
  }
  return fields;
}

/// The numbers of a plan that a block depends on. B = bits, t = base, L = digits.
struct Shape {
  std::uint32_t limbs, bits;
  std::uint64_t base;
  std::uint32_t digits;
};

/// The rows of DESIGN's table, then corners: the narrowest fields and the widest, B below 27, where
/// a field fills a word of 52 bits or begins another, bases that just fit 32 or 48 bits or just do
/// not, Delta = 1, and as many digits as fit.
inline const std::vector<Shape>& shapes() {
  constexpr std::uint64_t kOne = 1;
  static const std::vector<Shape> kAll = {
      {1, 43, 655351, 2},
      {2, 81, 655351, 4},
      {4, 178, 655351, 9},
      {1, 38, 2551, 3},
      {1, 44, 1021, 4},
      {1, 40, 505, 4},
      {1, 42, 46, 7},
      {1, 8, 7, 2},
      {1, 26, 7, 8},
      {1, 27, 7, 8},
      {1, 46, 2, 46},
      {1, 46, kOne << 23, 2},
      {1, 46, kOne << 32, 1},
      {1, 46, (kOne << 32) + 1, 1},
      {1, 46, (kOne << 46) - 1, 1},
      {1, 30, 3, 1},
      {2, 8, 2, 8},
      {2, 52, 7, 10},
      {2, 53, 7, 10},
      {2, 94, 2, 90},
      {2, 94, 3, 59},
      {2, 94, 1 << 24, 3},
      {2, 94, (1 << 24) + 1, 3},
      {2, 94, kOne << 32, 2},
      {2, 94, (kOne << 32) + 1, 2},
      {2, 94, (kOne << 45) + 1, 2},
      {2, 94, kOne << 48, 1},
      {2, 94, (kOne << 48) + 1, 1},
      {2, 94, kWord, 1},
      {4, 104, 1000, 9},
      {4, 105, 1000, 10},
      {4, 156, 1000, 15},
      {4, 157, 1 << 16, 9},
      {4, 190, 2, 96},
      {4, 190, 3, 96},
      {4, 190, (1 << 24) + 1, 7},
      {4, 190, kOne << 32, 5},
      {4, 190, (kOne << 32) + 1, 5},
      {4, 190, kOne << 47, 4},
      {4, 190, (kOne << 48) + 1, 3},
      {4, 180, 4435705102882094, 3},  // estimates of 53 bits are two off here
      {4, 190, kWord - 1, 1},
      {4, 190, kWord - 1, 3},
      {4, 190, kWord, 3},
  };
  return kAll;
}

class BlockOracle {
 public:
  explicit BlockOracle(const Shape& its_shape)
      : BlockOracle(its_shape,
                    primes_below((std::uint64_t{1} << isa::kPrimeBits) - 1, its_shape.limbs)) {}
  BlockOracle(const Shape& its_shape, std::vector<std::uint64_t> its_primes)
      : shape(its_shape), primes(std::move(its_primes)), two_b(two_to(shape.bits)) {
    view_ = std::make_unique<isa::BlockView>();
    const BigInteger base(shape.base);
    for (const std::uint64_t prime : primes) q = q * BigInteger(prime);
    messages = base.power(shape.digits);
    delta = two_b / messages;
    limit = delta * messages;
    half_delta = delta.shifted_right(1);
    fill_view();
  }

  const isa::BlockView& view() const { return *view_; }
  std::uint32_t limbs() const { return shape.limbs; }
  static BigInteger two_to(unsigned exponent) { return BigInteger::power_of_two(exponent); }

  /// Words of 52 bits.
  template <std::size_t kCount>
  static void split(const BigInteger& x, std::uint64_t (&words)[kCount]) {
    for (unsigned w = 0; w < kCount; ++w) {
      words[w] = x.shifted_right(kWordBits * w).low64() & (kWord - 1);
    }
  }

  std::size_t row_bits(std::size_t w) const { return view_->fields[w]->bits; }
  std::size_t block_bytes(std::size_t n) const { return n / isa::kGroup * shape.bits; }
  std::size_t pad_bytes(std::size_t n) const {
    return n / isa::kGroup * isa::kPrimeBits * shape.limbs;
  }

  /// m = sum of digit_d t^d.
  BigInteger message(const std::vector<std::uint64_t>& digits) const {
    BigInteger m;
    for (std::size_t d = digits.size(); d-- > 0;) m = m * BigInteger(shape.base) + digits[d];
    return m;
  }
  std::vector<std::uint64_t> digits_of(BigInteger m) const {
    std::vector<std::uint64_t> digits(shape.digits);
    for (std::uint64_t& digit : digits) {
      const BigInteger rest = m / BigInteger(shape.base);
      digit = (m - rest * BigInteger(shape.base)).low64();
      m = rest;
    }
    return digits;
  }

  /// DESIGN's lift: for several limbs floor(x q / 2^B), for one limb its integer function.
  BigInteger lift(const BigInteger& x) const {
    if (shape.limbs > 1) return (x * q).shifted_right(shape.bits);
    return BigInteger(lift_one(x.low64()));
  }
  std::uint64_t lift_one(std::uint64_t x) const {
    const Uint128 top = shape.bits >= 27 ? static_cast<Uint128>(x) >> (shape.bits - 27)
                                         : static_cast<Uint128>(x) << (27 - shape.bits);
    const Uint128 less = top * view_->modulus[0].delta >> 27;
    return static_cast<std::uint64_t>((static_cast<Uint128>(x) << (48 - shape.bits)) - less);
  }

  /// DESIGN's round of residues in [0, q_i).
  BigInteger round(const std::vector<std::uint64_t>& u) const {
    if (shape.limbs == 1) return BigInteger(round_one(u[0]));
    const unsigned fraction_bits = isa::kPrimeBits * (shape.limbs + 1);
    BigInteger sum = two_to(fraction_bits - shape.bits - 1);
    for (std::size_t i = 0; i < shape.limbs; ++i) {
      const std::uint64_t y = multiply_mod(u[i], view_->hat_inverse[i], primes[i]);
      sum = sum + BigInteger(y) * fractions_[i];
    }
    return sum.shifted_right(fraction_bits - shape.bits).low_bits(shape.bits);
  }
  std::uint64_t round_one(std::uint64_t u) const {
    const Uint128 stretched = static_cast<Uint128>(u) +
                              (static_cast<Uint128>(u >> 21) * view_->modulus[0].delta >> 27) +
                              (Uint128{1} << (47 - shape.bits));
    return static_cast<std::uint64_t>(stretched >> (48 - shape.bits)) &
           ((std::uint64_t{1} << shape.bits) - 1);
  }

  std::vector<std::uint64_t> residues(const BigInteger& u) const {
    std::vector<std::uint64_t> out;
    for (const std::uint64_t prime : primes) out.push_back(u.mod(prime));
    return out;
  }
  /// About (field - 1/2) q / 2^B, where round() goes over to `field`; below q.
  BigInteger boundary(const BigInteger& field) const {
    const BigInteger twice = field + field + two_b + two_b - BigInteger(1);
    const BigInteger u = (twice * q).shifted_right(shape.bits + 1);
    return u >= q + q ? u - q - q : u >= q ? u - q : u;
  }

  /// Rows of fields below 2^B, whose number is a multiple of eight.
  Bytes pack(const std::vector<BigInteger>& fields) const {
    Bytes out;
    for (unsigned w = 0; w < view_->words; ++w) {
      std::vector<std::uint64_t> row;
      for (const BigInteger& field : fields) {
        row.push_back(field.shifted_right(kWordBits * w).low64() & view_->fields[w]->mask);
      }
      const Bytes bytes = pack_bits(row, view_->fields[w]->bits);
      out.insert(out.end(), bytes.begin(), bytes.end());
    }
    return out;
  }
  std::vector<BigInteger> unpack(const Bytes& block) const {
    const std::size_t n = block.size() * 8 / shape.bits;
    std::vector<BigInteger> fields(n);
    std::size_t at = block.size();
    for (unsigned w = view_->words; w-- > 0;) {
      at -= n / 8 * row_bits(w);
      const auto row = unpack_bits(block.data() + at, n, view_->fields[w]->bits);
      for (std::size_t i = 0; i < n; ++i) fields[i] = fields[i] * two_to(kWordBits) + row[i];
    }
    return fields;
  }

  BigInteger random_field(Random& random) const {
    BigInteger x;
    const std::uint64_t kind = random.below(8);
    for (unsigned w = 0; w < 4; ++w) {
      // Long runs of zeros and ones make carries run far.
      const std::uint64_t word = kind == 0 ? 0 : kind == 1 ? kWord - 1 : random.edgy(kWord);
      x = x * two_to(kWordBits) + word;
    }
    return x.low_bits(shape.bits);
  }

  Shape shape;
  std::vector<std::uint64_t> primes;
  BigInteger q = 1, two_b, messages, delta, limit, half_delta;  // messages = t^L

 private:
  /// Nearest double: the top 62 bits, the last of them sticky.
  static double to_double(const BigInteger& x) {
    constexpr unsigned kTop = 62;
    const unsigned length = x.bit_length();
    if (length <= kTop) return static_cast<double>(x.low64());
    const BigInteger top = x.shifted_right(length - kTop);
    const bool exact = top * two_to(length - kTop) == x;
    return std::ldexp(static_cast<double>(top.low64() | static_cast<std::uint64_t>(!exact)),
                      static_cast<int>(length - kTop));
  }

  static const isa::FieldTable* table_of(unsigned bits) {
    static const std::vector<isa::FieldTable> kTables = [] {
      std::vector<isa::FieldTable> tables;
      for (unsigned width = 1; width <= kWordBits; ++width) {
        tables.push_back(make_field_table(width));
      }
      return tables;
    }();
    return &kTables[bits - 1];
  }

  /// floor(x / divisor) from x multiplier / 2^50 / 2^shift; see isa::Divider.
  static isa::Divider divider(const BigInteger& divisor) {
    unsigned shift = 0;
    while (divisor >= two_to(shift) && divisor != two_to(shift)) ++shift;
    const BigInteger top = two_to(50 + shift) + divisor - BigInteger(1);
    return {divisor.low64(), (top / divisor).low64(), shift};
  }

  void fill_view() {
    isa::BlockView& v = *view_;
    const BigInteger base(shape.base);
    v.limb_count = shape.limbs;
    v.bits = shape.bits;
    v.words = (shape.bits + kWordBits - 1) / kWordBits;
    v.digit_count = shape.digits;
    v.digits_per_plane = shape.digits;
    v.plane_count = 1;
    if (shape.limbs > 1) {
      // As many digits a plane as 48 bits hold; a wider digit stands alone.
      std::uint32_t group = 1;
      while (two_to(48) >= base.power(group + 1)) ++group;
      v.digits_per_plane = std::min(group, shape.digits);
      v.plane_count = (shape.digits + v.digits_per_plane - 1) / v.digits_per_plane;
    }
    for (std::uint32_t w = 0; w < v.words; ++w) {
      v.fields[w] = table_of(std::min(kWordBits, shape.bits - kWordBits * w));
    }
    v.residue_fields = table_of(isa::kPrimeBits);
    for (std::uint32_t i = 0; i < shape.limbs; ++i) v.modulus[i] = make_modulus(primes[i]);
    for (std::uint32_t d = 0; d < v.digits_per_plane; ++d) {
      const BigInteger scale = base.power(d) * (shape.limbs == 1 ? delta : BigInteger(1));
      v.digit_scale[d] = scale.low64();
    }
    split(half_delta, v.half_delta);
    split(limit, v.limit);
    for (std::uint32_t p = 0; p < v.plane_count; ++p) {
      const BigInteger weight = delta * base.power(v.digits_per_plane * p);
      split(weight, v.divisor[p]);
      v.divisor_reciprocal[p] = 1.0 / to_double(weight);
      split((weight * q).low_bits(shape.bits), v.plane_scale[p]);
    }
    if (shape.limbs == 1) v.delta = divider(delta);
    if (v.digits_per_plane > 1) v.base = divider(base);
    if (shape.limbs == 1) return;
    for (std::uint32_t i = 0; i < shape.limbs; ++i) {
      const std::uint64_t prime = primes[i];
      const std::uint64_t hat = (q / BigInteger(prime)).mod(prime);
      v.hat_inverse[i] = inverse_mod(hat, prime);
      v.hat_inverse_shoup[i] = shoup(v.hat_inverse[i], prime);
      fractions_.push_back(two_to(isa::kPrimeBits * (shape.limbs + 1)) / BigInteger(prime));
      split(fractions_[i], v.fraction[i]);
      const std::uint64_t inverse = inverse_mod(power_mod(2, shape.bits, prime), prime);
      for (unsigned w = 0; w < isa::kMaxWords; ++w) {
        const std::uint64_t scale =
            multiply_mod(power_mod(2, kWordBits * w, prime), inverse, prime);
        v.lift_scale[i][w] = prime - scale;
        v.lift_scale_shoup[i][w] = shoup(v.lift_scale[i][w], prime);
      }
    }
  }

  std::unique_ptr<isa::BlockView> view_;
  std::vector<BigInteger> fractions_;  // floor(2^F / q_i)
};

}  // namespace veilsum::test
