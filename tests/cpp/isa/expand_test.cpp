// Layer: tests (isa). Keystream to polynomials on every level: exact rejection (forced, with a
// modulus that refuses 46 % of all words), the fused product with key slots, and binomial samples.
#include <bit>
#include <cstdint>
#include <vector>

#include "check.h"
#include "support/levels.h"
#include "support/modulus.h"
#include "support/random.h"

namespace veilsum::test {
namespace {

using isa::AesKey;
using isa::KernelTable;

/// The rule of kernels.h, word for word. `rejected` counts refused words.
std::vector<std::uint64_t> uniform(const AesKey& key, std::uint64_t index, std::uint64_t q,
                                   std::size_t n, std::size_t* rejected = nullptr) {
  const std::vector<std::uint64_t> words = keystream_words(key, index, 4 * n + 1024);
  std::vector<std::uint64_t> out;
  std::size_t next = n;
  for (std::size_t j = 0; j < n; ++j) {
    std::uint64_t residue = words[j] & isa::kResidueMask;
    while (residue >= q) residue = words.at(next++) & isa::kResidueMask;
    out.push_back(residue);
  }
  if (rejected != nullptr) *rejected = next - n;
  return out;
}

std::vector<std::uint64_t> moduli() {
  std::vector<std::uint64_t> q = test_primes();
  q.push_back((std::uint64_t{1} << 49) + 1);  // the hardest: half of all words refused
  return q;
}

TEST("uniform residues: rejected words are replaced in order") {
  Random random(11);
  for (const std::uint64_t q : moduli()) {
    const isa::Modulus modulus = make_modulus(q);
    for (const std::size_t n : {64, 128, 256, 512, 2048, 16384}) {
      for (int repeat = 0; repeat < 4; ++repeat) {
        const AesKey key = random_key(random, repeat % 2 == 0 ? 16 : 32);
        const std::uint64_t index = random.next();
        std::size_t rejected = 0;
        const std::vector<std::uint64_t> expected = uniform(key, index, q, n, &rejected);
        if (q < 700'000'000'000'000) CHECK(rejected > n / 2);
        on_every_level([&](const KernelTable& table) {
          AlignedWords out(n);
          table.expand_uniform(key, index, modulus, n, out.data());
          CHECK(std::vector<std::uint64_t>(out.begin(), out.end()) == expected);
        });
      }
    }
  }
}

TEST("uniform residues: a word equal to q is refused, a word equal to q - 1 is not") {
  const std::size_t n = 64;
  Random random(14);
  const AesKey key = random_key(random, 16);
  for (std::uint64_t index = 0; index < 20; ++index) {
    const std::vector<std::uint64_t> words = keystream_words(key, index, n);
    for (std::size_t j = 0; j < n; ++j) {
      const std::uint64_t word = words[j] & isa::kResidueMask;
      if (word <= std::uint64_t{1} << 49) continue;  // a modulus is above 2^49
      for (const std::uint64_t q : {word, word + 1}) {
        const std::vector<std::uint64_t> expected = uniform(key, index, q, n);
        CHECK_EQ(expected[j] == word, q != word);
        on_every_level([&](const KernelTable& table) {
          AlignedWords out(n);
          table.expand_uniform(key, index, make_modulus(q), n, out.data());
          CHECK(std::vector<std::uint64_t>(out.begin(), out.end()) == expected);
        });
      }
    }
  }
}

TEST("expand and multiply: below 2q, congruent to residue times key slot") {
  Random random(12);
  for (const std::uint64_t q : moduli()) {
    const isa::Modulus modulus = make_modulus(q);
    for (const std::size_t n : {64, 128, 2048, 8192}) {
      for (const bool all_top : {false, true}) {
        const AesKey key = random_key(random, 16);
        const std::uint64_t index = random.next();
        AlignedWords slots(n), companions(n);
        for (std::size_t j = 0; j < n; ++j) {
          slots[j] = all_top ? q - 1 : random.edgy(q);
          companions[j] = shoup(slots[j], q);
        }
        const std::vector<std::uint64_t> residues = uniform(key, index, q, n);
        on_every_level([&](const KernelTable& table) {
          AlignedWords out(n);
          table.expand_multiply(key, index, modulus, n, slots.data(), companions.data(),
                                out.data());
          std::size_t wrong = 0;
          for (std::size_t j = 0; j < n; ++j) {
            wrong += out[j] >= 2 * q || out[j] % q != multiply_mod(residues[j], slots[j], q);
          }
          CHECK_EQ(wrong, 0u);
        });
      }
    }
  }
}

TEST("binomial samples: popcount difference of 21 and 21 bits") {
  Random random(13);
  std::vector<std::size_t> lengths;
  for (std::size_t n = 8; n <= 160; n += 8) lengths.push_back(n);
  lengths.insert(lengths.end(), {504, 512, 520, 1032, 2048, 16384});
  for (const std::size_t n : lengths) {
    const AesKey key = random_key(random, n % 16 == 0 ? 32 : 16);
    const std::uint64_t index = random.next();
    const std::vector<std::uint64_t> words = keystream_words(key, index, n);
    std::vector<std::int8_t> expected;
    for (const std::uint64_t word : words) {
      expected.push_back(static_cast<std::int8_t>(std::popcount(word & 0x1fffff) -
                                                  std::popcount((word >> 21) & 0x1fffff)));
    }
    on_every_level([&](const KernelTable& table) {
      std::vector<std::int8_t> out(n);
      table.sample_cbd(key, index, n, out.data());
      CHECK(out == expected);
    });
  }
}

}  // namespace
}  // namespace veilsum::test
