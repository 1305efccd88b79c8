// Layer: isa, level avx512. Values to digits and back: sixteen at a time in float where the plan is
// narrow enough, eight in double. Conversions to integers round as asked in the instruction, so
// nothing depends on the MXCSR but the default rounding of the products. Clipping is one VRANGE
// (smaller magnitude, sign of the value); clipped values are those that it changed. No contraction:
// one rounding an operation, the same numbers as the scalar level. Constant time for finite values.
#include "isa/avx512/kernels_internal.h"
#include "isa/avx512/vector_ops.h"

namespace veilsum::isa::avx512 {
namespace {

inline __mmask16 lanes_mask(std::size_t count, std::size_t lanes) {
  return static_cast<__mmask16>(count < lanes ? (1U << count) - 1U : (1U << lanes) - 1U);
}

template <ElementType kType>
constexpr std::size_t element_bytes() {
  return kType == ElementType::kFloat64 ? 8 : kType == ElementType::kFloat32 ? 4 : 2;
}

inline __m512 widen_bfloat(__m256i x) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(x), 16));
}

/// Values are read or written in order, a few KiB a block with microseconds of work in the cache
/// between, in which memory would lie idle. So the lines of the next block are asked for here, into
/// the second-level cache. Prefetching past the end is harmless.
constexpr std::size_t kAheadBytes = 16384;
/// From there into the first-level cache.
constexpr std::size_t kSoonBytes = 1024;

constexpr int kNearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
constexpr int kDown = _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC;
constexpr int kSmallerMagnitude = 2;  // VRANGE: absolute minimum, sign of the first operand

/// Sixteen floats a step. Clamping is done before the conversion: levels are exact floats.
template <ElementType kType>
struct Floats {
  static constexpr std::size_t kLanes = 16;
  using Values = __m512;

  __m512 weight, limit, inverse_step, top;
  Vec levels;

  explicit Floats(const Quantise& args)
      : weight(_mm512_set1_ps(static_cast<float>(args.weight))),
        limit(_mm512_set1_ps(static_cast<float>(args.limit))),
        inverse_step(_mm512_set1_ps(static_cast<float>(args.inverse_step))),
        top(_mm512_set1_ps(static_cast<float>(args.levels))),
        levels(_mm512_set1_epi32(static_cast<int>(args.levels))) {}
  static double largest(const Quantise& args) {
    return static_cast<double>(static_cast<float>(args.limit) *
                               static_cast<float>(args.inverse_step));
  }

  static Values zero() { return _mm512_setzero_ps(); }
  static Values load(const char* p, __mmask16 mask) {
    if constexpr (kType == ElementType::kFloat32) {
      return _mm512_maskz_loadu_ps(mask, p);
    } else {
      const __m256i half = _mm256_maskz_loadu_epi16(mask, p);
      return kType == ElementType::kFloat16 ? _mm512_cvtph_ps(half) : widen_bfloat(half);
    }
  }
  static Values see(Values x, Values seen) { return _mm512_fmadd_ps(x, zero(), seen); }
  static bool unordered(Values seen) { return _mm512_cmp_ps_mask(seen, seen, _CMP_UNORD_Q) != 0; }
  Values weigh(Values x) const { return _mm512_mul_ps(weight, x); }
  Values hold(Values y) const { return _mm512_range_ps(y, limit, kSmallerMagnitude); }
  static __mmask16 differ(Values a, Values b) { return _mm512_cmp_ps_mask(a, b, _CMP_NEQ_UQ); }

  template <bool kRandom, bool kClamp>
  Vec digits(Values held, const std::uint32_t* random, __mmask16 mask) const {
    __m512 t = _mm512_mul_ps(held, inverse_step);
    if constexpr (kRandom) {
      const __m512 floor = _mm512_roundscale_ps(t, kDown);
      const Vec words = _mm512_srli_epi32(_mm512_maskz_loadu_epi32(mask, random), 8);
      const __m512 u = _mm512_mul_ps(_mm512_cvtepi32_ps(words), _mm512_set1_ps(0x1p-24F));
      const __mmask16 up = _mm512_cmp_ps_mask(u, _mm512_sub_ps(t, floor), _CMP_LT_OQ);
      t = _mm512_mask_add_ps(floor, up, floor, _mm512_set1_ps(1.0F));
    }
    if constexpr (kClamp) {
      t = _mm512_max_ps(_mm512_min_ps(t, top), _mm512_sub_ps(zero(), top));
    }
    return _mm512_add_epi32(_mm512_cvt_roundps_epi32(t, kNearest), levels);
  }
  static void store(std::uint32_t* out, __mmask16 mask, Vec digits) {
    _mm512_mask_storeu_epi32(out, mask, digits);
  }
};

