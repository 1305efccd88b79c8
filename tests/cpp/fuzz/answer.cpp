// Layer: tests (fuzz). Members' answers, from any bytes; what is accepted is also combined with two
// honest ones, which must give a key or be refused.
#include <vector>

#include "fuzz/target.h"
#include "scheme/combine.h"

namespace veilsum::fuzz {
namespace {

/// A certified sum of each round, and all members' answers.
struct Sum {
  scheme::Certificate certificate;
  std::vector<scheme::Answer> answers;
};

const std::vector<Sum>& the_sums() {
  static const std::vector<Sum> sums = [] {
    std::vector<Sum> out;
    for (const scheme::Round& round : committee_rounds()) {
      const scheme::Manifest manifest = committee_manifest(round);
      const std::optional<Digest> blocks = test::some_blocks(round);
      Sum sum{test::certify(manifest, blocks), {}};
      for (std::uint32_t member = 0; member < 3; ++member) {
        sum.answers.push_back(test::answer_with(sum.certificate, member,
                                                test::share_of_member(manifest, blocks, member)));
      }
      out.push_back(std::move(sum));
    }
    return out;
  }();
  return sums;
}

void combine(const scheme::Answer& answer) {
  for (const Sum& sum : the_sums()) {
    if (sum.certificate.round().id() != answer.round_id) continue;
    std::vector<scheme::Answer> answers = {answer};
    answers.insert(answers.end(), sum.answers.begin(), sum.answers.end());
    scheme::combine(sum.certificate, answers, test::opener_of_reader(sum.certificate.round()),
                    TrustingVerifier());
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
  return fuzz::read_any(data, size, scheme::ObjectKind::kAnswer, [](const fuzz::Bytes& object) {
    const scheme::Answer answer =
        scheme::Answer::from_bytes(object, fuzz::round_named_in(object, fuzz::committee_rounds()));
    try {
      fuzz::combine(answer);
    } catch (const VeilsumError&) {
    }
    return answer.to_bytes();
  });
}
