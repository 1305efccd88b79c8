// Layer: tests (fuzz). What members say of single uploads, from any bytes; what is accepted also
// goes into a verdict with honest ones, which must name somebody or nobody.
#include <vector>

#include "fuzz/target.h"
#include "scheme/verdict.h"

namespace veilsum::fuzz {
namespace {

struct Sum {
  scheme::Certificate certificate;
  std::vector<scheme::ChallengeAnswer> answers;
};

const std::vector<Sum>& the_sums() {
  static const std::vector<Sum> sums = [] {
    std::vector<Sum> out;
    for (const scheme::Round& round : committee_rounds()) {
      const scheme::Manifest manifest = committee_manifest(round);
      const std::optional<Digest> blocks = test::some_blocks(round);
      Sum sum{test::certify(manifest, blocks), {}};
      for (std::uint32_t member = 0; member < 3; ++member) {
        sum.answers.push_back(test::challenge_answer(sum.certificate, manifest, member));
      }
      out.push_back(std::move(sum));
    }
    return out;
  }();
  return sums;
}

void judge(const scheme::ChallengeAnswer& answer) {
  for (const Sum& sum : the_sums()) {
    if (sum.certificate.round().id() != answer.round_id) continue;
    std::vector<scheme::ChallengeAnswer> answers = {answer};
    answers.insert(answers.end(), sum.answers.begin(), sum.answers.end());
    (void)scheme::Verdict(sum.certificate, answers, TrustingVerifier()).sentence();
  }
}

}  // namespace

std::vector<Bytes> seed_corpus() {
  std::vector<Bytes> corpus;
  for (const Sum& sum : the_sums()) {
    for (const std::uint32_t member : {0u, 1u}) {  // of both kinds of signature
      corpus.push_back(sum.answers[member].to_bytes());
    }
  }
  return corpus;
}

}  // namespace veilsum::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace veilsum;
  return fuzz::read_any(
      data, size, scheme::ObjectKind::kChallengeAnswer, [](const fuzz::Bytes& object) {
        const scheme::ChallengeAnswer answer = scheme::ChallengeAnswer::from_bytes(
            object, fuzz::round_named_in(object, fuzz::committee_rounds()));
        try {
          fuzz::judge(answer);
        } catch (const VeilsumError&) {
        }
        return answer.to_bytes();
      });
}
