// Layer: scheme. See security_table.h.
#include "scheme/security_table.h"

#include <algorithm>

namespace veilsum::scheme {
namespace {

struct Entry {
  std::uint32_t degree;
  std::uint32_t security;
  std::uint32_t he_standard;
  std::uint32_t guidelines;
};

constexpr Entry kTable[] = {
    {1024, 128, 27, 26},    {2048, 128, 54, 53}, {4096, 128, 109, 106}, {8192, 128, 218, 214},
    {16384, 128, 438, 430}, {2048, 192, 37, 36}, {4096, 192, 75, 73},   {8192, 192, 152, 147},
    {16384, 192, 305, 297}, {2048, 256, 29, 27}, {4096, 256, 58, 56},   {8192, 256, 118, 114},
    {16384, 256, 237, 230},
};

}  // namespace

std::uint32_t max_log2_modulus(std::uint32_t degree, std::uint32_t security) noexcept {
  for (const Entry& entry : kTable) {
    if (entry.degree == degree && entry.security == security) {
      return std::min(entry.he_standard, entry.guidelines);
    }
  }
  return 0;
}

}  // namespace veilsum::scheme
