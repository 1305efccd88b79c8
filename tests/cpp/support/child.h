// Layer: tests. Running a piece of a test in a child process: to kill it, to limit it, or to have
// a second process at a file. The child never returns into the harness.
#pragma once

#include <sys/resource.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <exception>
#include <system_error>
#include <utility>

namespace veilsum::test {

inline constexpr int kChildThrew = 99;

/// Starts body() in a child process, which exits with what it returns.
template <typename Body>
pid_t start_child(Body&& body) {
  const pid_t child = ::fork();
  if (child < 0) throw std::system_error(errno, std::generic_category(), "fork");
  if (child == 0) {
    int status = kChildThrew;
    try {
      status = std::forward<Body>(body)();
    } catch (...) {
    }
    ::_exit(status);
  }
  return child;
}

struct Ending {
  int exit_status = -1;  ///< -1 when it was killed
  int signal = 0;        ///< 0 when it exited
};

inline Ending wait_for(pid_t child) {
  int status = 0;
  while (::waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) throw std::system_error(errno, std::generic_category(), "waitpid");
  }
  Ending out;
  if (WIFEXITED(status)) out.exit_status = WEXITSTATUS(status);
  if (WIFSIGNALED(status)) out.signal = WTERMSIG(status);
  return out;
}

template <typename Body>
Ending run_child(Body&& body) {
  return wait_for(start_child(std::forward<Body>(body)));
}

/// For a child: it maps no more than `bytes` from now on. Under a sanitizer, which reserves more
/// than any such limit, it stays as it is.
inline bool limit_memory(std::uint64_t bytes) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  constexpr bool kSanitized = true;
#elif defined(__has_feature)
  constexpr bool kSanitized = __has_feature(address_sanitizer) || __has_feature(thread_sanitizer);
#else
  constexpr bool kSanitized = false;
#endif
  const rlimit limit{bytes, bytes};
  return kSanitized || ::setrlimit(RLIMIT_AS, &limit) == 0;
}

}  // namespace veilsum::test
