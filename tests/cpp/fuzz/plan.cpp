// Layer: tests (fuzz). Plans from any bytes.
#include "scheme/plan.h"

#include "fuzz/target.h"

namespace veilsum::fuzz {
namespace {

Bytes bytes_of(const scheme::Plan& plan) {
  ByteWriter fields;
  plan.write_fields(fields);
  return test::envelope_of(static_cast<std::uint16_t>(scheme::ObjectKind::kPlan), fields.bytes());
}

Bytes read_and_write(const Bytes& object) {
  ByteReader in(scheme::open_envelope(object, scheme::ObjectKind::kPlan), "plan");
  const scheme::Plan plan = scheme::Plan::read_fields(in);
  in.finish();
  return bytes_of(plan);
}

}  // namespace

std::vector<Bytes> seed_corpus() {
  std::vector<Bytes> corpus;
  for (const scheme::Plan& plan : test::plans_of_every_ring()) corpus.push_back(bytes_of(plan));
  corpus.push_back(bytes_of(test::make_plan(1u << 20, 4)));
  return corpus;
}

}  // namespace veilsum::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace veilsum;
  // The tables of the rings are kept, or every input would make them again.
  static const std::vector<scheme::Plan> keep = test::plans_of_every_ring();
  return fuzz::read_any(data, size, scheme::ObjectKind::kPlan, fuzz::read_and_write);
}
