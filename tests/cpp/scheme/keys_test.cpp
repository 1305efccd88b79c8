// Layer: tests (scheme). The authority's keys: made from their seeds as the wire format says, read
// back whole, kept in files that nobody else reads, refused when damaged.
#include "scheme/keys.h"

#include <sys/stat.h>

#include <cstdint>
#include <cstring>
#include <set>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

#include "check.h"
#include "isa/dispatch.h"
#include "ring/expander.h"
#include "ring/primes.h"
#include "ring/sha256.h"
#include "scheme/ledger.h"
#include "support/active_level.h"
#include "support/damage.h"
#include "support/envelopes.h"
#include "support/modulus.h"
#include "support/rounds.h"
#include "support/temporary_folder.h"
#include "veilsum/errors.h"

namespace veilsum::test {
namespace {

using scheme::PublicKey;
using scheme::SecretKey;

static_assert(!std::is_copy_constructible_v<SecretKey>);
static_assert(!std::is_copy_assignable_v<SecretKey>);

struct KeyRing {
  std::uint32_t degree, limbs;
};
constexpr KeyRing kKeyRings[] = {{2048, 1}, {4096, 1}, {4096, 2}, {8192, 2}};

SecretKey key_over(const KeyRing& shape, std::uint64_t n) {
  return SecretKey(ring::Ring::get(shape.degree, shape.limbs), seed32(n), bytes32(~n));
}

std::string text_of(const Bytes& bytes) { return {bytes.begin(), bytes.end()}; }

std::vector<std::int64_t> small_values(const Seed& seed, ring::Domain domain, std::size_t n) {
  const ring::Expander expander("veilsum/1/secret-key", {}, seed.span(), ring::KeySize::kAes256);
  std::vector<std::int8_t> narrow(n);
  isa::scalar_table()->sample_cbd(expander.key(), ring::stream_index(domain, 0, 0), n,
                                  narrow.data());
  return {narrow.begin(), narrow.end()};
}

TEST("b is e - a s in slot form, a from the public seed, s and e from the key seed") {
  for (const KeyRing& shape : kKeyRings) {
    const auto ring = ring::Ring::get(shape.degree, shape.limbs);
    const std::size_t n = shape.degree;
    const SecretKey key = key_over(shape, 5);
    const Bytes payload = payload_of(key.public_key().to_bytes());
    CHECK_EQ(payload.size(), 40 + n * shape.limbs * 50 / 8);
    CHECK(std::memcmp(payload.data() + 8, bytes32(~std::uint64_t{5}).data(), 32) == 0);
    const auto s = small_values(seed32(5), ring::Domain::kSecretKey, n);
    const auto e = small_values(seed32(5), ring::Domain::kKeyError, n);
    const auto public_seed = bytes32(~std::uint64_t{5});
    const ring::Expander expander("veilsum/1/public-key", {}, public_seed, ring::KeySize::kAes128);
    for (std::size_t limb = 0; limb < shape.limbs; ++limb) {
      const std::uint64_t q = ring->q(limb);
      AlignedWords a(n), b(n), s_slots(n), e_slots(n);
      isa::scalar_table()->expand_uniform(expander.key(),
                                          ring::stream_index(ring::Domain::kPublicKey, limb, 0),
                                          ring->modulus(limb), n, a.data());
      CHECK(isa::scalar_table()->unpack(payload.data() + 40 + limb * n / 8 * 50, n, q, b.data()));
      for (std::size_t j = 0; j < n; ++j) {
        s_slots[j] = (static_cast<std::uint64_t>(s[j] + 21) + q - 21) % q;
        e_slots[j] = (static_cast<std::uint64_t>(e[j] + 21) + q - 21) % q;
      }
      isa::scalar_table()->ntt_forward(s_slots.data(), ring->tables(limb).view());
      isa::scalar_table()->ntt_forward(e_slots.data(), ring->tables(limb).view());
      std::size_t wrong = 0;
      for (std::size_t j = 0; j < n; ++j) {
        wrong += (b[j] + multiply_mod(a[j], s_slots[j], q)) % q != e_slots[j];
      }
      CHECK_EQ(wrong, 0u);
    }
  }
}

TEST("the same key on every instruction set level") {
  const Bytes expected = key_over({4096, 2}, 3).public_key().to_bytes();
  on_every_active_level([&] { CHECK(key_over({4096, 2}, 3).public_key().to_bytes() == expected); });
}

TEST("the id is the hash of the public fields, and the secret key has it too") {
  const SecretKey key = key_over({2048, 1}, 1);
  const Digest digest =
      ring::labelled_hash("veilsum/1/public-key-id", {payload_of(key.public_key().to_bytes())});
  CHECK(std::memcmp(key.id().data(), digest.data(), 16) == 0);
  CHECK(key.id() == key.public_key().id());
  std::set<scheme::KeyId> ids;
  for (std::uint64_t n = 0; n < 8; ++n) ids.insert(key_over({2048, 1}, n).id());
  ids.insert(SecretKey(ring::Ring::get(2048, 1), seed32(1), bytes32(1)).id());
  ids.insert(key_over({4096, 1}, 1).id());
  CHECK_EQ(ids.size(), 10u);
}

TEST("keys go to bytes and back") {
  for (const KeyRing& shape : kKeyRings) {
    const SecretKey key = key_over(shape, 7);
    const Bytes secret_bytes = key.to_bytes(), public_bytes = key.public_key().to_bytes();
    CHECK_EQ(secret_bytes.size(), 16u + 72 + 4);
    const SecretKey again = SecretKey::from_bytes(secret_bytes);
    CHECK(again.id() == key.id());
    CHECK(again.to_bytes() == secret_bytes);
    CHECK(again.public_key().to_bytes() == public_bytes);
    CHECK(std::memcmp(again.minus_s().slots(0), key.minus_s().slots(0), 8 * shape.degree) == 0);
    const PublicKey read = PublicKey::from_bytes(public_bytes);
    CHECK(read.id() == key.id());
    CHECK(read.to_bytes() == public_bytes);
    for (std::size_t limb = 0; limb < shape.limbs; ++limb) {
      CHECK(std::memcmp(read.b().slots(limb), key.public_key().b().slots(limb), 8 * shape.degree) ==
            0);
      CHECK(std::memcmp(read.a().slots(limb), key.public_key().a().slots(limb), 8 * shape.degree) ==
            0);
    }
  }
}

TEST("the secret seed is in no public bytes") {
  const SecretKey key = key_over({2048, 1}, 9);
  const std::string seed(reinterpret_cast<const char*>(seed32(9).data()), 32);
  CHECK(text_of(key.to_bytes()).find(seed) != std::string::npos);
  CHECK(text_of(key.public_key().to_bytes()).find(seed) == std::string::npos);
  CHECK(text_of(key.public_key().to_bytes()).find(seed.substr(0, 8)) == std::string::npos);
}

TEST("fresh keys differ and have the plan's ring") {
  for (const scheme::Plan& plan : {make_plan(10, 16), make_plan(1 << 20, 8),
                                   make_plan(2, 8, 0, 192), make_plan(1 << 20, 8, 0, 256)}) {
    const SecretKey one = scheme::generate_key(plan), two = scheme::generate_key(plan);
    CHECK_EQ(one.ring().degree(), plan.capsule().degree);
    CHECK_EQ(one.ring().limbs(), plan.capsule().limbs);
    CHECK(one.id() != two.id());
    const Bytes a = payload_of(one.to_bytes()), b = payload_of(two.to_bytes());
    CHECK(std::memcmp(a.data() + 8, b.data() + 8, 32) != 0);    // key seeds
    CHECK(std::memcmp(a.data() + 40, b.data() + 40, 32) != 0);  // public seeds
  }
}

TEST("only capsule rings are admissible") {
  for (const KeyRing& shape :
       {KeyRing{2048, 2}, KeyRing{2048, 0}, KeyRing{1024, 1}, KeyRing{4096, 0}, KeyRing{4096, 3},
        KeyRing{8192, 1}, KeyRing{8192, 4}, KeyRing{16384, 4}, KeyRing{0, 0},
        KeyRing{4096, 0x10001}, KeyRing{~0u, ~0u}}) {
    ByteWriter out;
    out.u32(shape.degree);
    out.u32(shape.limbs);
    out.raw(Bytes(64, 1));
    CHECK_THROWS_WITH(SecretKey::from_bytes(envelope_of(3, out.bytes())), WireFormatError,
                      "no capsule ring");
    CHECK_THROWS_WITH(PublicKey::from_bytes(envelope_of(2, out.bytes())), WireFormatError,
                      "no capsule ring");
  }
}

TEST("keys of the other sort, of another length or damaged are refused") {
  const SecretKey key = key_over({2048, 1}, 2);
  CHECK_THROWS_WITH(SecretKey::from_bytes(key.public_key().to_bytes()), WireFormatError,
                    "secret key: expected here, but these bytes are of another kind: public key");
  CHECK_THROWS(PublicKey::from_bytes(key.to_bytes()), WireFormatError);
  const auto read_secret = [](const Bytes& bytes) {
    return SecretKey::from_bytes(bytes).to_bytes();
  };
  flip_every_byte(key.to_bytes(), read_secret, 8);
  cut_everywhere(key.to_bytes(), read_secret);
  const auto read_public = [](const Bytes& bytes) {
    return PublicKey::from_bytes(bytes).to_bytes();
  };
  flip_every_byte(key.public_key().to_bytes(), read_public, 12, 211);
  cut_everywhere(key.public_key().to_bytes(), read_public, 101);
}

TEST("a residue at its modulus is refused, one below is not") {
  const SecretKey key = key_over({4096, 2}, 2);
  const std::size_t row = 4096 / 8 * 50;
  for (std::size_t limb = 0; limb < 2; ++limb) {
    for (const std::uint64_t value :
         {ring::kPrimes[limb] - 1, ring::kPrimes[limb], (std::uint64_t{1} << 50) - 1}) {
      Bytes object = key.public_key().to_bytes();
      std::uint8_t* place = object.data() + 16 + 40 + limb * row;
      AlignedWords residues(8);
      isa::scalar_table()->unpack(place, 8, ring::kPrimes[limb], residues.data());
      residues[7] = value;
      isa::scalar_table()->pack(residues.data(), 8, place);
      repair_checksum(object);
      if (value < ring::kPrimes[limb]) {
        CHECK(PublicKey::from_bytes(object).to_bytes() == object);
      } else {
        CHECK_THROWS_WITH(PublicKey::from_bytes(object), WireFormatError, "residue");
      }
    }
  }
}

TEST("a saved key is private, is read back, and is refused once others can read it") {
  const TemporaryFolder folder;
  const std::string path = folder / "authority.key";
  SecretKey key = key_over({2048, 1}, 4);
  key.save(path);
  CHECK_EQ(mode_of(path), 0600u);
  CHECK_EQ(contents_of(path), text_of(key.to_bytes()));
  CHECK(SecretKey::load(path).id() == key.id());
  for (const unsigned mode : {0640u, 0604u, 0660u, 0644u}) {
    ::chmod(path.c_str(), static_cast<mode_t>(mode));
    CHECK_THROWS_WITH(SecretKey::load(path), ParameterError, "chmod 600");
  }
  ::chmod(path.c_str(), 0400);
  CHECK(SecretKey::load(path).id() == key.id());
  put_contents(path, "not a key");
  CHECK_THROWS(SecretKey::load(path), WireFormatError);
  CHECK_THROWS(SecretKey::load(folder / "none"), std::system_error);
}

TEST("what a key opened before and after it was saved is known to the key that is loaded") {
  const TemporaryFolder folder;
  const std::string path = folder / "authority.key";
  {
    SecretKey key = key_over({2048, 1}, 4);
    key.ledger().record(bytes32(1), bytes32(2));
    key.save(path);
    key.ledger().record(bytes32(3), bytes32(4));
  }
  const SecretKey key = SecretKey::load(path);
  CHECK_THROWS(key.ledger().record(bytes32(1), bytes32(9)), RoundError);
  CHECK_THROWS(key.ledger().record(bytes32(3), bytes32(9)), RoundError);
  key.ledger().record(bytes32(1), bytes32(2));
  CHECK_EQ(mode_of(path + ".opened"), 0600u);
}

TEST("moving a key takes its ledger along") {
  SecretKey key = key_over({2048, 1}, 4);
  const scheme::KeyId id = key.id();
  key.ledger().record(bytes32(1), bytes32(2));
  SecretKey moved = std::move(key);
  CHECK(moved.id() == id);
  CHECK_THROWS(moved.ledger().record(bytes32(1), bytes32(3)), RoundError);
  SecretKey other = key_over({4096, 2}, 5);
  other = std::move(moved);
  CHECK(other.id() == id && other.ring().degree() == 2048);
  CHECK_THROWS(other.ledger().record(bytes32(1), bytes32(3)), RoundError);
  CHECK(SecretKey::from_bytes(other.to_bytes()).id() == id);
}

}  // namespace
}  // namespace veilsum::test
