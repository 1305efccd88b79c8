// Layer: scheme. See certificate.h.
#include "scheme/certificate.h"

#include <algorithm>
#include <set>
#include <utility>

#include "ring/sha256.h"
#include "scheme/wire.h"
#include "veilsum/errors.h"

namespace veilsum::scheme {
const Committee& committee_of(const Round& round) {
  if (const Committee* committee = round.committee()) return *committee;
  throw RoundError("round " + short_hex(round.id()) +
                   " has one key holder, who opens it by open_sum(); members endorse and answer "
                   "where the round has a committee");
}

std::uint32_t read_member(ByteReader& in, const Round& round) {
  const std::uint32_t member = in.u32();
  if (member >= committee_of(round).size()) {
    in.fail("the committee has no member number " + std::to_string(member));
  }
  return member;
}

void write_word(ByteWriter& out, std::uint32_t member, const Signature& signature) {
  out.u32(member);
  out.raw(signature.bytes());
}

std::pair<std::uint32_t, Signature> read_word(ByteReader& in, const Round& round) {
  const std::uint32_t member = read_member(in, round);
  return {member, Signature(in.raw(signature_bytes(member_of(round, member).kind())))};
}

const PublicIdentity& member_of(const Round& round, std::uint32_t member) {
  const Committee& committee = committee_of(round);
  if (member >= committee.size()) {
    throw RoundError("a committee of " + std::to_string(committee.size()) +
                     " has no member number " + std::to_string(member));
  }
  return committee.members()[member];
}

void check_word(const Round& round, std::uint32_t member, const Signature& signature,
                ByteView payload, const SignatureVerifier& verifier, const std::string& what) {
  const PublicIdentity& signer = member_of(round, member);
  if (signature.kind() != signer.kind() || !verifier.verify(signer, signature, payload)) {
    throw RoundError("the " + what + " of member " + std::to_string(member) +
                     " does not hold: it was altered, or somebody else made it");
  }
}

Digest SumName::digest(const Round& round) const {
  (void)committee_of(round);
  if (blocks.has_value() != names_blocks(round)) {
    throw RoundError(blocks ? "with tags, members certify no blocks"
                            : "without tags, members certify the aggregate's blocks as well");
  }
  ByteWriter out(96);
  out.raw(round.id());
  out.raw(manifest);
  if (blocks) out.raw(*blocks);
  return ring::labelled_hash("veilsum/2/certified-sum", {out.bytes()});
}

Bytes endorsement_payload(const Round& round, std::uint32_t member, const Digest& sum) {
  ByteWriter out(128);
  out.text("veilsum/2/endorsement");
  out.raw(round.id());
  out.u32(member);
  out.raw(sum);
  return out.take();
}

void Endorsement::check(const Round& round, const SignatureVerifier& verifier) const {
  check_round_id(round_id, round, "the endorsement");
  check_word(round, member, signature, endorsement_payload(round, member, sum), verifier,
             "endorsement");
}

Bytes Endorsement::to_bytes() const {
  ByteWriter out(72 + signature.bytes().size());
  out.raw(round_id);
  out.raw(sum);
  write_word(out, member, signature);
  return seal(ObjectKind::kEndorsement, {out.bytes()});
}

Endorsement Endorsement::from_bytes(ByteView bytes, const Round& round) {
  ByteReader in(open_envelope(bytes, ObjectKind::kEndorsement), "endorsement");
  const Digest round_id = in.array<32>();
  check_round_id(round_id, round, "the endorsement");
  const Digest sum = in.array<32>();
  auto [member, signature] = read_word(in, round);
  in.finish();
  return {round_id, member, sum, std::move(signature)};
}

Certificate::Certificate(const Manifest& manifest, std::optional<Digest> blocks,
                         const std::vector<Endorsement>& endorsements,
                         const SignatureVerifier& verifier)
    : manifest_(manifest.without_shares()),
      name_{manifest_.digest(), blocks},
      sum_(name_.digest(round())) {
  const std::uint32_t threshold = committee_of(round()).threshold();
  std::set<std::uint32_t> seen;
  for (const Endorsement& endorsement : endorsements) {
    if (endorsements_.size() == threshold) break;
    if (endorsement.sum != sum_) {
      throw RoundError("member " + std::to_string(endorsement.member) +
                       " endorsed another sum of round " + short_hex(round().id()) +
                       " than this one; endorsements of different sums do not go together");
    }
    endorsement.check(round(), verifier);
    if (seen.insert(endorsement.member).second) endorsements_.push_back(endorsement);
  }
  if (endorsements_.size() < threshold) {
    throw RoundError("a certificate takes the endorsements of " + std::to_string(threshold) +
                     " of " + std::to_string(committee_of(round()).size()) + " members; " +
                     std::to_string(endorsements_.size()) + " are there");
  }
}

std::vector<std::uint32_t> Certificate::members() const {
  std::vector<std::uint32_t> out;
  out.reserve(endorsements_.size());
  for (const Endorsement& endorsement : endorsements_) out.push_back(endorsement.member);
  return out;
}

Bytes Certificate::to_bytes() const {
  ByteWriter out(static_cast<std::size_t>(manifest_.wire_bytes()) + 64 +
                 endorsements_.size() * (4 + signature_bytes(SignatureKind::kPostQuantum)));
  manifest_.write(out);
  if (name_.blocks) out.raw(*name_.blocks);
  for (const Endorsement& endorsement : endorsements_) {
    write_word(out, endorsement.member, endorsement.signature);
  }
  return seal(ObjectKind::kCertificate, {out.bytes()});
}

Certificate Certificate::from_bytes(ByteView bytes, const Round& round,
                                    const SignatureVerifier& verifier) {
  ByteReader in(open_envelope(bytes, ObjectKind::kCertificate), "certificate");
  const Manifest manifest = Manifest::read(in, round);
  SumName name{manifest.digest(), std::nullopt};
  if (names_blocks(round)) name.blocks = in.array<32>();
  const Digest sum = name.digest(round);
  std::vector<Endorsement> endorsements;
  endorsements.reserve(committee_of(round).threshold());
  for (std::uint32_t k = 0; k < committee_of(round).threshold(); ++k) {
    auto [member, signature] = read_word(in, round);
    endorsements.push_back({round.id(), member, sum, std::move(signature)});
  }
  in.finish();
  return Certificate(manifest, name.blocks, endorsements, verifier);
}

}  // namespace veilsum::scheme
