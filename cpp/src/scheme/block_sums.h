// Layer: scheme. The inner loop of every sum, of any engine: blocks of several uploads, where they
// lie. It adds what it is given; which uploads a sum may have is the manifest's business.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "scheme/round.h"

namespace veilsum::scheme {

/// Lists that a thread uses again for every block.
struct RowScratch {
  std::vector<const std::uint8_t*> rows;
  std::vector<std::uint64_t> factors;
};

/// out = sum_k weights[k] * sources[k] for block `block`, whose bytes lie at each source.
/// @param weights empty: all one
/// @param out may be one of the sources
void sum_block(const Round& round, std::uint64_t block,
               std::span<const std::uint8_t* const> sources, std::span<const std::uint64_t> weights,
               RowScratch& scratch, std::uint8_t* out);

/// out -= weight * source.
void subtract_block(const Round& round, std::uint64_t block, const std::uint8_t* source,
                    std::uint64_t weight, std::uint8_t* out);

/// out = sum_k weights[k] * sources[k] for all blocks, which lie at each source one after the
/// other.
void sum_blocks(const Round& round, std::span<const std::uint8_t* const> sources,
                std::span<const std::uint64_t> weights, int threads, std::uint8_t* out);

/// About how long summing the blocks of `sources` uploads takes on one thread.
double sum_us(const Round& round, std::size_t sources);

/// Empty when all are one, so that the cipher takes its fast path.
inline std::span<const std::uint64_t> unless_unit(std::span<const std::uint64_t> weights) {
  for (const std::uint64_t weight : weights) {
    if (weight != 1) return weights;
  }
  return {};
}

}  // namespace veilsum::scheme
