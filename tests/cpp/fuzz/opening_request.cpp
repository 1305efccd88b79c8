// Layer: tests (fuzz). Opening requests from any bytes, as a key holder receives them; what is
// accepted is also opened, which must succeed or be refused.
#include "aggregate/aggregate.h"
#include "fuzz/target.h"

namespace veilsum::fuzz {
namespace {

struct KeyHolder {
  World world;
  scheme::Round round = world.round(false);
};

const KeyHolder& the_holder() {
  static const KeyHolder holder;
  return holder;
}

}  // namespace

std::vector<Bytes> seed_corpus() {
  const scheme::Round& round = the_holder().round;
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
                          const fuzz::KeyHolder& holder = fuzz::the_holder();
                          const scheme::OpeningRequest request =
                              scheme::OpeningRequest::from_bytes(object, holder.round);
                          try {
                            // A key of its own: what one input opened must not refuse the next.
                            test::open_afresh(holder.world.key, request);
                          } catch (const VeilsumError&) {
                          }
                          return request.to_bytes();
                        });
}
