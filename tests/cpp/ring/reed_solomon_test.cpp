// Layer: tests (ring). Wrong answers are found up to the radius, for every set of members and, in a
// small field, for every kind of error; beyond it nothing is corrected into a codeword that is not
// there. Distances are compared with a search through all codewords.
#include "ring/reed_solomon.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <iterator>
#include <numeric>
#include <set>
#include <vector>

#include "check.h"
#include "support/levels.h"
#include "support/random.h"
#include "veilsum/errors.h"

namespace veilsum::test {
namespace {

using ring::Answers;
using ring::Decoded;
using ring::Distance;
using ring::Elements;
using ring::PrimeField;
using ring::Shamir;

using Words = std::vector<std::uint64_t>;
using Members = std::vector<std::uint32_t>;

Members everyone(std::uint32_t n) {
  Members all(n);
  std::iota(all.begin(), all.end(), 0u);
  return all;
}

Words random_words(Random& random, std::size_t count, std::uint64_t p) {
  Words words(count);
  for (std::uint64_t& word : words) word = random.edgy(p);
  return words;
}

Members bits_of(std::uint32_t set) {
  Members out;
  for (std::uint32_t k = 0; k < 32; ++k) {
    if (set >> k & 1) out.push_back(k);
  }
  return out;
}

struct Sharing {
  Words secret;
  Words words;  // [n][columns]
};

Sharing random_sharing(Random& random, const Shamir& scheme, std::size_t columns) {
  Sharing out;
  out.secret = random_words(random, columns, scheme.field().modulus());
  const Elements shares = ring::share(scheme, out.secret, random_key(random, 32), 0);
  out.words.assign(shares.begin(), shares.end());
  return out;
}

bool is_secret(const Decoded& decoded, const Words& secret) {
  return decoded.secret && std::ranges::equal(*decoded.secret, secret);
}

TEST("every set of wrong members up to the radius is found, whatever the errors look like") {
  Random random(1);
  for (const std::uint64_t p : {std::uint64_t{11}, std::uint64_t{331}, ring::kTagPrime}) {
    for (std::uint32_t n = 1; n <= 8; ++n) {
      for (std::uint32_t t = 1; t <= n; ++t) {
        const Shamir scheme(PrimeField(p), n, t);
        for (std::uint32_t set = 0; set < 1u << n; ++set) {
          const Members wrong = bits_of(set);
          if (2 * wrong.size() > n - t) continue;
          for (const int kind : {0, 1, 2}) {
            constexpr std::size_t kColumns = 5;
            const Sharing sharing = random_sharing(random, scheme, kColumns);
            Words words = sharing.words;
            for (std::size_t i = 0; i < wrong.size(); ++i) {
              for (std::size_t j = 0; j < kColumns; ++j) {
                // Errors at every coefficient; at one coefficient each; at the last alone.
                if (kind == 1 && j != i % kColumns) continue;
                if (kind == 2 && j != kColumns - 1) continue;
                std::uint64_t& word = words[wrong[i] * kColumns + j];
                word = (word + 1 + random.below(p - 1)) % p;
              }
            }
            const Decoded decoded = ring::decode(scheme, {everyone(n), words});
            CHECK(is_secret(decoded, sharing.secret));
            CHECK(decoded.wrong == wrong);
            if (n == t) continue;
            const auto f = static_cast<std::uint32_t>(wrong.size());
            const auto found = ring::distance_from_code(scheme, {everyone(n), words}, f);
            CHECK(found.distance == Distance::kWithin && found.differing == wrong);
            if (f == 0) continue;
            CHECK(ring::distance_from_code(scheme, {everyone(n), words}, f - 1).distance ==
                  Distance::kFarther);
          }
        }
      }
    }
  }
}

TEST("some members in any order, more columns than a tile") {
  Random random(2);
  const Shamir scheme(PrimeField(ring::sharing_prime(10, 12)), 12, 5);
  constexpr std::size_t kColumns = 1024 + 8;
  const Sharing sharing = random_sharing(random, scheme, kColumns);
  const Members members{11, 3, 7, 0, 9, 1, 4, 10};  // eight of twelve: radius one
  for (const std::size_t column : {std::size_t{0}, std::size_t{1023}, kColumns - 1}) {
    for (std::size_t i = 0; i < members.size(); ++i) {
      Words words;
      for (const std::uint32_t k : members) {
        const auto row = sharing.words.begin() + static_cast<std::ptrdiff_t>(k * kColumns);
        words.insert(words.end(), row, row + kColumns);
      }
      std::uint64_t& word = words[i * kColumns + column];
      word = (word + 1) % scheme.field().modulus();
      const Decoded decoded = ring::decode(scheme, {members, words});
      CHECK(is_secret(decoded, sharing.secret));
      CHECK(decoded.wrong == Members{members[i]});
    }
  }
}

/// The distance of a word of one column from the nearest of all p^t sharings, and how many of them
/// are as near.
std::pair<std::size_t, int> nearest(const Words& word, std::uint64_t p, std::uint32_t t) {
  std::pair<std::size_t, int> best{word.size() + 1, 0};
  std::uint64_t all = 1;
  for (std::uint32_t i = 0; i < t; ++i) all *= p;
  for (std::uint64_t number = 0; number < all; ++number) {
    std::size_t distance = 0;
    for (std::size_t k = 0; k < word.size(); ++k) {
      std::uint64_t value = 0, rest = number;
      for (std::uint32_t i = 0; i < t; ++i, rest /= p) value = (value * (k + 1) + rest % p) % p;
      distance += value != word[k];
    }
    if (distance < best.first) best = {distance, 0};
    if (distance == best.first) ++best.second;
  }
  return best;
}

TEST("every word over GF(5) and many over GF(7): decoded exactly when a sharing is near") {
  const auto check_word = [](const Shamir& scheme, const Words& word) {
    const std::uint32_t n = scheme.members(), t = scheme.threshold();
    const auto [distance, count] = nearest(word, scheme.field().modulus(), t);
    const Decoded decoded = ring::decode(scheme, {everyone(n), word});
    CHECK_EQ(decoded.secret.has_value(), 2 * distance <= n - t);
    CHECK_EQ(decoded.wrong.size(), decoded.secret ? distance : 0);
    CHECK(!decoded.secret || count == 1);
    for (std::uint32_t f = 0; f < n - t; ++f) {
      const auto found = ring::distance_from_code(scheme, {everyone(n), word}, f);
      CHECK(found.distance == (distance <= f ? Distance::kWithin : Distance::kFarther));
      CHECK_EQ(found.differing.size(), distance <= f ? distance : 0);
    }
  };
  for (std::uint32_t t = 1; t <= 4; ++t) {
    const Shamir scheme(PrimeField(5), 4, t);
    for (std::uint64_t number = 0; number < 625; ++number) {
      check_word(scheme, {number % 5, number / 5 % 5, number / 25 % 5, number / 125});
    }
  }
  Random random(3);
  for (std::uint32_t t = 1; t <= 4; ++t) {
    const Shamir scheme(PrimeField(7), 6, t);
    for (int i = 0; i < 400; ++i) {
      Words word(6);
      for (std::uint64_t& x : word) x = random.below(7);
      check_word(scheme, word);
    }
  }
}

TEST("beyond the radius: undecodable, or a sharing that really is near") {
  Random random(4);
  std::size_t undecodable = 0, tries = 0;
  for (int i = 0; i < 300; ++i) {
    const std::uint32_t n = 5 + static_cast<std::uint32_t>(random.below(6));
    const std::uint32_t t = 1 + static_cast<std::uint32_t>(random.below(n - 2));
    const Shamir scheme(PrimeField(ring::sharing_prime(10, n)), n, t);
    const Sharing sharing = random_sharing(random, scheme, 16);
    Words words = sharing.words;
    const std::size_t errors = (n - t) / 2 + 1;
    for (std::size_t j = 0; j < errors * 16; ++j) words[j] = random.below(331);
    const Decoded decoded = ring::decode(scheme, {everyone(n), words});
    ++tries;
    if (!decoded.secret) {
      ++undecodable;
      CHECK(decoded.wrong.empty());
    }
    // With one more honest member than t the caller's check on a subset finds the secret.
    bool found = false;
    for (const Members& subset : ring::trial_subsets(n, t)) {
      Words rows;
      for (const std::uint32_t k : subset) {
        rows.insert(rows.end(), words.begin() + 16 * k, words.begin() + 16 * (k + 1));
      }
      const Elements secret = ring::reconstruct(scheme, {subset, rows});
      found = found || std::ranges::equal(secret, sharing.secret);
    }
    CHECK(found || ring::trial_subsets(n, t).size() == ring::kMaxTrials);
  }
  CHECK_EQ(undecodable, tries);  // by chance a random word of 16 columns is near one time in 10^30
}

TEST("coefficients that each can be corrected, but not by one set of members within the radius") {
  Random random(8);
  const Shamir scheme(PrimeField(331), 6, 4);
  Sharing sharing = random_sharing(random, scheme, 2);
  for (const std::size_t place : {0 * 2 + 0, 3 * 2 + 1}) {  // member 0, then member 3 as well
    sharing.words[place] = (sharing.words[place] + 5) % 331;
    const Decoded decoded = ring::decode(scheme, {everyone(6), sharing.words});
    CHECK_EQ(is_secret(decoded, sharing.secret), place == 0);
    CHECK_EQ(decoded.secret.has_value(), place == 0);
  }
  CHECK(ring::distance_from_code(scheme, {everyone(6), sharing.words}, 1).distance ==
        Distance::kFarther);
}

TEST("errors that are a codeword of their own, shared by a majority, win: no test can tell") {
  Random random(5);
  const Shamir scheme(PrimeField(331), 7, 3);
  const Sharing one = random_sharing(random, scheme, 3), other = random_sharing(random, scheme, 3);
  Words words = other.words;
  std::copy_n(one.words.begin(), 2 * 3, words.begin());  // two members of seven hold `one`
  const Decoded decoded = ring::decode(scheme, {everyone(7), words});
  CHECK(is_secret(decoded, other.secret));
  CHECK(decoded.wrong == (Members{0, 1}));
}

TEST("a committee of a hundred and of a thousand") {
  Random random(6);
  struct Case {
    std::uint32_t n, t;
    std::size_t columns;
  };
  for (const Case& c : {Case{100, 67, 64}, Case{1000, 667, 2}, Case{1000, 1, 1}}) {
    const Shamir scheme(PrimeField(ring::sharing_prime(1000, c.n)), c.n, c.t);
    const Sharing sharing = random_sharing(random, scheme, c.columns);
    Words words = sharing.words;
    const std::uint32_t radius = (c.n - c.t) / 2;
    Members wrong;
    for (std::uint32_t i = 0; i < radius; ++i) wrong.push_back((i * 7 + 3) % c.n);
    std::sort(wrong.begin(), wrong.end());
    wrong.erase(std::unique(wrong.begin(), wrong.end()), wrong.end());
    for (const std::uint32_t k : wrong) {
      std::uint64_t& word = words[k * c.columns + k % c.columns];
      word = (word + 1) % scheme.field().modulus();
    }
    const Decoded decoded = ring::decode(scheme, {everyone(c.n), words});
    CHECK(is_secret(decoded, sharing.secret));
    CHECK(decoded.wrong == wrong);
  }
}

TEST("two words err together: one set of members explains both, or none") {
  Random random(11);
  for (std::uint32_t n = 3; n <= 6; ++n) {
    const Members all = everyone(n);
    for (std::uint32_t t = 1; t < n; ++t) {
      const Shamir narrow(PrimeField(331), n, t), wide(PrimeField(ring::kTagPrime), n, t);
      for (std::uint32_t sets = 0; sets < 1u << 2 * n; ++sets) {
        const Members first = bits_of(sets & ((1u << n) - 1)), second = bits_of(sets >> n);
        Members both;
        std::ranges::set_union(first, second, std::back_inserter(both));
        constexpr std::size_t kColumns = 4;
        Words a = random_sharing(random, narrow, kColumns).words;
        Words b = random_sharing(random, wide, kColumns).words;
        for (const std::uint32_t k : first) {
          for (std::size_t j = 0; j < kColumns; ++j) a[k * kColumns + j] = random.below(331);
        }
        for (const std::uint32_t k : second) {
          for (std::size_t j = 0; j < kColumns; ++j) {
            b[k * kColumns + j] = random.below(ring::kTagPrime);
          }
        }
        const ring::Part parts[] = {{narrow, {all, a}}, {wide, {all, b}}};
        for (std::uint32_t f = 0; f < n - t; ++f) {
          const auto found = ring::distance_from_code(parts, f);
          // Random words near another sharing would be a chance of about 331^-4.
          CHECK(found.distance == (both.size() <= f ? Distance::kWithin : Distance::kFarther));
          if (both.size() <= f) CHECK(found.differing == both);
        }
      }
    }
  }
  const Shamir scheme(PrimeField(331), 4, 2), other(PrimeField(331), 4, 3);
  const Words words(4);
  const Members some = {0, 1, 2, 3}, turned = {1, 0, 2, 3};
  const ring::Part members[] = {{scheme, {some, words}}, {scheme, {turned, words}}};
  CHECK_THROWS(ring::distance_from_code(members, 0), ParameterError);
  const ring::Part thresholds[] = {{scheme, {some, words}}, {other, {some, words}}};
  CHECK_THROWS(ring::distance_from_code(thresholds, 0), ParameterError);
}

TEST("distances that would take too many trials are left open") {
  Random random(7);
  const Shamir scheme(PrimeField(ring::sharing_prime(100, 100)), 100, 67);
  const Words words = random_words(random, 100 * 10, scheme.field().modulus());
  const Members members = everyone(100);
  CHECK(ring::distance_from_code(scheme, {members, words}, 16).distance == Distance::kFarther);
  CHECK(ring::distance_from_code(scheme, {members, words}, 17).distance == Distance::kUndecided);
  CHECK_THROWS_WITH(ring::distance_from_code(scheme, {members, words}, 33), ParameterError,
                    "not 33");
}

TEST("subsets to try: all when few, 64 different ones otherwise, always the same") {
  for (std::uint32_t n = 1; n <= 12; ++n) {
    for (std::uint32_t t = 1; t <= n; ++t) {
      const std::vector<Members> subsets = ring::trial_subsets(n, t);
      std::size_t all = 0;
      for (std::uint32_t set = 0; set < 1u << n; ++set) all += std::popcount(set) == int(t);
      CHECK_EQ(subsets.size(), std::min<std::size_t>(all, 64));
      for (const Members& subset : subsets) {
        CHECK_EQ(subset.size(), t);
        CHECK(std::ranges::is_sorted(subset) && subset.back() < n);
      }
      CHECK_EQ(std::set<Members>(subsets.begin(), subsets.end()).size(), subsets.size());
      CHECK(subsets == ring::trial_subsets(n, t));
      if (all <= 64) CHECK(std::ranges::is_sorted(subsets));
    }
  }
  CHECK_EQ(ring::trial_subsets(1024, 683).size(), 64u);
  CHECK_EQ(ring::trial_subsets(65, 64).size(), 64u);
  CHECK_EQ(ring::trial_subsets(64, 63).size(), 64u);
  CHECK_THROWS(ring::trial_subsets(3, 4), ParameterError);
  CHECK_THROWS(ring::trial_subsets(3, 0), ParameterError);
  CHECK_THROWS(ring::trial_subsets(1025, 4), ParameterError);
}

TEST("answers that are none") {
  const Shamir scheme(PrimeField(331), 5, 3);
  const Words words(8, 1);
  CHECK_THROWS(ring::decode(scheme, {Members{0, 1, 2, 2}, words}), ParameterError);
  CHECK_THROWS(ring::decode(scheme, {Members{0, 1, 2, 5}, words}), ParameterError);
  CHECK_THROWS(ring::decode(scheme, {Members{0, 1}, words}), ParameterError);
  CHECK_THROWS(ring::distance_from_code(scheme, {Members{0, 1, 2}, Words(3)}, 0), ParameterError);
  const Decoded empty = ring::decode(scheme, {Members{0, 1, 2, 3}, {}});
  CHECK(empty.secret && empty.secret->empty() && empty.wrong.empty());
}

}  // namespace
}  // namespace veilsum::test
