// Layer: tests (ring). Shares are values of the polynomials that they are defined by; any t of them
// give the secret, and t - 1 give nothing, exactly; sums and challenges are linear; secrets are
// wiped.
#include "ring/shamir.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <numeric>
#include <vector>

#include "check.h"
#include "support/active_level.h"
#include "support/freed_memory.h"
#include "support/modulus.h"
#include "support/random.h"
#include "veilsum/errors.h"

namespace veilsum::test {
namespace {

using ring::Answers;
using ring::Elements;
using ring::PrimeField;
using ring::Shamir;

std::vector<std::uint64_t> values_of(const Elements& elements) {
  return {elements.begin(), elements.end()};
}

/// The rows of some members.
std::vector<std::uint64_t> rows_of(const Elements& shares, std::size_t columns,
                                   const std::vector<std::uint32_t>& members) {
  std::vector<std::uint64_t> out;
  for (const std::uint32_t k : members) {
    out.insert(out.end(), shares.begin() + k * columns, shares.begin() + (k + 1) * columns);
  }
  return out;
}

std::vector<std::uint32_t> some_members(Random& random, std::uint32_t n, std::uint32_t count) {
  std::vector<std::uint32_t> all(n);
  std::iota(all.begin(), all.end(), 0u);
  for (std::uint32_t i = 0; i < count; ++i) std::swap(all[i], all[i + random.below(n - i)]);
  all.resize(count);
  return all;
}

TEST("what is no scheme") {
  const PrimeField small(7), large(1031);
  CHECK_THROWS(Shamir(small, 0, 0), ParameterError);
  CHECK_THROWS(Shamir(small, 7, 1), ParameterError);  // the point of the last would be 0
  CHECK_THROWS_WITH(Shamir(small, 4, 5), ParameterError, "not 5");
  CHECK_THROWS(Shamir(small, 4, 0), ParameterError);
  CHECK_THROWS(Shamir(large, ring::kMaxMembers + 1, 1), ParameterError);
  CHECK_EQ(Shamir(large, ring::kMaxMembers, 1).members(), ring::kMaxMembers);
  CHECK_EQ(Shamir(small, 6, 6).point(5), 6u);
}

TEST("shares are the polynomials' values, at every size and edge") {
  struct Case {
    std::uint64_t p;
    std::uint32_t n, t;
    std::size_t columns;
  };
  const Case cases[] = {
      {ring::sharing_prime(1, 1), 1, 1, 8},
      {ring::sharing_prime(10, 4), 4, 3, 2048},
      {ring::sharing_prime(10, 4), 4, 4, 17},
      {7, 6, 6, 3},
      {ring::sharing_prime(1, 1000), 1000, 1000, 2},
      {ring::sharing_prime(ring::kMaxTotalWeight, 1000), 1000, 999, 70},
      {ring::sharing_prime(ring::kMaxTotalWeight, 100), 100, 67, 129},
      {ring::kTagPrime, 100, 67, 2},
      {ring::kWideTagPrime, 10, 7, 3},
      {ring::kWideTagPrime, 1000, 1, 3},
      {1031, 1024, 5, 1},
  };
  Random random(1);
  for (const Case& c : cases) {
    const Shamir scheme(PrimeField(c.p), c.n, c.t);
    std::vector<std::uint64_t> coefficients(c.t * c.columns);
    for (const bool top : {false, true}) {
      for (std::uint64_t& x : coefficients) x = top ? c.p - 1 : random.edgy(c.p);
      const Elements shares = ring::evaluate(scheme, coefficients);
      CHECK_EQ(shares.size(), c.n * c.columns);
      std::size_t wrong = 0;
      for (std::uint32_t k = 0; k < c.n; ++k) {
        for (std::size_t j = 0; j < c.columns; ++j) {
          std::uint64_t value = 0;  // Horner's rule
          for (std::uint32_t i = c.t; i-- > 0;) {
            value = (multiply_mod(value, k + 1, c.p) + coefficients[i * c.columns + j]) % c.p;
          }
          wrong += value != shares[k * c.columns + j];
        }
      }
      CHECK_EQ(wrong, 0u);
      const std::vector<std::uint32_t> members = some_members(random, c.n, c.t);
      const Elements secret =
          ring::reconstruct(scheme, {members, rows_of(shares, c.columns, members)});
      CHECK(std::equal(secret.begin(), secret.end(), coefficients.begin()));
    }
  }
  CHECK_THROWS(ring::evaluate(Shamir(PrimeField(7), 4, 3), std::vector<std::uint64_t>(4)),
               ParameterError);
}

TEST("share: the secret and then the stream's elements are the coefficients") {
  on_every_active_level([] {
    Random random(2);
    for (const std::uint64_t p : {ring::sharing_prime(10, 4), ring::kTagPrime}) {
      const Shamir scheme(PrimeField(p), 5, 3);
      for (const std::size_t columns : {0, 1, 3, 64}) {
        const isa::AesKey key = random_key(random, 32);
        std::vector<std::int64_t> secret(columns);
        for (std::size_t j = 0; j < columns; ++j) {
          secret[j] = static_cast<std::int64_t>(random.below(17)) - 8;
        }
        std::vector<std::uint64_t> coefficients;
        for (const std::int64_t v : secret) coefficients.push_back(scheme.field().from_signed(v));
        const std::vector<std::uint64_t> elements = coefficients;
        for (const std::uint64_t c : ring::uniform_elements(scheme.field(), key, 9, 2 * columns)) {
          coefficients.push_back(c);
        }
        const Elements shares = ring::share_signed(scheme, secret, key, 9);
        CHECK(values_of(shares) == values_of(ring::evaluate(scheme, coefficients)));
        CHECK(values_of(shares) == values_of(ring::share(scheme, elements, key, 9)));
      }
    }
  });
}

TEST("t - 1 shares have the same distribution for every secret, exactly") {
  // All polynomials over a small field: each pair of any t - 1 shares comes equally often.
  for (const std::uint64_t p : {5u, 7u}) {
    for (std::uint32_t t = 2; t <= 3; ++t) {
      const auto n = static_cast<std::uint32_t>(p - 1);
      const Shamir scheme(PrimeField(p), n, t);
      const std::size_t columns = t == 2 ? p : p * p;  // all the higher coefficients
      for (std::uint64_t secret = 0; secret < p; ++secret) {
        std::vector<std::uint64_t> coefficients(t * columns, secret);
        for (std::size_t j = 0; j < columns; ++j) {
          coefficients[columns + j] = j % p;
          if (t == 3) coefficients[2 * columns + j] = j / p;
        }
        const Elements shares = ring::evaluate(scheme, coefficients);
        for (std::uint32_t a = 0; a < n; ++a) {
          for (std::uint32_t b = t == 2 ? a : a + 1; b < (t == 2 ? a + 1 : n); ++b) {
            std::map<std::pair<std::uint64_t, std::uint64_t>, int> seen;
            for (std::size_t j = 0; j < columns; ++j) {
              ++seen[{shares[a * columns + j], shares[b * columns + j]}];
            }
            CHECK_EQ(seen.size(), columns);  // as many as there are, so each comes once
          }
        }
      }
    }
  }
}

TEST("sums of shares are shares of the sum, up to the largest total weight") {
  constexpr std::size_t kColumns = 64;
  Random random(3);
  const auto weight = static_cast<std::int64_t>(ring::kMaxTotalWeight);
  const Shamir scheme(PrimeField(ring::sharing_prime(ring::kMaxTotalWeight, 7)), 7, 5);
  std::vector<std::int64_t> total(kColumns);
  Elements sum(7 * kColumns, Initialise::kZero);
  for (int upload = 0; upload < 20; ++upload) {
    // 19 small uploads, and one that fills the sum to its extremes.
    std::vector<std::int64_t> secret(kColumns);
    for (std::size_t j = 0; j < kColumns; ++j) {
      secret[j] = upload < 19 ? static_cast<std::int64_t>(random.below(17)) - 8
                              : (j % 2 == 0 ? 8 : -8) * weight - total[j];
      total[j] += secret[j];
    }
    const Elements shares = ring::share_signed(scheme, secret, random_key(random, 32), 0);
    ring::add_inplace(scheme.field(), sum.span(), shares.span());
  }
  for (int i = 0; i < 20; ++i) {
    const std::vector<std::uint32_t> members = some_members(random, 7, 5);
    const Elements elements = ring::reconstruct(scheme, {members, rows_of(sum, kColumns, members)});
    const auto numbers = ring::centred(scheme.field(), elements.span());
    CHECK(std::ranges::equal(numbers, total));
    CHECK(ring::all_within(numbers.span(), 8 * ring::kMaxTotalWeight));
    CHECK(!ring::all_within(numbers.span(), 8 * ring::kMaxTotalWeight - 1));
  }
  CHECK_THROWS(ring::add_inplace(scheme.field(), sum.span(), sum.span().first(3)), ParameterError);
}

TEST("answers that are none") {
  const Shamir scheme(PrimeField(331), 5, 3);
  const std::vector<std::uint64_t> words(6, 1);
  const auto attempt = [&](std::vector<std::uint32_t> members, std::size_t size) {
    return ring::reconstruct(scheme, {members, std::span(words).first(size)});
  };
  CHECK_EQ(attempt({0, 4, 2}, 6).size(), 2u);
  CHECK_THROWS_WITH(attempt({0, 4, 4}, 6), ParameterError, "twice");
  CHECK_THROWS_WITH(attempt({0, 4, 5}, 6), ParameterError, "no member number 5");
  CHECK_THROWS_WITH(attempt({0, 4}, 6), ParameterError, "takes 3 answers");
  CHECK_THROWS_WITH(attempt({}, 0), ParameterError, "takes 3 answers");
  CHECK_THROWS_WITH(attempt({0, 1, 2, 3}, 4), ParameterError, "not 4");
  CHECK_THROWS_WITH(attempt({0, 1, 2}, 5), ParameterError, "of one length");
}

TEST("challenges have 128 bits, are linear, and commute with sharing") {
  CHECK_EQ(ring::challenge_elements(PrimeField(3)), 81u);  // 80.76
  CHECK_EQ(ring::challenge_elements(PrimeField(37)), 25u);
  CHECK_EQ(ring::challenge_elements(PrimeField(257)), 16u);
  CHECK_EQ(ring::challenge_elements(PrimeField(33554467)), 6u);
  CHECK_EQ(ring::challenge_elements(PrimeField(ring::kTagPrime)), 3u);
  CHECK_EQ(ring::challenge_elements(PrimeField(ring::kWideTagPrime)), 3u);
  Random random(4);
  for (const std::uint64_t p : {std::uint64_t{331}, (std::uint64_t{1} << 27) - 39,
                                ring::sharing_prime(1 << 20, 5), ring::kTagPrime}) {
    for (const std::size_t columns : {1, 1022, 1023, 1024, 2100}) {
      const Shamir scheme(PrimeField(p), 5, 3);
      const PrimeField& field = scheme.field();
      std::vector<std::uint64_t> secret(columns);
      for (std::uint64_t& x : secret) x = random.edgy(p);
      std::fill(secret.begin() + static_cast<std::ptrdiff_t>(columns / 2), secret.end(), p - 1);
      Digest digest{};
      digest[5] = static_cast<std::uint8_t>(columns);
      const Elements shares = ring::share(scheme, secret, random_key(random, 32), 1);
      std::vector<std::uint64_t> combined;
      const std::vector<std::uint32_t> members = some_members(random, 5, 3);
      for (const std::uint32_t k : members) {
        for (const std::uint64_t x :
             ring::combine_challenge(field, digest, shares.span().subspan(k * columns, columns))) {
          combined.push_back(x);
        }
      }
      const Elements of_secret = ring::combine_challenge(field, digest, secret);
      CHECK(values_of(ring::reconstruct(scheme, {members, combined})) == values_of(of_secret));
      std::vector<std::uint64_t> zero(columns);
      for (const std::uint64_t x : ring::combine_challenge(field, digest, zero)) CHECK_EQ(x, 0u);
      ++digest[31];
      CHECK(values_of(ring::combine_challenge(field, digest, secret)) != values_of(of_secret));
    }
  }
}

TEST("long combinations of the largest elements do not overflow") {
  const PrimeField field((std::uint64_t{1} << 27) - 39);  // the largest narrow one
  constexpr std::size_t kColumns = 16384;
  const std::uint64_t p = field.modulus();
  const std::vector<std::uint64_t> ones(kColumns, 1), tops(kColumns, p - 1);
  const Elements sums = ring::combine_challenge(field, Digest{}, ones);
  const Elements negated = ring::combine_challenge(field, Digest{}, tops);
  for (std::size_t i = 0; i < sums.size(); ++i) CHECK_EQ(negated[i], (p - sums[i]) % p);
}

#if defined(VEILSUM_ALLOCATION_HOOKS)
TEST("shares are wiped when they are freed") {
  Random random(5);
  const Shamir scheme(PrimeField(331), 5, 3);
  const std::vector<std::uint64_t> secret(64, 7);
  Elements shares = ring::share(scheme, secret, random_key(random, 32), 1);
  CHECK_EQ(nonzero_at_free(shares.data(), shares.size() * 8, [&] { shares = Elements(); }), 0u);
}
#endif

}  // namespace
}  // namespace veilsum::test
