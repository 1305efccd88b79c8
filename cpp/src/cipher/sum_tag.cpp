// Layer: cipher. See sum_tag.h.
#include "cipher/sum_tag.h"

#include "ring/sha256.h"
#include "scheme/sealed_key.h"
#include "veilsum/errors.h"

namespace veilsum::cipher {

TagKey::TagKey(const scheme::Round& round, ByteView group_key)
    : round_(round),
      key_(ring::tag_round_key(round.id(), group_key)),
      hash_(round.plan().base(), round.plan().digits(), key_) {}

ring::TagSum TagKey::mask(std::uint32_t client, const scheme::Nonce& nonce) const {
  return ring::tag_mask(field(), key_, client, nonce);
}

ring::TagSum TagKey::tag(const ring::TagSum& hash, std::uint32_t client,
                         const scheme::Nonce& nonce) const {
  ring::TagSum out = mask(client, nonce);
  out.add(hash);
  return out;
}

Digest TagKey::fingerprint() const {
  return ring::labelled_hash("veilsum/tag-key-fingerprint", {key_.span()});
}

void TagKey::check_round(const scheme::Round& round) const {
  if (round_.id() == round.id()) return;
  throw RoundError("the tag key was made for round " + short_hex(round_.id()) + ", not for round " +
                   short_hex(round.id()) + "; make one for each round");
}

TagCheck check_of(const TagKey& key, const scheme::SumKey& sum, const scheme::Manifest& manifest) {
  key.check_round(manifest.round());
  if (sum.tag() == nullptr) {
    throw RoundError("round " + short_hex(manifest.round().id()) + " has no tags");
  }
  TagCheck check{key, *sum.tag()};
  for (const scheme::ManifestEntry& entry : manifest.entries()) {
    ring::TagSum mask(key.field());
    mask.add_weighted(key.mask(scheme::client_of(entry.head), entry.head.nonce), entry.weight);
    check.expected.subtract(mask);
  }
  return check;
}

}  // namespace veilsum::cipher
