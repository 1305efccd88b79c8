// Layer: tests (cipher). A pad is the negacyclic product of the block's public polynomial and the
// block's key, each used as DESIGN says: polynomial b / kappa, key b mod kappa; and the walk over a
// block's runs meets every value once, in its digit and segment.
#include "cipher/pads.h"

#include <cstdint>
#include <map>
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

/// A key of few coefficients, so that products can be made by their definition.
using SparseKey = std::vector<std::pair<std::size_t, std::int64_t>>;

/// a_group * key modulo q of one limb.
std::vector<std::uint64_t> pad_by_hand(const Round& round, std::uint64_t group, std::size_t limb,
                                       const SparseKey& key) {
  const Plan& plan = round.plan();
  const std::size_t n = plan.degree();
  const std::uint64_t q = plan.ring().q(limb);
  AlignedWords a(n);
  isa::scalar_table()->expand_uniform(round.matrix_key(),
                                      ring::stream_index(ring::Domain::kMatrix, limb, group),
                                      plan.ring().modulus(limb), n, a.data());
  isa::scalar_table()->ntt_inverse_lazy(a.data(), plan.ring().tables(limb).view());
  for (std::size_t j = 0; j < n; ++j) {
    a[j] = multiply_mod((a[j] & kFieldWordMask) % q, plan.ring().tables(limb).n_inverse(), q);
  }
  std::vector<std::uint64_t> product(n, 0);
  for (const auto& [at, value] : key) {
    const std::uint64_t factor = (q + static_cast<std::uint64_t>(value + 8) - 8) % q;
    for (std::size_t j = 0; j < n; ++j) {
      const std::uint64_t term = multiply_mod(a[j], factor, q);
      std::uint64_t& target = product[(j + at) % n];
      target = (target + (j + at < n ? term : q - term)) % q;
    }
  }
  return product;
}

TEST(
    "block b: public polynomial b / kappa times key b mod kappa, in whatever order they are made") {
  const scheme::SecretKey holder = make_key();
  for (const Plan& plan : {make_plan(10, 16), make_plan(10, 16, 4, 128, "n4096")}) {
    const std::size_t n = plan.degree();
    for (const std::uint64_t kappa : {1u, 2u, 3u}) {
      const Round round =
          make_round(plan, holder, fields_of({{5 * plan.block_capacity() + 9, 1.0}}, kappa));
      std::vector<SparseKey> keys;
      scheme::KeyCoefficients coefficients(n * kappa, Initialise::kZero);
      for (std::size_t i = 0; i < kappa; ++i) {
        const auto place = static_cast<std::int64_t>(i);
        keys.push_back({{i, 8}, {n / 2, -8 + place}, {n - 1 - i, 7 - place}});
        for (const auto& [at, value] : keys[i]) coefficients[i * n + at] = value;
      }
      const cipher::BlockKeys block_keys(round, coefficients);
      CHECK_EQ(block_keys.count(), kappa);
      // Every block of the round, some twice and out of order, and one of a far group.
      std::vector<std::uint64_t> order;
      for (std::uint64_t block = 0; block < round.blocks(); ++block) order.push_back(block);
      order.insert(order.end(), {2, 0, 1, (std::uint64_t{1} << 39) + 1});
      std::map<std::pair<std::uint64_t, std::size_t>, std::vector<std::uint64_t>> expected;
      on_every_active_level([&] {
        cipher::PadMaker maker(round);
        for (const std::uint64_t block : order) {
          const std::uint64_t* const pads = maker.make(round, block_keys, block);
          for (std::size_t limb = 0; limb < plan.limbs(); ++limb) {
            const std::uint64_t q = plan.ring().q(limb);
            std::vector<std::uint64_t>& product = expected[{block, limb}];
            if (product.empty()) {
              product = pad_by_hand(round, block / kappa, limb, keys[block % kappa]);
            }
            std::size_t wrong = 0;
            for (std::size_t j = 0; j < n; ++j) {
              const std::uint64_t found = pads[limb * n + j] & kFieldWordMask;
              wrong += found >= isa::kLazyFactor * q || found % q != product[j];
            }
            CHECK_EQ(wrong, 0u);
          }
        }
      });
    }
  }
}

TEST("no two blocks of a round have polynomial and key in common, check blocks included") {
  const Plan plan = make_plan(10, 16);
  const scheme::SecretKey holder = make_key();
  for (const std::uint64_t kappa : {1u, 2u, 5u, 8u}) {
    for (const std::uint64_t blocks : {1u, 4u, 5u, 16u, 17u}) {
      const Round round =
          make_round(plan, holder, fields_of({{blocks * plan.block_capacity(), 1.0}}, kappa));
      CHECK_EQ(cipher::group_count(round), (round.blocks() - 1) / kappa + 1);
      std::map<std::pair<std::uint64_t, std::uint64_t>, int> seen;
      for (std::uint64_t block = 0; block < round.blocks(); ++block) {
        ++seen[{block / kappa, block % kappa}];
      }
      CHECK_EQ(seen.size(), round.blocks());
    }
  }
}

void check_runs(const Round& round) {
  const Plan& plan = round.plan();
  std::vector<int> met(round.size(), 0);
  for (std::uint64_t block = 0; block < round.blocks(); ++block) {
    const std::uint32_t coefficients = round.block_coefficients(block);
    const std::uint64_t start = block * plan.block_capacity();
    cipher::for_each_run(round, block, coefficients,
                         [&](std::size_t segment, std::uint64_t first, std::uint32_t digit,
                             std::uint32_t coefficient, std::size_t count) {
                           CHECK(block < round.value_blocks());
                           CHECK(count > 0);
                           CHECK(coefficient + count <= coefficients);
                           CHECK(first >= round.starts()[segment]);
                           CHECK(first + count <= round.starts()[segment + 1]);
                           CHECK(digit < plan.digits());
                           for (std::size_t i = 0; i < count; ++i) {
                             const std::uint64_t v = first + i - start;
                             CHECK_EQ(coefficient + i, v % coefficients);
                             CHECK_EQ(digit, v / coefficients);
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
    const scheme::SecretKey key = make_key();
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
