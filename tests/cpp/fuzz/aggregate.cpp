// Layer: tests (fuzz). Aggregates of a round, from any bytes.
#include "aggregate/aggregate.h"

#include "fuzz/target.h"

namespace veilsum::fuzz {
namespace {

const scheme::Round& the_round(bool with_roster) {
  static const scheme::Round open = World().round(false), closed = World().round(true);
  return with_roster ? closed : open;
}

}  // namespace

std::vector<Bytes> seed_corpus() {
  const TrustingVerifier trusting;
  std::vector<Bytes> corpus;
  for (const bool signed_ones : {false, true}) {
    const scheme::Upload a = make_upload(the_round(signed_ones), 1, signed_ones ? 0 : -1);
    const scheme::Upload b = make_upload(the_round(signed_ones), 2, signed_ones ? 2 : -1);
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
    return aggregate::Aggregate::from_bytes(object, fuzz::the_round(!is_open)).to_bytes();
  });
}
