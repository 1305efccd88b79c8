// Layer: tests (fuzz). Rounds of any engine, from any bytes.
#include "scheme/round.h"

#include "fuzz/target.h"

namespace veilsum::fuzz {

std::vector<Bytes> seed_corpus() {
  const World world;
  return {world.round(false).to_bytes(),           world.round(true).to_bytes(),
          world.toy_round(false, true).to_bytes(), world.toy_round(true, false).to_bytes(),
          world.committee_round(false).to_bytes(), world.committee_round(true).to_bytes()};
}

}  // namespace veilsum::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace veilsum;
  static const std::vector<scheme::Plan> keep = test::plans_of_every_ring();
  return fuzz::read_any(data, size, scheme::ObjectKind::kRound, [](const fuzz::Bytes& object) {
    static const test::ToyReader reader;
    return scheme::Round::from_bytes(object, &reader).to_bytes();
  });
}
