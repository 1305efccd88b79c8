// Layer: tests (ring). Arithmetic of GF(p) against the compiler's 128-bit division, at the edges of
// both kinds of field; uniform elements against the keystream they are defined by, with primes that
// reject often; packing, and refusal of fields that hold no element.
#include "ring/prime_field.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "check.h"
#include "ring/primes.h"
#include "support/active_level.h"
#include "support/modulus.h"
#include "support/random.h"
#include "veilsum/errors.h"

namespace veilsum::test {
namespace {

using ring::PrimeField;

constexpr std::uint64_t kOne = 1;

std::uint64_t prime_from(std::uint64_t start, bool up) {
  while (!ring::is_prime(start)) start += up ? 1 : -kOne;
  return start;
}

/// Small ones, both sides of powers of two, the largest narrow and the smallest wide one, and the
/// tag's. Words hold two of them 32 and 8 times and a half: they reject one word in 65 and in 17.
std::vector<std::uint64_t> moduli() {
  std::vector<std::uint64_t> all{3, 5, 7, 11, 131, 257, 1031};
  all.push_back(ring::sharing_prime(ring::kMaxTotalWeight, 1));
  all.push_back(prime_from((kOne << 27) - 1, false));
  all.push_back(prime_from(kOne << 27, true));
  all.push_back(prime_from(kOne << 32, true));
  all.push_back(ring::kTagPrime);
  all.push_back(prime_from((kOne << 60) + 1, true));
  all.push_back(prime_from((kOne << 33) / 65, true));
  all.push_back(prime_from(~std::uint64_t{0} / 17 * 2, true));
  all.push_back(ring::kWideTagPrime);
  return all;
}

TEST("the primes") {
  CHECK_EQ(ring::sharing_prime(1, 1), 37u);
  CHECK_EQ(ring::sharing_prime(1, 32), 37u);
  CHECK_EQ(ring::sharing_prime(1, 37), 41u);  // above n, not from n on
  CHECK_EQ(ring::sharing_prime(10, 5), 331u);
  CHECK_EQ(ring::sharing_prime(1, 1024), 1031u);
  CHECK_EQ(ring::sharing_prime(32, 1024), 1031u);
  CHECK_EQ(ring::sharing_prime(ring::kMaxTotalWeight, ring::kMaxMembers), 33554467u);
  CHECK_THROWS_WITH(ring::sharing_prime(0, 1), ParameterError, "not 0");
  CHECK_THROWS(ring::sharing_prime(ring::kMaxTotalWeight + 1, 1), ParameterError);
  CHECK_THROWS(ring::sharing_prime(1, 0), ParameterError);
  CHECK_THROWS(ring::sharing_prime(1, ring::kMaxMembers + 1), ParameterError);
  for (std::uint64_t above = ring::kTagPrime + 1; above < kOne << 50; ++above) {
    CHECK(!ring::is_prime(above));
  }
}

TEST("what is no modulus") {
  for (const std::uint64_t p : {kOne * 0, kOne, kOne * 2, kOne * 9, (kOne << 50) - 1,
                                prime_from(kOne << 61, true), ~std::uint64_t{0}}) {
    CHECK_THROWS(PrimeField(p), ParameterError);
  }
}

TEST("arithmetic, at the edges") {
  Random random(1);
  for (const std::uint64_t p : moduli()) {
    const PrimeField field(p);
    CHECK_EQ(field.narrow(), p < kOne << 27);
    CHECK((p >> field.bits()) == 0 && (p >> (field.bits() - 1)) == 1);
    for (int i = 0; i < 3000; ++i) {
      const std::uint64_t a = random.edgy(p), b = random.edgy(p), any = random.next();
      for (const std::uint64_t x : {any, a, ~std::uint64_t{0}, any / p * p, any / p * p - 1}) {
        CHECK_EQ(field.reduce(x), x % p);
        CHECK_EQ(field.multiply(x, field.factor(b)), multiply_mod(x % p, b, p));
      }
      CHECK_EQ(field.add(a, b), (a + b) % p);
      CHECK_EQ(field.subtract(a, b), (a + p - b) % p);
      CHECK_EQ(field.multiply_public(a, b), multiply_mod(a, b, p));
      if (a != 0) CHECK_EQ(multiply_mod(a, field.inverse_public(a), p), 1u);
      const std::int64_t centred = field.centred(a);
      CHECK_EQ(field.from_signed(centred), a);
      CHECK(centred <= static_cast<std::int64_t>(p / 2));
      CHECK(-centred <= static_cast<std::int64_t>(p / 2));
    }
    const auto top = static_cast<std::int64_t>(p) - 1;
    CHECK_EQ(field.from_signed(top), p - 1);
    CHECK_EQ(field.from_signed(-top), 1u);
  }
}

TEST("sums of products of the largest elements do not overflow") {
  for (const std::uint64_t p : moduli()) {
    const PrimeField field(p);
    for (const std::size_t count : {1, 2, 3, 4, 5, 1023, 1024}) {
      constexpr std::size_t kColumns = 37;
      const std::vector<std::uint64_t> weights(count, p - 1), row(kColumns, p - 1);
      const std::vector<const std::uint64_t*> rows(count, row.data());
      std::vector<std::uint64_t> out(kColumns + 1, 99);
      ring::combine_rows(field, weights, rows, kColumns, out.data());
      for (std::size_t j = 0; j < kColumns; ++j) CHECK_EQ(out[j], count % p);  // (-1)^2 each
      CHECK_EQ(out[kColumns], 99u);
      const std::vector<std::uint32_t> half(kColumns, static_cast<std::uint32_t>(p - 1));
      const std::vector<const std::uint32_t*> half_rows(count, half.data());
      if (field.narrow()) {
        ring::combine_rows(field, weights, half_rows, kColumns, out.data());
        for (std::size_t j = 0; j < kColumns; ++j) CHECK_EQ(out[j], count % p);
      } else {
        CHECK_THROWS(ring::combine_rows(field, weights, half_rows, kColumns, out.data()),
                     ParameterError);
      }
    }
  }
  const std::vector<std::uint64_t> many(1025, 0);
  const std::vector<const std::uint64_t*> rows(1025, many.data());
  std::uint64_t out[1];
  CHECK_THROWS(ring::combine_rows(PrimeField(5), many, rows, 1, out), ParameterError);
  CHECK_THROWS(ring::combine_rows(PrimeField(5), std::span(many).first(2), rows, 1, out),
               ParameterError);
}

/// The definition, word by word.
std::vector<std::uint64_t> expected_uniform(const isa::AesKey& key, std::uint64_t index,
                                            std::uint64_t p, std::size_t count) {
  const std::size_t width = p < kOne << 27 ? 4 : 8;
  const Bytes stream = keystream(key, index, (4 * count + 64) * width);
  std::size_t used = count;
  const auto word = [&](std::size_t i) {
    std::uint64_t value = 0;
    std::memcpy(&value, stream.data() + i * width, width);
    return value;
  };
  const Uint128 whole = static_cast<Uint128>(1) << (8 * width);
  std::vector<std::uint64_t> out;
  for (std::size_t j = 0; j < count; ++j) {
    std::uint64_t value = word(j);
    while (value >= whole / p * p) value = word(used++);
    out.push_back(value % p);
  }
  return out;
}

TEST("uniform elements are the keystream's words, rejected ones replaced in order") {
  on_every_active_level([] {
    Random random(2);
    for (const std::uint64_t p : moduli()) {
      const PrimeField field(p);
      const isa::AesKey key = random_key(random, 32);
      for (const std::size_t count : {0, 1, 2, 3, 4, 5, 7, 8, 100, 2048}) {
        const auto out = ring::uniform_elements(field, key, count, count);
        CHECK(std::ranges::equal(out, expected_uniform(key, count, p, count)));
      }
    }
  });
  const isa::AesKey key{};
  std::uint32_t out[4];
  CHECK_THROWS(ring::uniform_elements_into(PrimeField(ring::kTagPrime), key, 0, 1, out),
               ParameterError);
}

TEST("packed elements come back, and what is no element is refused") {
  on_every_active_level([] {
    Random random(3);
    for (const std::uint64_t p : moduli()) {
      const PrimeField field(p);
      if (field.bits() > 52) {
        CHECK_THROWS(ring::packed_bytes(field, 8), ParameterError);
        continue;
      }
      CHECK_THROWS(ring::packed_bytes(field, 12), ParameterError);
      CHECK_EQ(ring::packed_bytes(field, 0), 0u);
      for (const std::size_t count : {8, 16, 2048}) {
        std::vector<std::uint64_t> elements(count), back(count);
        for (std::uint64_t& element : elements) element = random.edgy(p);
        Bytes packed(ring::packed_bytes(field, count));
        CHECK_EQ(packed.size(), count / 8 * field.bits());
        ring::pack_elements(field, elements, packed.data());
        ring::unpack_elements(field, packed, back);
        CHECK(elements == back);
        CHECK_THROWS(ring::unpack_elements(field, ByteView(packed).subspan(1), back),
                     WireFormatError);
        const std::size_t place = random.below(count);
        const std::uint64_t beyond[] = {p, (kOne << field.bits()) - 1};
        for (const std::uint64_t word : beyond) {
          std::vector<std::uint64_t> bad = elements;
          bad[place] = word;
          ring::pack_elements(field, bad, packed.data());
          CHECK_THROWS(ring::unpack_elements(field, packed, back), WireFormatError);
        }
      }
    }
  });
}

TEST("bounds") {
  constexpr std::int64_t kTop = (std::int64_t{1} << 62) - 1;
  for (const std::int64_t bound : {std::int64_t{0}, std::int64_t{8}, kTop}) {
    std::vector<std::int64_t> values(50, 0);
    const auto within = [&] { return ring::all_within(values, static_cast<std::uint64_t>(bound)); };
    CHECK(within());
    for (const std::size_t place : {0, 20, 49}) {
      for (const int sign : {1, -1}) {
        values[place] = sign * bound;
        CHECK(within());
        values[place] = sign * (bound + 1);
        CHECK(!within());
        values[place] = 0;
      }
    }
  }
  CHECK(ring::all_within({}, 0));
}

}  // namespace
}  // namespace veilsum::test
