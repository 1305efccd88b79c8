// Layer: isa, level avx2. Decryption for plans with several limbs: the rounded pad is subtracted in
// words of 52 bits, and planes are divided off from the top, exactly, by an estimate in double
// precision and one correction. The names are those of isa::BlockView. No branch or index depends
// on data; all loops depend on public sizes.
#include "isa/avx2/kernels_internal.h"
#include "isa/avx2/limb_words.h"

namespace veilsum::isa::avx2 {
namespace {

/// x_w: words of (field - round(pad) + offset) mod 2^B.
template <int kLimbs, int kWords>
struct WideDifference {
  const BlockView& view;
  WideRounding<kLimbs> rounding;
  RowTables<FieldLoader> rows;
  Limbs limbs;
  double hat[kLimbs];
  std::uint64_t offset[kWords];

  WideDifference(const BlockView& block, std::size_t coefficients, const std::uint64_t* added)
      : view(block), rounding(block), rows(block, coefficients), limbs(block) {
    for (int i = 0; i < kLimbs; ++i) hat[i] = centred(block.hat_inverse[i], block.modulus[i].q);
    for (int w = 0; w < kWords; ++w) offset[w] = added[w] + kWordOne - (w == 0 ? 0 : 1);
  }
  /// The four pairs of sixteen coefficients.
  template <class In>
  [[gnu::always_inline]] void pairs(const In& in, const std::uint64_t* pads, std::size_t stride,
                                    Vec (*x)[kBatch]) const {
    Real y[kLimbs][kBatch];
#pragma GCC unroll 4
    for (int limb = 0; limb < kLimbs; ++limb) {
      const std::uint64_t* row = pads + static_cast<std::size_t>(limb) * stride;
#pragma GCC unroll 4
      for (std::size_t i = 0; i < kBatch; ++i) {
        y[limb][i] = _mm256_sub_pd(raise(clean(load_pair(row + 2 * i))), limbs.centre[limb]);
      }
      limbs.multiply_canonical(y[limb], limb, _mm256_broadcast_sd(&hat[limb]));
    }
    Vec rounded[kWords][kBatch];
    rounding.template operator()<kWords>(y, rounded);
    Vec carry[kBatch] = {};
#pragma GCC unroll 4
    for (int w = 0; w < kWords; ++w) {
      const Vec mask = splat(view.fields[w]->mask);
#pragma GCC unroll 4
      for (std::size_t i = 0; i < kBatch; ++i) {
        const Vec field = _mm256_and_si256(rows.of[w].pair(in(w), i), mask);
        const Vec difference = _mm256_sub_epi64(field, _mm256_and_si256(rounded[w][i], mask));
        const Vec word = _mm256_add_epi64(_mm256_add_epi64(difference, carry[i]), splat(offset[w]));
        x[w][i] = _mm256_and_si256(word, mask);
        carry[i] = _mm256_srli_epi64(word, kWordBits);
      }
    }
  }

