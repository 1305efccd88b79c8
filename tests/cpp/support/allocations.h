// Layer: tests. Watching the heap: how many bytes a call asks for, and what memory holds when it is
// given back. AddressSanitizer's hooks see every allocation, ThreadSanitizer's not the aligned
// ones; without either, the global operator new and aligned_alloc are replaced and count. Include
// it in one source file of a program only.
#pragma once

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <new>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define VEILSUM_TESTS_UNDER_ASAN 1
#elif __has_feature(thread_sanitizer)
#define VEILSUM_TESTS_UNDER_TSAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define VEILSUM_TESTS_UNDER_ASAN 1
#elif defined(__SANITIZE_THREAD__)
#define VEILSUM_TESTS_UNDER_TSAN 1
#endif
#if defined(VEILSUM_TESTS_UNDER_ASAN) || defined(VEILSUM_TESTS_UNDER_TSAN)
#define VEILSUM_ALLOCATION_HOOKS 1
#endif

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

// As in <sanitizer/allocator_interface.h>, which not every compiler package brings.
extern "C" int __sanitizer_install_malloc_and_free_hooks(void (*malloc_hook)(const volatile void*,
                                                                             std::size_t),
                                                         void (*free_hook)(const volatile void*));

namespace veilsum::test {

/// Called with a block that is about to be freed; see watch_frees().
using FreeWatcher = void (*)(const volatile void* block);
inline std::atomic<FreeWatcher> free_watcher{nullptr};

inline const bool hooks_installed =
    __sanitizer_install_malloc_and_free_hooks(
        [](const volatile void*, std::size_t bytes) { count_allocation(bytes); },
        [](const volatile void* block) {
          if (const FreeWatcher watcher = free_watcher.load()) watcher(block);
        }) != 0;

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
