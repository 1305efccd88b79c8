// Layer: isa, level avx512. Values to lanes and back, eight at a time in double precision: the
// conversions to 64-bit integers (AVX512DQ) round as asked in the instruction, so nothing depends
// on the MXCSR but the default rounding of the products. Clipping is one VRANGEPD (smaller
// magnitude, sign of the value); clipped values are those that it changed. No contraction: one
// rounding an operation, the same numbers as the scalar level. Constant time for finite values.
#include "isa/avx512/kernels_internal.h"
#include "isa/avx512/vector_ops.h"

namespace veilsum::isa::avx512 {
namespace {

inline __mmask8 lanes_mask(std::size_t count) {
  return static_cast<__mmask8>(count < 8 ? (1U << count) - 1U : 0xffU);
}

inline std::uint64_t sum_lanes(Vec x) {
  return static_cast<std::uint64_t>(_mm512_reduce_add_epi64(x));
}

template <ElementType kType>
constexpr std::size_t element_bytes() {
  return kType == ElementType::kFloat64 ? 8 : kType == ElementType::kFloat32 ? 4 : 2;
}

inline __m512d widen_half(__m128i x) { return _mm512_cvtps_pd(_mm256_cvtph_ps(x)); }
inline __m512d widen_bfloat(__m128i x) {
  return _mm512_cvtps_pd(_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(x), 16)));
}

/// Eight values at p, exactly.
template <ElementType kType>
inline __m512d load_values(const char* p) {
  if constexpr (kType == ElementType::kFloat64) {
    return _mm512_loadu_pd(p);
  } else if constexpr (kType == ElementType::kFloat32) {
    return _mm512_cvtps_pd(_mm256_loadu_ps(reinterpret_cast<const float*>(p)));
  } else {
    const __m128i half = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return kType == ElementType::kFloat16 ? widen_half(half) : widen_bfloat(half);
  }
}

/// Those of the mask, zero elsewhere; nothing else is read.
template <ElementType kType>
inline __m512d load_values_masked(const char* p, __mmask8 mask) {
  if constexpr (kType == ElementType::kFloat64) {
    return _mm512_maskz_loadu_pd(mask, p);
  } else if constexpr (kType == ElementType::kFloat32) {
    return _mm512_cvtps_pd(_mm256_maskz_loadu_ps(mask, p));
  } else {
    const __m128i half = _mm_maskz_loadu_epi16(mask, p);
    return kType == ElementType::kFloat16 ? widen_half(half) : widen_bfloat(half);
  }
}

/// Gathers 0 * x over all values: NaN once a NaN or an infinity was seen.
template <ElementType kType>
struct FiniteCheck {
  __m512d doubles = _mm512_setzero_pd();
  __m512 floats = _mm512_setzero_ps();

  void see(__m512d x) { doubles = _mm512_fmadd_pd(x, _mm512_setzero_pd(), doubles); }

  /// A whole cache line of values.
  void see_line(const char* line) {
    if constexpr (kType == ElementType::kFloat32) {
      floats = _mm512_fmadd_ps(_mm512_loadu_ps(line), _mm512_setzero_ps(), floats);
    } else {
      constexpr std::size_t kStep = 8 * element_bytes<kType>();
#pragma GCC unroll 4
      for (std::size_t k = 0; k < 64; k += kStep) see(load_values<kType>(line + k));
    }
  }

  bool all() const {
    return _mm512_cmp_pd_mask(doubles, doubles, _CMP_UNORD_Q) == 0 &&
           _mm512_cmp_ps_mask(floats, floats, _CMP_UNORD_Q) == 0;
  }
};

/// Values are read or written in order, a few KiB a block with microseconds of work in the cache
/// between, in which memory would lie idle. So the lines of the next block are asked for here, into
/// the second-level cache. Prefetching past the end is harmless.
constexpr std::size_t kAheadBytes = 16384;

constexpr int kNearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
constexpr int kDown = _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC;
constexpr int kSmallerMagnitude = 2;  // VRANGEPD: absolute minimum, sign of the first operand

