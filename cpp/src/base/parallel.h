// Layer: base. The only place that starts threads, besides background.h. Work is cut into a fixed
// number of items; which thread does an item never shows in the result, so any thread count gives
// the same bytes. Exceptions thrown by the body stop the remaining items and surface in the calling
// thread.
#pragma once

#include <atomic>
#include <cstddef>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

namespace veilsum {

/// Threads that a request of 0 ("as many as allowed") means: OMP_NUM_THREADS or the processors.
int default_threads() noexcept;

/// Work that a thread must have before it is worth starting it for a request of 0 threads. Starting
/// and joining costs tens of microseconds on an idle machine, but on a busy one a thread may wait
/// for a processor for a few milliseconds, and the others wait for it (bench/test_busy.py).
inline constexpr double kThreadGrainUs = 3000;

/// Threads for work that takes about `work_us` microseconds on one: what was asked for, or for a
/// request of 0 as many as have kThreadGrainUs each. Results never depend on it.
int worthwhile_threads(int threads, double work_us) noexcept;

/// False where OpenMP must not start threads: in a build without it, and in a child process forked
/// from one that had used it, where GNU's runtime waits for threads that did not survive the fork
/// (data loaders of training frameworks fork). Plain threads do the work then.
bool openmp_usable() noexcept;

/// While it lives, OpenMP regions that this thread enters run on this thread alone. A library that
/// parallelises inside its own calls gets one in each worker of parallel_for (as its scratch), or
/// every worker would start as many threads again.
class InnerRegionsSerial {
 public:
  InnerRegionsSerial() noexcept;
  ~InnerRegionsSerial();
  InnerRegionsSerial(const InnerRegionsSerial&) = delete;
  InnerRegionsSerial& operator=(const InnerRegionsSerial&) = delete;

 private:
  int saved_levels_;
};

/// Calls body(item, scratch) for every item in [0, items). Each thread owns one `scratch`, made by
/// make_scratch() in that thread.
/// @param threads at most this many; 0 means default_threads()
/// @throws whatever the first failing body threw
template <typename MakeScratch, typename Body>
void parallel_for(std::size_t items, int threads, MakeScratch make_scratch, Body body) {
  if (items == 0) return;
  std::size_t workers = static_cast<std::size_t>(threads > 0 ? threads : default_threads());
  if (workers > items) workers = items;
  if (workers <= 1) {
    auto scratch = make_scratch();
    for (std::size_t item = 0; item < items; ++item) body(item, scratch);
    return;
  }
  std::atomic<bool> failed{false};
  std::exception_ptr first;
  std::mutex first_guard;
  // Contiguous ranges: neighbours in memory stay with one thread. The remainder goes to the first.
  const auto work = [&](std::size_t worker) {
    try {
      auto scratch = make_scratch();
      const std::size_t share = items / workers;
      const std::size_t extra = items % workers;
      const std::size_t begin = worker * share + (worker < extra ? worker : extra);
      const std::size_t end = begin + share + (worker < extra ? 1 : 0);
      for (std::size_t item = begin; item < end; ++item) {
        if (failed.load(std::memory_order_relaxed)) return;
        body(item, scratch);
      }
    } catch (...) {
      const std::lock_guard<std::mutex> lock(first_guard);
      if (!first) first = std::current_exception();
      failed.store(true, std::memory_order_relaxed);
    }
  };
  if (openmp_usable()) {
#if defined(_OPENMP)
    // One iteration a worker: OpenMP may run several on one thread when it grants fewer.
#pragma omp parallel for num_threads(static_cast<int>(workers)) schedule(static, 1)
#endif
    for (std::size_t worker = 0; worker < workers; ++worker) work(worker);
  } else {
    std::vector<std::thread> pool;
    pool.reserve(workers - 1);
    std::size_t inline_from = workers;  // what the system grants no thread for is done here
    try {
      for (std::size_t worker = 1; worker < workers; ++worker) {
        inline_from = worker;
        pool.emplace_back(work, worker);
        inline_from = workers;
      }
    } catch (const std::system_error&) {
    }
    work(0);
    for (std::size_t worker = inline_from; worker < workers; ++worker) work(worker);
    for (std::thread& thread : pool) thread.join();
  }
  if (first) std::rethrow_exception(first);
}

}  // namespace veilsum
