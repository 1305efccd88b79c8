// Layer: tests (scheme). Which keys identify nobody; their neighbours are taken.
// tests/python/keys/test_weak_keys.py computes the same Ed25519 keys from the curve.
#include "scheme/verification_key.h"

#include <algorithm>
#include <cstdint>

#include "check.h"
#include "support/rounds.h"

namespace veilsum::test {
namespace {

using scheme::VerificationKey;
using scheme::weakness;
using scheme::weakness_of_lattice_key;

/// 2^255 - 19 + more, little-endian, with the sign bit.
VerificationKey around_p(int more, bool sign) {
  VerificationKey key;
  key.fill(0xff);
  key.front() = static_cast<std::uint8_t>(0xed + more);
  key.back() = sign ? 0xff : 0x7f;
  return key;
}

VerificationKey small(std::uint8_t number, bool sign) {
  VerificationKey key{};
  key.front() = number;
  key.back() = sign ? 0x80 : 0;
  return key;
}

TEST("a key is weak when its coordinate is that of a small point or not below p") {
  for (const bool sign : {false, true}) {
    CHECK(weakness(small(0, sign)) != nullptr);
    CHECK(weakness(small(1, sign)) != nullptr);
    CHECK(weakness(small(2, sign)) == nullptr);
    CHECK(weakness(around_p(-2, sign)) == nullptr);
    for (int more = -1; more <= 18; ++more) CHECK(weakness(around_p(more, sign)) != nullptr);
  }
  for (std::uint64_t n = 0; n < 100; ++n) CHECK(weakness(bytes32(n)) == nullptr);
}

TEST("an ML-DSA key is weak when no coefficient is anything but 0 or 1023") {
  Bytes key(scheme::kLatticeVerificationKeyBytes);
  CHECK(weakness_of_lattice_key(key) != nullptr);
  std::fill(key.begin(), key.end(), std::uint8_t{0xff});
  CHECK(weakness_of_lattice_key(key) != nullptr);
  std::fill(key.begin(), key.begin() + 32, std::uint8_t{0x5a});  // the seed counts for nothing
  CHECK(weakness_of_lattice_key(key) != nullptr);
  for (std::size_t group = 32; group < key.size(); group += 5) {  // coefficient 0 of four to 0
    key[group] = 0;
    key[group + 1] = 0xfc;
  }
  CHECK(weakness_of_lattice_key(key) != nullptr);
  for (std::size_t at = 32; at < key.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      key[at] ^= static_cast<std::uint8_t>(1 << bit);
      CHECK(weakness_of_lattice_key(key) == nullptr);
      key[at] ^= static_cast<std::uint8_t>(1 << bit);
    }
  }
}

}  // namespace
}  // namespace veilsum::test
