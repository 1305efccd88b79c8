// Layer: scheme. See opening.h.
#include "scheme/opening.h"

#include <array>
#include <cstring>
#include <utility>

#include "base/file_io.h"
#include "base/wipe.h"
#include "ring/sha256.h"
#include "scheme/block_sums.h"
#include "scheme/blocks_digest.h"
#include "scheme/key_shares.h"
#include "scheme/ledger.h"
#include "scheme/wire.h"
#include "veilsum/errors.h"

namespace veilsum::scheme {
namespace {

/// What every key holder asks of a sum, whatever the engine.
void check_rules(const SecretKey& secret, const Manifest& manifest,
                 const SignatureVerifier* verifier) {
  const Round& round = manifest.round();
  if (!secret.opens(round.public_key())) {
    throw KeyMismatchError("secret key " + short_hex(secret.id()) + " does not open round " +
                           short_hex(round.id()) + ", which is encrypted to key " +
                           short_hex(round.public_key().id()));
  }
  if (manifest.entries().size() < round.min_clients()) {
    throw RoundError("the sum holds " + std::to_string(manifest.entries().size()) +
                     " upload(s), round " + short_hex(round.id()) + " needs at least " +
                     std::to_string(round.min_clients()));
  }
  if (round.cipher().weight_bits() == 0 && !manifest.unit_weights()) {
    throw RoundError("the sum is weighted, but this round's plan holds unit weights only");
  }
  for (const ManifestEntry& entry : manifest.entries()) {
    check_signature(round, entry.head, verifier);
  }
}

/// The aggregate's blocks: those that are shown, or the sum of those of the uploads.
SharedBlocks blocks_of(const OpeningRequest& request, int threads) {
  const Manifest& manifest = request.manifest;
  const Round& round = manifest.round();
  const Evidence& evidence = request.evidence;
  if (evidence.kind == Evidence::Kind::kNone ||
      (evidence.kind == Evidence::Kind::kAggregate && !round.trust_aggregator())) {
    throw RoundError(
        "the request comes without the uploads, and the key holder of engine '" +
        engine_name(round.cipher().engine()) +
        "' can only check a sum by summing them itself: make it with the uploads "
        "(open_sum(..., uploads=[...]); veilsum open --uploads ...), or make the round with "
        "trust_aggregator=True");
  }
  const bool sums = evidence.kind == Evidence::Kind::kUploads;
  bool fits = evidence.blocks.size() == (sums ? manifest.entries().size() : 1);
  for (const SharedBlocks& shown : evidence.blocks) {
    fits = fits && shown != nullptr && shown->size() == round.payload_bytes();
  }
  if (!fits) throw ParameterError("the request does not show the blocks that it says it shows");
  SharedBlocks blocks;
  if (!sums) {
    blocks = evidence.blocks.front();
  } else {
    std::vector<const std::uint8_t*> sources;
    std::vector<std::uint64_t> weights;
    for (std::size_t k = 0; k < evidence.blocks.size(); ++k) {
      const ManifestEntry& entry = manifest.entries()[k];
      check_blocks(round, entry.head, digest_of_blocks(evidence.blocks[k]->span(), threads));
      sources.push_back(evidence.blocks[k]->data());
      weights.push_back(entry.weight);
    }
    AlignedBuffer<std::uint8_t> sum(static_cast<std::size_t>(round.payload_bytes()));
    sum_blocks(round, sources, weights, threads, sum.data());
    blocks = std::make_shared<const AlignedBuffer<std::uint8_t>>(std::move(sum));
  }
  if (digest_of_blocks(blocks->span(), threads) != evidence.blocks_digest) {
    throw RoundError(
        "the aggregate is not the sum of its uploads: it was damaged, or the aggregator lies; "
        "nothing was opened");
  }
  return blocks;
}

}  // namespace

void check_sum_key(const SumKey& key, const Manifest& manifest) {
  const Round& round = manifest.round();
  if (key.round().id() != round.id()) {
    throw KeyMismatchError("the sum key belongs to round " + short_hex(key.round().id()) +
                           ", the aggregate to round " + short_hex(round.id()));
  }
  if (key.manifest() != manifest.digest()) {
    throw KeyMismatchError(
        "the sum key was opened for another set of uploads of this round than this aggregate sums");
  }
  // The digest names these too, but whoever wrote the key's bytes wrote them beside it.
  if (key.count() != manifest.entries().size() || key.total_weight() != manifest.total_weight()) {
    throw KeyMismatchError("the sum key says that it sums " + std::to_string(key.count()) +
                           " uploads of total weight " + std::to_string(key.total_weight()) +
                           ", the aggregate has " + std::to_string(manifest.entries().size()) +
                           " of " + std::to_string(manifest.total_weight()) +
                           ": the key was altered; open the sum again");
  }
}

namespace {

/// An upload's tag, as the client sealed it.
ring::TagSum read_tag(const Round& round, const UploadHead& head, ByteView words) {
  ring::TagSum::Values values{};
  std::memcpy(values.data(), words.data(), sizeof values);
  try {
    return {tag_field(round), values};
  } catch (const ParameterError&) {
    throw RoundError("what " + head.name() +
                     " sealed is no tag of this round: the client deviates; nothing was opened");
  }
}

bool names_its_blocks(const OpeningRequest& request) {
  return request.evidence.kind != Evidence::Kind::kNone || names_blocks(request.manifest.round());
}

}  // namespace

Bytes OpeningRequest::to_bytes() const {
  ByteWriter fields(64 + manifest.entries().size() * (8 + most_head_bytes(manifest.round())) + 64);
  manifest.write(fields);
  fields.u8(static_cast<std::uint8_t>(evidence.kind));
  if (names_its_blocks(*this)) fields.raw(evidence.blocks_digest);
  std::vector<ByteView> parts{fields.bytes()};
  for (const SharedBlocks& blocks : evidence.blocks) parts.push_back(blocks->span());
  return seal(ObjectKind::kOpeningRequest, parts);
}

OpeningRequest OpeningRequest::from_bytes(ByteView bytes, const Round& round) {
  ByteReader in(open_envelope(bytes, ObjectKind::kOpeningRequest), "opening request");
  OpeningRequest request{Manifest::read(in, round)};
  Evidence& evidence = request.evidence;
  const std::uint8_t kind = in.u8();
  const bool shows = round.cipher().engine() != Engine::kNative;
  if (kind > (shows ? 2 : 0)) in.fail("evidence of kind " + std::to_string(kind) + " is unknown");
  evidence.kind = static_cast<Evidence::Kind>(kind);
  if (names_its_blocks(request)) evidence.blocks_digest = in.array<32>();
  if (kind != 0) {
    const std::size_t runs =
        evidence.kind == Evidence::Kind::kAggregate ? 1 : request.manifest.entries().size();
    for (std::size_t k = 0; k < runs; ++k) {
      const ByteView shown = in.raw(round.payload_bytes());  // before anything is allocated
      AlignedBuffer<std::uint8_t> copy(shown.size());
      std::memcpy(copy.data(), shown.data(), shown.size());
      evidence.blocks.push_back(
          std::make_shared<const AlignedBuffer<std::uint8_t>>(std::move(copy)));
    }
  }
  in.finish();
  return request;
}

namespace {

/// What sealed keys of a sum hold, added up.
struct OpenedParts {
  KeyCoefficients keys;
  std::optional<ring::TagSum> tag;
};

/// All of rule 2 but the ledger.
OpenedParts open_parts(const SecretKey& secret, const Manifest& manifest, const Opener& opener,
                       const SignatureVerifier* verifier) {
  const Round& round = manifest.round();
  const Plan& plan = round.plan();
  check_rules(secret, manifest, verifier);
  KeyCoefficients sum(std::size_t{plan.degree()} * round.upload_keys(), Initialise::kZero);
  std::optional<ring::TagSum> tag;
  if (round.tagged()) tag.emplace(tag_field(round));
  for (const ManifestEntry& entry : manifest.entries()) {
    SecretBuffer<std::uint8_t> sealed(sealed_secret_bytes(round));
    if (!opener.open(secret.secret(), sealing_info(round, client_of(entry.head), entry.head.nonce),
                     entry.head.part.bytes(), sealed.span())) {
      throw RoundError("the sealed key of " + entry.head.name() +
                       " was not made for this round and key: it was altered, or copied from "
                       "elsewhere; nothing was opened");
    }
    Seed seed;
    std::memcpy(seed.data(), sealed.data(), 32);
    if (tag) tag->add(read_tag(round, entry.head, sealed.span().subspan(32)));
    const KeyCoefficients keys = expand_keys(round, seed);
    const auto weight = static_cast<std::int64_t>(entry.weight);
    for (std::size_t j = 0; j < sum.size(); ++j) sum[j] += weight * keys[j];
  }
  return {std::move(sum), std::move(tag)};
}

/// What the ledger has of an opening by the blocks' digest. Two aggregates of one manifest are two
/// openings: the blocks are part of what is recorded.
Digest opened_by_digest(const Digest& manifest, const Digest& blocks) {
  return ring::labelled_hash("veilsum/2/opened-blocks", {manifest, blocks});
}

/// The same by their keyed hash; its key is not in it.
Digest opened_by_check(const Digest& manifest, const BlocksCheck& check) {
  std::array<std::uint8_t, sizeof(ring::TagSum::Values)> value;
  std::memcpy(value.data(), check.value.values().data(), value.size());  // little-endian: bytes.h
  const Digest what = ring::labelled_hash("veilsum/2/opened-hash", {manifest, value});
  secure_wipe(value.data(), value.size());
  return what;
}

}  // namespace

SumKey open_sum(const SecretKey& secret, const OpeningRequest& request, const Opener& opener,
                const SignatureVerifier* verifier, bool allow_export) {
  const Manifest& manifest = request.manifest;
  const Round& round = manifest.round();
  (void)round.plan();
  if (request.evidence.kind != Evidence::Kind::kNone) {
    throw RoundError("the request shows blocks, which the native engine's key holder never sees");
  }
  OpenedParts parts = open_parts(secret, manifest, opener, verifier);
  const Digest digest = manifest.digest();
  std::optional<Digest> blocks;
  if (names_blocks(round)) blocks = request.evidence.blocks_digest;
  secret.ledger().record(round.id(), blocks ? opened_by_digest(digest, *blocks) : digest);
  return SumKey(round, digest, manifest.entries().size(), manifest.total_weight(),
                manifest.unit_weights() || allow_export, std::move(parts.keys),
                std::move(parts.tag), blocks);
}

SumKey open_sum(const SecretKey& secret, const Manifest& manifest, const HashBlocks& blocks,
                const Opener& opener, const SignatureVerifier* verifier, bool allow_export) {
  const Round& round = manifest.round();
  OpenedParts parts = open_parts(secret, manifest, opener, verifier);
  const Digest digest = manifest.digest();
  std::optional<BlocksCheck> check;
  if (names_blocks(round)) {
    const Seed key = blocks_check_key(secret.secret(), round.id(), digest);
    check = {key, blocks(ring::BlocksHash(key))};
  }
  secret.ledger().record(round.id(), check ? opened_by_check(digest, *check) : digest);
  return SumKey(round, digest, manifest.entries().size(), manifest.total_weight(),
                manifest.unit_weights() || allow_export, std::move(parts.keys),
                std::move(parts.tag), std::nullopt, std::move(check));
}

SumKey open_sum(const SecretKey& secret, const OpeningRequest& request, const BlockOpener& opener,
                const SignatureVerifier* verifier, int threads) {
  const Manifest& manifest = request.manifest;
  const Round& round = manifest.round();
  if (round.cipher().engine() == Engine::kNative) {
    throw RoundError("a round of the native engine is opened by its sealed keys, not by blocks");
  }
  check_rules(secret, manifest, verifier);
  const SharedBlocks blocks = blocks_of(request, threads);
  const Digest what = opened_by_digest(manifest.digest(), request.evidence.blocks_digest);
  SecretBuffer<std::uint8_t> body = secret.last_opening().get(
      what,
      [&] {
        if (!secret.ledger().record(round.id(), what)) {
          throw RoundError("round " + short_hex(round.id()) +
                           " was opened before for this aggregate, and what was made then is gone; "
                           "a second one would let its noise be averaged away: keep the sum key");
        }
      },
      [&] { return opener.open(secret.secret(), blocks); });
  return SumKey(round, manifest.digest(), manifest.entries().size(), manifest.total_weight(),
                std::move(body));
}

}  // namespace veilsum::scheme
