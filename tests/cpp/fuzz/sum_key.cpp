// Layer: tests (fuzz). Sum keys of a round of either engine, from any bytes.
#include <optional>
#include <utility>
#include <vector>

#include "fuzz/target.h"
#include "scheme/opening.h"

namespace veilsum::fuzz {
namespace {

const std::vector<scheme::Round>& the_rounds() {
  static const World world;
  static const std::vector<scheme::Round> rounds = {
      world.round(false), world.toy_round(false, false), world.committee_round(false),
      world.committee_round(true)};
  return rounds;
}

const scheme::Round& the_round() { return the_rounds()[0]; }

Bytes toy_sum_key() {
  const Bytes body = test::toy_stream("toy body", {}, 80);
  SecretBuffer<std::uint8_t> copy(body.size());
  std::copy(body.begin(), body.end(), copy.begin());
  return scheme::SumKey(the_rounds()[1], test::bytes32(5), 2, 40, std::move(copy)).to_bytes();
}

Bytes sum_key_of(std::uint64_t total_weight) {
  test::Random random(total_weight);
  const auto bound = static_cast<std::int64_t>(scheme::kErrorBound * total_weight);
  scheme::KeyCoefficients coefficients(std::size_t{the_round().plan().degree()} *
                                       the_round().upload_keys());
  for (std::int64_t& coefficient : coefficients) {
    coefficient =
        static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(2 * bound + 1))) - bound;
  }
  std::optional<Digest> blocks;
  std::optional<scheme::BlocksCheck> check;
  if (total_weight == 2) {
    check = {Seed(test::bytes32(7)), ring::TagSum(ring::BlocksHash::field(), {1, 2})};
  } else {
    blocks = test::bytes32(6);
  }
  return scheme::SumKey(the_round(), test::bytes32(5), 2, total_weight, true,
                        std::move(coefficients), std::nullopt, blocks, std::move(check))
      .to_bytes();
}

/// Of a committee: with the blocks' digest, or with a tag.
Bytes committee_sum_key(const scheme::Round& round) {
  std::optional<ring::TagSum> tag;
  if (round.tagged()) tag.emplace(test::tag_of(round, 5));
  return scheme::SumKey(round, test::bytes32(5), 2, 2, true,
                        scheme::KeyCoefficients(round.plan().degree(), Initialise::kZero),
                        std::move(tag), test::some_blocks(round))
      .to_bytes();
}

}  // namespace

std::vector<Bytes> seed_corpus() {
  return {sum_key_of(2), sum_key_of(40), toy_sum_key(), committee_sum_key(the_rounds()[2]),
          committee_sum_key(the_rounds()[3])};
}

}  // namespace veilsum::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace veilsum;
  return fuzz::read_any(data, size, scheme::ObjectKind::kSumKey, [](const fuzz::Bytes& object) {
    const scheme::Round& round = fuzz::round_named_in(object, fuzz::the_rounds());
    return scheme::SumKey::from_bytes(object, round).to_bytes();
  });
}
