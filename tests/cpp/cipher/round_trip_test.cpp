// Layer: tests (cipher). From numbers to a sum of ciphertexts and back: what comes out is the
// integer sum of the quantised values, exactly, for every ring, number of digits, number of keys
// and element type, for odd sizes and segments, and the same bytes whatever the number of threads
// and the instruction set.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "check.h"
#include "cipher/decrypt.h"
#include "cipher/encrypt.h"
#include "cipher/pads.h"
#include "cipher/prepared.h"
#include "ring/expander.h"
#include "support/active_level.h"
#include "support/updates.h"

namespace veilsum::test {
namespace {

using cipher::DecryptOptions;
using cipher::EncryptOptions;
using scheme::Plan;
using scheme::Round;
using scheme::SecretKey;
using scheme::Segment;
using scheme::Upload;

std::vector<Plan> plans() {
  std::vector<Plan> out = plans_of_every_ring();
  out.push_back(make_plan(2, 2));                       // fourteen digits
  out.push_back(make_plan(2, 2, 0, 128, "n8192"));      // 64 digits in four planes
  out.push_back(make_plan(2, 32));                      // the widest values
  out.push_back(make_plan(1000, 20, 8, 128, "n4096"));  // digits of 38 bits
  out.push_back(make_plan(1 << 16, 16, 4));             // the largest weight, 2^20
  out.push_back(make_plan(3, 7, 0, 128, "n2048"));
  return out;
}

/// Cuts `size` values into segments with limits of many sizes, some of them empty.
std::vector<Segment> cut(std::uint64_t size, int ways) {
  if (ways == 1) return {{size, 0.75}};
  std::vector<Segment> segments = {{0, 1.0}};
  const std::uint64_t first = size / 3, second = size / 7 + (size > 1);
  segments.push_back({first, 1e-3});
  segments.push_back({0, 5.0});
  segments.push_back({0, 6.0});
  segments.push_back({second, 1.0});
  segments.push_back({size - first - second, 123.25});
  segments.push_back({0, 1.0});
  return segments;
}

template <typename T>
std::vector<T> decrypt(const Round& round, const HandMadeSum& sum, bool average, int threads) {
  std::vector<T> out(round.size());
  DecryptOptions options;
  options.average = average;
  options.type = sizeof(T) == 8 ? ElementType::kFloat64 : ElementType::kFloat32;
  options.threads = threads;
  cipher::decrypt(sum.key, sum.manifest, sum.blocks, options, out.data());
  return out;
}

void check_round_trip(const Plan& plan, const std::vector<Segment>& segments,
                      std::uint64_t upload_keys = 0) {
  const SecretKey key = make_key();
  const Round round = make_round(plan, key, fields_of(segments, upload_keys));
  const bool weighted = plan.weight_bits() != 0;
  const std::vector<double> client_weights = {1.0, 0.3, -1.7};
  std::vector<std::uint64_t> weights = {1, 1, 1};
  if (weighted) weights = {plan.max_weight() - 3, 1, 2};
  if (plan.max_weight() == 2) weights = {1, 1};

  std::vector<Upload> uploads;
  std::vector<const Upload*> pointers;
  std::vector<std::int64_t> sums(round.size(), 0);
  std::uint64_t total = 0;
  for (std::size_t k = 0; k < weights.size(); ++k) {
    const Update update = random_update(round, k);
    const std::vector<cipher::Piece> pieces = pieces_of(update);
    EncryptOptions options;
    options.weight = client_weights[k];
    uploads.push_back(cipher::encrypt_with_seeds(round, pieces, options, kSealer, seeds_of(k)));
    const Quantised expected = quantise(round, update, options.weight);
    CHECK_EQ(uploads.back().head().clipped, expected.clipped);
    CHECK_EQ(uploads.back().blocks().size(), round.payload_bytes());
    for (std::size_t v = 0; v < sums.size(); ++v) {
      sums[v] += static_cast<std::int64_t>(weights[k]) * expected.values[v];
    }
    total += weights[k];
  }
  for (const Upload& upload : uploads) pointers.push_back(&upload);
  const HandMadeSum sum = sum_by_hand(key, round, pointers, weights);
  CHECK_EQ(count_wrong(round, decrypt<double>(round, sum, false, 1), sums, 0), 0u);
  CHECK_EQ(count_wrong(round, decrypt<double>(round, sum, true, 2), sums, total), 0u);
  CHECK_EQ(count_wrong(round, decrypt<float>(round, sum, false, 3), sums, 0), 0u);
  CHECK_EQ(count_wrong(round, decrypt<float>(round, sum, true, 1), sums, total), 0u);
}

TEST("sums are exact: every plan, sizes around blocks, digits and groups of eight") {
  for (const Plan& plan : plans()) {
    const std::uint64_t digits = plan.digits(), capacity = plan.block_capacity();
    std::vector<std::uint64_t> sizes = {1, 7, 8 * digits, 8 * digits + 1, 1000};
    if (capacity < 40'000) {
      sizes.push_back(capacity - 1);
      sizes.push_back(capacity);
      sizes.push_back(capacity + 1);
    } else {
      sizes.push_back(capacity + 3);
    }
    for (const std::uint64_t size : sizes) {
      check_round_trip(plan, cut(size, 1));
      if (size < 30'000) check_round_trip(plan, cut(size, 5));
    }
  }
}

TEST("sums are exact for any number of keys, whether or not it divides the number of blocks") {
  for (const Plan& plan : {make_plan(10, 16), make_plan(10, 16, 4, 128, "n4096")}) {
    const std::uint64_t capacity = plan.block_capacity();
    for (const std::uint64_t upload_keys : {1u, 2u, 3u, 8u, 11u}) {
      for (const std::uint64_t size :
           {std::uint64_t{3}, capacity, 6 * capacity, 8 * capacity + 77}) {
        check_round_trip(plan, cut(size, size % 2 == 0 ? 1 : 5), upload_keys);
      }
    }
  }
}

TEST("sums are exact over several blocks, with segments that cross and end inside them") {
  const Plan plan = make_plan(10, 16);
  const std::uint64_t capacity = plan.block_capacity();
  check_round_trip(plan, cut(3 * capacity + 77, 5));
  check_round_trip(plan, {{2 * capacity, 1.0}, {0, 1.0}, {1, 0.5}, {capacity - 1, 2.0}, {0, 1.0}});
  std::vector<Segment> crumbs;
  for (std::uint64_t i = 0; i < 700; ++i) crumbs.push_back({i % 23, 0.1 + static_cast<double>(i)});
  check_round_trip(plan, crumbs);
}

TEST("values at the limit on all clients reach the ends of a digit and no further") {
  for (const Plan& plan : {make_plan(16, 8), make_plan(4, 8, 2), make_plan(2, 2)}) {
    const std::size_t clients = plan.weight_bits() == 0 ? plan.clients() : 2;
    for (const double value : {2.0, -2.0}) {
      const SecretKey key = make_key();
      const Round round = make_round(plan, key, fields_of({{300, 2.0}}));
      std::vector<Upload> uploads;
      std::vector<const Upload*> pointers;
      std::vector<std::uint64_t> weights(clients, 1);
      if (plan.weight_bits() != 0) weights[0] = plan.max_weight() - 1;
      const std::vector<double> update(300, value);
      const cipher::Piece piece = {update.data(), ElementType::kFloat64, 300};
      for (std::size_t k = 0; k < clients; ++k) {
        uploads.push_back(cipher::encrypt(round, {&piece, 1}, {}, kSealer));
      }
      for (const Upload& upload : uploads) pointers.push_back(&upload);
      const HandMadeSum sum = sum_by_hand(key, round, pointers, weights);
      const std::int64_t level = value > 0 ? plan.levels() : -plan.levels();
      const std::vector<std::int64_t> sums(300,
                                           static_cast<std::int64_t>(plan.max_weight()) * level);
      CHECK_EQ(count_wrong(round, decrypt<double>(round, sum, false, 1), sums, 0), 0u);
      const std::vector<double> mean = decrypt<double>(round, sum, true, 1);
      for (const double found : mean) CHECK(std::fabs(found - value) < 1e-12);
    }
  }
}

Bytes copy_of(ByteView view) { return {view.begin(), view.end()}; }

TEST("the same bytes for any number of threads and on every level, both ways") {
  for (const Plan& plan :
       {make_plan(10, 16), make_plan(10, 16, 4, 128, "n4096"), make_plan(3, 9, 0, 128, "n8192")}) {
    const SecretKey key = make_key();
    const Round round = make_round(plan, key, fields_of(cut(2 * plan.block_capacity() + 45, 5), 2));
    const Update first = random_update(round, 1), second = random_update(round, 2);
    const std::vector<cipher::Piece> pieces = pieces_of(first), others = pieces_of(second);
    for (const cipher::Rounding rounding :
         {cipher::Rounding::kNearest, cipher::Rounding::kStochastic}) {
      EncryptOptions options;
      options.rounding = rounding;
      options.weight = 0.9;
      options.threads = 1;
      const ActiveLevel scalar("scalar");
      const Upload reference =
          cipher::encrypt_with_seeds(round, pieces, options, kSealer, seeds_of(1));
      const Upload other = cipher::encrypt_with_seeds(round, others, options, kSealer, seeds_of(2));
      const HandMadeSum sum = sum_by_hand(key, round, {&reference, &other}, {1, 1});
      const std::vector<float> decrypted = decrypt<float>(round, sum, true, 1);
      on_every_active_level([&] {
        for (int threads = 0; threads <= 4; ++threads) {
          options.threads = threads;
          const Upload again =
              cipher::encrypt_with_seeds(round, pieces, options, kSealer, seeds_of(1));
          CHECK(copy_of(again.blocks()) == copy_of(reference.blocks()));
          CHECK(again.head().part == reference.head().part);
          CHECK(again.head().nonce == reference.head().nonce);
          CHECK_EQ(again.head().clipped, reference.head().clipped);
          CHECK(decrypt<float>(round, sum, true, threads) == decrypted);
        }
      });
    }
  }
}

TEST("stochastic rounding takes the words of stream 3, one a value, in double and in float") {
  for (const Plan& plan :
       {make_plan(10, 6), make_plan(10, 16, 4, 128, "n4096"), make_plan(3, 20)}) {
    const SecretKey key = make_key();
    const std::uint64_t capacity = plan.block_capacity();
    const Round round = make_round(plan, key, fields_of(cut(capacity + 900, 5)));
    const Update update = random_update(round, 1), other_update = random_update(round, 2);
    EncryptOptions options;
    options.rounding = cipher::Rounding::kStochastic;
    const cipher::UploadSeeds seeds = seeds_of(1);
    const Upload upload =
        cipher::encrypt_with_seeds(round, pieces_of(update), options, kSealer, seeds);
    const Upload other =
        cipher::encrypt_with_seeds(round, pieces_of(other_update), {}, kSealer, seeds_of(2));

    const ring::Expander expander("veilsum/2/rounding", round.id(), seeds.rounding.span(),
                                  ring::KeySize::kAes256);
    std::vector<std::uint32_t> words;
    for (std::uint64_t block = 0; block < round.value_blocks(); ++block) {
      const std::uint64_t values = round.block_values(block);
      std::vector<std::uint32_t> mine((values + 3) / 4 * 4);
      isa::scalar_table()->aes_ctr(expander.key(),
                                   ring::stream_index(ring::Domain::kRounding, 0, block), 0,
                                   reinterpret_cast<std::uint8_t*>(mine.data()), mine.size() / 4);
      // Value v of a block is digit v / c, coefficient v % c: word digit * c + coefficient = v.
      words.insert(words.end(), mine.begin(), mine.begin() + static_cast<long>(values));
    }
    const Quantised mine = quantise(round, update, 1.0, words);
    const Quantised theirs = quantise(round, other_update);
    std::vector<std::int64_t> sums(round.size());
    for (std::size_t v = 0; v < sums.size(); ++v) sums[v] = mine.values[v] + theirs.values[v];
    const HandMadeSum sum = sum_by_hand(key, round, {&upload, &other}, {1, 1});
    CHECK_EQ(count_wrong(round, decrypt<double>(round, sum, false, 1), sums, 0), 0u);
  }
}

TEST("stochastic rounding is unbiased") {
  const Plan plan = make_plan(2, 8);
  const SecretKey key = make_key();
  constexpr std::uint64_t kSize = 60'000;
  const Round round = make_round(plan, key, fields_of({{kSize, 127.0}}));  // a step of 1
  const std::vector<double> quarter(kSize, 10.25), zero(kSize, 0.0);
  const std::vector<float> narrow(kSize, 10.25f);
  const cipher::Piece pieces[] = {{quarter.data(), ElementType::kFloat64, kSize},
                                  {narrow.data(), ElementType::kFloat32, kSize},
                                  {zero.data(), ElementType::kFloat64, kSize}};
  EncryptOptions options;
  options.rounding = cipher::Rounding::kStochastic;
  const Upload still =
      cipher::encrypt_with_seeds(round, {pieces + 2, 1}, options, kSealer, seeds_of(9));
  for (std::uint64_t n = 0; n < 2; ++n) {
    const Upload upload =
        cipher::encrypt_with_seeds(round, {pieces + n, 1}, options, kSealer, seeds_of(n + 1));
    const HandMadeSum sum = sum_by_hand(key, round, {&upload, &still}, {1, 1});
    double above = 0;
    for (const double value : decrypt<double>(round, sum, false, 1)) {
      CHECK(value == 10.0 || value == 11.0);
      above += value == 11.0;
    }
    // Binomial(60000, 1/4): mean 15000, deviation 106; the seeds are fixed, six deviations allowed.
    CHECK(std::fabs(above - 15'000) < 6 * 106.1);
  }
}

/// e of a block: stream 2 of the upload's key, by its definition.
std::vector<std::int64_t> errors_by_hand(const Round& round, const Seed& seed,
                                         std::uint64_t block) {
  const ring::Expander expander("veilsum/2/upload", round.id(), seed.span(),
                                ring::KeySize::kAes256);
  Bytes stream(2 * std::size_t{round.plan().degree()});
  isa::scalar_table()->aes_ctr(expander.key(), std::uint64_t{2} << 56 | block, 0, stream.data(),
                               stream.size() / 16);
  std::vector<std::int64_t> errors;
  for (std::size_t j = 0; j < stream.size(); j += 2) {
    errors.push_back(std::popcount(stream[j]) - std::popcount(stream[j + 1]));
  }
  return errors;
}

/// The blocks of an upload of a plan of one limb, from the wire format's formulas.
Bytes blocks_by_hand(const Round& round, const std::vector<std::int64_t>& levels,
                     const Seed& seed) {
  const Plan& plan = round.plan();
  const std::uint64_t q = plan.ring().q(0), delta_q = (std::uint64_t{1} << 48) - q;
  const unsigned bits = plan.field_bits();
  std::uint64_t power = 1;  // t^L
  for (std::uint32_t d = 0; d < plan.digits(); ++d) power *= plan.base();
  const std::uint64_t delta = (std::uint64_t{1} << bits) / power;
  const cipher::BlockKeys keys(round, scheme::expand_keys(round, seed));
  cipher::PadMaker maker(round);
  Bytes out(static_cast<std::size_t>(round.payload_bytes()));
  for (std::uint64_t block = 0; block < round.blocks(); ++block) {
    const std::uint64_t* const pads = maker.make(round, keys, block);
    const std::vector<std::int64_t> errors = errors_by_hand(round, seed, block);
    const BlockFields fields(round, block);
    const std::uint64_t c = fields.coefficients(), values = round.block_values(block);
    for (std::uint64_t j = 0; j < c; ++j) {
      std::uint64_t x = 0, weight = delta;
      for (std::uint64_t v = j; v < values; v += c, weight *= plan.base()) {
        const std::int64_t level =
            levels[static_cast<std::size_t>(block * plan.block_capacity() + v)];
        x += static_cast<std::uint64_t>(level + plan.levels()) * weight;
      }
      const std::uint64_t high = bits >= 27 ? x >> (bits - 27) : x << (27 - bits);
      const std::uint64_t lift = (x << (48 - bits)) - (high * delta_q >> 27);
      const std::uint64_t u = (pads[j] & kFieldWordMask) % q + q +
                              static_cast<std::uint64_t>(errors[static_cast<std::size_t>(j)]);
      const std::uint64_t whole = (u + lift) % q;
      const std::uint64_t field =
          (whole + ((whole >> 21) * delta_q >> 27) + (std::uint64_t{1} << (47 - bits))) >>
          (48 - bits);
      fields.write(out.data(), static_cast<std::size_t>(j), {field});
    }
  }
  return out;
}

TEST("an upload of one limb is what the wire format's formulas give, field by field") {
  const SecretKey key = make_key();
  for (const Plan& plan : {make_plan(10, 16), make_plan(2, 2), make_plan(10, 16, 2, 128, "n2048"),
                           make_plan(5, 8, 3, 192, "n4096q48")}) {
    for (const std::uint64_t upload_keys : {1u, 3u}) {
      const std::uint64_t size = 4 * plan.block_capacity() + 123;
      const Round round = make_round(plan, key, fields_of(cut(size, 5), upload_keys));
      const Update update = random_update(round, 3);
      const Upload upload =
          cipher::encrypt_with_seeds(round, pieces_of(update), {}, kSealer, seeds_of(5));
      CHECK(copy_of(upload.blocks()) ==
            blocks_by_hand(round, quantise(round, update).values, seeds_of(5).key));
      scheme::UploadHead sealed;
      sealed.nonce = seeds_of(5).nonce;
      scheme::seal_secrets(round, scheme::kNoClient, seeds_of(5).key, nullptr, kSealer, sealed);
      CHECK(upload.head().nonce == sealed.nonce);
      CHECK(upload.head().part == sealed.part);
    }
  }
}

TEST("a pad made ahead is a r + e: the errors of stream 2, the same in every limb of a block") {
  const SecretKey key = make_key();
  for (const Plan& plan : plans_of_every_ring()) {
    const Round round = make_round(plan, key, fields_of({{plan.block_capacity() + 1, 1.0}}, 2));
    const cipher::UploadSecrets secrets(round, seeds_of(4));
    cipher::PadMaker maker(round), other(round);
    for (std::uint64_t block = 0; block < round.blocks(); ++block) {
      Bytes packed(cipher::pad_bytes(round, block));
      cipher::make_pad_into(round, secrets, block, maker, packed.data());
      const std::uint64_t* const pads = other.make(round, secrets.keys, block);
      const std::vector<std::int64_t> errors = errors_by_hand(round, seeds_of(4).key, block);
      const std::size_t c = round.block_coefficients(block);
      std::size_t wrong = 0;
      for (std::size_t limb = 0; limb < plan.limbs(); ++limb) {
        const std::uint64_t q = plan.ring().q(limb);
        for (std::size_t j = 0; j < c; ++j) {
          std::uint64_t u = 0;
          std::memcpy(&u, packed.data() + (limb * c + j) * 6, 6);
          const std::uint64_t expected = ((pads[limb * plan.degree() + j] & kFieldWordMask) % q +
                                          q + static_cast<std::uint64_t>(errors[j])) %
                                         q;
          wrong += u != expected;
        }
      }
      CHECK_EQ(wrong, 0u);
    }
  }
}

TEST("errors differ from block to block and from upload to upload") {
  const Plan plan = make_plan(10, 16);
  const Round round = make_round(plan, make_key(), 3 * plan.block_capacity());
  std::vector<std::vector<std::int64_t>> all;
  for (const std::uint64_t n : {1u, 2u}) {
    for (std::uint64_t block = 0; block < round.blocks(); ++block) {
      all.push_back(errors_by_hand(round, seeds_of(n).key, block));
      CHECK(std::ranges::all_of(all.back(), [](std::int64_t e) { return e >= -8 && e <= 8; }));
    }
  }
  // Two independent samples agree with probability 0.14: in 287 of 2048 coefficients, deviation 16.
  for (std::size_t a = 0; a < all.size(); ++a) {
    for (std::size_t b = 0; b < a; ++b) {
      std::size_t equal = 0;
      for (std::size_t j = 0; j < all[a].size(); ++j) equal += all[a][j] == all[b][j];
      CHECK(equal < all[a].size() / 5);
    }
  }
}

TEST("one digit does not carry into the next: neighbours at opposite ends") {
  const Plan plan = make_plan(10, 16);
  CHECK_EQ(plan.digits(), 2u);
  const SecretKey key = make_key();
  const std::uint64_t capacity = plan.block_capacity();
  const Round round = make_round(plan, key, capacity);
  // Digit 0 is the first half of a block, digit 1 the second.
  std::vector<float> update(capacity, 1.0f);
  for (std::uint64_t v = capacity / 2; v < capacity; ++v) update[v] = -1.0f;
  const cipher::Piece piece = {update.data(), ElementType::kFloat32, capacity};
  std::vector<Upload> uploads;
  std::vector<const Upload*> pointers;
  for (int k = 0; k < 10; ++k) uploads.push_back(cipher::encrypt(round, {&piece, 1}, {}, kSealer));
  for (const Upload& upload : uploads) pointers.push_back(&upload);
  const HandMadeSum sum = sum_by_hand(key, round, pointers, std::vector<std::uint64_t>(10, 1));
  std::vector<std::int64_t> levels(capacity, 10 * plan.levels());
  std::fill(levels.begin() + static_cast<long>(capacity / 2), levels.end(), -10 * plan.levels());
  CHECK_EQ(count_wrong(round, decrypt<float>(round, sum, true, 2), levels, 10), 0u);
}

}  // namespace
}  // namespace veilsum::test
