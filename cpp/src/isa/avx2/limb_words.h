// Layer: isa, level avx2. What blocks of several limbs have in common: sums of exactly split
// products, `round` on words, the tables of their rows. Products of words are split by FMA,
// residues are doubles (vector_ops.h). The names are those of isa::BlockView. Everything is in an
// anonymous namespace; see vector_ops.h.
#pragma once

#include "isa/avx2/block_io.h"

namespace veilsum::isa::avx2 {
namespace {

constexpr unsigned kWordBits = 52;
constexpr std::uint64_t kWordOne = std::uint64_t{1} << kWordBits;

/// Between residues and fields, numbers are "limb words" of 48 bits: as many as there are limbs,
/// which is enough for B bits and leaves the sums below room to be carried once, at the end.
constexpr std::uint64_t kLimbWord = std::uint64_t{1} << kPrimeBits;

/// A public constant in [0, q) as the representative of magnitude below q / 2.
inline double centred(std::uint64_t x, std::uint64_t q) {
  const double value = static_cast<double>(x);
  return 2 * x > q ? value - static_cast<double>(q) : value;
}

/// x w mod q for public constants.
inline std::uint64_t multiply_public(std::uint64_t x, std::uint64_t w, std::uint64_t q) {
  __extension__ typedef unsigned __int128 Wide;
  return static_cast<std::uint64_t>(static_cast<Wide>(x) * w % q);
}

/// Limb word w of a number in words of 52 bits.
inline double limb_word(const std::uint64_t* words, unsigned w) {
  const unsigned bit = w * kPrimeBits;
  const unsigned at = bit / kWordBits;
  const unsigned from = bit % kWordBits;
  std::uint64_t x = words[at] >> from;
  if (from + kPrimeBits > kWordBits) x |= words[at + 1] << (kWordBits - from);
  return static_cast<double>(static_cast<std::int64_t>(x & (kLimbWord - 1)));
}

/// A sum of products a b of integers as high + low. `high` starts at 1.5 * 2^e, so that it keeps
/// multiples of 2^(e - 52) only; what a product leaves, at most 2^(e - 53) in magnitude, FMA gives
/// exactly, and `low` gathers. The sum of products must stay below 2^(e - 1), that of the rests up
/// to 2^53.
struct ProductSum {
  Real high, low;

  void begin(Real start, Real a, Real b) {
    high = _mm256_fmadd_pd(a, b, start);
    low = _mm256_fmadd_pd(a, b, _mm256_sub_pd(start, high));
  }
  void add(Real a, Real b) {
    const Real next = _mm256_fmadd_pd(a, b, high);
    low = _mm256_add_pd(low, _mm256_fmadd_pd(a, b, _mm256_sub_pd(high, next)));
    high = next;
  }
};

/// Limb words: e = 100, so `high` counts units of 2^48. Eight products of 48 by 48 bits leave rests
/// of at most 2^50 in all.
constexpr double kLimbStart = 0x1.8p100;
constexpr std::uint64_t kLimbStartBits = 0x4638000000000000u;
/// Residues: five products of limb words and centred factors, below 2^98 in all; rests up to
/// 5 * 2^46.
constexpr double kResidueStart = 0x1.8p99;
/// Words of 52 bits (division): e = 104.
constexpr double kWordStart = 0x1.8p104;
constexpr std::uint64_t kWordStartBits = 0x4678000000000000u;

/// Limb words of sums of products, plus `offset`, carried: word w is masked by mask[w]. Returns
/// what goes into word kCount. Signed rests stay positive by 2^51 = 8 * 2^48, which the next word
/// pays for.
template <int kCount>
[[gnu::always_inline]] inline void carry_words(const ProductSum (*sums)[kBatch],
                                               const std::uint64_t* offset, const Vec* mask,
                                               Vec (*words)[kBatch], Vec* carry) {
#pragma GCC unroll 4
  for (std::size_t i = 0; i < kBatch; ++i) {
    carry[i] = splat(8 * kLimbWord - kRoundBits + offset[0]);
  }
#pragma GCC unroll 4
  for (int w = 0; w < kCount; ++w) {
    const Vec next = splat((w + 1 < kCount ? 8 * kLimbWord - kRoundBits : 0) - 8 - kLimbStartBits +
                           offset[w + 1]);
#pragma GCC unroll 4
    for (std::size_t i = 0; i < kBatch; ++i) {
      const Vec rest = bits_of(_mm256_add_pd(sums[w][i].low, splat(kRound)));
      const Vec word = _mm256_add_epi64(rest, carry[i]);
      words[w][i] = _mm256_and_si256(word, mask[w]);
      carry[i] = _mm256_add_epi64(
          _mm256_add_epi64(_mm256_srli_epi64(word, kPrimeBits), bits_of(sums[w][i].high)), next);
    }
  }
}

/// `round` of numbers given by y_i in [0, q_i). A fraction's limb word above the others is 1.
template <int kLimbs>
struct WideRounding {
  double fraction[kLimbs][kLimbs];
  std::uint64_t half[kLimbs + 1] = {};
  Vec mask[kLimbs];
  /// Row w begins at bit `from[w]` of limb word at[w].
  std::size_t at[kMaxWords];
  Vec down[kMaxWords], up[kMaxWords], far_up[kMaxWords];
  bool three[kMaxWords];  ///< and reaches into a third one

