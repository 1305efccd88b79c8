// Layer: cipher. Facts about the element types an update may have.
#pragma once

#include <cstddef>

#include "isa/kernels.h"

namespace veilsum::cipher {

inline std::size_t element_bytes(isa::ElementType type) noexcept {
  switch (type) {
    case isa::ElementType::kFloat64:
      return 8;
    case isa::ElementType::kFloat32:
      return 4;
    default:
      return 2;
  }
}

/// Whether a factor may be rounded to float and used there: nothing overflows or underflows.
inline bool in_float_range(double x) noexcept { return x >= 0x1p-60 && x <= 0x1p60; }

}  // namespace veilsum::cipher
