// Layer: ring. See fields.h.
#include "ring/fields.h"

#include <algorithm>
#include <array>
#include <string>

#include "veilsum/errors.h"

namespace veilsum::ring {
namespace {

constexpr std::uint32_t kWidest = 52;

isa::FieldTable make_table(std::uint32_t bits) {
  isa::FieldTable table{};
  table.bits = bits;
  table.mask = (std::uint64_t{1} << bits) - 1;
  for (std::uint32_t lane = 0; lane < isa::kGroup; ++lane) {
    const std::uint32_t first_byte = lane * bits / 8;
    const std::uint32_t first_bit = lane * bits % 8;
    table.first_bit[lane] = first_bit;
    std::uint8_t* const bytes = lane % 2 == 0 ? table.even_bytes : table.odd_bytes;
    std::uint64_t& mask = lane % 2 == 0 ? table.even_mask : table.odd_mask;
    for (std::uint32_t k = 0; k < 8; ++k) {
      const std::uint32_t from = std::min(first_byte + k, 63u);
      table.window_bytes[8 * lane + k] = static_cast<std::uint8_t>(from);
      if (8 * k >= first_bit + bits) continue;  // no bit of the field in this byte
      bytes[first_byte + k] = static_cast<std::uint8_t>(8 * lane + k);
      mask |= std::uint64_t{1} << (first_byte + k);
    }
  }
  return table;
}

}  // namespace

const isa::FieldTable& field_table(std::uint32_t bits) {
  static const std::array<isa::FieldTable, kWidest> kTables = [] {
    std::array<isa::FieldTable, kWidest> tables{};
    for (std::uint32_t width = 1; width <= kWidest; ++width) tables[width - 1] = make_table(width);
    return tables;
  }();
  if (bits < 1 || bits > kWidest) {
    throw ParameterError("a packed field has 1 to 52 bits, not " + std::to_string(bits));
  }
  return kTables[bits - 1];
}

}  // namespace veilsum::ring
