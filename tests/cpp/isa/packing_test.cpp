// Layer: tests (isa). Packed rows on every level: the bit layout, range checks at every position,
// and sums at the bounds their laziness rests on.
#include <algorithm>
#include <cstring>
#include <limits>
#include <vector>

#include "check.h"
#include "support/bytes.h"
#include "support/levels.h"
#include "support/modulus.h"
#include "support/random.h"

namespace veilsum::test {
namespace {

using isa::KernelTable;
using Words = std::vector<std::uint64_t>;

/// Bit by bit, from the sentence in kernels.h.
Bytes pack_by_bits(const Words& in) {
  Bytes out(in.size() / isa::kGroup * isa::kGroupBytes, 0);
  for (std::size_t bit = 0; bit < isa::kResidueBits * in.size(); ++bit) {
    const std::uint64_t value = in[bit / isa::kResidueBits] >> (bit % isa::kResidueBits) & 1;
    out[bit / 8] = static_cast<std::uint8_t>(out[bit / 8] | value << (bit % 8));
  }
  return out;
}

std::vector<std::size_t> lengths() {
  std::vector<std::size_t> all;
  for (std::size_t n = 8; n <= 136; n += 8) all.push_back(n);
  all.insert(all.end(), {504, 512, 520, 1016, 1024, 1032, 2048});
  return all;
}

Words random_words(Random& random, std::size_t n, std::uint64_t bound) {
  Words words(n);
  for (std::uint64_t& word : words) word = random.edgy(bound);
  return words;
}

TEST("pack and unpack: the layout, at every length and alignment") {
  Random random(21);
  for (const std::size_t n : lengths()) {
    for (const std::uint64_t q : test_primes()) {
      for (const std::size_t shift : {0, 1, 7}) {
        const Words words = random_words(random, n, q);
        const Bytes expected = pack_by_bits(words);
        on_every_level([&](const KernelTable& table) {
          // Exactly as long as needed, so that a sanitizer sees a stray access.
          Bytes packed(shift + expected.size(), 0xaa);
          table.pack(words.data(), n, packed.data() + shift);
          CHECK(Bytes(packed.begin() + static_cast<std::ptrdiff_t>(shift), packed.end()) ==
                expected);
          Words back(n);
          CHECK(table.unpack(packed.data() + shift, n, q, back.data()));
          CHECK(back == words);
        });
      }
    }
  }
}

TEST("unpack: one residue that is not below q is seen wherever it lies") {
  for (const std::uint64_t q : test_primes()) {
    for (const std::size_t n : {8, 16, 24, 64, 72}) {
      for (std::size_t position = 0; position < n; ++position) {
        for (const std::uint64_t bad : {q, q + 1, isa::kResidueMask}) {
          Words words(n, q - 1);
          words[position] = bad;
          const Bytes packed = pack_by_bits(words);
          on_every_level([&](const KernelTable& table) {
            Words back(n);
            CHECK(!table.unpack(packed.data(), n, q, back.data()));
          });
        }
      }
    }
  }
}

struct Sum {
  bool in_range;
  Words words;
};

Sum sum_packed(const KernelTable& table, const std::vector<const Bytes*>& rows,
               const Words* weights, std::uint64_t q) {
  std::vector<const std::uint8_t*> sources;
  for (const Bytes* row : rows) sources.push_back(row->data());
  Bytes out(rows[0]->size());
  isa::SumPacked args{};
  args.sources = sources.data();
  args.weights = weights == nullptr ? nullptr : weights->data();
  args.source_count = static_cast<std::uint32_t>(rows.size());
  args.coefficients = out.size() / isa::kGroupBytes * isa::kGroup;
  args.modulus = make_modulus(q);
  args.out = out.data();
  const bool in_range = table.sum_packed(args);
  Words words(args.coefficients);
  const bool canonical = isa::scalar_table()->unpack(out.data(), words.size(), q, words.data());
  if (in_range) CHECK(canonical);
  return {in_range, words};
}

TEST("sum: exact for a few sources, with and without weights, at every length") {
  Random random(22);
  for (const std::uint64_t q : test_primes()) {
    for (const std::size_t n : lengths()) {
      for (const std::size_t count : {1, 2, 3, 5, 10}) {
        std::vector<Bytes> rows;
        std::vector<const Bytes*> pointers;
        Words weights, plain(n, 0), weighted(n, 0);
        for (std::size_t k = 0; k < count; ++k) {
          const Words words = random_words(random, n, q);
          weights.push_back(random.edgy((1u << 20) / count));
          for (std::size_t j = 0; j < n; ++j) {
            plain[j] = (plain[j] + words[j]) % q;
            weighted[j] = (weighted[j] + multiply_mod(words[j], weights[k], q)) % q;
          }
          rows.push_back(pack_by_bits(words));
        }
        for (const Bytes& row : rows) pointers.push_back(&row);
        on_every_level([&](const KernelTable& table) {
          const Sum unit = sum_packed(table, pointers, nullptr, q);
          CHECK(unit.in_range);
          CHECK(unit.words == plain);
          const Sum scaled = sum_packed(table, pointers, &weights, q);
          CHECK(scaled.in_range);
          CHECK(scaled.words == weighted);
        });
      }
    }
  }
}

TEST("sum: the bounds, 8192 sources of q - 1 and weights of sum 2^20") {
  for (const std::uint64_t q : test_primes()) {
    const std::size_t n = 72;
    const Bytes top = pack_by_bits(Words(n, q - 1));
    const std::vector<const Bytes*> many(8192, &top), one(1, &top), two(2, &top);
    const Words spread(8192, 128), all{1u << 20}, halves{1u << 19, 1u << 19}, uneven{0, 1u << 20};
    const Words lazy(n, q - (std::uint64_t{1} << 20) % q), unit(n, q - 8192);
    on_every_level([&](const KernelTable& table) {
      const Sum plain = sum_packed(table, many, nullptr, q);
      CHECK(plain.in_range);
      CHECK(plain.words == unit);
      CHECK(sum_packed(table, many, &spread, q).words == lazy);
      CHECK(sum_packed(table, one, &all, q).words == lazy);
      CHECK(sum_packed(table, two, &halves, q).words == lazy);
      CHECK(sum_packed(table, two, &uneven, q).words == lazy);
    });
  }
}

TEST("sum: moduli next to where the way to reduce depends on the number of sources") {
  Random random(23);
  for (const std::size_t count : {3, 4, 10, 64, 127, 128, 300}) {
    // 2^50 mod q times the sources reaches what is left of q here.
    const std::uint64_t together = std::min<std::size_t>(count, 128);
    const std::uint64_t border = (std::uint64_t{1} << 50) / (together + 2) * (together + 1);
    for (const std::uint64_t q :
         {primes_below(border, 1)[0], primes_below(border + 1'000'000, 1)[0]}) {
      const std::size_t n = 72;
      std::vector<Bytes> rows;
      std::vector<const Bytes*> pointers;
      Words expected(n, 0);
      for (std::size_t k = 0; k < count; ++k) {
        Words words = random_words(random, n, q);
        for (std::size_t j = 0; j < n / 2; ++j) words[j] = q - 1 - j % 3;
        for (std::size_t j = 0; j < n; ++j) expected[j] = (expected[j] + words[j]) % q;
        rows.push_back(pack_by_bits(words));
      }
      for (const Bytes& row : rows) pointers.push_back(&row);
      on_every_level([&](const KernelTable& table) {
        const Sum sum = sum_packed(table, pointers, nullptr, q);
        CHECK(sum.in_range);
        CHECK(sum.words == expected);
      });
    }
  }
}

TEST("sum: a residue that is not below q is seen in any source and place") {
  for (const std::uint64_t q : test_primes()) {
    const std::size_t n = 24;
    const Bytes good = pack_by_bits(Words(n, q - 1));
    const Words weights{3, 0, 5};
    for (std::size_t position = 0; position < n; ++position) {
      for (std::size_t source = 0; source < 3; ++source) {
        for (const std::uint64_t value : {q, isa::kResidueMask}) {
          Words words(n, 0);
          words[position] = value;
          const Bytes bad = pack_by_bits(words);
          std::vector<const Bytes*> rows(3, &good);
          rows[source] = &bad;
          on_every_level([&](const KernelTable& table) {
            CHECK(!sum_packed(table, rows, nullptr, q).in_range);
            CHECK(!sum_packed(table, rows, &weights, q).in_range);
          });
        }
      }
    }
  }
}

TEST("sum: the output may be a source") {
  Random random(23);
  const std::uint64_t q = test_primes()[0];
  for (const std::size_t n : {8, 64, 512, 1032, 2048}) {
    const Words a = random_words(random, n, q), b = random_words(random, n, q);
    for (const bool weighted : {false, true}) {
      for (const std::size_t target : {0, 1}) {
        on_every_level([&](const KernelTable& table) {
          Bytes rows[2] = {pack_by_bits(a), pack_by_bits(b)};
          const std::uint8_t* sources[2] = {rows[0].data(), rows[1].data()};
          const std::uint64_t weights[2] = {7, 100};
          Words expected(n), out(n);
          for (std::size_t j = 0; j < n; ++j) {
            expected[j] = weighted ? (multiply_mod(a[j], 7, q) + multiply_mod(b[j], 100, q)) % q
                                   : (a[j] + b[j]) % q;
          }
          isa::SumPacked args{};
          args.sources = sources;
          args.weights = weighted ? weights : nullptr;
          args.source_count = 2;
          args.coefficients = n;
          args.modulus = make_modulus(q);
          args.out = rows[target].data();
          CHECK(table.sum_packed(args));
          table.unpack(rows[target].data(), n, q, out.data());
          CHECK(out == expected);
        });
      }
    }
  }
}

}  // namespace
}  // namespace veilsum::test
