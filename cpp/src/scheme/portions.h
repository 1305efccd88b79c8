// Layer: scheme. How work on files is cut: spans for threads, portions of spans between two entries
// of a journal, steps of a few blocks that stay in a core's cache.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "base/parallel.h"
#include "scheme/blocks_digest.h"

namespace veilsum::scheme {

/// Bytes of blocks that a thread handles at a time.
inline constexpr std::size_t kStepBytes = 200 * 1024;
/// Spans between two calls of the progress function: some tens of megabytes.
inline constexpr std::uint64_t kPortionSpans = 16;

inline std::uint64_t spans_in_portion(int threads) noexcept {
  return std::max(kPortionSpans,
                  static_cast<std::uint64_t>(threads > 0 ? threads : default_threads()));
}

inline std::uint64_t blocks_in_step(const Spans& spans) noexcept {
  return std::clamp<std::uint64_t>(kStepBytes / spans.block_bytes(), 1, spans.blocks_per_span());
}

/// Scratch that outlives one parallel loop. Thread-safe.
template <typename T>
class ScratchPool {
 public:
  /// Gives its scratch back when it goes.
  class Lease {
   public:
    Lease(ScratchPool& pool, std::unique_ptr<T> scratch)
        : pool_(&pool), held_(std::move(scratch)) {}
    Lease(Lease&&) noexcept = default;
    Lease& operator=(Lease&&) = delete;
    ~Lease() {
      if (held_) pool_->give(std::move(held_));
    }
    T& operator*() noexcept { return *held_; }
    T* operator->() noexcept { return held_.get(); }

   private:
    ScratchPool* pool_;
    std::unique_ptr<T> held_;
  };

  template <typename Make>
  Lease take(Make make) {
    {
      const std::lock_guard<std::mutex> lock(guard_);
      if (!free_.empty()) {
        std::unique_ptr<T> scratch = std::move(free_.back());
        free_.pop_back();
        return Lease(*this, std::move(scratch));
      }
    }
    std::unique_ptr<T> made = make();
    const std::lock_guard<std::mutex> lock(guard_);
    free_.reserve(++made_);  // here, where it may fail: what comes back is never lost
    return Lease(*this, std::move(made));
  }

  /// Calls f(scratch) for every scratch that is not in use.
  template <typename F>
  void for_each(F f) {
    const std::lock_guard<std::mutex> lock(guard_);
    for (const std::unique_ptr<T>& scratch : free_) f(*scratch);
  }

 private:
  void give(std::unique_ptr<T> scratch) noexcept {
    const std::lock_guard<std::mutex> lock(guard_);
    free_.push_back(std::move(scratch));
  }

  std::mutex guard_;
  std::vector<std::unique_ptr<T>> free_;
  std::size_t made_ = 0;
};

}  // namespace veilsum::scheme
