// Layer: aggregate. See sum_rows.h.
#include "aggregate/sum_rows.h"

#include <algorithm>

#include "isa/dispatch.h"

namespace veilsum::aggregate {

bool sum_block(const scheme::Round& round, std::uint64_t block,
               std::span<const std::uint8_t* const> sources, std::span<const std::uint64_t> weights,
               RowScratch& scratch, std::uint8_t* out) {
  const scheme::Plan& plan = round.plan();
  const std::size_t coefficients = plan.block_coefficients(round.block_values(block));
  const std::size_t row_bytes = coefficients / isa::kGroup * isa::kGroupBytes;
  bool good = true;
  for (std::size_t limb = 0; limb < plan.limbs(); ++limb) {
    const std::size_t at = limb * row_bytes;
    for (std::size_t first = 0; first < sources.size(); first += kBatch) {
      scratch.rows.clear();
      scratch.factors.clear();
      if (first != 0) {
        scratch.rows.push_back(out + at);
        scratch.factors.push_back(1);
      }
      for (std::size_t k = first; k < std::min(first + kBatch, sources.size()); ++k) {
        scratch.rows.push_back(sources[k] + at);
        scratch.factors.push_back(weights.empty() ? 1 : weights[k]);
      }
      isa::SumPacked args{};
      args.sources = scratch.rows.data();
      args.weights = weights.empty() ? nullptr : scratch.factors.data();
      args.source_count = static_cast<std::uint32_t>(scratch.rows.size());
      args.coefficients = coefficients;
      args.modulus = plan.ring().modulus(limb);
      args.out = out + at;
      good = isa::kernels().sum_packed(args) && good;
    }
  }
  return good;
}

}  // namespace veilsum::aggregate
