// Layer: isa, level avx2. Negacyclic NTT with psi merged into the twiddles (Longa & Naehrig 2016),
// on doubles: residues are signed and lazy, products by FMA (vector_ops.h), so a butterfly is eight
// instructions, four for the multiplier and four additions, and has no comparison. Integers become
// doubles in the first pass and integers again in the last. Passes are radix-8 (three stages on
// eight registers) or radix-4; the stages of distance 1 and 2 run in registers by 64-bit permutes,
// in the same pass as those of distance 4, 8 (and 16). The Shoup companions of the tables stay
// unused: the quotient comes from the product. Twiddles become doubles at use; where a factor may
// be as large as 16 q they are centred, |w| < q / 2.
//
// Ranges, in units of q; products and reductions take up to 16 (8 where w is not centred), sums up
// to
// 32. A product is below 1/2 + |x| / 32 (1/2 + |x| / 16).
//  * Inverse (Gentleman-Sande): a sum doubles the magnitude. Distance 1: sums 2, products 5/8 (of
//    differences 2, not centred). Distance 2: sums 4, products 3/4 (not centred). A pass takes
//    inputs up to 4. Stage A: sums 8, products of differences 8: 3/4 (1 in the first pass, not
//    centred). Stage B: sums 16 and 2, products of differences 16 and 2: 1 and 9/16. Radix-4 ends
//    here and reduces the
//    16. Radix-8 reduces both 16s, to 1/2; stage C: sums 1, 4, 2, 9/8 in rows 0 to 3, products
//    below 5/8 in rows 4 to 7: at most 4 again.
//  * Forward (Cooley-Tukey): x +- y w adds a product: a bound A becomes A + 1/2 + A / 32. Fifteen
//  stages
//    (n = 32768) lead from 1 to less than 11. Nothing is reduced before the end, and canonical()
//    takes 15.
#include "isa/avx2/kernels_internal.h"
#include "isa/avx2/vector_ops.h"

namespace veilsum::isa::avx2 {
namespace {

constexpr std::size_t kBlock = 16;      ///< elements of a block of the storage order
constexpr std::size_t kTailWords = 48;  ///< tail table words of a block
constexpr std::size_t kTailTwo = 16;    ///< place of the factors of distance 2 among them

/// The twiddles of one group of a radix-2^k pass, centred, in memory: loads broadcast them for
/// free.
template <int kRadixLog>
struct Twiddles {
  alignas(32) double w[8];  ///< radix-8: 4, 2, 1 of the stages of smaller to larger distance

