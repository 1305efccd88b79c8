// Layer: isa, level avx512. Negacyclic NTT with psi merged into the twiddles (Longa & Naehrig
// 2016), Shoup products on 52-bit IFMA (Harvey 2014), radix-4 and radix-8 passes over a block that
// stays in the first-level cache, and the three stages of distance 4, 2, 1 in registers, on sixteen
// elements at a time, by 64-bit permutes.
//
// A word's value is its low 52 bits, which hold 16 q; products read nothing else, so carries above
// are never masked, and sums are reduced only where the next one would not fit. Which those are is
// known at compile time: a butterfly's two operands have the same history in their pass, and what
// a pass leaves behind depends on the row alone.
//
// multiply_inverse is the product of slots and the inverse transform in one: a pass over memory
// less, and the factors, which come from the second-level cache, arrive beside arithmetic.
//
// Forward (Cooley-Tukey): a butterfly adds 2q to the bound of both its results. Inverse
// (Gentleman-Sande): it doubles the bound of the sum and resets that of the product to 2q. Words
// between passes are below 8q, and below 4q and 2q in the second quarter and second half of the
// rows, see inverse_bound.

// Without scheduling before register allocation GCC emits butterfly after butterfly, and their
// latencies (sub 1, madd52 4 + 4) fill the processor's scheduler: 11 % slower, measured.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("schedule-insns")
#endif

#include "isa/avx512/kernels_internal.h"
#include "isa/avx512/vector_ops.h"

namespace veilsum::isa::avx512 {
namespace {

struct Constants {
  Vec q2, q4, q8, minus_q, sixteen;

  explicit Constants(std::uint64_t q)
      : q2(splat(2 * q)),
        q4(splat(4 * q)),
        q8(splat(8 * q)),
        minus_q(splat((kMask52 + 1) - q)),
        sixteen(splat(16)) {}

  template <int kBound>
  Vec multiple() const {
    static_assert(kBound == 2 || kBound == 4 || kBound == 8);
    return kBound == 2 ? q2 : kBound == 4 ? q4 : q8;
  }
};

struct Twiddle {
  Vec w, shoup;
};

inline Twiddle load_twiddle(const std::uint64_t* w, const std::uint64_t* shoup) {
  return {splat(*w), splat(*shoup)};
}

inline Vec multiply(Vec x, const Twiddle& t, const Constants& c) {
  return multiply_dirty(x, t.w, t.shoup, c.minus_q);
}

inline Vec reduce(Vec x, const Constants& c) { return reduce_dirty(x, c.sixteen, c.minus_q); }

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

/// Rows of a pass: one register of each of 2^k stretches, t words apart.
template <int kRows>
inline void load_rows(Vec* x, const std::uint64_t* p, std::size_t t) {
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) x[r] = _mm512_loadu_si512(p + static_cast<std::size_t>(r) * t);
}

template <int kRows>
inline void store_rows(std::uint64_t* p, std::size_t t, const Vec* x) {
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) _mm512_storeu_si512(p + static_cast<std::size_t>(r) * t, x[r]);
}

// --- inverse ------------------------------------------------------------------------------------

constexpr int kLargest = static_cast<int>(kLazyFactor);

/// Bound, in q, of row `row` after `stages` stages of a pass whose words came in below `in` q:
/// where bit s of the row is set, stage s made it a product.
constexpr int inverse_bound(int in, int row, int stages) {
  int bound = in;
  for (int s = 0; s < stages; ++s) {
    bound = ((row >> s) & 1) != 0 || 2 * bound > kLargest ? 2 : 2 * bound;
  }
  return bound;
}

/// (x, y) -> (x + y, (x - y) * w) for words below kBound q. Sums of more than 8q are reduced.
template <int kBound>
[[gnu::always_inline]] inline void inverse_butterfly(Vec& x, Vec& y, const Twiddle& t,
                                                     const Constants& c) {
  const Vec difference = _mm512_sub_epi64(_mm512_add_epi64(x, c.multiple<kBound>()), y);
  x = _mm512_add_epi64(x, y);
  if constexpr (2 * kBound > kLargest) x = reduce(x, c);
  y = multiply(difference, t, c);
}

