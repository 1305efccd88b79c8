// Layer: tests. Watching the heap: what memory holds when it is given back. Takes a sanitizer's
// hook; VEILSUM_ALLOCATION_HOOKS says whether there is one.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "check.h"

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

#if defined(VEILSUM_ALLOCATION_HOOKS)

// As in <sanitizer/allocator_interface.h>, which not every compiler package brings.
extern "C" int __sanitizer_install_malloc_and_free_hooks(void (*malloc_hook)(const volatile void*,
                                                                             std::size_t),
                                                         void (*free_hook)(const volatile void*));

namespace veilsum::test {

inline std::atomic<const volatile std::uint8_t*> watched_block{nullptr};
inline std::size_t watched_bytes = 0;
inline std::size_t nonzero_when_freed = 0;
inline int times_freed = 0;

inline const bool free_hook_installed =
    __sanitizer_install_malloc_and_free_hooks([](const volatile void*, std::size_t) {},
                                              [](const volatile void* freed) {
                                                const volatile std::uint8_t* block = watched_block;
                                                if (block == nullptr || freed != block) return;
                                                ++times_freed;
                                                for (std::size_t i = 0; i < watched_bytes; ++i)
                                                  nonzero_when_freed += block[i] != 0;
                                              }) != 0;

/// Runs release() and returns how many of the block's bytes were not zero when it was freed.
template <typename Release>
std::size_t nonzero_at_free(const void* block, std::size_t bytes, Release release) {
  watched_bytes = bytes;
  nonzero_when_freed = 0;
  times_freed = 0;
  watched_block = static_cast<const volatile std::uint8_t*>(block);
  release();
  watched_block = nullptr;
  CHECK_EQ(times_freed, 1);
  return nonzero_when_freed;
}

}  // namespace veilsum::test

#endif
