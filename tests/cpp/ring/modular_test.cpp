// Layer: tests (ring). Modular arithmetic against the compiler's 128-bit division. The companion of
// a secret is checked exhaustively where a wrong floor would show: at both ends of the range and at
// the values whose quotient lies nearest to an integer.
#include "ring/modular.h"

#include <cstdint>
#include <vector>

#include "check.h"
#include "ring/primes.h"
#include "support/modulus.h"
#include "support/random.h"

namespace veilsum::test {
namespace {

std::vector<std::uint64_t> moduli() {
  std::vector<std::uint64_t> all(ring::kPrimes.begin(), ring::kPrimes.end());
  // make_modulus() allows any 2^48 - 2^24 < q < 2^48.
  all.push_back((std::uint64_t{1} << 48) - (1u << 24) + 1);
  all.push_back((std::uint64_t{1} << 48) - 1);
  return all;
}

TEST("products, powers, inverses") {
  Random random(1);
  for (const std::uint64_t q : ring::kPrimes) {
    for (int i = 0; i < 2000; ++i) {
      const std::uint64_t a = random.edgy(q), b = random.edgy(q);
      CHECK_EQ(ring::mul_mod(a, b, q), multiply_mod(a, b, q));
      CHECK_EQ(ring::pow_mod(a, b, q), power_mod(a, b, q));
      if (a != 0) CHECK_EQ(multiply_mod(a, ring::inverse_mod(a, q), q), 1u);
    }
    CHECK_EQ(ring::pow_mod(0, 0, q), 1u);
    CHECK_EQ(ring::pow_mod(q - 1, q - 1, q), 1u);
  }
  CHECK_EQ(ring::pow_mod(5, 0, 1), 0u);
}

TEST("the constants of a modulus") {
  for (const std::uint64_t q : moduli()) {
    const isa::Modulus m = ring::make_modulus(q);
    CHECK_EQ(m.q, q);
    CHECK_EQ(m.q + m.delta, std::uint64_t{1} << 48);
    CHECK(m.delta < 1u << 24);
  }
}

TEST("the companion of a secret equals the division, exhaustively near the edges") {
  constexpr std::uint64_t kEdge = 1 << 14;
  std::size_t wrong = 0;
  const auto check_one = [&wrong](std::uint64_t w, std::uint64_t q) {
    wrong += ring::shoup_companion_secret(w, q) != shoup(w, q);
    wrong += ring::shoup_companion(w, q) != shoup(w, q);
  };
  for (const std::uint64_t q : moduli()) {
    for (std::uint64_t i = 0; i < kEdge; ++i) {
      check_one(i, q);
      check_one(q - 1 - i, q);
      check_one(q / 2 + i, q);
    }
  }
  for (const std::uint64_t q : ring::kPrimes) {
    // w 2^52 = t modulo q: the quotient's fraction is t / q, so small t sit just above an integer
    // and t near q just below the next, where an estimate that is off by 2^-10 could err.
    const std::uint64_t two52_inverse = inverse_mod((std::uint64_t{1} << 52) % q, q);
    for (std::uint64_t t = 0; t < kEdge; ++t) {
      check_one(multiply_mod(t, two52_inverse, q), q);
      check_one(multiply_mod(q - 1 - t, two52_inverse, q), q);
      // Around the estimate's own error, q 2^-10.
      check_one(multiply_mod((q >> 10) - kEdge / 2 + t, two52_inverse, q), q);
    }
    Random random(q);
    for (int i = 0; i < 100'000; ++i) check_one(random.edgy(q), q);
  }
  CHECK_EQ(wrong, 0u);
}

TEST("lazy products stay below 2q and are right, for any first factor below 2^52") {
  Random random(3);
  for (const std::uint64_t q : moduli()) {
    for (int i = 0; i < 20'000; ++i) {
      const std::uint64_t x = random.edgy(std::uint64_t{1} << 52), w = random.edgy(q);
      const std::uint64_t product = ring::mul_shoup_lazy(x, w, shoup(w, q), q);
      CHECK(product < 2 * q);
      CHECK_EQ(product % q, multiply_mod(x % q, w, q));
    }
  }
}

TEST("reductions and signs at their edges") {
  for (const std::uint64_t q : moduli()) {
    for (const std::uint64_t x : {std::uint64_t{0}, std::uint64_t{1}, q - 1, q, q + 1, 2 * q - 1}) {
      CHECK_EQ(ring::reduce_once(x, q), x % q);
    }
    const auto top = static_cast<std::int64_t>(q) - 1;
    for (const std::int64_t v : {std::int64_t{0}, std::int64_t{1}, std::int64_t{8}, top}) {
      CHECK_EQ(ring::residue_of(v, q), static_cast<std::uint64_t>(v));
      CHECK_EQ(ring::residue_of(-v, q), (q - static_cast<std::uint64_t>(v)) % q);
    }
  }
  CHECK_EQ(ring::sign_mask(0), 0u);
  CHECK_EQ(ring::sign_mask((std::uint64_t{1} << 63) - 1), 0u);
  CHECK_EQ(ring::sign_mask(std::uint64_t{1} << 63), ~std::uint64_t{0});
}

}  // namespace
}  // namespace veilsum::test