/// Stages of distance 1, 2, 4 on one block in storage order; natural order comes out, below 2q.
[[gnu::always_inline]] inline void inverse_tail(Vec x, Vec y, const std::uint64_t* table, Vec& low,
                                                Vec& high, const Constants& c) {
  const Vec two_low = _mm512_load_si512(kSwapTwoLow);
  const Vec two_high = _mm512_load_si512(kSwapTwoHigh);
  const Vec four_low = _mm512_load_si512(kSwapFourLow);
  const Vec four_high = _mm512_load_si512(kSwapFourHigh);
  inverse_butterfly<2>(x, y, load_tail(table + kTailOne), c);
  Vec x2 = _mm512_unpacklo_epi64(x, y);
  Vec y2 = _mm512_unpackhi_epi64(x, y);
  inverse_butterfly<4>(x2, y2, load_tail(table + kTailTwo), c);
  Vec x4 = _mm512_permutex2var_epi64(x2, two_low, y2);
  Vec y4 = _mm512_permutex2var_epi64(x2, two_high, y2);
  inverse_butterfly<8>(x4, y4, load_tail(table + kTailFour), c);
  low = _mm512_permutex2var_epi64(x4, four_low, y4);
  high = _mm512_permutex2var_epi64(x4, four_high, y4);
}

/// Twiddles of a radix-2^k pass on one group of rows, first stage first.
template <int kRadixLog>
struct InverseTwiddles {
  Twiddle t[(1 << kRadixLog) - 1];

  InverseTwiddles(const NttView& view, std::size_t m, std::size_t i) {
    std::size_t next = 0;
#pragma GCC unroll 3
    for (int stage = 0; stage < kRadixLog; ++stage) {
      const std::size_t groups = std::size_t{1} << (kRadixLog - 1 - stage);
      const std::size_t first = (m >> stage) + groups * i;
#pragma GCC unroll 4
      for (std::size_t g = 0; g < groups; ++g) {
        t[next++] =
            load_twiddle(view.inverse_roots + first + g, view.inverse_roots_shoup + first + g);
      }
    }
  }
};

/// The butterflies of a pass on 2^k rows below kIn q, stage by stage.
template <int kRadixLog, int kIn, int kStage = 0, int kPair = 0>
[[gnu::always_inline]] inline void inverse_rows(Vec* x, const InverseTwiddles<kRadixLog>& tw,
                                                const Constants& c) {
  constexpr int kRows = 1 << kRadixLog;
  constexpr int kDistance = 1 << kStage;
  constexpr int kGroup = kPair / kDistance;
  constexpr int kRow = kGroup * 2 * kDistance + kPair % kDistance;
  constexpr int kTwiddle = kRows - (kRows >> kStage) + kGroup;
  inverse_butterfly<inverse_bound(kIn, kRow, kStage)>(x[kRow], x[kRow + kDistance], tw.t[kTwiddle],
                                                      c);
  if constexpr (kPair + 1 < kRows / 2) {
    inverse_rows<kRadixLog, kIn, kStage, kPair + 1>(x, tw, c);
  } else if constexpr (kStage + 1 < kRadixLog) {
    inverse_rows<kRadixLog, kIn, kStage + 1, 0>(x, tw, c);
  }
}

/// Where the first pass finds its words: in `a` itself, or as products of two factors.
struct Words {
  const std::uint64_t* a;

  Vec operator()(std::size_t j, const Constants&) const { return _mm512_loadu_si512(a + j); }
};

struct Products {
  const std::uint64_t* a;
  const std::uint64_t* slots;
  const std::uint64_t* companions;

  Vec operator()(std::size_t j, const Constants& c) const {
    return multiply_dirty(_mm512_loadu_si512(a + j), _mm512_loadu_si512(slots + j),
                          _mm512_loadu_si512(companions + j), c.minus_q);
  }
};

