// Layer: scheme. How far the sum of rounded uploads may lie from Delta m, exactly: the planner's
// inequality. Knows rings and weights only, no digits. Integers throughout; no decision rests on
// floating point.
//
// With q = q_0 ... q_(k-1), B the bits of a field and W the largest sum of weights,
//   noise = W (1/2 + eps + 9 * 2^B / q) + 1/2 + eps:
// each upload brings its own rounding (1/2 + eps), its error (at most 8) and what `lift` is off by
// (1); the pad that is subtracted is rounded once more. eps is what `round` (isa::BlockView) falls
// short by: (delta / 2^27 + delta^2 / 2^48 (1 + 2^-23)) 2^(B - 48) for one limb, where two shifts
// stand for the division by q, and k 2^(B - 48 k) for k limbs, one floor each. `lift` is off to one
// side only, and what it exceeds 1 by for one limb is less than eps; `round` is off to the other.
#pragma once

#include <cstdint>

#include "ring/wide_integer.h"

namespace veilsum::scheme {

class NoiseBound {
 public:
  /// @param limbs k: 1, 2 or 4
  /// @param max_weight W, 1 ... 2^20
  /// @param field_bits B, 1 ... 48 k - 2
  NoiseBound(std::uint32_t limbs, std::uint64_t max_weight, std::uint32_t field_bits);

  /// floor(noise): noise is a difference of integers, so this is its bound.
  std::uint64_t floor() const;
  /// ceil(100 noise), for people.
  std::uint64_t hundredths() const;
  /// The smallest Delta >= 2 noise + 1, for which rounding to a multiple of Delta never errs.
  std::uint64_t smallest_delta() const;

 private:
  /// floor(factor * (2 noise - W - 1)). The product is never an integer; see noise_bound.cpp.
  std::uint64_t excess(std::uint64_t factor) const;

  std::uint32_t limbs_;
  std::uint64_t max_weight_;
  std::uint32_t shift_;  ///< 2 noise - W - 1 = numerator_ / (q 2^shift_)
  ring::WideInteger numerator_;
};

}  // namespace veilsum::scheme
