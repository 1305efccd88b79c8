// Layer: base. See parallel.h.
#include "base/parallel.h"

#include "base/process.h"

#if defined(_OPENMP) && !defined(VEILSUM_USE_STD_THREADS)
#include <omp.h>
#define VEILSUM_WITH_OPENMP 1
#else
#define VEILSUM_WITH_OPENMP 0
#endif

namespace veilsum {

bool openmp_usable() noexcept { return VEILSUM_WITH_OPENMP != 0 && fork_generation() == 0; }

int default_threads() noexcept {
#if VEILSUM_WITH_OPENMP
  return omp_get_max_threads();
#else
  const unsigned count = std::thread::hardware_concurrency();
  return count == 0 ? 1 : static_cast<int>(count);
#endif
}

}  // namespace veilsum
