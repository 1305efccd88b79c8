// Layer: base. Overwriting secrets so that the compiler cannot drop the stores.
#pragma once

#include <cstddef>

namespace veilsum {

/// Sets `bytes` bytes at `data` to zero; never optimised away.
void secure_wipe(void* data, std::size_t bytes) noexcept;

/// True when both ranges hold the same bytes; the time depends on `bytes` only.
bool equal_constant_time(const void* a, const void* b, std::size_t bytes) noexcept;

}  // namespace veilsum
