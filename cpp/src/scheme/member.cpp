// Layer: scheme. See member.h.
#include "scheme/member.h"

#include <algorithm>
#include <utility>

#include "ring/sha256.h"
#include "scheme/part_tree.h"
#include "scheme/wire.h"
#include "veilsum/errors.h"

namespace veilsum::scheme {

MemberRequest::MemberRequest(const Manifest& manifest, std::optional<Digest> blocks,
                             std::uint32_t member)
    : manifest_(manifest.without_shares()),
      name_{manifest_.digest(), blocks},
      member_(member),
      part_bytes_(sealed_share_bytes(round())) {
  const Committee& committee = committee_of(round());
  (void)name_.digest(round());  // asks whether the blocks are named as they should be
  if (member >= committee.size()) {
    throw ParameterError("a committee of " + std::to_string(committee.size()) +
                         " has no member number " + std::to_string(member));
  }
  if (manifest.entries().empty()) throw RoundError("a sum of no uploads is endorsed by nobody");
  if (!manifest.has_shares()) {
    throw RoundError(
        "this aggregate comes without the uploads' sealed shares, as readers download it; members "
        "need the one that the aggregator made");
  }
  for (const ManifestEntry& entry : manifest.entries()) {
    const ByteView part = sealed_share(round(), entry.head, member);
    parts_.insert(parts_.end(), part.begin(), part.end());
    paths_.push_back(part_path(*entry.head.shares, committee.size(), member));
  }
}

Bytes MemberRequest::to_bytes() const {
  ByteWriter out(static_cast<std::size_t>(manifest_.wire_bytes()) + 64 + parts_.size() +
                 paths_.size() * paths_.front().size() * sizeof(Digest));
  manifest_.write(out);
  if (name_.blocks) out.raw(*name_.blocks);
  out.u32(member_);
  for (std::size_t k = 0; k < paths_.size(); ++k) {
    out.raw(part(k));
    for (const Digest& digest : paths_[k]) out.raw(digest);
  }
  return seal(ObjectKind::kMemberRequest, {out.bytes()});
}

MemberRequest MemberRequest::from_bytes(ByteView bytes, const Round& round) {
  ByteReader in(open_envelope(bytes, ObjectKind::kMemberRequest), "member request");
  const Committee& committee = committee_of(round);
  MemberRequest request(Manifest::read(in, round));
  request.name_.manifest = request.manifest_.digest();
  if (names_blocks(round)) request.name_.blocks = in.array<32>();
  request.member_ = read_member(in, round);
  request.part_bytes_ = sealed_share_bytes(round);
  const std::size_t length = part_path_length(committee.size(), request.member_);
  for (const ManifestEntry& entry : request.manifest_.entries()) {
    const ByteView part = in.raw(request.part_bytes_);
    std::vector<Digest> path(length);
    for (Digest& digest : path) digest = in.array<32>();
    const Digest root = root_of_path(part, path, committee.size(), request.member_);
    const Bytes& named = entry.head.part.bytes();
    if (!std::equal(root.begin(), root.end(), named.begin(), named.end())) {
      in.fail("the sealed share of " + entry.head.name() + " is not the one its head names");
    }
    request.parts_.insert(request.parts_.end(), part.begin(), part.end());
    request.paths_.push_back(std::move(path));
  }
  in.finish();
  return request;
}

void check_request(const MemberRequest& request, const PublicIdentity& me, std::uint64_t least,
                   const SignatureVerifier& verifier) {
  const Round& round = request.round();
  const Manifest& manifest = request.manifest();
  if (committee_of(round).members()[request.member()] != me) {
    throw KeyMismatchError("the request is for member " + std::to_string(request.member()) +
                           " of round " + short_hex(round.id()) +
                           ", which is another identity than this one");
  }
  const std::uint64_t due = std::max<std::uint64_t>(least, round.min_clients());
  if (manifest.entries().size() < due) {
    throw RoundError("the sum holds " + std::to_string(manifest.entries().size()) +
                     " upload(s), this member endorses none of fewer than " + std::to_string(due) +
                     " in round " + short_hex(round.id()));
  }
  if (!manifest.unit_weights()) {
    throw RoundError("the sum is weighted; committees open sums with equal weights only");
  }
  for (const ManifestEntry& entry : manifest.entries()) {
    check_signature(round, entry.head, &verifier);
  }
}

OpenedShares open_shares(const MemberRequest& request, const Opener& opener) {
  const Round& round = request.round();
  const ShareLayout layout(round);
  OpenedShares out{KeyShare(layout), {}};
  SecretBuffer<std::uint8_t> opened(layout.share_bytes());
  const auto& entries = request.manifest().entries();
  for (std::size_t k = 0; k < entries.size(); ++k) {
    const UploadHead& head = entries[k].head;
    const std::uint32_t client = client_of(head);
    const Bytes info = sealing_info(round, client, head.nonce, request.member());
    try {
      if (opener.open({}, info, request.part(k), opened.span())) {
        out.sum.add(layout, read_share(layout, opened.span()));
        continue;
      }
    } catch (const WireFormatError&) {  // sealed by the client itself, but no share
    }
    out.bad.push_back(client);
  }
  return out;
}

Bytes answer_info(const Round& round, const Digest& sum, std::uint32_t member) {
  ByteWriter out(128);
  out.text("veilsum/2/sealed-answer");
  out.raw(round.id());
  out.raw(sum);
  out.u32(member);
  return out.take();
}

Reader reader_of(const Round& round) {
  Reader reader;
  if (round.group()) {
    reader.key.assign(round.group()->reading_key.begin(), round.group()->reading_key.end());
  } else if (round.reader()) {
    const ByteView key = round.reader()->kem_key();
    reader.key.assign(key.begin(), key.end());
  } else {
    throw RoundError("round " + short_hex(round.id()) + " names no reader");
  }
  reader.id = ring::labelled_hash("veilsum/2/reader-id", {reader.key});
  return reader;
}

Bytes answer_payload(const Round& round, std::uint32_t member, const Digest& sum, ByteView sealed) {
  ByteWriter out(160);
  out.text("veilsum/2/answer");
  out.raw(round.id());
  out.u32(member);
  out.raw(sum);
  out.raw(ring::labelled_hash("veilsum/2/sealed-answer-digest", {sealed}));
  return out.take();
}

Bytes seal_answer(const Round& round, const Digest& sum, std::uint32_t member,
                  const KeyShare& share, const Sealer& sealer) {
  const ShareLayout layout(round);
  const SecretBuffer<std::uint8_t> plain = write_answer(layout, share);
  Bytes sealed = sealer.seal(reader_of(round).key, answer_info(round, sum, member), plain.span());
  if (sealed.size() != kSealBytes + plain.size()) {
    throw ParameterError("a sealed answer of this round has " +
                         std::to_string(kSealBytes + plain.size()) + " bytes, not " +
                         std::to_string(sealed.size()));
  }
  return sealed;
}

void Answer::check(const Certificate& certificate, const SignatureVerifier& verifier) const {
  const Round& round = certificate.round();
  check_round_id(round_id, round, "the answer");
  (void)member_of(round, member);
  if (sum != certificate.sum()) {
    throw RoundError("member " + std::to_string(member) + " answered another sum of round " +
                     short_hex(round.id()) + " than the certificate's");
  }
  check_word(round, member, signature, answer_payload(round, member, sum, sealed), verifier,
             "answer");
}

Bytes Answer::to_bytes() const {
  ByteWriter out(128 + signature.bytes().size() + sealed.size());
  out.raw(round_id);
  out.raw(sum);
  write_word(out, member, signature);
  out.raw(sealed);
  return seal(ObjectKind::kAnswer, {out.bytes()});
}

Answer Answer::from_bytes(ByteView bytes, const Round& round) {
  ByteReader in(open_envelope(bytes, ObjectKind::kAnswer), "answer");
  const Digest round_id = in.array<32>();
  check_round_id(round_id, round, "the answer");
  const Digest sum = in.array<32>();
  auto [member, signature] = read_word(in, round);
  const ByteView sealed = in.raw(kSealBytes + ShareLayout(round).answer_bytes());
  in.finish();
  return {round_id, member, sum, Bytes(sealed.begin(), sealed.end()), std::move(signature)};
}

}  // namespace veilsum::scheme
