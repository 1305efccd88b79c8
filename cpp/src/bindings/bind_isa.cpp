// Layer: bindings. What this build and this machine offer.
#include <pybind11/stl.h>

#include "base/parallel.h"
#include "bindings/conversions.h"
#include "bindings/register.h"
#include "isa/dispatch.h"

#ifndef VEILSUM_VERSION
#define VEILSUM_VERSION "unknown"
#endif

namespace veilsum::bindings {
namespace {

std::string compiler() {
#if defined(__clang__)
  return "clang " __clang_version__;
#elif defined(__GNUC__)
  return "gcc " __VERSION__;
#else
  return "unknown";
#endif
}

py::dict build_info() {
  py::dict info;
  info["version"] = VEILSUM_VERSION;
  info["compiler"] = compiler();
#if defined(_OPENMP)
  info["openmp"] = _OPENMP;
#else
  info["openmp"] = py::none();
#endif
  info["engines"] = py::make_tuple("native");
#if defined(VEILSUM_TESTING)
  info["testing"] = true;
#else
  info["testing"] = false;
#endif
  return info;
}

}  // namespace

void register_isa(py::module_& m) {
  m.def(
      "isa_level", [] { return std::string(isa::kernels().level); },
      "Instruction set level in use: 'scalar', 'avx2' or 'avx512'.");
  m.def(
      "isa_levels",
      [] {
        std::vector<std::string> names;
        for (const isa::KernelTable* table : isa::levels_present())
          names.emplace_back(table->level);
        return names;
      },
      "Levels that this build and this machine have, slowest first.");
  m.def("max_threads", &default_threads, "Threads that threads=0 means.");
  m.def("build_info", &build_info, "Version, compiler, OpenMP date and engines of this build.");
}

}  // namespace veilsum::bindings