/// Eight doubles a step.
template <ElementType kType>
struct Doubles {
  static constexpr std::size_t kLanes = 8;
  using Values = __m512d;

  __m512d weight, limit, inverse_step, top;
  __m256i levels;

  explicit Doubles(const Quantise& args)
      : weight(_mm512_set1_pd(args.weight)),
        limit(_mm512_set1_pd(args.limit)),
        inverse_step(_mm512_set1_pd(args.inverse_step)),
        top(_mm512_set1_pd(static_cast<double>(args.levels))),
        levels(_mm256_set1_epi32(static_cast<int>(args.levels))) {}
  static double largest(const Quantise& args) { return args.limit * args.inverse_step; }

  static Values zero() { return _mm512_setzero_pd(); }
  static Values load(const char* p, __mmask16 lanes) {
    const auto mask = static_cast<__mmask8>(lanes);
    if constexpr (kType == ElementType::kFloat64) {
      return _mm512_maskz_loadu_pd(mask, p);
    } else if constexpr (kType == ElementType::kFloat32) {
      return _mm512_cvtps_pd(_mm256_maskz_loadu_ps(mask, p));
    } else if constexpr (kType == ElementType::kFloat16) {
      return _mm512_cvtps_pd(_mm256_cvtph_ps(_mm_maskz_loadu_epi16(mask, p)));
    } else {
      const __m256i wide = _mm256_cvtepu16_epi32(_mm_maskz_loadu_epi16(mask, p));
      return _mm512_cvtps_pd(_mm256_castsi256_ps(_mm256_slli_epi32(wide, 16)));
    }
  }
  static Values see(Values x, Values seen) { return _mm512_fmadd_pd(x, zero(), seen); }
  static bool unordered(Values seen) { return _mm512_cmp_pd_mask(seen, seen, _CMP_UNORD_Q) != 0; }
  Values weigh(Values x) const { return _mm512_mul_pd(weight, x); }
  Values hold(Values y) const { return _mm512_range_pd(y, limit, kSmallerMagnitude); }
  static __mmask16 differ(Values a, Values b) { return _mm512_cmp_pd_mask(a, b, _CMP_NEQ_UQ); }

  /// levels may be 2^31 - 1, so that the digit is right modulo 2^32.
  template <bool kRandom, bool kClamp>
  __m256i digits(Values held, const std::uint32_t* random, __mmask16 lanes) const {
    __m512d t = _mm512_mul_pd(held, inverse_step);
    if constexpr (kRandom) {
      const __m256i words = _mm256_maskz_loadu_epi32(static_cast<__mmask8>(lanes), random);
      t = _mm512_add_pd(t, _mm512_mul_pd(_mm512_cvtepu32_pd(words), _mm512_set1_pd(0x1p-32)));
    }
    if constexpr (kClamp) {
      t = _mm512_max_pd(_mm512_min_pd(t, top), _mm512_sub_pd(zero(), top));
    }
    const __m256i v =
        kRandom ? _mm512_cvt_roundpd_epi32(t, kDown) : _mm512_cvt_roundpd_epi32(t, kNearest);
    return _mm256_add_epi32(v, levels);
  }
  static void store(std::uint32_t* out, __mmask16 mask, __m256i digits) {
    _mm256_mask_storeu_epi32(out, static_cast<__mmask8>(mask), digits);
  }
};

/// How many values were clipped, lane by lane.
struct Clipped {
  Vec sum = _mm512_setzero_si512();

  void see(__mmask16 clipped) {
    sum = _mm512_mask_add_epi32(sum, clipped, sum, _mm512_set1_epi32(1));
  }
  std::uint64_t count() const {
    return static_cast<std::uint64_t>(_mm512_reduce_add_epi64(
        _mm512_add_epi64(_mm512_and_si512(sum, splat(0xffffffffu)), _mm512_srli_epi64(sum, 32))));
  }
};

