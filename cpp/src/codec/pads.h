// Layer: codec. The pad of a block: INTT(a_i o r), for an upload's ephemeral key or a sum key. The
// same motion serves encryption and decryption.
#pragma once

#include <cstdint>

#include "ring/ring.h"
#include "scheme/round.h"

namespace veilsum::codec {

/// Writes the pads of block `block`, [limb][n] lazy in [0, 2q), to `out` (plan.ring().words()).
void make_pads_into(const scheme::Round& round, const ring::SlotMultiplier& key,
                    std::uint64_t block, std::uint64_t* out);

/// Calls f(segment, first_value, plane, shift, first_coefficient, count) for every run
/// of a block's values that lies in one lane and one segment, lane after lane.
/// Value v of the block sits in lane v / coefficients at coefficient v % coefficients.
template <typename F>
void for_each_run(const scheme::Round& round, std::uint64_t block, std::uint32_t coefficients,
                  F f) {
  const scheme::Plan& plan = round.plan();
  const std::uint64_t first = block * plan.block_capacity();
  const std::uint64_t values = round.block_values(block);
  std::size_t segment = round.segment_of(first);
  std::uint64_t at = 0;
  while (at < values) {
    while (round.starts()[segment + 1] <= first + at) ++segment;  // skips empty segments too
    const std::uint64_t lane = at / coefficients;
    const std::uint64_t lane_end = (lane + 1) * coefficients;
    std::uint64_t end = lane_end < values ? lane_end : values;
    const std::uint64_t segment_end = round.starts()[segment + 1] - first;
    if (segment_end < end) end = segment_end;
    f(segment, first + at, static_cast<std::uint32_t>(lane / plan.lanes_per_plane()),
      static_cast<std::uint32_t>(lane % plan.lanes_per_plane()) * plan.lane_bits(),
      static_cast<std::uint32_t>(at % coefficients), static_cast<std::size_t>(end - at));
    at = end;
  }
}

}  // namespace veilsum::codec
