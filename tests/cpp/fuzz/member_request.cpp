// Layer: tests (fuzz). Requests to a committee's members, from any bytes; what is accepted is also
// checked and its shares opened, which must succeed or be refused.
#include <vector>

#include "fuzz/target.h"
#include "scheme/member.h"

namespace veilsum::fuzz {
namespace {

void open(const scheme::MemberRequest& request) {
  const scheme::Round& round = request.round();
  scheme::check_request(request, round.committee()->members()[request.member()], 2,
                        TrustingVerifier());
  const scheme::OpenedShares opened =
      scheme::open_shares(request, test::opener_of_member(round, request.member()));
  if (opened.bad.size() > request.manifest().entries().size()) std::abort();
}

}  // namespace

std::vector<Bytes> seed_corpus() {
  std::vector<Bytes> corpus;
  for (const scheme::Round& round : committee_rounds()) {
    for (const std::uint32_t member : {0u, 2u}) {  // paths of two digests and of one
      corpus.push_back(
          scheme::MemberRequest(committee_manifest(round), test::some_blocks(round), member)
              .to_bytes());
    }
  }
  return corpus;
}

}  // namespace veilsum::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace veilsum;
  return fuzz::read_any(data, size, scheme::ObjectKind::kMemberRequest,
                        [](const fuzz::Bytes& object) {
                          const scheme::MemberRequest request = scheme::MemberRequest::from_bytes(
                              object, fuzz::round_named_in(object, fuzz::committee_rounds()));
                          try {
                            fuzz::open(request);
                          } catch (const VeilsumError&) {
                          }
                          return request.to_bytes();
                        });
}