  /// First stage of the inverse (last of the forward transform) has `m` groups, these are 2^(k-1)
  /// of them from group 2^(k-1) * i on.
  /// kCentreFirst: the stage of smallest distance too.
  template <bool kCentreFirst = true>
  void load_all(const std::uint64_t* roots, std::size_t m, std::size_t i, const Field& f) {
    if constexpr (kRadixLog == 3) {
      const Real first = to_real(load(roots + m + 4 * i));
      _mm256_store_pd(w, kCentreFirst ? f.centre(first) : first);
      const Vec rest = join(load_half(roots + m / 2 + 2 * i),
                            _mm_loadl_epi64(reinterpret_cast<const Block*>(roots + m / 4 + i)));
      _mm256_store_pd(w + 4, f.centre(to_real(rest)));
    } else {
      const Vec all = join(load_half(roots + m + 2 * i),
                           _mm_loadl_epi64(reinterpret_cast<const Block*>(roots + m / 2 + i)));
      _mm256_store_pd(w, f.centre(to_real(all)));
    }
  }
  Real at(int k) const { return _mm256_broadcast_sd(w + k); }
};

// --- inverse ------------------------------------------------------------------------------------

/// (x, y) -> (x + y, (x - y) w)
inline void inverse_butterfly(Real& x, Real& y, Real w, const Field& f) {
  const Real difference = _mm256_sub_pd(x, y);
  x = _mm256_add_pd(x, y);
  y = f.multiply(difference, w);
}

template <int kRadixLog>
inline void inverse_rows(Real* x, const Twiddles<kRadixLog>& tw, const Field& f) {
  if constexpr (kRadixLog == 2) {
    inverse_butterfly(x[0], x[1], tw.at(0), f);
    inverse_butterfly(x[2], x[3], tw.at(1), f);
    inverse_butterfly(x[0], x[2], tw.at(2), f);
    inverse_butterfly(x[1], x[3], tw.at(2), f);
    x[0] = f.reduce(x[0]);
  } else {
    inverse_butterfly(x[0], x[1], tw.at(0), f);
    inverse_butterfly(x[2], x[3], tw.at(1), f);
    inverse_butterfly(x[4], x[5], tw.at(2), f);
    inverse_butterfly(x[6], x[7], tw.at(3), f);
    inverse_butterfly(x[0], x[2], tw.at(4), f);
    inverse_butterfly(x[1], x[3], tw.at(4), f);
    inverse_butterfly(x[4], x[6], tw.at(5), f);
    inverse_butterfly(x[5], x[7], tw.at(5), f);
    x[0] = f.reduce(x[0]);
    x[4] = f.reduce(x[4]);
    inverse_butterfly(x[0], x[4], tw.at(6), f);
    inverse_butterfly(x[1], x[5], tw.at(6), f);
    inverse_butterfly(x[2], x[6], tw.at(6), f);
    inverse_butterfly(x[3], x[7], tw.at(6), f);
  }
}

/// Stages of distance 1 and 2 on eight elements, slots whose low 52 bits are in [0, 2q): sums and
/// products of the second stage, elements 0 1 4 5 and 2 3 6 7.
inline void inverse_eight(const std::uint64_t* even, const std::uint64_t* odd,
                          const std::uint64_t* roots_one, Real w_two, Real sum_centre,
                          const Field& f, Real& upper, Real& lower) {
  const Vec y = _mm256_and_si256(load(odd), splat(kMask52));
  const Real raised_x = raise(_mm256_and_si256(load(even), splat(kMask52)));
  const Real difference = _mm256_sub_pd(raised_x, raise(y));
  // 2^52 + x + y as an integer: below 2^52 + 4q
  const Vec sum = _mm256_add_epi64(bits_of(raised_x), y);
  const Real s = _mm256_sub_pd(real_of(sum), sum_centre);
  const Real p = f.multiply(difference, to_real(load(roots_one)));
  upper = _mm256_unpacklo_pd(s, p);
  lower = _mm256_unpackhi_pd(s, p);
  inverse_butterfly(upper, lower, w_two, f);
}

inline void store_reals(std::uint64_t* p, Real x) {
  _mm256_storeu_pd(reinterpret_cast<double*>(p), x);
}
inline Real load_reals(const std::uint64_t* p) {
  return _mm256_loadu_pd(reinterpret_cast<const double*>(p));
}

/// First pass, stages of distance 1, 2, 4, 8 (and 16): integers in, doubles out. The first two
/// stages run ahead of the others, through the cache: the whole chain of five, some 170 cycles
/// long, leaves a processor nothing else to do in its window.
template <int kRadixLog>
struct InverseFirstPass {
  static constexpr std::size_t kRows = std::size_t{1} << kRadixLog;
  static constexpr std::size_t kLead = 2;  ///< groups ahead; there are four or more

  std::uint64_t* a;
  const NttView& view;
  Field f;
  Real sum_centre;

  InverseFirstPass(std::uint64_t* elements, const NttView& ntt, const Field& field)
      : a(elements),
        view(ntt),
        f(field),
        sum_centre(splat(kTwo52 + 2.0 * static_cast<double>(ntt.modulus.q))) {}

  void two_stages(std::size_t group) const {
#pragma GCC unroll 2
    for (std::size_t b = 0; b < kRows / 4; ++b) {
      const std::size_t block = group * (kRows / 4) + b;
      std::uint64_t* p = a + kBlock * block;
      const std::uint64_t* one = view.inverse_roots + view.n / 2 + 8 * block;
      const Real two = to_real(load(view.inverse_roots + view.n / 4 + 4 * block));
      Real upper[2], lower[2];
      inverse_eight(p, p + 8, one, _mm256_permute4x64_pd(two, 0x50), sum_centre, f, upper[0],
                    lower[0]);
      inverse_eight(p + 4, p + 12, one + 4, _mm256_permute4x64_pd(two, 0xfa), sum_centre, f,
                    upper[1], lower[1]);
      // Stored by halves, which costs no permute: 0 1 | 2 3 | 4 5 | 6 7.
#pragma GCC unroll 2
      for (std::size_t e = 0; e < 2; ++e) {
        double* out = reinterpret_cast<double*>(p + 8 * e);
        _mm_storeu_pd(out, _mm256_castpd256_pd128(upper[e]));
        _mm_storeu_pd(out + 2, _mm256_castpd256_pd128(lower[e]));
        _mm_storeu_pd(out + 4, _mm256_extractf128_pd(upper[e], 1));
        _mm_storeu_pd(out + 6, _mm256_extractf128_pd(lower[e], 1));
      }
    }
  }