  explicit WideRounding(const BlockView& view) {
    const unsigned shift = kPrimeBits * (kLimbs + 1) - view.bits;  // at least 50
    half[(shift - 1) / kPrimeBits] = std::uint64_t{1} << ((shift - 1) % kPrimeBits);
    for (unsigned w = 0; w < view.words; ++w) {
      const unsigned bit = shift + kWordBits * w;
      const unsigned from = bit % kPrimeBits;
      at[w] = bit / kPrimeBits;
      down[w] = splat(std::uint64_t{from});
      up[w] = splat(std::uint64_t{kPrimeBits - from});
      far_up[w] = splat(std::uint64_t{2 * kPrimeBits - from});
      three[w] = from + view.fields[w]->bits > 2 * kPrimeBits;
    }
    for (int i = 0; i < kLimbs; ++i) {
      mask[i] = splat(kLimbWord - 1);
      for (unsigned w = 0; w < kLimbs; ++w) fraction[i][w] = limb_word(view.fraction[i], w);
    }
  }
  /// Words of the fields; what is above a row's own bits is left over.
  template <int kWords>
  [[gnu::always_inline]] void operator()(const Real (*y)[kBatch], Vec (*fields)[kBatch]) const {
    ProductSum sums[kLimbs][kBatch];
#pragma GCC unroll 4
    for (int w = 0; w < kLimbs; ++w) {
      const Real first = _mm256_broadcast_sd(&fraction[0][w]);
#pragma GCC unroll 4
      for (std::size_t i = 0; i < kBatch; ++i) sums[w][i].begin(splat(kLimbStart), y[0][i], first);
#pragma GCC unroll 4
      for (int limb = 1; limb < kLimbs; ++limb) {
        const Real next = _mm256_broadcast_sd(&fraction[limb][w]);
#pragma GCC unroll 4
        for (std::size_t i = 0; i < kBatch; ++i) sums[w][i].add(y[limb][i], next);
      }
    }
    Vec words[kLimbs + 3][kBatch];
    Vec carry[kBatch];
    carry_words<kLimbs>(sums, half, mask, words, carry);
#pragma GCC unroll 4
    for (std::size_t i = 0; i < kBatch; ++i) {
      Real top = _mm256_add_pd(y[0][i], splat(kTwo52));
#pragma GCC unroll 4
      for (int limb = 1; limb < kLimbs; ++limb) top = _mm256_add_pd(top, y[limb][i]);
      // the bits of 2^52 are above all fields
      words[kLimbs][i] = _mm256_add_epi64(bits_of(top), carry[i]);
      words[kLimbs + 1][i] = _mm256_setzero_si256();
      words[kLimbs + 2][i] = _mm256_setzero_si256();
    }
#pragma GCC unroll 4
    for (int w = 0; w < kWords; ++w) {
      const Vec(*from)[kBatch] = words + at[w];
#pragma GCC unroll 4
      for (std::size_t i = 0; i < kBatch; ++i) {
        fields[w][i] = _mm256_or_si256(_mm256_srlv_epi64(from[0][i], down[w]),
                                       _mm256_sllv_epi64(from[1][i], up[w]));
      }
      if (three[w]) {
#pragma GCC unroll 4
        for (std::size_t i = 0; i < kBatch; ++i) {
          fields[w][i] = _mm256_or_si256(fields[w][i], _mm256_sllv_epi64(from[2][i], far_up[w]));
        }
      }
    }
  }
};

/// The tables of a block's rows; the last one repeated where there are fewer than four.
template <class Table>
struct RowTables {
  Table of[kMaxWords];
  std::size_t begin[kMaxWords];

  RowTables(const BlockView& view, std::size_t coefficients)
      : of{make(view, 0), make(view, 1), make(view, 2), make(view, 3)} {
    std::size_t next = 0;
    for (std::size_t w = 0; w < view.words; ++w) {
      begin[w] = next;
      next += coefficients / kGroup * view.fields[w]->bits;
    }
  }
  static Table make(const BlockView& view, std::size_t w) {
    return Table(view.fields[w < view.words ? w : view.words - 1]->bits, 0);
  }
};

/// Arithmetic of every limb, and what takes 2^52 + `added` + x to x - 4q.
struct Limbs {
  Field field[kMaxLimbs];
  Real centre[kMaxLimbs];

  explicit Limbs(const BlockView& view, unsigned added = 0) {
    for (std::size_t i = 0; i < view.limb_count; ++i) {
      field[i] = Field(view.modulus[i].q);
      centre[i] = splat(kTwo52 + 4.0 * static_cast<double>(view.modulus[i].q) + added);
    }
  }
  [[gnu::always_inline]] void multiply_canonical(Real* y, int limb, Real factor) const {
#pragma GCC unroll 4
    for (std::size_t i = 0; i < kBatch; ++i) y[i] = field[limb].multiply(y[i], factor);
#pragma GCC unroll 4
    for (std::size_t i = 0; i < kBatch; ++i) y[i] = field[limb].canonical(y[i]);
  }
};

/// Calls run<limbs, words>().
template <class Run>
auto with_shape(const BlockView& view, const Run& run) {
  if (view.limb_count == 2) {
    return view.words == 1 ? run.template operator()<2, 1>() : run.template operator()<2, 2>();
  }
  switch (view.words) {
    case 1:
      return run.template operator()<4, 1>();
    case 2:
      return run.template operator()<4, 2>();
    case 3:
      return run.template operator()<4, 3>();
    default:
      return run.template operator()<4, 4>();
  }
}

/// Pads of sixteen coefficients, of which `left` are there.
struct PadBounce {
  alignas(32) std::uint64_t pads[kMaxLimbs][kSixteen] = {};

  PadBounce(const std::uint64_t* from, std::size_t stride, std::size_t limbs, std::size_t left) {
    for (std::size_t i = 0; i < limbs; ++i) {
      std::memcpy(pads[i], from + i * stride, left * sizeof pads[0][0]);
    }
  }
};

}  // namespace
}  // namespace veilsum::isa::avx2
