// Layer: tests (fuzz). Secret keys of any engine, from any bytes: their files may be damaged, or
// somebody else's.
#include "fuzz/target.h"
#include "scheme/keys.h"

namespace veilsum::fuzz {

std::vector<Bytes> seed_corpus() {
  return {test::make_key(1).to_bytes(), test::make_key(2).to_bytes(),
          test::make_toy_key().to_bytes(), World().toy_key.to_bytes()};
}

}  // namespace veilsum::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace veilsum;
  return fuzz::read_any(data, size, scheme::ObjectKind::kSecretKey, [](const fuzz::Bytes& object) {
    return scheme::SecretKey::from_bytes(object).to_bytes();
  });
}
