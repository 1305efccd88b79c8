// Layer: tests (codec). Pads made ahead: the same bytes as without them in every interleaving, for
// every ring, budget, level and number of threads; each upload handed out once; what is not used,
// or met a message that was refused, is wiped; a forked child gets nothing.
#include "codec/pad_store.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "check.h"
#include "codec/encrypt.h"
#include "support/active_level.h"
#include "support/child.h"
#include "support/freed_memory.h"
#include "support/updates.h"
#include "veilsum/errors.h"

#if defined(VEILSUM_TESTS_UNDER_TSAN)
/// A forked child cannot join the threads of its parent, and tsan calls them leaked when it ends.
extern "C" __attribute__((visibility("default"))) const char* __tsan_default_options() {  // NOLINT
  return "report_thread_leaks=0";
}
#endif

namespace veilsum::test {
namespace {

using codec::EncryptOptions;
using codec::PadOptions;
using codec::PadStore;
using codec::PreparedUpload;
using codec::UploadSeeds;
using scheme::Plan;
using scheme::Round;
using scheme::SecretKey;
using scheme::Upload;

constexpr double kLong = 600;

std::string copy_of(ByteView view) { return {view.begin(), view.end()}; }

/// Seeds 1, 2, 3 ... in the order in which a store asks for them.
PadStore::SeedSource numbered_seeds() {
  auto next = std::make_shared<std::uint64_t>(1);
  return [next] { return seeds_of((*next)++); };
}

/// An upload with the seeds of number `n` whose pads are not prepared.
Upload reference(const Round& round, const Update& update, std::uint64_t n,
                 const EncryptOptions& options = {}) {
  return codec::encrypt_with_seeds(round, pieces_of(update), options, seeds_of(n));
}

void check_same(const Upload& a, const Upload& b) {
  CHECK(copy_of(a.blocks()) == copy_of(b.blocks()));
  CHECK(a.head().capsule == b.head().capsule);
  CHECK_EQ(a.head().clipped, b.head().clipped);
}

std::vector<Plan> plans() {
  std::vector<Plan> out = plans_of_every_ring();
  out.push_back(make_plan(2, 2));                   // fourteen lanes of three bits
  out.push_back(make_plan(2, 2, 0, 128, "n8192"));  // lanes over several planes
  return out;
}

TEST("from ready pads: the bytes of an ordinary encryption, for every ring, size and rounding") {
  for (const Plan& plan : plans()) {
    const SecretKey key = make_key(plan);
    const std::uint64_t capacity = plan.block_capacity();
    std::vector<std::uint64_t> sizes = {1, 8 * plan.lanes() + 1, capacity + 3};
    if (capacity < 20'000) sizes.insert(sizes.end(), {capacity, 4 * capacity - 1});
    for (const std::uint64_t size : sizes) {
      const Round round = make_round(plan, key, fields_of({{size / 3, 0.5}, {size - size / 3, 3}}));
      const Update update = random_update(round, size);
      for (const codec::Rounding rounding :
           {codec::Rounding::kNearest, codec::Rounding::kStochastic}) {
        EncryptOptions options;
        options.rounding = rounding;
        options.weight = 0.7;
        PadStore store(round, {round.payload_bytes(), 1, 1}, numbered_seeds());
        CHECK(store.wait(kLong));
        CHECK_EQ(store.ready_bytes(), round.payload_bytes());
        const Upload upload = codec::encrypt(round, pieces_of(update), options, store);
        CHECK_EQ(store.ready_bytes(), 0u);
        check_same(upload, reference(round, update, 1, options));
      }
    }
  }
}

TEST("the same bytes on every level, for any number of threads, whoever prepared them") {
  for (const Plan& plan : {make_plan(10, 16), make_plan(10, 16, 4, 128, "n4096")}) {
    const SecretKey key = make_key(plan);
    const Round round = make_round(plan, key, 5 * plan.block_capacity() + 77);
    const Update update = random_update(round, 1);
    const Upload expected = reference(round, update, 1);
    on_every_active_level([&] {
      for (int threads = 0; threads <= 3; ++threads) {
        PadStore store(round, {round.payload_bytes(), 1, threads == 0 ? 1 : threads},
                       numbered_seeds());
        CHECK(store.wait(kLong));
        const ActiveLevel other(threads % 2 == 0 ? "scalar" : isa::kernels().level);
        EncryptOptions options;
        options.threads = threads;
        check_same(codec::encrypt(round, pieces_of(update), options, store), expected);
      }
    });
  }
}

TEST("a budget below an upload prepares its first blocks; the rest is made on the spot") {
  const Plan plan = make_plan(10, 16);
  const SecretKey key = make_key(plan);
  const Round round = make_round(plan, key, 6 * plan.block_capacity() + 100);  // seven blocks
  const std::uint64_t block = plan.block_bytes(plan.block_capacity());
  const std::uint64_t payload = round.payload_bytes();
  const Update update = random_update(round, 1);
  const Upload expected = reference(round, update, 1);
  for (const std::uint64_t budget : {block, 2 * block - 1, 2 * block, payload - 1, payload}) {
    PadStore store(round, {budget, 3, 2}, numbered_seeds());
    CHECK(store.wait(kLong));
    const std::uint64_t whole = budget == payload ? payload : budget / block * block;
    CHECK_EQ(store.planned_bytes(), whole);
    CHECK_EQ(store.ready_bytes(), whole);
    check_same(codec::encrypt(round, pieces_of(update), {}, store), expected);
  }
}

TEST("several uploads within the budget, the last in part; then fresh ones; all of them differ") {
  const Plan plan = make_plan(10, 16);
  const SecretKey key = make_key(plan);
  const Round round = make_round(plan, key, 3 * plan.block_capacity());
  const std::uint64_t payload = round.payload_bytes();
  const Update update = random_update(round, 1);
  PadStore store(round, {2 * payload + payload / 2, 9, 2}, numbered_seeds());
  CHECK(store.wait(kLong));
  CHECK_EQ(store.ready_bytes(), 2 * payload + payload / 3);
  std::set<std::string> seen;
  for (std::uint64_t n = 1; n <= 5; ++n) {
    const Upload upload = codec::encrypt(round, pieces_of(update), {}, store);
    check_same(upload, reference(round, update, n));
    seen.insert(copy_of(upload.blocks()));
  }
  CHECK_EQ(seen.size(), 5u);
  CHECK_EQ(store.ready_bytes(), 0u);
  // `uploads` bounds the number where the budget would allow more.
  PadStore two(round, {9 * payload, 2, 1}, numbered_seeds());
  CHECK(two.wait(kLong));
  CHECK_EQ(two.ready_bytes(), 2 * payload);
}

TEST("seeds of the system: two stores give unrelated pads") {
  const Plan plan = make_plan(10, 16);
  const Round round = make_round(plan, make_key(plan), plan.block_capacity());
  const Update update = random_update(round, 1);
  std::set<std::string> capsules, blocks;
  for (int i = 0; i < 4; ++i) {
    PadStore store(round, {round.payload_bytes(), 1, 1});
    CHECK(store.wait(kLong));
    const Upload upload = codec::encrypt(round, pieces_of(update), {}, store);
    capsules.insert(copy_of(upload.head().capsule));
    blocks.insert(copy_of(upload.blocks()));
  }
  CHECK_EQ(capsules.size(), 4u);
  CHECK_EQ(blocks.size(), 4u);
}

TEST("taken at any moment: what is ready is used, the rest is made, the bytes are the same") {
  const Plan plan = make_plan(10, 16);
  const SecretKey key = make_key(plan);
  const Round round = make_round(plan, key, 12 * plan.block_capacity() + 5);
  const Update update = random_update(round, 1);
  const Upload expected = reference(round, update, 1);
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < 60; ++i) {
    PadStore store(round, {2 * round.payload_bytes(), 2, 1 + i % 3}, numbered_seeds());
    std::this_thread::sleep_for(std::chrono::microseconds(17 * i));
    EncryptOptions options;
    options.threads = 1 + i % 2;
    check_same(codec::encrypt(round, pieces_of(update), options, store), expected);
  }
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::minutes(5));
}

TEST("many takers at once: every upload of the store goes to one of them") {
  const Plan plan = make_plan(10, 16);
  const SecretKey key = make_key(plan);
  const Round round = make_round(plan, key, 4 * plan.block_capacity());
  const Update update = random_update(round, 1);
  constexpr std::uint64_t kUploads = 12;
  std::set<std::string> expected;
  for (std::uint64_t n = 1; n <= kUploads; ++n) {
    expected.insert(copy_of(reference(round, update, n).blocks()));
  }
  PadStore store(round, {kUploads * round.payload_bytes(), kUploads, 2}, numbered_seeds());
  std::set<std::string> found;
  std::mutex guard;
  std::vector<std::thread> takers;
  for (int t = 0; t < 4; ++t) {
    takers.emplace_back([&] {
      for (std::uint64_t n = 0; n < kUploads / 4; ++n) {
        EncryptOptions options;
        options.threads = 1;
        const Upload upload = codec::encrypt(round, pieces_of(update), options, store);
        (void)store.ready_bytes();
        const std::lock_guard<std::mutex> lock(guard);
        found.insert(copy_of(upload.blocks()));
      }
    });
  }
  for (std::thread& taker : takers) taker.join();
  CHECK(found == expected);
  CHECK(store.wait(0));
  CHECK_EQ(store.ready_bytes(), 0u);
}

TEST("a prepared upload is used once, also when the encryption fails") {
  const Plan plan = make_plan(10, 16);
  const Round round = make_round(plan, make_key(plan), 5000);
  const Update update = random_update(round, 1);
  Update bad = random_update(round, 1);
  set_value(bad[0], 4999, std::nan(""));
  PreparedUpload prepared(round, seeds_of(1));
  (void)codec::encrypt(prepared, pieces_of(update), {});
  CHECK_THROWS_WITH(codec::encrypt(prepared, pieces_of(update), {}), RoundError, "used already");
  PreparedUpload other(round, seeds_of(2));
  CHECK_THROWS_WITH(codec::encrypt(other, pieces_of(bad), {}), ParameterError, "not finite");
  CHECK_THROWS_WITH(codec::encrypt(other, pieces_of(update), {}), RoundError, "used already");
  // Moved from: it went with the other one.
  PreparedUpload third(round, seeds_of(3));
  PreparedUpload fourth = std::move(third);
  CHECK_THROWS(codec::encrypt(third, pieces_of(update), {}), RoundError);  // NOLINT
  check_same(codec::encrypt(fourth, pieces_of(update), {}), reference(round, update, 3));
}

TEST("a refused update uses its pads up; arguments that do not fit use up nothing") {
  const Plan plan = make_plan(10, 16);
  const Round round = make_round(plan, make_key(plan), 3 * plan.block_capacity());
  const Update update = random_update(round, 0);
  const std::uint64_t payload = round.payload_bytes();
  PadStore store(round, {4 * payload, 4, 1}, numbered_seeds());
  CHECK(store.wait(kLong));
  const std::vector<codec::Piece> pieces = pieces_of(update);
  CHECK_THROWS(codec::encrypt(round, {}, {}, store), ParameterError);
  EncryptOptions weightless;
  weightless.weight = std::nan("");
  CHECK_THROWS(codec::encrypt(round, pieces, weightless, store), ParameterError);
  CHECK_EQ(store.ready_bytes(), 4 * payload);

  Update bad = random_update(round, 0);
  set_value(bad[0], round.size() - 1, HUGE_VAL);
  CHECK_THROWS(codec::encrypt(round, pieces_of(bad), {}, store), ParameterError);
  CHECK_EQ(store.ready_bytes(), 3 * payload);
  EncryptOptions strict;
  strict.on_clip = codec::OnClip::kError;
  strict.weight = 1e6;
  CHECK_THROWS_WITH(codec::encrypt(round, pieces, strict, store), ParameterError, "on_clip");
  CHECK_EQ(store.ready_bytes(), 2 * payload);
  EncryptOptions cancelled;
  cancelled.progress = [](std::uint64_t, std::uint64_t) { throw std::runtime_error("stop"); };
  CHECK_THROWS(codec::encrypt(round, pieces, cancelled, store), std::runtime_error);
  CHECK_EQ(store.ready_bytes(), payload);
  check_same(codec::encrypt(round, pieces, {}, store), reference(round, update, 4));
}

TEST("pads of another round are refused, whatever else is the same") {
  const Plan plan = make_plan(10, 16);
  const SecretKey key = make_key(plan);
  const Round round = make_round(plan, key, 100, 1), other = make_round(plan, key, 100, 2);
  const Update update = random_update(round, 1);
  PadStore store(round, {round.payload_bytes(), 1, 1});
  CHECK(store.wait(kLong));
  CHECK_THROWS_WITH(codec::encrypt(other, pieces_of(update), {}, store), RoundError,
                    short_hex(other.id()));
  CHECK_EQ(store.ready_bytes(), round.payload_bytes());
}

TEST("budget and counts: both edges") {
  const Plan plan = make_plan(10, 16);
  const SecretKey key = make_key(plan);
  const Round round = make_round(plan, key, 3 * plan.block_capacity());
  const std::uint64_t block = plan.block_bytes(plan.block_capacity());
  const auto make = [&](std::uint64_t budget, std::uint64_t uploads, int threads) {
    PadStore store(round, {budget, uploads, threads});
    return store.planned_bytes();
  };
  CHECK_EQ(make(block, 1, 1), block);
  CHECK_THROWS_WITH(make(block - 1, 1, 1), ParameterError,
                    "takes " + std::to_string(block) + " bytes");
  CHECK_THROWS(make(0, 1, 1), ParameterError);
  CHECK_EQ(make(~std::uint64_t{0}, 1, 1), round.payload_bytes());
  CHECK_THROWS(make(block, 0, 1), ParameterError);
  CHECK_THROWS(make(block, (1 << 16) + 1, 1), ParameterError);
  CHECK_EQ(make(block, 1 << 16, 1), block);
  CHECK_THROWS(make(block, 1, 0), ParameterError);
  CHECK_THROWS(make(block, 1, -1), ParameterError);
  CHECK_THROWS(make(block, 1, 4097), ParameterError);
  // A vector shorter than a block needs no more than it has.
  const Round small = make_round(plan, key, 3);
  PadStore store(small, {small.payload_bytes(), 1, 1});
  CHECK(store.wait(kLong));
  CHECK_EQ(store.ready_bytes(), small.payload_bytes());
}

/// A round that takes a while to prepare: 1,000 blocks, above 8 MiB, so on kept pages.
Round large_round(const Plan& plan, const SecretKey& key) {
  return make_round(plan, key, 1000 * plan.block_capacity());
}

TEST("closed: nothing is ready, nothing can be taken, the threads end soon") {
  const Plan plan = make_plan(10, 16);
  const SecretKey key = make_key(plan);
  const Round round = large_round(plan, key);
  PadStore store(round, {64 * round.payload_bytes(), 8, 2});
  CHECK(!store.closed() && !store.stopped());
  const auto start = std::chrono::steady_clock::now();
  CHECK(!store.wait(0.001));
  store.close();
  store.close();
  // Eight uploads take a hundred milliseconds at the very least; a block takes microseconds.
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(20));
  CHECK(store.closed() && store.stopped());
  CHECK_EQ(store.ready_bytes(), 0u);
  CHECK_EQ(store.planned_bytes(), 0u);
  CHECK(!store.wait(kLong));
  const Update update = random_update(round, 0);
  CHECK_THROWS_WITH(codec::encrypt(round, pieces_of(update), {}, store), ParameterError, "closed");
}

