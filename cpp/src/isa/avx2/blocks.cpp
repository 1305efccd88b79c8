// Layer: isa, level avx2. The two ends of a block in one pass each: error sampling, planes, pad,
// reduction and packing without leaving registers; and unpacking, pad, Chinese remainder (Garner's
// mixed radix), rounding and exact division into planes. Residues are doubles (vector_ops.h),
// multi-word numbers 52-bit words whose products FMA splits exactly. No branch or index depends on
// data; all loops depend on public sizes.
#include "isa/avx2/kernels_internal.h"
#include "isa/avx2/vector_ops.h"

namespace veilsum::isa::avx2 {
namespace {

/// Packed rows are written and read in order, block after block, with microseconds of work in the
/// cache between, in which memory would lie idle: what the next block of 2048 coefficients will
/// touch is asked for here, into the second-level cache. Prefetching past the end is harmless.
constexpr std::size_t kAheadBytes = 2048 / kGroup * kGroupBytes;

/// A public constant in [0, q) as the representative of magnitude below q / 2.
inline double centred(std::uint64_t x, std::uint64_t q) {
  const double value = static_cast<double>(static_cast<std::int64_t>(x));
  return 2 * x > q ? value - static_cast<double>(static_cast<std::int64_t>(q)) : value;
}

// --- encrypt ------------------------------------------------------------------------------------

/// One limb and one plane: (m + 1) Delta <= q, so m Delta is exact in a double, and pad - q, e and
/// m Delta sum up to [-q - 21, 2q): Delta > 42. In reach of canonical(). Words come in fours; a
/// group of eight is packed when its second half is there.
struct EncryptFinish {
  ErrorSampler sampler;
  Field field;
  Real centre, delta;
  Vec first_half;
  const std::uint64_t* pads;
  const std::uint64_t* plane;
  std::uint8_t* out;

  explicit EncryptFinish(const EncryptBlock& args)
      : field(args.limbs[0].modulus.q),
        centre(splat(kTwo52 + static_cast<double>(args.limbs[0].modulus.q + kCbdWidth))),
        delta(splat(static_cast<double>(args.limbs[0].plane_scale[0]))),
        first_half(_mm256_setzero_si256()),
        pads(args.pads),
        plane(args.planes),
        out(args.out) {}

  void operator()(std::size_t j, Vec words) {
    const Vec padded = _mm256_add_epi64(sampler(words), load(pads + j));  // below 2q + 43 < 2^52
    const Real x =
        _mm256_fmadd_pd(to_real(load(plane + j)), delta, _mm256_sub_pd(raise(padded), centre));
    const Vec c = to_integer(field.canonical(x));
    if (j % kGroup == 0) {
      first_half = c;
    } else {
      __builtin_prefetch(out + kAheadBytes, 1, 2);  // for writing
      store_group(out, first_half, c);
      out += kGroupBytes;
    }
  }
};

template <int kRounds>
void encrypt_single(const EncryptBlock& args) {
  EncryptFinish finish(args);
  for_each_four<kRounds>(*args.error_key, args.error_index, args.coefficients, finish);
}

/// x + sum_p plane_p * scale_p mod q, canonical, for any number of planes. x is in [-q - 21, q +
/// 21); each product, of m < 2^50 and a centred factor, has a magnitude below 5/8 q + 1. Four of
/// them between reductions: below q + 22 + 4 (5/8 q + 1) < 4q.
inline Vec add_planes(Real x, const Field& field, const double* scales, const std::uint64_t* plane,
                      std::size_t stride, std::size_t plane_count) {
  for (std::size_t p = 0; p < plane_count; ++p) {
    const Real scale = _mm256_broadcast_sd(scales + p);
    x = _mm256_add_pd(x, field.multiply(to_real(load(plane + p * stride)), scale));
    if (p % 4 == 3) x = field.reduce(x);
  }
  return to_integer(field.canonical(field.reduce(x)));
}

constexpr std::size_t kMaxEncryptPlanes = 64;

/// The plane factors of all limbs, centred.
struct PlaneScales {
  double of[kMaxLimbs][kMaxEncryptPlanes];

