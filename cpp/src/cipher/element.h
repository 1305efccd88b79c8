// Layer: cipher. Sizes of the element types an update may have.
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

}  // namespace veilsum::cipher