/// First pass: the tail and, on the same registers, the stages of distance 8, 16 (and 32).
template <int kRadixLog, class Source>
void inverse_first_pass(const Source& source, std::uint64_t* a, const NttView& view,
                        const Constants& c, const Ahead& ahead) {
  constexpr int kRows = 1 << kRadixLog;
  const std::size_t groups = view.n / (8U << kRadixLog);
  const std::uint64_t* table = view.inverse_tail;
  Lines lines(ahead.write, ahead.write_bytes, groups);
  for (std::size_t i = 0, j = 0; i < groups; ++i, j += 8 * kRows) {
    lines.write();
    Vec x[kRows];
#pragma GCC unroll 4
    for (std::size_t b = 0; b < kRows / 2; ++b, table += kTailWords) {
      const std::size_t block = j + kBlock * b;
      inverse_tail(source(block, c), source(block + 8, c), table, x[2 * b], x[2 * b + 1], c);
    }
    const InverseTwiddles<kRadixLog> tw(view, view.n / 16, i);
    inverse_rows<kRadixLog, 2>(x, tw, c);
    store_rows<kRows>(a + j, 8, x);
  }
}

/// Columns [from, to) of one group of rows, whose words are below kIn q.
template <int kRadixLog, int kIn>
[[gnu::always_inline]] inline void inverse_columns(std::uint64_t* p, std::size_t t,
                                                   std::size_t from, std::size_t to,
                                                   const InverseTwiddles<kRadixLog>& tw,
                                                   const Constants& c, Lines& lines) {
  constexpr int kRows = 1 << kRadixLog;
  for (std::size_t j = from; j < to; j += 8) {
    lines.read();
    Vec x[kRows];
    load_rows<kRows>(x, p + j, t);
    inverse_rows<kRadixLog, kIn>(x, tw, c);
    store_rows<kRows>(p + j, t, x);
  }
}

/// The pass before left its rows side by side in each row of this one: what is a row's index there
/// is a column's place here.
template <int kRadixLog>
void inverse_pass(std::uint64_t* a, const NttView& view, std::size_t t, const Constants& c,
                  Lines& lines) {
  static_assert(inverse_bound(8, 1, 3) <= 8 && inverse_bound(8, 3, 3) <= 4 &&
                inverse_bound(4, 3, 3) <= 4 && inverse_bound(8, 7, 3) <= 2);
  static_assert(inverse_bound(8, 0, 2) <= 8 && inverse_bound(8, 1, 2) <= 4 &&
                inverse_bound(8, 3, 2) <= 2);
  const std::size_t groups = view.n / (t << kRadixLog);
  for (std::size_t i = 0; i < groups; ++i) {
    const InverseTwiddles<kRadixLog> tw(view, view.n / (2 * t), i);
    std::uint64_t* p = a + (i * t << kRadixLog);
    inverse_columns<kRadixLog, 8>(p, t, 0, t / 4, tw, c, lines);
    inverse_columns<kRadixLog, 4>(p, t, t / 4, t / 2, tw, c, lines);
    inverse_columns<kRadixLog, 2>(p, t, t / 2, t, tw, c, lines);
  }
}

/// Of the log2(n) - 3 stages above the tail, how many passes are radix-4 (the rest are radix-8).
inline unsigned radix4_passes(unsigned stages) { return (3 - stages % 3) % 3; }

/// Radix-8 passes come first: they do more with the tail's registers.
template <class Source>
void inverse(const Source& source, std::uint64_t* a, const NttView& view, const Ahead& ahead) {
  const Constants c(view.modulus.q);
  const unsigned stages = view.log_n - 3;
  const unsigned small = radix4_passes(stages);
  unsigned large = (stages - 2 * small) / 3;
  std::size_t t;  // distance of the next stage
  std::size_t steps = large * (view.n / 64) + small * (view.n / 32);
  if (large > 0) {
    inverse_first_pass<3>(source, a, view, c, ahead);
    --large;
    steps -= view.n / 64;
    t = 64;
  } else {
    inverse_first_pass<2>(source, a, view, c, ahead);
    steps -= view.n / 32;
    t = 32;
  }
  Lines lines(ahead.read, ahead.read_bytes, steps + 1);
  for (; large > 0; --large, t *= 8) inverse_pass<3>(a, view, t, c, lines);
  for (; t < view.n; t *= 4) inverse_pass<2>(a, view, t, c, lines);
}

