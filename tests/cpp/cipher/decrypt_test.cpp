// Layer: tests (cipher). What decryption refuses: keys of other sums, and blocks that are not the
// sum that the key opens - a check block one unit beyond its bound, a value out of range, blocks of
// other uploads, keys that are wrong by one, blocks that the key is not bound to. Then no value
// leaves. And the same numbers from decrypting a few blocks at a time.
#include "cipher/decrypt.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "check.h"
#include "cipher/block_decryptor.h"
#include "support/active_level.h"
#include "support/committees.h"
#include "support/tampering.h"
#include "support/updates.h"
#include "veilsum/errors.h"

namespace veilsum::test {
namespace {

using cipher::DecryptOptions;
using scheme::Plan;
using scheme::Round;
using scheme::SecretKey;
using scheme::Upload;

/// Uploads of random updates, and sums of them.
struct World {
  Plan plan;
  SecretKey key = make_key();
  Round round;
  std::vector<Upload> uploads;

  World(const Plan& of, std::uint64_t size, std::uint64_t upload_keys, std::size_t count = 2)
      : plan(of),
        round(make_round(plan, key,
                         fields_of({{size / 3, 0.5}, {size - size / 3, 2.0}}, upload_keys))) {
    for (std::size_t k = 0; k < count; ++k) {
      uploads.push_back(cipher::encrypt_with_seeds(round, pieces_of(random_update(round, k)), {},
                                                   kSealer, seeds_of(k)));
    }
  }
  HandMadeSum sum(const std::vector<std::size_t>& which,
                  std::vector<std::uint64_t> weights = {}) const {
    std::vector<const Upload*> chosen;
    for (const std::size_t k : which) chosen.push_back(&uploads[k]);
    if (weights.empty()) weights.assign(which.size(), 1);
    return sum_by_hand(key, round, chosen, weights);
  }
};

constexpr double kUntouched = 7.0;

/// Of whatever blocks there are: the key is bound to them.
std::vector<double> decrypt(const HandMadeSum& sum, int threads = 1) {
  std::vector<double> out(sum.manifest.round().size(), kUntouched);
  DecryptOptions options;
  options.type = ElementType::kFloat64;
  options.threads = threads;
  cipher::decrypt(rebound(sum.key, sum.blocks), sum.manifest, sum.blocks, options, out.data());
  return out;
}

/// The blocks are refused as tampered with, and the caller's memory holds zeros, whatever the type
/// and the number of threads.
void check_refused(const scheme::SumKey& key, const HandMadeSum& sum) {
  for (const int threads : {1, 3}) {
    for (const ElementType type : {ElementType::kFloat32, ElementType::kFloat64}) {
      DecryptOptions options;
      options.type = type;
      options.threads = threads;
      Bytes out(sum.manifest.round().size() * cipher::element_bytes(type), 0x5a);
      CHECK_THROWS_WITH(cipher::decrypt(key, sum.manifest, sum.blocks, options, out.data()),
                        TamperedSumError, "no value is given out");
      CHECK_EQ(static_cast<std::size_t>(std::count(out.begin(), out.end(), 0)), out.size());
    }
  }
}

/// The same, and it is not the key's binding to its blocks that refuses them.
void check_refused(const HandMadeSum& sum) { check_refused(rebound(sum.key, sum.blocks), sum); }

TEST("keys of other sums decrypt nothing, and touch nothing") {
  const World world(make_plan(10, 16), 100, 1, 3);
  const Round other_round = make_round(world.plan, world.key, fields_of({{100, 1.0}}), 2);
  const Update update = random_update(other_round, 1);
  const Upload foreign_a =
      cipher::encrypt_with_seeds(other_round, pieces_of(update), {}, kSealer, seeds_of(1));
  const Upload foreign_b =
      cipher::encrypt_with_seeds(other_round, pieces_of(update), {}, kSealer, seeds_of(2));
  const HandMadeSum pair = world.sum({0, 1}), all = world.sum({0, 1, 2});
  const HandMadeSum foreign = sum_by_hand(world.key, other_round, {&foreign_a, &foreign_b}, {1, 1});
  std::vector<double> out(100, kUntouched);
  DecryptOptions options;
  options.type = ElementType::kFloat64;
  const auto decrypt_with = [&](const HandMadeSum& key_of, const HandMadeSum& sum) {
    cipher::decrypt(key_of.key, sum.manifest, sum.blocks, options, out.data());
  };
  CHECK_THROWS_WITH(decrypt_with(foreign, pair), KeyMismatchError, short_hex(other_round.id()));
  CHECK_THROWS_WITH(decrypt_with(all, pair), KeyMismatchError, "another set of uploads");
  CHECK_THROWS(decrypt_with(pair, all), KeyMismatchError);
  for (const ElementType type : {ElementType::kFloat16, ElementType::kBfloat16}) {
    options.type = type;
    CHECK_THROWS_WITH(decrypt_with(pair, pair), ParameterError, "float32 or float64");
  }
  for (const double value : out) CHECK_EQ(value, kUntouched);
  options.type = ElementType::kFloat64;
  CHECK_THROWS(cipher::BlockDecryptor(all.key, pair.manifest, options), KeyMismatchError);
  decrypt_with(pair, pair);
}

TEST(
    "blocks decrypted a few at a time, by any scratch, in any order, give the numbers of the "
    "whole") {
  for (const Plan& plan :
       {make_plan(10, 16), make_plan(2, 32), make_plan(10, 16, 4, 128, "n4096")}) {
    for (const std::uint64_t upload_keys : {1u, 2u, 3u, 8u}) {
      const World world(plan, 5 * plan.block_capacity() + 9, upload_keys);
      const Round& round = world.round;
      const HandMadeSum sum = world.sum({0, 1});
      const std::vector<double> expected = decrypt(sum);
      DecryptOptions options;
      options.type = ElementType::kFloat64;
      const cipher::BlockDecryptor decryptor(sum.key, sum.manifest, options);
      cipher::BlockDecryptor::Scratch one(decryptor), two(decryptor);
      for (std::uint64_t step = 1; step <= round.blocks(); step += 1 + step / 3) {
        std::vector<double> out(round.size(), kUntouched);
        cipher::SumHashes some(sum.key, options), others(sum.key, options);
        for (std::uint64_t steps = (round.blocks() + step - 1) / step; steps-- > 0;) {
          const std::uint64_t first = steps * step;
          const std::uint64_t count = std::min(step, round.blocks() - first);
          const auto from = static_cast<std::size_t>(round.block_offset(first));
          const auto to = static_cast<std::size_t>(round.block_offset(first + count));
          const std::uint64_t value = std::min(first * plan.block_capacity(), round.size());
          decryptor.decrypt(first, count, ByteView(sum.blocks).subspan(from, to - from),
                            steps % 2 == 0 ? one : two,
                            reinterpret_cast<std::uint8_t*>(out.data() + value),
                            steps % 3 == 0 ? &some : &others);
        }
        some.add(others);
        CHECK(some.any());
        CHECK(some.hold(sum.key, options));
        CHECK(std::memcmp(out.data(), expected.data(), out.size() * sizeof(double)) == 0);
      }
    }
  }
}

TEST("check blocks: the bound is allowed, one more is not, in any place under any key") {
  for (const Plan& plan :
       {make_plan(10, 16), make_plan(2, 2), make_plan(5, 8, 3, 192, "n4096q48")}) {
    for (const std::uint64_t upload_keys : {1u, 2u, 3u}) {
      const World world(plan, plan.block_capacity() + 5, upload_keys);
      const Round& round = world.round;
      HandMadeSum sum = world.sum({0, 1});
      const std::vector<double> expected = decrypt(sum);
      Tamperer tamperer(sum.key);
      const auto bound = static_cast<std::int64_t>(plan.noise_bound());
      for (std::uint64_t block = round.value_blocks(); block < round.blocks(); ++block) {
        for (const std::size_t at :
             {std::size_t{0}, std::size_t{9}, std::size_t{plan.degree() - 1}}) {
          const Bytes good = sum.blocks;
          for (const std::int64_t noise : {bound, -bound, std::int64_t{0}}) {
            tamperer.set_noise(sum.blocks.data(), block, at, noise);
            on_every_active_level([&] { CHECK(decrypt(sum) == expected); });
          }
          const std::int64_t half = std::int64_t{1} << (plan.field_bits() - 1);
          for (const std::int64_t noise : {bound + 1, -bound - 1, half, half - 1}) {
            tamperer.set_noise(sum.blocks.data(), block, at, noise);
            on_every_active_level([&] { CHECK_THROWS(decrypt(sum), TamperedSumError); });
          }
          check_refused(sum);
          sum.blocks = good;
        }
      }
      CHECK(decrypt(sum) == expected);
    }
  }
}

TEST("check blocks of every ring: any bit above the noise, wherever it is") {
  for (const Plan& plan : plans_of_every_ring()) {
    const World world(plan, 40, 2);
    const Round& round = world.round;
    HandMadeSum sum = world.sum({0, 1});
    decrypt(sum);
    unsigned lowest = 0;  // whose change cannot stay within the bounds
    while (std::uint64_t{1} << lowest <= 2 * plan.noise_bound()) ++lowest;
    Random random(plan.degree());
    const Bytes good = sum.blocks;
    for (std::uint64_t block = round.value_blocks(); block < round.blocks(); ++block) {
      const BlockFields fields(round, block);
      for (unsigned bit = lowest; bit < plan.field_bits(); bit += 1 + plan.field_bits() / 40) {
        const std::size_t at = random.below(plan.degree());
        Field field = fields.read(sum.blocks.data(), at);
        field[bit / kFieldWordBits] ^= std::uint64_t{1} << (bit % kFieldWordBits);
        fields.write(sum.blocks.data(), at, field);
        CHECK(sum.blocks != good);
        CHECK_THROWS(decrypt(sum), TamperedSumError);
        sum.blocks = good;
      }
    }
  }
}

TEST(
    "values: the last sum within the limits is decrypted, the first beyond refused, in any block") {
  for (const Plan& plan : {make_plan(10, 16), make_plan(2, 2), make_plan(2, 32)}) {
    for (const std::uint64_t upload_keys : {1u, 3u}) {
      const World world(plan, 3 * plan.block_capacity() + 100, upload_keys);
      const Round& round = world.round;
      HandMadeSum sum = world.sum({0, 1});
      const std::vector<double> expected = decrypt(sum);
      Tamperer tamperer(sum.key);
      const std::uint64_t end = std::uint64_t{1} << plan.field_bits();
      CHECK(tamperer.limit() < end);  // there is something out of range
      // Two clients' greatest digits in every place: fewer than the plan holds, so its range is
      // wider.
      std::uint64_t greatest = 0;
      for (std::uint32_t d = 0; d < plan.digits(); ++d) {
        greatest = greatest * plan.base() + 4 * static_cast<std::uint64_t>(plan.levels());
      }
      const std::uint64_t last = (greatest + 1) * tamperer.delta() - 1;
      CHECK(last < tamperer.limit());
      for (std::uint64_t block = 0; block < round.value_blocks(); ++block) {
        // The last one whose first digit is a value: what is handed out is looked at, no more.
        const std::uint64_t values = round.block_values(block);
        const std::uint64_t end_at =
            std::min<std::uint64_t>(round.block_coefficients(block), values);
        for (const std::uint64_t at : {std::uint64_t{0}, end_at - 1}) {
          const Bytes good = sum.blocks;
          for (const std::uint64_t x : {std::uint64_t{0}, last}) {
            tamperer.set(sum.blocks.data(), block, static_cast<std::size_t>(at), x);
            on_every_active_level([&] {
              const std::vector<double> found = decrypt(sum);
              std::size_t changed = 0;
              for (std::size_t v = 0; v < found.size(); ++v) changed += found[v] != expected[v];
              CHECK(changed <= plan.digits());
            });
          }
          for (const std::uint64_t x :
               {last + 1, tamperer.limit() - 1, tamperer.limit(), end - 1}) {
            tamperer.set(sum.blocks.data(), block, static_cast<std::size_t>(at), x);
            on_every_active_level([&] { CHECK_THROWS(decrypt(sum), TamperedSumError); });
          }
          check_refused(sum);
          sum.blocks = good;
        }
      }
    }
  }
}

TEST("blocks that are another sum's of the same round are refused") {
  for (const std::uint64_t upload_keys : {1u, 2u, 3u}) {
    for (const Plan& plan : {make_plan(10, 16, 2), make_plan(10, 16, 2, 128, "n2048")}) {
      const World world(plan, 2 * plan.block_capacity() + 9, upload_keys, 3);
      const HandMadeSum honest = world.sum({0, 1});
      decrypt(honest);
      const auto with_blocks = [&](Bytes blocks) {
        HandMadeSum sum = world.sum({0, 1});
        sum.blocks = std::move(blocks);
        check_refused(sum);
      };
      with_blocks(world.sum({0, 2}).blocks);          // another upload in the place of one
      with_blocks(world.sum({0, 1, 2}).blocks);       // one more
      with_blocks(world.sum({0, 1}, {1, 2}).blocks);  // another weight
      const ByteView alone = world.uploads[0].blocks();
      with_blocks(Bytes(alone.begin(), alone.end()));  // one client's
      with_blocks(Bytes(honest.blocks.size(), 0));
      with_blocks(Bytes(honest.blocks.size(), 0xff));
    }
  }
}

TEST("blocks of a sum that changed places are refused") {
  const World world(make_plan(10, 16), 4 * 4096, 2);
  const Round& round = world.round;
  const HandMadeSum honest = world.sum({0, 1});
  for (std::uint64_t a = 0; a < round.blocks(); ++a) {
    for (std::uint64_t b = 0; b < a; ++b) {
      HandMadeSum sum = world.sum({0, 1});
      const auto first = sum.blocks.begin() + static_cast<std::ptrdiff_t>(round.block_offset(a));
      const auto second = sum.blocks.begin() + static_cast<std::ptrdiff_t>(round.block_offset(b));
      std::swap_ranges(first, first + static_cast<std::ptrdiff_t>(world.plan.full_block_bytes()),
                       second);
      CHECK(sum.blocks != honest.blocks);
      CHECK_THROWS(decrypt(sum), TamperedSumError);
    }
  }
}

TEST("a sum key of the right round and manifest that is wrong by one, under any of the keys") {
  for (const Plan& plan : {make_plan(10, 16), make_plan(10, 16, 4, 128, "n4096")}) {
    for (const std::uint64_t upload_keys : {1u, 2u, 3u, 8u}) {
      // Fewer value blocks than keys: only the check blocks meet all of them.
      const World world(plan, 2 * plan.block_capacity(), upload_keys);
      const HandMadeSum honest = world.sum({0, 1});
      for (std::uint64_t i = 0; i < upload_keys; ++i) {
        for (const std::size_t at : {std::size_t{0}, std::size_t{plan.degree() - 1}}) {
          scheme::KeyCoefficients wrong(honest.key.coefficients().size());
          std::copy(honest.key.coefficients().begin(), honest.key.coefficients().end(),
                    wrong.begin());
          std::int64_t& coefficient = wrong[i * plan.degree() + at];
          coefficient += coefficient > 0 ? -1 : 1;
          const HandMadeSum sum = {honest.manifest, honest.blocks,
                                   key_of_blocks(honest.key, std::move(wrong), honest.blocks)};
          check_refused(sum);
        }
      }
      // All zeros, and another sum's.
      const HandMadeSum zeros = {
          honest.manifest, honest.blocks,
          key_of_blocks(
              honest.key,
              scheme::KeyCoefficients(honest.key.coefficients().size(), Initialise::kZero),
              honest.blocks)};
      check_refused(zeros);
    }
  }
}

TEST("an upload that does not fit its own sealed key spoils the sum, and the sum says so") {
  const World world(make_plan(10, 16), 300, 2);
  // Client 1 seals another seed than it encrypts under.
  scheme::UploadHead head = head_of(world.round, 99);
  AlignedBuffer<std::uint8_t> blocks(world.uploads[1].blocks().size());
  std::copy(world.uploads[1].blocks().begin(), world.uploads[1].blocks().end(), blocks.begin());
  const Upload liar(world.round, head, std::move(blocks));
  check_refused(sum_by_hand(world.key, world.round, {&world.uploads[0], &liar}, {1, 1}));
}

TEST("progress is told nothing of a sum whose check blocks are wrong") {
  const World world(make_plan(10, 16), 5000, 2);
  HandMadeSum sum = world.sum({0, 1});
  BlockFields(world.round, world.round.blocks() - 1).add_power_of_two(sum.blocks.data(), 5, 40);
  DecryptOptions options;
  int calls = 0;
  options.progress = [&](std::uint64_t, std::uint64_t) { ++calls; };
  std::vector<float> out(5000, 1.0f);
  const scheme::SumKey named = rebound(sum.key, sum.blocks);
  CHECK_THROWS(cipher::decrypt(named, sum.manifest, sum.blocks, options, out.data()),
               TamperedSumError);
  CHECK_EQ(calls, 0);
}

/// The same sum with a number of the first block moved by one step, as an aggregator could move it:
/// in range, and nothing that check blocks show.
HandMadeSum moved(HandMadeSum sum) {
  const Plan& plan = sum.manifest.round().plan();
  const BlockFields fields(sum.manifest.round(), 0);
  std::uint64_t power = 1;
  for (std::uint32_t d = 0; d < plan.digits(); ++d) power *= plan.base();
  const std::uint64_t mask = (std::uint64_t{1} << plan.field_bits()) - 1;
  const std::uint64_t delta = (mask + 1) / power;
  Field field = fields.read(sum.blocks.data(), 0);
  field[0] = (field[0] + delta) & mask;
  fields.write(sum.blocks.data(), 0, field);
  return sum;
}

/// Keys of one sum, by either binding.
std::vector<scheme::SumKey> keys_of(const HandMadeSum& sum) {
  std::vector<scheme::SumKey> keys;
  keys.push_back(rebound(sum.key, sum.blocks));
  scheme::KeyCoefficients coefficients(sum.key.coefficients().size());
  std::copy(sum.key.coefficients().begin(), sum.key.coefficients().end(), coefficients.begin());
  keys.emplace_back(sum.key.round(), sum.key.manifest(), sum.key.count(), sum.key.total_weight(),
                    sum.key.exportable(), std::move(coefficients), std::nullopt, std::nullopt,
                    *sum.key.blocks_check());
  return keys;
}

TEST("a sum's key decrypts the blocks that it was opened for and no others, plain or weighted") {
  const World world(make_plan(10, 16, 2, 128, "n2048"), 5000, 2, 3);
  for (const std::vector<std::uint64_t>& weights :
       {std::vector<std::uint64_t>{1, 1}, std::vector<std::uint64_t>{2, 1}}) {
    const HandMadeSum honest = world.sum({0, 1}, weights);
    const std::vector<scheme::SumKey> keys = keys_of(honest);
    CHECK(keys[0].blocks_digest() && keys[0].blocks_check() == nullptr);
    CHECK(!keys[1].blocks_digest() && keys[1].blocks_check() != nullptr);
    for (const scheme::SumKey& key : keys) {
      const auto refused = [&](Bytes blocks) {
        HandMadeSum other = world.sum({0, 1}, weights);
        other.blocks = std::move(blocks);
        on_every_active_level([&] { check_refused(key, other); });
      };
      on_every_active_level([&] {
        std::vector<double> out(5000);
        DecryptOptions options;
        options.type = ElementType::kFloat64;
        cipher::decrypt(key, honest.manifest, honest.blocks, options, out.data());
        CHECK(out == decrypt(honest));
      });
      // In range, and nothing that check blocks show.
      refused(moved(world.sum({0, 1}, weights)).blocks);
      // Every bit of the blocks counts, whatever it means: of values, of check blocks, of places
      // that hold no value.
      const std::size_t checks =
          static_cast<std::size_t>(world.round.block_offset(world.round.value_blocks()));
      for (const std::size_t at : {std::size_t{0}, honest.blocks.size() / 2, checks - 1, checks,
                                   honest.blocks.size() - 1}) {
        Bytes other = honest.blocks;
        other[at] ^= 1;
        refused(std::move(other));
      }
      // Another honest sum of the same manifest's uploads is another sum.
      refused(world.sum({0, 1}, {3, 4}).blocks);
      refused(Bytes(honest.blocks.size(), 0));
    }
  }
}

TEST("an oracle for blocks: all that shows the key of a weighted sum is refused") {
  // What an aggregator did to a key that named no blocks: shifts of one field by a known number of
  // steps, and whether the shifted sum is decrypted tells the field's noise, bit by bit.
  const World world(make_plan(10, 16, 2, 128, "n2048"), 300, 1, 3);
  const HandMadeSum honest = world.sum({0, 1, 2}, {1, 4, 16});
  Tamperer tamperer(honest.key);
  std::size_t refused = 0;
  for (int call = 0; call < 28; ++call) {
    HandMadeSum asked = world.sum({0, 1, 2}, {1, 4, 16});
    tamperer.set(asked.blocks.data(), 0, static_cast<std::size_t>(call),
                 tamperer.delta() * (std::uint64_t{1} << (call % 16)) + tamperer.delta() / 2);
    std::vector<double> out(300, kUntouched);
    DecryptOptions options;
    options.type = ElementType::kFloat64;
    try {
      cipher::decrypt(asked.key, asked.manifest, asked.blocks, options, out.data());
    } catch (const TamperedSumError&) {
      refused += static_cast<std::size_t>(std::count(out.begin(), out.end(), 0.0)) == out.size();
    }
  }
  CHECK_EQ(refused, 28u);
}

TEST("a key with a check says nothing of where other blocks were found wrong") {
  // All of the sum is worked through: progress is told of all of it, and no number is kept.
  const World world(make_plan(10, 16), 5000, 2);
  for (const bool checks : {false, true}) {
    HandMadeSum sum = world.sum({0, 1});
    const std::uint64_t block = checks ? world.round.blocks() - 1 : 0;
    BlockFields(world.round, block).add_power_of_two(sum.blocks.data(), 5, 40);
    DecryptOptions options;
    std::uint64_t done = 0;
    options.progress = [&](std::uint64_t now, std::uint64_t) { done = now; };
    std::vector<float> out(5000, 1.0f);
    CHECK_THROWS(cipher::decrypt(sum.key, sum.manifest, sum.blocks, options, out.data()),
                 TamperedSumError);
    CHECK_EQ(done, 5000u);
    CHECK_EQ(std::count(out.begin(), out.end(), 0.0f), 5000);
  }
}

TEST("with a check, blocks of any bytes are worked through to their end") {
  // Digits of any size reach the kernels then; under the sanitisers this looks for overflows.
  for (const Plan& plan : {make_plan(10, 16), make_plan(2, 32), make_plan(10, 16, 4, 128, "n4096"),
                           make_plan(5, 8, 3, 192, "n4096q48")}) {
    const World world(plan, 5000, 2);
    HandMadeSum sum = world.sum({0, 1});
    std::mt19937_64 random(20);
    for (int round = 0; round < 3; ++round) {
      for (std::uint8_t& byte : sum.blocks) {
        byte = round == 0 ? 0xff : static_cast<std::uint8_t>(random());
      }
      check_refused(sum.key, sum);
    }
  }
}

TEST("a key whose check has another key or value decrypts nothing") {
  const World world(make_plan(10, 16), 5000, 2);
  const HandMadeSum sum = world.sum({0, 1});
  const ring::TagSum::Values right = sum.key.blocks_check()->value.values();
  for (int which = 0; which < 3; ++which) {
    scheme::BlocksCheck check = *sum.key.blocks_check();
    ring::TagSum::Values values = right;
    if (which == 0) check.key.data()[31] ^= 1;
    if (which != 0) values[static_cast<std::size_t>(which) - 1] ^= 1;
    check.value = ring::TagSum(ring::BlocksHash::field(), values);
    scheme::KeyCoefficients coefficients(sum.key.coefficients().size());
    std::copy(sum.key.coefficients().begin(), sum.key.coefficients().end(), coefficients.begin());
    check_refused(scheme::SumKey(world.round, sum.key.manifest(), 2, 2, true,
                                 std::move(coefficients), std::nullopt, std::nullopt, check),
                  sum);
  }
}

TEST("a committee's key decrypts the certified blocks: from encryption to numbers") {
  CommitteeShape shape{4, 3};
  shape.size = 3000;
  const Round round = make_committee_round(shape);
  const std::vector<std::uint32_t> clients = {3, 0, 1};
  const FakeVerifier verifier;
  scheme::Manifest manifest(round);
  std::vector<Upload> uploads;
  std::vector<ByteView> blocks;
  std::vector<std::int64_t> sums(round.size());
  for (const std::uint32_t client : clients) {
    const Update update = random_update(round, client);
    cipher::EncryptOptions options;
    options.client = client;
    uploads.push_back(cipher::encrypt_with_seeds(round, pieces_of(update), options, kSealer,
                                                 seeds_of(client + 1)));
    sign(round, uploads.back(), client);
    manifest.add(uploads.back().head(), 1, &verifier);
    const std::vector<std::int64_t> values = quantise(round, update).values;
    for (std::size_t v = 0; v < values.size(); ++v) sums[v] += values[v];
  }
  for (const Upload& upload : uploads) blocks.push_back(upload.blocks());
  const Bytes total = sum_of_blocks(round, blocks, {1, 1, 1});
  const std::optional<Digest> named = scheme::digest_of_blocks(total, 1);
  const scheme::Certificate certificate = certify(manifest, named);
  std::vector<scheme::Answer> answers;
  for (const std::uint32_t member : {3u, 1u, 0u}) {
    answers.push_back(answer_with(certificate, member, share_of_member(manifest, named, member)));
  }
  scheme::Combined combined =
      scheme::combine(certificate, answers, opener_of_reader(round), verifier);
  CHECK_EQ(combined.keys.size(), 1u);
  const HandMadeSum sum{manifest.without_shares(), total, std::move(combined.keys.front())};
  CHECK_EQ(count_wrong(round, decrypt(sum), sums, 3), 0u);
  HandMadeSum other = moved(
      HandMadeSum{sum.manifest, sum.blocks, scheme::SumKey::from_bytes(sum.key.to_bytes(), round)});
  check_refused(sum.key, other);
  other.blocks = total;
  CHECK_EQ(count_wrong(round, decrypt(other), sums, 3), 0u);
}

}  // namespace
}  // namespace veilsum::test
