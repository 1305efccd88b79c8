// Layer: tests (ring). The four primes are what their definition says, the primality test agrees
// with a sieve and with known pseudoprimes, and the roots of unity have the order they must have.
#include "ring/primes.h"

#include <cstdint>
#include <vector>

#include "check.h"
#include "ring/modular.h"
#include "support/modulus.h"
#include "veilsum/errors.h"

namespace veilsum::test {
namespace {

TEST("the primes are the four largest below 2^48 that are 1 modulo 2^16") {
  constexpr std::uint64_t kStep = 1u << 16, kTop = std::uint64_t{1} << 48;
  std::vector<std::uint64_t> found;
  for (std::uint64_t p = kTop - kStep + 1; found.size() < 4; p -= kStep) {
    if (test::is_prime(p)) found.push_back(p);
  }
  CHECK_EQ(found, std::vector<std::uint64_t>(ring::kPrimes.begin(), ring::kPrimes.end()));
  std::vector<std::uint64_t> deltas;
  for (const std::uint64_t p : ring::kPrimes) {
    CHECK(ring::is_prime(p));
    CHECK_EQ(p % (2 * ring::kMaxDegree), 1u);
    deltas.push_back(kTop - p);
    CHECK(deltas.back() < 1u << 24);
    CHECK(16 * p < std::uint64_t{1} << 52);  // what lazy residues rest on
  }
  CHECK_EQ(deltas, (std::vector<std::uint64_t>{393215, 1048575, 2228223, 4521983}));
}

TEST("is_prime agrees with a sieve up to 200,000") {
  constexpr std::size_t kTop = 200'000;
  std::vector<bool> composite(kTop, false);
  composite[0] = composite[1] = true;
  for (std::size_t i = 2; i * i < kTop; ++i) {
    for (std::size_t j = i * i; !composite[i] && j < kTop; j += i) composite[j] = true;
  }
  for (std::size_t n = 0; n < kTop; ++n) CHECK_EQ(ring::is_prime(n), !composite[n]);
}

TEST("is_prime is not fooled by strong pseudoprimes, and knows large primes") {
  // Smallest strong pseudoprimes to the first 1 ... 9 primes (OEIS A014233).
  for (const std::uint64_t n : {2047ull, 1373653ull, 25326001ull, 3215031751ull, 2152302898747ull,
                                3474749660383ull, 341550071728321ull, 3825123056546413051ull}) {
    CHECK(!ring::is_prime(n));
  }
  for (const std::uint64_t n : {561ull, 41041ull, 825265ull, 321197185ull}) {  // Carmichael
    CHECK(!ring::is_prime(n));
  }
  for (const std::uint64_t n : {4294967291ull, 2305843009213693951ull, 18446744073709551557ull}) {
    CHECK(ring::is_prime(n));
  }
  CHECK(!ring::is_prime(4294967291ull * 4294967279ull));
  CHECK(!ring::is_prime(18446744073709551615ull));
  CHECK(!ring::is_prime(ring::kPrimes[0] + 2));
}

TEST("the root for every ring: of order exactly 2n, from the smallest base") {
  for (const std::uint64_t q : ring::kPrimes) {
    for (std::uint32_t n = 64; n <= ring::kMaxDegree; n *= 2) {
      const std::uint64_t psi = ring::primitive_root_of_unity(q, n);
      CHECK_EQ(power_mod(psi, n, q), q - 1);
      std::uint64_t g = 2;
      while (power_mod(power_mod(g, (q - 1) / (2ull * n), q), n, q) != q - 1) ++g;
      CHECK_EQ(psi, power_mod(g, (q - 1) / (2ull * n), q));
    }
  }
}

TEST("numbers without such a root are refused") {
  CHECK_THROWS(ring::primitive_root_of_unity(ring::kPrimes[0] + 2, 2048), ParameterError);
  CHECK_THROWS(ring::primitive_root_of_unity(ring::kPrimes[0], 1u << 30), ParameterError);
  CHECK_THROWS(ring::primitive_root_of_unity(129, 64), ParameterError);  // 3 * 43 = 1 mod 128
}

}  // namespace
}  // namespace veilsum::test