TEST("closing while others wait and take: every call ends") {
  const Plan plan = make_plan(10, 16);
  const SecretKey key = make_key(plan);
  const Round round = make_round(plan, key, 40 * plan.block_capacity());
  for (int i = 0; i < 10; ++i) {
    PadStore store(round, {8 * round.payload_bytes(), 8, 2});
    std::atomic<int> refused{0};
    std::thread waiter([&] { (void)store.wait(kLong); });
    std::thread taker([&] {
      try {
        for (;;) (void)store.take();
      } catch (const ParameterError&) {
        ++refused;
      }
    });
    std::thread closer([&] { store.close(); });
    std::this_thread::sleep_for(std::chrono::microseconds(100 * i));
    store.close();
    waiter.join();
    taker.join();
    closer.join();
    CHECK_EQ(refused.load(), 1);
  }
}

TEST("background time is counted") {
  const Plan plan = make_plan(10, 16);
  const SecretKey key = make_key(plan);
  const Round round = make_round(plan, key, 50 * plan.block_capacity());
  PadStore store(round, {round.payload_bytes(), 1, 1});
  CHECK(store.wait(kLong));
  const double seconds = store.background_seconds();
  CHECK(seconds > 0);
  (void)store.take();
  CHECK_EQ(store.background_seconds(), seconds);
}