  /// Calls work(j, left, in, pads, stride) for sixteen coefficients at a time, from a copy where
  /// rows end.
  template <class Work>
  void for_each(const std::uint8_t* packed, const std::uint64_t* pads, std::size_t pad_stride,
                std::size_t coefficients, const Work& work) const {
    for (std::size_t j = 0; j < coefficients; j += kSixteen) {
      const std::size_t left = left_of(coefficients, j);
      std::uint8_t bytes[kWords][kBounce];
      const std::uint8_t* from[kWords];
      for (int w = 0; w < kWords; ++w) {
        const RowEnd end(coefficients, rows.of[w].bits());
        from[w] = packed + rows.begin[w] + j / kGroup * end.bits;
        if (left == kSixteen && end.has_room(j)) {
          prefetch_read(from[w] + end.bytes);
          continue;
        }
        std::memset(bytes[w], 0, sizeof bytes[w]);
        std::memcpy(bytes[w], from[w], end.left(j));
        from[w] = bytes[w];
      }
      const auto in = [&](int w) { return from[w]; };
      if (__builtin_expect(left == kSixteen, 1)) {
        work(j, left, in, pads + j, pad_stride);
      } else {
        PadBounce bounce(pads + j, pad_stride, kLimbs, left);
        work(j, left, in, bounce.pads[0], kSixteen);
        wipe(bounce);
      }
    }
  }
};

// Exact division. Numbers are kWords registers of 52-bit words, little-endian; words are signed
// between carries.

/// Lower words into [0, 2^52); the top word takes the carry. Words are above -2^62.
template <int kWords>
[[gnu::always_inline]] inline void carry(Vec (*x)[kBatch]) {
#pragma GCC unroll 4
  for (int k = 0; k + 1 < kWords; ++k) {
#pragma GCC unroll 4
    for (std::size_t i = 0; i < kBatch; ++i) {
      // an arithmetic shift by 52, on a number made positive
      const Vec shifted =
          _mm256_srli_epi64(_mm256_add_epi64(x[k][i], splat(std::uint64_t{1} << 62)), kWordBits);
      x[k + 1][i] =
          _mm256_add_epi64(x[k + 1][i], _mm256_sub_epi64(shifted, splat(std::uint64_t{1} << 10)));
      x[k][i] = _mm256_and_si256(x[k][i], splat(kMask52));
    }
  }
}

/// x >= y ? x - y : x (when kKeep); adds 1 to the quotient in the lanes where x >= y.
template <int kWords, bool kKeep>
[[gnu::always_inline]] inline void subtract_if_above(Vec (*x)[kBatch], const std::uint64_t* y,
                                                     Vec* quotient) {
  Vec difference[kWords][kBatch];
#pragma GCC unroll 4
  for (int k = 0; k < kWords; ++k) {
#pragma GCC unroll 4
    for (std::size_t i = 0; i < kBatch; ++i)
      difference[k][i] = _mm256_sub_epi64(x[k][i], splat(y[k]));
  }
  carry<kWords>(difference);
#pragma GCC unroll 4
  for (std::size_t i = 0; i < kBatch; ++i) {
    const Vec below = _mm256_cmpgt_epi64(_mm256_setzero_si256(), difference[kWords - 1][i]);
    quotient[i] = _mm256_add_epi64(quotient[i], _mm256_add_epi64(below, splat(std::uint64_t{1})));
    if constexpr (kKeep) {
#pragma GCC unroll 4
      for (int k = 0; k < kWords; ++k) {
        x[k][i] = _mm256_blendv_epi8(difference[k][i], x[k][i], below);
      }
    }
  }
}

inline Real broadcast_word(std::uint64_t word) {
  return splat(static_cast<double>(static_cast<std::int64_t>(word)));
}

/// quotient = floor(x / d), x -= quotient * d (when kKeep), for quotients below 2^49.
/// The words are exact doubles; Horner, reciprocal and product round at most six times, relative
/// error below 7 * 2^-53 with the bias' own rounding. The bias of 2^-50 (kDivideBias) makes the
/// estimate never too large, and too small by less than 2^49 (2^-50 + 7 * 2^-53) < 1 before
/// truncation: the quotient or one less. One conditional subtraction settles it.
constexpr double kDivideBias = 1.0 - 0x1p-50;

template <int kWords, bool kKeep>
[[gnu::always_inline]] inline void divide(Vec (*x)[kBatch], const std::uint64_t* d,
                                          double biased_reciprocal, Vec* quotient) {
  Real estimate[kBatch];
#pragma GCC unroll 4
  for (std::size_t i = 0; i < kBatch; ++i) {
    Real approximate = to_real(x[kWords - 1][i]);
#pragma GCC unroll 4
    for (int k = kWords - 2; k >= 0; --k) {
      approximate = _mm256_fmadd_pd(approximate, splat(kTwo52), to_real(x[k][i]));
    }
    estimate[i] = _mm256_floor_pd(_mm256_mul_pd(approximate, splat(biased_reciprocal)));
    quotient[i] = to_integer(estimate[i]);
  }
#pragma GCC unroll 4
  for (int k = 0; k + 1 < kWords; ++k) {
    const Real word = broadcast_word(d[k]);
#pragma GCC unroll 4
    for (std::size_t i = 0; i < kBatch; ++i) {
      ProductSum product;  // high 2^52 + low, |low| <= 2^51
      product.begin(splat(kWordStart), estimate[i], word);
      x[k][i] = _mm256_sub_epi64(x[k][i], to_integer_signed(product.low));
      x[k + 1][i] = _mm256_sub_epi64(
          x[k + 1][i], _mm256_sub_epi64(bits_of(product.high), splat(kWordStartBits)));
    }
  }
  // quotient * d <= x, so the top product is at most the top word, below 2^52
  const Real top = broadcast_word(d[kWords - 1]);
#pragma GCC unroll 4
  for (std::size_t i = 0; i < kBatch; ++i) {
    x[kWords - 1][i] =
        _mm256_sub_epi64(x[kWords - 1][i], to_integer(_mm256_mul_pd(estimate[i], top)));
  }
  carry<kWords>(x);
  subtract_if_above<kWords, kKeep>(x, d, quotient);
}

/// The same with the number of words known at run time, at most kWords.
template <int kWords, bool kKeep>
inline void divide_words(Vec (*x)[kBatch], int words, const std::uint64_t* d, double reciprocal,
                         Vec* quotient) {
  if constexpr (kWords > 1) {
    if (words < kWords) {
      divide_words<kWords - 1, kKeep>(x, words, d, reciprocal, quotient);
      return;
    }
  }
  divide<kWords, kKeep>(x, d, reciprocal, quotient);
}

/// How many words a remainder modulo `divisor` can fill.
int used_words(const std::uint64_t* divisor, int words) {
  while (words > 1 && divisor[words - 1] == 0) --words;
  return words;
}

/// floor(v / d) for integers 0 <= v < 2^48 and 2 <= d < 2^48: the nearest integer to y = (v - c) /
/// d (1 - e), c = floor((d - 1) / 2), where 2^-50 - 2^-52 < e < 2^-50 + 2^-52 holds the errors of
/// the reciprocal too. With v = k d + s, 0 <= s < d, y is at most (k + 1/2)(1 - e) < k + 1/2; and
/// at least k - 1/2 + 1 / (2d) - k e, above k - 1/2 as k e d < 2^48 2^-49. The FMA rounds once.
struct PlaneDivisor {
  Real raised_centre, reciprocal;

