// Layer: base. See wipe.h. The empty assembly statement tells the compiler that the zeroed memory
// is read afterwards, so the memset before it has to happen.
#include "base/wipe.h"

#include <cstdint>
#include <cstring>

namespace veilsum {

void secure_wipe(void* data, std::size_t bytes) noexcept {
  if (bytes == 0) return;
  std::memset(data, 0, bytes);
  __asm__ __volatile__("" : : "r"(data) : "memory");
}

bool equal_constant_time(const void* a, const void* b, std::size_t bytes) noexcept {
  const auto* x = static_cast<const std::uint8_t*>(a);
  const auto* y = static_cast<const std::uint8_t*>(b);
  std::uint32_t difference = 0;
  for (std::size_t i = 0; i < bytes; ++i) difference |= static_cast<std::uint32_t>(x[i] ^ y[i]);
  return difference == 0;
}

}  // namespace veilsum
