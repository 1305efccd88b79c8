// Layer: tests (scheme). Which KEM keys protect nothing; their neighbours are taken.
// tests/python/keys/test_weak_keys.py computes the points of low order from the curve.
#include "scheme/kem_key.h"

#include <cstdint>

#include "check.h"
#include "support/identities.h"

namespace veilsum::test {
namespace {

using scheme::weakness_of_encapsulation_key;
using scheme::weakness_of_exchange_key;

/// Coefficient `at` of an encapsulation key set to a number of 12 bits.
void set_coefficient(Bytes& key, std::size_t at, std::uint32_t value) {
  const std::size_t byte = at / 2 * 3;
  if (at % 2 == 0) {
    key[byte] = static_cast<std::uint8_t>(value);
    key[byte + 1] = static_cast<std::uint8_t>((key[byte + 1] & 0xf0) | value >> 8);
  } else {
    key[byte + 1] = static_cast<std::uint8_t>((key[byte + 1] & 0x0f) | value << 4);
    key[byte + 2] = static_cast<std::uint8_t>(value >> 4);
  }
}

TEST("coefficients of an encapsulation key lie below 3329, each of them") {
  const scheme::PublicIdentity identity = fake_identity(1);
  const ByteView good = identity.encapsulation_key();
  Bytes key(good.begin(), good.end());
  CHECK(weakness_of_encapsulation_key(key) == nullptr);
  for (std::size_t at = 0; at < 768; ++at) {
    const Bytes before = key;
    for (const std::uint32_t value : {3329u, 3330u, 4095u}) {
      set_coefficient(key, at, value);
      CHECK(weakness_of_encapsulation_key(key) != nullptr);
    }
    for (const std::uint32_t value : {0u, 1u, 3328u}) {
      set_coefficient(key, at, value);
      CHECK(weakness_of_encapsulation_key(key) == nullptr);
    }
    key = before;
  }
}

TEST("an encapsulation key of zeros is refused, whatever its seed") {
  Bytes key(scheme::kEncapsulationKeyBytes);
  CHECK(weakness_of_encapsulation_key(key) != nullptr);
  for (std::size_t at = 1152; at < key.size(); ++at) key[at] = 0xff;
  CHECK(weakness_of_encapsulation_key(key) != nullptr);
  for (std::size_t at = 0; at < 768; ++at) {
    set_coefficient(key, at, 1);
    CHECK(weakness_of_encapsulation_key(key) == nullptr);
    set_coefficient(key, at, 0);
  }
}

TEST("an exchange key has one spelling, and is no point of low order") {
  const auto around_p = [](int more) {
    Bytes key(32, 0xff);
    key[0] = static_cast<std::uint8_t>(0xed + more);
    key[31] = 0x7f;
    return key;
  };
  for (int more = -1; more <= 18; ++more) {
    CHECK(weakness_of_exchange_key(around_p(more)) != nullptr);
  }
  CHECK(weakness_of_exchange_key(around_p(-2)) == nullptr);
  Bytes small(32);
  for (const int number : {0, 1, 2, 9}) {
    small[0] = static_cast<std::uint8_t>(number);
    CHECK((weakness_of_exchange_key(small) != nullptr) == (number < 2));
  }
  small[31] = 0x80;  // a bit that X25519 ignores
  CHECK(weakness_of_exchange_key(small) != nullptr);
  for (std::uint64_t n = 0; n < 100; ++n) {
    const scheme::PublicIdentity identity = fake_identity(n);
    const ByteView good = identity.exchange_key();
    CHECK(weakness_of_exchange_key(good) == nullptr);
    Bytes other(good.begin(), good.end());
    other[31] |= 0x80;
    CHECK(weakness_of_exchange_key(other) != nullptr);
  }
}

}  // namespace
}  // namespace veilsum::test
