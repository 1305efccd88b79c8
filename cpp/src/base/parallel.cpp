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

int worthwhile_threads(int threads, double work_us) noexcept {
  if (threads > 0) return threads;
  const double worth = work_us / kThreadGrainUs;
  const int most = default_threads();
  return worth >= most ? most : worth >= 1 ? static_cast<int>(worth) : 1;
}

// A region is active, so has threads of its own, only up to this many levels of nesting; the level
// that the thread is on already leaves none. Not the number of threads: libraries name that number
// in their pragmas.
InnerRegionsSerial::InnerRegionsSerial() noexcept : saved_levels_(0) {
#if VEILSUM_WITH_OPENMP
  saved_levels_ = omp_get_max_active_levels();
  omp_set_max_active_levels(omp_get_active_level());
#endif
}

InnerRegionsSerial::~InnerRegionsSerial() {
#if VEILSUM_WITH_OPENMP
  omp_set_max_active_levels(saved_levels_);
#endif
}

}  // namespace veilsum
