// Layer: tests (fuzz). Certificates, from any bytes, by a reader whose verifier lets every
// signature pass, so that what stands behind it is reached.
#include "scheme/certificate.h"

#include <vector>

#include "fuzz/target.h"

namespace veilsum::fuzz {

std::vector<Bytes> seed_corpus() {
  std::vector<Bytes> corpus;
  for (const scheme::Round& round : committee_rounds()) {
    corpus.push_back(test::certify(committee_manifest(round), test::some_blocks(round)).to_bytes());
    corpus.push_back(
        test::certify(committee_manifest(round), test::some_blocks(round), {2, 1, 0}).to_bytes());
  }
  return corpus;
}

}  // namespace veilsum::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace veilsum;
  return fuzz::read_any(data, size, scheme::ObjectKind::kCertificate,
                        [](const fuzz::Bytes& object) {
                          return scheme::Certificate::from_bytes(
                                     object, fuzz::round_named_in(object, fuzz::committee_rounds()),
                                     fuzz::TrustingVerifier())
                              .to_bytes();
                        });
}
