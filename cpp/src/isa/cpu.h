// Layer: isa. What this processor and its operating system offer, read once by CPUID and XGETBV. A
// level is present only when every feature that its folder is compiled with is, and when the system
// saves the registers it uses. Knows nothing of kernels.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace veilsum::isa {

/// The registers that the feature checks look at. All zero where there is no CPUID.
struct CpuidLeaves {
  std::uint32_t leaf1_ecx = 0;
  std::uint32_t leaf7_ebx = 0;
  std::uint32_t leaf7_ecx = 0;
  std::uint64_t xcr0 = 0;  ///< state that the system saves; zero without OSXSAVE
};

/// Reads the processor. Never fails: a leaf that the processor lacks stays zero.
CpuidLeaves read_cpuid() noexcept;

/// Names of the features that `level` is compiled with and that `leaves` lack, separated by ", ";
/// empty when the level can run. "scalar" needs nothing. `level` is "scalar", "avx2" or "avx512".
std::string missing_features(std::string_view level, const CpuidLeaves& leaves);

}  // namespace veilsum::isa
