// Layer: tests. Running a piece of a test with each instruction set level as the active one, for
// code that calls isa::kernels() itself.
#pragma once

#include <string>
#include <utility>

#include "isa/dispatch.h"
#include "support/levels.h"

namespace veilsum::test {

/// Makes a level the active one for a scope.
class ActiveLevel {
 public:
  explicit ActiveLevel(const char* level) : before_(isa::kernels().level) {
    isa::set_active_level_for_tests(level);
  }
  ActiveLevel(const ActiveLevel&) = delete;
  ActiveLevel& operator=(const ActiveLevel&) = delete;
  ~ActiveLevel() { isa::set_active_level_for_tests(before_); }

 private:
  std::string before_;
};

template <typename Body>
void on_every_active_level(Body body) {
  on_every_level([&](const isa::KernelTable& table) {
    const ActiveLevel active(table.level);
    body();
  });
}

}  // namespace veilsum::test
