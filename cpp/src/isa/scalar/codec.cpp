// Layer: isa, scalar level. Values to lane digits and back, in IEEE double with one rounding an
// operation, so that every level and every compiler gives the same bytes: contraction is off (below
// and on the command line), extended x87 evaluation is refused at compile time. Nearest-integer
// rounding adds and subtracts 1.5 * 2^52, which rounds to even in the default mode, instead of
// calling rint(), whose portable versions branch on the value. Constant time for finite input as
// far as the processor's double arithmetic is (subnormal float32 and float64 inputs may take longer
// on some).
#include <cfloat>
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

template <class Element, bool kStochastic, bool kOverwrite>
QuantiseResult quantise_loop(const Quantise& args) {
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
    std::int64_t v;
    if constexpr (kStochastic) {
      // Never -0: the second term is +0 or above.
      v = floor_of(t + static_cast<double>(args.random[i]) * 0x1p-32);
    } else {
      v = nearest(t);
    }
    // v + levels limited to [0, 2 levels] by sign masks; |v| < 2^52 for finite input.
    std::uint64_t digit = static_cast<std::uint64_t>(v) + levels;
    digit &= ~sign_mask(digit);
    const std::uint64_t excess = digit - 2 * levels;
    digit = 2 * levels + (excess & sign_mask(excess));
    if constexpr (kOverwrite) {
      args.plane[i] = digit << args.shift;
    } else {
      args.plane[i] |= digit << args.shift;
    }
  }
  return {clipped, (not_finite >> 63) == 0};
}

template <class Element>
QuantiseResult quantise_type(const Quantise& args) {
  if (args.random != nullptr) {
    return args.overwrite ? quantise_loop<Element, true, true>(args)
                          : quantise_loop<Element, true, false>(args);
  }
  return args.overwrite ? quantise_loop<Element, false, true>(args)
                        : quantise_loop<Element, false, false>(args);
}

}  // namespace

/// Digits in [0, 2 levels] into the lane at `shift`. A value is not finite when the element itself
/// is a NaN or an infinity, whatever the weight; a finite element whose product with the weight
/// overflows counts as clipped.
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
/// with the scale is one rounding and the conversion to float32 another.
void dequantise(const Dequantise& args) {
  const auto value = [&](std::size_t i) {
    const std::int64_t digit = static_cast<std::int64_t>((args.plane[i] >> args.shift) & args.mask);
    return static_cast<double>(digit - args.offset) * args.scale;
  };
  if (args.type == ElementType::kFloat64) {
    double* out = static_cast<double*>(args.out);
    for (std::size_t i = 0; i < args.count; ++i) out[i] = value(i);
  } else {
    float* out = static_cast<float*>(args.out);
    for (std::size_t i = 0; i < args.count; ++i) out[i] = static_cast<float>(value(i));
  }
}

}  // namespace veilsum::isa::scalar
