// Layer: tests (fuzz). Uploads to a round, from any bytes.
#include "scheme/upload.h"

#include "fuzz/target.h"

namespace veilsum::fuzz {
namespace {

const scheme::Round& the_round() {
  static const scheme::Round round = World().round(true);
  return round;
}

}  // namespace

std::vector<Bytes> seed_corpus() {
  return {make_upload(the_round(), 1, -1).to_bytes(), make_upload(the_round(), 2, 2).to_bytes()};
}

}  // namespace veilsum::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace veilsum;
  return fuzz::read_any(data, size, scheme::ObjectKind::kUpload, [](const fuzz::Bytes& object) {
    return scheme::Upload::from_bytes(object, fuzz::the_round()).to_bytes();
  });
}
