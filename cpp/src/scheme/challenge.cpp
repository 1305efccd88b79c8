// Layer: scheme. See challenge.h.
#include "scheme/challenge.h"

#include <algorithm>
#include <utility>

#include "ring/sha256.h"
#include "scheme/wire.h"
#include "veilsum/errors.h"

namespace veilsum::scheme {
namespace {

void put_words(std::span<const std::uint64_t> words, ByteWriter& out) {
  for (const std::uint64_t word : words) out.u64(word);
}

ring::Elements get_words(const ring::PrimeField& field, ByteReader& in, std::size_t count) {
  ring::Elements out(count);
  for (std::uint64_t& word : out.span()) {
    word = in.u64();
    if (word >= field.modulus()) in.fail("a word is no element of its field");
  }
  return out;
}

Combinations nothing(const ShareLayout& layout) {
  return {false, ring::Elements(layout.masks(), Initialise::kZero),
          ring::Elements(layout.tags() ? ShareLayout::kTagMasks : 0, Initialise::kZero)};
}

void write_combinations(const Combinations& one, ByteWriter& out) {
  out.u8(one.opened ? 1 : 0);
  put_words(one.keys.span(), out);
  put_words(one.tag.span(), out);
}

Combinations read_combinations(const ShareLayout& layout, ByteReader& in) {
  const std::uint8_t flag = in.u8();
  if (flag > 1) in.fail("whether a share was opened is said by 0 or 1");
  Combinations out{flag == 1, get_words(layout.keys().field(), in, layout.masks()), {}};
  if (layout.tags()) out.tag = get_words(layout.tags()->field(), in, ShareLayout::kTagMasks);
  if (out.opened) return out;
  const auto is_zero = [](std::uint64_t word) { return word == 0; };
  if (!std::ranges::all_of(out.keys.span(), is_zero) ||
      !std::ranges::all_of(out.tag.span(), is_zero)) {
    in.fail("a share that was not opened has words");
  }
  return out;
}

}  // namespace

Digest challenge_of(const Digest& manifest, std::uint32_t client) {
  ByteWriter out(36);
  out.raw(manifest);
  out.u32(client);
  return ring::labelled_hash("veilsum/2/challenge", {out.bytes()});
}

std::vector<const ManifestEntry*> by_client(const Manifest& manifest) {
  std::vector<const ManifestEntry*> out;
  out.reserve(manifest.entries().size());
  for (const ManifestEntry& entry : manifest.entries()) out.push_back(&entry);
  std::ranges::sort(out, {}, [](const ManifestEntry* entry) { return client_of(entry->head); });
  return out;
}

Combinations combinations_of(const ShareLayout& layout, const Digest& challenge,
                             const KeyShare& share) {
  const ring::PrimeField& field = layout.keys().field();
  Combinations out{
      true, ring::combine_challenge(field, challenge, share.keys.span(), layout.masks()), {}};
  ring::add_inplace(field, out.keys.span(), share.masks.span());
  if (!layout.tags()) return out;
  const ring::PrimeField& wide = layout.tags()->field();
  const Digest of_tag = ring::labelled_hash("veilsum/2/tag-challenge", {challenge});
  out.tag = ring::combine_challenge(wide, of_tag, share.tag.span(), ShareLayout::kTagMasks);
  ring::add_inplace(wide, out.tag.span(), share.tag_masks.span());
  return out;
}

std::size_t combinations_bytes(const ShareLayout& layout) {
  return 1 + 8 * (layout.masks() + (layout.tags() ? ShareLayout::kTagMasks : 0));
}

Bytes open_challenges(const MemberRequest& request, const Opener& opener) {
  const Round& round = request.round();
  const ShareLayout layout(round);
  const Digest& manifest = request.name().manifest;
  const auto& entries = request.manifest().entries();
  ByteWriter out(entries.size() * combinations_bytes(layout));
  SecretBuffer<std::uint8_t> opened(layout.share_bytes());
  for (const ManifestEntry* entry : by_client(request.manifest())) {
    const std::uint32_t client = client_of(entry->head);
    const Bytes info = sealing_info(round, client, entry->head.nonce, request.member());
    const auto k = static_cast<std::size_t>(entry - entries.data());
    Combinations made = nothing(layout);
    try {
      if (opener.open({}, info, request.part(k), opened.span())) {
        made = combinations_of(layout, challenge_of(manifest, client),
                               read_share(layout, opened.span()));
      }
    } catch (const WireFormatError&) {  // sealed by the client itself, but no share
    }
    write_combinations(made, out);
  }
  return out.take();
}

Bytes challenge_payload(const Round& round, std::uint32_t member, const Digest& sum,
                        ByteView words) {
  ByteWriter out(160);
  out.text("veilsum/2/challenge-answer");
  out.raw(round.id());
  out.u32(member);
  out.raw(sum);
  out.raw(ring::labelled_hash("veilsum/2/challenge-words", {words}));
  return out.take();
}

void ChallengeAnswer::check(const Certificate& certificate,
                            const SignatureVerifier& verifier) const {
  const Round& round = certificate.round();
  check_round_id(round_id, round, "the challenge's answer");
  (void)member_of(round, member);
  if (sum != certificate.sum()) {
    throw RoundError("member " + std::to_string(member) +
                     " opened the challenges of another sum of round " + short_hex(round.id()) +
                     " than the certificate's");
  }
  if (words.size() !=
      certificate.manifest().entries().size() * combinations_bytes(ShareLayout(round))) {
    throw RoundError("member " + std::to_string(member) +
                     " opened another number of challenges than the sum has uploads");
  }
  check_word(round, member, signature, challenge_payload(round, member, sum, words), verifier,
             "challenge's answer");
}

std::vector<Combinations> ChallengeAnswer::combinations(const ShareLayout& layout) const {
  ByteReader in(words, "challenge answer");
  std::vector<Combinations> out;
  out.reserve(words.size() / combinations_bytes(layout));
  while (in.remaining() != 0) out.push_back(read_combinations(layout, in));
  return out;
}

Bytes ChallengeAnswer::to_bytes() const {
  ByteWriter out(128 + signature.bytes().size() + words.size());
  out.raw(round_id);
  out.raw(sum);
  write_word(out, member, signature);
  out.raw(words);
  return seal(ObjectKind::kChallengeAnswer, {out.bytes()});
}

ChallengeAnswer ChallengeAnswer::from_bytes(ByteView bytes, const Round& round) {
  ByteReader in(open_envelope(bytes, ObjectKind::kChallengeAnswer), "challenge answer");
  const Digest round_id = in.array<32>();
  check_round_id(round_id, round, "the challenge's answer");
  const Digest sum = in.array<32>();
  auto [member, signature] = read_word(in, round);
  const ByteView words = in.raw(in.remaining());
  ChallengeAnswer out{round_id, member, sum, Bytes(words.begin(), words.end()),
                      std::move(signature)};
  if (words.empty()) in.fail("it opens no challenge");
  (void)out.combinations(ShareLayout(round));
  return out;
}

}  // namespace veilsum::scheme
