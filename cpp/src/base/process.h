// Layer: base. Which process this is. A fork copies memory, secrets that are to be used once
// included, so whoever holds such secrets remembers the process they were made in.
#pragma once

#include <cstdint>

namespace veilsum {

/// How many forks lie between the process that loaded this library and this one. Counted in the
/// child by pthread_atfork, so a process id that is given out again does not matter.
std::uint64_t fork_generation() noexcept;

/// The process that made this object.
class ProcessMark {
 public:
  ProcessMark() noexcept;
  /// False in a child forked since, also in one that was cloned past the C library.
  bool is_here() const noexcept;

 private:
  std::uint64_t generation_;
  std::int64_t id_;
};

}  // namespace veilsum
