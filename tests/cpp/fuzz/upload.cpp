// Layer: tests (fuzz). Uploads to a round of either engine, and of a committee, from any bytes.
#include "scheme/upload.h"

#include <vector>

#include "fuzz/target.h"

namespace veilsum::fuzz {
namespace {

const std::vector<scheme::Round>& the_rounds() {
  static const World world;
  static const std::vector<scheme::Round> rounds = {world.round(true), world.toy_round(true, false),
                                                    world.committee_round(false),
                                                    world.committee_round(true)};
  return rounds;
}

}  // namespace

std::vector<Bytes> seed_corpus() {
  const scheme::Round& native = the_rounds()[0];
  const scheme::Round& toy = the_rounds()[1];
  const scheme::Round& shared = the_rounds()[2];
  const scheme::Round& tagged = the_rounds()[3];
  return {make_upload(native, 1, -1).to_bytes(), make_upload(native, 2, 2).to_bytes(),
          make_upload(native, 3, 1).to_bytes(),  make_upload(toy, 1, -1).to_bytes(),
          make_upload(toy, 2, 2).to_bytes(),     make_upload(shared, 1, 2).to_bytes(),
          make_upload(shared, 2, 1).to_bytes(),  make_upload(tagged, 1, 2).to_bytes(),
          make_upload(tagged, 2, 1).to_bytes()};
}

}  // namespace veilsum::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace veilsum;
  return fuzz::read_any(data, size, scheme::ObjectKind::kUpload, [](const fuzz::Bytes& object) {
    const scheme::Round& round = fuzz::round_named_in(object, fuzz::the_rounds());
    return scheme::Upload::from_bytes(object, round).to_bytes();
  });
}
