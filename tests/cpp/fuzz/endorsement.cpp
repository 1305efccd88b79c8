// Layer: tests (fuzz). Members' endorsements, from any bytes; what is accepted is also checked.
#include <vector>

#include "fuzz/target.h"
#include "scheme/certificate.h"

namespace veilsum::fuzz {

std::vector<Bytes> seed_corpus() {
  std::vector<Bytes> corpus;
  for (const scheme::Round& round : committee_rounds()) {
    for (const std::uint32_t member : {0u, 1u}) {  // of both kinds of signature
      corpus.push_back(test::endorse(round, member, test::bytes32(3)).to_bytes());
    }
  }
  return corpus;
}

}  // namespace veilsum::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace veilsum;
  return fuzz::read_any(
      data, size, scheme::ObjectKind::kEndorsement, [](const fuzz::Bytes& object) {
        const scheme::Round& round = fuzz::round_named_in(object, fuzz::committee_rounds());
        const scheme::Endorsement endorsement = scheme::Endorsement::from_bytes(object, round);
        try {
          endorsement.check(round, test::FakeVerifier());
        } catch (const VeilsumError&) {
        }
        return endorsement.to_bytes();
      });
}
