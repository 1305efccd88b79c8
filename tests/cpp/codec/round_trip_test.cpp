// Layer: tests (codec). From numbers to a sum of ciphertexts and back: what comes out is the
// integer sum of the quantised values, exactly, for every ring, lane count and element type, for
// odd sizes and segments, and the same bytes whatever the number of threads and the instruction
// set.
#include <cstdint>
#include <cstring>
#include <vector>

#include "check.h"
#include "codec/decrypt.h"
#include "codec/encrypt.h"
#include "codec/pads.h"
#include "ring/expander.h"
#include "ring/modular.h"
#include "scheme/capsule.h"
#include "support/active_level.h"
#include "support/updates.h"

namespace veilsum::test {
namespace {

using codec::DecryptOptions;
using codec::EncryptOptions;
using scheme::Plan;
using scheme::Round;
using scheme::SecretKey;
using scheme::Segment;
using scheme::Upload;

std::vector<Plan> plans() {
  std::vector<Plan> out = plans_of_every_ring();
  out.push_back(make_plan(2, 2));                       // fourteen lanes of three bits
  out.push_back(make_plan(2, 2, 0, 128, "n8192"));      // lanes over four planes
  out.push_back(make_plan(2, 32));                      // the widest values
  out.push_back(make_plan(1000, 20, 8, 128, "n4096"));  // 38 bits a lane
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
  codec::decrypt(sum.key, sum.manifest, sum.blocks, options, out.data());
  return out;
}

void check_round_trip(const Plan& plan, const std::vector<Segment>& segments) {
  const SecretKey key = make_key(plan);
  const Round round = make_round(plan, key, fields_of(segments));
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
    const std::vector<codec::Piece> pieces = pieces_of(update);
    EncryptOptions options;
    options.weight = client_weights[k];
    uploads.push_back(codec::encrypt_with_seeds(round, pieces, options, seeds_of(k)));
    const Quantised expected = quantise(round, update, options.weight);
    CHECK_EQ(uploads.back().head().clipped, expected.clipped);
    CHECK_EQ(uploads.back().blocks().size(), round.payload_bytes());
    CHECK(scheme::blocks_well_formed(round, uploads.back().blocks(), 1));
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

TEST("sums are exact: every plan, sizes around blocks, lanes and groups of eight") {
  for (const Plan& plan : plans()) {
    const std::uint64_t lanes = plan.lanes(), capacity = plan.block_capacity();
    std::vector<std::uint64_t> sizes = {1, 7, 8 * lanes, 8 * lanes + 1, 1000};
    if (capacity < 100'000) {
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

TEST("sums are exact over several blocks, with segments that cross and end inside them") {
  const Plan plan = make_plan(10, 16);
  const std::uint64_t capacity = plan.block_capacity();
  check_round_trip(plan, cut(3 * capacity + 77, 5));
  check_round_trip(plan, {{2 * capacity, 1.0}, {0, 1.0}, {1, 0.5}, {capacity - 1, 2.0}, {0, 1.0}});
  std::vector<Segment> crumbs;
  for (std::uint64_t i = 0; i < 700; ++i) crumbs.push_back({i % 23, 0.1 + static_cast<double>(i)});
  check_round_trip(plan, crumbs);
}

TEST("values at the limit on all clients reach the ends of a lane and no further") {
  for (const Plan& plan : {make_plan(16, 8), make_plan(4, 8, 2), make_plan(2, 2)}) {
    const std::size_t clients = plan.weight_bits() == 0 ? plan.clients() : 2;
    for (const double value : {2.0, -2.0}) {
      const SecretKey key = make_key(plan);
      const Round round = make_round(plan, key, fields_of({{300, 2.0}}));
      std::vector<Upload> uploads;
      std::vector<const Upload*> pointers;
      std::vector<std::uint64_t> weights(clients, 1);
      if (plan.weight_bits() != 0) weights[0] = plan.max_weight() - 1;
      const std::vector<double> update(300, value);
      const codec::Piece piece = {update.data(), ElementType::kFloat64, 300};
      for (std::size_t k = 0; k < clients; ++k) {
        uploads.push_back(codec::encrypt(round, {&piece, 1}, {}));
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
    const SecretKey key = make_key(plan);
    const Round round = make_round(plan, key, fields_of(cut(2 * plan.block_capacity() + 45, 5)));
    const Update first = random_update(round, 1), second = random_update(round, 2);
    const std::vector<codec::Piece> pieces = pieces_of(first), others = pieces_of(second);
    for (const codec::Rounding rounding :
         {codec::Rounding::kNearest, codec::Rounding::kStochastic}) {
      EncryptOptions options;
      options.rounding = rounding;
      options.weight = 0.9;
      options.threads = 1;
      const ActiveLevel scalar("scalar");
      const Upload reference = codec::encrypt_with_seeds(round, pieces, options, seeds_of(1));
      const Upload other = codec::encrypt_with_seeds(round, others, options, seeds_of(2));
      const HandMadeSum sum = sum_by_hand(key, round, {&reference, &other}, {1, 1});
      const std::vector<float> decrypted = decrypt<float>(round, sum, true, 1);
      on_every_active_level([&] {
        for (int threads = 0; threads <= 4; ++threads) {
          options.threads = threads;
          const Upload again = codec::encrypt_with_seeds(round, pieces, options, seeds_of(1));
          CHECK(copy_of(again.blocks()) == copy_of(reference.blocks()));
          CHECK(again.head().capsule == reference.head().capsule);
          CHECK_EQ(again.head().clipped, reference.head().clipped);
          CHECK(decrypt<float>(round, sum, true, threads) == decrypted);
        }
      });
    }
  }
}

TEST("stochastic rounding takes the words of stream 3, one a value") {
  for (const Plan& plan : {make_plan(10, 6), make_plan(10, 16, 4, 128, "n4096")}) {
    const SecretKey key = make_key(plan);
    const std::uint64_t capacity = plan.block_capacity();
    const Round round = make_round(plan, key, fields_of(cut(capacity + 900, 5)));
    const Update update = random_update(round, 1), zero_update = random_update(round, 2);
    EncryptOptions options;
    options.rounding = codec::Rounding::kStochastic;
    const codec::UploadSeeds seeds = seeds_of(1);
    const Upload upload = codec::encrypt_with_seeds(round, pieces_of(update), options, seeds);
    const Upload other = codec::encrypt_with_seeds(round, pieces_of(zero_update), {}, seeds_of(2));

    const ring::Expander expander("veilsum/1/rounding", round.id(), seeds.rounding.span(),
                                  ring::KeySize::kAes256);
    std::vector<std::uint32_t> words;
    for (std::uint64_t block = 0; block < round.blocks(); ++block) {
      const std::uint64_t values = round.block_values(block);
      std::vector<std::uint32_t> mine((values + 3) / 4 * 4);
      isa::scalar_table()->aes_ctr(expander.key(),
                                   ring::stream_index(ring::Domain::kRounding, 0, block), 0,
                                   reinterpret_cast<std::uint8_t*>(mine.data()), mine.size() / 4);
      // Value v of a block is lane v / n', coefficient v % n': word lane * n' + coefficient = v.
      words.insert(words.end(), mine.begin(), mine.begin() + static_cast<long>(values));
    }
    const Quantised mine =
        quantise(round, update, 1.0, [&](std::uint64_t v) { return words[v]; }, true);
    const Quantised theirs = quantise(round, zero_update);
    std::vector<std::int64_t> sums(round.size());
    for (std::size_t v = 0; v < sums.size(); ++v) sums[v] = mine.values[v] + theirs.values[v];
    const HandMadeSum sum = sum_by_hand(key, round, {&upload, &other}, {1, 1});
    CHECK_EQ(count_wrong(round, decrypt<double>(round, sum, false, 1), sums, 0), 0u);
  }
}

TEST("stochastic rounding is unbiased") {
  const Plan plan = make_plan(2, 8);
  const SecretKey key = make_key(plan);
  constexpr std::uint64_t kSize = 60'000;
  const Round round = make_round(plan, key, fields_of({{kSize, 127.0}}));  // a step of 1
  const std::vector<double> quarter(kSize, 10.25), zero(kSize, 0.0);
  const codec::Piece pieces[] = {{quarter.data(), ElementType::kFloat64, kSize},
                                 {zero.data(), ElementType::kFloat64, kSize}};
  EncryptOptions options;
  options.rounding = codec::Rounding::kStochastic;
  const Upload a = codec::encrypt_with_seeds(round, {pieces, 1}, options, seeds_of(1));
  const Upload b = codec::encrypt_with_seeds(round, {pieces + 1, 1}, options, seeds_of(2));
  const HandMadeSum sum = sum_by_hand(key, round, {&a, &b}, {1, 1});
  double above = 0;
  for (const double value : decrypt<double>(round, sum, false, 1)) {
    CHECK(value == 10.0 || value == 11.0);
    above += value == 11.0;
  }
  // Binomial(60000, 1/4): mean 15000, deviation 106; the seeds are fixed, six deviations allowed.
  CHECK(std::fabs(above - 15'000) < 6 * 106.1);
}

/// What is left of a block of an all-zero update without pad and message: the error of each
/// coefficient in limb `limb`, between -q/2 and q/2.
std::vector<std::int64_t> errors_of(const Upload& upload, const Round& round,
                                    const ring::SlotMultiplier& key, std::uint64_t block,
                                    std::size_t limb) {
  const Plan& plan = round.plan();
  const std::size_t n = plan.block_coefficients(round.block_values(block)), row = n / 8 * 50;
  const std::size_t full = plan.block_bytes(plan.block_capacity());
  const std::uint64_t q = plan.ring().q(limb);
  std::vector<std::uint64_t> c(n);
  AlignedBuffer<std::uint64_t> pads(plan.ring().words());
  codec::make_pads_into(round, key, block, pads.data());
  CHECK(isa::scalar_table()->unpack(upload.blocks().data() + block * full + limb * row, n, q,
                                    c.data()));
  // Every value is 0, so every lane of every plane holds the offset.
  std::uint64_t message = 0;
  for (std::uint32_t lane = 0; lane < plan.lanes(); ++lane) {
    const std::uint64_t digit = static_cast<std::uint64_t>(plan.levels())
                                << (lane % plan.lanes_per_plane() * plan.lane_bits());
    const std::uint64_t scale =
        plan.codeword().limb_views()[limb].plane_scale[lane / plan.lanes_per_plane()];
    message = (message + ring::mul_mod(digit % q, scale, q)) % q;
  }
  std::vector<std::int64_t> errors(n);
  for (std::size_t j = 0; j < n; ++j) {
    const std::uint64_t x = (c[j] + 2 * q - pads[limb * plan.degree() + j] % q - message) % q;
    errors[j] = static_cast<std::int64_t>(x > q / 2 ? x - q : x);
  }
  return errors;
}

TEST("errors are small, the same in every limb of a block, and differ from block to block") {
  for (const Plan& plan : {make_plan(10, 16), make_plan(3, 9, 0, 128, "n8192")}) {
    const SecretKey secret = make_key(plan);
    const Round round = make_round(plan, secret, 3 * plan.block_capacity());
    const std::vector<float> zeros(round.size(), 0.0f);
    const codec::Piece piece = {zeros.data(), ElementType::kFloat32, round.size()};
    const codec::UploadSeeds seeds = seeds_of(4);
    const Upload upload = codec::encrypt_with_seeds(round, {&piece, 1}, {}, seeds);
    const scheme::Capsule capsule = scheme::make_capsule(round, seeds.capsule);
    const ring::SlotMultiplier key(plan.ring(), capsule.key.span());
    std::vector<std::vector<std::int64_t>> errors;
    for (std::uint64_t block = 0; block < round.blocks(); ++block) {
      errors.push_back(errors_of(upload, round, key, block, 0));
      for (std::size_t limb = 1; limb < plan.limbs(); ++limb) {
        CHECK(errors_of(upload, round, key, block, limb) == errors.back());
      }
      for (const std::int64_t e : errors.back()) CHECK(e >= -21 && e <= 21);
    }
    // Two independent samples agree with probability 0.087 (the sum of C(42, k)^2 / 2^84), so in
    // 178 of 2048 coefficients, deviation 13: a fifth of them is 18 deviations away.
    for (std::size_t a = 0; a < errors.size(); ++a) {
      for (std::size_t b = 0; b < a; ++b) {
        std::size_t equal = 0;
        for (std::size_t j = 0; j < errors[a].size(); ++j) equal += errors[a][j] == errors[b][j];
        CHECK(equal < errors[a].size() / 5);
      }
    }
  }
}

TEST("one lane does not carry into the next: neighbours at opposite ends") {
  const Plan plan = make_plan(10, 16);  // two lanes
  const SecretKey key = make_key(plan);
  const std::uint64_t capacity = plan.block_capacity();
  const Round round = make_round(plan, key, capacity);
  // Lane 0 is the first half of a block, lane 1 the second.
  std::vector<float> update(capacity, 1.0f);
  for (std::uint64_t v = capacity / 2; v < capacity; ++v) update[v] = -1.0f;
  const codec::Piece piece = {update.data(), ElementType::kFloat32, capacity};
  std::vector<Upload> uploads;
  std::vector<const Upload*> pointers;
  for (int k = 0; k < 10; ++k) uploads.push_back(codec::encrypt(round, {&piece, 1}, {}));
  for (const Upload& upload : uploads) pointers.push_back(&upload);
  const HandMadeSum sum = sum_by_hand(key, round, pointers, std::vector<std::uint64_t>(10, 1));
  CHECK(decrypt<float>(round, sum, true, 2) == update);
}

}  // namespace
}  // namespace veilsum::test