TEST("a forked child gets no pads, and the parent's stay good") {
  const Plan plan = make_plan(10, 16);
  const SecretKey key = make_key(plan);
  const Round round = make_round(plan, key, 20 * plan.block_capacity());
  const Update update = random_update(round, 1);
  for (const bool ready : {true, false}) {
#if defined(VEILSUM_ALLOCATION_HOOKS)
    // The background thread may be inside a sanitizer's allocator, which a fork leaves locked.
    if (!ready) continue;
#endif
    PadStore store(round, {round.payload_bytes(), 1, 1}, numbered_seeds());
    if (ready) CHECK(store.wait(kLong));
    const Ending child = run_child([&] {
      try {
        (void)store.take();
        return 1;
      } catch (const RoundError&) {
      }
      if (store.ready_bytes() != 0 || store.wait(0) || !store.stopped()) return 2;
      store.close();  // must not wait for threads that are not there
      store.~PadStore();
      return 0;
    });
    CHECK_EQ(child.exit_status, 0);
    check_same(codec::encrypt(round, pieces_of(update), {}, store), reference(round, update, 1));
  }
}

TEST("an encryption that is forked inside goes on in the parent only") {
  const Plan plan = make_plan(10, 16);
  const SecretKey key = make_key(plan);
  const Round round = make_round(plan, key, 3 * plan.block_capacity());
  const Update update = random_update(round, 1);
  PadStore store(round, {round.payload_bytes(), 1, 1}, numbered_seeds());
  CHECK(store.wait(kLong));
  bool in_child = false;
  int child_status = -1;
  EncryptOptions options;
  options.threads = 1;
  options.progress = [&](std::uint64_t, std::uint64_t) {
    const pid_t child = ::fork();
    if (child == 0) {
      in_child = true;
    } else {
      child_status = wait_for(child).exit_status;
    }
  };
  int status = 1;
  try {
    const Upload upload = codec::encrypt(round, pieces_of(update), options, store);
    if (!in_child) check_same(upload, reference(round, update, 1));
  } catch (const RoundError&) {
    status = 0;
  }
  if (in_child) ::_exit(status);
  CHECK_EQ(child_status, 0);
  CHECK_EQ(status, 1);  // the parent met no error
}

