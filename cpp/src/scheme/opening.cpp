// Layer: scheme. See opening.h.
#include "scheme/opening.h"

#include <algorithm>
#include <bit>

#include "base/file_io.h"
#include "base/shown.h"
#include "isa/dispatch.h"
#include "ring/fields.h"
#include "ring/sha256.h"
#include "scheme/ledger.h"
#include "scheme/wire.h"
#include "veilsum/errors.h"

namespace veilsum::scheme {

void Manifest::check(const UploadHead& head, std::uint64_t weight,
                     const SignatureVerifier* verifier) const {
  const Plan& plan = round_.plan();
  check_signature(round_, head, verifier);
  if (weight == 0) {
    throw ParameterError("the weight of " + head.name() +
                         " is 0; leave the upload out of the sum instead");
  }
  if (plan.weight_bits() == 0 && weight != 1) {
    throw HeadroomError("weight " + shown(weight) + " for " + head.name() +
                        ": this plan holds unit weights only; let clients apply their weights "
                        "(encrypt(..., weight=...)), or plan with weight_bits >= 1");
  }
  if (weight > plan.max_weight() || total_weight_ > plan.max_weight() - weight) {
    throw HeadroomError("total weight " + shown(total_weight_ + weight) + " is above this plan's " +
                        std::to_string(plan.max_weight()) +
                        "; a plan with more clients or weight_bits would hold it");
  }
  if (uploads_.contains(head.digest())) {
    throw RoundError(head.name() + " is in this sum already; an upload counts once");
  }
  if (head.signature && clients_.contains(head.signature->client)) {
    throw RoundError(head.name() + " has uploaded already; the first upload stands");
  }
}

void Manifest::add(UploadHead head, std::uint64_t weight, const SignatureVerifier* verifier) {
  check(head, weight, verifier);
  append(std::move(head), weight);
}

void Manifest::append(UploadHead head, std::uint64_t weight) {
  uploads_.emplace(head.digest(), weight);
  if (head.signature) clients_.insert(head.signature->client);
  total_weight_ += weight;
  entries_.push_back({weight, std::move(head)});
}

void Manifest::remove(const Digest& upload) noexcept {
  const auto at = std::find_if(entries_.begin(), entries_.end(), [&](const ManifestEntry& entry) {
    return entry.head.digest() == upload;
  });
  if (at == entries_.end()) return;
  uploads_.erase(upload);
  if (at->head.signature) clients_.erase(at->head.signature->client);
  total_weight_ -= at->weight;
  entries_.erase(at);
}

Digest Manifest::digest() const {
  ByteWriter out(32 + 40 * uploads_.size());
  out.raw(round_.id());
  for (const auto& [digest, weight] : uploads_) {
    out.raw(digest);
    out.u64(weight);
  }
  return ring::labelled_hash("veilsum/2/manifest", {out.bytes()});
}

void Manifest::write(ByteWriter& out) const {
  out.raw(round_.id());
  out.u32(static_cast<std::uint32_t>(entries_.size()));
  for (const ManifestEntry& entry : entries_) {
    out.u64(entry.weight);
    write_head(out, entry.head);
  }
}

Manifest Manifest::read(ByteReader& in, const Round& round) {
  check_round_id(in.array<32>(), round, "the aggregate");
  const std::uint32_t count = in.u32();
  if (count == 0) in.fail("a sum of no uploads");
  if (std::uint64_t{count} * head_bytes(false) > in.remaining()) {
    in.fail("more uploads in the manifest than bytes");
  }
  Manifest manifest(round);
  for (std::uint32_t k = 0; k < count; ++k) {
    const std::uint64_t weight = in.u64();
    UploadHead head = read_head(in, round);
    if (weight == 0 || weight > round.plan().max_weight() - manifest.total_weight_) {
      in.fail("the weights are not what the plan can hold");
    }
    if (manifest.uploads_.contains(head.digest()) ||
        (head.signature && manifest.clients_.contains(head.signature->client))) {
      throw RoundError(head.name() + " is in this sum twice; an upload counts once");
    }
    manifest.append(std::move(head), weight);
  }
  return manifest;
}

Bytes OpeningRequest::to_bytes() const {
  ByteWriter fields(64 + manifest.entries().size() * (8 + head_bytes(true)));
  manifest.write(fields);
  return seal(ObjectKind::kOpeningRequest, {fields.bytes()});
}

OpeningRequest OpeningRequest::from_bytes(ByteView bytes, const Round& round) {
  ByteReader in(open_envelope(bytes, ObjectKind::kOpeningRequest), "opening request");
  Manifest manifest = Manifest::read(in, round);
  in.finish();
  return {std::move(manifest)};
}

namespace {

/// Width of a sum key's packed coefficients, c + 8 W in [0, 16 W].
std::uint32_t key_bits(std::uint64_t total_weight) {
  return static_cast<std::uint32_t>(std::bit_width(2 * kErrorBound * total_weight));
}

}  // namespace

SumKey::SumKey(const Round& round, const Digest& manifest, std::uint64_t count,
               std::uint64_t total_weight, bool exportable, KeyCoefficients keys)
    : round_(round),
      manifest_(manifest),
      count_(count),
      total_weight_(total_weight),
      exportable_(exportable),
      keys_(std::move(keys)) {}

Bytes SumKey::to_bytes() const {
  if (!exportable_) {
    throw RoundError(
        "the key of a sum with weights other than 1 stays with whoever opened it: together with "
        "single uploads it can reveal them. Decrypt here, or, if the receiver holds no uploads, "
        "open with export=True");
  }
  const isa::FieldTable& table = ring::field_table(key_bits(total_weight_));
  const std::uint64_t offset = kErrorBound * total_weight_;
  SecretBuffer<std::uint64_t> shifted(keys_.size());
  for (std::size_t j = 0; j < keys_.size(); ++j) {
    shifted[j] = static_cast<std::uint64_t>(keys_[j]) + offset;
  }
  SecretBuffer<std::uint8_t> packed(keys_.size() / isa::kGroup * table.bits);
  isa::kernels().pack_fields(shifted.data(), shifted.size(), table, packed.data());
  ByteWriter fields(32 + 32 + 4 + 8 + packed.size());  // final size: no smaller copies are left
  fields.raw(round_.id());
  fields.raw(manifest_);
  fields.u32(static_cast<std::uint32_t>(count_));
  fields.u64(total_weight_);
  fields.raw(packed.span());
  Bytes payload = fields.take();
  Bytes out = seal(ObjectKind::kSumKey, {payload});
  secure_wipe(payload.data(), payload.size());
  return out;
}

void SumKey::save(const std::string& path) const {
  Bytes bytes = to_bytes();
  const ByteView parts[] = {bytes};
  try {
    write_file(path, parts, FileKind::kSecret);
  } catch (...) {
    secure_wipe(bytes.data(), bytes.size());
    throw;
  }
  secure_wipe(bytes.data(), bytes.size());
}

SumKey SumKey::from_bytes(ByteView bytes, const Round& round) {
  ByteReader in(open_envelope(bytes, ObjectKind::kSumKey), "sum key");
  const Digest round_id = in.array<32>();
  if (round_id != round.id()) {
    throw KeyMismatchError("the sum key belongs to round " + short_hex(round_id) +
                           ", not to round " + short_hex(round.id()));
  }
  const Digest manifest = in.array<32>();
  const std::uint32_t count = in.u32();
  const std::uint64_t total_weight = in.u64();
  if (count < round.min_clients() || count > round.plan().max_weight() || total_weight < count ||
      total_weight > round.plan().max_weight()) {
    in.fail("says it sums " + std::to_string(count) + " uploads of total weight " +
            std::to_string(total_weight) + ", which this round cannot have");
  }
  const isa::FieldTable& table = ring::field_table(key_bits(total_weight));
  const std::uint64_t offset = kErrorBound * total_weight;
  KeyCoefficients keys(std::size_t{round.plan().degree()} * round.upload_keys());
  const ByteView packed = in.raw(keys.size() / isa::kGroup * table.bits);
  in.finish();
  SecretBuffer<std::uint64_t> shifted(keys.size());
  isa::kernels().unpack_fields(packed.data(), keys.size(), table, shifted.data());
  std::uint64_t beyond = 0;
  for (std::size_t j = 0; j < keys.size(); ++j) {
    beyond |= 2 * offset - shifted[j];  // its top bit is set when a coefficient is out of range
    keys[j] = static_cast<std::int64_t>(shifted[j] - offset);
  }
  if (beyond >> 63 != 0) in.fail("a coefficient is beyond the bound of this sum");
  return SumKey(round, manifest, count, total_weight, true, std::move(keys));
}

SumKey SumKey::load(const std::string& path, const Round& round) {
  Bytes bytes = read_file(path, FileKind::kSecret);
  try {
    SumKey key = from_bytes(bytes, round);
    secure_wipe(bytes.data(), bytes.size());
    return key;
  } catch (...) {
    secure_wipe(bytes.data(), bytes.size());
    throw;
  }
}

SumKey open_sum(const SecretKey& secret, const OpeningRequest& request, const Opener& opener,
                const SignatureVerifier* verifier, bool allow_export) {
  const Manifest& manifest = request.manifest;
  const Round& round = manifest.round();
  const Plan& plan = round.plan();
  if (secret.id() != round.public_key().id()) {
    throw KeyMismatchError("secret key " + short_hex(secret.id()) + " does not open round " +
                           short_hex(round.id()) + ", which is encrypted to key " +
                           short_hex(round.public_key().id()));
  }
  if (manifest.entries().size() < round.min_clients()) {
    throw RoundError("the sum holds " + std::to_string(manifest.entries().size()) +
                     " upload(s), round " + short_hex(round.id()) + " needs at least " +
                     std::to_string(round.min_clients()));
  }
  if (plan.weight_bits() == 0 && !manifest.unit_weights()) {
    throw RoundError("the sum is weighted, but this round's plan holds unit weights only");
  }
  for (const ManifestEntry& entry : manifest.entries()) {
    check_signature(round, entry.head, verifier);
  }

  KeyCoefficients sum(std::size_t{plan.degree()} * round.upload_keys(), Initialise::kZero);
  for (const ManifestEntry& entry : manifest.entries()) {
    Seed seed;
    if (!opener.open(secret.secret(), sealing_info(round, entry.head.nonce), entry.head.key.bytes(),
                     seed)) {
      throw RoundError("the sealed key of " + entry.head.name() +
                       " was not made for this round and key: it was altered, or copied from "
                       "elsewhere; nothing was opened");
    }
    const KeyCoefficients keys = expand_keys(round, seed);
    const auto weight = static_cast<std::int64_t>(entry.weight);
    for (std::size_t j = 0; j < sum.size(); ++j) sum[j] += weight * keys[j];
  }
  const Digest digest = manifest.digest();
  secret.ledger().record(round.id(), digest);
  return SumKey(round, digest, manifest.entries().size(), manifest.total_weight(),
                manifest.unit_weights() || allow_export, std::move(sum));
}

}  // namespace veilsum::scheme
