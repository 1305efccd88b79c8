// Layer: scheme. See noise_bound.h. Twice the noise, brought to one denominator: with
// eps = e 2^(B - s), where
//   one limb: s = 119, e = delta 2^44 + delta^2 (2^23 + 1);   k limbs: s = 48 k, e = k,
//   2 noise - W - 1 = (2 (W + 1) e q + 18 W 2^s) / (q 2^(s - B)).
// The fraction is no integer, whatever it is multiplied by below q_i / (18 W): each prime divides
// the denominator and the first term, and not the second. So its ceiling is its floor and one.
#include "scheme/noise_bound.h"

#include "ring/block_arithmetic.h"
#include "ring/modular.h"
#include "ring/primes.h"

namespace veilsum::scheme {
namespace {

using ring::WideInteger;

constexpr std::uint64_t kErrorAndLift = 9;  ///< |e| <= 8, and `lift` is off by less than 1

}  // namespace

NoiseBound::NoiseBound(std::uint32_t limbs, std::uint64_t max_weight, std::uint32_t field_bits)
    : limbs_(limbs), max_weight_(max_weight) {
  WideInteger rounding(limbs);                    // e
  std::uint32_t scale = isa::kPrimeBits * limbs;  // s
  if (limbs == 1) {
    const std::uint64_t delta = ring::make_modulus(ring::kPrimes[0]).delta;
    rounding = WideInteger(delta).shifted_left(44).plus(
        WideInteger(delta).times(delta).times((std::uint64_t{1} << 23) + 1));
    scale = 71 + isa::kPrimeBits;
  }
  shift_ = scale - field_bits;
  numerator_ = ring::ring_modulus(limbs)
                   .times(rounding)
                   .times(2 * (max_weight + 1))
                   .plus(WideInteger(2 * kErrorAndLift * max_weight).shifted_left(scale));
}

std::uint64_t NoiseBound::excess(std::uint64_t factor) const {
  // Floors nest, so dividing by the primes one after another divides by their product. The result
  // is small: 18 W 2^B / q <= 4.5 W, and eps <= 1.
  WideInteger quotient = numerator_.times(factor).shifted_right(shift_);
  for (std::uint32_t limb = 0; limb < limbs_; ++limb) {
    quotient = quotient.divided_by(ring::kPrimes[limb]);
  }
  return quotient.low64();
}

std::uint64_t NoiseBound::floor() const { return (max_weight_ + 1 + excess(1)) / 2; }

std::uint64_t NoiseBound::hundredths() const {
  return (100 * (max_weight_ + 1) + excess(100) + 2) / 2;  // ceil((.. + excess + 1) / 2)
}

std::uint64_t NoiseBound::smallest_delta() const { return max_weight_ + 2 + excess(1) + 1; }

}  // namespace veilsum::scheme
