// Layer: tests (ring). The packing tables: what a kernel does with them, done here byte by byte,
// must read and write the bits that the definition names.
#include "ring/fields.h"

#include <array>
#include <cstdint>
#include <vector>

#include "check.h"
#include "support/random.h"
#include "veilsum/errors.h"

namespace veilsum::test {
namespace {

using Group = std::array<std::uint8_t, 64>;

/// Field i at bits [bits i, bits i + bits) of the group, bit by bit.
Group group_of(const std::array<std::uint64_t, 8>& fields, unsigned bits) {
  Group group{};
  for (unsigned i = 0; i < 8; ++i) {
    for (unsigned bit = 0; bit < bits; ++bit) {
      const unsigned at = bits * i + bit;
      group[at / 8] = static_cast<std::uint8_t>(group[at / 8] | ((fields[i] >> bit) & 1) << at % 8);
    }
  }
  return group;
}

std::array<std::uint64_t, 8> random_fields(Random& random, unsigned bits) {
  std::array<std::uint64_t, 8> fields;
  for (std::uint64_t& field : fields) field = random.edgy(std::uint64_t{1} << bits);
  return fields;
}

TEST("windows hold their fields, for every width") {
  Random random(1);
  for (unsigned bits = 1; bits <= 52; ++bits) {
    const isa::FieldTable& table = ring::field_table(bits);
    CHECK_EQ(table.bits, bits);
    CHECK_EQ(table.mask, (std::uint64_t{1} << bits) - 1);
    for (int i = 0; i < 50; ++i) {
      const auto fields = random_fields(random, bits);
      Group group = group_of(fields, bits);
      for (std::size_t at = bits; at < 64; ++at) {
        group[at] = static_cast<std::uint8_t>(random.next());  // what follows the group
      }
      for (unsigned lane = 0; lane < 8; ++lane) {
        CHECK(table.first_bit[lane] < 8);
        std::uint64_t window = 0;
        for (unsigned k = 0; k < 8; ++k) {
          CHECK(table.window_bytes[8 * lane + k] < 64);
          window |= std::uint64_t{group[table.window_bytes[8 * lane + k]]} << 8 * k;
        }
        CHECK_EQ((window >> table.first_bit[lane]) & table.mask, fields[lane]);
      }
    }
  }
}

TEST("even and odd windows put together are the group, for widths of at least 8") {
  Random random(2);
  for (unsigned bits = 8; bits <= 52; ++bits) {
    const isa::FieldTable& table = ring::field_table(bits);
    for (int i = 0; i < 50; ++i) {
      const auto fields = random_fields(random, bits);
      Group windows;  // the register: eight fields, each shifted left by its first bit
      for (unsigned lane = 0; lane < 8; ++lane) {
        const std::uint64_t shifted = fields[lane] << table.first_bit[lane];
        for (unsigned k = 0; k < 8; ++k) {
          windows[8 * lane + k] = static_cast<std::uint8_t>(shifted >> 8 * k);
        }
      }
      Group group{};
      for (unsigned j = 0; j < 64; ++j) {
        if (table.even_mask >> j & 1) {
          CHECK_EQ(table.even_bytes[j] / 8 % 2, 0u);
          group[j] = static_cast<std::uint8_t>(group[j] | windows[table.even_bytes[j]]);
        }
        if (table.odd_mask >> j & 1) {
          CHECK_EQ(table.odd_bytes[j] / 8 % 2, 1u);
          group[j] = static_cast<std::uint8_t>(group[j] | windows[table.odd_bytes[j]]);
        }
      }
      CHECK_EQ(group, group_of(fields, bits));
    }
    CHECK_EQ((table.even_mask | table.odd_mask) >> bits, 0u);  // nothing is written behind it
  }
}

TEST("one table a width, and none for other widths") {
  for (unsigned bits = 1; bits <= 52; ++bits) {
    CHECK(&ring::field_table(bits) == &ring::field_table(bits));
  }
  for (const std::uint32_t bits : {0u, 53u, 64u, ~0u}) {
    CHECK_THROWS_WITH(ring::field_table(bits), ParameterError, "1 to 52 bits");
  }
}

}  // namespace
}  // namespace veilsum::test
