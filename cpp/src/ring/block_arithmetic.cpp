// Layer: ring. See block_arithmetic.h. Set-up: nothing here is secret or constant-time.
#include "ring/block_arithmetic.h"

#include <bit>
#include <string>

#include "ring/fields.h"
#include "ring/modular.h"
#include "ring/primes.h"
#include "veilsum/errors.h"

namespace veilsum::ring {
namespace {

constexpr std::uint32_t kWordBits = 52;
/// Planes of several digits stay below 2^48, so that dividers (x < 2^50) and the division by
/// estimate (digits below 2^49) take them. A single wide digit may have up to 52 bits.
constexpr std::uint32_t kPlaneBits = 48;

/// See isa::Divider.
isa::Divider make_divider(std::uint64_t divisor) {
  const auto shift = static_cast<std::uint32_t>(std::bit_width(divisor - 1));
  const uint128 power = static_cast<uint128>(1) << (50 + shift);
  return {divisor, static_cast<std::uint64_t>((power + divisor - 1) / divisor), shift};
}

void split(const WideInteger& x, std::uint64_t (&words)[isa::kMaxWords]) {
  for (unsigned w = 0; w < isa::kMaxWords; ++w) words[w] = x.word52(w);
}

}  // namespace

WideInteger ring_modulus(std::uint32_t limbs) {
  WideInteger q(1);
  for (std::uint32_t limb = 0; limb < limbs; ++limb) q = q.times(kPrimes[limb]);
  return q;
}

BlockArithmetic::BlockArithmetic(const Ring& ring, std::uint32_t bits, std::uint64_t base,
                                 std::uint32_t digits) {
  const std::uint32_t limbs = ring.limbs();
  const auto refuse = [&](const char* rule) {
    throw ParameterError("fields of " + std::to_string(bits) + " bits with " +
                         std::to_string(digits) + " digits in base " + std::to_string(base) +
                         " over " + std::to_string(limbs) + " prime(s): " + rule);
  };
  if (limbs == 3) refuse("rings have 1, 2 or 4 primes");
  if (bits < 8 || bits > isa::kPrimeBits * limbs - 2)
    refuse("a field has from 8 to log2 q - 2 bits");
  if (base < 2 || base > std::uint64_t{1} << kWordBits) refuse("a base is at most 2^52");
  if (digits == 0 || digits > isa::kMaxDigits) refuse("a field holds 1 to 96 digits");
  WideInteger power(1);  // t^L
  const WideInteger modulus = WideInteger::power_of_two(bits);
  delta_ = modulus;
  for (std::uint32_t d = 0; d < digits; ++d) {
    power = power.times(base);
    if (modulus < power) refuse("t^L is above 2^B");
    delta_ = delta_.divided_by(base);  // floors nest
  }

  isa::BlockView& v = view_;
  v.limb_count = limbs;
  v.bits = bits;
  v.words = (bits + kWordBits - 1) / kWordBits;
  v.digit_count = digits;
  v.digits_per_plane = digits;
  v.plane_count = 1;
  if (limbs > 1) {
    std::uint32_t group = 1;
    for (uint128 x = static_cast<uint128>(base) * base; x <= static_cast<uint128>(1) << kPlaneBits;
         x *= base) {
      ++group;
    }
    v.digits_per_plane = group < digits ? group : digits;
    v.plane_count = (digits + v.digits_per_plane - 1) / v.digits_per_plane;
    if (v.plane_count > isa::kMaxPlanes) refuse("more planes than kernels take");
  }
  for (std::uint32_t w = 0; w < v.words; ++w) {
    v.fields[w] = &field_table(w + 1 < v.words ? kWordBits : bits - kWordBits * w);
  }
  v.residue_fields = &field_table(isa::kPrimeBits);
  for (std::uint32_t limb = 0; limb < limbs; ++limb) v.modulus[limb] = ring.modulus(limb);

  WideInteger scale = limbs == 1 ? delta_ : WideInteger(1);
  for (std::uint32_t d = 0; d < v.digits_per_plane; ++d) {
    v.digit_scale[d] = scale.low64();
    scale = scale.times(base);
  }
  split(delta_.shifted_right(1), v.half_delta);
  split(delta_.times(power), v.limit);
  WideInteger weight = delta_;  // Delta t^(g p)
  const WideInteger q = ring_modulus(limbs);
  for (std::uint32_t plane = 0; plane < v.plane_count; ++plane) {
    split(weight, v.divisor[plane]);
    v.divisor_reciprocal[plane] = 1.0 / weight.to_double();
    split(weight.times(q).low_bits(bits), v.plane_scale[plane]);
    for (std::uint32_t d = 0; d < v.digits_per_plane; ++d) weight = weight.times(base);
  }
  if (limbs == 1) v.delta = make_divider(delta_.low64());
  if (v.digits_per_plane > 1) v.base = make_divider(base);
  if (limbs == 1) return;

  const std::uint32_t fraction_bits = isa::kPrimeBits * (limbs + 1);  // F
  for (std::uint32_t i = 0; i < limbs; ++i) {
    const std::uint64_t qi = ring.q(i);
    std::uint64_t hat = 1;
    for (std::uint32_t j = 0; j < limbs; ++j) {
      if (j != i) hat = mul_mod(hat, ring.q(j) % qi, qi);
    }
    v.hat_inverse[i] = inverse_mod(hat, qi);
    v.hat_inverse_shoup[i] = shoup_companion(v.hat_inverse[i], qi);
    split(WideInteger::power_of_two(fraction_bits).divided_by(qi), v.fraction[i]);
    const std::uint64_t two_to_minus_b = inverse_mod(pow_mod(2, bits, qi), qi);
    for (std::uint32_t w = 0; w < isa::kMaxWords; ++w) {
      v.lift_scale[i][w] = qi - mul_mod(pow_mod(2, kWordBits * w, qi), two_to_minus_b, qi);
      v.lift_scale_shoup[i][w] = shoup_companion(v.lift_scale[i][w], qi);
    }
  }
}

}  // namespace veilsum::ring
