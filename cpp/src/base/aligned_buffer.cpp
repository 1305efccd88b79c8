// Layer: base. See aligned_buffer.h.
#include "base/aligned_buffer.h"

#include <pthread.h>

#include <cstdlib>
#include <mutex>
#include <vector>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace veilsum {
namespace {

constexpr std::size_t kCacheLine = 64;
constexpr std::size_t kHugePage = std::size_t{2} << 20;
/// From here on a buffer is kept when it is released: where C libraries begin to give memory back
/// to the system, whose fresh pages cost half as much as filling them with an upload, or as much.
constexpr std::size_t kKeptFrom = std::size_t{128} << 10;
/// From here on the unused end of the last huge page is a small part of the whole.
constexpr std::size_t kHugeFrom = 4 * kHugePage;
constexpr std::size_t kMostKept = std::size_t{256} << 20;

// GCC defines macros for its sanitizers, Clang answers __has_feature.
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define VEILSUM_SANITIZED 1
#endif
#endif
#if defined(VEILSUM_SANITIZED) || defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kKeep = false;  // a kept buffer would hide uses after its release
#else
constexpr bool kKeep = true;
#endif

std::size_t rounded(std::size_t bytes) {
  const std::size_t unit = bytes >= kHugeFrom ? kHugePage : kCacheLine;
  if (bytes > static_cast<std::size_t>(-1) - unit) throw std::bad_alloc();
  return (bytes + unit - 1) / unit * unit;
}

/// Released buffers, oldest first.
class Shelf {
 public:
  void* take(std::size_t capacity) {
    const std::lock_guard<std::mutex> lock(guard_);
    for (auto at = kept_.end(); at != kept_.begin();) {
      --at;
      if (at->capacity == capacity) {
        void* data = at->data;
        total_ -= capacity;
        kept_.erase(at);
        return data;
      }
    }
    return nullptr;
  }

  /// False when the caller must free `data` itself.
  bool keep(void* data, std::size_t capacity) noexcept {
    if (!kKeep || capacity > kMostKept) return false;
    const std::lock_guard<std::mutex> lock(guard_);
    while (total_ + capacity > kMostKept) {
      std::free(kept_.front().data);
      total_ -= kept_.front().capacity;
      kept_.erase(kept_.begin());
    }
    try {
      kept_.push_back({data, capacity});
    } catch (const std::bad_alloc&) {
      return false;
    }
    total_ += capacity;
    return true;
  }

  void lock() { guard_.lock(); }
  void unlock() { guard_.unlock(); }

 private:
  struct Kept {
    void* data;
    std::size_t capacity;
  };
  std::mutex guard_;
  std::vector<Kept> kept_;
  std::size_t total_ = 0;
};

/// Never destroyed: buffers may be released by destructors that run at exit.
Shelf& shelf() {
  static auto* instance = new Shelf;
  return *instance;
}

// A child forked while another thread holds the lock would wait for it forever: that thread does
// not exist there. So the forking thread takes the lock first, and both sides give it back.
[[maybe_unused]] const int fork_handler =
    pthread_atfork([] { shelf().lock(); }, [] { shelf().unlock(); }, [] { shelf().unlock(); });

}  // namespace

void* allocate_aligned(std::size_t bytes) {
  const std::size_t capacity = rounded(bytes);
  if (bytes >= kKeptFrom) {
    if (void* kept = shelf().take(capacity)) return kept;
  }
  const bool huge = bytes >= kHugeFrom;
  void* data = std::aligned_alloc(huge ? kHugePage : kCacheLine, capacity);
  if (data == nullptr) throw std::bad_alloc();
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  // Only advice: a kernel without huge pages refuses it and nothing changes.
  if (huge) (void)::madvise(data, capacity, MADV_HUGEPAGE);
#endif
  return data;
}

void release_aligned(void* data, std::size_t bytes) noexcept {
  if (data == nullptr) return;
  if (bytes >= kKeptFrom && shelf().keep(data, rounded(bytes))) return;
  std::free(data);
}

}  // namespace veilsum
