// Layer: isa, level avx512. Negacyclic NTT with psi merged into the twiddles (Longa & Naehrig
// 2016), Shoup products on 52-bit IFMA (Harvey 2014), radix-4 and radix-8 passes over a block that
// stays in the first-level cache, and the three stages of distance 4, 2, 1 in registers, on sixteen
// elements at a time, by 64-bit permutes.
//
// Forward (Cooley-Tukey): values below 4q between stages. Inverse (Gentleman-Sande): below 2q, with
// two savings over the textbook form, each worth about one of nine instructions a butterfly:
//  * the operand that will be subtracted is kept negated modulo 2q ("n" for 2q - y). Then
//    x - y + 2q is the single addition x + n, and either sign of the sum costs three instructions:
//    min(u, u + 2q) with u = x - n (or n - x), unsigned, picks the one that did not wrap. A negated
//    product costs nothing: the twiddle is negated instead (w -> q - w, w' -> 2^52 - 1 - w').
//    n lies in [0, 2q], so x + n < 4q < 2^52 is a legal factor.
//  * products are left dirty (a carry in bit 52): factors are read modulo 2^52 anyhow, and a sum of
//    two of them is masked once instead of each. With 4q < 2^52, u mod 2^52 is negative exactly
//    when it is above 2q, and min(u, u - (2^52 - 2q)) brings it to [0, 2q].
// Both are compile-time facts of a position: rows of odd index in a pass come in negated, and the
// upper half of what a pass wrote is products.

// Without scheduling before register allocation GCC emits butterfly after butterfly, and their
// latencies (sub 1, madd52 4 + 4, min 3) fill the processor's scheduler: 11 % slower, measured.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("schedule-insns")
#endif

#include "isa/avx512/kernels_internal.h"
#include "isa/avx512/vector_ops.h"

namespace veilsum::isa::avx512 {
namespace {

struct Constants {
  Vec q, q2, minus_q, mask52, wrap;  // wrap = 2^52 - 2q