  template <class Args>
  explicit PlaneScales(const Args& args) {
    for (std::size_t limb = 0; limb < args.limb_count; ++limb) {
      const LimbView& view = args.limbs[limb];
      for (std::size_t p = 0; p < args.plane_count; ++p) {
        of[limb][p] = centred(view.plane_scale[p], view.modulus.q);
      }
    }
  }
};

template <int kRounds>
void encrypt_general(const EncryptBlock& args) {
  const ErrorSampler sampler;
  const PlaneScales scales(args);
  const std::size_t n = args.coefficients;
  const std::size_t row_bytes = n / kGroup * kGroupBytes;
  Block s[kChunkBlocks];
  Vec errors[4];
  for (std::size_t j = 0; j < n; j += kChunk) {
    ctr_chunk<kRounds>(*args.error_key, args.error_index, j / 2, s);
#pragma GCC unroll 4
    for (std::size_t i = 0; i < 4; ++i) errors[i] = sampler(words_of(s, i));
    for (std::size_t limb = 0; limb < args.limb_count; ++limb) {
      const LimbView& view = args.limbs[limb];
      const Field field(view.modulus.q);
      const double centre = static_cast<double>(view.modulus.q + kCbdWidth);
      const std::uint64_t* pad = args.pads + limb * args.pad_stride + j;
      const std::uint64_t* plane = args.planes + j;
      std::uint8_t* out = args.out + limb * row_bytes + j / kGroup * kGroupBytes;
      const auto four = [&](std::size_t i) {  // pad + e - q is in [-q - 21, q + 21)
        const Real x = to_real(_mm256_add_epi64(errors[i], load(pad + 4 * i)), centre);
        return add_planes(x, field, scales.of[limb], plane + 4 * i, args.plane_stride,
                          args.plane_count);
      };
      for (std::size_t i = 0; i < 2 && j + 8 * i < n; ++i) {
        const Vec low = four(2 * i);
        store_group(out + kGroupBytes * i, low, four(2 * i + 1));
      }
    }
  }
  wipe(errors);
  wipe(s);
}

template <int kRounds>
void encrypt_any(const EncryptBlock& args) {
  if (args.limb_count == 1 && args.plane_count == 1) {
    encrypt_single<kRounds>(args);
  } else {
    encrypt_general<kRounds>(args);
  }
}

// --- add a message to a packed row ---------------------------------------------------------------

/// One limb and one plane: m Delta is exact in a double, and x + m Delta is in [0, 2q).
void add_message_single(const AddMessage& args) {
  const Field field(args.limbs[0].modulus.q);
  const Real delta = splat(static_cast<double>(args.limbs[0].plane_scale[0]));
  const auto four = [&](Vec x, std::size_t j) {
    const Real sum = _mm256_fmadd_pd(to_real(load(args.planes + j)), delta, to_real(x));
    return to_integer(field.canonical(sum));
  };
  std::uint8_t* p = args.packed;
  for (std::size_t j = 0; j < args.coefficients; j += kGroup, p += kGroupBytes) {
    __builtin_prefetch(p + kAheadBytes, 1, 2);  // for writing
    const Vec low = four(load_residues_low(p), j);
    store_group(p, low, four(load_residues_high(p), j + 4));
  }
}

void add_message_general(const AddMessage& args) {
  const PlaneScales scales(args);
  std::uint8_t* p = args.packed;
  for (std::size_t limb = 0; limb < args.limb_count; ++limb) {
    const Field field(args.limbs[limb].modulus.q);
    const auto four = [&](Vec x, std::size_t j) {
      return add_planes(to_real(x), field, scales.of[limb], args.planes + j, args.plane_stride,
                        args.plane_count);
    };
    for (std::size_t j = 0; j < args.coefficients; j += kGroup, p += kGroupBytes) {
      const Vec low = four(load_residues_low(p), j);
      store_group(p, low, four(load_residues_high(p), j + 4));
    }
  }
}

// --- decrypt, one limb --------------------------------------------------------------------------

/// floor(x / d) for integers 0 <= x < 2^50, 2 <= d < 2^50: the nearest integer to (x + 1/2) / d -
/// 1/2, which is at least 1 / (2d) away from a tie. With r = RN(1 / d) the FMA computes x r + (r -
/// 1) / 2; the error of r gives x u / d <= 2^-3 / d, of the constant 2^-54 + 2^-54 / d, of the
/// FMA's rounding at most u max(1/2, x / d) <= 2^-54 + 2^-3 / d. As 1 / d > 2^-50, all of it is
/// below 0.4 / d.
struct Divisor {
  Real d, reciprocal, bias;

