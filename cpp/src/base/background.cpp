// Layer: base. See background.h.
#include "base/background.h"

#include <exception>

#if defined(__linux__)
#include <sys/resource.h>
#endif
#include <time.h>

namespace veilsum {
namespace {

void lower_priority() noexcept {
#if defined(__linux__)
  // Linux keeps a nice value for each thread; 0 names the calling one. Refused, nothing is lost.
  constexpr int kLowest = 19;
  (void)::setpriority(PRIO_PROCESS, 0, kLowest);
#endif
}

}  // namespace

double thread_cpu_seconds() noexcept {
  timespec now{};
  if (::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now) != 0) return 0;
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

BackgroundThreads::BackgroundThreads(int count, const std::function<void()>& work) {
  threads_.reserve(static_cast<std::size_t>(count));
  try {
    for (int i = 0; i < count; ++i) {
      threads_.emplace_back([work] {
        lower_priority();
        work();
      });
    }
  } catch (
      const std::exception&) {  // no thread, or no memory for one: those that run must be joined
  }
}

void BackgroundThreads::join() {
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

}  // namespace veilsum
