// Layer: tests (ring). The sum tag's field, hash and masks: linear, sensitive to every digit and
// place, the same for any order of blocks and any level; keys as the wire format says.
#include "ring/tag_hash.h"

#include <algorithm>
#include <cstring>
#include <set>
#include <vector>

#include "check.h"
#include "isa/aes_key.h"
#include "ring/modular.h"
#include "ring/primes.h"
#include "ring/sha256.h"
#include "support/active_level.h"
#include "support/random.h"
#include "veilsum/errors.h"

namespace veilsum::test {
namespace {

using ring::TagField;
using ring::TagHash;
using ring::TagSum;

Seed seed_of(std::uint8_t fill) {
  std::array<std::uint8_t, 32> bytes;
  bytes.fill(fill);
  return Seed(bytes);
}

// Bases of the wire format's plans, the smallest one, and the ends of both fields.
constexpr std::uint64_t kBases[] = {2,
                                    46,
                                    2551,
                                    655351,
                                    (1u << 25),
                                    std::uint64_t{1} << 32,
                                    isa::kTagPrime50 - 1,
                                    isa::kTagPrime50,
                                    std::uint64_t{1} << 52};

TEST("the primes are primes, and the smaller one is the largest below 2^50") {
  CHECK(ring::is_prime(isa::kTagPrime50));
  CHECK(ring::is_prime(isa::kTagPrime61));
  for (std::uint64_t n = isa::kTagPrime50 + 1; n < std::uint64_t{1} << 50; ++n) {
    CHECK(!ring::is_prime(n));
  }
}

TEST("a plan's field and words: the largest g with t^g below P") {
  for (const std::uint64_t base : kBases) {
    const TagField field(base);
    CHECK_EQ(field.prime(), base < isa::kTagPrime50 ? isa::kTagPrime50 : isa::kTagPrime61);
    ring::uint128 power = 1;
    for (std::uint32_t i = 0; i < field.digits_per_word(); ++i) power *= base;
    CHECK(power < field.prime());
    CHECK(power * base >= field.prime());
  }
  CHECK_THROWS(TagField(1), ParameterError);
  CHECK_THROWS(TagField((std::uint64_t{1} << 52) + 1), ParameterError);
}

TEST("arithmetic modulo P, at the edges and inside") {
  for (const std::uint64_t base : {std::uint64_t{655351}, std::uint64_t{1} << 51}) {
    const TagField field(base);
    const std::uint64_t p = field.prime();
    Random random(base);
    for (int i = 0; i < 20000; ++i) {
      const std::uint64_t a = random.edgy(p), b = random.edgy(p);
      CHECK_EQ(field.add(a, b), (a + b) % p);
      CHECK_EQ(field.subtract(a, b), (a + p - b) % p);
      CHECK_EQ(field.multiply(a, b), ring::mul_mod(a, b, p));
    }
  }
}

TEST("an element is the first word below P") {
  for (const std::uint64_t base : {std::uint64_t{655351}, std::uint64_t{1} << 51}) {
    const TagField field(base);
    const std::uint64_t p = field.prime();
    const std::uint64_t end =
        p == isa::kTagPrime50 ? std::uint64_t{1} << 50 : std::uint64_t{1} << 61;
    const auto element = [&](std::uint64_t first, std::uint64_t second) {
      std::uint8_t block[16];
      std::memcpy(block, &first, 8);
      std::memcpy(block + 8, &second, 8);
      return field.element(block);
    };
    CHECK_EQ(element(0, 5), 0u);
    CHECK_EQ(element(p - 1, 5), p - 1);
    CHECK_EQ(element(p, 5), 5u);
    CHECK_EQ(element(end - 1, p - 1), p - 1);
    CHECK_EQ(element(end - 1, p), 0u);
    CHECK_EQ(element(end - 1, end - 1), end - 1 - p);
    CHECK_EQ(element(end, 5), 0u);  // bits above do not count
    CHECK_EQ(element(~std::uint64_t{0}, end + 7), 7u);
  }
}

/// A vector's digits: blocks of rows.
struct Digits {
  Digits(std::uint64_t base, std::uint32_t digits, std::vector<std::size_t> sizes,
         std::uint64_t seed)
      : t(base), count(digits), coefficients(std::move(sizes)) {
    Random random(seed);
    for (const std::size_t c : coefficients) {
      blocks.emplace_back(digits * c);
      for (std::uint64_t& digit : blocks.back()) digit = random.edgy(t);
    }
  }
  std::uint64_t t;
  std::uint32_t count;
  std::vector<std::size_t> coefficients;
  std::vector<std::vector<std::uint64_t>> blocks;
};

TagSum hash_of(const TagHash& hash, const Digits& digits, bool backwards = false) {
  TagSum sum(hash.field());
  for (std::size_t i = 0; i < digits.blocks.size(); ++i) {
    const std::size_t b = backwards ? digits.blocks.size() - 1 - i : i;
    hash.add_block(b, {nullptr, digits.blocks[b].data(), digits.coefficients[b]},
                   digits.coefficients[b], sum);
  }
  return sum;
}

const std::vector<std::size_t> kSizes = {4096, 4096, 2056, 8};

TEST("linear, weights included; zero digits hash to zero") {
  on_every_active_level([] {
    for (const std::uint64_t t : {std::uint64_t{655351}, std::uint64_t{1} << 51}) {
      const TagHash hash(t, 3, seed_of(1));
      Digits total(t, 3, kSizes, 1);
      for (auto& block : total.blocks) std::fill(block.begin(), block.end(), 0);
      CHECK(hash_of(hash, total).equals(TagSum(hash.field())));
      TagSum expected(hash.field());
      for (const std::uint64_t weight : {1u, 5u, 17u}) {
        const Digits each((t - 1) / 23 + 1, 3, kSizes, weight);
        for (std::size_t b = 0; b < kSizes.size(); ++b) {
          for (std::size_t i = 0; i < total.blocks[b].size(); ++i) {
            total.blocks[b][i] += weight * each.blocks[b][i];
          }
        }
        expected.add_weighted(hash_of(hash, each), weight);
      }
      CHECK(hash_of(hash, total).equals(expected));
    }
  });
}

TEST("one digit more, anywhere, changes both values") {
  const TagHash hash(655351, 3, seed_of(2));
  Digits digits(655350, 3, kSizes, 3);
  const TagSum before = hash_of(hash, digits);
  Random random(4);
  for (int i = 0; i < 200; ++i) {
    const std::size_t b = random.below(kSizes.size());
    const std::size_t at = random.below(digits.blocks[b].size());
    ++digits.blocks[b][at];
    const TagSum after = hash_of(hash, digits);
    for (std::size_t e = 0; e < 2; ++e) CHECK(after.values()[e] != before.values()[e]);
    --digits.blocks[b][at];
  }
}

TEST("the same for blocks in any order and on every level, for narrow and wide rows") {
  const TagHash hash(655351, 5, seed_of(5));
  const Digits digits(655351, 5, kSizes, 6);
  const TagSum expected = hash_of(hash, digits);
  on_every_active_level([&] {
    CHECK(hash_of(hash, digits, true).equals(expected));
    TagSum narrow(hash.field());
    for (std::size_t b = 0; b < kSizes.size(); ++b) {
      const std::vector<std::uint32_t> rows(digits.blocks[b].begin(), digits.blocks[b].end());
      hash.add_block(b, {rows.data(), nullptr, kSizes[b]}, kSizes[b], narrow);
    }
    CHECK(narrow.equals(expected));
  });
}

TEST("more runs in a block than multipliers are made at once") {
  // t = 3 has words of 31 digits: 96 digits are four words, 16384 coefficients eight parts.
  const TagHash hash(3, 96, seed_of(7));
  CHECK_EQ(hash.words_per_coefficient(), 4u);
  const Digits digits(3, 96, {16384}, 8);
  const TagSum expected = hash_of(hash, digits);
  // The same by single digits, of which run r = p S + s has its own multiplier.
  TagSum by_runs(hash.field());
  for (std::size_t run = 0; run < 32; ++run) {
    Digits part(3, 96, {16384}, 8);
    for (std::size_t d = 0; d < 96; ++d) {
      for (std::size_t i = 0; i < 16384; ++i) {
        if (d / 31 * 8 + i / 2048 != run) part.blocks[0][d * 16384 + i] = 0;
      }
    }
    by_runs.add(hash_of(hash, part));
  }
  CHECK(by_runs.equals(expected));
}

TEST("keys: round, client and nonce each change a mask, the round changes the hash") {
  const Digest id_a = ring::labelled_hash("a", {}), id_b = ring::labelled_hash("b", {});
  const Seed group = seed_of(9);
  const Seed a = ring::tag_round_key(id_a, group.span());
  const Seed b = ring::tag_round_key(id_b, group.span());
  const Digest expected = ring::labelled_hash("veilsum/2/tag-round", {id_a, group.span()});
  CHECK(std::memcmp(a.data(), expected.data(), 32) == 0);
  CHECK_THROWS(ring::tag_round_key(id_a, group.span().first(31)), ParameterError);

  const TagField field(655351);
  std::set<TagSum::Values> seen;
  std::array<std::uint8_t, 16> nonce{};
  for (const Seed* key : {&a, &b}) {
    for (const std::uint32_t client : {0u, 1u, 1u << 31}) {
      for (const std::uint8_t last : {std::uint8_t{0}, std::uint8_t{1}}) {
        nonce[15] = last;
        seen.insert(ring::tag_mask(field, *key, client, nonce).values());
      }
    }
  }
  CHECK_EQ(seen.size(), 12u);
  const Digits digits(655351, 2, {64}, 10);
  CHECK(!hash_of(TagHash(655351, 2, a), digits).equals(hash_of(TagHash(655351, 2, b), digits)));
}

TEST("tag minus mask is the hash; fields do not mix") {
  const TagHash hash(655351, 2, seed_of(11));
  const TagSum value = hash_of(hash, Digits(655351, 2, {64}, 12));
  const TagSum mask = ring::tag_mask(hash.field(), seed_of(11), 3, {});
  TagSum tag = value;
  tag.add(mask);
  CHECK(!tag.equals(value));
  tag.subtract(mask);
  CHECK(tag.equals(value));

  const TagField other(std::uint64_t{1} << 51);
  TagSum wrong(other);
  CHECK_THROWS_WITH(wrong.add(tag), ParameterError, "do not add up");
  CHECK_THROWS_WITH(wrong.subtract(tag), ParameterError, "do not add up");
  CHECK_THROWS_WITH(wrong.add_weighted(tag, 1), ParameterError, "do not add up");
  CHECK(!wrong.equals(TagSum(hash.field())));
  const std::vector<std::uint32_t> rows(16, 0);
  CHECK_THROWS(hash.add_block(0, {rows.data(), nullptr, 8}, 8, wrong), ParameterError);
  CHECK_THROWS(TagSum(hash.field(), {0, isa::kTagPrime50}), ParameterError);
  CHECK_THROWS(TagSum(hash.field()).add_weighted(tag, isa::kTagPrime50), ParameterError);
}

TEST("numbers out of range are refused") {
  CHECK_THROWS(TagHash(1, 2, seed_of(1)), ParameterError);
  CHECK_THROWS(TagHash(655351, 0, seed_of(1)), ParameterError);
  CHECK_THROWS(TagHash(655351, 97, seed_of(1)), ParameterError);
  const TagHash hash(655351, 1, seed_of(1));
  const std::vector<std::uint32_t> rows(1 << 16, 0);
  TagSum sum(hash.field());
  const ring::ConstDigitRows view{rows.data(), nullptr, rows.size()};
  hash.add_block((std::uint64_t{1} << 48) - 1, view, 1 << 15, sum);
  hash.add_block(0, view, 0, sum);
  CHECK(sum.equals(TagSum(hash.field())));
  CHECK_THROWS(hash.add_block(std::uint64_t{1} << 48, view, 8, sum), ParameterError);
  CHECK_THROWS(hash.add_block(0, view, 4, sum), ParameterError);
  CHECK_THROWS(hash.add_block(0, view, (1 << 15) + 8, sum), ParameterError);
}

TEST("a hash's value is wiped") {
  alignas(TagSum) std::uint8_t memory[sizeof(TagSum)];
  const TagField field(655351);
  TagSum* sum = new (memory) TagSum(field, {0x0123456789abcu, 0x0fedcba987654u});
  std::size_t at = 0;
  const std::uint64_t value = 0x0123456789abcu;
  while (at + 8 <= sizeof memory && std::memcmp(memory + at, &value, 8) != 0) ++at;
  CHECK(at + 16 <= sizeof memory);
  sum->~TagSum();
  std::size_t left = 0;
  for (std::size_t i = at; i < at + 16 && i < sizeof memory; ++i) left += memory[i] != 0;
  CHECK_EQ(left, 0u);
}

}  // namespace
}  // namespace veilsum::test
