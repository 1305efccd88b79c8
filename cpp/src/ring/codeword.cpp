// Layer: ring. See codeword.h.
#include "ring/codeword.h"

#include "ring/modular.h"
#include "ring/primes.h"
#include "veilsum/errors.h"

namespace veilsum::ring {

WideInteger ring_modulus(std::uint32_t limbs) {
  WideInteger q(1);
  for (std::uint32_t limb = 0; limb < limbs; ++limb) q = q.times(kPrimes[limb]);
  return q;
}

Codeword::Codeword(const Ring& ring, unsigned message_bits, unsigned plane_bits) {
  const std::uint32_t limbs = ring.limbs();
  const WideInteger q = ring_modulus(limbs);
  const unsigned planes = plane_bits == 0 ? 0 : (message_bits + plane_bits - 1) / plane_bits;
  if (plane_bits > 48 || planes == 0 || planes > isa::kMaxPlanes ||
      message_bits + 2 > q.bit_length()) {
    throw ParameterError("a message of " + std::to_string(message_bits) + " bits in planes of " +
                         std::to_string(plane_bits) + " does not fit a modulus of " +
                         std::to_string(q.bit_length()) + " bits");
  }
  delta_ = q.shifted_right(message_bits);

  decode_.limb_count = limbs;
  decode_.plane_count = planes;
  decode_.words = limbs;  // 50 bits a limb fit 52 bits a word: 50, 100, 200 bits in 1, 2, 4 words
  WideInteger prefix(1);
  for (std::uint32_t i = 0; i < limbs; ++i) {
    decode_.modulus[i] = ring.modulus(i);
    for (std::uint32_t j = 0; j < i; ++j) {
      decode_.garner[i][j] = inverse_mod(ring.q(j) % ring.q(i), ring.q(i));
      decode_.garner_shoup[i][j] = shoup_companion(decode_.garner[i][j], ring.q(i));
    }
    for (unsigned w = 0; w < isa::kMaxLimbs; ++w) decode_.prefix[i][w] = prefix.word52(w);
    prefix = prefix.times(ring.q(i));
  }
  const WideInteger half = delta_.shifted_right(1);
  for (unsigned w = 0; w < isa::kMaxLimbs; ++w) {
    decode_.modulus_words[w] = q.word52(w);
    decode_.half_delta[w] = half.word52(w);
  }
  scales_.resize(2 * std::size_t{limbs} * planes);
  for (unsigned plane = 0; plane < planes; ++plane) {
    const WideInteger weight = delta_.shifted_left(plane * plane_bits);
    for (unsigned w = 0; w < isa::kMaxLimbs; ++w) decode_.divisor[plane][w] = weight.word52(w);
    decode_.divisor_reciprocal[plane] = 1.0 / weight.to_double();
    for (std::uint32_t limb = 0; limb < limbs; ++limb) {
      const std::uint64_t scale = weight.mod(ring.q(limb));
      scales_[limb * planes + plane] = scale;
      scales_[(limbs + limb) * planes + plane] = shoup_companion(scale, ring.q(limb));
    }
  }
  limbs_.resize(limbs);
  for (std::uint32_t limb = 0; limb < limbs; ++limb) {
    limbs_[limb] = {ring.modulus(limb), scales_.data() + std::size_t{limb} * planes,
                    scales_.data() + std::size_t{limbs + limb} * planes};
  }
}

}  // namespace veilsum::ring
