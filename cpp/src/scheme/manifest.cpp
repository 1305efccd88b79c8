// Layer: scheme. See manifest.h.
#include "scheme/manifest.h"

#include <algorithm>

#include "base/shown.h"
#include "ring/sha256.h"
#include "veilsum/errors.h"

namespace veilsum::scheme {

void Manifest::check(const UploadHead& head, std::uint64_t weight,
                     const SignatureVerifier* verifier) const {
  check_signature(round_, head, verifier);
  check_verified(head, weight);
}

void Manifest::check_verified(const UploadHead& head, std::uint64_t weight) const {
  const Cipher& plan = round_.cipher();
  // First of all: one that counts already needs no room, and no other plan.
  if (uploads_.contains(head.digest())) {
    throw RoundError(head.name() + " is in this sum already; an upload counts once");
  }
  if (head.signature && clients_.contains(head.signature->client)) {
    throw RoundError(head.name() + " has uploaded already; the first upload stands");
  }
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
}

void Manifest::add(UploadHead head, std::uint64_t weight, const SignatureVerifier* verifier) {
  check(head, weight, verifier);
  append(std::move(head), weight);
}

void Manifest::add_verified(UploadHead head, std::uint64_t weight) {
  check_verified(head, weight);
  append(std::move(head), weight);
}

void Manifest::append(UploadHead head, std::uint64_t weight) {
  entries_.push_back({weight, std::move(head)});
  const UploadHead& added = entries_.back().head;
  try {
    uploads_.emplace(added.digest(), Named{weight, head_digest(added)});
    if (added.signature) clients_.insert(added.signature->client);
  } catch (...) {  // out of memory: as if it had never been
    uploads_.erase(added.digest());
    entries_.pop_back();
    throw;
  }
  total_weight_ += weight;
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
  ByteWriter out(32 + 72 * uploads_.size());
  out.raw(round_.id());
  for (const auto& [digest, named] : uploads_) {
    out.raw(digest);
    out.raw(named.head);
    out.u64(named.weight);
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

std::uint64_t Manifest::wire_bytes() const noexcept {
  std::uint64_t total = 32 + 4;
  for (const ManifestEntry& entry : entries_) {
    total += 8 + head_bytes(round_, entry.head.signed_by());
  }
  return total;
}

bool Manifest::has_shares() const noexcept {
  return std::all_of(entries_.begin(), entries_.end(),
                     [](const ManifestEntry& entry) { return entry.head.shares != nullptr; });
}

Manifest Manifest::without_shares() const {
  Manifest out(*this);
  for (ManifestEntry& entry : out.entries_) entry.head.shares = nullptr;
  return out;
}

std::uint64_t Manifest::shares_bytes(const Round& round, std::uint64_t uploads) {
  const Committee* committee = round.committee();
  return committee == nullptr ? 0 : uploads * committee->size() * sealed_share_bytes(round);
}

Manifest Manifest::read(ByteReader& in, const Round& round) {
  check_round_id(in.array<32>(), round, "the aggregate");
  const std::uint32_t count = in.u32();
  if (count == 0) in.fail("a sum of no uploads");
  if (std::uint64_t{count} * head_bytes(round, SignatureKind::kNone) > in.remaining()) {
    in.fail("more uploads in the manifest than bytes");
  }
  Manifest manifest(round);
  for (std::uint32_t k = 0; k < count; ++k) {
    const std::uint64_t weight = in.u64();
    UploadHead head = read_head(in, round);
    if (weight == 0 || weight > round.cipher().max_weight() - manifest.total_weight_) {
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

void Manifest::read_shares(ByteReader& in) {
  const std::uint64_t each = shares_bytes(round_, 1);
  for (ManifestEntry& entry : entries_) attach_shares(round_, entry.head, in.raw(each));
}

Bytes write_aggregate_fields(const Manifest& manifest) {
  const Round& round = manifest.round();
  const bool shared = round.committee() != nullptr;
  const bool forwards = shared && manifest.has_shares();
  const std::uint64_t uploads = manifest.entries().size();
  ByteWriter out(static_cast<std::size_t>(manifest.wire_bytes() + 9 +
                                          (forwards ? Manifest::shares_bytes(round, uploads) : 0)));
  manifest.write(out);
  if (shared) out.u8(forwards ? 1 : 0);
  if (forwards) {
    for (const ManifestEntry& entry : manifest.entries()) out.raw(*entry.head.shares);
  }
  out.u64(round.payload_bytes());
  return out.take();
}

Manifest read_aggregate_fields(ByteReader& in, const Round& round) {
  Manifest manifest = Manifest::read(in, round);
  if (round.committee() != nullptr) {
    const std::uint8_t forwards = in.u8();
    if (forwards > 1) in.fail("flag " + std::to_string(forwards) + " is neither 0 nor 1");
    if (forwards == 1) manifest.read_shares(in);
  }
  const std::uint64_t length = in.u64();
  if (length != round.payload_bytes()) {
    in.fail("has " + std::to_string(length) + " bytes of blocks, this round needs " +
            std::to_string(round.payload_bytes()));
  }
  return manifest;
}

std::uint64_t most_aggregate_fields(const Round& round, std::uint64_t uploads) {
  return 32 + 4 + uploads * (8 + most_head_bytes(round)) + Manifest::shares_bytes(round, uploads) +
         1 + 8;
}

}  // namespace veilsum::scheme