/// Nonzero bytes that the next buffer of the same size finds on the pages that went back last.
std::size_t nonzero_on_kept_pages(std::size_t bytes, const std::uint8_t* pages) {
  const AlignedBuffer<std::uint8_t> again(bytes);
  if (again.data() != pages) return bytes;
  return bytes - static_cast<std::size_t>(std::count(again.begin(), again.end(), 0));
}

TEST("the kept pages never hold pads: dropped, closed, or refused half-way") {
#if defined(VEILSUM_ALLOCATION_HOOKS)
  SKIP("sanitizers keep no pages; the tests below watch the memory as it is freed");
#endif
  const Plan plan = make_plan(10, 16);
  const SecretKey key = make_key(plan);
  const Round round = large_round(plan, key);
  const auto payload = static_cast<std::size_t>(round.payload_bytes());
  const std::uint8_t* pages = nullptr;
  const auto remember = [&] {  // what a store will take, being the last that went back
    const AlignedBuffer<std::uint8_t> buffer(payload, Initialise::kZero);
    pages = buffer.data();
  };
  const PadOptions one = {round.payload_bytes(), 1, 1};
  remember();
  {
    PadStore store(round, one);
    CHECK(store.wait(kLong));
  }
  CHECK_EQ(nonzero_on_kept_pages(payload, pages), 0u);
  remember();
  {
    PadStore store(round, one);
    (void)store.wait(0.004);
    store.close();
    CHECK_EQ(nonzero_on_kept_pages(payload, pages), 0u);
  }
  remember();
  {
    PadStore store(round, one);
    CHECK(store.wait(kLong));
    (void)store.take();
    CHECK_EQ(nonzero_on_kept_pages(payload, pages), 0u);
  }
  std::vector<float> values(round.size(), 0.5f);
  values[round.size() / 2] = std::nanf("");
  const codec::Piece piece = {values.data(), ElementType::kFloat32, round.size()};
  remember();
  {
    PadStore store(round, one);
    CHECK(store.wait(kLong));
    CHECK_THROWS(codec::encrypt(round, {&piece, 1}, {}, store), ParameterError);
    CHECK_EQ(nonzero_on_kept_pages(payload, pages), 0u);
  }
}

