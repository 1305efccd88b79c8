// Layer: tests (base). parallel_for: every item once, whatever the number of threads; scratch that
// belongs to one thread; exceptions that surface in the caller; nesting.
#include "base/parallel.h"

#include <atomic>
#include <mutex>
#include <numeric>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "check.h"
#include "support/child.h"

namespace veilsum::test {
namespace {

constexpr int kNone = 0;
const auto kNoScratch = [] { return kNone; };

TEST("every item once, for 1 to 5 threads and the default") {
  for (int threads = 0; threads <= 5; ++threads) {
    for (const std::size_t items : {0u, 1u, 2u, 3u, 4u, 5u, 6u, 7u, 63u, 64u, 1000u}) {
      std::vector<std::atomic<int>> done(items);
      parallel_for(items, threads, kNoScratch, [&](std::size_t item, int) { ++done[item]; });
      for (const std::atomic<int>& count : done) CHECK_EQ(count.load(), 1);
    }
  }
}

TEST("the default number of threads is positive, and negative means default") {
  CHECK(default_threads() >= 1);
  std::atomic<int> done{0};
  parallel_for(10, -3, kNoScratch, [&](std::size_t, int) { ++done; });
  CHECK_EQ(done.load(), 10);
}

TEST("under InnerRegionsSerial a region runs on its own thread, and afterwards as before") {
  if (!openmp_usable()) return;  // plain threads are not OpenMP's to limit
  const auto threads_of_a_region = [] {
    std::mutex guard;
    std::set<std::thread::id> seen;
    parallel_for(64, 4, kNoScratch, [&](std::size_t, int) {
      const std::lock_guard<std::mutex> lock(guard);
      seen.insert(std::this_thread::get_id());
    });
    return seen.size();
  };
  const std::size_t before = threads_of_a_region();
  {
    const InnerRegionsSerial serial;
    CHECK_EQ(threads_of_a_region(), 1u);
    std::atomic<int> wrong{0};  // and inside the workers of a loop, each with a guard of its own
    parallel_for(
        8, 4, [] { return InnerRegionsSerial(); },
        [&](std::size_t, InnerRegionsSerial&) { wrong += threads_of_a_region() != 1; });
    CHECK_EQ(wrong.load(), 0);
  }
  CHECK_EQ(threads_of_a_region(), before);
}

/// Counts how many exist; remembers the thread that made it.
struct Scratch {
  explicit Scratch(std::atomic<int>& count) : alive(&count), owner(std::this_thread::get_id()) {
    ++*alive;
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() { --*alive; }
  std::atomic<int>* alive;
  std::thread::id owner;
  std::size_t items = 0;
};

TEST("scratch is made in the thread that uses it, at most one a thread, and destroyed") {
  for (int threads = 1; threads <= 5; ++threads) {
    for (const std::size_t items : {1u, 3u, 50u}) {
      std::atomic<int> alive{0}, made{0};
      std::atomic<std::size_t> total{0};
      parallel_for(
          items, threads,
          [&] {
            ++made;
            return Scratch(alive);
          },
          [&](std::size_t, Scratch& scratch) {
            CHECK(scratch.owner == std::this_thread::get_id());
            ++scratch.items;
            ++total;
          });
      CHECK_EQ(alive.load(), 0);
      CHECK(made.load() >= 1 && made.load() <= threads);
      CHECK(made.load() <= static_cast<int>(items));
      CHECK_EQ(total.load(), items);
    }
  }
}

TEST("no items: neither scratch nor body") {
  parallel_for(
      0, 4, []() -> int { throw std::logic_error("scratch for nothing"); },
      [](std::size_t, int) { throw std::logic_error("no item"); });
}

TEST("the caller takes part: one thread means no other") {
  const std::thread::id caller = std::this_thread::get_id();
  parallel_for(20, 1, kNoScratch,
               [&](std::size_t, int) { CHECK(std::this_thread::get_id() == caller); });
}

struct Failure : std::runtime_error {
  explicit Failure(std::size_t where)
      : std::runtime_error("item " + std::to_string(where)), item(where) {}
  std::size_t item;
};

TEST("an exception crosses, whole, from whichever item threw it") {
  constexpr std::size_t kItems = 40;
  for (int threads = 1; threads <= 5; ++threads) {
    for (std::size_t bad = 0; bad < kItems; ++bad) {
      std::vector<std::atomic<int>> done(kItems);
      std::size_t caught = kItems;
      try {
        parallel_for(kItems, threads, kNoScratch, [&](std::size_t item, int) {
          ++done[item];
          if (item == bad) throw Failure(item);
        });
      } catch (const Failure& failure) {
        caught = failure.item;
        CHECK_EQ(std::string(failure.what()), "item " + std::to_string(bad));
      }
      CHECK_EQ(caught, bad);
      for (const std::atomic<int>& count : done) CHECK(count.load() <= 1);
    }
  }
}

TEST("a failure stops the items that a thread has not begun") {
  // The thread that throws does nothing more; with one thread that is everything after the item.
  std::atomic<int> done{0};
  CHECK_THROWS(parallel_for(100, 1, kNoScratch,
                            [&](std::size_t item, int) {
                              if (item == 10) throw Failure(item);
                              ++done;
                            }),
               Failure);
  CHECK_EQ(done.load(), 10);
}

TEST("all items fail: one exception, and the next call works") {
  for (int threads = 1; threads <= 5; ++threads) {
    CHECK_THROWS(
        parallel_for(100, threads, kNoScratch, [](std::size_t item, int) { throw Failure(item); }),
        Failure);
    std::atomic<int> done{0};
    parallel_for(100, threads, kNoScratch, [&](std::size_t, int) { ++done; });
    CHECK_EQ(done.load(), 100);
  }
}

TEST("scratch that cannot be made fails the call; what is no std::exception crosses too") {
  for (int threads = 1; threads <= 5; ++threads) {
    CHECK_THROWS(parallel_for(
                     10, threads, []() -> int { throw std::bad_alloc(); }, [](std::size_t, int) {}),
                 std::bad_alloc);
    CHECK_THROWS(parallel_for(10, threads, kNoScratch, [](std::size_t, int) { throw 7; }), int);
    std::atomic<int> alive{0};
    CHECK_THROWS(parallel_for(
                     10, threads, [&] { return Scratch(alive); },
                     [](std::size_t item, Scratch&) { throw Failure(item); }),
                 Failure);
    CHECK_EQ(alive.load(), 0);
  }
}

TEST("nested calls, each with scratch of its own") {
  for (int outer = 1; outer <= 4; ++outer) {
    for (int inner = 1; inner <= 3; ++inner) {
      std::vector<std::atomic<int>> done(12 * 15);
      std::atomic<int> alive{0};
      parallel_for(
          12, outer, [&] { return Scratch(alive); },
          [&](std::size_t i, Scratch& mine) {
            parallel_for(
                15, inner, [&] { return Scratch(alive); },
                [&](std::size_t j, Scratch& theirs) {
                  CHECK(&mine != &theirs);
                  CHECK(theirs.owner == std::this_thread::get_id());
                  ++done[15 * i + j];
                });
            CHECK(mine.owner == std::this_thread::get_id());
          });
      for (const std::atomic<int>& count : done) CHECK_EQ(count.load(), 1);
      CHECK_EQ(alive.load(), 0);
      CHECK_THROWS(parallel_for(4, outer, kNoScratch,
                                [&](std::size_t, int) {
                                  parallel_for(4, inner, kNoScratch,
                                               [](std::size_t item, int) { throw Failure(item); });
                                }),
                   Failure);
    }
  }
}

TEST("several threads may call at once, and see their own results") {
  std::vector<std::thread> callers;
  std::vector<std::uint64_t> sums(4);
  for (std::size_t caller = 0; caller < sums.size(); ++caller) {
    callers.emplace_back([&sums, caller] {
      for (int repeat = 0; repeat < 20; ++repeat) {
        std::vector<std::uint64_t> squares(200);
        parallel_for(squares.size(), 3, kNoScratch,
                     [&](std::size_t item, int) { squares[item] = item * item + caller; });
        sums[caller] = std::accumulate(squares.begin(), squares.end(), std::uint64_t{0});
      }
    });
  }
  for (std::thread& thread : callers) thread.join();
  for (std::size_t caller = 0; caller < sums.size(); ++caller) {
    CHECK_EQ(sums[caller], 199u * 200 * 399 / 6 + 200 * caller);
  }
}

TEST("a child process forked after parallel work can work in parallel too") {
  const auto sum = [] {
    std::atomic<std::size_t> total{0};
    parallel_for(100, 4, kNoScratch, [&](std::size_t item, int) { total += item; });
    return total.load();
  };
  CHECK_EQ(sum(), 4950u);
  const Ending ending = run_child([&] {
    ::alarm(20);  // ends a child that hangs
    if (sum() != 4950) return 1;
    try {
      parallel_for(10, 4, kNoScratch, [](std::size_t item, int) { throw Failure(item); });
    } catch (const Failure&) {
      return 0;
    }
    return 2;
  });
  CHECK_EQ(ending.signal, 0);
  CHECK_EQ(ending.exit_status, 0);
  CHECK_EQ(sum(), 4950u);
}

}  // namespace
}  // namespace veilsum::test
