// Layer: aggregate. The inner loop of every sum: one block of several sources.
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

/// out = sum_k weights[k] * sources[k] modulo 2^B, for block `block`, whose bytes lie at each
/// source.
/// @param weights empty: all one
/// @param out may be one of the sources
void sum_block(const scheme::Round& round, std::uint64_t block,
               std::span<const std::uint8_t* const> sources, std::span<const std::uint64_t> weights,
               RowScratch& scratch, std::uint8_t* out);

/// out -= weight * source modulo 2^B.
void subtract_block(const scheme::Round& round, std::uint64_t block, const std::uint8_t* source,
                    std::uint64_t weight, std::uint8_t* out);

/// About how long summing the blocks of `sources` uploads takes on one thread.
double sum_us(const scheme::Round& round, std::size_t sources);

/// Empty when all are one, so that the kernel takes its fast path.
inline std::span<const std::uint64_t> unless_unit(std::span<const std::uint64_t> weights) {
  for (const std::uint64_t weight : weights) {
    if (weight != 1) return weights;
  }
  return {};
}

}  // namespace veilsum::aggregate
