// Layer: base. See parallel.h.
#include "base/parallel.h"

#include <pthread.h>

#if defined(_OPENMP) && !defined(VEILSUM_USE_STD_THREADS)
#include <omp.h>
#define VEILSUM_WITH_OPENMP 1
#else
#define VEILSUM_WITH_OPENMP 0
#endif

namespace veilsum {
namespace {

std::atomic<bool> forked{false};

// Registered when the library is loaded, before any parallel region can have run.
[[maybe_unused]] const int fork_handler =
    pthread_atfork(nullptr, nullptr, [] { forked.store(true, std::memory_order_relaxed); });

}  // namespace

bool openmp_usable() noexcept {
  return VEILSUM_WITH_OPENMP != 0 && !forked.load(std::memory_order_relaxed);
}

int default_threads() noexcept {
#if VEILSUM_WITH_OPENMP
  return omp_get_max_threads();
#else
  const unsigned count = std::thread::hardware_concurrency();
  return count == 0 ? 1 : static_cast<int>(count);
#endif
}

}  // namespace veilsum
