// Layer: aggregate. The inner loop of every sum: one block of several sources, row by row.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "scheme/round.h"

namespace veilsum::aggregate {

/// Sources per kernel call: their current lines and the output fit the second-level cache.
inline constexpr std::size_t kBatch = 64;

/// Lists that a thread uses again for every block.
struct RowScratch {
  std::vector<const std::uint8_t*> rows;
  std::vector<std::uint64_t> factors;
};

/// out = sum_k weights[k] * sources[k] modulo q, for block `block`, whose bytes lie at each source.
/// @param weights empty: all one
/// @param out may be sources[0]
/// @return false when a residue is not below its modulus; `out` is then unspecified
bool sum_block(const scheme::Round& round, std::uint64_t block,
               std::span<const std::uint8_t* const> sources, std::span<const std::uint64_t> weights,
               RowScratch& scratch, std::uint8_t* out);

/// Empty when all are one, so that the kernel takes its fast path.
inline std::span<const std::uint64_t> unless_unit(std::span<const std::uint64_t> weights) {
  for (const std::uint64_t weight : weights) {
    if (weight != 1) return weights;
  }
  return {};
}

}  // namespace veilsum::aggregate
