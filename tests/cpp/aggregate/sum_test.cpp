// Layer: tests (aggregate). Sums of uploads: streaming and one-pass sums give the same bytes as
// adding field by field, in any order, with any number of threads; and every rule about what
// may be summed refuses before anything is changed.
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "aggregate/accumulator.h"
#include "aggregate/aggregate.h"
#include "check.h"
#include "support/active_level.h"
#include "support/rounds.h"
#include "support/signatures.h"
#include "veilsum/errors.h"

namespace veilsum::test {
namespace {

using aggregate::Accumulator;
using aggregate::Aggregate;
using aggregate::weighted_sum;
using scheme::Plan;
using scheme::Round;
using scheme::SecretKey;
using scheme::Upload;

Bytes copy_of(ByteView view) { return {view.begin(), view.end()}; }

std::vector<Upload> make_uploads(const Round& round, std::size_t count) {
  std::vector<Upload> uploads;
  for (std::size_t k = 0; k < count; ++k) uploads.push_back(make_upload(round, k + 1));
  return uploads;
}

std::vector<const Upload*> pointers_to(const std::vector<Upload>& uploads) {
  std::vector<const Upload*> out;
  for (const Upload& upload : uploads) out.push_back(&upload);
  return out;
}

Bytes blocks_by_hand(const Round& round, const std::vector<Upload>& uploads,
                     const std::vector<std::uint64_t>& weights) {
  std::vector<ByteView> views;
  for (const Upload& upload : uploads) views.push_back(upload.blocks());
  return sum_of_blocks(round, views, weights);
}

TEST(
    "one pass and streaming give the sum of the fields, in every ring, at any size, for any "
    "kappa") {
  for (const Plan& plan : plans_of_every_ring()) {
    const SecretKey key = make_key();
    for (const std::uint64_t size : {std::uint64_t{5}, plan.block_capacity() + 100}) {
      const Round round = make_round(plan, key, fields_of({{size, 1.0}}, size % 3 + 1));
      const std::vector<Upload> uploads = make_uploads(round, 3);
      std::vector<std::uint64_t> weights = {1, 1, 1};
      if (plan.weight_bits() != 0) weights = {1, plan.max_weight() - 3, 2};
      const Bytes expected = blocks_by_hand(round, uploads, weights);
      on_every_active_level([&] {
        const Aggregate total = weighted_sum(round, pointers_to(uploads), weights, nullptr, 2);
        CHECK(copy_of(total.blocks()) == expected);
        Accumulator accumulator(round, nullptr);
        for (std::size_t k = 0; k < 3; ++k) accumulator.add(uploads[k], weights[k], 2);
        const Aggregate streamed = accumulator.finish();
        CHECK(streamed.to_bytes() == total.to_bytes());
        CHECK_EQ(total.manifest().total_weight(), weights[0] + weights[1] + weights[2]);
        CHECK_EQ(total.manifest().entries().size(), 3u);
      });
    }
  }
}

TEST("any order gives the same blocks and the same sum; any number of threads the same bytes") {
  const Plan plan = make_plan(10, 16, 3);
  const SecretKey key = make_key();
  const Round round = make_round(plan, key, 2 * plan.block_capacity() + 1);
  const std::vector<Upload> uploads = make_uploads(round, 4);
  const std::vector<std::uint64_t> weights = {1, 20, 3, 7};
  const Aggregate total = weighted_sum(round, pointers_to(uploads), weights, nullptr, 1);
  std::vector<std::size_t> order = {0, 1, 2, 3};
  do {
    Accumulator accumulator(round, nullptr);
    for (const std::size_t k : order) accumulator.add(uploads[k], weights[k], 1);
    const Aggregate other = accumulator.finish();
    CHECK(copy_of(other.blocks()) == copy_of(total.blocks()));
    CHECK(other.manifest().digest() == total.manifest().digest());
  } while (std::next_permutation(order.begin(), order.end()));
  for (int threads = 0; threads <= 5; ++threads) {
    CHECK(weighted_sum(round, pointers_to(uploads), weights, nullptr, threads).to_bytes() ==
          total.to_bytes());
    Accumulator accumulator(round, nullptr);
    for (std::size_t k = 0; k < 4; ++k) accumulator.add(uploads[k], weights[k], threads);
    CHECK(accumulator.finish().to_bytes() == total.to_bytes());
  }
}

TEST("more uploads than fit one pass of the kernel") {
  const Plan plan = make_plan(300, 8);
  const SecretKey key = make_key();
  const Round round = make_round(plan, key, 20);
  for (const std::size_t count : {63u, 64u, 65u, 127u, 128u, 129u, 200u}) {
    const std::vector<Upload> uploads = make_uploads(round, count);
    const std::vector<std::uint64_t> weights(count, 1);
    const Aggregate total = weighted_sum(round, pointers_to(uploads), {}, nullptr, 1);
    CHECK(copy_of(total.blocks()) == blocks_by_hand(round, uploads, weights));
  }
  const Plan heavy = make_plan(300, 8, 11);  // weights too, up to 614,400 in all
  const SecretKey heavy_key = make_key();
  const Round other = make_round(heavy, heavy_key, 20);
  const std::vector<Upload> uploads = make_uploads(other, 130);
  std::vector<std::uint64_t> weights(130, 4000);
  weights[129] = heavy.max_weight() - 129 * 4000;
  const Aggregate total = weighted_sum(other, pointers_to(uploads), weights, nullptr, 2);
  CHECK(copy_of(total.blocks()) == blocks_by_hand(other, uploads, weights));
}

TEST("no weights means all one") {
  const Plan plan = make_plan(10, 16, 2);
  const SecretKey key = make_key();
  const Round round = make_round(plan, key, 50);
  const std::vector<Upload> uploads = make_uploads(round, 3);
  const std::vector<std::uint64_t> ones(3, 1);
  CHECK(weighted_sum(round, pointers_to(uploads), {}, nullptr, 1).to_bytes() ==
        weighted_sum(round, pointers_to(uploads), ones, nullptr, 1).to_bytes());
  CHECK(weighted_sum(round, pointers_to(uploads), {}, nullptr, 1).manifest().unit_weights());
}

/// The same wrong thing done both ways; after a refusal the accumulator goes on as if nothing had
/// been asked.
struct Both {
  const Round& round;
  const std::vector<Upload>& good;  // two, added before and after
  const scheme::SignatureVerifier* verifier = nullptr;

