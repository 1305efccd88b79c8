// Layer: tests (cipher). Pads made ahead: the same bytes as without them in every interleaving, for
// every ring, budget, level and number of threads; each upload handed out once; what is not used,
// or met a message that was refused, is wiped; a forked child gets nothing.
#include "cipher/pad_store.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "check.h"
#include "cipher/encrypt.h"
#include "support/active_level.h"
#include "support/child.h"
#include "support/freed_memory.h"
#include "support/toy_engine.h"
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

using cipher::all_pad_bytes;
using cipher::EncryptOptions;
using cipher::full_pad_bytes;
using cipher::PadOptions;
using cipher::PadStore;
using cipher::PreparedUpload;
using cipher::UploadSeeds;
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
  return cipher::encrypt_with_seeds(round, pieces_of(update), options, kSealer, seeds_of(n));
}

void check_same(const Upload& a, const Upload& b) {
  CHECK(copy_of(a.blocks()) == copy_of(b.blocks()));
  CHECK(a.head().part == b.head().part);
  CHECK(a.head().nonce == b.head().nonce);
  CHECK_EQ(a.head().clipped, b.head().clipped);
}

std::vector<Plan> plans() {
  std::vector<Plan> out = plans_of_every_ring();
  out.push_back(make_plan(2, 2));                   // fourteen digits
  out.push_back(make_plan(2, 2, 0, 128, "n8192"));  // digits in several planes
  return out;
}

