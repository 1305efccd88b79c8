// Layer: aggregate. See sum_rows.h.
#include "aggregate/sum_rows.h"

#include <algorithm>

#include "isa/dispatch.h"

namespace veilsum::aggregate {

void sum_block(const scheme::Round& round, std::uint64_t block,
               std::span<const std::uint8_t* const> sources, std::span<const std::uint64_t> weights,
               RowScratch& scratch, std::uint8_t* out) {
  isa::SumFields args{};
  args.view = &round.plan().arithmetic().view();
  args.coefficients = round.block_coefficients(block);
  args.out = out;
  for (std::size_t first = 0; first < sources.size(); first += kBatch) {
    scratch.rows.clear();
    scratch.factors.clear();
    if (first != 0) {
      scratch.rows.push_back(out);
      scratch.factors.push_back(1);
    }
    for (std::size_t k = first; k < std::min(first + kBatch, sources.size()); ++k) {
      scratch.rows.push_back(sources[k]);
      scratch.factors.push_back(weights.empty() ? 1 : weights[k]);
    }
    args.sources = scratch.rows.data();
    args.weights = weights.empty() ? nullptr : scratch.factors.data();
    args.source_count = static_cast<std::uint32_t>(scratch.rows.size());
    isa::kernels().sum_fields(args);
  }
}

double sum_us(const scheme::Round& round, std::size_t sources) {
  constexpr double kOfEncryption = 1.0 / 8;
  return static_cast<double>(round.blocks() * round.plan().ring().words() * sources) *
         isa::nanoseconds_per_residue() * kOfEncryption / 1000;
}

void subtract_block(const scheme::Round& round, std::uint64_t block, const std::uint8_t* source,
                    std::uint64_t weight, std::uint8_t* out) {
  const std::uint8_t* const sources[] = {out, source};
  const std::uint64_t weights[] = {1, weight};
  isa::SumFields args{};
  args.view = &round.plan().arithmetic().view();
  args.sources = sources;
  args.weights = weights;
  args.source_count = 2;
  args.subtract = true;
  args.coefficients = round.block_coefficients(block);
  args.out = out;
  isa::kernels().sum_fields(args);
}

}  // namespace veilsum::aggregate
