// Layer: tests (base). Background threads: each runs the work once, at the lowest priority, and is
// joined; their processor time is their own.
#include "base/background.h"

#include <atomic>
#include <chrono>
#include <mutex>
#include <set>
#include <thread>

#include "check.h"

#if defined(__linux__)
#include <sys/resource.h>
#endif

namespace veilsum::test {
namespace {

TEST("as many threads as asked for, each runs the work once") {
  for (int count = 0; count <= 4; ++count) {
    std::atomic<int> runs{0};
    std::mutex guard;
    std::set<std::thread::id> ids;
    BackgroundThreads threads(count, [&] {
      ++runs;
      const std::lock_guard<std::mutex> lock(guard);
      ids.insert(std::this_thread::get_id());
    });
    CHECK_EQ(threads.count(), count);
    threads.join();
    CHECK_EQ(runs.load(), count);
    CHECK(ids.count(std::this_thread::get_id()) == 0);
    CHECK_EQ(threads.count(), 0);
    threads.join();  // nothing left to wait for
  }
}

TEST("the destructor waits") {
  std::atomic<bool> ended{false};
  {
    const BackgroundThreads threads(1, [&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      ended = true;
    });
  }
  CHECK(ended.load());
}

TEST("on Linux they have the lowest priority, and the caller keeps its own") {
#if defined(__linux__)
  const int mine = ::getpriority(PRIO_PROCESS, 0);
  std::atomic<int> theirs{-100};
  BackgroundThreads threads(1, [&] { theirs = ::getpriority(PRIO_PROCESS, 0); });
  threads.join();
  CHECK_EQ(theirs.load(), 19);
  CHECK_EQ(::getpriority(PRIO_PROCESS, 0), mine);
#else
  SKIP("threads have a priority of their own on Linux only");
#endif
}

TEST("processor time of a thread grows with its work, not with waiting") {
  const double start = thread_cpu_seconds();
  volatile unsigned sink = 0;
  for (unsigned i = 0; i < 20'000'000; ++i) sink = sink + i;
  const double worked = thread_cpu_seconds();
  CHECK(worked > start);
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  CHECK(thread_cpu_seconds() - worked < 0.025);
}

}  // namespace
}  // namespace veilsum::test