// --- forward ------------------------------------------------------------------------------------

/// (x, y) -> (x + y * w, x - y * w): both 2q above x.
inline void forward_butterfly(Vec& x, Vec& y, const Twiddle& t, const Constants& c) {
  const Vec product = multiply(y, t, c);
  y = _mm512_sub_epi64(_mm512_add_epi64(x, c.q2), product);
  x = _mm512_add_epi64(x, product);
}

/// Stages of distance t * 2^(k-1) ... t, on 2^k rows t apart. `reduces`: words come in too large;
/// those of the upper rows are multiplied first.
template <int kRadixLog>
void forward_pass(std::uint64_t* a, const NttView& view, std::size_t t, bool reduces,
                  const Constants& c) {
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
    std::uint64_t* p = a + (i * t << kRadixLog);
    for (std::size_t j = 0; j < t; j += 8) {
      Vec x[kRows];
      load_rows<kRows>(x, p + j, t);
      if (reduces) {
#pragma GCC unroll 4
        for (int r = 0; r < kRows / 2; ++r) x[r] = reduce(x[r], c);
      }
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
      store_rows<kRows>(p + j, t, x);
    }
  }
}

/// Stages of distance 4, 2, 1; natural order in, storage order and [0, q) out.
void forward_tail(std::uint64_t* a, const NttView& view, bool reduces, const Constants& c) {
  const Canonical canonical(view.modulus);
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
    if (reduces) x4 = reduce(x4, c);
    forward_butterfly(x4, y4, load_tail(table + kTailFour), c);
    Vec x2 = _mm512_permutex2var_epi64(x4, two_low, y4);
    Vec y2 = _mm512_permutex2var_epi64(x4, two_high, y4);
    forward_butterfly(x2, y2, load_tail(table + kTailTwo), c);
    Vec x = _mm512_unpacklo_epi64(x2, y2);
    Vec y = _mm512_unpackhi_epi64(x2, y2);
    forward_butterfly(x, y, load_tail(table + kTailOne), c);
    _mm512_storeu_si512(a + k, canonical(x));
    _mm512_storeu_si512(a + k + 8, canonical(y));
  }
}

/// Bound, in q, of the words between forward passes.
class ForwardBound {
 public:
  /// Whether words must be reduced before `stages` more.
  bool add(int stages) {
    const bool reduces = bound_ + 2 * stages > 2 * kLargest;
    bound_ = (reduces ? 2 : bound_) + 2 * stages;
    return reduces;
  }

 private:
  int bound_ = 1;
};

}  // namespace

void ntt_forward(std::uint64_t* a, const NttView& view) {
  const Constants c(view.modulus.q);
  unsigned small = radix4_passes(view.log_n - 3);
  ForwardBound bound;
  std::size_t t = view.n;  // distance of the stage done last, times two
  while (t > 8) {
    if (small > 0) {
      t /= 4;
      forward_pass<2>(a, view, t, bound.add(2), c);
      --small;
    } else {
      t /= 8;
      forward_pass<3>(a, view, t, bound.add(3), c);
    }
  }
  forward_tail(a, view, bound.add(3), c);
}

void ntt_inverse_lazy(std::uint64_t* a, const NttView& view) {
  inverse(Words{a}, a, view, Ahead{});
}

void multiply_inverse(const MultiplyInverse& args) {
  inverse(Products{args.a, args.slots, args.companions}, args.out, *args.view, args.ahead);
}

}  // namespace veilsum::isa::avx512
