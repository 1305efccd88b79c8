// Layer: isa, level avx2. Values to digits and back: in float, eight in a register, where the plan
// is narrow enough, else in double, two registers of four. Integers of doubles are made by
// adding 1.5 * 2^52, which rounds to nearest even and leaves the integer in the low bits (values
// reach 2^32, beyond the 32-bit conversions). No contraction: one rounding an operation, the same
// numbers as the scalar level. Constant time for finite values.
#include "isa/avx2/kernels_internal.h"
#include "isa/avx2/vector_ops.h"

namespace veilsum::isa::avx2 {
namespace {

constexpr std::size_t kStep = 8;  ///< values of one round

/// Values are read or written in order, a few KiB a block with microseconds of work in the cache
/// between, in which memory would lie idle. So the lines of the next block are asked for here, into
/// the second-level cache. Prefetching past the end is harmless.
constexpr std::size_t kAheadBytes = 16384;

template <ElementType kType>
constexpr std::size_t element_bytes() {
  return kType == ElementType::kFloat64 ? 8 : kType == ElementType::kFloat32 ? 4 : 2;
}

inline __m256 widen_half(Block x) { return _mm256_cvtph_ps(x); }
inline __m256 widen_bfloat(Block x) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(x), 16));
}

/// Eight values at p of a type narrower than double.
template <ElementType kType>
inline __m256 load_floats(const char* p) {
  if constexpr (kType == ElementType::kFloat32) {
    return _mm256_loadu_ps(reinterpret_cast<const float*>(p));
  } else {
    const Block halves = load_half(p);
    return kType == ElementType::kFloat16 ? widen_half(halves) : widen_bfloat(halves);
  }
}

/// Through memory: converting the halves of a register takes three permutes, loads take none. The
/// barrier keeps the compiler from seeing through it.
inline void widen(__m256 x, Real& low, Real& high) {
  alignas(32) float floats[8];
  _mm256_store_ps(floats, x);
  __asm__("" : "+m"(floats));
  low = _mm256_cvtps_pd(_mm_load_ps(floats));
  high = _mm256_cvtps_pd(_mm_load_ps(floats + 4));
}

/// Sums 0 * x: a NaN once a NaN or an infinity was seen.
inline void see(__m256& poison, __m256 x) {
  poison = _mm256_fmadd_ps(x, _mm256_setzero_ps(), poison);
}

/// Eight values at p, exactly.
template <ElementType kType>
inline void load_values(const char* p, Real& low, Real& high, __m256& poison) {
  if constexpr (kType == ElementType::kFloat64) {
    low = _mm256_loadu_pd(reinterpret_cast<const double*>(p));
    high = _mm256_loadu_pd(reinterpret_cast<const double*>(p) + 4);
    Real both = _mm256_castps_pd(poison);
    both = _mm256_fmadd_pd(low, _mm256_setzero_pd(), both);
    both = _mm256_fmadd_pd(high, _mm256_setzero_pd(), both);
    poison = _mm256_castpd_ps(both);
  } else {
    const __m256 x = load_floats<kType>(p);
    see(poison, x);
    if constexpr (kType == ElementType::kFloat32) {
      // from memory again: the conversion of a register needs permutes
      low = _mm256_cvtps_pd(_mm_loadu_ps(reinterpret_cast<const float*>(p)));
      high = _mm256_cvtps_pd(_mm_loadu_ps(reinterpret_cast<const float*>(p) + 4));
    } else {
      widen(x, low, high);
    }
  }
}

template <ElementType kType>
inline bool is_clean(__m256 poison) {
  if constexpr (kType == ElementType::kFloat64) {
    const Real both = _mm256_castps_pd(poison);
    return _mm256_movemask_pd(_mm256_cmp_pd(both, both, _CMP_UNORD_Q)) == 0;
  } else {
    return _mm256_movemask_ps(_mm256_cmp_ps(poison, poison, _CMP_UNORD_Q)) == 0;
  }
}

inline std::uint64_t sum_lanes(Vec x) {
  alignas(32) std::uint64_t lanes[4];
  _mm256_store_si256(reinterpret_cast<Vec*>(lanes), x);
  return lanes[0] + lanes[1] + lanes[2] + lanes[3];
}

/// How values are weighted and clipped. kNarrow: the weight is one and the limit a float32, so
/// values up to float32 are clipped and counted before they are widened, eight in a register.
enum class Clip { kNarrow, kUnit, kWeighted };

/// In double. kRandom: stochastic rounding. kClamp: the integer may leave [-levels, levels].
template <ElementType kType, bool kRandom, bool kClamp, Clip kClip>
struct Quantiser {
  Real weight, limit, minus_limit, inverse_step, lowest, highest;
  __m256 narrow_limit, narrow_minus_limit;
  Vec offset;
  Vec clipped = _mm256_setzero_si256();  // 64-bit lanes; kNarrow: 32-bit lanes
  __m256 poison = _mm256_setzero_ps();

