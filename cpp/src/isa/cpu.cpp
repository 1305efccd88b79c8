// Layer: isa. See cpu.h. The lists below and VEILSUM_FLAGS_<level> in cmake/Layers.cmake name the
// same features; a level that got a flag without a line here could die on an illegal instruction.
#include "isa/cpu.h"

#include <cstddef>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace veilsum::isa {
namespace {

enum class Register { kLeaf1Ecx, kLeaf7Ebx, kLeaf7Ecx };

struct Feature {
  const char* name;
  Register where;
  unsigned bit;
};

constexpr Feature kAvx2Features[] = {
    {"SSE4.2", Register::kLeaf1Ecx, 20},   {"POPCNT", Register::kLeaf1Ecx, 23},
    {"PCLMULQDQ", Register::kLeaf1Ecx, 1}, {"AES", Register::kLeaf1Ecx, 25},
    {"OSXSAVE", Register::kLeaf1Ecx, 27},  {"AVX", Register::kLeaf1Ecx, 28},
    {"F16C", Register::kLeaf1Ecx, 29},     {"FMA", Register::kLeaf1Ecx, 12},
    {"AVX2", Register::kLeaf7Ebx, 5},      {"BMI2", Register::kLeaf7Ebx, 8},
};

/// On top of the AVX2 ones.
constexpr Feature kAvx512Features[] = {
    {"AVX512F", Register::kLeaf7Ebx, 16},
    {"AVX512DQ", Register::kLeaf7Ebx, 17},
    {"AVX512_IFMA", Register::kLeaf7Ebx, 21},
    {"SHA", Register::kLeaf7Ebx, 29},
    {"AVX512BW", Register::kLeaf7Ebx, 30},
    {"AVX512VL", Register::kLeaf7Ebx, 31},
    {"AVX512_VBMI", Register::kLeaf7Ecx, 1},
    {"AVX512_VBMI2", Register::kLeaf7Ecx, 6},
    {"GFNI", Register::kLeaf7Ecx, 8},
    {"VAES", Register::kLeaf7Ecx, 9},
    {"VPCLMULQDQ", Register::kLeaf7Ecx, 10},
    {"AVX512_BITALG", Register::kLeaf7Ecx, 12},
    {"AVX512_VPOPCNTDQ", Register::kLeaf7Ecx, 14},
};

constexpr std::uint64_t kYmmState = 0x06;  // SSE and AVX halves
constexpr std::uint64_t kZmmState = 0xe6;  // and opmasks, upper zmm halves, zmm16 ... zmm31

void append(std::string& list, const char* name) {
  if (!list.empty()) list += ", ";
  list += name;
}

template <std::size_t kCount>
void append_missing(std::string& list, const Feature (&features)[kCount],
                    const CpuidLeaves& leaves) {
  for (const Feature& feature : features) {
    const std::uint32_t word = feature.where == Register::kLeaf1Ecx   ? leaves.leaf1_ecx
                               : feature.where == Register::kLeaf7Ebx ? leaves.leaf7_ebx
                                                                      : leaves.leaf7_ecx;
    if (((word >> feature.bit) & 1u) == 0) append(list, feature.name);
  }
}

}  // namespace

CpuidLeaves read_cpuid() noexcept {
  CpuidLeaves leaves;
#if defined(__x86_64__)
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid(1, &a, &b, &c, &d) != 0) leaves.leaf1_ecx = c;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) != 0) {
    leaves.leaf7_ebx = b;
    leaves.leaf7_ecx = c;
  }
  constexpr unsigned kOsxsave = 27;
  if (((leaves.leaf1_ecx >> kOsxsave) & 1u) != 0) {
    // XGETBV by hand: the intrinsic would need -mxsave for this file.
    std::uint32_t low = 0, high = 0;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    leaves.xcr0 = (static_cast<std::uint64_t>(high) << 32) | low;
  }
#endif
  return leaves;
}

std::string missing_features(std::string_view level, const CpuidLeaves& leaves) {
  std::string missing;
  if (level == "scalar") return missing;
  append_missing(missing, kAvx2Features, leaves);
  if ((leaves.xcr0 & kYmmState) != kYmmState) append(missing, "ymm state saved by the system");
  if (level == "avx512") {
    append_missing(missing, kAvx512Features, leaves);
    if ((leaves.xcr0 & kZmmState) != kZmmState) append(missing, "zmm state saved by the system");
  }
  return missing;
}

}  // namespace veilsum::isa
