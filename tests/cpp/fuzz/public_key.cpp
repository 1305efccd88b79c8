// Layer: tests (fuzz). Public keys of any engine, from any bytes.
#include "fuzz/target.h"
#include "scheme/keys.h"

namespace veilsum::fuzz {

std::vector<Bytes> seed_corpus() {
  return {test::make_key(1).public_key().to_bytes(), test::make_key(2).public_key().to_bytes(),
          test::make_toy_key().public_key().to_bytes(), World().toy_key.public_key().to_bytes()};
}

}  // namespace veilsum::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace veilsum;
  return fuzz::read_any(data, size, scheme::ObjectKind::kPublicKey, [](const fuzz::Bytes& object) {
    return scheme::PublicKey::from_bytes(object).to_bytes();
  });
}