/// kRandom: stochastic rounding. kClamp: the integer may leave [-levels, levels]. kWeighted: the
/// weight is not one. The arguments come by value: stores to the plane cannot alias them.
template <ElementType kType, bool kRandom, bool kClamp, bool kWeighted>
QuantiseResult quantise_values(const Quantise args) {
  const __m512d weight = _mm512_set1_pd(args.weight);
  const __m512d limit = _mm512_set1_pd(args.limit);
  const __m512d inverse_step = _mm512_set1_pd(args.inverse_step);
  const __m512d random_scale = _mm512_set1_pd(0x1p-32);
  const Vec levels = _mm512_set1_epi64(args.levels);
  const Vec minus_levels = _mm512_set1_epi64(-args.levels);
  const Vec shift = splat(args.shift);
  const Vec one = splat(1);
  const bool first_lane = args.overwrite && args.shift == 0;
  Vec clipped = _mm512_setzero_si512();
  FiniteCheck<kType> finite;

  const auto step = [&](std::size_t i, __m512d y, __mmask8 mask) {
    if constexpr (kWeighted) y = _mm512_mul_pd(weight, y);
    const __m512d inside = _mm512_range_pd(y, limit, kSmallerMagnitude);
    clipped =
        _mm512_mask_add_epi64(clipped, _mm512_cmp_pd_mask(y, inside, _CMP_NEQ_UQ), clipped, one);
    const __m512d t = _mm512_mul_pd(inside, inverse_step);
    Vec v;
    if constexpr (kRandom) {
      const __m512d u = _mm512_mul_pd(
          _mm512_cvtepu32_pd(_mm256_maskz_loadu_epi32(mask, args.random + i)), random_scale);
      v = _mm512_cvt_roundpd_epi64(_mm512_add_pd(t, u), kDown);
    } else {
      v = _mm512_cvt_roundpd_epi64(t, kNearest);
    }
    if constexpr (kClamp) v = _mm512_min_epi64(_mm512_max_epi64(v, minus_levels), levels);
    v = _mm512_add_epi64(v, levels);
    std::uint64_t* out = args.plane + i;
    if (!first_lane) {
      v = _mm512_sllv_epi64(v, shift);
      if (!args.overwrite) v = _mm512_or_si512(v, _mm512_maskz_loadu_epi64(mask, out));
    }
    _mm512_mask_storeu_epi64(out, mask, v);
  };

  // One cache line of values a round.
  constexpr std::size_t kLine = 64 / element_bytes<kType>();
  const char* line = static_cast<const char*>(args.values);
  std::size_t i = 0;
  for (; i + kLine <= args.count; i += kLine, line += 64) {
    _mm_prefetch(line + kAheadBytes, _MM_HINT_T1);
    finite.see_line(line);
#pragma GCC unroll 4
    for (std::size_t k = 0; k < kLine; k += 8) {
      step(i + k, load_values<kType>(line + k * element_bytes<kType>()), 0xff);
    }
  }
  for (; i < args.count; i += 8, line += 8 * element_bytes<kType>()) {
    const __mmask8 mask = lanes_mask(args.count - i);
    const __m512d x = load_values_masked<kType>(line, mask);
    finite.see(x);
    step(i, x, mask);
  }
  return {sum_lanes(clipped), finite.all()};
}

template <ElementType kType, bool kRandom, bool kClamp>
QuantiseResult quantise_weighted(const Quantise& args) {
  if (args.weight == 1.0) return quantise_values<kType, kRandom, kClamp, false>(args);
  return quantise_values<kType, kRandom, kClamp, true>(args);
}

template <ElementType kType>
QuantiseResult quantise_type(const Quantise& args) {
  if (args.random != nullptr) return quantise_weighted<kType, true, true>(args);
  // Rounding is monotonic: when the limit itself lands within a quarter of `levels`, so does every
  // clipped value below, and rounding to nearest stays inside.
  const double top = args.limit * args.inverse_step - static_cast<double>(args.levels);
  if (top > -0.25 && top < 0.25) return quantise_weighted<kType, false, false>(args);
  return quantise_weighted<kType, false, true>(args);
}

template <ElementType kType>
void dequantise_values(const Dequantise args) {
  const Vec shift = splat(args.shift);
  const Vec lane = splat(args.mask);
  const Vec offset = _mm512_set1_epi64(args.offset);
  const __m512d scale = _mm512_set1_pd(args.scale);
  const auto step = [&](std::size_t i, __mmask8 mask) {
    const Vec digit = _mm512_and_si512(
        _mm512_srlv_epi64(_mm512_maskz_loadu_epi64(mask, args.plane + i), shift), lane);
    const __m512d value = _mm512_mul_pd(_mm512_cvtepi64_pd(_mm512_sub_epi64(digit, offset)), scale);
    if constexpr (kType == ElementType::kFloat64) {
      _mm512_mask_storeu_pd(static_cast<double*>(args.out) + i, mask, value);
    } else {
      _mm256_mask_storeu_ps(static_cast<float*>(args.out) + i, mask, _mm512_cvtpd_ps(value));
    }
  };
  constexpr std::size_t kLine = 64 / element_bytes<kType>();
  char* ahead = static_cast<char*>(args.out) + kAheadBytes;
  std::size_t i = 0;
  for (; i + kLine <= args.count; i += kLine, ahead += 64) {
    __builtin_prefetch(ahead, 1, 2);  // for writing
#pragma GCC unroll 4
    for (std::size_t k = 0; k < kLine; k += 8) step(i + k, 0xff);
  }
  for (; i < args.count; i += 8) step(i, lanes_mask(args.count - i));
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

void dequantise(const Dequantise& args) {
  if (args.type == ElementType::kFloat64) {
    dequantise_values<ElementType::kFloat64>(args);
  } else {
    dequantise_values<ElementType::kFloat32>(args);
  }
}

}  // namespace veilsum::isa::avx512
