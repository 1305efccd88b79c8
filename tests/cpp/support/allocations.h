// Layer: tests. Watching the heap: how many bytes a call asks for. AddressSanitizer's hooks see
// every allocation, ThreadSanitizer's not the aligned ones; without either, the global operator new
// and aligned_alloc are replaced and count. Include it in one source file of a program only.
#pragma once

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <new>

#include "support/freed_memory.h"

namespace veilsum::test {

/// Whether allocated_bytes counts everything.
#if defined(VEILSUM_TESTS_UNDER_TSAN)
inline constexpr bool kCountsAllocations = false;
#else
inline constexpr bool kCountsAllocations = true;
#endif

inline std::atomic<std::size_t> allocated_bytes{0};

inline void count_allocation(std::size_t bytes) noexcept {
  allocated_bytes.fetch_add(bytes, std::memory_order_relaxed);
}

}  // namespace veilsum::test

#if defined(VEILSUM_ALLOCATION_HOOKS)

namespace veilsum::test {

inline const bool allocation_hook_installed =
    __sanitizer_install_malloc_and_free_hooks(
        [](const volatile void*, std::size_t bytes) { count_allocation(bytes); },
        [](const volatile void*) {}) != 0;

}  // namespace veilsum::test

#else

// NOLINTBEGIN: replacing the allocation functions needs their exact, bare form.
void* operator new(std::size_t bytes) {
  veilsum::test::count_allocation(bytes);
  if (void* block = std::malloc(bytes == 0 ? 1 : bytes)) return block;
  throw std::bad_alloc();
}
void* operator new[](std::size_t bytes) { return operator new(bytes); }
void operator delete(void* block) noexcept { std::free(block); }
void operator delete(void* block, std::size_t) noexcept { std::free(block); }
void operator delete[](void* block) noexcept { std::free(block); }
void operator delete[](void* block, std::size_t) noexcept { std::free(block); }
extern "C" void* aligned_alloc(std::size_t alignment, std::size_t bytes) noexcept {
  veilsum::test::count_allocation(bytes);
  void* block = nullptr;
  return posix_memalign(&block, alignment, bytes) == 0 ? block : nullptr;
}
// NOLINTEND

#endif
