// Layer: ring. Digits in a ring coefficient: Delta * m + noise mod Q, with Delta = floor(Q /
// 2^bits). Holds the constants to scale a message into RNS residues and to divide a noisy
// coefficient by Delta exactly. Blocks and capsules share it.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "isa/kernels.h"
#include "ring/ring.h"
#include "ring/wide_integer.h"

namespace veilsum::ring {

/// Message of `message_bits` bits per coefficient, cut into planes of `plane_bits` bits each.
/// Decoding is exact as long as |noise| <= floor((Delta - 1) / 2).
class Codeword {
 public:
  /// @param message_bits below log2 Q
  /// @param plane_bits 1 ... 48
  Codeword(const Ring& ring, unsigned message_bits, unsigned plane_bits);

  const WideInteger& delta() const noexcept { return delta_; }
  unsigned planes() const noexcept { return decode_.plane_count; }
  const isa::DecodeView& decode_view() const noexcept { return decode_; }
  const isa::LimbView* limb_views() const noexcept { return limbs_.data(); }

  Codeword(const Codeword&) = delete;
  Codeword& operator=(const Codeword&) = delete;

 private:
  WideInteger delta_;
  isa::DecodeView decode_{};
  std::vector<std::uint64_t> scales_;  // [limb][plane], then the companions
  std::vector<isa::LimbView> limbs_;
};

/// Q of a ring as an integer.
WideInteger ring_modulus(std::uint32_t limbs);

}  // namespace veilsum::ring
