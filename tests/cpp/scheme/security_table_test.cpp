// Layer: tests (scheme). The security table, entry by entry as the two sources print it, and
// nothing outside it.
#include "scheme/security_table.h"

#include <algorithm>
#include <cstdint>

#include "check.h"

namespace veilsum::test {
namespace {

using scheme::max_log2_modulus;

struct Row {
  std::uint32_t degree, security, standard, guidelines;
};

// HE Standard 2018, table 1 (ternary secret, classical); Bossuat et al. 2024, table 5.2 (the same).
constexpr Row kRows[] = {
    {1024, 128, 27, 26},    {2048, 128, 54, 53}, {4096, 128, 109, 106}, {8192, 128, 218, 214},
    {16384, 128, 438, 430}, {2048, 192, 37, 36}, {4096, 192, 75, 73},   {8192, 192, 152, 147},
    {16384, 192, 305, 297}, {2048, 256, 29, 27}, {4096, 256, 58, 56},   {8192, 256, 118, 114},
    {16384, 256, 237, 230},
};

TEST("the stricter of the two published limits") {
  for (const Row& row : kRows) {
    CHECK_EQ(max_log2_modulus(row.degree, row.security), std::min(row.standard, row.guidelines));
  }
}

TEST("limits grow with the degree and shrink with the level") {
  for (const std::uint32_t security : {128u, 192u, 256u}) {
    for (std::uint32_t degree = 2048; degree < 16384; degree *= 2) {
      CHECK(max_log2_modulus(2 * degree, security) > 2 * max_log2_modulus(degree, security) - 8);
      CHECK(max_log2_modulus(2 * degree, security) > max_log2_modulus(degree, security));
    }
  }
  for (std::uint32_t degree = 2048; degree <= 16384; degree *= 2) {
    CHECK(max_log2_modulus(degree, 128) > max_log2_modulus(degree, 192));
    CHECK(max_log2_modulus(degree, 192) > max_log2_modulus(degree, 256));
  }
}

TEST("no entry means nothing is admissible") {
  for (const std::uint32_t degree : {0u, 1u, 512u, 1023u, 1025u, 2047u, 3072u, 32768u, 1u << 31}) {
    for (const std::uint32_t security : {128u, 192u, 256u}) {
      CHECK_EQ(max_log2_modulus(degree, security), 0u);
    }
  }
  for (const std::uint32_t security : {0u, 1u, 64u, 127u, 129u, 191u, 193u, 255u, 257u, ~0u}) {
    for (std::uint32_t degree = 1024; degree <= 16384; degree *= 2) {
      CHECK_EQ(max_log2_modulus(degree, security), 0u);
    }
  }
  CHECK_EQ(max_log2_modulus(1024, 192), 0u);
  CHECK_EQ(max_log2_modulus(1024, 256), 0u);
}

}  // namespace
}  // namespace veilsum::test
