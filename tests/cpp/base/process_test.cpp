// Layer: tests (base). A process mark knows its process from its children and grandchildren.
#include "base/process.h"

#include "check.h"
#include "support/child.h"

namespace veilsum::test {
namespace {

TEST("a mark holds where it was made and not in a child; one made there holds there") {
  const ProcessMark mark;
  const std::uint64_t generation = fork_generation();
  CHECK(mark.is_here());
  const Ending child = run_child([&] {
    if (mark.is_here() || fork_generation() != generation + 1) return 1;
    const ProcessMark own;
    if (!own.is_here()) return 2;
    const Ending grandchild = run_child([&] { return mark.is_here() || own.is_here() ? 1 : 0; });
    return grandchild.exit_status == 0 && own.is_here() ? 0 : 3;
  });
  CHECK_EQ(child.exit_status, 0);
  CHECK(mark.is_here());
  CHECK_EQ(fork_generation(), generation);
}

}  // namespace
}  // namespace veilsum::test
