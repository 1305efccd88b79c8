// Layer: tests (fuzz). Aggregates of a round, from any bytes; what is accepted is also opened and
// decrypted, which must succeed or be refused.
#include "aggregate/aggregate.h"

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

const scheme::Round& the_round(bool with_roster) {
  static const scheme::Round open = the_world().round(false), closed = the_world().round(true);
  return with_roster ? closed : open;
}

scheme::Upload encrypted(const scheme::Round& round, std::uint64_t n, int client) {
  const test::Update update = test::random_update(round, n);
  return as_client(cipher::encrypt_with_seeds(round, test::pieces_of(update), {}, test::kSealer,
                                              test::seeds_of(n)),
                   client);
}

void decrypt(const aggregate::Aggregate& total) {
  const TrustingVerifier trusting;
  const scheme::SumKey key = test::open_afresh(the_world().key, total.opening_request(), &trusting);
  std::vector<float> out(static_cast<std::size_t>(total.round().size()));
  cipher::DecryptOptions options;
  options.threads = 1;
  cipher::decrypt(key, total.manifest(), total.blocks(), options, out.data());
}

}  // namespace

std::vector<Bytes> seed_corpus() {
  const TrustingVerifier trusting;
  std::vector<Bytes> corpus;
  for (const bool signed_ones : {false, true}) {
    const scheme::Upload a = encrypted(the_round(signed_ones), 1, signed_ones ? 0 : -1);
    const scheme::Upload b = encrypted(the_round(signed_ones), 2, signed_ones ? 2 : -1);
    const scheme::Upload* const uploads[] = {&a, &b};
    const std::uint64_t weights[] = {3, 1};
    corpus.push_back(
        aggregate::weighted_sum(the_round(signed_ones), uploads, weights, &trusting, 1).to_bytes());
  }
  return corpus;
}

}  // namespace veilsum::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace veilsum;
  return fuzz::read_any(data, size, scheme::ObjectKind::kAggregate, [](const fuzz::Bytes& object) {
    // The round whose id stands in the bytes, so that both seeds have readers.
    const Digest& open = fuzz::the_round(false).id();
    const bool is_open =
        object.size() >= test::kHeaderBytes + open.size() &&
        std::memcmp(object.data() + test::kHeaderBytes, open.data(), open.size()) == 0;
    const aggregate::Aggregate total =
        aggregate::Aggregate::from_bytes(object, fuzz::the_round(!is_open));
    try {
      fuzz::decrypt(total);
    } catch (const VeilsumError&) {
    }
    return total.to_bytes();
  });
}