  void other_stages(std::size_t group) const {
    Twiddles<kRadixLog> tw;
    tw.template load_all<false>(view.inverse_roots, view.n / 8, group, f);
    std::uint64_t* p = a + 4 * kRows * group;
    Real x[kRows];
#pragma GCC unroll 8
    for (std::size_t r = 0; r < kRows; ++r) x[r] = load_reals(p + 4 * r);
    inverse_rows<kRadixLog>(x, tw, f);
#pragma GCC unroll 8
    for (std::size_t r = 0; r < kRows; ++r) store_reals(p + 4 * r, x[r]);
  }

  void run() const {
    const std::size_t groups = view.n / (4 * kRows);
    for (std::size_t i = 0; i < kLead; ++i) two_stages(i);
    for (std::size_t i = 0; i + kLead < groups; ++i) {
      two_stages(i + kLead);
      other_stages(i);
    }
    for (std::size_t i = groups - kLead; i < groups; ++i) other_stages(i);
  }
};

/// Stages of distance t ... t * 2^(k-1), on rows t apart. Doubles in; doubles or integers out.
template <int kRadixLog, bool kLast>
void inverse_pass(std::uint64_t* a, const NttView& view, std::size_t t, const Field& f) {
  constexpr int kRows = 1 << kRadixLog;
  const Real above = splat(kTwo52 + 4.0 * static_cast<double>(view.modulus.q));
  const std::size_t groups = view.n / (t << kRadixLog);
  for (std::size_t i = 0; i < groups; ++i) {
    Twiddles<kRadixLog> tw;
    tw.load_all(view.inverse_roots, view.n / (2 * t), i, f);
    std::uint64_t* p = a + i * t * kRows;
    for (std::size_t j = 0; j < t; j += 4, p += 4) {
      Real x[kRows];
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) x[r] = load_reals(p + static_cast<std::size_t>(r) * t);
      inverse_rows<kRadixLog>(x, tw, f);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
        std::uint64_t* out = p + static_cast<std::size_t>(r) * t;
        if constexpr (kLast) {  // magnitudes up to 4q: into [0, 8q), below the bits of 2^52
          store(out, bits_of(_mm256_add_pd(x[r], above)));
        } else {
          store_reals(out, x[r]);
        }
      }
    }
  }
}

// --- forward ------------------------------------------------------------------------------------

/// (x, y) -> (x + y w, x - y w)
inline void forward_butterfly(Real& x, Real& y, Real w, const Field& f) {
  const Real product = f.multiply(y, w);
  y = _mm256_sub_pd(x, product);
  x = _mm256_add_pd(x, product);
}

template <int kRadixLog>
inline void forward_rows(Real* x, const Twiddles<kRadixLog>& tw, const Field& f) {
  if constexpr (kRadixLog == 2) {
    forward_butterfly(x[0], x[2], tw.at(2), f);
    forward_butterfly(x[1], x[3], tw.at(2), f);
    forward_butterfly(x[0], x[1], tw.at(0), f);
    forward_butterfly(x[2], x[3], tw.at(1), f);
  } else {
    forward_butterfly(x[0], x[4], tw.at(6), f);
    forward_butterfly(x[1], x[5], tw.at(6), f);
    forward_butterfly(x[2], x[6], tw.at(6), f);
    forward_butterfly(x[3], x[7], tw.at(6), f);
    forward_butterfly(x[0], x[2], tw.at(4), f);
    forward_butterfly(x[1], x[3], tw.at(4), f);
    forward_butterfly(x[4], x[6], tw.at(5), f);
    forward_butterfly(x[5], x[7], tw.at(5), f);
    forward_butterfly(x[0], x[1], tw.at(0), f);
    forward_butterfly(x[2], x[3], tw.at(1), f);
    forward_butterfly(x[4], x[5], tw.at(2), f);
    forward_butterfly(x[6], x[7], tw.at(3), f);
  }
}

/// Integers in [0, q) come into the first pass, which is kFirst.
template <int kRadixLog, bool kFirst>
void forward_pass(std::uint64_t* a, const NttView& view, std::size_t t, const Field& f) {
  constexpr int kRows = 1 << kRadixLog;
  const std::size_t groups = view.n / (t << kRadixLog);
  for (std::size_t i = 0; i < groups; ++i) {
    Twiddles<kRadixLog> tw;
    tw.load_all(view.roots, view.n / (2 * t), i, f);
    std::uint64_t* p = a + i * t * kRows;
    for (std::size_t j = 0; j < t; j += 4, p += 4) {
      Real x[kRows];
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
        const std::uint64_t* in = p + static_cast<std::size_t>(r) * t;
        x[r] = kFirst ? to_real(load(in)) : load_reals(in);
      }
      forward_rows<kRadixLog>(x, tw, f);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) store_reals(p + static_cast<std::size_t>(r) * t, x[r]);
    }
  }
}

