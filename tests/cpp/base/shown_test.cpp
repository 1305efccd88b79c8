// Layer: tests (base). Messages show counts and short words; of what could be a secret, the size.
#include "base/shown.h"

#include <cstdint>
#include <limits>
#include <string>

#include "check.h"

namespace veilsum::test {
namespace {

TEST("numbers are shown up to 48 bits, of either sign") {
  constexpr std::int64_t kEdge = std::int64_t{1} << 48;
  CHECK_EQ(shown(0), std::string("0"));
  CHECK_EQ(shown(-1), std::string("-1"));
  CHECK_EQ(shown(kEdge - 1), std::string("281474976710655"));
  CHECK_EQ(shown(1 - kEdge), std::string("-281474976710655"));
  CHECK_EQ(shown(kEdge), std::string("a number of 49 bits"));
  CHECK_EQ(shown(-kEdge), std::string("a number of 49 bits"));
  CHECK_EQ(shown(std::numeric_limits<std::int64_t>::min()), std::string("a number of 64 bits"));
  CHECK_EQ(shown(std::numeric_limits<std::uint64_t>::max()), std::string("a number of 64 bits"));
  CHECK_EQ(shown(std::numeric_limits<std::int32_t>::min()), std::string("-2147483648"));
}

TEST("words are shown up to 16 letters, and only letters") {
  CHECK_EQ(shown("nearest"), std::string("\"nearest\""));
  CHECK_EQ(shown(std::string(16, 'x')), '"' + std::string(16, 'x') + '"');
  CHECK_EQ(shown(std::string(17, 'x')), std::string("a text of 17 bytes"));
  CHECK_EQ(shown("\x01\xff"), std::string("a text of 2 bytes"));
  CHECK_EQ(shown(""), std::string("\"\""));
}

}  // namespace
}  // namespace veilsum::test