#if defined(VEILSUM_ALLOCATION_HOOKS)
codec::PadBuffer touched_buffer(std::size_t bytes) {
  codec::PadBuffer buffer(bytes);
  std::fill_n(buffer.data(), bytes, std::uint8_t{0x5a});
  buffer.touch(bytes);
  return buffer;
}
#endif

TEST("what was touched is wiped when it goes, and only that; what was released is left alone") {
#if defined(VEILSUM_ALLOCATION_HOOKS)
  constexpr std::size_t kBytes = 1000;
  codec::PadBuffer buffer = touched_buffer(kBytes);
  CHECK_EQ(nonzero_at_free(buffer.data(), kBytes,
                           [&] { const codec::PadBuffer gone = std::move(buffer); }),
           0u);
  buffer = touched_buffer(kBytes);
  CHECK_EQ(nonzero_at_free(buffer.data(), kBytes, [&] { buffer = codec::PadBuffer(8); }), 0u);
  codec::PadBuffer half(kBytes);
  std::fill_n(half.data(), kBytes, std::uint8_t{0x5a});
  half.touch(400);
  half.touch(100);
  CHECK_EQ(nonzero_at_free(half.data(), kBytes, [&] { half = codec::PadBuffer(8); }), 600u);
  buffer = touched_buffer(kBytes);
  CHECK_EQ(nonzero_at_free(buffer.data(), kBytes,
                           [&] {
                             const AlignedBuffer<std::uint8_t> out = std::move(buffer).release();
                             CHECK_EQ(out[kBytes - 1], 0x5a);
                           }),
           kBytes);
#else
  SKIP("seeing memory as it is freed takes a sanitizer's hook; the asan and tsan presets have it");
#endif
}

}  // namespace
}  // namespace veilsum::test
