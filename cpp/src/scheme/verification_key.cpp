// Layer: scheme. See verification_key.h. Keys are public: nothing here is constant time.
#include "scheme/verification_key.h"

#include <algorithm>

namespace veilsum::scheme {
namespace {

using Coordinate = std::array<std::uint8_t, 32>;

/// 2^255 - 19 - less, for less <= 1; little-endian as all of Ed25519.
constexpr Coordinate below_p(std::uint8_t less) {
  Coordinate y;
  y.fill(0xff);
  y.front() = static_cast<std::uint8_t>(0xed - less);
  y.back() = 0x7f;
  return y;
}

constexpr Coordinate small(std::uint8_t number) {
  Coordinate y{};
  y.front() = number;
  return y;
}

// The y coordinates of the points whose order divides 8: 1 (order 1), -1 (order 2), 0 (order 4),
// and the two of order 8, for which d y^4 + 2 y^2 = 1. Each stands with either sign of x; for 1 and
// -1, where x = 0, the spelling with the sign is not canonical either.
constexpr std::array<Coordinate, 5> kSmallOrder = {
    small(1), below_p(1), small(0),
    Coordinate{0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4,
               0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6,
               0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05},
    Coordinate{0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b,
               0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39,
               0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a}};

}  // namespace

const char* weakness(const VerificationKey& key) noexcept {
  Coordinate y = key;
  y.back() &= 0x7f;  // the sign of x
  constexpr Coordinate p = below_p(0);
  if (!std::lexicographical_compare(y.rbegin(), y.rend(), p.rbegin(), p.rend())) {
    return "is not in canonical form (its coordinate is not below 2^255 - 19): it is another "
           "spelling of a key";
  }
  if (std::find(kSmallOrder.begin(), kSmallOrder.end(), y) != kSmallOrder.end()) {
    return "is a point of small order: anybody can sign for it";
  }
  return nullptr;
}

const char* weakness_of_lattice_key(ByteView key) noexcept {
  // 32 bytes of a seed, then 1536 coefficients of 10 bits, four in five bytes.
  for (std::size_t at = 32; at < key.size(); at += 5) {
    std::uint64_t group = 0;
    for (std::size_t i = 0; i < 5; ++i) group |= std::uint64_t{key[at + i]} << 8 * i;
    for (; group != 0; group >>= 10) {
      const std::uint64_t coefficient = group & 1023;
      if (coefficient != 0 && coefficient != 1023) return nullptr;
    }
  }
  return "has no coefficient but 0 and 1023: anybody can sign for it";
}

}  // namespace veilsum::scheme
