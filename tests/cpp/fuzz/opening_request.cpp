// Layer: tests (fuzz). Opening requests of either engine from any bytes, as a key holder receives
// them; what is accepted is also opened, which must succeed or be refused.
#include <vector>

#include "aggregate/aggregate.h"
#include "fuzz/target.h"

namespace veilsum::fuzz {
namespace {

const World& the_world() {
  static const World world;
  return world;
}

/// The native engine's, one whose key holder sees the uploads, and one that trusts its aggregator.
const std::vector<scheme::Round>& the_rounds() {
  static const std::vector<scheme::Round> rounds = {the_world().round(false),
                                                    the_world().toy_round(true, false),
                                                    the_world().toy_round(false, true)};
  return rounds;
}

/// Keys of their own: what one input opened must not refuse the next.
void open(const scheme::OpeningRequest& request) {
  if (request.manifest.round().cipher().engine() == scheme::Engine::kNative) {
    test::open_afresh(the_world().key, request);
    return;
  }
  const scheme::SecretKey copy(the_world().toy_key.secret(), the_world().toy_key.public_key());
  const TrustingVerifier trusting;
  scheme::open_sum(copy, request, test::ToyBlockOpener(), &trusting, 1);
}

}  // namespace

std::vector<Bytes> seed_corpus() {
  const TrustingVerifier trusting;
  const std::uint64_t weights[] = {3, 1};
  std::vector<Bytes> corpus;
  for (const scheme::Round& round : the_rounds()) {
    const scheme::Upload a = make_upload(round, 1, round.has_roster() ? 1 : -1),
                         b = make_upload(round, 2, round.has_roster() ? 2 : -1);
    const scheme::Upload* const uploads[] = {&a, &b};
    const auto weighted = aggregate::weighted_sum(round, uploads, weights, &trusting, 1);
    corpus.push_back(weighted.opening_request(1).to_bytes());
    if (round.cipher().engine() == scheme::Engine::kNative) {
      const auto unit = aggregate::weighted_sum(round, uploads, {}, nullptr, 1);
      corpus.push_back(unit.opening_request(1).to_bytes());
      continue;
    }
    corpus.push_back(weighted.opening_request(uploads, 1).to_bytes());
    if (round.trust_aggregator()) corpus.push_back(weighted.opening_request({}, 1).to_bytes());
  }
  return corpus;
}

}  // namespace veilsum::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace veilsum;
  return fuzz::read_any(data, size, scheme::ObjectKind::kOpeningRequest,
                        [](const fuzz::Bytes& object) {
                          const scheme::OpeningRequest request = scheme::OpeningRequest::from_bytes(
                              object, fuzz::round_named_in(object, fuzz::the_rounds()));
                          try {
                            fuzz::open(request);
                          } catch (const VeilsumError&) {
                          }
                          return request.to_bytes();
                        });
}
