// Layer: tests. Rounds that a committee opens, with everybody who takes part: identities that
// nobody holds, hashes for signatures, toys for HPKE. Uploads are honest in their sealed shares and
// random in the blocks.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "scheme/combine.h"
#include "scheme/verdict.h"
#include "support/rounds.h"
#include "support/signatures.h"

namespace veilsum::test {

/// Members 0 ... n - 1, every second one of them post-quantum if that is wanted.
inline scheme::Committee make_committee(std::uint64_t n, std::uint64_t t, bool mixed = false) {
  std::vector<scheme::PublicIdentity> members;
  for (std::uint64_t k = 0; k < n; ++k) {
    members.push_back(fake_identity(7000 + k, mixed && k % 2 == 1
                                                  ? scheme::SignatureKind::kPostQuantum
                                                  : scheme::SignatureKind::kEd25519));
  }
  return {std::move(members), t};
}

/// A group's commitment whose reading key nobody holds.
inline scheme::GroupCommitment fake_group(std::uint64_t n = 1) {
  scheme::GroupCommitment group;
  group.tag_key = bytes32(600 + n);
  const scheme::PublicIdentity identity = fake_identity(600 + n);
  std::copy(identity.kem_key().begin(), identity.kem_key().end(), group.reading_key.begin());
  return group;
}

inline scheme::TrainingStep step_of(std::uint64_t n) {
  return {bytes32(500 + n), n, "update", bytes32(550 + n)};
}

struct CommitteeShape {
  std::uint64_t members = 4;
  std::uint64_t threshold = 3;
  bool tagged = false;  ///< the clients read; otherwise a server
  bool mixed = false;   ///< clients and members of both kinds
  std::uint64_t clients = 4;
  std::uint64_t upload_keys = 1;
  std::uint64_t size = 20;
};

inline scheme::RoundFields committee_fields(const CommitteeShape& shape) {
  scheme::RoundFields fields = fields_of({{shape.size, 1.0}}, shape.upload_keys);
  fields.roster = shape.mixed ? mixed_roster(shape.clients) : fake_roster(shape.clients);
  if (shape.tagged) {
    fields.group = fake_group();
  } else {
    fields.reader = fake_identity(6000);
  }
  return fields;
}

inline scheme::Round make_committee_round(const CommitteeShape& shape, std::uint64_t n = 1) {
  return scheme::Round(make_plan(10, 16),
                       make_committee(shape.members, shape.threshold, shape.mixed),
                       committee_fields(shape), bytes32(n * 77));
}

/// Who opens what is sealed to a member, or to the round's reader.
inline ToyOpener opener_of_member(const scheme::Round& round, std::uint32_t member) {
  return ToyOpener(round.committee()->members()[member].kem_key());
}
inline ToyOpener opener_of_reader(const scheme::Round& round) {
  return ToyOpener(scheme::reader_of(round).key);
}

/// The digest of blocks that stands for any, where members certify one.
inline std::optional<Digest> some_blocks(const scheme::Round& round, std::uint64_t n = 1) {
  return round.tagged() ? std::nullopt : std::optional(bytes32(300 + n));
}

/// The uploads of these clients, client k's made of seed k + 1.
inline scheme::Manifest manifest_of_clients(const scheme::Round& round,
                                            const std::vector<std::uint32_t>& clients) {
  const FakeVerifier verifier;
  scheme::Manifest manifest(round);
  for (const std::uint32_t client : clients) {
    manifest.add(make_signed_upload(round, client + 1, client).head(), 1, &verifier);
  }
  return manifest;
}

/// The coefficients of their sum key, and their tags' sum.
inline std::vector<std::int64_t> key_of_clients(const scheme::Round& round,
                                                const std::vector<std::uint32_t>& clients) {
  std::vector<std::int64_t> sum(std::size_t{round.plan().degree()} * round.upload_keys());
  for (const std::uint32_t client : clients) {
    const scheme::KeyCoefficients keys = scheme::expand_keys(round, seed32(client + 1));
    for (std::size_t j = 0; j < sum.size(); ++j) sum[j] += keys[j];
  }
  return sum;
}
inline ring::TagSum::Values tag_of_clients(const scheme::Round& round,
                                           const std::vector<std::uint32_t>& clients) {
  const std::uint64_t p = scheme::tag_field(round).prime();
  ring::TagSum::Values sum{};
  for (const std::uint32_t client : clients) {
    const ring::TagSum tag = tag_of(round, client + 1);
    for (std::size_t e = 0; e < sum.size(); ++e) sum[e] = (sum[e] + tag.values()[e]) % p;
  }
  return sum;
}

inline scheme::Endorsement endorse(const scheme::Round& round, std::uint32_t member,
                                   const Digest& sum) {
  return {round.id(), member, sum,
          fake_signature(round.committee()->members()[member],
                         scheme::endorsement_payload(round, member, sum))};
}

/// Certified by these members, or else by the first t.
inline scheme::Certificate certify(const scheme::Manifest& manifest,
                                   const std::optional<Digest>& blocks,
                                   std::vector<std::uint32_t> members = {}) {
  const scheme::Round& round = manifest.round();
  for (std::uint32_t k = 0; members.size() < round.committee()->threshold(); ++k) {
    members.push_back(k);
  }
  const Digest sum = scheme::SumName{manifest.digest(), blocks}.digest(round);
  std::vector<scheme::Endorsement> endorsements;
  for (const std::uint32_t member : members) endorsements.push_back(endorse(round, member, sum));
  return {manifest, blocks, endorsements, FakeVerifier()};
}

/// The share of a sum that a member has.
inline scheme::KeyShare share_of_member(const scheme::Manifest& manifest,
                                        const std::optional<Digest>& blocks, std::uint32_t member) {
  return scheme::open_shares(scheme::MemberRequest(manifest, blocks, member),
                             opener_of_member(manifest.round(), member))
      .sum;
}

/// A member's word for a share, whatever share that is.
inline scheme::Answer answer_with(const scheme::Certificate& certificate, std::uint32_t member,
                                  const scheme::KeyShare& share) {
  const scheme::Round& round = certificate.round();
  Bytes sealed = scheme::seal_answer(round, certificate.sum(), member, share, kSealer);
  scheme::Signature signature =
      fake_signature(round.committee()->members()[member],
                     scheme::answer_payload(round, member, certificate.sum(), sealed));
  return {round.id(), member, certificate.sum(), std::move(sealed), std::move(signature)};
}

/// What a member says of the uploads' challenges, whatever `words` are.
inline scheme::ChallengeAnswer challenge_answer_with(const scheme::Certificate& certificate,
                                                     std::uint32_t member, Bytes words) {
  const scheme::Round& round = certificate.round();
  scheme::Signature signature =
      fake_signature(round.committee()->members()[member],
                     scheme::challenge_payload(round, member, certificate.sum(), words));
  return {round.id(), member, certificate.sum(), std::move(words), std::move(signature)};
}
/// And what it says by its shares. The certificate comes without them, so that the manifest is
/// asked for where it has them.
inline scheme::ChallengeAnswer challenge_answer(const scheme::Certificate& certificate,
                                                const scheme::Manifest& manifest,
                                                std::uint32_t member) {
  return challenge_answer_with(
      certificate, member,
      scheme::open_challenges(scheme::MemberRequest(manifest, certificate.blocks(), member),
                              opener_of_member(certificate.round(), member)));
}

}  // namespace veilsum::test