  explicit Quantiser(const Quantise& args)
      : weight(splat(args.weight)),
        limit(splat(args.limit)),
        minus_limit(splat(-args.limit)),
        inverse_step(splat(args.inverse_step)),
        lowest(splat(kRound - static_cast<double>(args.levels))),
        highest(splat(kRound + static_cast<double>(args.levels))),
        narrow_limit(_mm256_set1_ps(static_cast<float>(args.limit))),
        narrow_minus_limit(_mm256_set1_ps(static_cast<float>(-args.limit))),
        offset(splat(kRoundBits - static_cast<std::uint64_t>(args.levels))) {}

  /// The digit is in the low half of each lane.
  Vec four(Real y, const std::uint32_t* random) {
    if constexpr (kClip == Clip::kWeighted) y = _mm256_mul_pd(weight, y);
    if constexpr (kClip != Clip::kNarrow) {
      const Real inside = _mm256_max_pd(_mm256_min_pd(y, limit), minus_limit);
      clipped = _mm256_sub_epi64(clipped, bits_of(_mm256_cmp_pd(y, inside, _CMP_NEQ_UQ)));
      y = inside;
    }
    Real t = _mm256_mul_pd(y, inverse_step);
    if constexpr (kRandom) {
      // 2^20 has its last bit at 2^-32
      const Vec words = _mm256_cvtepu32_epi64(load_half(random));
      const Real u =
          _mm256_sub_pd(real_of(_mm256_or_si256(words, bits_of(splat(0x1p20)))), splat(0x1p20));
      t = _mm256_floor_pd(_mm256_add_pd(t, u));
    }
    t = _mm256_add_pd(t, splat(kRound));
    // Its last bit is a one's place all over [2^52, 2^53), so these bounds are exact.
    if constexpr (kClamp) t = _mm256_min_pd(_mm256_max_pd(t, lowest), highest);
    return _mm256_sub_epi64(bits_of(t), offset);
  }

  void eight(const char* values, const std::uint32_t* random, std::uint32_t* out) {
    Real low, high;
    if constexpr (kClip == Clip::kNarrow) {
      const __m256 x = load_floats<kType>(values);
      see(poison, x);
      const __m256 inside = _mm256_max_ps(_mm256_min_ps(x, narrow_limit), narrow_minus_limit);
      clipped =
          _mm256_sub_epi32(clipped, _mm256_castps_si256(_mm256_cmp_ps(x, inside, _CMP_NEQ_UQ)));
      widen(inside, low, high);
    } else {
      load_values<kType>(values, low, high, poison);
    }
    const Vec x = four(low, random);
    const Vec y = four(high, kRandom ? random + 4 : nullptr);
    const Vec digits = _mm256_castps_si256(
        _mm256_shuffle_ps(_mm256_castsi256_ps(x), _mm256_castsi256_ps(y), 0x88));
    store(out, _mm256_permute4x64_epi64(digits, 0xd8));
  }

  std::uint64_t clipped_values() const {
    if constexpr (kClip == Clip::kNarrow) {
      return sum_lanes(
          _mm256_add_epi64(_mm256_srli_epi64(clipped, 32),
                           _mm256_and_si256(clipped, splat(std::uint64_t{0xffffffff}))));
    } else {
      return sum_lanes(clipped);
    }
  }
};

/// The same in float: |t| < 2^16, so 32-bit conversions round to nearest even just as well.
template <ElementType kType, bool kRandom, bool kClamp, bool kWeighted>
struct FloatQuantiser {
  __m256 weight, limit, minus_limit, inverse_step;
  Vec levels, twice_levels;
  Vec clipped = _mm256_setzero_si256();  // 32-bit lanes
  __m256 poison = _mm256_setzero_ps();

  explicit FloatQuantiser(const Quantise& args)
      : weight(_mm256_set1_ps(static_cast<float>(args.weight))),
        limit(_mm256_set1_ps(static_cast<float>(args.limit))),
        minus_limit(_mm256_set1_ps(-static_cast<float>(args.limit))),
        inverse_step(_mm256_set1_ps(static_cast<float>(args.inverse_step))),
        levels(_mm256_set1_epi32(static_cast<int>(args.levels))),
        twice_levels(_mm256_set1_epi32(static_cast<int>(2 * args.levels))) {}