  void set(std::uint64_t divisor, double divisor_reciprocal) {
    d = splat(static_cast<double>(divisor));
    reciprocal = splat(divisor_reciprocal);
    bias = splat(0.5 * divisor_reciprocal - 0.5);
  }
  /// 1.5 * 2^52 + the quotient.
  Real raised_quotient(Real x) const {
    return _mm256_add_pd(_mm256_fmadd_pd(x, reciprocal, bias), splat(kRound));
  }
};

inline Vec drop(Real raised) { return _mm256_sub_epi64(bits_of(raised), splat(kRoundBits)); }

bool fits_single(const DecodeView& view) {
  if (view.limb_count != 1 || view.words != 1) return false;
  bool fits = true;
  for (std::size_t p = 0; p < view.plane_count; ++p) {
    fits = fits && view.divisor[p][0] >= 2 && view.divisor[p][0] <= kResidueMask;
  }
  return fits;
}

template <bool kOnePlane>
void decrypt_single(const DecryptBlock& args) {
  const DecodeView& view = *args.decode;
  const Field field(view.modulus[0].q);
  const Vec centre = splat(kRoundBits + view.half_delta[0]);
  Divisor divisors[kMaxPlanes];
  for (std::size_t p = 0; p < view.plane_count; ++p) {
    divisors[p].set(view.divisor[p][0], view.divisor_reciprocal[p]);
  }
  const Divisor lowest = divisors[0];
  const auto four = [&](Vec c, std::size_t j) {
    // c - pad + Delta / 2 is in (-2q, 1.5q): Delta <= q; plus q it is in reach of canonical().
    const Vec difference = _mm256_sub_epi64(_mm256_add_epi64(c, centre), load(args.pads + j));
    const Real signed_x = _mm256_sub_pd(real_of(difference), splat(kRound));
    Real x = field.canonical(_mm256_add_pd(signed_x, field.q));
    if constexpr (!kOnePlane) {
      for (std::size_t p = view.plane_count - 1; p > 0; --p) {
        const Real raised = divisors[p].raised_quotient(x);
        store(args.planes + p * args.plane_stride + j, drop(raised));
        x = _mm256_fnmadd_pd(_mm256_sub_pd(raised, splat(kRound)), divisors[p].d, x);
      }
    }
    store(args.planes + j, drop(lowest.raised_quotient(x)));
  };
  const std::uint8_t* p = args.packed;
  for (std::size_t j = 0; j < args.coefficients; j += kGroup, p += kGroupBytes) {
    _mm_prefetch(reinterpret_cast<const char*>(p) + kAheadBytes, _MM_HINT_T1);
    four(load_residues_low(p), j);
    four(load_residues_high(p), j + 4);
  }
}

// --- decrypt, several limbs ---------------------------------------------------------------------
// Numbers are kWords registers of 52-bit words, little-endian. Words are signed between carries.

/// a * b = high * 2^52 + low for integers 0 <= a < 2^50, 0 <= b < 2^52, |low| <= 2^51. Added to
/// 1.5 * 2^104, whose last place is 2^52, the product rounds to a multiple of that; what is left is
/// exact (both below 2^53 times their last place).
struct Product {
  Real raised_high;  // 1.5 * 2^104 + high * 2^52
  Real low;
  static constexpr double kTop = 0x1.8p104;
  static constexpr std::uint64_t kTopBits = 0x4678000000000000u;