  void set(std::uint64_t d) {
    raised_centre = splat(kTwo52 + static_cast<double>((d - 1) >> 1));
    reciprocal = splat(1.0 / static_cast<double>(d) * (1.0 - 0x1p-50));
  }
  /// 2^52 + v -> quotient
  Real operator()(Real raised) const {
    return _mm256_sub_pd(
        _mm256_fmadd_pd(_mm256_sub_pd(raised, raised_centre), reciprocal, splat(kRound)),
        splat(kRound));
  }
};

/// Planes from the top, then the digits of each.
template <int kLimbs, int kWords>
struct WideDecryptor {
  const BlockView& view;
  WideDifference<kLimbs, kWords> difference;
  int words[kMaxPlanes];  ///< of x when plane p is its turn
  double reciprocal[kMaxPlanes];
  Real base;
  PlaneDivisor powers[kMaxDigits];     ///< t^i, i > 0
  Vec plane[kMaxPlanes][kBatch];       ///< M_p of the four pairs
  Real largest = _mm256_setzero_pd();  ///< top plane, as 2^52 + M
  double top_limit;                    ///< t^(digits of the top plane), below 2^48

  WideDecryptor(const BlockView& block, std::size_t coefficients)
      : view(block),
        difference(block, coefficients, block.half_delta),
        base(splat(static_cast<double>(block.base.divisor))) {
    const std::size_t planes = view.plane_count;
    for (std::size_t p = 0; p < planes; ++p) {
      words[p] = p + 1 == planes ? kWords : used_words(view.divisor[p + 1], kWords);
      reciprocal[p] = view.divisor_reciprocal[p] * kDivideBias;
    }
    for (std::size_t i = 1; i < view.digits_per_plane; ++i) powers[i].set(view.digit_scale[i]);
    top_limit = top_plane_limit(block);
  }
  /// limit / divisor of the top plane, which divides it: an integer, so a few roundings do no harm
  /// below 2^48.
  static double top_plane_limit(const BlockView& block) {
    double limit = 0;
    for (std::size_t w = kMaxWords; w-- > 0;) {
      limit = limit * kTwo52 + static_cast<double>(block.limit[w]);
    }
    const double ratio = limit * block.divisor_reciprocal[block.plane_count - 1];
    return ratio + 0x1.8p52 - 0x1.8p52;
  }

  template <class In>
  void planes(const In& in, const std::uint64_t* pads, std::size_t stride) {
    Vec x[kWords][kBatch];
    difference.pairs(in, pads, stride, x);
    for (std::size_t p = view.plane_count - 1; p > 0; --p) {
      divide_words<kWords, true>(x, words[p], view.divisor[p], reciprocal[p], plane[p]);
    }
    divide_words<kWords, false>(x, words[0], view.divisor[0], reciprocal[0], plane[0]);
#pragma GCC unroll 4
    for (std::size_t i = 0; i < kBatch; ++i) {
      largest = _mm256_max_pd(largest, raise(plane[view.plane_count - 1][i]));
    }
  }

  /// Calls put(d, lanes) for the digits of one plane, raised: their bits below 2^52 count.
  template <class Put>
  [[gnu::always_inline]] void digits(const Vec* values, std::size_t p, const Put& put) const {
    const std::size_t first = p * view.digits_per_plane;
    const std::size_t left = view.digit_count - first;
    const std::size_t count = left < view.digits_per_plane ? left : view.digits_per_plane;
    Real above[kBatch] = {};
    Vec digit[kBatch];
    for (std::size_t d = count; d-- > 1;) {
#pragma GCC unroll 4
      for (std::size_t i = 0; i < kBatch; ++i) {
        const Real h = powers[d](raise(values[i]));
        digit[i] = bits_of(_mm256_add_pd(_mm256_fnmadd_pd(above[i], base, h), splat(kTwo52)));
        above[i] = h;
      }
      put(first + d, digit);
    }
#pragma GCC unroll 4
    for (std::size_t i = 0; i < kBatch; ++i) {
      digit[i] = bits_of(_mm256_fnmadd_pd(above[i], base, raise(values[i])));
    }
    put(first, digit);
  }

