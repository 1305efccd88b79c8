// Layer: tests (fuzz). Sum keys of a round, from any bytes.
#include <utility>

#include "fuzz/target.h"
#include "scheme/opening.h"

namespace veilsum::fuzz {
namespace {

const scheme::Round& the_round() {
  static const scheme::Round round = World().round(false);
  return round;
}

Bytes sum_key_of(std::uint64_t total_weight) {
  test::Random random(total_weight);
  const auto bound = static_cast<std::int64_t>(scheme::kErrorBound * total_weight);
  scheme::KeyCoefficients coefficients(std::size_t{the_round().plan().degree()} *
                                       the_round().upload_keys());
  for (std::int64_t& coefficient : coefficients) {
    coefficient =
        static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(2 * bound + 1))) - bound;
  }
  return scheme::SumKey(the_round(), test::bytes32(5), 2, total_weight, true,
                        std::move(coefficients))
      .to_bytes();
}

}  // namespace

std::vector<Bytes> seed_corpus() { return {sum_key_of(2), sum_key_of(40)}; }

}  // namespace veilsum::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace veilsum;
  return fuzz::read_any(data, size, scheme::ObjectKind::kSumKey, [](const fuzz::Bytes& object) {
    return scheme::SumKey::from_bytes(object, fuzz::the_round()).to_bytes();
  });
}
