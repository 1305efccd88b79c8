// Layer: tests (codec). A pad is the negacyclic product of the block's public polynomial and the
// key; and the walk over a block's runs meets every value once, in its lane, plane and segment.
#include "codec/pads.h"

#include <cstdint>
#include <utility>
#include <vector>

#include "check.h"
#include "ring/expander.h"
#include "support/active_level.h"
#include "support/modulus.h"
#include "support/rounds.h"

namespace veilsum::test {
namespace {

using scheme::Plan;
using scheme::Round;

TEST("a pad is a_i * r, and every block and limb has its own a_i") {
  for (const Plan& plan : {make_plan(10, 16), make_plan(10, 16, 4, 128, "n4096")}) {
    const scheme::SecretKey key = make_key(plan);
    const Round round = make_round(plan, key, 3 * plan.block_capacity());
    const std::size_t n = plan.degree();
    std::vector<std::int64_t> r(n, 0);
    // Few coefficients, so that the product can be made by its definition.
    const std::vector<std::pair<std::size_t, std::int64_t>> terms = {
        {0, 21}, {1, -1}, {n / 2, -21}, {n - 1, 7}};
    for (const auto& [at, value] : terms) r[at] = value;
    const ring::SlotMultiplier multiplier(plan.ring(), r);
    for (const std::uint64_t block : {std::uint64_t{0}, std::uint64_t{2}, std::uint64_t{1} << 39}) {
      for (std::size_t limb = 0; limb < plan.limbs(); ++limb) {
        const std::uint64_t q = plan.ring().q(limb);
        AlignedWords a(n);
        isa::scalar_table()->expand_uniform(round.matrix_key(),
                                            ring::stream_index(ring::Domain::kMatrix, limb, block),
                                            plan.ring().modulus(limb), n, a.data());
        isa::scalar_table()->ntt_inverse_lazy(a.data(), plan.ring().tables(limb).view());
        for (std::size_t j = 0; j < n; ++j) {
          a[j] = multiply_mod(a[j] % q, plan.ring().tables(limb).n_inverse(), q);
        }
        std::vector<std::uint64_t> expected(n, 0);
        for (const auto& [at, value] : terms) {
          const std::uint64_t factor = (q + static_cast<std::uint64_t>(value + 21) - 21) % q;
          for (std::size_t j = 0; j < n; ++j) {
            const std::uint64_t product = multiply_mod(a[j], factor, q);
            std::uint64_t& target = expected[(j + at) % n];
            target = (target + (j + at < n ? product : q - product)) % q;
          }
        }
        on_every_active_level([&] {
          AlignedWords pads(plan.ring().words());
          codec::make_pads_into(round, multiplier, block, pads.data());
          std::size_t wrong = 0;
          for (std::size_t j = 0; j < n; ++j) {
            const std::uint64_t found = pads[limb * n + j];
            wrong += found >= 2 * q || found % q != expected[j];
          }
          CHECK_EQ(wrong, 0u);
        });
      }
    }
  }
}

void check_runs(const Round& round) {
  const Plan& plan = round.plan();
  std::vector<int> met(round.size(), 0);
  for (std::uint64_t block = 0; block < round.blocks(); ++block) {
    const std::uint32_t coefficients = plan.block_coefficients(round.block_values(block));
    const std::uint64_t start = block * plan.block_capacity();
    codec::for_each_run(round, block, coefficients,
                        [&](std::size_t segment, std::uint64_t first, std::uint32_t plane,
                            std::uint32_t shift, std::uint32_t coefficient, std::size_t count) {
                          CHECK(count > 0);
                          CHECK(coefficient + count <= coefficients);
                          CHECK(first >= round.starts()[segment]);
                          CHECK(first + count <= round.starts()[segment + 1]);
                          CHECK(plane < plan.codeword().planes());
                          for (std::size_t i = 0; i < count; ++i) {
                            const std::uint64_t v = first + i - start;
                            const std::uint64_t lane = v / coefficients;
                            CHECK_EQ(coefficient + i, v % coefficients);
                            CHECK_EQ(plane, lane / plan.lanes_per_plane());
                            CHECK_EQ(shift, lane % plan.lanes_per_plane() * plan.lane_bits());
                            if (first + i < met.size()) ++met[first + i];
                          }
                        });
  }
  std::size_t wrong = 0;
  for (const int count : met) wrong += count != 1;
  CHECK_EQ(wrong, 0u);
}

TEST("runs: every value once, in its place, for any cut into segments") {
  for (const Plan& plan : {make_plan(10, 16), make_plan(3, 9, 0, 128, "n4096")}) {
    const scheme::SecretKey key = make_key(plan);
    const std::uint64_t capacity = plan.block_capacity();
    for (const std::uint64_t size : {std::uint64_t{1}, std::uint64_t{8}, std::uint64_t{100},
                                     capacity - 1, capacity, 2 * capacity + 17}) {
      check_runs(make_round(plan, key, size));
    }
    Random random(1);
    for (int repeat = 0; repeat < 6; ++repeat) {
      std::vector<scheme::Segment> segments = {{1, 1.0}};
      const std::uint64_t scale = std::uint64_t{1} << (2 * repeat + 2);
      std::uint64_t size = 1;
      while (segments.size() < 40 && size < 2 * capacity) {
        const std::uint64_t count = random.below(3) == 0 ? 0 : random.below(scale);
        segments.push_back({count, 1.0});
        size += count;
      }
      check_runs(make_round(plan, key, fields_of(segments)));
    }
    check_runs(make_round(plan, key, fields_of({{capacity, 1.0}, {0, 1.0}, {capacity, 1.0}})));
  }
}

}  // namespace
}  // namespace veilsum::test
