// Layer: base. See process.h.
#include "base/process.h"

#include <pthread.h>
#include <unistd.h>

#include <atomic>

namespace veilsum {
namespace {

std::atomic<std::uint64_t> generation{0};

// Registered when the library is loaded, before any secret can have been made.
[[maybe_unused]] const int fork_handler =
    pthread_atfork(nullptr, nullptr, [] { generation.fetch_add(1, std::memory_order_relaxed); });

}  // namespace

std::uint64_t fork_generation() noexcept { return generation.load(std::memory_order_relaxed); }

ProcessMark::ProcessMark() noexcept : generation_(fork_generation()), id_(::getpid()) {}

bool ProcessMark::is_here() const noexcept {
  return generation_ == fork_generation() && id_ == ::getpid();
}

}  // namespace veilsum