  explicit Constants(std::uint64_t modulus)
      : q(splat(modulus)),
        q2(splat(2 * modulus)),
        minus_q(splat((kMask52 + 1) - modulus)),
        mask52(splat(kMask52)),
        wrap(splat((kMask52 + 1) - 2 * modulus)) {}
};

struct Twiddle {
  Vec w, shoup;
};

inline Twiddle load_twiddle(const std::uint64_t* w, const std::uint64_t* shoup) {
  return {splat(*w), splat(*shoup)};
}

/// -w: floor((q - w) * 2^52 / q) = 2^52 - 1 - floor(w * 2^52 / q), as w * 2^52 / q is no integer.
inline Twiddle negate(const Twiddle& t, const Constants& c) {
  return {_mm512_sub_epi64(c.q, t.w), _mm512_sub_epi64(c.mask52, t.shoup)};
}

alignas(64) constexpr std::uint64_t kSwapFourLow[8] = {0, 1, 2, 3, 8, 9, 10, 11};
alignas(64) constexpr std::uint64_t kSwapFourHigh[8] = {4, 5, 6, 7, 12, 13, 14, 15};
alignas(64) constexpr std::uint64_t kSwapTwoLow[8] = {0, 1, 8, 9, 4, 5, 12, 13};
alignas(64) constexpr std::uint64_t kSwapTwoHigh[8] = {2, 3, 10, 11, 6, 7, 14, 15};

constexpr std::size_t kBlock = 16;      ///< elements of a tail block
constexpr std::size_t kTailWords = 48;  ///< tail table words of a block
constexpr std::size_t kTailFour = 0;    ///< their order
constexpr std::size_t kTailTwo = 16;
constexpr std::size_t kTailOne = 32;

inline Twiddle load_tail(const std::uint64_t* table) {
  return {_mm512_load_si512(table), _mm512_load_si512(table + 8)};
}

// --- inverse ------------------------------------------------------------------------------------

enum class Input { kPositive, kNegated };           ///< of the second operand
enum class Output { kPositive, kNegated };          ///< of both results; kNegated: [0, 2q]
enum class Negation { kByTwiddle, kByDifference };  ///< how a negated product is made

/// (x, y) -> (x + y, (x - y) * w), both modulo q; see the head of the file for the ranges.
template <bool kDirty, Input kInput, Output kOutput, Negation kNegation>
inline void inverse_butterfly(Vec& x, Vec& y, const Twiddle& t, const Constants& c) {
  const Vec zero = _mm512_setzero_si512();
  const Vec n = kInput == Input::kNegated ? y : _mm512_sub_epi64(c.q2, y);
  const Vec difference = _mm512_add_epi64(x, n);
  Vec u = kOutput == Output::kPositive ? _mm512_sub_epi64(x, n) : _mm512_sub_epi64(n, x);
  if constexpr (kDirty) {
    u = _mm512_and_si512(u, c.mask52);
    x = _mm512_min_epu64(u, _mm512_sub_epi64(u, c.wrap));
  } else {
    x = _mm512_min_epu64(u, _mm512_add_epi64(u, c.q2));
  }
  const Vec h = add_high(zero, difference, t.shoup);
  if constexpr (kOutput == Output::kNegated && kNegation == Negation::kByDifference) {
    y = _mm512_sub_epi64(add_low(c.q2, h, c.q), add_low(zero, difference, t.w));
  } else {
    y = add_low(add_low(zero, difference, t.w), h, c.minus_q);
  }
}

/// Butterfly of the tail: all clean, all positive, because the permutes mix sums and products.
inline void inverse_butterfly_clean(Vec& x, Vec& y, const Twiddle& t, const Constants& c) {
  const Vec difference = _mm512_sub_epi64(_mm512_add_epi64(x, c.q2), y);
  x = reduce_once(_mm512_add_epi64(x, y), c.q2);
  y = multiply_lazy(difference, t.w, t.shoup, c.minus_q, c.mask52);
}

/// Stages of distance 1, 2, 4 on one block in storage order; natural order comes out.
inline void inverse_tail(const std::uint64_t* block, const std::uint64_t* table, Vec& low,
                         Vec& high, const Constants& c) {
  const Vec two_low = _mm512_load_si512(kSwapTwoLow);
  const Vec two_high = _mm512_load_si512(kSwapTwoHigh);
  const Vec four_low = _mm512_load_si512(kSwapFourLow);
  const Vec four_high = _mm512_load_si512(kSwapFourHigh);
  Vec x = _mm512_loadu_si512(block);
  Vec y = _mm512_loadu_si512(block + 8);
  inverse_butterfly_clean(x, y, load_tail(table + kTailOne), c);
  Vec x2 = _mm512_unpacklo_epi64(x, y);
  Vec y2 = _mm512_unpackhi_epi64(x, y);
  inverse_butterfly_clean(x2, y2, load_tail(table + kTailTwo), c);
  Vec x4 = _mm512_permutex2var_epi64(x2, two_low, y2);
  Vec y4 = _mm512_permutex2var_epi64(x2, two_high, y2);
  inverse_butterfly_clean(x4, y4, load_tail(table + kTailFour), c);
  low = _mm512_permutex2var_epi64(x4, four_low, y4);
  high = _mm512_permutex2var_epi64(x4, four_high, y4);
}

/// The butterflies of a radix-2^k pass on 2^k rows. Group 2g + 1 of each stage but the last
/// delivers its rows negated, because the next stage subtracts them.
template <int kRadixLog>
struct InverseTwiddles {
  Twiddle t[(1 << kRadixLog) - 1];  // first stage first
};

template <int kRadixLog>
inline InverseTwiddles<kRadixLog> load_inverse(const NttView& view, std::size_t m, std::size_t i) {
  InverseTwiddles<kRadixLog> result;
  std::size_t next = 0;
#pragma GCC unroll 3
  for (int stage = 0; stage < kRadixLog; ++stage) {
    const std::size_t groups = std::size_t{1} << (kRadixLog - 1 - stage);
    const std::size_t first = (m >> stage) + groups * i;
#pragma GCC unroll 4
    for (std::size_t g = 0; g < groups; ++g) {
      result.t[next++] =
          load_twiddle(view.inverse_roots + first + g, view.inverse_roots_shoup + first + g);
    }
  }
  return result;
}

/// Negates in place the twiddles whose products must come out negated.
template <int kRadixLog, Output kOutput>
inline void negate_products(InverseTwiddles<kRadixLog>& tw, const Constants& c) {
  if constexpr (kRadixLog == 2) {
    tw.t[1] = negate(tw.t[1], c);
    if constexpr (kOutput == Output::kNegated) tw.t[2] = negate(tw.t[2], c);
  } else {
    tw.t[1] = negate(tw.t[1], c);
    tw.t[3] = negate(tw.t[3], c);
    tw.t[5] = negate(tw.t[5], c);
    if constexpr (kOutput == Output::kNegated) tw.t[6] = negate(tw.t[6], c);
  }
}

template <int kRadixLog, bool kDirty, Input kInput, Output kOutput, Negation kNegation>
inline void inverse_rows(Vec* x, const InverseTwiddles<kRadixLog>& tw, const Constants& c) {
  constexpr Input kN = Input::kNegated;
  constexpr Output kPos = Output::kPositive;
  constexpr Output kNeg = Output::kNegated;
  const Twiddle* t = tw.t;
  if constexpr (kRadixLog == 2) {
    inverse_butterfly<kDirty, kInput, kPos, kNegation>(x[0], x[1], t[0], c);
    inverse_butterfly<kDirty, kInput, kNeg, kNegation>(x[2], x[3], t[1], c);
    inverse_butterfly<false, kN, kOutput, kNegation>(x[0], x[2], t[2], c);
    inverse_butterfly<true, kN, kOutput, kNegation>(x[1], x[3], t[2], c);
  } else {
    inverse_butterfly<kDirty, kInput, kPos, kNegation>(x[0], x[1], t[0], c);
    inverse_butterfly<kDirty, kInput, kNeg, kNegation>(x[2], x[3], t[1], c);
    inverse_butterfly<kDirty, kInput, kPos, kNegation>(x[4], x[5], t[2], c);
    inverse_butterfly<kDirty, kInput, kNeg, kNegation>(x[6], x[7], t[3], c);
    inverse_butterfly<false, kN, kPos, kNegation>(x[0], x[2], t[4], c);
    inverse_butterfly<true, kN, kPos, kNegation>(x[1], x[3], t[4], c);
    inverse_butterfly<false, kN, kNeg, kNegation>(x[4], x[6], t[5], c);
    inverse_butterfly<true, kN, kNeg, kNegation>(x[5], x[7], t[5], c);
    inverse_butterfly<false, kN, kOutput, kNegation>(x[0], x[4], t[6], c);
    inverse_butterfly<false, kN, kOutput, kNegation>(x[1], x[5], t[6], c);
    inverse_butterfly<true, kN, kOutput, kNegation>(x[2], x[6], t[6], c);
    inverse_butterfly<true, kN, kOutput, kNegation>(x[3], x[7], t[6], c);
  }
}

/// The upper half of the rows are products: clean them when nobody else will.
template <int kRadixLog>
inline void clean_products(Vec* x, const Constants& c) {
  constexpr int kRows = 1 << kRadixLog;
#pragma GCC unroll 4
  for (int r = kRows / 2; r < kRows; ++r) x[r] = _mm512_and_si512(x[r], c.mask52);
}

/// First pass: the tail and, on the same registers, the stages of distance 8, 16 (and 32).
template <int kRadixLog, Output kOutput, bool kFinal>
inline void inverse_first_group(std::uint64_t* a, const NttView& view, std::size_t i,
                                const Constants& c) {
  constexpr int kRows = 1 << kRadixLog;
  Vec x[kRows];
#pragma GCC unroll 4
  for (int b = 0; b < kRows / 2; ++b) {
    const std::size_t block = i * (kRows / 2) + static_cast<std::size_t>(b);
    inverse_tail(a + kBlock * block, view.inverse_tail + kTailWords * block, x[2 * b], x[2 * b + 1],
                 c);
  }
  const InverseTwiddles<kRadixLog> tw = load_inverse<kRadixLog>(view, view.n / 16, i);
  inverse_rows<kRadixLog, false, Input::kPositive, kOutput, Negation::kByDifference>(x, tw, c);
  if constexpr (kFinal) clean_products<kRadixLog>(x, c);
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
    _mm512_storeu_si512(a + i * (8 * kRows) + static_cast<std::size_t>(8 * r), x[r]);
  }
}

template <int kRadixLog>
void inverse_first_pass(std::uint64_t* a, const NttView& view, const Constants& c) {
  const std::size_t groups = view.n / (8U << kRadixLog);
  if (groups == 1) {
    inverse_first_group<kRadixLog, Output::kPositive, true>(a, view, 0, c);
    return;
  }
  for (std::size_t i = 0; i < groups; i += 2) {
    inverse_first_group<kRadixLog, Output::kPositive, false>(a, view, i, c);
    inverse_first_group<kRadixLog, Output::kNegated, false>(a, view, i + 1, c);
  }
}

template <int kRadixLog, Output kOutput, bool kFinal>
inline void inverse_group(std::uint64_t* a, const NttView& view, std::size_t t, std::size_t i,
                          const Constants& c) {
  constexpr int kRows = 1 << kRadixLog;
  InverseTwiddles<kRadixLog> tw = load_inverse<kRadixLog>(view, view.n / (2 * t), i);
  negate_products<kRadixLog, kOutput>(tw, c);
  std::uint64_t* p = a + i * t * kRows;
  // The pass before wrote sums to the lower half of each row and dirty products to the upper half.
  for (std::size_t j = 0; j < t / 2; j += 8) {
    Vec x[kRows];
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r)
      x[r] = _mm512_loadu_si512(p + j + static_cast<std::size_t>(r) * t);
    inverse_rows<kRadixLog, false, Input::kNegated, kOutput, Negation::kByTwiddle>(x, tw, c);
    if constexpr (kFinal) clean_products<kRadixLog>(x, c);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r)
      _mm512_storeu_si512(p + j + static_cast<std::size_t>(r) * t, x[r]);
  }
  for (std::size_t j = t / 2; j < t; j += 8) {
    Vec x[kRows];
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r)
      x[r] = _mm512_loadu_si512(p + j + static_cast<std::size_t>(r) * t);
    inverse_rows<kRadixLog, true, Input::kNegated, kOutput, Negation::kByTwiddle>(x, tw, c);
    if constexpr (kFinal) clean_products<kRadixLog>(x, c);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r)
      _mm512_storeu_si512(p + j + static_cast<std::size_t>(r) * t, x[r]);
  }
}