/// kRandom: stochastic rounding. kClamp: the integer may leave [-levels, levels]. kWeighted: the
/// weight is not one. The arguments come by value: stores to the digits cannot alias them. Counts
/// of a lane stay below 2^32: a call has fewer than 2^35 values.
template <class Numbers, ElementType kType, bool kRandom, bool kClamp, bool kWeighted>
QuantiseResult quantise_values(const Quantise args) {
  using Values = decltype(Numbers::zero());
  constexpr std::size_t kLanes = Numbers::kLanes;
  constexpr std::size_t kStepBytes = kLanes * element_bytes<kType>();
  const Numbers numbers(args);
  Clipped clipped;
  Values seen = Numbers::zero();

  const auto step = [&](std::size_t i, const char* p, __mmask16 mask) {
    const Values x = Numbers::load(p, mask);
    seen = Numbers::see(x, seen);
    const Values y = kWeighted ? numbers.weigh(x) : x;
    const Values held = numbers.hold(y);
    clipped.see(Numbers::differ(y, held));
    Numbers::store(args.digits + i, mask,
                   numbers.template digits<kRandom, kClamp>(held, args.random + i, mask));
  };

  // Two cache lines of values a round, or one of narrow ones.
  constexpr __mmask16 kAll = static_cast<__mmask16>((1U << kLanes) - 1U);
  constexpr std::size_t kRound = 128 / element_bytes<kType>();
  const char* p = static_cast<const char*>(args.values);
  std::size_t i = 0;
  for (; i + kRound <= args.count; i += kRound, p += 128) {
    _mm_prefetch(p + kAheadBytes, _MM_HINT_T1);
    _mm_prefetch(p + kAheadBytes + 64, _MM_HINT_T1);
    _mm_prefetch(p + kSoonBytes, _MM_HINT_T0);
    _mm_prefetch(p + kSoonBytes + 64, _MM_HINT_T0);
#pragma GCC unroll 8
    for (std::size_t k = 0; k < 128 / kStepBytes; ++k) {
      step(i + k * kLanes, p + k * kStepBytes, kAll);
    }
  }
  for (; i < args.count; i += kLanes, p += kStepBytes) {
    step(i, p, lanes_mask(args.count - i, kLanes));
  }
  return {clipped.count(), !Numbers::unordered(seen)};
}

template <class Numbers, ElementType kType, bool kRandom, bool kClamp>
QuantiseResult quantise_weighted(const Quantise& args) {
  if (args.weight == 1.0) return quantise_values<Numbers, kType, kRandom, kClamp, false>(args);
  return quantise_values<Numbers, kType, kRandom, kClamp, true>(args);
}

template <class Numbers, ElementType kType>
QuantiseResult quantise_numbers(const Quantise& args) {
  if (args.random != nullptr) return quantise_weighted<Numbers, kType, true, true>(args);
  // Rounding is monotonic: when the limit itself lands within a quarter of `levels`, so does every
  // clipped value below, and rounding to nearest stays inside.
  const double top = Numbers::largest(args) - static_cast<double>(args.levels);
  if (top > -0.25 && top < 0.25) return quantise_weighted<Numbers, kType, false, false>(args);
  return quantise_weighted<Numbers, kType, false, true>(args);
}

template <ElementType kType>
QuantiseResult quantise_type(const Quantise& args) {
  if constexpr (kType != ElementType::kFloat64) {
    if (args.in_float) return quantise_numbers<Floats<kType>, kType>(args);
  }
  return quantise_numbers<Doubles<kType>, kType>(args);
}

/// Calls step(i, lanes) for all, a round of two cache lines of output at a time.
template <std::size_t kLanes, std::size_t kBytes, class Step>
inline void for_each_output(const Dequantise& args, const Step& step) {
  constexpr __mmask16 kAll = static_cast<__mmask16>((1U << kLanes) - 1U);
  constexpr std::size_t kRound = 128 / kBytes;
  char* ahead = static_cast<char*>(args.out) + kAheadBytes;
  std::size_t i = 0;
  for (; i + kRound <= args.count; i += kRound, ahead += 128) {
    __builtin_prefetch(ahead, 1, 2);  // for writing
    __builtin_prefetch(ahead + 64, 1, 2);
#pragma GCC unroll 4
    for (std::size_t k = 0; k < kRound; k += kLanes) step(i + k, kAll);
  }
  for (; i < args.count; i += kLanes) step(i, lanes_mask(args.count - i, kLanes));
}