TEST(
    "from ready pads: the bytes of an ordinary encryption, for every ring, size, rounding and "
    "kappa") {
  for (const Plan& plan : plans()) {
    const SecretKey key = make_key();
    const std::uint64_t capacity = plan.block_capacity();
    std::vector<std::uint64_t> sizes = {1, 8 * plan.digits() + 1, capacity + 3};
    if (capacity < 20'000) sizes.insert(sizes.end(), {capacity, 4 * capacity - 1});
    for (const std::uint64_t size : sizes) {
      const Round round =
          make_round(plan, key, fields_of({{size / 3, 0.5}, {size - size / 3, 3}}, size % 3 + 1));
      const Update update = random_update(round, size);
      for (const cipher::Rounding rounding :
           {cipher::Rounding::kNearest, cipher::Rounding::kStochastic}) {
        EncryptOptions options;
        options.rounding = rounding;
        options.weight = 0.7;
        PadStore store(round, {all_pad_bytes(round), 1, 1}, numbered_seeds());
        CHECK(store.wait(kLong));
        CHECK_EQ(store.ready_bytes(), all_pad_bytes(round));
        const Upload upload = cipher::encrypt(round, pieces_of(update), options, kSealer, store);
        CHECK_EQ(store.ready_bytes(), 0u);
        check_same(upload, reference(round, update, 1, options));
      }
    }
  }
}

TEST("the same bytes on every level, for any number of threads, whoever prepared them") {
  for (const Plan& plan : {make_plan(10, 16), make_plan(10, 16, 4, 128, "n4096")}) {
    const SecretKey key = make_key();
    const Round round =
        make_round(plan, key, fields_of({{5 * plan.block_capacity() + 77, 1.0}}, 3));
    const Update update = random_update(round, 1);
    const Upload expected = reference(round, update, 1);
    on_every_active_level([&] {
      for (int threads = 0; threads <= 3; ++threads) {
        PadStore store(round, {all_pad_bytes(round), 1, threads == 0 ? 1 : threads},
                       numbered_seeds());
        CHECK(store.wait(kLong));
        const ActiveLevel other(threads % 2 == 0 ? "scalar" : isa::kernels().level);
        EncryptOptions options;
        options.threads = threads;
        check_same(cipher::encrypt(round, pieces_of(update), options, kSealer, store), expected);
      }
    });
  }
}

TEST("what pads take: 48 bits a residue, of every block at a full one's distance") {
  const SecretKey key = make_key();
  for (const Plan& plan : plans_of_every_ring()) {
    const Round round = make_round(plan, key, fields_of({{2 * plan.block_capacity() + 9, 1.0}}, 3));
    const std::size_t full = std::size_t{plan.degree()} * plan.limbs() * 6;
    CHECK_EQ(full_pad_bytes(round), full);
    CHECK_EQ(round.blocks(), 6u);
    for (const std::uint64_t block : {0u, 1u, 3u, 4u, 5u}) {
      CHECK_EQ(cipher::pad_bytes(round, block), full);
    }
    // The short block of values; the blocks of zeros behind it are full.
    CHECK_EQ(cipher::pad_bytes(round, 2), round.block_coefficients(2) * plan.limbs() * 6);
    CHECK(cipher::pad_bytes(round, 2) < full);
    CHECK_EQ(cipher::pad_buffer_bytes(round), 6 * full);
    std::uint64_t together = 0;
    for (std::uint64_t block = 0; block < round.blocks(); ++block) {
      CHECK_EQ(cipher::first_pad_bytes(round, block), together);
      together += cipher::pad_bytes(round, block);
    }
    CHECK_EQ(cipher::first_pad_bytes(round, round.blocks()), together);
    CHECK_EQ(all_pad_bytes(round), together);
  }
}

TEST("a budget below an upload prepares its first blocks; the rest is made on the spot") {
  const Plan plan = make_plan(10, 16);
  const SecretKey key = make_key();
  for (const std::uint64_t upload_keys : {1u, 3u}) {
    // Seven blocks of values, the last of which is short, and those of zeros.
    const Round round =
        make_round(plan, key, fields_of({{6 * plan.block_capacity() + 100, 1.0}}, upload_keys));
    const std::uint64_t block = full_pad_bytes(round), whole = all_pad_bytes(round);
    const std::uint64_t last_values = cipher::pad_bytes(round, 6);
    CHECK(last_values < block);
    const Update update = random_update(round, 1);
    const Upload expected = reference(round, update, 1);
    const std::pair<std::uint64_t, std::uint64_t> budgets[] = {
        {block, block},
        {2 * block - 1, block},
        {2 * block, 2 * block},
        {6 * block + last_values - 1, 6 * block},
        {6 * block + last_values, 6 * block + last_values},
        {7 * block + last_values - 1, 6 * block + last_values},
        {7 * block + last_values, 7 * block + last_values},
        {whole - 1, whole - block},
        {whole, whole}};
    for (const auto& [budget, planned] : budgets) {
      PadStore store(round, {budget, 1, 2}, numbered_seeds());
      CHECK_EQ(store.planned_bytes(), planned);
      CHECK(store.wait(kLong));
      CHECK_EQ(store.ready_bytes(), planned);
      check_same(cipher::encrypt(round, pieces_of(update), {}, kSealer, store), expected);
    }
  }
}

TEST("several uploads within the budget, the last in part; then fresh ones; all of them differ") {
  const Plan plan = make_plan(10, 16);
  const SecretKey key = make_key();
  const Round round = make_round(plan, key, 3 * plan.block_capacity());  // and a check block
  const std::uint64_t whole = all_pad_bytes(round), block = full_pad_bytes(round);
  CHECK_EQ(whole, 4 * block);
  const Update update = random_update(round, 1);
  PadStore store(round, {2 * whole + whole / 2 + 5, 9, 2}, numbered_seeds());
  CHECK(store.wait(kLong));
  CHECK_EQ(store.ready_bytes(), 2 * whole + 2 * block);
  std::set<std::string> seen;
  for (std::uint64_t n = 1; n <= 5; ++n) {
    const Upload upload = cipher::encrypt(round, pieces_of(update), {}, kSealer, store);
    check_same(upload, reference(round, update, n));
    seen.insert(copy_of(upload.blocks()));
  }
  CHECK_EQ(seen.size(), 5u);
  CHECK_EQ(store.ready_bytes(), 0u);
  // `uploads` bounds the number where the budget would allow more.
  PadStore two(round, {9 * whole, 2, 1}, numbered_seeds());
  CHECK(two.wait(kLong));
  CHECK_EQ(two.ready_bytes(), 2 * whole);
}

TEST("seeds of the system: two stores give unrelated pads") {
  const Plan plan = make_plan(10, 16);
  const Round round = make_round(plan, make_key(), plan.block_capacity());
  const Update update = random_update(round, 1);
  std::set<std::string> sealed, blocks;
  for (int i = 0; i < 4; ++i) {
    PadStore store(round, {all_pad_bytes(round), 1, 1});
    CHECK(store.wait(kLong));
    const Upload upload = cipher::encrypt(round, pieces_of(update), {}, kSealer, store);
    sealed.insert(copy_of(upload.head().part.bytes()));
    blocks.insert(copy_of(upload.blocks()));
  }
  CHECK_EQ(sealed.size(), 4u);
  CHECK_EQ(blocks.size(), 4u);
}

TEST("taken at any moment: what is ready is used, the rest is made, the bytes are the same") {
  const Plan plan = make_plan(10, 16);
  const SecretKey key = make_key();
  const Round round = make_round(plan, key, 12 * plan.block_capacity() + 5);
  const Update update = random_update(round, 1);
  const Upload expected = reference(round, update, 1);
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < 60; ++i) {
    PadStore store(round, {2 * all_pad_bytes(round), 2, 1 + i % 3}, numbered_seeds());
    std::this_thread::sleep_for(std::chrono::microseconds(17 * i));
    EncryptOptions options;
    options.threads = 1 + i % 2;
    check_same(cipher::encrypt(round, pieces_of(update), options, kSealer, store), expected);
  }
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::minutes(5));
}

