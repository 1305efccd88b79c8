// Layer: ring. The packing tables of B-bit fields, one a width; see isa::FieldTable.
#pragma once

#include <cstdint>

#include "isa/kernels.h"

namespace veilsum::ring {

/// The table of fields of `bits` bits. Tables live as long as the process.
/// @param bits 1 ... 52
/// @throws ParameterError
const isa::FieldTable& field_table(std::uint32_t bits);

}  // namespace veilsum::ring
