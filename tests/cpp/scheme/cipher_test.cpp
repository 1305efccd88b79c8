// Layer: tests (scheme). An engine that lives elsewhere, as the rules see it: sums and differences
// of its blocks against integers of more than 64 bits, for words of any size; the shape of its
// blocks, the sizes of its uploads, and refusal of numbers out of range, at both edges.
#include "scheme/cipher.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "check.h"
#include "ring/sha256.h"
#include "scheme/block_sums.h"
#include "scheme/wire.h"
#include "support/random.h"
#include "support/toy_engine.h"
#include "veilsum/errors.h"

namespace veilsum::test {
namespace {

using scheme::Engine;
using scheme::kMaxTotalWeight;
using scheme::ResidueCipher;
using scheme::ResidueFields;
using scheme::Round;

__extension__ using Wide = unsigned __int128;

/// Rows of one word each, all numbers that matter: 2^64, the smallest, primes of 60 and 64 bits,
/// and composite numbers on both sides of 2^63.
const std::vector<std::uint64_t> kModuli = {0,
                                            1,
                                            2,
                                            3,
                                            kPrime60,
                                            (std::uint64_t{1} << 63) - 1,
                                            std::uint64_t{1} << 63,
                                            (std::uint64_t{1} << 63) + 1,
                                            kPrime64,
                                            ~std::uint64_t{0}};

ResidueCipher cipher_of(std::vector<std::uint64_t> moduli, std::uint64_t row_words,
                        std::uint64_t clients = kMaxTotalWeight) {
  ResidueFields fields = toy_fields({});
  fields.clients = clients;
  fields.max_weight = kMaxTotalWeight;
  fields.weight_bits = 20;
  fields.moduli = std::move(moduli);
  fields.row_words = row_words;
  return ResidueCipher(std::move(fields));
}

std::uint64_t reduced(Wide value, std::uint64_t q) {
  return static_cast<std::uint64_t>(q == 0 ? value : value % q);
}

/// A block of words that may be anything, the edges of its row's number among them.
std::vector<std::uint64_t> some_block(Random& random, std::uint64_t row_words) {
  std::vector<std::uint64_t> out;
  for (const std::uint64_t q : kModuli) {
    for (std::uint64_t i = 0; i < row_words; ++i) {
      const std::uint64_t edges[] = {0, 1, q - 1, q, q + 1, ~std::uint64_t{0}};
      out.push_back(random.below(2) == 0 ? random.next() : edges[random.below(6)]);
    }
  }
  return out;
}

const std::uint8_t* bytes_of(const std::vector<std::uint64_t>& words) {
  return reinterpret_cast<const std::uint8_t*>(words.data());
}

std::uint8_t* bytes_of(std::vector<std::uint64_t>& words) {
  return reinterpret_cast<std::uint8_t*>(words.data());
}

TEST("a sum is that of integers modulo each row's number, for words and weights of any size") {
  constexpr std::uint64_t kRowWords = 7;
  const ResidueCipher cipher = cipher_of(kModuli, kRowWords);
  const std::size_t bytes = cipher.full_block_bytes();
  CHECK_EQ(bytes, kModuli.size() * kRowWords * 8);
  Random random(1);
  for (const std::size_t count : {1u, 2u, 3u, 10u, 63u, 64u}) {
    for (int repeat = 0; repeat < 20; ++repeat) {
      std::vector<std::vector<std::uint64_t>> blocks;
      std::vector<const std::uint8_t*> sources;
      std::vector<std::uint64_t> weights;
      for (std::size_t k = 0; k < count; ++k) {
        blocks.push_back(some_block(random, kRowWords));
        weights.push_back(1 + random.edgy(kMaxTotalWeight));
      }
      for (const auto& block : blocks) sources.push_back(bytes_of(block));
      for (const bool weighted : {false, true}) {
        std::vector<std::uint64_t> expected;
        for (std::size_t at = 0; at < kModuli.size() * kRowWords; ++at) {
          Wide sum = 0;  // below 2^64 * 2^20 * 64
          for (std::size_t k = 0; k < count; ++k) {
            sum += Wide{blocks[k][at]} * (weighted ? weights[k] : 1);
          }
          expected.push_back(reduced(sum, kModuli[at / kRowWords]));
        }
        const std::vector<std::uint64_t> factors =
            weighted ? weights : std::vector<std::uint64_t>{};
        std::vector<std::uint64_t> out(expected.size(), 0x5a5a5a5a5a5a5a5au);
        cipher.sum_into(sources, factors, bytes, bytes_of(out));
        CHECK_EQ(out, expected);
        // In place of any source.
        const std::size_t which = random.below(count);
        const std::vector<std::uint64_t> before = blocks[which];
        cipher.sum_into(sources, factors, bytes, bytes_of(blocks[which]));
        CHECK_EQ(blocks[which], expected);
        blocks[which] = before;
      }
    }
  }
}

TEST("what is subtracted with its weight is exactly what was added") {
  constexpr std::uint64_t kRowWords = 9;
  const ResidueCipher cipher = cipher_of(kModuli, kRowWords);
  const std::size_t bytes = cipher.full_block_bytes();
  Random random(2);
  for (int repeat = 0; repeat < 200; ++repeat) {
    const std::vector<std::uint64_t> a = some_block(random, kRowWords),
                                     b = some_block(random, kRowWords);
    const std::uint64_t weight = repeat % 3 == 0 ? 1 : 1 + random.edgy(kMaxTotalWeight);
    std::vector<std::uint64_t> difference = a;
    cipher.subtract_into(bytes_of(b), weight, bytes, bytes_of(difference));
    for (std::size_t at = 0; at < a.size(); ++at) {
      const std::uint64_t q = kModuli[at / kRowWords];
      // difference + weight b = a, and it is reduced.
      CHECK(q == 0 || difference[at] < q);
      CHECK_EQ(reduced(Wide{difference[at]} + Wide{weight} * b[at], q), reduced(a[at], q));
    }
    std::vector<std::uint64_t> back(a.size());
    const std::uint8_t* const sources[] = {bytes_of(difference), bytes_of(b)};
    const std::uint64_t weights[] = {1, weight};
    cipher.sum_into(sources, weights, bytes, bytes_of(back));
    for (std::size_t at = 0; at < a.size(); ++at) {
      CHECK_EQ(back[at], reduced(a[at], kModuli[at / kRowWords]));
    }
    // A block less itself is zero, whatever its words are.
    std::vector<std::uint64_t> none = a;
    cipher.subtract_into(bytes_of(a), 1, bytes, bytes_of(none));
    CHECK(std::count(none.begin(), none.end(), 0u) == static_cast<std::ptrdiff_t>(none.size()));
  }
}

TEST("nothing is written beyond the block, also of one word") {
  for (const std::uint64_t row_words : {1u, 3u, 8u}) {
    const ResidueCipher cipher = cipher_of({kPrime60, 0}, row_words);
    std::vector<std::uint64_t> source(2 * row_words, 7), out(2 * row_words + 2, 99);
    const std::uint8_t* const sources[] = {bytes_of(source)};
    cipher.sum_into(sources, {}, cipher.full_block_bytes(), bytes_of(out) + 8);
    CHECK(out.front() == 99 && out.back() == 99);
    CHECK(std::count(out.begin(), out.end(), 7u) == static_cast<std::ptrdiff_t>(2 * row_words));
    cipher.subtract_into(bytes_of(source), 1, cipher.full_block_bytes(), bytes_of(out) + 8);
    CHECK(out.front() == 99 && out.back() == 99);
    CHECK(std::count(out.begin(), out.end(), 0u) == static_cast<std::ptrdiff_t>(2 * row_words));
  }
}

TEST("blocks of more uploads than are taken at once, with any number of threads") {
  const scheme::SecretKey key = make_toy_key();
  for (const std::uint8_t moduli : {std::uint8_t{0}, std::uint8_t{1}, std::uint8_t{2}}) {
    ToyShape shape;
    shape.clients = 500;
    shape.weight_bits = 11;
    shape.moduli = moduli;
    for (const std::uint64_t size : {1u, 7u, 8u, 100u}) {
      const Round round = make_toy_round(shape, key, fields_of({{size, 1.0}}));
      for (const std::size_t count : {1u, 63u, 64u, 65u, 127u, 128u, 130u, 200u}) {
        std::vector<Bytes> blocks;
        std::vector<const std::uint8_t*> sources;
        std::vector<std::uint64_t> weights;
        for (std::size_t k = 0; k < count; ++k) {
          blocks.push_back(toy_blocks(round, k));
          weights.push_back(k % 9 == 0 ? 1 : 1 + (k * 7919) % 2048);
        }
        weights.back() = 500 * 2048;  // the maximum, though with the others it is beyond it
        std::vector<ByteView> views(blocks.begin(), blocks.end());
        for (const Bytes& block : blocks) sources.push_back(block.data());
        for (const bool weighted : {false, true}) {
          const std::vector<std::uint64_t> factors =
              weighted ? weights : std::vector<std::uint64_t>(count, 1);
          const Bytes expected =
              toy_sum(round, toy_moduli()[moduli], shape.row_words, views, factors);
          for (const int threads : {0, 1, 2, 5}) {
            Bytes out(expected.size(), 0x5a);
            scheme::sum_blocks(round, sources, factors, threads, out.data());
            CHECK(out == expected);
            if (weighted) continue;
            scheme::sum_blocks(round, sources, {}, threads, out.data());
            CHECK(out == expected);
          }
          // A block at a time, and one of them taken out again.
          Bytes out(expected.size());
          scheme::RowScratch scratch;
          for (std::uint64_t block = 0; block < round.blocks(); ++block) {
            std::vector<const std::uint8_t*> at = sources;
            for (const std::uint8_t*& source : at) source += round.block_offset(block);
            std::uint8_t* const to = out.data() + round.block_offset(block);
            scheme::sum_block(round, block, at, factors, scratch, to);
            scheme::subtract_block(round, block, at.back(), factors.back(), to);
          }
          views.pop_back();
          CHECK(out == toy_sum(round, toy_moduli()[moduli], shape.row_words, views,
                               {factors.begin(), factors.end() - 1}));
          views.emplace_back(blocks.back());
        }
      }
    }
  }
}

TEST("every block is a full one, and a round has no check blocks") {
  const scheme::SecretKey key = make_toy_key();
  const auto cipher = toy_cipher();  // blocks of 4 rows of 5 words, 7 values each
  CHECK_EQ(cipher->full_block_bytes(), 160u);
  CHECK_EQ(cipher->block_capacity(), 7u);
  for (const std::uint64_t values : {1u, 6u, 7u}) CHECK_EQ(cipher->block_bytes(values), 160u);
  for (const std::uint64_t size : {1u, 6u, 7u, 8u, 14u, 15u, 700u, 701u}) {
    const std::uint64_t blocks = (size + 6) / 7;
    const Round round = make_toy_round(key, size);
    CHECK_EQ(cipher->block_count(size), blocks);
    CHECK_EQ(cipher->payload_bytes(size), 160 * blocks);
    CHECK_EQ(round.value_blocks(), blocks);
    CHECK_EQ(round.blocks(), blocks);
    CHECK_EQ(round.check_blocks(), 0u);
    CHECK_EQ(round.upload_keys(), 0u);
    CHECK_EQ(round.payload_bytes(), 160 * blocks);
    std::uint64_t values = 0;
    for (std::uint64_t block = 0; block < blocks; ++block) {
      CHECK_EQ(round.block_offset(block), 160 * block);
      CHECK_EQ(round.block_bytes(block), 160u);
      values += round.block_values(block);
    }
    CHECK_EQ(values, size);
    CHECK_EQ(round.block_offset(blocks), round.payload_bytes());
    // Header, round id, flag, clip count, nonce, digest, length, blocks, checksum.
    const std::uint64_t bare = 16 + 32 + 1 + 8 + 16 + 32 + 8 + 160 * blocks + 4;
    CHECK_EQ(scheme::upload_bytes(round, scheme::SignatureKind::kNone), bare);
    CHECK_EQ(scheme::upload_bytes(round, scheme::SignatureKind::kEd25519), bare + 100);
    CHECK_EQ(scheme::upload_head_bytes(round, scheme::SignatureKind::kNone),
             16u + 32 + 1 + 8 + 16 + 32 + 8);
    CHECK_EQ(scheme::head_bytes(round, scheme::SignatureKind::kNone), 1u + 8 + 16 + 32);
    CHECK_EQ(scheme::head_bytes(round, scheme::SignatureKind::kEd25519), 1u + 8 + 16 + 32 + 100);
    CHECK_EQ(scheme::head_bytes(round, scheme::SignatureKind::kPostQuantum),
             1u + 8 + 16 + 32 + 100 + 3309);
    CHECK_EQ(make_toy_upload(round, 1).wire_bytes(), bare);
    CHECK_EQ(make_toy_upload(round, 1).to_bytes().size(), bare);
  }
}

TEST("the cipher says what it was made of") {
  ToyShape shape;
  shape.clients = 12;
  shape.weight_bits = 3;
  const ResidueFields fields = toy_fields(shape);
  const ResidueCipher cipher{ResidueFields(fields)};
  CHECK(cipher.engine() == Engine::kPlain);
  CHECK_EQ(cipher.clients(), 12u);
  CHECK_EQ(cipher.weight_bits(), 3u);
  CHECK_EQ(cipher.max_weight(), 96u);
  CHECK_EQ(cipher.part_bytes(), 32u);
  CHECK(cipher.part_is_blocks_digest());
  CHECK(cipher.sum_ns() > 0);
  ByteWriter out;
  cipher.write_fields(out);
  CHECK_EQ(out.bytes(), fields.fields);
  CHECK(cipher.id() == ring::labelled_hash("veilsum/2/plan", {fields.fields}));
  CHECK(cipher == *toy_cipher(shape));
  CHECK(!(cipher == *toy_cipher()));
  // The native plan's id is made in the same way, of its own fields.
  const scheme::Plan plan = make_plan(12, 16, 3);
  ByteWriter own;
  plan.write_fields(own);
  CHECK(plan.id() == ring::labelled_hash("veilsum/2/plan", {own.bytes()}));
  CHECK_EQ(own.bytes()[0], 1);
  CHECK(!(static_cast<const scheme::Cipher&>(plan) == cipher));
}

TEST("engines have names for messages") {
  CHECK_EQ(scheme::engine_name(Engine::kNative), "native");
  CHECK_EQ(scheme::engine_name(Engine::kOpenFhe), "openfhe");
  CHECK_EQ(scheme::engine_name(Engine::kPlain), "plain");
  CHECK_EQ(scheme::engine_name(static_cast<Engine>(7)), "number 7");
  CHECK_EQ(scheme::engine_name(static_cast<Engine>(0)), "number 0");
}

TEST("there are no upload keys, whatever is asked for") {
  const auto cipher = toy_cipher();
  const scheme::SecretKey key = make_toy_key();
  for (const std::uint64_t values : {std::uint64_t{1}, std::uint64_t{1} << 40}) {
    CHECK_EQ(cipher->default_upload_keys(values), 0u);
    cipher->check_upload_keys(values, 0);
  }
  for (const std::uint64_t keys : {std::uint64_t{1}, std::uint64_t{8}, ~std::uint64_t{0}}) {
    CHECK_THROWS_WITH(cipher->check_upload_keys(5, keys), ParameterError, "has no upload keys");
    CHECK_THROWS_WITH(make_toy_round({}, key, fields_of({{5, 1.0}}, keys)), ParameterError,
                      "has no upload keys");
  }
}

TEST("numbers out of range are refused, and their neighbours taken") {
  const auto make = [](auto change) {
    ResidueFields fields = toy_fields({});
    change(fields);
    return ResidueCipher(std::move(fields)).full_block_bytes();
  };
  using F = ResidueFields;
  make([](F&) {});
  CHECK_THROWS_WITH(make([](F& f) {
                      f.engine = Engine::kNative;
                      f.fields[0] = 1;
                    }),
                    ParameterError, "native");
  CHECK_THROWS_WITH(make([](F& f) { f.fields.pop_back(); }), ParameterError, "16 bytes");
  CHECK_THROWS_WITH(make([](F& f) { f.fields.push_back(0); }), ParameterError, "16 bytes");
  CHECK_THROWS_WITH(make([](F& f) { f.fields.clear(); }), ParameterError, "16 bytes");
  CHECK_THROWS_WITH(make([](F& f) { f.fields[0] = 2; }), ParameterError, "engine's number");
  make([](F& f) {
    f.engine = Engine::kOpenFhe;
    f.fields[0] = 2;
  });
  for (const std::uint64_t clients : {0ull, 1ull, 11ull, (1ull << 20) + 1, (1ull << 32) + 10}) {
    CHECK_THROWS_WITH(make([&](F& f) { f.clients = clients; }), ParameterError,
                      "clients = " + std::to_string(clients));  // 10 is the greatest total weight
  }
  make([](F& f) { f.clients = 2; });
  make([](F& f) { f.clients = f.max_weight = 1u << 20; });
  for (const std::uint64_t weight :
       {std::uint64_t{0}, std::uint64_t{9}, (std::uint64_t{1} << 20) + 1, std::uint64_t{1} << 40}) {
    CHECK_THROWS_WITH(make([&](F& f) { f.max_weight = weight; }), ParameterError,
                      "max_weight = " + std::to_string(weight));
  }
  make([](F& f) { f.weight_bits = 20; });
  CHECK_THROWS(make([](F& f) { f.weight_bits = 21; }), ParameterError);
  CHECK_THROWS(make([](F& f) { f.weight_bits = std::uint64_t{1} << 32; }), ParameterError);
  for (const std::uint64_t words : {std::uint64_t{0}, (std::uint64_t{1} << 20) + 1,
                                    ~std::uint64_t{0}, std::uint64_t{1} << 61}) {
    CHECK_THROWS_WITH(make([&](F& f) { f.row_words = words; }), ParameterError, "256 rows");
  }
  make([](F& f) { f.row_words = 1; });
  CHECK_EQ(make([](F& f) {
             f.row_words = 1u << 20;
             f.moduli.assign(256, 0);
           }),
           std::size_t{1} << 31);
  CHECK_THROWS_WITH(make([](F& f) { f.moduli.clear(); }), ParameterError, "256 rows");
  CHECK_THROWS_WITH(make([](F& f) { f.moduli.assign(257, 0); }), ParameterError, "256 rows");
  CHECK_THROWS(make([](F& f) { f.block_values = 0; }), ParameterError);
  CHECK_THROWS(make([](F& f) { f.block_values = (std::uint64_t{1} << 28) + 1; }), ParameterError);
  make([](F& f) { f.block_values = std::uint64_t{1} << 28; });
}

TEST("a round whose blocks would wrap around 2^64 is refused, and none near it") {
  const scheme::SecretKey key = make_toy_key();
  ResidueFields fields = toy_fields({});
  fields.moduli.assign(256, 0);
  fields.row_words = 1u << 20;  // 2^31 bytes a block ...
  fields.block_values = 1;      // ... for a single value
  const auto cipher = std::make_shared<const ResidueCipher>(std::move(fields));
  const auto round_of = [&](std::uint64_t size) {
    return Round(cipher, key.public_key(), fields_of({{size, 1.0}}), bytes32(1)).payload_bytes();
  };
  CHECK_EQ(round_of(std::uint64_t{1} << 31), std::uint64_t{1} << 62);
  for (const std::uint64_t size : {(std::uint64_t{1} << 31) + 1, std::uint64_t{1} << 33,
                                   (std::uint64_t{1} << 33) + 1, std::uint64_t{1} << 40}) {
    CHECK_THROWS_WITH(round_of(size), ParameterError, "above 2^62 bytes");
  }
}

}  // namespace
}  // namespace veilsum::test