  template <class In>
  void sixteen(const In& in, const std::uint64_t* pads, std::size_t stride, std::uint32_t* out,
               std::size_t out_stride) {
    planes(in, pads, stride);
    for (std::size_t p = 0; p < view.plane_count; ++p) {
      digits(plane[p], p, [&](std::size_t d, const Vec* digit) {
        store_narrow_pairs(out + d * out_stride, digit[0], digit[1]);
        store_narrow_pairs(out + d * out_stride + 4, digit[2], digit[3]);
      });
    }
  }
  template <class In>
  void sixteen(const In& in, const std::uint64_t* pads, std::size_t stride, std::uint64_t* out,
               std::size_t out_stride) {
    planes(in, pads, stride);
    for (std::size_t p = 0; p < view.plane_count; ++p) {
      digits(plane[p], p, [&](std::size_t d, const Vec* digit) {
#pragma GCC unroll 4
        for (std::size_t i = 0; i < kBatch; ++i) {
          store_wide_pair(out + d * out_stride + 2 * i, clean(digit[i]));
        }
      });
    }
  }
  bool all_in_range() const {
    return _mm256_movemask_pd(_mm256_cmp_pd(largest, splat(kTwo52 + top_limit), _CMP_NLT_UQ)) == 0;
  }
};

template <int kLimbs, int kWords, class Digit>
bool decrypt_wide(const DecryptBlock& args, Digit* out) {
  WideDecryptor<kLimbs, kWords> decryptor(*args.view, args.coefficients);
  decryptor.difference.for_each(
      args.packed, args.pads, args.pad_stride, args.coefficients,
      [&](std::size_t j, std::size_t left, const auto& in, const std::uint64_t* pads,
          std::size_t stride) {
        if (__builtin_expect(left == kSixteen, 1)) {
          decryptor.sixteen(in, pads, stride, out + j, args.digits.stride);
          return;
        }
        alignas(32) Digit digits[kMaxDigits][kSixteen];
        decryptor.sixteen(in, pads, stride, digits[0], kSixteen);
        for (std::size_t d = 0; d < args.view->digit_count; ++d) {
          std::memcpy(out + d * args.digits.stride + j, digits[d], left * sizeof(Digit));
        }
        wipe(digits);
      });
  wipe(decryptor.plane);
  return decryptor.all_in_range();
}

template <int kLimbs, int kWords>
bool check_wide(const NoiseCheck& args) {
  const std::uint64_t offset[kMaxWords] = {args.bound};
  const WideDifference<kLimbs, kWords> difference(*args.view, args.coefficients, offset);
  Vec above = _mm256_setzero_si256();  // words that should be zero, and the sign of 2 bound - x
  const Vec most = splat(2 * args.bound);
  difference.for_each(
      args.packed, args.pads, args.pad_stride, args.coefficients,
      [&](std::size_t, std::size_t, const auto& in, const std::uint64_t* pads, std::size_t stride) {
        Vec x[kWords][kBatch];
        difference.pairs(in, pads, stride, x);
        for (std::size_t i = 0; i < kBatch; ++i) {
          const Vec over = _mm256_srli_epi64(_mm256_sub_epi64(most, x[0][i]), 63);
          above = _mm256_or_si256(above, over);
          for (int w = 1; w < kWords; ++w) above = _mm256_or_si256(above, x[w][i]);
        }
      });
  return _mm256_testz_si256(above, above) != 0;
}

/// A single digit above 2^48 has a plane of its own, which the estimate of divide() does not reach.
bool has_wider_digits(const DecryptBlock& args) {
  constexpr double kWidest = 0x1p48;
  return args.digits.wide != nullptr && args.view->digits_per_plane == 1 &&
         WideDecryptor<2, 1>::top_plane_limit(*args.view) > kWidest;
}

}  // namespace

bool decrypt_several(const DecryptBlock& args) {
  if (has_wider_digits(args)) return scalar_table()->decrypt_block(args);
  return with_shape(*args.view, [&]<int kLimbs, int kWords> {
    return args.digits.narrow != nullptr ? decrypt_wide<kLimbs, kWords>(args, args.digits.narrow)
                                         : decrypt_wide<kLimbs, kWords>(args, args.digits.wide);
  });
}

bool check_several(const NoiseCheck& args) {
  return with_shape(*args.view,
                    [&]<int kLimbs, int kWords> { return check_wide<kLimbs, kWords>(args); });
}

}  // namespace veilsum::isa::avx2