  void eight(const char* values, const std::uint32_t* random, std::uint32_t* out) {
    const __m256 x = load_floats<kType>(values);
    see(poison, x);
    const __m256 y = kWeighted ? _mm256_mul_ps(weight, x) : x;
    const __m256 inside = _mm256_max_ps(_mm256_min_ps(y, limit), minus_limit);
    clipped = _mm256_sub_epi32(clipped, _mm256_castps_si256(_mm256_cmp_ps(y, inside, _CMP_NEQ_UQ)));
    const __m256 t = _mm256_mul_ps(inside, inverse_step);
    Vec v;
    if constexpr (kRandom) {
      const __m256 floor = _mm256_floor_ps(t);
      const __m256 fraction = _mm256_sub_ps(t, floor);
      const __m256 words = _mm256_cvtepi32_ps(_mm256_srli_epi32(load(random), 8));
      const __m256 up =
          _mm256_cmp_ps(_mm256_mul_ps(words, _mm256_set1_ps(0x1p-24F)), fraction, _CMP_LT_OQ);
      v = _mm256_sub_epi32(_mm256_cvtps_epi32(floor), _mm256_castps_si256(up));
    } else {
      v = _mm256_cvtps_epi32(t);
    }
    Vec digits = _mm256_add_epi32(v, levels);
    if constexpr (kClamp) {
      digits = _mm256_min_epi32(_mm256_max_epi32(digits, _mm256_setzero_si256()), twice_levels);
    }
    store(out, digits);
  }

  std::uint64_t clipped_values() const {
    return sum_lanes(_mm256_add_epi64(_mm256_srli_epi64(clipped, 32),
                                      _mm256_and_si256(clipped, splat(std::uint64_t{0xffffffff}))));
  }
};

constexpr std::size_t kCountable = std::size_t{1} << 32;  ///< by 32-bit lanes

template <ElementType kType, bool kRandom, class Quantiser>
QuantiseResult quantise_values(const Quantise& args) {
  constexpr std::size_t kBytes = element_bytes<kType>();
  Quantiser quantiser(args);
  const char* values = static_cast<const char*>(args.values);
  const std::uint32_t* random = args.random;
  std::uint32_t* out = args.digits;
  const std::size_t whole = args.count / kStep * kStep;
  for (std::size_t i = 0; i < whole; i += kStep) {
    _mm_prefetch(values + kAheadBytes, _MM_HINT_T1);
    quantiser.eight(values, random, out);
    values += kStep * kBytes;
    out += kStep;
    if constexpr (kRandom) random += kStep;
  }
  const std::size_t left = args.count - whole;
  if (left != 0) {  // zeros fill up; they clip nothing
    alignas(32) char last_values[kStep * 8] = {};
    alignas(32) std::uint32_t last_random[kStep] = {};
    alignas(32) std::uint32_t last[kStep];
    __builtin_memcpy(last_values, values, left * kBytes);
    if constexpr (kRandom) __builtin_memcpy(last_random, random, 4 * left);
    quantiser.eight(last_values, last_random, last);
    __builtin_memcpy(out, last, 4 * left);
    wipe(last_values);
    wipe(last);
  }
  return {quantiser.clipped_values(), is_clean<kType>(quantiser.poison)};
}

template <ElementType kType, bool kRandom, bool kClamp>
QuantiseResult quantise_weighted(const Quantise& args) {
  const bool unit = args.weight == 1.0;
  if constexpr (kType != ElementType::kFloat64) {
    if (args.in_float) {
      return unit ? quantise_values<kType, kRandom, FloatQuantiser<kType, kRandom, kClamp, false>>(
                        args)
                  : quantise_values<kType, kRandom, FloatQuantiser<kType, kRandom, kClamp, true>>(
                        args);
    }
    constexpr double kLargestFloat = 0x1.fffffep127;
    if (unit && args.limit <= kLargestFloat && args.count < kCountable &&
        static_cast<double>(static_cast<float>(args.limit)) == args.limit) {
      return quantise_values<kType, kRandom, Quantiser<kType, kRandom, kClamp, Clip::kNarrow>>(
          args);
    }
  }
  return unit
             ? quantise_values<kType, kRandom, Quantiser<kType, kRandom, kClamp, Clip::kUnit>>(args)
             : quantise_values<kType, kRandom, Quantiser<kType, kRandom, kClamp, Clip::kWeighted>>(
                   args);
}

template <ElementType kType>
QuantiseResult quantise_type(const Quantise& args) {
  if (args.random != nullptr) return quantise_weighted<kType, true, true>(args);
  // Rounding is monotonic: when the limit itself lands within a quarter of `levels`, so does every
  // clipped value below, and rounding to nearest stays inside.
  const double levels = static_cast<double>(args.levels);
  const double top = args.in_float ? static_cast<double>(static_cast<float>(args.limit) *
                                                         static_cast<float>(args.inverse_step)) -
                                         levels
                                   : args.limit * args.inverse_step - levels;
  if (top > -0.25 && top < 0.25) return quantise_weighted<kType, false, false>(args);
  return quantise_weighted<kType, false, true>(args);
}

