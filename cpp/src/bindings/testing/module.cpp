// Layer: bindings (testing only). veilsum._core_testing: raw kernels of every ISA level, and the
// door through which tests inject seeds. Built with -DVEILSUM_TESTING=ON, never part of a release.
#include "bindings/testing/registry.h"

PYBIND11_MODULE(_core_testing, m) {
  m.doc() = "Raw kernels and seed injection, for tests only. Import veilsum._core first.";
  veilsum::testing::register_primitives(m);
  veilsum::testing::register_ring(m);
  veilsum::testing::register_sharing(m);
  veilsum::testing::register_blocks(m);
  veilsum::testing::register_tags(m);
  veilsum::testing::register_tagged(m);
  veilsum::testing::register_values(m);
  veilsum::testing::register_door(m);
  veilsum::testing::register_timing(m);
}
