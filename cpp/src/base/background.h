// Layer: base. Threads for work that can wait: they run at the lowest priority, beside whatever the
// process is really for.
#pragma once

#include <functional>
#include <thread>
#include <vector>

namespace veilsum {

/// Seconds of processor time that the calling thread has used.
double thread_cpu_seconds() noexcept;

/// Threads that run one function each to its end. On Linux they have the lowest scheduling priority
/// (nice 19, for these threads only), so that on a busy processor others go first; elsewhere they
/// have the priority of the process.
class BackgroundThreads {
 public:
  /// Starts up to `count` threads; fewer, or none, when the system grants no more.
  /// @param work must not throw, and must return soon once it is told to by other means
  BackgroundThreads(int count, const std::function<void()>& work);
  BackgroundThreads(const BackgroundThreads&) = delete;
  BackgroundThreads& operator=(const BackgroundThreads&) = delete;
  ~BackgroundThreads() { join(); }

  /// Waits for all of them.
  void join();
  int count() const noexcept { return static_cast<int>(threads_.size()); }

 private:
  std::vector<std::thread> threads_;
};

}  // namespace veilsum