/// v and out as isa::Dequantise has them, eight at a time. Digit and offset are below 2^52: 2^52 +
/// offset is exact, and so is the difference.
template <ElementType kType, class Digit>
struct Dequantiser {
  Real offset, scale, greatest;

  explicit Dequantiser(const Dequantise& args)
      : offset(splat(kTwo52 + static_cast<double>(args.offset))),
        scale(splat(args.scale)),
        greatest(splat(0.0)) {}

  void four(const Digit* in, char* out) {
    const Vec digit = sizeof(Digit) == 4 ? _mm256_cvtepu32_epi64(load_half(in)) : load(in);
    const Real v = _mm256_sub_pd(raise(digit), offset);
    greatest = _mm256_max_pd(greatest, v);
    const Real value = _mm256_mul_pd(v, scale);
    if constexpr (kType == ElementType::kFloat64) {
      _mm256_storeu_pd(reinterpret_cast<double*>(out), value);
    } else {
      _mm_storeu_ps(reinterpret_cast<float*>(out), _mm256_cvtpd_ps(value));
    }
  }
  void eight(const Digit* in, char* out) {
    four(in, out);
    four(in + 4, out + 4 * element_bytes<kType>());
  }
  bool within(std::int64_t most) const {
    const Real beyond = _mm256_cmp_pd(greatest, splat(static_cast<double>(most)), _CMP_GT_OQ);
    return _mm256_movemask_pd(beyond) == 0;
  }
};

/// |v| < 2^24, so the digit minus the offset is exact modulo 2^32.
struct FloatDequantiser {
  Vec offset, beyond;  // of `beyond` a sign is set once a v was above the offset
  __m256 high, low;

  explicit FloatDequantiser(const Dequantise& args)
      : offset(_mm256_set1_epi32(static_cast<int>(static_cast<std::uint32_t>(args.offset)))),
        beyond(_mm256_setzero_si256()) {
    const auto scale = static_cast<float>(args.scale);
    high = _mm256_set1_ps(scale);
    low = _mm256_set1_ps(static_cast<float>(args.scale - static_cast<double>(scale)));
  }
  void eight(const std::uint32_t* in, char* out) {
    const Vec whole = _mm256_sub_epi32(load(in), offset);
    beyond = _mm256_or_si256(beyond, _mm256_sub_epi32(offset, whole));
    const __m256 v = _mm256_cvtepi32_ps(whole);
    _mm256_storeu_ps(reinterpret_cast<float*>(out),
                     _mm256_fmadd_ps(v, high, _mm256_mul_ps(v, low)));
  }
  bool within(std::int64_t /*most*/) const {
    return _mm256_movemask_ps(_mm256_castsi256_ps(beyond)) == 0;
  }
};

template <ElementType kType, class Digit, class Dequantiser>
bool dequantise_values(const Dequantise& args, const Digit* in) {
  constexpr std::size_t kBytes = element_bytes<kType>();
  Dequantiser dequantiser(args);
  char* out = static_cast<char*>(args.out);
  const std::size_t whole = args.count / kStep * kStep;
  for (std::size_t i = 0; i < whole; i += kStep) {
    __builtin_prefetch(out + kAheadBytes, 1, 2);  // for writing
    dequantiser.eight(in, out);
    in += kStep;
    out += kStep * kBytes;
  }
  const std::size_t left = args.count - whole;
  if (left != 0) {
    alignas(32) Digit last[kStep] = {};  // zeros are within any bound
    alignas(32) char last_out[kStep * kBytes];
    __builtin_memcpy(last, in, sizeof(Digit) * left);
    dequantiser.eight(last, last_out);
    __builtin_memcpy(out, last_out, left * kBytes);
  }
  return dequantiser.within(args.offset);
}

template <ElementType kType>
bool dequantise_type(const Dequantise& args) {
  if (args.narrow == nullptr) {
    return dequantise_values<kType, std::uint64_t, Dequantiser<kType, std::uint64_t>>(args,
                                                                                      args.wide);
  }
  if constexpr (kType == ElementType::kFloat32) {
    if (args.in_float) {
      return dequantise_values<kType, std::uint32_t, FloatDequantiser>(args, args.narrow);
    }
  }
  return dequantise_values<kType, std::uint32_t, Dequantiser<kType, std::uint32_t>>(args,
                                                                                    args.narrow);
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
  return args.type == ElementType::kFloat64 ? dequantise_type<ElementType::kFloat64>(args)
                                            : dequantise_type<ElementType::kFloat32>(args);
}

}  // namespace veilsum::isa::avx2