template <int kRadixLog>
void inverse_pass(std::uint64_t* a, const NttView& view, std::size_t t, const Constants& c) {
  const std::size_t groups = view.n / (t << kRadixLog);
  if (groups == 1) {
    inverse_group<kRadixLog, Output::kPositive, true>(a, view, t, 0, c);
    return;
  }
  for (std::size_t i = 0; i < groups; i += 2) {
    inverse_group<kRadixLog, Output::kPositive, false>(a, view, t, i, c);
    inverse_group<kRadixLog, Output::kNegated, false>(a, view, t, i + 1, c);
  }
}

/// Of the log2(n) - 3 stages above the tail, how many passes are radix-4 (the rest are radix-8).
inline unsigned radix4_passes(unsigned stages) { return (3 - stages % 3) % 3; }

// --- forward ------------------------------------------------------------------------------------

/// (x, y) -> (x + y * w, x - y * w): inputs and results below 4q.
inline void forward_butterfly(Vec& x, Vec& y, const Twiddle& t, const Constants& c) {
  const Vec product = multiply_lazy(y, t.w, t.shoup, c.minus_q, c.mask52);
  x = reduce_once(x, c.q2);
  y = _mm512_sub_epi64(_mm512_add_epi64(x, c.q2), product);
  x = _mm512_add_epi64(x, product);
}

