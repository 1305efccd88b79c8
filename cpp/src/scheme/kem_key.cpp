// Layer: scheme. See kem_key.h. Keys are public: nothing here is constant time.
#include "scheme/kem_key.h"

#include <algorithm>
#include <array>
#include <cstdint>

namespace veilsum::scheme {
namespace {

constexpr std::uint32_t kMlKemModulus = 3329;
/// 3 polynomials of 256 coefficients, 12 bits each; 32 bytes of a seed follow.
constexpr std::size_t kCoefficientBytes = 3 * 256 * 12 / 8;

using Coordinate = std::array<std::uint8_t, kExchangeKeyBytes>;

/// p = 2^255 - 19, little-endian, less 0 or 1.
constexpr Coordinate below_p(std::uint8_t less) {
  Coordinate u;
  u.fill(0xff);
  u.front() = static_cast<std::uint8_t>(0xed - less);
  u.back() = 0x7f;
  return u;
}

constexpr Coordinate small(std::uint8_t number) {
  Coordinate u{};
  u.front() = number;
  return u;
}

// The u coordinates below p of the points whose order divides 8, on the curve and on its twist:
// 0, 1, -1, and the two of order 8 of the curve.
constexpr std::array<Coordinate, 5> kLowOrder = {
    small(0), small(1), below_p(1),
    Coordinate{0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3,
               0xfa, 0xf1, 0x9f, 0xc4, 0x6a, 0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32,
               0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00},
    Coordinate{0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1,
               0x55, 0x9c, 0x83, 0xef, 0x5b, 0x04, 0x44, 0x5c, 0xc4, 0x58, 0x1c,
               0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f, 0x11, 0x57}};

}  // namespace

const char* weakness_of_encapsulation_key(ByteView key) noexcept {
  bool any = false;
  for (std::size_t at = 0; at < kCoefficientBytes; at += 3) {
    const std::uint32_t low = key[at] | (key[at + 1] & 0x0fu) << 8;
    const std::uint32_t high = key[at + 1] >> 4 | std::uint32_t{key[at + 2]} << 4;
    if (low >= kMlKemModulus || high >= kMlKemModulus) {
      return "is no ML-KEM-768 encapsulation key (a coefficient is not below 3329)";
    }
    any = any || low != 0 || high != 0;
  }
  return any ? nullptr : "has no coefficient but 0: anybody can open what is sealed to it";
}

const char* weakness_of_exchange_key(ByteView key) noexcept {
  constexpr Coordinate p = below_p(0);
  if (!std::lexicographical_compare(key.rbegin(), key.rend(), p.rbegin(), p.rend())) {
    return "is not in canonical form (its coordinate is not below 2^255 - 19): it is another "
           "spelling of a key";
  }
  for (const Coordinate& point : kLowOrder) {
    if (std::equal(key.begin(), key.end(), point.begin(), point.end())) {
      return "is a point of low order: it protects no secret";
    }
  }
  return nullptr;
}

}  // namespace veilsum::scheme
