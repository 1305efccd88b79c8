// Layer: tests (isa). Keystream to polynomials on every level: uniform residues with exact
// rejection, in streams that were searched for refused words, and binomial samples.
#include <algorithm>
#include <bit>
#include <cstdint>
#include <vector>

#include "check.h"
#include "support/guarded.h"
#include "support/levels.h"
#include "support/modulus.h"
#include "support/random.h"
#include "support/rejections.h"

namespace veilsum::test {
namespace {

using isa::AesKey;
using isa::KernelTable;
using Words = std::vector<std::uint64_t>;

constexpr std::size_t kMost = 32768;  // coefficients of the largest ring

/// Words of six bytes.
Words words_of(const AesKey& key, std::uint64_t index, std::size_t count) {
  const Bytes bytes = keystream(key, index, 6 * count);
  Words words(count, 0);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    words[i / 6] |= std::uint64_t{bytes[i]} << 8 * (i % 6);
  }
  return words;
}

/// The rule of kernels.h, word for word.
Words uniform(const AesKey& key, std::uint64_t index, std::uint64_t q, std::size_t n) {
  const Words words = words_of(key, index, n + 64);
  Words out;
  std::size_t next = n;
  for (std::size_t j = 0; j < n; ++j) {
    std::uint64_t residue = words[j];
    while (residue >= q) residue = words.at(next++);
    out.push_back(residue);
  }
  return out;
}

/// Where the first `n` words are q or above.
std::vector<std::size_t> refused(const AesKey& key, std::uint64_t index, std::uint64_t q,
                                 std::size_t n) {
  const Words words = words_of(key, index, n);
  std::vector<std::size_t> places;
  for (std::size_t j = 0; j < n; ++j) {
    if (words[j] >= q) places.push_back(j);
  }
  return places;
}

void check_uniform(const AesKey& key, std::uint64_t index, std::uint64_t q, std::size_t n) {
  const Words expected = uniform(key, index, q, n);
  const Border border = n % 16 == 0 ? Border::kAbove : Border::kBelow;
  on_every_level([&](const KernelTable& table) {
    Guarded<std::uint64_t> out(n, border);
    out.fill(~std::uint64_t{0});
    table.expand_uniform(key, index, make_modulus(q), n, out.data());
    CHECK(out.copy() == expected);
  });
}

TEST("uniform residues: words of the keystream, for every length and key size") {
  Random random(11);
  std::vector<std::size_t> lengths = lengths_around_widths();
  lengths.insert(lengths.end(), {64, 4096, 8192, 16384, kMost});
  for (const std::uint64_t q : test_primes()) {
    for (const std::size_t n : lengths) {
      check_uniform(random_key(random, n % 3 == 0 ? 32 : 16), random.next(), q, n);
    }
  }
}

TEST("uniform residues: a word that is refused, in every place of short polynomials") {
  const AesKey key = rejection_key();
  for (std::size_t place = 0; place < std::size(kRejectionAt); ++place) {
    const std::uint64_t index = kRejectionAt[place];
    const std::size_t end = place / 8 * 8 + 8;
    CHECK_EQ(refused(key, index, kSmallestModulus, 128), std::vector<std::size_t>{place});
    for (const std::size_t n : {end, end + 8, std::size_t{128}, std::size_t{520}}) {
      check_uniform(key, index, kSmallestModulus, n);
      CHECK(uniform(key, index, kSmallestModulus, n) != words_of(key, index, n));
    }
  }
}

TEST("uniform residues: a word equal to q is refused, a word equal to q - 1 is not") {
  const AesKey key = rejection_key();
  for (std::size_t place = 0; place < std::size(kRejectionAt); place += 3) {
    const std::uint64_t index = kRejectionAt[place];
    const std::uint64_t word = words_of(key, index, 128)[place];
    for (const std::uint64_t q : {word, word + 1}) {
      CHECK_EQ(uniform(key, index, q, 128)[place] == word, q != word);
      check_uniform(key, index, q, 128);
    }
  }
}

TEST("uniform residues: words that the rings' primes refuse") {
  const AesKey key = rejection_key();
  const std::vector<std::uint64_t> primes = primes_below((std::uint64_t{1} << 48) - 1, 4);
  for (const PrimeRejection& found : kPrimeRejections) {
    const std::uint64_t q = primes[found.prime];
    CHECK_EQ(refused(key, found.index, q, kMost)[0], found.word);
    for (std::size_t n = 2048; n <= kMost; n *= 2) check_uniform(key, found.index, q, n);
    check_uniform(key, found.index, q, found.word / 8 * 8 + 8);
  }
}

TEST("uniform residues: two refused words take replacements in their order") {
  const AesKey key = rejection_key();
  for (const TwoRejections& found : kTwoRejections) {
    CHECK_EQ(refused(key, found.index, kSmallestModulus, kMost),
             (std::vector<std::size_t>{found.first, found.second}));
    const Words residues = uniform(key, found.index, kSmallestModulus, kMost);
    const Words words = words_of(key, found.index, kMost + 8);
    CHECK_EQ(residues[found.first], words[kMost]);
    CHECK_EQ(residues[found.second], words[kMost + 1]);
    check_uniform(key, found.index, kSmallestModulus, kMost);
    check_uniform(key, found.index, kSmallestModulus, found.second / 8 * 8 + 8);
  }
}

TEST("uniform residues: a replacement that is refused itself") {
  const AesKey key = rejection_key();
  for (const RejectedReplacement& found : kRejectedReplacements) {
    CHECK_EQ(refused(key, found.index, kSmallestModulus, kMost + 1),
             (std::vector<std::size_t>{found.word, kMost}));
    const Words residues = uniform(key, found.index, kSmallestModulus, kMost);
    CHECK_EQ(residues[found.word], words_of(key, found.index, kMost + 8)[kMost + 1]);
    check_uniform(key, found.index, kSmallestModulus, kMost);
  }
}

TEST("binomial samples: eight bits less eight bits, for every length and key size") {
  Random random(13);
  std::vector<std::size_t> lengths = lengths_around_widths();
  lengths.insert(lengths.end(), {std::size_t{16384}, kMost, std::size_t{1} << 20});
  for (const std::size_t n : lengths) {
    for (const std::size_t key_bytes : {16u, 32u}) {
      const AesKey key = random_key(random, key_bytes);
      const std::uint64_t index = random.next();
      const Bytes stream = keystream(key, index, 2 * n);
      std::vector<std::int8_t> expected;
      for (std::size_t j = 0; j < n; ++j) {
        expected.push_back(static_cast<std::int8_t>(std::popcount(stream[2 * j]) -
                                                    std::popcount(stream[2 * j + 1])));
      }
      if (n == std::size_t{1} << 20) {  // one in 2^16 is 8, one -8
        CHECK_EQ(*std::max_element(expected.begin(), expected.end()), 8);
        CHECK_EQ(*std::min_element(expected.begin(), expected.end()), -8);
      }
      const Border border = n % 16 == 0 ? Border::kAbove : Border::kBelow;
      on_every_level([&](const KernelTable& table) {
        Guarded<std::int8_t> out(n, border);
        out.fill(99);
        table.sample_cbd(key, index, n, out.data());
        CHECK(out.copy() == expected);
      });
    }
  }
}

}  // namespace
}  // namespace veilsum::test
