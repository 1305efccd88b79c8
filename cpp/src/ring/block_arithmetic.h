// Layer: ring. The constants of one plan's blocks: digits in base t, the modulus 2^B that uploads
// are rounded to, `lift`, `round`, and the way back; see isa::BlockView, which this owns.
// It knows nothing of how B and L are chosen, nor of keys.
#pragma once

#include <cstdint>

#include "isa/kernels.h"
#include "ring/ring.h"
#include "ring/wide_integer.h"

namespace veilsum::ring {

class BlockArithmetic {
 public:
  /// @param bits B, 8 ... 48 limbs - 2
  /// @param base t, 2 ... 2^52
  /// @param digits L, at least 1, with t^L <= 2^B
  /// @throws ParameterError when they do not fit together
  BlockArithmetic(const Ring& ring, std::uint32_t bits, std::uint64_t base, std::uint32_t digits);
  BlockArithmetic(const BlockArithmetic&) = delete;
  BlockArithmetic& operator=(const BlockArithmetic&) = delete;

  const isa::BlockView& view() const noexcept { return view_; }
  /// Delta = floor(2^B / t^L).
  const WideInteger& delta() const noexcept { return delta_; }

 private:
  isa::BlockView view_{};
  WideInteger delta_;
};

/// q = q_0 ... q_(limbs - 1).
WideInteger ring_modulus(std::uint32_t limbs);

}  // namespace veilsum::ring