/// log2 stages of distance t * 2^(k-1) ... t, on 2^k rows t apart.
template <int kRadixLog>
void forward_pass(std::uint64_t* a, const NttView& view, std::size_t t, const Constants& c) {
  constexpr int kRows = 1 << kRadixLog;
  const std::size_t groups = view.n / (t << kRadixLog);
  for (std::size_t i = 0; i < groups; ++i) {
    Twiddle tw[kRows - 1];
    std::size_t next = 0;
#pragma GCC unroll 3
    for (int stage = 0; stage < kRadixLog; ++stage) {
      const std::size_t count = std::size_t{1} << stage;
#pragma GCC unroll 4
      for (std::size_t g = 0; g < count; ++g) {
        const std::size_t k = (groups + i) * count + g;
        tw[next++] = load_twiddle(view.roots + k, view.roots_shoup + k);
      }
    }
    std::uint64_t* p = a + i * t * kRows;
    for (std::size_t j = 0; j < t; j += 8) {
      Vec x[kRows];
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r)
        x[r] = _mm512_loadu_si512(p + j + static_cast<std::size_t>(r) * t);
#pragma GCC unroll 3
      for (int stage = 0; stage < kRadixLog; ++stage) {
        const int distance = kRows >> (stage + 1);
#pragma GCC unroll 4
        for (int b = 0; b < kRows / 2; ++b) {
          const int g = b / distance;
          const int r = g * 2 * distance + b % distance;
          forward_butterfly(x[r], x[r + distance], tw[(1 << stage) - 1 + g], c);
        }
      }
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r)
        _mm512_storeu_si512(p + j + static_cast<std::size_t>(r) * t, x[r]);
    }
  }
}

