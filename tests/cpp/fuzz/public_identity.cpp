// Layer: tests (fuzz). Public identities of both kinds, from any bytes.
#include "scheme/public_identity.h"

#include "fuzz/target.h"

namespace veilsum::fuzz {

std::vector<Bytes> seed_corpus() {
  return {test::fake_identity(1).to_bytes(),
          test::fake_identity(2, scheme::SignatureKind::kPostQuantum).to_bytes()};
}

}  // namespace veilsum::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace veilsum;
  return fuzz::read_any(data, size, scheme::ObjectKind::kPublicIdentity,
                        [](const fuzz::Bytes& object) {
                          return scheme::PublicIdentity::from_bytes(object).to_bytes();
                        });
}
