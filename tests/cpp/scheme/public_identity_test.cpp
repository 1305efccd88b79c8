// Layer: tests (scheme). Public identities: their bytes as the wire format lays them out, refusal
// of keys that identify nobody or protect nothing, wherever they come from, and rosters in which
// two share a key.
#include "scheme/public_identity.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "check.h"
#include "ring/sha256.h"
#include "scheme/round.h"
#include "support/damage.h"
#include "support/envelopes.h"
#include "support/identities.h"
#include "support/rounds.h"
#include "support/signatures.h"
#include "veilsum/errors.h"

namespace veilsum::test {
namespace {

using scheme::check_distinct;
using scheme::PublicIdentity;
using scheme::SignatureKind;

constexpr SignatureKind kKinds[] = {SignatureKind::kEd25519, SignatureKind::kPostQuantum};

Bytes copy_of(ByteView view) { return {view.begin(), view.end()}; }

TEST("the bytes of a public identity, its parts and its id") {
  for (const SignatureKind kind : kKinds) {
    const bool quantum = kind == SignatureKind::kPostQuantum;
    const Bytes fields = identity_fields(7, kind);
    CHECK_EQ(fields.size(), quantum ? 3201u : 1249u);
    const PublicIdentity identity(fields);
    CHECK(identity.kind() == kind);
    CHECK(copy_of(identity.fields()) == fields);
    Bytes joined{static_cast<std::uint8_t>(quantum ? 2 : 1)};
    for (const ByteView part : {identity.verification_key(), identity.encapsulation_key(),
                                identity.exchange_key(), identity.lattice_verification_key()}) {
      joined.insert(joined.end(), part.begin(), part.end());
    }
    CHECK(joined == fields);
    CHECK_EQ(identity.encapsulation_key().size(), 1184u);
    CHECK_EQ(identity.lattice_verification_key().size(), quantum ? 1952u : 0u);
    CHECK(copy_of(identity.kem_key()) == Bytes(fields.begin() + 33, fields.begin() + 1249));
    CHECK(identity.id() == ring::labelled_hash("veilsum/2/identity-id", {fields}));
    CHECK_EQ(identity.to_bytes(), envelope_of(10, fields));
    CHECK(PublicIdentity::from_bytes(identity.to_bytes()) == identity);
  }
  CHECK(!(fake_identity(1) == fake_identity(2)));
  CHECK(fake_identity(1).id() != fake_identity(2).id());
  CHECK(fake_identity(1).id() != fake_identity(1, SignatureKind::kPostQuantum).id());
}

TEST("lengths and kinds that do not fit are refused") {
  for (const SignatureKind kind : kKinds) {
    const Bytes good = identity_fields(7, kind);
    for (const std::size_t size : {std::size_t{0}, std::size_t{1}, good.size() - 1}) {
      const Bytes cut(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(size));
      CHECK_THROWS(PublicIdentity(cut), ParameterError);
      CHECK_THROWS(PublicIdentity::from_bytes(envelope_of(10, cut)), WireFormatError);
    }
    Bytes longer = good;
    longer.push_back(0);
    CHECK_THROWS(PublicIdentity(longer), ParameterError);
    CHECK_THROWS(PublicIdentity::from_bytes(envelope_of(10, longer)), WireFormatError);
    for (const int other : {0, 3, 255, kind == SignatureKind::kEd25519 ? 2 : 1}) {
      Bytes renamed = good;
      renamed[0] = static_cast<std::uint8_t>(other);
      CHECK_THROWS(PublicIdentity(renamed), ParameterError);
      CHECK_THROWS(PublicIdentity::from_bytes(envelope_of(10, renamed)), WireFormatError);
    }
    CHECK_THROWS_WITH(PublicIdentity::from_bytes(envelope_of(2, good)), WireFormatError,
                      "public identity");
  }
}

struct Spoilt {
  std::size_t at;
  Bytes key;
  const char* says;
};

/// Each key of an identity replaced by one that is weak.
std::vector<Spoilt> weak_parts(SignatureKind kind) {
  Bytes one(32);
  one[0] = 1;
  Bytes beyond(32, 0xff);
  std::vector<Spoilt> parts = {
      {1, one, "Ed25519 key is a point of small order"},
      {1, beyond, "Ed25519 key is not in canonical form"},
      {33, Bytes(1152), "ML-KEM-768 key has no coefficient but 0"},
      {33, Bytes(3, 0xff), "ML-KEM-768 key is no ML-KEM-768 encapsulation key"},
      {1217, one, "X25519 key is a point of low order"},
      {1217, Bytes(32), "X25519 key is a point of low order"},
      {1217, beyond, "X25519 key is not in canonical form"},
  };
  if (kind == SignatureKind::kPostQuantum) {
    parts.push_back({1249 + 32, Bytes(1920), "ML-DSA-65 key has no coefficient but 0 and 1023"});
  }
  return parts;
}

TEST(
    "keys that identify nobody or protect nothing: no identity, no bytes and no round brings one") {
  const scheme::Plan plan = make_plan(10, 16);
  const scheme::SecretKey key = make_key();
  for (const SignatureKind kind : kKinds) {
    const Bytes good = identity_fields(9001, kind);
    scheme::RoundFields fields = fields_of({{100, 1.0}});
    fields.roster = {fake_identity(5), PublicIdentity(good), fake_identity(6)};
    const Bytes payload = payload_of(make_round(plan, key, fields).to_bytes());
    const auto place = std::search(payload.begin(), payload.end(), good.begin(), good.end());
    CHECK(place != payload.end());
    for (const Spoilt& spoilt : weak_parts(kind)) {
      Bytes bad = good;
      std::copy(spoilt.key.begin(), spoilt.key.end(),
                bad.begin() + static_cast<std::ptrdiff_t>(spoilt.at));
      CHECK_THROWS_WITH(PublicIdentity(bad), ParameterError, spoilt.says);
      CHECK_THROWS_WITH(PublicIdentity::from_bytes(envelope_of(10, bad)), WireFormatError,
                        spoilt.says);
      Bytes forged = payload;
      std::copy(bad.begin(), bad.end(), forged.begin() + (place - payload.begin()));
      CHECK_THROWS_WITH(scheme::Round::from_bytes(envelope_of(4, forged)), WireFormatError,
                        std::string("client 1 of the roster: its ") + spoilt.says);
    }
  }
}

TEST("two that share any key are refused by name and place, and by no round taken") {
  const scheme::Plan plan = make_plan(10, 16);
  const scheme::SecretKey key = make_key();
  const struct {
    std::size_t at, size;
    const char* name;
  } parts[] = {{1, 32, "Ed25519"},
               {33, 1184, "ML-KEM-768"},
               {1217, 32, "X25519"},
               {1249, 1952, "ML-DSA-65"}};
  for (const SignatureKind first : kKinds) {
    for (const SignatureKind second : kKinds) {
      const Bytes victim = identity_fields(20, first);
      for (const auto& part : parts) {
        Bytes copycat = identity_fields(21, second);
        if (part.at + part.size > std::min(victim.size(), copycat.size())) continue;
        scheme::RoundFields fields = fields_of({{100, 1.0}});
        fields.roster = {fake_identity(19), PublicIdentity(victim), fake_identity(22),
                         PublicIdentity(copycat)};
        check_distinct(fields.roster);
        const Bytes good = payload_of(make_round(plan, key, fields).to_bytes());
        Bytes bytes = good;
        const auto place = std::search(bytes.begin(), bytes.end(), copycat.begin(), copycat.end());
        std::copy_n(victim.begin() + static_cast<std::ptrdiff_t>(part.at), part.size,
                    place + static_cast<std::ptrdiff_t>(part.at));
        std::copy_n(place, copycat.size(), copycat.begin());
        fields.roster[3] = PublicIdentity(copycat);
        const std::string says =
            std::string("clients 1 and 3 of the roster have the same ") + part.name + " key";
        CHECK_THROWS_WITH(check_distinct(fields.roster), ParameterError, says);
        CHECK_THROWS_WITH(make_round(plan, key, fields), ParameterError, says);
        CHECK_THROWS_WITH(scheme::Round::from_bytes(envelope_of(4, bytes)), WireFormatError, says);
      }
    }
  }
  check_distinct({});
  check_distinct(mixed_roster(50));
}

TEST("damaged bytes are refused, or are another identity") {
  for (const SignatureKind kind : kKinds) {
    const PublicIdentity identity = fake_identity(3, kind);
    const auto read = [&](const Bytes& bytes) {
      const PublicIdentity other = PublicIdentity::from_bytes(bytes);
      CHECK(other.id() != identity.id());
      return other.to_bytes();
    };
    const DamageReport flips = flip_every_byte(identity.to_bytes(), read, 64, 7);
    CHECK(flips.accepted > 100 && flips.refused > 100);
    cut_everywhere(identity.to_bytes(), read, 7);
  }
}

TEST("signatures have one of two lengths") {
  CHECK_EQ(scheme::signature_bytes(SignatureKind::kNone), 0u);
  CHECK_EQ(scheme::signature_bytes(SignatureKind::kEd25519), 64u);
  CHECK_EQ(scheme::signature_bytes(SignatureKind::kPostQuantum), 64u + 3309);
  for (const SignatureKind kind : kKinds) {
    CHECK(scheme::Signature(Bytes(scheme::signature_bytes(kind))).kind() == kind);
  }
  for (const std::size_t size : {0, 1, 63, 65, 3309, 3372, 3374}) {
    CHECK_THROWS_WITH(scheme::Signature(Bytes(size)), ParameterError, std::to_string(size));
  }
}

}  // namespace
}  // namespace veilsum::test
