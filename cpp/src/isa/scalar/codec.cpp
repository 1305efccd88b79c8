// Layer: isa, scalar level. Values to digits and back, in IEEE double or, where the plan is narrow
// enough, in float, with one rounding an operation, so that every level and every compiler gives
// the same bytes: contraction is off (below and on the command line), extended x87 evaluation is
// refused at compile time. Nearest-integer rounding adds and subtracts 1.5 * 2^52 (2^23 in float),
// which rounds to even in the default mode, instead of calling rint(), whose portable versions
// branch on the value. Constant time for finite input as far as the processor's double arithmetic
// is (subnormal float32 and float64 inputs may take longer on some).
#include <cfloat>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "isa/scalar/kernels_internal.h"

#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off")
#endif

static_assert(FLT_EVAL_METHOD == 0 || FLT_EVAL_METHOD == 16,
              "doubles must be evaluated as doubles: on 32-bit x86 compile with -mfpmath=sse");

namespace veilsum::isa::scalar {
namespace {

constexpr unsigned kDoubleMantissa = 52;
constexpr std::int64_t kDoubleBias = 1023;
constexpr std::uint64_t kDoubleSign = std::uint64_t{1} << 63;
constexpr std::uint64_t kDoubleInfinity = 0x7ff0000000000000u;
/// Added to |t| < 2^51 it leaves rint(t) in the low bits of the sum, offset by its own bits.
constexpr double kRoundingConstant = 6755399441055744.0;  // 1.5 * 2^52

std::uint64_t bits_of(double x) {
  std::uint64_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}

double double_of(std::uint64_t bits) {
  double x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

/// Exact double of a 16-bit format with kExponent exponent and kMantissa mantissa bits, without a
/// branch. A finite number is significand * 2^(field - bias - kMantissa), where a zero exponent
/// field (zero and subnormals) counts as one and lacks the hidden bit; both factors are normal
/// doubles and their product is exact. A full exponent field becomes an infinity or a NaN.
template <unsigned kExponent, unsigned kMantissa>
double widen(std::uint16_t half) {
  constexpr std::uint32_t kFull = (1u << kExponent) - 1;
  constexpr std::int64_t kBias = (1 << (kExponent - 1)) - 1;
  const std::uint32_t field = (static_cast<std::uint32_t>(half) >> kMantissa) & kFull;
  const std::uint32_t is_zero = (field - 1) >> 31;
  const std::uint32_t significand =
      (half & ((1u << kMantissa) - 1)) | ((1u - is_zero) << kMantissa);
  const std::int64_t exponent =
      static_cast<std::int64_t>(field + is_zero) - kBias - static_cast<std::int64_t>(kMantissa);
  const double scale =
      double_of(static_cast<std::uint64_t>(exponent + kDoubleBias) << kDoubleMantissa);
  const double magnitude = static_cast<double>(static_cast<std::int32_t>(significand)) * scale;
  const std::uint64_t is_full = (static_cast<std::uint64_t>(field) + 1) >> kExponent;
  const std::uint64_t sign = static_cast<std::uint64_t>(half >> 15) << 63;
  return double_of(bits_of(magnitude) | sign | (kDoubleInfinity & (0 - is_full)));
}

struct Float32 {
  static double load(const void* values, std::size_t i) {
    return static_cast<double>(static_cast<const float*>(values)[i]);
  }
};
struct Float64 {
  static double load(const void* values, std::size_t i) {
    return static_cast<const double*>(values)[i];
  }
};
struct Float16 {
  static double load(const void* values, std::size_t i) {
    return widen<5, 10>(static_cast<const std::uint16_t*>(values)[i]);
  }
};
struct Bfloat16 {
  static double load(const void* values, std::size_t i) {
    return widen<8, 7>(static_cast<const std::uint16_t*>(values)[i]);
  }
};

/// rint(t) as an integer, for |t| < 2^51.
std::int64_t nearest(double t) {
  return static_cast<std::int64_t>(bits_of(t + kRoundingConstant) - bits_of(kRoundingConstant));
}

/// floor(t), for |t| < 2^51 and t not -0: the nearest integer, less one where that lies above t,
/// which the sign of the (exact) difference tells.
std::int64_t floor_of(double t) {
  const double rounded = (t + kRoundingConstant) - kRoundingConstant;
  return nearest(t) - static_cast<std::int64_t>(bits_of(t - rounded) >> 63);
}

/// |t| < 2^22, as nearest() and floor_of().
constexpr float kFloatRoundingConstant = 12582912.0F;  // 1.5 * 2^23

std::uint32_t bits_of(float x) {
  std::uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}

std::int64_t nearest(float t) {
  return static_cast<std::int32_t>(bits_of(t + kFloatRoundingConstant) -
                                   bits_of(kFloatRoundingConstant));
}

/// v + levels limited to [0, 2 levels] by sign masks; |v| < 2^52 for finite input.
std::uint32_t digit_of(std::int64_t v, std::uint64_t levels) {
  std::uint64_t digit = static_cast<std::uint64_t>(v) + levels;
  digit &= ~sign_mask(digit);
  const std::uint64_t excess = digit - 2 * levels;
  return static_cast<std::uint32_t>(2 * levels + (excess & sign_mask(excess)));
}

template <class Element, bool kStochastic>
QuantiseResult quantise_doubles(const Quantise& args) {
  const std::uint64_t limit = bits_of(args.limit);
  const std::uint64_t levels = static_cast<std::uint64_t>(args.levels);
  std::uint64_t clipped = 0;
  std::uint64_t not_finite = 0;
  for (std::size_t i = 0; i < args.count; ++i) {
    const double x = Element::load(args.values, i);
    // Exponent all ones: adding one unit of it carries into the sign's place.
    not_finite |= (bits_of(x) & kDoubleInfinity) + (std::uint64_t{1} << kDoubleMantissa);
    const double y = args.weight * x;
    // Magnitudes of doubles are ordered like their bits: as integers they are limited by a mask,
    // where compilers may make a branch of `y > limit ? limit : y`.
    const std::uint64_t magnitude = bits_of(y) & ~kDoubleSign;
    const std::uint64_t over = sign_mask(limit - magnitude);
    clipped += over & 1;
    const std::uint64_t limited = magnitude ^ ((magnitude ^ limit) & over);
    const double held = double_of(limited | (bits_of(y) & kDoubleSign));
    const double t = held * args.inverse_step;
    if constexpr (kStochastic) {
      // Never -0: the second term is +0 or above.
      const double sum = t + static_cast<double>(args.random[i]) * 0x1p-32;
      args.digits[i] = digit_of(floor_of(sum), levels);
    } else {
      args.digits[i] = digit_of(nearest(t), levels);
    }
  }
  return {clipped, (not_finite >> 63) == 0};
}

/// The same in float; a finite double that came of a float element is that element.
template <class Element, bool kStochastic>
QuantiseResult quantise_floats(const Quantise& args) {
  constexpr std::uint32_t kSign = 1u << 31;
  constexpr std::uint32_t kInfinity = 0x7f800000u;
  constexpr std::uint32_t kExponentUnit = 1u << 23;
  const auto weight = static_cast<float>(args.weight);
  const auto inverse_step = static_cast<float>(args.inverse_step);
  const std::uint32_t limit = bits_of(static_cast<float>(args.limit));
  const std::uint64_t levels = static_cast<std::uint64_t>(args.levels);
  std::uint64_t clipped = 0;
  std::uint32_t not_finite = 0;
  for (std::size_t i = 0; i < args.count; ++i) {
    const auto x = static_cast<float>(Element::load(args.values, i));
    not_finite |= (bits_of(x) & kInfinity) + kExponentUnit;
    const float y = weight * x;
    const std::uint32_t magnitude = bits_of(y) & ~kSign;
    const std::uint64_t over =
        sign_mask(static_cast<std::uint64_t>(limit) - static_cast<std::uint64_t>(magnitude));
    clipped += over & 1;
    const std::uint32_t limited =
        magnitude ^ ((magnitude ^ limit) & static_cast<std::uint32_t>(over));
    const std::uint32_t held_bits = limited | (bits_of(y) & kSign);
    float held;
    std::memcpy(&held, &held_bits, sizeof held);
    // The sum with +0 makes a zero positive, so that the sign below means "less than".
    const float t = held * inverse_step + 0.0F;
    if constexpr (kStochastic) {
      const float rounded = (t + kFloatRoundingConstant) - kFloatRoundingConstant;
      const std::uint32_t above = bits_of(t - rounded) >> 31;
      const float floor = rounded - static_cast<float>(static_cast<std::int32_t>(above));
      const float fraction = t - floor;
      const float random =
          static_cast<float>(static_cast<std::int32_t>(args.random[i] >> 8)) * 0x1p-24F;
      const std::int64_t up = bits_of(random - fraction) >> 31;
      args.digits[i] = digit_of(nearest(floor) + up, levels);
    } else {
      args.digits[i] = digit_of(nearest(t), levels);
    }
  }
  return {clipped, (not_finite >> 31) == 0};
}

template <class Element>
QuantiseResult quantise_type(const Quantise& args) {
  if (args.in_float) {
    return args.random != nullptr ? quantise_floats<Element, true>(args)
                                  : quantise_floats<Element, false>(args);
  }
  return args.random != nullptr ? quantise_doubles<Element, true>(args)
                                : quantise_doubles<Element, false>(args);
}

}  // namespace

/// Digits in [0, 2 levels]. A value is not finite when the element itself is a NaN or an infinity,
/// whatever the weight; a finite element whose product with the weight overflows counts as clipped.
QuantiseResult quantise(const Quantise& args) {
  switch (args.type) {
    case ElementType::kFloat64:
      return quantise_type<Float64>(args);
    case ElementType::kFloat16:
      return quantise_type<Float16>(args);
    case ElementType::kBfloat16:
      return quantise_type<Bfloat16>(args);
    case ElementType::kFloat32:
      break;
  }
  return quantise_type<Float32>(args);
}

/// Digit minus offset lies strictly between -2^52 and 2^52, so its conversion is exact; the product
/// with the scale is one rounding and the conversion to float32 another. In float the scale is a
/// sum of two floats, so that the result is the nearest float but for a few in 2^24. Digits of a
/// block that is no sum may be anything: differences are taken modulo 2^64.
bool dequantise(const Dequantise& args) {
  const auto offset = static_cast<std::uint64_t>(args.offset);
  std::uint64_t beyond = 0;  // its sign is set once a v was above the offset
  const auto digit = [&](std::size_t i) {
    const std::uint64_t v = (args.narrow != nullptr ? args.narrow[i] : args.wide[i]) - offset;
    beyond |= offset - v;
    return static_cast<std::int64_t>(v);
  };
  if (args.type == ElementType::kFloat64) {
    double* out = static_cast<double*>(args.out);
    for (std::size_t i = 0; i < args.count; ++i)
      out[i] = static_cast<double>(digit(i)) * args.scale;
    return beyond >> 63 == 0;
  }
  float* out = static_cast<float*>(args.out);
  if (args.in_float) {
    const auto high = static_cast<float>(args.scale);
    const auto low = static_cast<float>(args.scale - static_cast<double>(high));
    for (std::size_t i = 0; i < args.count; ++i) {
      const auto v = static_cast<float>(digit(i));
      out[i] = std::fma(v, high, v * low);
    }
    return beyond >> 63 == 0;
  }
  for (std::size_t i = 0; i < args.count; ++i) {
    out[i] = static_cast<float>(static_cast<double>(digit(i)) * args.scale);
  }
  return beyond >> 63 == 0;
}

}  // namespace veilsum::isa::scalar
