// Layer: tests (fuzz). Secret keys from any bytes: their files may be damaged, or somebody else's.
#include "fuzz/target.h"
#include "scheme/keys.h"

namespace veilsum::fuzz {

std::vector<Bytes> seed_corpus() {
  return {test::make_key(test::make_plan(10, 16)).to_bytes(),
          test::make_key(test::make_plan(1u << 20, 4)).to_bytes()};
}

}  // namespace veilsum::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace veilsum;
  return fuzz::read_any(data, size, scheme::ObjectKind::kSecretKey, [](const fuzz::Bytes& object) {
    return scheme::SecretKey::from_bytes(object).to_bytes();
  });
}