bool dequantise_floats(const Dequantise args) {
  const auto high = static_cast<float>(args.scale);
  const auto low = static_cast<float>(args.scale - static_cast<double>(high));
  const __m512 highs = _mm512_set1_ps(high);
  const __m512 lows = _mm512_set1_ps(low);
  const Vec offset = _mm512_set1_epi32(static_cast<int>(args.offset));
  float* out = static_cast<float*>(args.out);
  Vec beyond = _mm512_setzero_si512();  // a sign is set once a v was above the offset
  for_each_output<16, 4>(args, [&](std::size_t i, __mmask16 mask) {
    const Vec digits = _mm512_maskz_loadu_epi32(mask, args.narrow + i);
    const Vec whole = _mm512_sub_epi32(digits, offset);
    beyond = _mm512_or_si512(beyond, _mm512_sub_epi32(offset, whole));
    const __m512 v = _mm512_cvtepi32_ps(whole);
    _mm512_mask_storeu_ps(out + i, mask, _mm512_fmadd_ps(v, highs, _mm512_mul_ps(v, lows)));
  });
  return _mm512_movepi32_mask(beyond) == 0;
}

/// Narrow digits and the offset are exact doubles, and so is their difference, below 2^52.
template <bool kNarrow, ElementType kType>
bool dequantise_doubles(const Dequantise args) {
  const __m512d scale = _mm512_set1_pd(args.scale);
  const __m512d offset = _mm512_set1_pd(static_cast<double>(args.offset));
  const Vec whole_offset = _mm512_set1_epi64(args.offset);
  __m512d greatest = _mm512_setzero_pd();
  for_each_output<8, element_bytes<kType>()>(args, [&](std::size_t i, __mmask16 lanes) {
    const auto mask = static_cast<__mmask8>(lanes);
    __m512d v;
    if constexpr (kNarrow) {
      const __m256i digits = _mm256_maskz_loadu_epi32(mask, args.narrow + i);
      v = _mm512_sub_pd(_mm512_cvtepu32_pd(digits), offset);
    } else {
      const Vec digits = _mm512_maskz_loadu_epi64(mask, args.wide + i);
      v = _mm512_cvtepi64_pd(_mm512_sub_epi64(digits, whole_offset));
    }
    greatest = _mm512_max_pd(greatest, v);
    const __m512d value = _mm512_mul_pd(v, scale);
    if constexpr (kType == ElementType::kFloat64) {
      _mm512_mask_storeu_pd(static_cast<double*>(args.out) + i, mask, value);
    } else {
      _mm256_mask_storeu_ps(static_cast<float*>(args.out) + i, mask, _mm512_cvtpd_ps(value));
    }
  });
  return _mm512_cmp_pd_mask(greatest, offset, _CMP_GT_OQ) == 0;
}

template <bool kNarrow>
bool dequantise_any(const Dequantise& args) {
  return args.type == ElementType::kFloat64
             ? dequantise_doubles<kNarrow, ElementType::kFloat64>(args)
             : dequantise_doubles<kNarrow, ElementType::kFloat32>(args);
}

}  // namespace

QuantiseResult quantise(const Quantise& args) {
  switch (args.type) {
    case ElementType::kFloat32:
      return quantise_type<ElementType::kFloat32>(args);
    case ElementType::kFloat64:
      return quantise_type<ElementType::kFloat64>(args);
    case ElementType::kFloat16:
      return quantise_type<ElementType::kFloat16>(args);
    case ElementType::kBfloat16:
      return quantise_type<ElementType::kBfloat16>(args);
  }
  return {0, false};
}

bool dequantise(const Dequantise& args) {
  if (args.in_float && args.type == ElementType::kFloat32 && args.narrow != nullptr) {
    return dequantise_floats(args);
  }
  return args.narrow != nullptr ? dequantise_any<true>(args) : dequantise_any<false>(args);
}

}  // namespace veilsum::isa::avx512
