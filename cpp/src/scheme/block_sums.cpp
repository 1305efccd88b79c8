// Layer: scheme. See block_sums.h.
#include "scheme/block_sums.h"

#include <algorithm>

#include "base/parallel.h"

namespace veilsum::scheme {

void sum_block(const Round& round, std::uint64_t block,
               std::span<const std::uint8_t* const> sources, std::span<const std::uint64_t> weights,
               RowScratch& scratch, std::uint8_t* out) {
  const std::size_t bytes = round.block_bytes(block);
  for (std::size_t first = 0; first < sources.size();) {
    scratch.rows.clear();
    scratch.factors.clear();
    if (first != 0) {
      scratch.rows.push_back(out);
      scratch.factors.push_back(1);
    }
    for (; first < sources.size() && scratch.rows.size() < kMostSources; ++first) {
      scratch.rows.push_back(sources[first]);
      scratch.factors.push_back(weights.empty() ? 1 : weights[first]);
    }
    round.cipher().sum_into(scratch.rows,
                            weights.empty() ? std::span<const std::uint64_t>{} : scratch.factors,
                            bytes, out);
  }
}

void subtract_block(const Round& round, std::uint64_t block, const std::uint8_t* source,
                    std::uint64_t weight, std::uint8_t* out) {
  round.cipher().subtract_into(source, weight, round.block_bytes(block), out);
}

void sum_blocks(const Round& round, std::span<const std::uint8_t* const> sources,
                std::span<const std::uint64_t> weights, int threads, std::uint8_t* out) {
  const std::span<const std::uint64_t> factors = unless_unit(weights);
  struct Scratch {
    RowScratch rows;
    std::vector<const std::uint8_t*> at;
  };
  parallel_for(
      static_cast<std::size_t>(round.blocks()),
      worthwhile_threads(threads, sum_us(round, sources.size())), [] { return Scratch{}; },
      [&](std::size_t block, Scratch& scratch) {
        const auto offset = static_cast<std::size_t>(round.block_offset(block));
        scratch.at.clear();
        for (const std::uint8_t* source : sources) scratch.at.push_back(source + offset);
        sum_block(round, block, scratch.at, factors, scratch.rows, out + offset);
      });
}

double sum_us(const Round& round, std::size_t sources) {
  return static_cast<double>(round.blocks() * sources) * round.cipher().sum_ns() / 1000;
}

}  // namespace veilsum::scheme