  template <typename Error>
  void refuse(const Upload& bad, std::uint64_t weight, const std::string& part) const {
    Accumulator accumulator(round, verifier);
    CHECK_THROWS_WITH(accumulator.add(bad, weight, 1), Error, part);
    accumulator.add(good[0], 1, 1);
    CHECK_THROWS_WITH(accumulator.add(bad, weight, 1), Error, part);
    CHECK_EQ(accumulator.count(), 1u);
    CHECK_EQ(accumulator.total_weight(), 1u);
    accumulator.add(good[1], 1, 1);
    const Aggregate total = accumulator.finish();
    CHECK(copy_of(total.blocks()) == blocks_by_hand(round, good, {1, 1}));

    const std::vector<const Upload*> uploads = {&good[0], &good[1], &bad};
    const std::vector<std::uint64_t> weights = {1, 1, weight};
    CHECK_THROWS_WITH(weighted_sum(round, uploads, weights, verifier, 1), Error, part);
  }
};

TEST("uploads of another round are refused") {
  const Plan plan = make_plan(10, 16);
  const SecretKey key = make_key();
  const Round round = make_round(plan, key, 100), other = make_round(plan, key, 100, 2),
              longer = make_round(plan, key, 5000),
              more_keys = make_round(plan, key, fields_of({{100, 1.0}}, 2));
  const std::vector<Upload> good = make_uploads(round, 2);
  const Both both{round, good};
  both.refuse<RoundError>(make_upload(other, 9), 1, short_hex(other.id()));
  both.refuse<RoundError>(make_upload(longer, 9), 1, short_hex(longer.id()));
  both.refuse<RoundError>(make_upload(more_keys, 9), 1, short_hex(more_keys.id()));
}

TEST("an upload counts once, in one sum") {
  const Plan plan = make_plan(10, 16, 2);
  const SecretKey key = make_key();
  const Round round = make_round(plan, key, 100);
  const std::vector<Upload> uploads = make_uploads(round, 2);
  Accumulator accumulator(round, nullptr);
  accumulator.add(uploads[0], 1, 1);
  CHECK_THROWS_WITH(accumulator.add(uploads[0], 1, 1), RoundError, "counts once");
  CHECK_THROWS(accumulator.add(uploads[0], 2, 1), RoundError);
  // The same sealed key with other blocks is still the same upload.
  const Upload twin(round, uploads[0].head(), random_blocks(round, 77));
  CHECK_THROWS(accumulator.add(twin, 1, 1), RoundError);
  accumulator.add(uploads[1], 1, 1);
  CHECK(copy_of(accumulator.finish().blocks()) == blocks_by_hand(round, uploads, {1, 1}));
  const std::vector<const Upload*> repeated = {&uploads[0], &uploads[1], &uploads[0]};
  CHECK_THROWS(weighted_sum(round, repeated, {}, nullptr, 1), RoundError);
}

TEST("weights: 0, beyond W, and any but 1 in a plan of unit weights") {
  const Plan unit = make_plan(3, 16), weighted = make_plan(3, 16, 2);  // W = 12
  const SecretKey key = make_key();
  const Round round = make_round(unit, key, 100), heavy = make_round(weighted, key, 100);
  const std::vector<Upload> good = make_uploads(round, 2), heavy_good = make_uploads(heavy, 2);
  Both{round, good}.refuse<ParameterError>(make_upload(round, 9), 0, "is 0");
  Both{round, good}.refuse<HeadroomError>(make_upload(round, 9), 2, "unit weights only");
  for (const std::uint64_t weight :
       {std::uint64_t{13}, ~std::uint64_t{0}, ~std::uint64_t{0} - 1, std::uint64_t{1} << 63}) {
    Both{heavy, heavy_good}.refuse<HeadroomError>(make_upload(heavy, 9), weight, "total weight");
  }
  // Up to W and not one more.
  const std::vector<Upload> uploads = make_uploads(heavy, 3);
  Accumulator accumulator(heavy, nullptr);
  accumulator.add(uploads[0], 5, 1);
  accumulator.add(uploads[1], 6, 1);
  CHECK_THROWS(accumulator.add(uploads[2], 2, 1), HeadroomError);
  accumulator.add(uploads[2], 1, 1);
  CHECK_EQ(accumulator.total_weight(), 12u);
  CHECK(copy_of(accumulator.finish().blocks()) == blocks_by_hand(heavy, uploads, {5, 6, 1}));
  const std::vector<std::uint64_t> two = {1, 1};
  CHECK_THROWS_WITH(weighted_sum(heavy, pointers_to(uploads), two, nullptr, 1), ParameterError,
                    "2 weights for 3 uploads");
}

TEST("too few uploads give no sum, and may still be joined by more") {
  const Plan plan = make_plan(10, 16);
  const SecretKey key = make_key();
  scheme::RoundFields fields = fields_of({{100, 1.0}});
  fields.min_clients = 3;
  const Round round = make_round(plan, key, fields);
  const std::vector<Upload> uploads = make_uploads(round, 3);
  Accumulator accumulator(round, nullptr);
  CHECK_THROWS_WITH(accumulator.finish(), RoundError, "holds 0 upload(s)");
  accumulator.add(uploads[0], 1, 1);
  accumulator.add(uploads[1], 1, 1);
  CHECK_THROWS_WITH(accumulator.finish(), RoundError, "needs at least 3");
  accumulator.add(uploads[2], 1, 1);
  CHECK_EQ(accumulator.finish().manifest().entries().size(), 3u);
  CHECK_THROWS(weighted_sum(round, {}, {}, nullptr, 1), RoundError);
  const std::vector<const Upload*> pair = {&uploads[0], &uploads[1]};
  CHECK_THROWS(weighted_sum(round, pair, {}, nullptr, 1), RoundError);
}

TEST("after finish: empty, and neither adds nor finishes again") {
  const Plan plan = make_plan(10, 16);
  const SecretKey key = make_key();
  const Round round = make_round(plan, key, 100);
  const std::vector<Upload> uploads = make_uploads(round, 3);
  Accumulator accumulator(round, nullptr);
  accumulator.add(uploads[0], 1, 1);
  accumulator.add(uploads[1], 1, 1);
  accumulator.finish();
  CHECK_EQ(accumulator.count(), 0u);
  CHECK_EQ(accumulator.total_weight(), 0u);
  CHECK_THROWS_WITH(accumulator.finish(), RoundError, "finished");
  CHECK_THROWS_WITH(accumulator.add(uploads[2], 1, 1), RoundError, "finished");
}

TEST("any bytes are blocks: fields of ones, and sums that wrap, add up modulo 2^B") {
  for (const Plan& plan : plans_of_every_ring()) {
    const SecretKey key = make_key();
    const Round round = make_round(plan, key, 700);
    std::vector<Upload> uploads;
    for (std::uint64_t n = 1; n <= 3; ++n) {
      AlignedBuffer<std::uint8_t> blocks(static_cast<std::size_t>(round.payload_bytes()));
      std::fill(blocks.begin(), blocks.end(), n == 3 ? std::uint8_t{1} : std::uint8_t{0xff});
      uploads.emplace_back(round, head_of(round, n), std::move(blocks));
    }
    std::vector<std::uint64_t> weights = {1, 1, 1};
    if (plan.weight_bits() != 0) weights = {plan.max_weight() - 3, 1, 2};
    const Bytes expected = blocks_by_hand(round, uploads, weights);
    on_every_active_level([&] {
      CHECK(copy_of(weighted_sum(round, pointers_to(uploads), weights, nullptr, 1).blocks()) ==
            expected);
      Accumulator accumulator(round, nullptr);
      for (std::size_t k = 0; k < 3; ++k) accumulator.add(uploads[k], weights[k], 1);
      CHECK(copy_of(accumulator.finish().blocks()) == expected);
    });
  }
}

Round round_with_roster(const Plan& plan, const SecretKey& key, std::uint64_t size,
                        std::uint64_t clients, std::uint64_t n = 1) {
  scheme::RoundFields fields = fields_of({{size, 1.0}});
  fields.roster = fake_roster(clients);
  return make_round(plan, key, fields, n);
}

TEST("with a roster: each client once, signed, and the verifier asked once an upload") {
  const Plan plan = make_plan(10, 16);
  const SecretKey key = make_key();
  const Round round = round_with_roster(plan, key, 100, 4);
  const FakeVerifier verifier;
  std::vector<Upload> good;
  for (std::uint32_t client = 0; client < 2; ++client) {
    good.push_back(make_signed_upload(round, client + 1, client));
  }
  {
    Accumulator accumulator(round, &verifier);
    for (const Upload& upload : good) accumulator.add(upload, 1, 1);
    CHECK_EQ(verifier.calls.load(), 2);
    CHECK(accumulator.finish().to_bytes() ==
          weighted_sum(round, pointers_to(good), {}, &verifier, 1).to_bytes());
    CHECK_EQ(verifier.calls.load(), 4);
  }
  const Both both{round, good, &verifier};
  both.refuse<RoundError>(make_upload(round, 9), 1, "not signed");
  both.refuse<RoundError>(make_signed_upload(round, 9, 4), 1, "not on the roster");
  Upload forged = make_signed_upload(round, 9, 3);
  scheme::UploadSignature signature = *forged.head().signature;
  signature.signature = changed(signature.signature, 10);
  forged.attach_signature(signature);
  both.refuse<RoundError>(forged, 1, "signature of client 3");
  signature = *make_signed_upload(round, 9, 3).head().signature;
  signature.client = 2;
  forged.attach_signature(signature);
  both.refuse<RoundError>(forged, 1, "signature of client 2");

  Accumulator accumulator(round, &verifier);
  accumulator.add(good[0], 1, 1);
  CHECK_THROWS_WITH(accumulator.add(make_signed_upload(round, 50, 0), 1, 1), RoundError,
                    "the first upload stands");
}

TEST("a roster needs a verifier; a round without one takes no signatures") {
  const Plan plan = make_plan(10, 16);
  const SecretKey key = make_key();
  const Round closed = round_with_roster(plan, key, 100, 4), open = make_round(plan, key, 100);
  CHECK_THROWS_WITH(Accumulator(closed, nullptr), ParameterError, "verifier");
  std::vector<Upload> uploads;
  uploads.push_back(make_signed_upload(closed, 1, 0));
  uploads.push_back(make_signed_upload(closed, 2, 1));
  CHECK_THROWS_WITH(weighted_sum(closed, pointers_to(uploads), {}, nullptr, 1), ParameterError,
                    "verifier");
  const FakeVerifier verifier;
  Accumulator accumulator(open, &verifier);
  CHECK_THROWS_WITH(accumulator.add(make_signed_upload(open, 1, 0), 1, 1), RoundError, "no roster");
}

TEST("blocks that were altered under a good signature are refused") {
  const Plan plan = make_plan(10, 16);
  const SecretKey key = make_key();
  const Round round = round_with_roster(plan, key, 12 * plan.block_capacity(), 4);
  const FakeVerifier verifier;
  std::vector<Upload> good;
  good.push_back(make_signed_upload(round, 1, 0));
  good.push_back(make_signed_upload(round, 2, 1));
  const Upload honest = make_signed_upload(round, 3, 2);
  const Both both{round, good, &verifier};
  for (const std::size_t at : {std::size_t{0}, std::size_t{65'536}, honest.blocks().size() - 50}) {
    AlignedBuffer<std::uint8_t> blocks(honest.blocks().size());
    std::memcpy(blocks.data(), honest.blocks().data(), blocks.size());
    blocks[at] ^= 1;
    both.refuse<RoundError>(Upload(round, honest.head(), std::move(blocks)), 1,
                            "not the ones it signed");
  }
  // Another client's blocks under this client's signed head.
  AlignedBuffer<std::uint8_t> swapped(good[0].blocks().size());
  std::memcpy(swapped.data(), good[0].blocks().data(), swapped.size());
  both.refuse<RoundError>(Upload(round, honest.head(), std::move(swapped)), 1,
                          "not the ones it signed");
}

TEST("a signed upload's blocks are hashed once, however often the object is summed") {
  const Plan plan = make_plan(10, 16);
  const SecretKey key = make_key();
  const Round round = round_with_roster(plan, key, 12 * plan.block_capacity(), 4);
  const FakeVerifier verifier;
  std::vector<Upload> uploads;
  for (std::uint32_t client = 0; client < 2; ++client) {
    uploads.push_back(make_signed_upload(round, client + 1, client));
  }
  // A second hash would see a change that no caller can make.
  const_cast<std::uint8_t*>(uploads[1].blocks().data())[0] ^= 1;
  for (int repeat = 0; repeat < 2; ++repeat) {
    weighted_sum(round, pointers_to(uploads), {}, &verifier, 1);
    Accumulator accumulator(round, &verifier);
    for (const Upload& upload : uploads) accumulator.add(upload, 1, 1);
    CHECK_EQ(accumulator.count(), 2u);
  }
  // Whoever reads it from bytes hashes what came.
  CHECK_THROWS_WITH(
      Accumulator(round, &verifier).add(Upload::from_bytes(uploads[1].to_bytes(), round), 1, 1),
      RoundError, "not the ones it signed");
}

TEST("a verifier that throws leaves the sum as it was") {
  struct Interrupted : std::runtime_error {
    Interrupted() : std::runtime_error("interrupted") {}
  };
  class Moody final : public scheme::SignatureVerifier {
   public:
    bool verify(const scheme::PublicIdentity& signer, const scheme::Signature& signature,
                ByteView message) const override {
      if (throws) throw Interrupted();
      return signature == fake_signature(signer, message);
    }
    bool throws = false;
  };
  const Plan plan = make_plan(10, 16);
  const SecretKey key = make_key();
  const Round round = round_with_roster(plan, key, 100, 4);
  Moody verifier;
  std::vector<Upload> uploads;
  for (std::uint32_t client = 0; client < 3; ++client) {
    uploads.push_back(make_signed_upload(round, client + 1, client));
  }
  Accumulator accumulator(round, &verifier);
  for (const Upload& upload : uploads) {
    verifier.throws = true;
    CHECK_THROWS(accumulator.add(upload, 1, 1), Interrupted);
    verifier.throws = false;
    accumulator.add(upload, 1, 1);
  }
  CHECK(copy_of(accumulator.finish().blocks()) == blocks_by_hand(round, uploads, {1, 1, 1}));
}

TEST("several threads add at once: nothing is lost, nothing counted twice") {
  const Plan plan = make_plan(24, 12);
  const SecretKey key = make_key();
  const Round round = round_with_roster(plan, key, 2 * plan.block_capacity() + 5, 24);
  const FakeVerifier verifier;
  constexpr std::size_t kClients = 12, kThreads = 4;
  std::vector<Upload> uploads;
  for (std::uint32_t client = 0; client < kClients; ++client) {
    uploads.push_back(make_signed_upload(round, client + 1, client));
  }
  const Aggregate expected = weighted_sum(round, pointers_to(uploads), {}, &verifier, 1);
  for (const int inner : {1, 2}) {
    Accumulator accumulator(round, &verifier);
    std::atomic<int> added{0}, refused{0};
    std::vector<std::thread> threads;
    for (std::size_t thread = 0; thread < kThreads; ++thread) {
      threads.emplace_back([&, thread] {
        // Every upload is offered by two threads.
        for (std::size_t i = 0; i < kClients / 2; ++i) {
          const std::size_t k = (thread / 2 * kClients / 2 + i) % kClients;
          try {
            accumulator.add(uploads[k], 1, inner);
            ++added;
          } catch (const RoundError&) {
            ++refused;
          }
          CHECK(accumulator.count() <= kClients);
          CHECK(accumulator.total_weight() <= kClients);
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK_EQ(added.load(), static_cast<int>(kClients));
    CHECK_EQ(refused.load(), static_cast<int>(kClients));
    const Aggregate total = accumulator.finish();
    CHECK(copy_of(total.blocks()) == copy_of(expected.blocks()));
    CHECK(total.manifest().digest() == expected.manifest().digest());
  }
}

TEST("uploads, rounds and aggregates may be read by several threads at once") {
  const Plan plan = make_plan(10, 16);
  const SecretKey key = make_key();
  const Round round = make_round(plan, key, plan.block_capacity() + 5);
  const std::vector<Upload> uploads = make_uploads(round, 3);
  const Aggregate total = weighted_sum(round, pointers_to(uploads), {}, nullptr, 1);
  const Bytes expected = total.to_bytes();
  std::vector<std::thread> threads;
  std::vector<int> good(4, 0);
  for (std::size_t thread = 0; thread < good.size(); ++thread) {
    threads.emplace_back([&, thread] {
      const Round mine = round;
      const Aggregate again = weighted_sum(mine, pointers_to(uploads), {}, nullptr, 2);
      const Aggregate read = Aggregate::from_bytes(total.to_bytes(), mine);
      const scheme::SumKey sum =
          scheme::open_sum(key, read.opening_request(1), kOpener, nullptr, false);  // one ledger
      good[thread] =
          again.to_bytes() == expected && read.to_bytes() == expected && sum.count() == 3;
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK_EQ(good, std::vector<int>(4, 1));
}

}  // namespace
}  // namespace veilsum::test