  Product(Real a, Real b) : raised_high(_mm256_fmadd_pd(a, b, splat(kTop))) {
    low = _mm256_fmadd_pd(a, b, _mm256_sub_pd(splat(kTop), raised_high));
  }
  Vec high_word() const { return _mm256_sub_epi64(bits_of(raised_high), splat(kTopBits)); }
  Vec low_word() const { return to_integer_signed(low); }
};

inline Real broadcast_word(std::uint64_t word) {
  return splat(static_cast<double>(static_cast<std::int64_t>(word)));
}

/// Lower words into [0, 2^52); the top word takes the carry. Words are above -2^62.
template <int kWords>
inline void carry(Vec* x) {
#pragma GCC unroll 4
  for (int k = 0; k + 1 < kWords; ++k) {
    // an arithmetic shift by 52, on a number made positive
    const Vec shifted =
        _mm256_srli_epi64(_mm256_add_epi64(x[k], splat(std::uint64_t{1} << 62)), 52);
    x[k + 1] = _mm256_add_epi64(x[k + 1], _mm256_sub_epi64(shifted, splat(std::uint64_t{1} << 10)));
    x[k] = _mm256_and_si256(x[k], splat(kMask52));
  }
}

/// x >= y ? x - y : x (when kKeep); returns 1 in the lanes where x >= y, else 0.
template <int kWords, bool kKeep>
inline Vec subtract_if_above(Vec* x, const std::uint64_t* y) {
  Vec difference[kWords];
#pragma GCC unroll 4
  for (int k = 0; k < kWords; ++k) difference[k] = _mm256_sub_epi64(x[k], splat(y[k]));
  carry<kWords>(difference);
  const Vec below = _mm256_cmpgt_epi64(_mm256_setzero_si256(), difference[kWords - 1]);
  if constexpr (kKeep) {
#pragma GCC unroll 4
    for (int k = 0; k < kWords; ++k) x[k] = _mm256_blendv_epi8(difference[k], x[k], below);
  }
  return _mm256_add_epi64(below, splat(std::uint64_t{1}));
}

/// digit = floor(x / d), x -= digit * d (when kKeep), for digits below 2^49.
/// The words are exact doubles; Horner, reciprocal and product round at most six times, relative
/// error below 7 * 2^-53 with the bias' own rounding. The bias of 2^-50 (kDivideBias) makes the
/// estimate never too large, and too small by less than 2^49 (2^-50 + 7 * 2^-53) < 1 before
/// truncation: digit - 1 or digit. One conditional subtraction settles it.
constexpr double kDivideBias = 1.0 - 0x1p-50;

template <int kWords, bool kKeep>
inline Vec divide(Vec* x, const std::uint64_t* d, double biased_reciprocal) {
  Real approximate = to_real(x[kWords - 1]);
#pragma GCC unroll 4
  for (int k = kWords - 2; k >= 0; --k) {
    approximate = _mm256_fmadd_pd(approximate, splat(kTwo52), to_real(x[k]));
  }
  const Real digit = _mm256_floor_pd(_mm256_mul_pd(approximate, splat(biased_reciprocal)));
#pragma GCC unroll 4
  for (int k = 0; k + 1 < kWords; ++k) {
    const Product product(digit, broadcast_word(d[k]));
    x[k] = _mm256_sub_epi64(x[k], product.low_word());
    x[k + 1] = _mm256_sub_epi64(x[k + 1], product.high_word());
  }
  // digit * d <= x, so the top product is at most the top word, below 2^52
  const Real top = _mm256_mul_pd(digit, broadcast_word(d[kWords - 1]));
  x[kWords - 1] = _mm256_sub_epi64(x[kWords - 1], to_integer(top));
  carry<kWords>(x);
  const Vec one_more = subtract_if_above<kWords, kKeep>(x, d);
  return _mm256_add_epi64(to_integer(digit), one_more);
}

/// The same with the number of words known at run time, at most kWords.
template <int kWords, bool kKeep>
inline Vec divide_words(Vec* x, int words, const std::uint64_t* d, double reciprocal) {
  if constexpr (kWords > 1) {
    if (words < kWords) return divide_words<kWords - 1, kKeep>(x, words, d, reciprocal);
  }
  return divide<kWords, kKeep>(x, d, reciprocal);
}

/// How many words a remainder modulo `divisor` can fill.
int used_words(const std::uint64_t* divisor, int words) {
  while (words > 1 && divisor[words - 1] == 0) --words;
  return words;
}

template <int kLimbs, int kWords>
void decrypt_multi(const DecryptBlock& args) {
  const DecodeView& view = *args.decode;
  const std::size_t row_bytes = args.coefficients / kGroup * kGroupBytes;
  const std::size_t planes = view.plane_count;
  int words[kMaxPlanes];  // of X when plane p is its turn
  double reciprocal[kMaxPlanes];
  double garner[kLimbs][kLimbs] = {};
  for (int i = 0; i < kLimbs; ++i) {
    for (int k = 0; k < i; ++k) garner[i][k] = centred(view.garner[i][k], view.modulus[i].q);
  }
  for (std::size_t p = 0; p < planes; ++p) {
    words[p] = p + 1 == planes ? kWords : used_words(view.divisor[p + 1], kWords);
    reciprocal[p] = view.divisor_reciprocal[p] * kDivideBias;
  }
  for (std::size_t j = 0; j < args.coefficients; j += kGroup / 2) {
    Real digit[kLimbs];
    Vec x[kWords];
#pragma GCC unroll 4
    for (int k = 0; k < kWords; ++k) x[k] = splat(view.half_delta[k]);
#pragma GCC unroll 4
    for (int i = 0; i < kLimbs; ++i) {
      const std::size_t limb = static_cast<std::size_t>(i);
      const Field field(view.modulus[i].q);
      const std::uint8_t* p = args.packed + limb * row_bytes + j / kGroup * kGroupBytes;
      const Vec c = j % kGroup == 0 ? load_residues_low(p) : load_residues_high(p);
      // (-2q, q); less a digit of another limb, below 2^50 < 2q: (-4q, q) and below 2^52
      Real t = to_real_signed(_mm256_sub_epi64(c, load(args.pads + limb * args.pad_stride + j)));
#pragma GCC unroll 4
      for (int k = 0; k < i; ++k) {
        t = field.multiply(_mm256_sub_pd(t, digit[k]), _mm256_broadcast_sd(&garner[i][k]));
      }
      digit[i] = field.canonical(i == 0 ? _mm256_add_pd(t, field.q) : t);
      if (i == 0) {
        x[0] = _mm256_add_epi64(x[0], to_integer(digit[0]));
      } else {
        // q_0 ... q_(i-1) fills i words at most, and i < kWords
#pragma GCC unroll 4
        for (int k = 0; k < i; ++k) {
          const Product product(digit[i], broadcast_word(view.prefix[i][k]));
          x[k] = _mm256_add_epi64(x[k], product.low_word());
          x[k + 1] = _mm256_add_epi64(x[k + 1], product.high_word());
        }
      }
    }
    carry<kWords>(x);
    subtract_if_above<kWords, true>(x, view.modulus_words);
    for (std::size_t p = planes - 1; p > 0; --p) {
      store(args.planes + p * args.plane_stride + j,
            divide_words<kWords, true>(x, words[p], view.divisor[p], reciprocal[p]));
    }
    store(args.planes + j,
          divide_words<kWords, false>(x, words[0], view.divisor[0], reciprocal[0]));
  }
}

}  // namespace

void encrypt_block(const EncryptBlock& args) {
  if (args.error_key->rounds == 10) {
    encrypt_any<10>(args);
  } else {
    encrypt_any<14>(args);
  }
}

void add_message(const AddMessage& args) {
  if (args.limb_count == 1 && args.plane_count == 1) {
    add_message_single(args);
  } else {
    add_message_general(args);
  }
}

void decrypt_block(const DecryptBlock& args) {
  const DecodeView& view = *args.decode;
  if (fits_single(view)) {
    if (view.plane_count == 1) {
      decrypt_single<true>(args);
    } else {
      decrypt_single<false>(args);
    }
    return;
  }
  switch (view.limb_count) {
    case 1:
      return decrypt_multi<1, 1>(args);
    case 2:
      return decrypt_multi<2, 2>(args);
    case 3:
      return decrypt_multi<3, 4>(args);
    default:
      return decrypt_multi<4, 4>(args);
  }
}

}  // namespace veilsum::isa::avx2
