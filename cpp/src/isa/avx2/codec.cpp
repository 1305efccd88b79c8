// Layer: isa, level avx2. Values to lanes and back, four at a time in double precision, eight in a
// round. Integers are made by adding 1.5 * 2^52, which rounds to nearest even and leaves the
// integer in the low bits (values reach 2^32, beyond the 32-bit conversions). No contraction: one
// rounding an operation, the same numbers as the scalar level. Constant time for finite values.
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

/// kRandom: stochastic rounding. kClamp: the integer may leave [-levels, levels].
template <ElementType kType, bool kRandom, bool kClamp, Clip kClip>
struct Quantiser {
  Real weight, limit, minus_limit, inverse_step, lowest, highest;
  __m256 narrow_limit, narrow_minus_limit;
  Vec offset, shift;
  bool first_lane, overwrite;
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
        offset(splat(kRoundBits - static_cast<std::uint64_t>(args.levels))),
        shift(splat(std::uint64_t{args.shift})),
        first_lane(args.overwrite && args.shift == 0),
        overwrite(args.overwrite) {}

  void four(Real y, const std::uint32_t* random, std::uint64_t* out) {
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
    Vec digit = _mm256_sub_epi64(bits_of(t), offset);
    if (!first_lane) {
      digit = _mm256_sllv_epi64(digit, shift);
      if (!overwrite) digit = _mm256_or_si256(digit, load(out));
    }
    store(out, digit);
  }

  void eight(const char* values, const std::uint32_t* random, std::uint64_t* out) {
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
    four(low, random, out);
    four(high, kRandom ? random + 4 : nullptr, out + 4);
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

template <ElementType kType, bool kRandom, bool kClamp, Clip kClip>
QuantiseResult quantise_values(const Quantise& args) {
  constexpr std::size_t kBytes = element_bytes<kType>();
  Quantiser<kType, kRandom, kClamp, kClip> quantiser(args);
  const char* values = static_cast<const char*>(args.values);
  const std::uint32_t* random = args.random;
  std::uint64_t* out = args.plane;
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
    alignas(32) std::uint64_t last[kStep] = {};
    __builtin_memcpy(last_values, values, left * kBytes);
    if constexpr (kRandom) __builtin_memcpy(last_random, random, 4 * left);
    if (!args.overwrite) __builtin_memcpy(last, out, 8 * left);
    quantiser.eight(last_values, last_random, last);
    __builtin_memcpy(out, last, 8 * left);
    wipe(last_values);
    wipe(last);
  }
  return {quantiser.clipped_values(), is_clean<kType>(quantiser.poison)};
}

template <ElementType kType, bool kRandom, bool kClamp>
QuantiseResult quantise_weighted(const Quantise& args) {
  if (args.weight != 1.0) return quantise_values<kType, kRandom, kClamp, Clip::kWeighted>(args);
  if constexpr (kType != ElementType::kFloat64) {
    constexpr std::size_t kCountable = std::size_t{1} << 32;  // by 32-bit lanes
    constexpr double kLargestFloat = 0x1.fffffep127;
    if (args.limit <= kLargestFloat && args.count < kCountable &&
        static_cast<double>(static_cast<float>(args.limit)) == args.limit) {
      return quantise_values<kType, kRandom, kClamp, Clip::kNarrow>(args);
    }
  }
  return quantise_values<kType, kRandom, kClamp, Clip::kUnit>(args);
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

/// Digit and offset are below 2^52: 2^52 + offset is exact, and so is the difference.
template <ElementType kType>
void dequantise_values(const Dequantise& args) {
  constexpr std::size_t kBytes = element_bytes<kType>();
  const Vec shift = splat(std::uint64_t{args.shift});
  const Vec lane = splat(args.mask);
  const Real offset = splat(kTwo52 + static_cast<double>(args.offset));
  const Real scale = splat(args.scale);
  const auto four = [&](const std::uint64_t* in, char* out) {
    const Vec digit = _mm256_and_si256(_mm256_srlv_epi64(load(in), shift), lane);
    const Real value = _mm256_mul_pd(_mm256_sub_pd(raise(digit), offset), scale);
    if constexpr (kType == ElementType::kFloat64) {
      _mm256_storeu_pd(reinterpret_cast<double*>(out), value);
    } else {
      _mm_storeu_ps(reinterpret_cast<float*>(out), _mm256_cvtpd_ps(value));
    }
  };
  const std::uint64_t* in = args.plane;
  char* out = static_cast<char*>(args.out);
  const std::size_t whole = args.count / kStep * kStep;
  for (std::size_t i = 0; i < whole; i += kStep) {
    __builtin_prefetch(out + kAheadBytes, 1, 2);  // for writing
    four(in, out);
    four(in + 4, out + 4 * kBytes);
    in += kStep;
    out += kStep * kBytes;
  }
  const std::size_t left = args.count - whole;
  if (left != 0) {
    alignas(32) std::uint64_t last[kStep] = {};
    alignas(32) char last_out[kStep * kBytes];
    __builtin_memcpy(last, in, 8 * left);
    four(last, last_out);
    four(last + 4, last_out + 4 * kBytes);
    __builtin_memcpy(out, last_out, left * kBytes);
  }
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

}  // namespace veilsum::isa::avx2
