// Layer: tests. Keys, rounds and uploads made from small numbers, so that every test can
// name and repeat what it works on. Uploads here are honest in the sealed key and random in the
// blocks.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "scheme/key_shares.h"
#include "scheme/keys.h"
#include "scheme/opening.h"
#include "scheme/round.h"
#include "scheme/sealed_key.h"
#include "scheme/upload.h"
#include "support/block_fields.h"
#include "support/plans.h"
#include "support/random.h"
#include "support/toy_sealing.h"

namespace veilsum::test {

/// 32 bytes that differ for every n.
inline std::array<std::uint8_t, 32> bytes32(std::uint64_t n) {
  Random random(n);
  std::array<std::uint8_t, 32> out;
  for (std::size_t i = 0; i < out.size(); i += 8) {
    const std::uint64_t word = random.next();
    std::memcpy(out.data() + i, &word, 8);
  }
  return out;
}

inline Seed seed32(std::uint64_t n) { return Seed(bytes32(n)); }

inline scheme::Nonce nonce_of(std::uint64_t n) {
  scheme::Nonce nonce;
  std::memcpy(nonce.data(), bytes32(n).data(), nonce.size());
  return nonce;
}

/// A key pair for ToySealer and ToyOpener.
inline scheme::SecretKey make_key(std::uint64_t n = 1) {
  Bytes secret;
  for (std::uint64_t i = 0; i < 3; ++i) {
    const auto part = bytes32(1000 * n + i);
    secret.insert(secret.end(), part.begin(), part.end());
  }
  return scheme::SecretKey(secret, scheme::PublicKey(toy_public_key(secret)));
}

/// @param upload_keys kappa; 0: the default
inline scheme::RoundFields fields_of(std::vector<scheme::Segment> segments,
                                     std::uint64_t upload_keys = 0) {
  scheme::RoundFields fields;
  fields.segments = std::move(segments);
  fields.upload_keys = upload_keys;
  return fields;
}

inline scheme::Round make_round(const scheme::Plan& plan, const scheme::SecretKey& key,
                                scheme::RoundFields fields, std::uint64_t n = 1) {
  return scheme::Round(plan, key.public_key(), std::move(fields), bytes32(n * 77));
}

inline scheme::Round make_round(const scheme::Plan& plan, const scheme::SecretKey& key,
                                std::uint64_t size, std::uint64_t n = 1) {
  return make_round(plan, key, fields_of({{size, 1.0}}), n);
}

/// Random bytes in the shape of a round's blocks, with fields of zeros and of ones strewn in.
inline AlignedBuffer<std::uint8_t> random_blocks(const scheme::Round& round, std::uint64_t n) {
  AlignedBuffer<std::uint8_t> blocks(static_cast<std::size_t>(round.payload_bytes()));
  Random random(n);
  for (std::size_t at = 0; at < blocks.size(); at += 8) {
    const std::uint64_t word = random.next();
    std::memcpy(blocks.data() + at, &word, std::min<std::size_t>(8, blocks.size() - at));
  }
  Field ones;
  ones.fill(kFieldWordMask);
  for (std::uint64_t block = 0; block < round.blocks(); ++block) {
    const BlockFields fields(round, block);
    for (std::size_t j = random.below(16); j < fields.coefficients(); j += 1 + random.below(64)) {
      fields.write(blocks.data(), j, random.below(2) == 0 ? Field{} : ones);
    }
  }
  return blocks;
}

/// The tag of upload n, which stands for any: nothing here hashes values.
inline ring::TagSum tag_of(const scheme::Round& round, std::uint64_t n) {
  const ring::TagField field = scheme::tag_field(round);
  Random random(n * 17 + 3);
  return {field, {random.edgy(field.prime()), random.edgy(field.prime())}};
}

/// The head of upload n: its seed, nonce and sealed secrets.
/// @param client who made it; of a round without a roster it says nothing
inline scheme::UploadHead head_of(const scheme::Round& round, std::uint64_t n,
                                  std::uint32_t client = 0,
                                  const scheme::Sealer& sealer = kSealer) {
  scheme::UploadHead head;
  head.nonce = nonce_of(n);
  std::optional<ring::TagSum> tag;
  if (round.tagged()) tag.emplace(tag_of(round, n));
  scheme::seal_secrets(round, round.has_roster() ? client : scheme::kNoClient, seed32(n),
                       tag ? &*tag : nullptr, sealer, head);
  return head;
}

inline scheme::Upload make_upload(const scheme::Round& round, std::uint64_t n,
                                  std::uint32_t client = 0) {
  scheme::UploadHead head = head_of(round, n, client);
  head.clipped = n % (round.size() + 1);
  return scheme::Upload(round, std::move(head), random_blocks(round, n));
}

/// open_sum() with the toy opener, for a copy of the key that has opened nothing yet: its ledger is
/// its own.
inline scheme::SumKey open_afresh(const scheme::SecretKey& secret,
                                  const scheme::OpeningRequest& request,
                                  const scheme::SignatureVerifier* verifier = nullptr,
                                  bool allow_export = true) {
  const scheme::SecretKey copy(secret.secret(), secret.public_key());
  return scheme::open_sum(copy, request, kOpener, verifier, allow_export);
}

/// The same with the blocks in hand.
inline scheme::SumKey open_afresh(const scheme::SecretKey& secret, const scheme::Manifest& manifest,
                                  ByteView blocks,
                                  const scheme::SignatureVerifier* verifier = nullptr) {
  const scheme::SecretKey copy(secret.secret(), secret.public_key());
  return scheme::open_sum(copy, manifest, scheme::hash_of_memory(manifest.round(), blocks, 1),
                          kOpener, verifier, true);
}

}  // namespace veilsum::test
