// Layer: tests (scheme). Endorsements and certificates: what a member signs, byte by byte; that t
// distinct members' word for one sum of one round is needed and enough; and everything else
// refused.
#include "scheme/certificate.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "check.h"
#include "ring/sha256.h"
#include "support/committees.h"
#include "support/damage.h"
#include "support/envelopes.h"
#include "veilsum/errors.h"

namespace veilsum::test {
namespace {

using scheme::Certificate;
using scheme::Endorsement;
using scheme::Manifest;
using scheme::Round;
using scheme::SumName;

constexpr std::uint16_t kEndorsementKind = 12, kCertificateKind = 13;

Digest sum_of(const Manifest& manifest, std::uint64_t blocks = 1) {
  return SumName{manifest.digest(), some_blocks(manifest.round(), blocks)}.digest(manifest.round());
}

std::vector<Endorsement> endorsed_by(const Manifest& manifest,
                                     const std::vector<std::uint32_t>& members) {
  std::vector<Endorsement> out;
  for (const std::uint32_t member : members) {
    out.push_back(endorse(manifest.round(), member, sum_of(manifest)));
  }
  return out;
}

Certificate certificate_of(const Manifest& manifest, const std::vector<Endorsement>& endorsements) {
  return {manifest, some_blocks(manifest.round()), endorsements, FakeVerifier()};
}

TEST("what names a sum: its round, its manifest, and its blocks where nothing else finds them") {
  for (const bool tagged : {false, true}) {
    const Round round = make_committee_round({4, 3, tagged});
    const SumName name{bytes32(1), some_blocks(round)};
    ByteWriter out;
    out.raw(round.id());
    out.raw(bytes32(1));
    if (!tagged) out.raw(bytes32(301));
    CHECK(name.digest(round) == ring::labelled_hash("veilsum/2/certified-sum", {out.bytes()}));
    SumName other = name;
    if (tagged) {
      other.blocks = bytes32(2);
    } else {
      other.blocks.reset();
    }
    CHECK_THROWS_WITH(other.digest(round), RoundError, tagged ? "no blocks" : "blocks as well");
    std::set<Digest> names = {name.digest(round)};
    names.insert(SumName{bytes32(2), some_blocks(round)}.digest(round));
    names.insert(name.digest(make_committee_round({4, 3, tagged}, 2)));
    if (!tagged) names.insert(SumName{bytes32(1), bytes32(2)}.digest(round));
    CHECK_EQ(names.size(), tagged ? 3u : 4u);
  }
}

TEST("the bytes that a member signs, and those of an endorsement") {
  const Round round = make_committee_round({4, 3, false, true});
  ByteWriter payload;
  payload.text("veilsum/2/endorsement");
  payload.raw(round.id());
  payload.u32(2);
  payload.raw(bytes32(9));
  CHECK_EQ(scheme::endorsement_payload(round, 2, bytes32(9)), payload.bytes());
  for (std::uint32_t member = 0; member < 4; ++member) {  // of both kinds
    const Endorsement made = endorse(round, member, bytes32(9));
    made.check(round, FakeVerifier());
    ByteWriter out;
    out.raw(round.id());
    out.raw(bytes32(9));
    out.u32(member);
    out.raw(made.signature.bytes());
    CHECK_EQ(made.to_bytes(), envelope_of(kEndorsementKind, out.bytes()));
    const Endorsement again = Endorsement::from_bytes(made.to_bytes(), round);
    CHECK(again.to_bytes() == made.to_bytes());
    CHECK(again.round_id == round.id());
    CHECK_EQ(again.member, member);
    CHECK(again.sum == bytes32(9));
    again.check(round, FakeVerifier());
  }
}

TEST("an endorsement holds as its member signed it, and in no other way") {
  const Round round = make_committee_round({4, 3, true, true}),
              other = make_committee_round({4, 3, true, true}, 2);
  const FakeVerifier verifier;
  const Endorsement good = endorse(round, 1, bytes32(9));
  good.check(round, verifier);
  CHECK_EQ(verifier.calls.load(), 1);
  const auto refused = [&](const std::function<void(Endorsement&)>& change,
                           const std::string& why) {
    Endorsement bad = good;
    change(bad);
    CHECK_THROWS_WITH(bad.check(round, verifier), RoundError, why);
  };
  refused([](Endorsement& e) { e.sum[31] ^= 1; }, "member 1 does not hold");
  refused([](Endorsement& e) { e.signature = changed(e.signature, 0); }, "member 1 does not hold");
  refused([](Endorsement& e) { e.signature = changed(e.signature, 64); }, "member 1 does not hold");
  // Another's number, of the same kind of signature and of the other.
  refused([](Endorsement& e) { e.member = 3; }, "member 3 does not hold");
  refused([](Endorsement& e) { e.member = 2; }, "member 2 does not hold");
  for (const std::uint32_t nobody : {4u, 5u, ~0u}) {
    refused([&](Endorsement& e) { e.member = nobody; }, "no member number");
  }
  // A word that holds for another round, or is said to be for another.
  CHECK_THROWS_WITH(good.check(other, verifier), RoundError, "belongs to round");
  refused([&](Endorsement& e) { e.round_id = other.id(); }, short_hex(other.id()));
  Endorsement foreign = endorse(other, 1, bytes32(9));
  foreign.round_id = round.id();
  CHECK_THROWS_WITH(foreign.check(round, verifier), RoundError, "does not hold");
  // The wrong kind of signature is refused although it holds for what it is: nobody is asked.
  const auto as = [&](std::uint32_t member, scheme::SignatureKind kind) {
    return Endorsement{round.id(), member, bytes32(9),
                       fake_signature(fake_identity(7000 + member, kind),
                                      scheme::endorsement_payload(round, member, bytes32(9)))};
  };
  const int before = verifier.calls.load();
  using enum scheme::SignatureKind;
  CHECK_THROWS_WITH(as(1, kEd25519).check(round, verifier), RoundError, "does not hold");
  CHECK_THROWS_WITH(as(0, kPostQuantum).check(round, verifier), RoundError, "does not hold");
  CHECK_EQ(verifier.calls.load(), before);
  as(1, kPostQuantum).check(round, verifier);
  // An answer's signature, or an upload's, is no endorsement.
  Endorsement answer = good;
  answer.signature = fake_signature(round.committee()->members()[1],
                                    scheme::answer_payload(round, 1, bytes32(9), {}));
  CHECK_THROWS_WITH(answer.check(round, verifier), RoundError, "does not hold");
}

TEST("endorsements in bytes: of this round, by one of its committee, whole") {
  const Round round = make_committee_round({4, 3, false, true}),
              other = make_committee_round({4, 3, false, true}, 2);
  const Bytes good = endorse(round, 1, bytes32(9)).to_bytes();
  CHECK_THROWS_WITH(Endorsement::from_bytes(good, other), RoundError, "belongs to round");
  const Round single = make_round(make_plan(10, 16), make_key(), 10);
  Bytes of_single = good;
  std::memcpy(of_single.data() + kHeaderBytes, single.id().data(), 32);
  repair_checksum(of_single);
  CHECK_THROWS_WITH(Endorsement::from_bytes(of_single, single), RoundError, "one key holder");
  for (const std::uint32_t nobody : {4u, 0x100u, ~0u}) {
    Bytes damaged = good;
    std::memcpy(damaged.data() + kHeaderBytes + 64, &nobody, 4);
    repair_checksum(damaged);
    CHECK_THROWS_WITH(Endorsement::from_bytes(damaged, round), WireFormatError,
                      "no member number " + std::to_string(nobody));
  }
  const auto read = [&](const Bytes& bytes) {
    return Endorsement::from_bytes(bytes, round).to_bytes();
  };
  const DamageReport flips = flip_every_byte(good, read, 128, 7);
  CHECK(flips.accepted > 32u * 9 && flips.refused > 32u * 9);  // of the digest, and of the round id
  cut_everywhere(good, read, 11);
}

TEST("a certificate takes t distinct members, whoever they are, and keeps the first t") {
  for (const bool tagged : {false, true}) {
    const Round round = make_committee_round({5, 3, tagged, true});
    const Manifest manifest = manifest_of_clients(round, {0, 2, 3});
    for (const std::vector<std::uint32_t>& members : std::vector<std::vector<std::uint32_t>>{
             {0, 1, 2}, {4, 2, 0}, {3, 1, 4}, {2, 3, 4, 0, 1}, {1, 1, 0, 1, 2}}) {
      const Certificate certificate = certificate_of(manifest, endorsed_by(manifest, members));
      std::vector<std::uint32_t> first;
      for (const std::uint32_t member : members) {
        if (first.size() < 3 && std::find(first.begin(), first.end(), member) == first.end()) {
          first.push_back(member);
        }
      }
      CHECK(certificate.members() == first);
      CHECK(certificate.manifest().digest() == manifest.digest());
      CHECK(!certificate.manifest().has_shares());
      CHECK(certificate.blocks() == some_blocks(round));
      CHECK(certificate.sum() == sum_of(manifest));
      CHECK(certificate.round().id() == round.id());
    }
    // Beyond the first t nobody is asked.
    std::vector<Endorsement> more = endorsed_by(manifest, {0, 1, 2, 3});
    more[3].signature = changed(more[3].signature, 0);
    CHECK_EQ(certificate_of(manifest, more).members().size(), 3u);
    for (const std::vector<std::uint32_t>& members : std::vector<std::vector<std::uint32_t>>{
             {}, {0}, {0, 4}, {1, 1, 1}, {1, 1, 2, 2, 1, 2, 1}}) {
      CHECK_THROWS_WITH(
          certificate_of(manifest, endorsed_by(manifest, members)), RoundError,
          "the endorsements of 3 of 5 members; " +
              std::to_string(std::set<std::uint32_t>(members.begin(), members.end()).size()) +
              " are there");
    }
  }
}

TEST("a certificate takes one sum of one round, under signatures that hold") {
  for (const bool tagged : {false, true}) {
    const Round round = make_committee_round({4, 3, tagged, true}),
                other = make_committee_round({4, 3, tagged, true}, 2);
    const Manifest manifest = manifest_of_clients(round, {0, 1, 2}),
                   fewer = manifest_of_clients(round, {0, 1}),
                   foreign = manifest_of_clients(other, {0, 1, 2});
    const auto with = [&](std::size_t place, const Endorsement& bad) {
      std::vector<Endorsement> some = endorsed_by(manifest, {0, 1, 2});
      some[place] = bad;
      return certificate_of(manifest, some);
    };
    for (std::uint32_t place = 0; place < 3; ++place) {
      CHECK_THROWS_WITH(with(place, endorse(round, place, sum_of(fewer))), RoundError,
                        "member " + std::to_string(place) + " endorsed another sum");
      if (!tagged) {  // other blocks under the same manifest
        CHECK_THROWS_WITH(with(place, endorse(round, place, sum_of(manifest, 2))), RoundError,
                          "endorsed another sum");
      }
      CHECK_THROWS_WITH(with(place, endorse(other, place, sum_of(foreign))), RoundError,
                        "endorsed another sum");
      CHECK_THROWS_WITH(with(place, endorse(other, place, sum_of(manifest))), RoundError,
                        "belongs to round");
      // A signature over another sum, over another round's, of another member, of another kind.
      Endorsement bad = endorse(round, place, sum_of(manifest));
      const std::string holds = "member " + std::to_string(place) + " does not hold";
      bad.signature = endorse(round, place, sum_of(fewer)).signature;
      CHECK_THROWS_WITH(with(place, bad), RoundError, holds);
      bad.signature = endorse(other, place, sum_of(manifest)).signature;
      CHECK_THROWS_WITH(with(place, bad), RoundError, holds);
      bad.signature = endorse(round, 3 - place, sum_of(manifest)).signature;
      CHECK_THROWS_WITH(with(place, bad), RoundError, holds);
    }
    CHECK_EQ(certificate_of(manifest, endorsed_by(manifest, {0, 1, 2})).members().size(), 3u);
    // Blocks named where they should not be, or not where they should.
    const std::optional<Digest> wrong =
        tagged ? std::optional<Digest>(bytes32(1)) : std::optional<Digest>();
    CHECK_THROWS(Certificate(manifest, wrong, endorsed_by(manifest, {0, 1, 2}), FakeVerifier()),
                 RoundError);
  }
  const Round single = make_round(make_plan(10, 16), make_key(), 10);
  CHECK_THROWS_WITH(Certificate(Manifest(single), std::nullopt, {}, FakeVerifier()), RoundError,
                    "one key holder");
  CHECK_THROWS_WITH(scheme::committee_of(single), RoundError, "open_sum()");
}

TEST("certificates go to bytes and back, in any order of members, and every signature is checked") {
  for (const bool tagged : {false, true}) {
    const Round round = make_committee_round({4, 3, tagged, true});
    const Manifest manifest = manifest_of_clients(round, {3, 1, 2});
    const std::vector<Endorsement> some = endorsed_by(manifest, {2, 3, 1});
    const Certificate certificate = certificate_of(manifest, some);
    ByteWriter out;
    out.raw(round.id());
    out.u32(3);
    for (const scheme::ManifestEntry& entry : manifest.entries()) {
      out.u64(1);
      scheme::write_head(out, entry.head);
    }
    if (!tagged) out.raw(bytes32(301));
    for (const Endorsement& e : some) {
      out.u32(e.member);
      out.raw(e.signature.bytes());
    }
    const Bytes bytes = certificate.to_bytes();
    CHECK_EQ(bytes, envelope_of(kCertificateKind, out.bytes()));
    const FakeVerifier verifier;
    const Certificate again = Certificate::from_bytes(bytes, round, verifier);
    CHECK_EQ(verifier.calls.load(), 3);
    CHECK(again.to_bytes() == bytes);
    CHECK(again.members() == (std::vector<std::uint32_t>{2, 3, 1}));
    CHECK(again.sum() == certificate.sum());
    CHECK(again.name() == certificate.name());
    CHECK_THROWS_WITH(
        Certificate::from_bytes(bytes, make_committee_round({4, 3, tagged, true}, 2), verifier),
        RoundError, "belongs to round");
  }
}

TEST("certificates in bytes: nothing that was changed is one") {
  for (const bool tagged : {false, true}) {
    const Round round = make_committee_round({4, 3, tagged});
    const Manifest manifest = manifest_of_clients(round, {0, 1});
    const Bytes good = certificate_of(manifest, endorsed_by(manifest, {0, 1, 2})).to_bytes();
    const FakeVerifier verifier;
    const auto read = [&](const Bytes& bytes) {
      return Certificate::from_bytes(bytes, round, verifier).to_bytes();
    };
    CHECK(read(good) == good);
    // Words: one missing, one too many, a member twice, nobody.
    const std::size_t word = 4 + 64, words = good.size() - kTrailerBytes - 3 * word;
    const auto with = [&](auto change) {
      Bytes payload = payload_of(good);
      change(payload, words - kHeaderBytes);
      return envelope_of(kCertificateKind, payload);
    };
    CHECK_THROWS_WITH(read(with([&](Bytes& p, std::size_t) { p.resize(p.size() - word); })),
                      WireFormatError, "truncated");
    CHECK_THROWS_WITH(read(with([&](Bytes& p, std::size_t at) {
                        const Bytes one(p.begin() + static_cast<std::ptrdiff_t>(at),
                                        p.begin() + static_cast<std::ptrdiff_t>(at + word));
                        p.insert(p.end(), one.begin(), one.end());
                      })),
                      WireFormatError, "follow");
    CHECK_THROWS_WITH(read(with([&](Bytes& p, std::size_t at) {
                        std::memcpy(p.data() + at + word, p.data() + at, word);
                      })),
                      RoundError, "2 are there");
    for (const std::uint32_t nobody : {4u, ~0u}) {
      CHECK_THROWS_WITH(
          read(with([&](Bytes& p, std::size_t at) { std::memcpy(p.data() + at, &nobody, 4); })),
          WireFormatError, "no member number");
    }
    // Order alone is free. What the signatures do not cover is the uploads' own signatures: members
    // checked those, and whoever answers or combines has the members' word for the heads.
    const DamageReport flips = flip_every_byte(good, read, 48, 3);
    const std::size_t signatures = 2 * 64;
    CHECK(flips.accepted <= signatures / 3 + 2);
    CHECK(flips.refused > good.size() / 3 - signatures);
    cut_everywhere(good, read, 11);
  }
}

}  // namespace
}  // namespace veilsum::test
