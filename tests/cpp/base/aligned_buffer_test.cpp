// Layer: tests (base). Buffers: aligned, whole to the last element (the sanitizer watches), moved
// but never copied, and wiped before their memory goes back when they hold secrets.
#include "base/aligned_buffer.h"

#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <limits>
#include <new>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/entropy.h"
#include "base/wipe.h"
#include "check.h"
#include "support/allocations.h"
#include "support/child.h"

// The tests ask for more memory than there is; a sanitizer's allocator has to say no, not abort.
extern "C" {
[[gnu::visibility("default")]] const char* __asan_default_options() {
  return "allocator_may_return_null=1";
}
[[gnu::visibility("default")]] const char* __tsan_default_options() {
  return "allocator_may_return_null=1";
}
}

namespace veilsum::test {
namespace {

static_assert(!std::is_copy_constructible_v<SecretBuffer<int>>);
static_assert(!std::is_copy_assignable_v<SecretBuffer<int>>);
static_assert(std::is_nothrow_move_constructible_v<SecretBuffer<int>>);
static_assert(std::is_nothrow_move_assignable_v<SecretBuffer<int>>);

template <typename Buffer, typename T>
void check_sizes() {
  for (std::size_t size = 1; size < 200; ++size) {
    Buffer buffer(size);
    CHECK_EQ(reinterpret_cast<std::uintptr_t>(buffer.data()) % 64, 0u);
    CHECK_EQ(buffer.size(), size);
    CHECK(!buffer.empty());
    for (std::size_t i = 0; i < size; ++i) buffer[i] = static_cast<T>(i);
    CHECK_EQ(buffer.end() - buffer.begin(), static_cast<std::ptrdiff_t>(size));
    CHECK_EQ(buffer.span().size(), size);
    CHECK_EQ(std::as_const(buffer).span().back(), static_cast<T>(size - 1));
  }
}

TEST("buffers lie on 64-byte boundaries and hold their elements, for any size and type") {
  check_sizes<AlignedBuffer<std::uint8_t>, std::uint8_t>();
  check_sizes<AlignedBuffer<std::uint64_t>, std::uint64_t>();
  check_sizes<SecretBuffer<std::int8_t>, std::int8_t>();
  check_sizes<SecretBuffer<double>, double>();
}

TEST("empty buffers own nothing") {
  const AlignedBuffer<int> none;
  const SecretBuffer<int> zero(0, Initialise::kZero);
  CHECK(none.data() == nullptr && none.empty());
  CHECK(zero.data() == nullptr && zero.empty());
  CHECK(zero.begin() == zero.end());
}

TEST("zeroed on request, also in memory that was used before") {
  for (int round = 0; round < 20; ++round) {
    {
      AlignedBuffer<std::uint64_t> dirty(100);
      for (std::uint64_t& word : dirty) word = ~std::uint64_t{0};
    }
    const AlignedBuffer<std::uint64_t> zeroed(100, Initialise::kZero);
    std::uint64_t any = 0;
    for (const std::uint64_t word : zeroed) any |= word;
    CHECK_EQ(any, 0u);
  }
}

constexpr std::size_t kMiB = std::size_t{1} << 20;

TEST("large buffers, which are kept for reuse: aligned, apart, and zeroed on request") {
  const std::size_t sizes[] = {kMiB / 8 - 1, kMiB / 8,     kMiB,      8 * kMiB - 1,
                               8 * kMiB,     8 * kMiB + 1, 10 * kMiB, 10 * kMiB + 3};
  for (int repeat = 0; repeat < 3; ++repeat) {
    std::vector<AlignedBuffer<std::uint8_t>> alive;
    for (const std::size_t size : sizes) alive.emplace_back(size);
    for (std::size_t i = 0; i < alive.size(); ++i) {
      CHECK_EQ(reinterpret_cast<std::uintptr_t>(alive[i].data()) % 64, 0u);
      std::memset(alive[i].data(), static_cast<int>(i + 1), alive[i].size());
    }
    for (std::size_t i = 0; i < alive.size(); ++i) {
      std::size_t wrong = 0;
      for (const std::uint8_t byte : alive[i]) wrong += byte != i + 1;
      CHECK_EQ(wrong, 0u);
    }
    alive.erase(alive.begin() + 1);
    const AlignedBuffer<std::uint8_t> zeroed(8 * kMiB, Initialise::kZero);
    std::size_t any = 0;
    for (const std::uint8_t byte : zeroed) any |= byte;
    CHECK_EQ(any, 0u);
  }
}

#if !defined(VEILSUM_ALLOCATION_HOOKS)  // under a sanitizer nothing is kept
TEST("memory from 128 KiB on waits for the next request of its size, wiped if it held secrets") {
  for (const std::size_t size : {kMiB / 8, kMiB, 3 * kMiB + 1, 8 * kMiB, 8 * kMiB + 1}) {
    const std::uint8_t* first = nullptr;
    {
      AlignedBuffer<std::uint8_t> buffer(size);
      std::memset(buffer.data(), 7, size);
      first = buffer.data();
    }
    {
      const AlignedBuffer<std::uint8_t> other(size - 64 * 1024);  // would fit in its place
      CHECK(other.data() != first);
      SecretBuffer<std::uint8_t> again(size);
      CHECK(again.data() == first);
      CHECK_EQ(again[size - 1], 7);
    }
    const AlignedBuffer<std::uint8_t> wiped(size);
    CHECK(wiped.data() == first);
    std::size_t left = 0;
    for (const std::uint8_t byte : wiped) left += byte != 0;
    CHECK_EQ(left, 0u);
  }
}
#endif

TEST("large buffers from several threads at once") {
  std::vector<std::thread> threads;
  std::atomic<std::size_t> wrong{0};
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&wrong, thread] {
      for (int repeat = 0; repeat < 12; ++repeat) {
        SecretBuffer<std::uint64_t> buffer(kMiB + static_cast<std::size_t>(repeat % 3));
        // One word a page is enough to see two owners of the same memory.
        for (std::size_t i = 0; i < buffer.size(); i += 512) {
          buffer[i] = static_cast<std::uint64_t>(thread * 100 + repeat);
        }
        for (std::size_t i = 0; i < buffer.size(); i += 512) {
          wrong += buffer[i] != static_cast<std::uint64_t>(thread * 100 + repeat);
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK_EQ(wrong.load(), 0u);
}

TEST("a child forked while other threads take and return large buffers can have one, too") {
#if defined(VEILSUM_ALLOCATION_HOOKS)
  SKIP("a sanitizer's allocator does not release its own locks in a forked child");
#endif
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 3; ++thread) {
    threads.emplace_back([&stop] {
      while (!stop.load()) {
        AlignedBuffer<std::uint64_t> buffer(kMiB);
        buffer[0] = 1;
      }
    });
  }
  int stuck = 0;
  for (int repeat = 0; repeat < 40; ++repeat) {
    const Ending ending = run_child([] {
      ::alarm(20);  // ends a child that waits for a lock whose holder was not forked along
      const AlignedBuffer<std::uint64_t> buffer(kMiB, Initialise::kZero);
      return buffer[kMiB - 1] == 0 ? 0 : 1;
    });
    stuck += ending.exit_status != 0 ? 1 : 0;
    if (stuck != 0) break;
  }
  stop.store(true);
  for (std::thread& thread : threads) thread.join();
  CHECK_EQ(stuck, 0);
}

TEST("sizes that overflow or cannot be had are bad_alloc") {
  // Volatile, so that the compiler does not see, and warn about, what the sizes are.
  const volatile std::size_t max = std::numeric_limits<std::size_t>::max();
  const std::size_t top = max;
  for (const std::size_t size : {top, top / 8, (top - 64) / 8 + 1, (top - 64) / 8, top / 16}) {
    CHECK_THROWS(AlignedBuffer<std::uint64_t>(size), std::bad_alloc);
    CHECK_THROWS(SecretBuffer<std::uint64_t>(size), std::bad_alloc);
  }
  CHECK_THROWS(AlignedBuffer<std::uint8_t>(top), std::bad_alloc);
  CHECK_THROWS(AlignedBuffer<std::uint8_t>(top - 64), std::bad_alloc);
}

TEST("moving hands the memory over and empties the source") {
  SecretBuffer<int> first(10, Initialise::kZero);
  first[9] = 7;
  const int* const memory = first.data();
  SecretBuffer<int> second(std::move(first));
  CHECK(second.data() == memory && second.size() == 10 && second[9] == 7);
  CHECK(first.data() == nullptr && first.empty());  // NOLINT: moved-from on purpose

  SecretBuffer<int> third(3);
  third = std::move(second);
  CHECK(third.data() == memory && third.size() == 10);
  CHECK(second.data() == nullptr && second.empty());  // NOLINT

  SecretBuffer<int>& alias = third;
  third = std::move(alias);
  CHECK(third.data() == memory && third.size() == 10 && third[9] == 7);

  third = SecretBuffer<int>();
  CHECK(third.data() == nullptr && third.empty());
}

#if defined(VEILSUM_ALLOCATION_HOOKS)
template <typename Buffer>
Buffer filled(std::size_t size) {
  Buffer buffer(size);
  std::memset(buffer.data(), 0xa5, size * sizeof buffer[0]);
  return buffer;
}
#endif

TEST("secret buffers are wiped before their memory is returned; plain ones are not") {
#if defined(VEILSUM_ALLOCATION_HOOKS)
  using Secret = SecretBuffer<std::uint32_t>;
  constexpr std::size_t kSize = 100, kBytes = 400;
  {
    Secret buffer;
    buffer = filled<Secret>(kSize);
    CHECK_EQ(nonzero_at_free(buffer.data(), kBytes, [&] { Secret gone = std::move(buffer); }), 0u);
  }
  {
    Secret buffer = filled<Secret>(kSize);
    CHECK_EQ(nonzero_at_free(buffer.data(), kBytes, [&] { buffer = Secret(5); }), 0u);
  }
  {
    using Plain = AlignedBuffer<std::uint32_t>;
    Plain buffer = filled<Plain>(kSize);
    CHECK_EQ(nonzero_at_free(buffer.data(), kBytes, [&] { buffer = Plain(); }), kBytes);
  }
#else
  SKIP("seeing memory as it is freed takes a sanitizer's hook; the asan and tsan presets have it");
#endif
}

TEST("seeds are wiped when they go") {
  alignas(Seed) std::uint8_t memory[sizeof(Seed)];
  std::array<std::uint8_t, 32> bytes;
  bytes.fill(0x5a);
  Seed* seed = new (memory) Seed(bytes);
  CHECK(std::memcmp(seed->data(), bytes.data(), 32) == 0);
  const Seed copy(*seed);
  seed->~Seed();
  std::size_t left = 0;
  for (const std::uint8_t byte : memory) left += byte != 0;
  CHECK_EQ(left, 0u);
  CHECK(std::memcmp(copy.data(), bytes.data(), 32) == 0);
}

TEST("secure_wipe clears exactly its range") {
  for (std::size_t size = 0; size < 70; ++size) {
    std::uint8_t memory[72];
    std::memset(memory, 0xff, sizeof memory);
    secure_wipe(memory + 1, size);
    CHECK_EQ(memory[0], 0xff);
    for (std::size_t i = 1; i <= size; ++i) CHECK_EQ(memory[i], 0);
    CHECK_EQ(memory[1 + size], 0xff);
  }
  secure_wipe(nullptr, 0);
}

TEST("equal_constant_time sees every single bit") {
  std::uint8_t a[33], b[33];
  for (std::size_t i = 0; i < sizeof a; ++i) a[i] = b[i] = static_cast<std::uint8_t>(17 * i);
  CHECK(equal_constant_time(a, b, sizeof a));
  CHECK(equal_constant_time(a, b, 0));
  for (std::size_t bit = 0; bit < 8 * sizeof a; ++bit) {
    b[bit / 8] = static_cast<std::uint8_t>(b[bit / 8] ^ (1u << (bit % 8)));
    CHECK(!equal_constant_time(a, b, sizeof a));
    CHECK(equal_constant_time(a, b, bit / 8));
    b[bit / 8] = a[bit / 8];
  }
}

}  // namespace
}  // namespace veilsum::test