/// Stages of distance 2 and 1 on eight elements in natural order -> slots in [0, q).
inline void forward_eight(Real low, Real high, const std::uint64_t* roots_two,
                          const std::uint64_t* roots_one, const Field& f, std::uint64_t* even,
                          std::uint64_t* odd) {
  Real upper = _mm256_permute2f128_pd(low, high, 0x20);  // elements 0 1 4 5
  Real lower = _mm256_permute2f128_pd(low, high, 0x31);  // elements 2 3 6 7
  forward_butterfly(upper, lower, f.centre(to_real(load(roots_two))), f);
  Real x = _mm256_unpacklo_pd(upper, lower);
  Real y = _mm256_unpackhi_pd(upper, lower);
  forward_butterfly(x, y, f.centre(to_real(load(roots_one))), f);
  store(even, to_integer(f.canonical(x)));
  store(odd, to_integer(f.canonical(y)));
}

/// Last pass, stages of distance (16,) 8, 4, 2, 1: doubles in, integers in storage order out.
template <int kRadixLog>
void forward_last_pass(std::uint64_t* a, const NttView& view, const Field& f) {
  constexpr int kRows = 1 << kRadixLog;
  const std::size_t groups = view.n / (4 * kRows);
  for (std::size_t i = 0; i < groups; ++i) {
    Twiddles<kRadixLog> tw;
    tw.load_all(view.roots, view.n / 8, i, f);
    const std::uint64_t* p = a + 4 * kRows * i;
    Real x[kRows];
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) x[r] = load_reals(p + 4 * static_cast<std::size_t>(r));
    forward_rows<kRadixLog>(x, tw, f);
#pragma GCC unroll 4
    for (int e = 0; e < kRows / 2; ++e) {
      const std::size_t block = i * (kRows / 4) + static_cast<std::size_t>(e / 2);
      const std::size_t half = 4 * static_cast<std::size_t>(e % 2);
      forward_eight(x[2 * e], x[2 * e + 1], view.tail + kTailWords * block + kTailTwo + half,
                    view.roots + view.n / 2 + 8 * block + half, f, a + kBlock * block + half,
                    a + kBlock * block + 8 + half);
    }
  }
}

/// Of the log2(n) - 2 stages above distance 2, how many passes are radix-4 (the rest are radix-8).
inline unsigned radix4_passes(unsigned stages) { return (3 - stages % 3) % 3; }

}  // namespace

// n >= 64: four stages or more above distance 2, so at least two passes.

void ntt_forward(std::uint64_t* a, const NttView& view) {
  const Field f(view.modulus.q);
  unsigned small = radix4_passes(view.log_n - 2);
  // Radix-4 passes come first but for n = 64, whose last one is radix-4 as well.
  const std::size_t last = view.n == 64 ? 8 : 16;  // largest distance in the last pass
  std::size_t t = view.n;                          // distance of the stage done last
  bool first = true;
  while (t > 2 * last) {
    if (small > 0) {
      t /= 4;
      --small;
      first ? forward_pass<2, true>(a, view, t, f) : forward_pass<2, false>(a, view, t, f);
    } else {
      t /= 8;
      first ? forward_pass<3, true>(a, view, t, f) : forward_pass<3, false>(a, view, t, f);
    }
    first = false;
  }
  if (view.n == 64) {
    forward_last_pass<2>(a, view, f);
  } else {
    forward_last_pass<3>(a, view, f);
  }
}

void ntt_inverse_lazy(std::uint64_t* a, const NttView& view) {
  const Field f(view.modulus.q);
  unsigned small = radix4_passes(view.log_n - 2);
  std::size_t t;  // distance of the next stage
  if (view.n == 64) {
    InverseFirstPass<2>(a, view, f).run();
    --small;
    t = 16;
  } else {
    InverseFirstPass<3>(a, view, f).run();
    t = 32;
  }
  while (t < view.n) {
    if (small > 0) {
      --small;
      4 * t == view.n ? inverse_pass<2, true>(a, view, t, f)
                      : inverse_pass<2, false>(a, view, t, f);
      t *= 4;
    } else {
      8 * t == view.n ? inverse_pass<3, true>(a, view, t, f)
                      : inverse_pass<3, false>(a, view, t, f);
      t *= 8;
    }
  }
}

void multiply_inverse(const MultiplyInverse& args) {
  multiply_slots(args.a, args.slots, args.companions, args.view->modulus, args.view->n, args.out);
  ntt_inverse_lazy(args.out, *args.view);
}

}  // namespace veilsum::isa::avx2