TEST("many takers at once: every upload of the store goes to one of them") {
  const Plan plan = make_plan(10, 16);
  const SecretKey key = make_key();
  const Round round = make_round(plan, key, 4 * plan.block_capacity());
  const Update update = random_update(round, 1);
  constexpr std::uint64_t kUploads = 12;
  std::set<std::string> expected;
  for (std::uint64_t n = 1; n <= kUploads; ++n) {
    expected.insert(copy_of(reference(round, update, n).blocks()));
  }
  PadStore store(round, {kUploads * all_pad_bytes(round), kUploads, 2}, numbered_seeds());
  std::set<std::string> found;
  std::mutex guard;
  std::vector<std::thread> takers;
  for (int t = 0; t < 4; ++t) {
    takers.emplace_back([&] {
      for (std::uint64_t n = 0; n < kUploads / 4; ++n) {
        EncryptOptions options;
        options.threads = 1;
        const Upload upload = cipher::encrypt(round, pieces_of(update), options, kSealer, store);
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
  const Round round = make_round(plan, make_key(), 5000);
  const Update update = random_update(round, 1);
  Update bad = random_update(round, 1);
  set_value(bad[0], 4999, std::nan(""));
  PreparedUpload prepared(round, seeds_of(1));
  (void)cipher::encrypt(prepared, pieces_of(update), {}, kSealer);
  CHECK_THROWS_WITH(cipher::encrypt(prepared, pieces_of(update), {}, kSealer), RoundError,
                    "used already");
  PreparedUpload other(round, seeds_of(2));
  CHECK_THROWS_WITH(cipher::encrypt(other, pieces_of(bad), {}, kSealer), ParameterError,
                    "not finite");
  CHECK_THROWS_WITH(cipher::encrypt(other, pieces_of(update), {}, kSealer), RoundError,
                    "used already");
  // Moved from: it went with the other one.
  PreparedUpload third(round, seeds_of(3));
  PreparedUpload fourth = std::move(third);
  CHECK_THROWS(cipher::encrypt(third, pieces_of(update), {}, kSealer), RoundError);  // NOLINT
  check_same(cipher::encrypt(fourth, pieces_of(update), {}, kSealer), reference(round, update, 3));
}

TEST("a refused update uses its pads up; arguments that do not fit use up nothing") {
  const Plan plan = make_plan(10, 16);
  const Round round = make_round(plan, make_key(), 3 * plan.block_capacity());
  const Update update = random_update(round, 0);
  const std::uint64_t payload = all_pad_bytes(round);
  PadStore store(round, {4 * payload, 4, 1}, numbered_seeds());
  CHECK(store.wait(kLong));
  const std::vector<cipher::Piece> pieces = pieces_of(update);
  CHECK_THROWS(cipher::encrypt(round, {}, {}, kSealer, store), ParameterError);
  EncryptOptions weightless;
  weightless.weight = std::nan("");
  CHECK_THROWS(cipher::encrypt(round, pieces, weightless, kSealer, store), ParameterError);
  CHECK_EQ(store.ready_bytes(), 4 * payload);

  Update bad = random_update(round, 0);
  set_value(bad[0], round.size() - 1, HUGE_VAL);
  CHECK_THROWS(cipher::encrypt(round, pieces_of(bad), {}, kSealer, store), ParameterError);
  CHECK_EQ(store.ready_bytes(), 3 * payload);
  EncryptOptions strict;
  strict.on_clip = cipher::OnClip::kError;
  strict.weight = 1e6;
  CHECK_THROWS_WITH(cipher::encrypt(round, pieces, strict, kSealer, store), ParameterError,
                    "on_clip");
  CHECK_EQ(store.ready_bytes(), 2 * payload);
  EncryptOptions cancelled;
  cancelled.progress = [](std::uint64_t, std::uint64_t) { throw std::runtime_error("stop"); };
  CHECK_THROWS(cipher::encrypt(round, pieces, cancelled, kSealer, store), std::runtime_error);
  CHECK_EQ(store.ready_bytes(), payload);
  check_same(cipher::encrypt(round, pieces, {}, kSealer, store), reference(round, update, 4));
}

TEST("pads of another round are refused, whatever else is the same") {
  const Plan plan = make_plan(10, 16);
  const SecretKey key = make_key();
  const Round round = make_round(plan, key, 100, 1), other = make_round(plan, key, 100, 2);
  const Update update = random_update(round, 1);
  PadStore store(round, {all_pad_bytes(round), 1, 1});
  CHECK(store.wait(kLong));
  CHECK_THROWS_WITH(cipher::encrypt(other, pieces_of(update), {}, kSealer, store), RoundError,
                    short_hex(other.id()));
  CHECK_EQ(store.ready_bytes(), all_pad_bytes(round));
}

TEST("a round of another engine has no pads, and says so wherever it is asked for them") {
  const Round round = make_toy_round(make_toy_key());
  const std::string why = "this is for the native engine's rounds";
  CHECK_THROWS_WITH(full_pad_bytes(round), RoundError, why);
  CHECK_THROWS_WITH(cipher::pad_bytes(round, 0), RoundError, why);
  CHECK_THROWS_WITH(cipher::first_pad_bytes(round, 1), RoundError, why);
  CHECK_THROWS_WITH(all_pad_bytes(round), RoundError, why);
  CHECK_THROWS_WITH(cipher::pad_buffer_bytes(round), RoundError, why);
  CHECK_THROWS_WITH(PadStore(round, {1 << 20, 1, 1}), RoundError, why);
}

TEST("budget and counts: both edges") {
  const Plan plan = make_plan(10, 16);
  const SecretKey key = make_key();
  const Round round = make_round(plan, key, 3 * plan.block_capacity());
  const std::uint64_t block = full_pad_bytes(round);
  const auto make = [&](std::uint64_t budget, std::uint64_t uploads, int threads) {
    PadStore store(round, {budget, uploads, threads});
    return store.planned_bytes();
  };
  CHECK_EQ(make(block, 1, 1), block);
  CHECK_THROWS_WITH(make(block - 1, 1, 1), ParameterError,
                    "takes " + std::to_string(block) + " bytes");
  CHECK_THROWS(make(0, 1, 1), ParameterError);
  CHECK_EQ(make(~std::uint64_t{0}, 1, 1), all_pad_bytes(round));
  CHECK_THROWS(make(block, 0, 1), ParameterError);
  CHECK_THROWS(make(block, (1 << 16) + 1, 1), ParameterError);
  CHECK_EQ(make(block, 1 << 16, 1), block);
  CHECK_THROWS(make(block, 1, 0), ParameterError);
  CHECK_THROWS(make(block, 1, -1), ParameterError);
  CHECK_THROWS(make(block, 1, 4097), ParameterError);
  // A short block is prepared for less than a full one takes; the one of zeros behind it is full.
  const Round small = make_round(plan, key, 3);
  PadStore store(small, {all_pad_bytes(small), 1, 1});
  CHECK(store.wait(kLong));
  CHECK_EQ(store.ready_bytes(), cipher::pad_bytes(small, 0) + full_pad_bytes(small));
  PadStore least(small, {cipher::pad_bytes(small, 0), 1, 1});
  CHECK(least.wait(kLong));
  CHECK_EQ(least.ready_bytes(), cipher::pad_bytes(small, 0));
  CHECK_THROWS_WITH(PadStore(small, {cipher::pad_bytes(small, 0) - 1, 1, 1}), ParameterError,
                    "holds no block");
}

/// A round that takes a while to prepare: 1,001 blocks, above 8 MiB, so on kept pages.
Round large_round(const Plan& plan, const SecretKey& key) {
  return make_round(plan, key, 1000 * plan.block_capacity());
}

TEST("closed: nothing is ready, nothing can be taken, the threads end soon") {
  const Plan plan = make_plan(10, 16);
  const SecretKey key = make_key();
  const Round round = large_round(plan, key);
  PadStore store(round, {64 * all_pad_bytes(round), 8, 2});
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
  CHECK_THROWS_WITH(cipher::encrypt(round, pieces_of(update), {}, kSealer, store), ParameterError,
                    "closed");
}

TEST("closing while others wait and take: every call ends") {
  const Plan plan = make_plan(10, 16);
  const SecretKey key = make_key();
  const Round round = make_round(plan, key, 40 * plan.block_capacity());
  for (int i = 0; i < 10; ++i) {
    PadStore store(round, {8 * all_pad_bytes(round), 8, 2});
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
  const SecretKey key = make_key();
  const Round round = make_round(plan, key, 50 * plan.block_capacity());
  PadStore store(round, {all_pad_bytes(round), 1, 1});
  CHECK(store.wait(kLong));
  const double seconds = store.background_seconds();
  CHECK(seconds > 0);
  (void)store.take();
  CHECK_EQ(store.background_seconds(), seconds);
}

TEST("a forked child gets no pads, and the parent's stay good") {
  const Plan plan = make_plan(10, 16);
  const SecretKey key = make_key();
  const Round round = make_round(plan, key, 20 * plan.block_capacity());
  const Update update = random_update(round, 1);
  for (const bool ready : {true, false}) {
#if defined(VEILSUM_ALLOCATION_HOOKS)
    // The background thread may be inside a sanitizer's allocator, which a fork leaves locked.
    if (!ready) continue;
#endif
    PadStore store(round, {all_pad_bytes(round), 1, 1}, numbered_seeds());
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
    check_same(cipher::encrypt(round, pieces_of(update), {}, kSealer, store),
               reference(round, update, 1));
  }
}

TEST("an encryption that is forked inside goes on in the parent only") {
  const Plan plan = make_plan(10, 16);
  const SecretKey key = make_key();
  const Round round = make_round(plan, key, 3 * plan.block_capacity());
  const Update update = random_update(round, 1);
  PadStore store(round, {all_pad_bytes(round), 1, 1}, numbered_seeds());
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
    const Upload upload = cipher::encrypt(round, pieces_of(update), options, kSealer, store);
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

TEST("the kept pages never hold pads: used, dropped, closed, or refused half-way") {
#if defined(VEILSUM_ALLOCATION_HOOKS)
  SKIP("sanitizers keep no pages; the tests below watch the memory as it is freed");
#endif
  const Plan plan = make_plan(10, 16);
  const SecretKey key = make_key();
  const Round round = large_round(plan, key);
  const auto bytes = static_cast<std::size_t>(all_pad_bytes(round));
  const std::uint8_t* pages = nullptr;
  const auto remember = [&] {  // what a store will take, being the last that went back
    const AlignedBuffer<std::uint8_t> buffer(bytes, Initialise::kZero);
    pages = buffer.data();
  };
  // Pads that were used are wiped on a thread of the store's, which has ended when the store has.
  const PadOptions one = {all_pad_bytes(round), 1, 1};
  remember();
  {
    PadStore store(round, one);
    CHECK(store.wait(kLong));
  }
  CHECK_EQ(nonzero_on_kept_pages(bytes, pages), 0u);
  remember();
  {
    PadStore store(round, one);
    (void)store.wait(0.004);
    store.close();
  }
  CHECK_EQ(nonzero_on_kept_pages(bytes, pages), 0u);
  remember();
  {
    PadStore store(round, one);
    CHECK(store.wait(kLong));
    (void)store.take();
  }
  CHECK_EQ(nonzero_on_kept_pages(bytes, pages), 0u);
  std::vector<float> values(round.size(), 0.5f);
  const cipher::Piece piece = {values.data(), ElementType::kFloat32, round.size()};
  remember();
  {
    // Its pages are as many as those of the pads: it keeps them until these were looked at, which
    // go back at some time after the encryption.
    std::optional<Upload> upload;
    {
      PadStore store(round, one);
      CHECK(store.wait(kLong));
      upload.emplace(cipher::encrypt(round, {&piece, 1}, {}, kSealer, store));
    }
    CHECK_EQ(nonzero_on_kept_pages(bytes, pages), 0u);
  }
  values[round.size() / 2] = std::nanf("");
  remember();
  {
    PadStore store(round, one);
    CHECK(store.wait(kLong));
    CHECK_THROWS(cipher::encrypt(round, {&piece, 1}, {}, kSealer, store), ParameterError);
  }
  CHECK_EQ(nonzero_on_kept_pages(bytes, pages), 0u);
}

#if defined(VEILSUM_ALLOCATION_HOOKS)
cipher::PadBuffer touched_buffer(std::size_t bytes,
                                 std::shared_ptr<cipher::PadWiper> wiper = nullptr) {
  cipher::PadBuffer buffer(bytes, std::move(wiper));
  std::fill_n(buffer.data(), bytes, std::uint8_t{0x5a});
  buffer.touch(bytes);
  return buffer;
}
#endif

TEST("what was touched is wiped when it goes, and only that") {
#if defined(VEILSUM_ALLOCATION_HOOKS)
  constexpr std::size_t kBytes = 1000;
  cipher::PadBuffer buffer = touched_buffer(kBytes);
  CHECK_EQ(nonzero_at_free(buffer.data(), kBytes,
                           [&] { const cipher::PadBuffer gone = std::move(buffer); }),
           0u);
  buffer = touched_buffer(kBytes);
  CHECK_EQ(nonzero_at_free(buffer.data(), kBytes, [&] { buffer = cipher::PadBuffer(8); }), 0u);
  cipher::PadBuffer half(kBytes);
  std::fill_n(half.data(), kBytes, std::uint8_t{0x5a});
  half.touch(400);
  half.touch(100);
  CHECK_EQ(nonzero_at_free(half.data(), kBytes, [&] { half = cipher::PadBuffer(8); }), 600u);
  // By a wiper, on its thread or, while that is busy, at once; and waited for when the wiper goes.
  auto wiper = std::make_shared<cipher::PadWiper>();
  cipher::PadBuffer given = touched_buffer(kBytes, wiper);
  CHECK_EQ(nonzero_at_free(given.data(), kBytes,
                           [&] {
                             given = cipher::PadBuffer(8);
                             wiper.reset();
                           }),
           0u);
  wiper = std::make_shared<cipher::PadWiper>();
  cipher::PadBuffer large = touched_buffer(std::size_t{64} << 20, wiper);
  cipher::PadBuffer second = touched_buffer(kBytes, wiper);
  CHECK_EQ(nonzero_at_free(second.data(), kBytes,
                           [&] {
                             large = cipher::PadBuffer(8);
                             second = cipher::PadBuffer(8);
                             wiper.reset();
                           }),
           0u);
#else
  SKIP("seeing memory as it is freed takes a sanitizer's hook; the asan and tsan presets have it");
#endif
}

TEST(
    "pads that met their message are wiped, check blocks' too, and so are those of a refused one") {
#if defined(VEILSUM_ALLOCATION_HOOKS)
  const Plan plan = make_plan(10, 16);
  const SecretKey key = make_key();
  const Round round = make_round(plan, key, fields_of({{3 * plan.block_capacity() + 9, 1.0}}, 2));
  Update update = random_update(round, 1);
  const Upload expected = reference(round, update, 1);
  /// An upload with every pad ready, and where its pads are.
  const auto prepare = [&](const std::uint8_t*& pads) {
    auto secrets = std::make_shared<const cipher::UploadSecrets>(round, seeds_of(1));
    cipher::PadBuffer buffer(static_cast<std::size_t>(cipher::pad_buffer_bytes(round)));
    cipher::PadMaker maker(round);
    std::fill_n(buffer.data(), buffer.size(), std::uint8_t{0});
    for (std::uint64_t block = 0; block < round.blocks(); ++block) {
      cipher::make_pad_into(round, *secrets, block, maker,
                            buffer.data() + block * full_pad_bytes(round));
    }
    buffer.touch(buffer.size());
    pads = buffer.data();
    CHECK(std::count(pads, pads + buffer.size(), 0) < static_cast<long>(buffer.size() / 4));
    return PreparedUpload(round, std::move(secrets), std::move(buffer),
                          std::vector<std::uint8_t>(round.blocks(), 1));
  };
  const auto bytes = static_cast<std::size_t>(cipher::pad_buffer_bytes(round));
  const std::uint8_t* pads = nullptr;
  PreparedUpload good = prepare(pads);
  CHECK_EQ(
      nonzero_at_free(
          pads, bytes,
          [&] { check_same(cipher::encrypt(good, pieces_of(update), {}, kSealer), expected); }),
      0u);
  PreparedUpload refused = prepare(pads);
  set_value(update[0], 5, std::nan(""));
  CHECK_EQ(nonzero_at_free(pads, bytes,
                           [&] {
                             CHECK_THROWS(cipher::encrypt(refused, pieces_of(update), {}, kSealer),
                                          ParameterError);
                           }),
           0u);
#else
  SKIP("seeing memory as it is freed takes a sanitizer's hook; the asan and tsan presets have it");
#endif
}

}  // namespace
}  // namespace veilsum::test
