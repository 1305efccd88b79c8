// Layer: scheme. See sealed_key.h.
#include "scheme/sealed_key.h"

#include <cstring>
#include <utility>

#include "isa/dispatch.h"
#include "ring/expander.h"
#include "scheme/key_shares.h"
#include "scheme/part_tree.h"
#include "veilsum/errors.h"

namespace veilsum::scheme {

namespace {

void write_context(ByteWriter& out, const Round& round, std::uint32_t client, const Nonce& nonce) {
  out.raw(round.id());
  out.u32(client);
  out.raw(nonce);
}

Bytes checked(Bytes sealed, std::size_t secret_bytes) {
  if (sealed.size() != kSealBytes + secret_bytes) {
    throw ParameterError("a sealed key of this round has " +
                         std::to_string(kSealBytes + secret_bytes) + " bytes, not " +
                         std::to_string(sealed.size()));
  }
  return sealed;
}

}  // namespace

Bytes sealing_info(const Round& round, std::uint32_t client, const Nonce& nonce) {
  ByteWriter out(128);
  out.text("veilsum/2/sealed-key");
  write_context(out, round, client, nonce);
  out.raw(round.public_key().id());
  return out.take();
}

Bytes sealing_info(const Round& round, std::uint32_t client, const Nonce& nonce,
                   std::uint32_t member) {
  ByteWriter out(128);
  out.text("veilsum/2/sealed-share");
  write_context(out, round, client, nonce);
  out.u32(member);
  out.raw(round.committee()->members()[member].id());
  return out.take();
}

void seal_secrets(const Round& round, std::uint32_t client, const Seed& seed,
                  const ring::TagSum* tag, const Sealer& sealer, UploadHead& head) {
  if (round.has_roster() ? client >= round.roster().size() : client != kNoClient) {
    throw RoundError(
        round.has_roster()
            ? "round " + short_hex(round.id()) +
                  " has a roster: an upload is made by one of its clients, who signs it"
            : "round " + short_hex(round.id()) +
                  " has no roster, so nobody knows a client by its number");
  }
  if ((tag != nullptr) != round.tagged()) {
    throw RoundError("round " + short_hex(round.id()) +
                     (tag == nullptr ? " has tags: its group's keys are needed (encrypt(..., "
                                       "group=...))"
                                     : " has no tags"));
  }
  const Committee* committee = round.committee();
  if (committee == nullptr) {
    SecretBuffer<std::uint8_t> secret(sealed_secret_bytes(round));
    std::memcpy(secret.data(), seed.data(), 32);
    if (tag != nullptr) {
      std::memcpy(secret.data() + 32, tag->values().data(), 8 * isa::kTagEvaluations);
    }
    head.part =
        CipherPart(checked(sealer.seal(round.public_key().body(),
                                       sealing_info(round, client, head.nonce), secret.span()),
                           secret.size()));
    return;
  }
  const std::vector<SecretBuffer<std::uint8_t>> shares = deal_shares(round, seed, tag);
  Bytes sealed;
  sealed.reserve(shares.size() * (kSealBytes + shares.front().size()));
  for (std::uint32_t k = 0; k < shares.size(); ++k) {
    const Bytes one =
        checked(sealer.seal(committee->members()[k].kem_key(),
                            sealing_info(round, client, head.nonce, k), shares[k].span()),
                shares[k].size());
    sealed.insert(sealed.end(), one.begin(), one.end());
  }
  const Digest root = part_root(sealed, committee->size());
  head.part = CipherPart(Bytes(root.begin(), root.end()));
  head.shares = std::make_shared<const Bytes>(std::move(sealed));
}

KeyCoefficients expand_keys(const Round& round, const Seed& seed) {
  const ring::Expander expander(kUploadLabel, round.id(), seed.span(), ring::KeySize::kAes256);
  const std::size_t n = round.plan().degree();
  SecretBuffer<std::int8_t> narrow(n);
  KeyCoefficients keys(n * round.upload_keys());
  for (std::size_t i = 0; i < round.upload_keys(); ++i) {
    isa::kernels().sample_cbd(expander.key(), ring::stream_index(ring::Domain::kUploadKey, 0, i), n,
                              narrow.data());
    for (std::size_t j = 0; j < n; ++j) keys[i * n + j] = narrow[j];
  }
  return keys;
}

}  // namespace veilsum::scheme
