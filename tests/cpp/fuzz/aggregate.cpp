// Layer: tests (fuzz). Aggregates of a round of either engine, from any bytes; what is accepted is
// also opened, and the native engine's decrypted (of a committee, one member's shares are opened),
// which must succeed or be refused.
#include "aggregate/aggregate.h"

#include <optional>
#include <vector>

#include "cipher/decrypt.h"
#include "cipher/encrypt.h"
#include "fuzz/target.h"
#include "support/updates.h"

namespace veilsum::fuzz {
namespace {

const World& the_world() {
  static const World world;
  return world;
}

/// Of each engine one without and one with a roster, and two of a committee's.
const std::vector<scheme::Round>& the_rounds() {
  static const std::vector<scheme::Round> rounds = {
      the_world().round(false),           the_world().round(true),
      the_world().toy_round(false, true), the_world().toy_round(true, true),
      the_world().committee_round(false), the_world().committee_round(true)};
  return rounds;
}

scheme::Upload encrypted(const scheme::Round& round, std::uint64_t n, int client) {
  if (round.cipher().engine() != scheme::Engine::kNative || round.committee() != nullptr) {
    return make_upload(round, n, client);
  }
  cipher::EncryptOptions options;
  if (client >= 0) options.client = static_cast<std::uint32_t>(client);
  const test::Update update = test::random_update(round, n);
  return as_client(cipher::encrypt_with_seeds(round, test::pieces_of(update), options,
                                              test::kSealer, test::seeds_of(n)),
                   client);
}

void decrypt(const aggregate::Aggregate& total) {
  const TrustingVerifier trusting;
  if (total.round().committee() != nullptr) {
    const scheme::Round& round = total.round();
    const scheme::MemberRequest request(
        total.manifest(), round.tagged() ? std::nullopt : std::optional(total.blocks_digest(1)), 0);
    scheme::open_shares(request, test::opener_of_member(round, 0));
    return;
  }
  if (total.round().cipher().engine() != scheme::Engine::kNative) {
    const scheme::SecretKey copy(the_world().toy_key.secret(), the_world().toy_key.public_key());
    scheme::open_sum(copy, total.opening_request({}, 1), test::ToyBlockOpener(), &trusting, 1);
    return;
  }
  const scheme::SumKey key =
      test::open_afresh(the_world().key, total.opening_request(1), &trusting);
  std::vector<float> out(static_cast<std::size_t>(total.round().size()));
  cipher::DecryptOptions options;
  options.threads = 1;
  cipher::decrypt(key, total.manifest(), total.blocks(), options, out.data());
}

}  // namespace

std::vector<Bytes> seed_corpus() {
  const TrustingVerifier trusting;
  std::vector<Bytes> corpus;
  for (const scheme::Round& round : the_rounds()) {
    const scheme::Upload a = encrypted(round, 1, round.has_roster() ? 1 : -1);
    const scheme::Upload b = encrypted(round, 2, round.has_roster() ? 2 : -1);
    const scheme::Upload* const uploads[] = {&a, &b};
    if (round.committee() != nullptr) {
      const aggregate::Aggregate unit = aggregate::weighted_sum(round, uploads, {}, &trusting, 1);
      corpus.push_back(unit.to_bytes());
      corpus.push_back(unit.without_shares().to_bytes());
      continue;
    }
    const std::uint64_t weights[] = {3, 1};
    corpus.push_back(aggregate::weighted_sum(round, uploads, weights, &trusting, 1).to_bytes());
  }
  return corpus;
}

}  // namespace veilsum::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace veilsum;
  return fuzz::read_any(data, size, scheme::ObjectKind::kAggregate, [](const fuzz::Bytes& object) {
    const aggregate::Aggregate total =
        aggregate::Aggregate::from_bytes(object, fuzz::round_named_in(object, fuzz::the_rounds()));
    try {
      fuzz::decrypt(total);
    } catch (const VeilsumError&) {
    }
    return total.to_bytes();
  });
}
