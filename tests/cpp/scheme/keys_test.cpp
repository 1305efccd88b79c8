// Layer: tests (scheme). The key holder's keys: bytes of fixed length with an id, read back whole,
// kept in files that nobody else reads, wiped when freed, refused when damaged or of version 1.
#include "scheme/keys.h"

#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <set>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

#include "check.h"
#include "ring/sha256.h"
#include "scheme/ledger.h"
#include "scheme/wire.h"
#include "support/child.h"
#include "support/damage.h"
#include "support/envelopes.h"
#include "support/freed_memory.h"
#include "support/rounds.h"
#include "support/temporary_folder.h"
#include "support/toy_engine.h"
#include "veilsum/errors.h"

namespace veilsum::test {
namespace {

using scheme::kPublicKeyBytes;
using scheme::kSecretKeyBytes;
using scheme::PublicKey;
using scheme::SecretKey;

static_assert(!std::is_copy_constructible_v<SecretKey>);
static_assert(!std::is_copy_assignable_v<SecretKey>);

std::string text_of(const Bytes& bytes) { return {bytes.begin(), bytes.end()}; }

Bytes copy_of(ByteView view) { return {view.begin(), view.end()}; }

Bytes joined(Bytes first, ByteView second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

/// Engine, number of parts, the parts, length, bytes.
Bytes fields_of_key(std::uint8_t engine, const std::vector<scheme::KeyId>& parts, ByteView body) {
  ByteWriter out;
  out.u8(engine);
  out.u8(static_cast<std::uint8_t>(parts.size()));
  for (const scheme::KeyId& part : parts) out.raw(part);
  out.u32(static_cast<std::uint32_t>(body.size()));
  out.raw(body);
  return out.take();
}

TEST("the bytes of both keys, as the wire format says") {
  static_assert(kPublicKeyBytes == 1216 && kSecretKeyBytes == 96);
  const SecretKey key = make_key(5);
  const Bytes fields = fields_of_key(1, {}, key.public_key().body());
  CHECK_EQ(key.public_key().to_bytes(), envelope_of(2, fields));
  CHECK_EQ(key.to_bytes(), envelope_of(3, joined(fields, key.secret())));
  CHECK(key.public_key().engine() == scheme::Engine::kNative);
  CHECK(key.public_key().parts().empty());
  CHECK_EQ(key.secret().size(), kSecretKeyBytes);
  CHECK_EQ(key.public_key().body().size(), kPublicKeyBytes);
}

TEST("the bytes of both keys of another engine, of one party and of several") {
  const SecretKey alone = make_toy_key(1), second = make_toy_key(2, {alone.id()}),
                  third = make_toy_key(3, {alone.id(), second.id()});
  for (const SecretKey* key : {&alone, &second, &third}) {
    const PublicKey& public_key = key->public_key();
    const Bytes fields = fields_of_key(255, public_key.parts(), public_key.body());
    CHECK_EQ(public_key.to_bytes(), envelope_of(2, fields));
    CHECK_EQ(key->to_bytes(), envelope_of(3, joined(fields, key->secret())));
    const Digest digest = ring::labelled_hash("veilsum/2/public-key-id", {fields});
    CHECK(std::memcmp(key->id().data(), digest.data(), key->id().size()) == 0);
    const SecretKey again = SecretKey::from_bytes(key->to_bytes());
    CHECK(again.to_bytes() == key->to_bytes());
    CHECK(again.id() == key->id());
    CHECK(again.public_key().parts() == public_key.parts());
    CHECK(copy_of(again.secret()) == copy_of(key->secret()));
    const PublicKey read = PublicKey::from_bytes(public_key.to_bytes());
    CHECK(read.to_bytes() == public_key.to_bytes());
    CHECK(read.engine() == scheme::Engine::kPlain);
  }
  CHECK_EQ(third.public_key().parts().size(), 2u);
  CHECK_THROWS_WITH(PublicKey::from_bytes(third.to_bytes()), WireFormatError, "secret key");
}

TEST("the id of a key is of its engine and its parts, in their order, too") {
  const Bytes body(1216, 3);
  const scheme::KeyId a = make_toy_key(1).id(), b = make_toy_key(2).id();
  std::set<scheme::KeyId> ids = {PublicKey(body).id()};
  for (const scheme::Engine engine : {scheme::Engine::kOpenFhe, scheme::Engine::kPlain}) {
    for (const std::vector<scheme::KeyId>& parts :
         std::vector<std::vector<scheme::KeyId>>{{}, {a}, {b}, {a, b}, {b, a}, {a, a}}) {
      ids.insert(PublicKey(engine, body, parts).id());
    }
  }
  CHECK_EQ(ids.size(), 13u);
}

TEST("a secret of another engine has any length, also none") {
  const PublicKey public_key(scheme::Engine::kPlain, Bytes{1, 2, 3}, {});
  for (const std::size_t bytes : {std::size_t{0}, std::size_t{1}, std::size_t{100'000}}) {
    const SecretKey key(Bytes(bytes, 9), public_key);
    CHECK_EQ(key.secret().size(), bytes);
    CHECK(SecretKey::from_bytes(key.to_bytes()).to_bytes() == key.to_bytes());
  }
}

TEST("the id is the hash of the public bytes, and the secret key has it too") {
  const SecretKey key = make_key();
  const Digest digest = ring::labelled_hash("veilsum/2/public-key-id",
                                            {fields_of_key(1, {}, key.public_key().body())});
  CHECK(std::memcmp(key.id().data(), digest.data(), key.id().size()) == 0);
  CHECK(key.id() == key.public_key().id());
  std::set<scheme::KeyId> ids = {key.id()};
  Bytes bytes = copy_of(key.public_key().body());
  for (const std::size_t at :
       {std::size_t{0}, std::size_t{1183}, std::size_t{1184}, std::size_t{1215}}) {
    bytes[at] ^= 0x20;
    ids.insert(PublicKey(bytes).id());
  }
  CHECK_EQ(ids.size(), 5u);
}

TEST("the secret half decides nothing about the id") {
  const SecretKey key = make_key(1);
  const SecretKey other(make_key(2).secret(), key.public_key());
  CHECK(other.id() == key.id());
  CHECK(copy_of(other.secret()) == copy_of(make_key(2).secret()));
}

TEST(
    "a native public key that protects nothing is refused, made or read; another engine's is not") {
  const Bytes good = copy_of(make_key().public_key().body());
  Bytes zeros = good, beyond = good, low_order = good, spelling = good;
  std::fill(zeros.begin(), zeros.begin() + 1152, 0);
  beyond[0] = 0x01, beyond[1] = 0x0d;  // 3329
  std::fill(low_order.begin() + 1184, low_order.end(), 0);
  spelling.back() |= 0x80;
  const std::pair<Bytes, const char*> weak[] = {{zeros, "ML-KEM-768 part has no coefficient but 0"},
                                                {beyond, "not below 3329"},
                                                {low_order, "X25519 part is a point of low order"},
                                                {spelling, "not in canonical form"}};
  for (const auto& [body, why] : weak) {
    CHECK_THROWS_WITH(PublicKey(body), ParameterError, why);
    const Bytes bytes = scheme::seal(scheme::ObjectKind::kPublicKey, {fields_of_key(1, {}, body)});
    CHECK_THROWS_WITH(PublicKey::from_bytes(bytes), WireFormatError, why);
    CHECK(copy_of(PublicKey(scheme::Engine::kPlain, body, {}).body()) == body);
  }
  Bytes largest = good;
  largest[0] = 0x00, largest[1] = 0x0d;  // 3328
  CHECK_EQ(PublicKey(largest).body().size(), kPublicKeyBytes);
}

TEST("keys of another length are refused") {
  for (const std::size_t bytes : {std::size_t{0}, kPublicKeyBytes - 1, kPublicKeyBytes + 1}) {
    CHECK_THROWS_WITH(PublicKey(Bytes(bytes)), ParameterError,
                      "has 1216 bytes, not " + std::to_string(bytes));
  }
  const PublicKey public_key = make_key().public_key();
  for (const std::size_t bytes : {std::size_t{0}, kSecretKeyBytes - 1, kSecretKeyBytes + 1}) {
    CHECK_THROWS_WITH(SecretKey(Bytes(bytes), public_key), ParameterError,
                      "has 96 bytes, not " + std::to_string(bytes));
  }
  // Of the native engine no key has parts; another one's has 64, and 2^27 bytes.
  const scheme::KeyId part = make_toy_key().id();
  CHECK_THROWS_WITH(PublicKey(scheme::Engine::kNative, Bytes(kPublicKeyBytes), {part}),
                    ParameterError, "no parts, not 1");
  CHECK_THROWS(PublicKey(scheme::Engine::kNative, Bytes(50), {}), ParameterError);
  const auto other = [&](std::size_t bytes, std::size_t parts) {
    return PublicKey(scheme::Engine::kPlain, Bytes(bytes), std::vector<scheme::KeyId>(parts, part))
        .to_bytes();
  };
  CHECK_EQ(other(0, 64).size(), 20 + 2 + 64 * 16 + 4u);
  CHECK_THROWS_WITH(other(0, 65), ParameterError, "at most 64 parts, not 65");
  constexpr std::size_t kMost = std::size_t{1} << 27;
  CHECK_EQ(other(kMost, 0).size(), 20 + 2 + 4 + kMost);
  CHECK_THROWS_WITH(other(kMost + 1, 0), ParameterError, std::to_string(kMost + 1));
  // The same edge in bytes.
  Bytes payload = fields_of_key(255, std::vector<scheme::KeyId>(65, part), Bytes(3));
  CHECK_THROWS_WITH(PublicKey::from_bytes(envelope_of(2, payload)), WireFormatError,
                    "at most 64 parts, not 65");
  payload = fields_of_key(1, {part}, Bytes(kPublicKeyBytes));
  CHECK_THROWS_WITH(PublicKey::from_bytes(envelope_of(2, payload)), WireFormatError, "no parts");
  payload = fields_of_key(1, {}, Bytes(kPublicKeyBytes - 1));
  CHECK_THROWS_WITH(PublicKey::from_bytes(envelope_of(2, payload)), WireFormatError,
                    "has 1216 bytes, not 1215");
}

TEST("keys go to bytes and back") {
  const SecretKey key = make_key(7);
  const SecretKey again = SecretKey::from_bytes(key.to_bytes());
  CHECK(again.id() == key.id());
  CHECK(again.to_bytes() == key.to_bytes());
  CHECK(copy_of(again.secret()) == copy_of(key.secret()));
  CHECK(copy_of(again.public_key().body()) == copy_of(key.public_key().body()));
  const PublicKey read = PublicKey::from_bytes(key.public_key().to_bytes());
  CHECK(read.id() == key.id());
  CHECK(read.to_bytes() == key.public_key().to_bytes());
}

TEST("the secret is in no public bytes") {
  const SecretKey key = make_key(9);
  const std::string secret = text_of(copy_of(key.secret()));
  CHECK(text_of(key.to_bytes()).find(secret) != std::string::npos);
  for (std::size_t at = 0; at + 8 <= secret.size(); at += 8) {
    CHECK(text_of(key.public_key().to_bytes()).find(secret.substr(at, 8)) == std::string::npos);
  }
}

TEST("keys of the other sort, of another length, of version 1 or damaged are refused") {
  const SecretKey key = make_key(2);
  const Bytes secret_bytes = key.to_bytes(), public_bytes = key.public_key().to_bytes();
  CHECK_THROWS_WITH(SecretKey::from_bytes(public_bytes), WireFormatError,
                    "this is a public key, but a secret key is needed");
  CHECK_THROWS_WITH(PublicKey::from_bytes(secret_bytes), WireFormatError,
                    "this is a secret key, but a public key is needed");
  for (const char* version : {"version 1 ", "version 2"}) {  // both are named
    CHECK_THROWS_WITH(SecretKey::from_bytes(with_version(secret_bytes, kFormerVersion)),
                      WireFormatError, version);
    CHECK_THROWS_WITH(PublicKey::from_bytes(with_version(public_bytes, kFormerVersion)),
                      WireFormatError, version);
  }
  const auto read_secret = [](const Bytes& bytes) {
    return SecretKey::from_bytes(bytes).to_bytes();
  };
  // The header, the number of parts and the length; another engine's keys are any bytes. Of a
  // public half also what makes a coefficient 3329 or more, or the coordinate another spelling of
  // one.
  const DamageReport secret_flips = flip_every_byte(secret_bytes, read_secret, 8);
  const auto some_of_the_body = [](std::size_t refused) {
    return refused > 9u * (16 + 1 + 4) && refused < 9u * (16 + 1 + 4) + 1152;
  };
  CHECK(some_of_the_body(secret_flips.refused));
  cut_everywhere(secret_bytes, read_secret);
  const auto read_public = [](const Bytes& bytes) {
    return PublicKey::from_bytes(bytes).to_bytes();
  };
  const DamageReport public_flips = flip_every_byte(public_bytes, read_public, 8);
  CHECK(some_of_the_body(public_flips.refused));
  cut_everywhere(public_bytes, read_public);
  const SecretKey other = make_toy_key(3, {key.id(), make_toy_key().id()});
  const Bytes other_public = other.public_key().to_bytes(), other_secret = other.to_bytes();
  flip_every_byte(other_public, read_public, 60);
  cut_everywhere(other_public, read_public);
  flip_every_byte(other_secret, read_secret, 60);
  const Bytes cut = envelope_of(3, payload_of(other_public));
  CHECK(SecretKey::from_bytes(cut).secret().empty());  // a secret ends where the bytes end
}

TEST("a saved key is private, is read back, and is refused once others can read it") {
  const TemporaryFolder folder;
  const std::string path = folder / "holder.key";
  SecretKey key = make_key(4);
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
  const std::string path = folder / "holder.key";
  {
    SecretKey key = make_key(4);
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

TEST("a key file is its own, whatever name leads to it, and is nothing without its ledger") {
  const TemporaryFolder folder;
  const auto refused = [](const SecretKey& key, std::uint64_t round) {
    CHECK_THROWS(key.ledger().record(bytes32(round), bytes32(9)), RoundError);
  };
  const std::string path = folder / "holder.key";
  SecretKey key = make_key(4);
  key.save(path);
  CHECK(std::filesystem::exists(path + ".opened"));  // from the first moment
  key.ledger().record(bytes32(1), bytes32(2));
  // Links: one ledger.
  std::filesystem::create_symlink(path, folder / "link");
  std::filesystem::create_directory_symlink(folder.path(), folder / "here");
  refused(SecretKey::load(folder / "link"), 1);
  refused(SecretKey::load(folder / "here/link"), 1);
  SecretKey::load(folder / "here/holder.key").ledger().record(bytes32(3), bytes32(4));
  refused(key, 3);
  // Hard links: refused under each name.
  std::filesystem::create_hard_link(path, folder / "second.key");
  CHECK_THROWS_WITH(SecretKey::load(path), ParameterError, "2 names");
  CHECK_THROWS_WITH(SecretKey::load(folder / "second.key"), ParameterError, "2 names");
  std::filesystem::remove(folder / "second.key");
  // The key alone, copied or moved.
  std::filesystem::copy_file(path, folder / "copy.key");
  CHECK_THROWS_WITH(SecretKey::load(folder / "copy.key"), std::system_error, "copy.key.opened");
  std::filesystem::remove(folder / "copy.key");
  std::filesystem::rename(path, folder / "moved.key");
  CHECK_THROWS_WITH(SecretKey::load(folder / "moved.key"), std::system_error, "put it back");
  std::filesystem::rename(path + ".opened", folder / "moved.key.opened");
  refused(SecretKey::load(folder / "moved.key"), 1);
  CHECK_THROWS(key.ledger().record(bytes32(5), bytes32(6)), std::system_error);
}

TEST("saving a key elsewhere gives a second file, not a second ledger") {
  const TemporaryFolder folder;
  SecretKey key = make_key(4);
  key.save(folder / "a.key");
  key.ledger().record(bytes32(1), bytes32(2));
  key.save(folder / "b.key");
  key.save(folder / "b.key");
  const SecretKey a = SecretKey::load(folder / "a.key"), b = SecretKey::load(folder / "b.key");
  CHECK_THROWS(b.ledger().record(bytes32(1), bytes32(9)), RoundError);
  b.ledger().record(bytes32(3), bytes32(4));
  for (const SecretKey* other : {&a, static_cast<const SecretKey*>(&key)}) {
    CHECK_THROWS(other->ledger().record(bytes32(3), bytes32(9)), RoundError);
  }
  // From a second file to a third, and back over the first.
  SecretKey::load(folder / "b.key").save(folder / "c.key");
  SecretKey::load(folder / "c.key").save(folder / "a.key");
  CHECK_THROWS(SecretKey::load(folder / "c.key").ledger().record(bytes32(3), bytes32(9)),
               RoundError);
  CHECK_EQ(contents_of(folder / "c.key"), contents_of(folder / "a.key"));
  CHECK(!std::filesystem::is_symlink(folder / "a.key.opened"));
  // Where another key stands, its ledger is not taken, and the file stays.
  SecretKey other = make_key(5);
  CHECK_THROWS(other.save(folder / "a.key"), ParameterError);
  CHECK_EQ(contents_of(folder / "c.key"), contents_of(folder / "a.key"));
  other.save(folder / "other.key");
  CHECK_THROWS(key.save(folder / "other.key"), ParameterError);
  CHECK_EQ(contents_of(folder / "other.key"), text_of(other.to_bytes()));
}

TEST("a save that fails leaves no ledger, no link, and what was opened in memory") {
  const TemporaryFolder folder;
  const auto fails_to_save = [&](SecretKey& key, const std::string& path) {
    // The ledger is made, then the disk is full.
    const Ending ending = run_child([&]() -> int {
      ::signal(SIGXFSZ, SIG_IGN);
      const rlimit narrow{300, 300};
      if (::setrlimit(RLIMIT_FSIZE, &narrow) != 0) return 1;
      SecretKey mine = SecretKey::from_bytes(key.to_bytes());  // of this process
      mine.ledger().record(bytes32(1), bytes32(2));
      try {
        mine.save(path);
        return 2;
      } catch (const std::system_error&) {
      }
      try {
        mine.ledger().record(bytes32(1), bytes32(3));
        return 3;
      } catch (const RoundError&) {
      }
      mine.ledger().record(bytes32(4), bytes32(5));  // without a file, as before
      return 0;
    });
    CHECK_EQ(ending.exit_status, 0);
  };
  SecretKey key = make_key(4);
  fails_to_save(key, folder / "a.key");
  CHECK(folder.names().empty());
  key.save(folder / "a.key");
  const Ending ending = run_child([&]() -> int {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit narrow{300, 300};
    if (::setrlimit(RLIMIT_FSIZE, &narrow) != 0) return 1;
    try {
      key.save(folder / "b.key");
      return 2;
    } catch (const std::system_error&) {
    }
    key.ledger().record(bytes32(1), bytes32(2));
    return 0;
  });
  CHECK_EQ(ending.exit_status, 0);
  CHECK_EQ(folder.names().size(), 2u);
  CHECK_THROWS(SecretKey::load(folder / "a.key").ledger().record(bytes32(1), bytes32(3)),
               RoundError);
}

TEST("moving a key takes its ledger along") {
  SecretKey key = make_key(4);
  const scheme::KeyId id = key.id();
  key.ledger().record(bytes32(1), bytes32(2));
  SecretKey moved = std::move(key);
  CHECK(moved.id() == id);
  CHECK_THROWS(moved.ledger().record(bytes32(1), bytes32(3)), RoundError);
  SecretKey other = make_key(5);
  other = std::move(moved);
  CHECK(other.id() == id);
  CHECK_THROWS(other.ledger().record(bytes32(1), bytes32(3)), RoundError);
  CHECK(SecretKey::from_bytes(other.to_bytes()).id() == id);
}

TEST("a key's secret is wiped before its memory goes back") {
#if defined(VEILSUM_ALLOCATION_HOOKS)
  auto key = std::make_unique<SecretKey>(make_key(6));
  CHECK_EQ(nonzero_at_free(key->secret().data(), kSecretKeyBytes, [&] { key.reset(); }), 0u);
  SecretKey kept = make_key(7);
  CHECK_EQ(nonzero_at_free(kept.secret().data(), kSecretKeyBytes, [&] { kept = make_key(8); }), 0u);
#else
  SKIP("seeing memory as it is freed takes a sanitizer's hook; the asan and tsan presets have it");
#endif
}

}  // namespace
}  // namespace veilsum::test