/// Stages of distance 4, 2, 1; natural order in, storage order and [0, q) out.
void forward_tail(std::uint64_t* a, const NttView& view, const Constants& c) {
  const Vec two_low = _mm512_load_si512(kSwapTwoLow);
  const Vec two_high = _mm512_load_si512(kSwapTwoHigh);
  const Vec four_low = _mm512_load_si512(kSwapFourLow);
  const Vec four_high = _mm512_load_si512(kSwapFourHigh);
  const std::uint64_t* table = view.tail;
  for (std::size_t k = 0; k < view.n; k += kBlock, table += kTailWords) {
    const Vec x0 = _mm512_loadu_si512(a + k);
    const Vec y0 = _mm512_loadu_si512(a + k + 8);
    Vec x4 = _mm512_permutex2var_epi64(x0, four_low, y0);
    Vec y4 = _mm512_permutex2var_epi64(x0, four_high, y0);
    forward_butterfly(x4, y4, load_tail(table + kTailFour), c);
    Vec x2 = _mm512_permutex2var_epi64(x4, two_low, y4);
    Vec y2 = _mm512_permutex2var_epi64(x4, two_high, y4);
    forward_butterfly(x2, y2, load_tail(table + kTailTwo), c);
    Vec x = _mm512_unpacklo_epi64(x2, y2);
    Vec y = _mm512_unpackhi_epi64(x2, y2);
    forward_butterfly(x, y, load_tail(table + kTailOne), c);
    _mm512_storeu_si512(a + k, reduce_once(reduce_once(x, c.q2), c.q));
    _mm512_storeu_si512(a + k + 8, reduce_once(reduce_once(y, c.q2), c.q));
  }
}

}  // namespace

void ntt_forward(std::uint64_t* a, const NttView& view) {
  const Constants c(view.modulus.q);
  const unsigned stages = view.log_n - 3;
  unsigned small = radix4_passes(stages);
  std::size_t t = view.n;  // distance of the stage done last, times two
  while (t > 8) {
    if (small > 0) {
      t /= 4;
      forward_pass<2>(a, view, t, c);
      --small;
    } else {
      t /= 8;
      forward_pass<3>(a, view, t, c);
    }
  }
  forward_tail(a, view, c);
}

void ntt_inverse_lazy(std::uint64_t* a, const NttView& view) {
  const Constants c(view.modulus.q);
  const unsigned stages = view.log_n - 3;
  unsigned small = radix4_passes(stages);
  std::size_t t;  // distance of the next stage
  if (small > 0) {
    inverse_first_pass<2>(a, view, c);
    --small;
    t = 32;
  } else {
    inverse_first_pass<3>(a, view, c);
    t = 64;
  }
  while (t < view.n) {
    if (small > 0) {
      inverse_pass<2>(a, view, t, c);
      --small;
      t *= 4;
    } else {
      inverse_pass<3>(a, view, t, c);
      t *= 8;
    }
  }
}

}  // namespace veilsum::isa::avx512
