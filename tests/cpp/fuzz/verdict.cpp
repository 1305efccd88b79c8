// Layer: tests (fuzz). Verdicts, from any bytes: a certificate inside, and what members said.
#include "scheme/verdict.h"

#include <algorithm>
#include <vector>

#include "fuzz/target.h"

namespace veilsum::fuzz {
namespace {

/// The round that the certificate inside names: its envelope stands behind a length.
const scheme::Round& round_of(const Bytes& object) {
  constexpr std::size_t kSkipped = 8 + test::kHeaderBytes;
  if (object.size() < kSkipped) return committee_rounds().front();
  return round_named_in(Bytes(object.begin() + kSkipped, object.end()), committee_rounds());
}

}  // namespace

std::vector<Bytes> seed_corpus() {
  std::vector<Bytes> corpus;
  for (const scheme::Round& round : committee_rounds()) {
    const scheme::Manifest manifest = committee_manifest(round);
    const scheme::Certificate certificate = test::certify(manifest, test::some_blocks(round));
    std::vector<scheme::ChallengeAnswer> answers;
    for (std::uint32_t member = 0; member < 3; ++member) {
      answers.push_back(test::challenge_answer(certificate, manifest, member));
    }
    const TrustingVerifier trusting;
    corpus.push_back(scheme::Verdict(certificate, answers, trusting).to_bytes());
    answers.erase(answers.begin() + 1);
    corpus.push_back(scheme::Verdict(certificate, answers, trusting).to_bytes());
  }
  return corpus;
}

}  // namespace veilsum::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace veilsum;
  return fuzz::read_any(data, size, scheme::ObjectKind::kVerdict, [](const fuzz::Bytes& object) {
    const scheme::Verdict verdict =
        scheme::Verdict::from_bytes(object, fuzz::round_of(object), fuzz::TrustingVerifier());
    (void)verdict.sentence();
    return verdict.to_bytes();
  });
}
