// Layer: tests (fuzz). Opening requests from any bytes, as an authority receives them; what is
// accepted is also opened, which must succeed or be refused.
#include "aggregate/aggregate.h"
#include "fuzz/target.h"

namespace veilsum::fuzz {
namespace {

struct Authority {
  World world;
  scheme::Round round = world.round(false);
};

const Authority& the_authority() {
  static const Authority authority;
  return authority;
}

}  // namespace

std::vector<Bytes> seed_corpus() {
  const scheme::Round& round = the_authority().round;
  const scheme::Upload a = make_upload(round, 1, -1), b = make_upload(round, 2, -1);
  const scheme::Upload* const uploads[] = {&a, &b};
  const std::uint64_t weights[] = {3, 1};
  return {aggregate::weighted_sum(round, uploads, weights, nullptr, 1).opening_request().to_bytes(),
          aggregate::weighted_sum(round, uploads, {}, nullptr, 1).opening_request().to_bytes()};
}

}  // namespace veilsum::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace veilsum;
  return fuzz::read_any(data, size, scheme::ObjectKind::kOpeningRequest,
                        [](const fuzz::Bytes& object) {
                          const fuzz::Authority& authority = fuzz::the_authority();
                          const scheme::OpeningRequest request =
                              scheme::OpeningRequest::from_bytes(object, authority.round);
                          try {
                            // A key of its own: what one input opened must not refuse the next.
                            const scheme::SecretKey key = test::make_key(authority.world.plan);
                            scheme::open_sum(key, request, nullptr, false);
                          } catch (const VeilsumError&) {
                          }
                          return request.to_bytes();
                        });
}
