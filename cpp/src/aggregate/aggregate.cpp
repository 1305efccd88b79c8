// Layer: aggregate. See aggregate.h.
#include "aggregate/aggregate.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "base/file_io.h"
#include "scheme/block_sums.h"
#include "scheme/wire.h"
#include "veilsum/errors.h"

namespace veilsum::aggregate {
namespace {

using scheme::Manifest;
using scheme::Round;

void check_belongs(const scheme::Upload& upload, const Round& round) {
  scheme::check_round_id(upload.round_id(), round, "the upload");
}

}  // namespace

void check_enough(const Manifest& manifest) {
  if (manifest.entries().size() < manifest.round().min_clients()) {
    throw RoundError("the sum holds " + std::to_string(manifest.entries().size()) +
                     " upload(s), round " + short_hex(manifest.round().id()) + " needs at least " +
                     std::to_string(manifest.round().min_clients()));
  }
}

Aggregate::Aggregate(Manifest manifest, AlignedBuffer<std::uint8_t> blocks)
    : manifest_(std::move(manifest)),
      blocks_(std::make_shared<const AlignedBuffer<std::uint8_t>>(std::move(blocks))) {}

scheme::OpeningRequest Aggregate::opening_request(int threads) const {
  scheme::OpeningRequest request{manifest()};
  if (scheme::names_blocks(round())) {
    request.evidence.blocks_digest = blocks_digest(threads);
  }
  return request;
}

scheme::OpeningRequest Aggregate::opening_request(std::span<const scheme::Upload* const> uploads,
                                                  int threads) const {
  using Kind = scheme::Evidence::Kind;
  if (round().cipher().engine() == scheme::Engine::kNative) {
    throw ParameterError("the native engine's key holder opens sealed keys; it takes no uploads");
  }
  scheme::OpeningRequest request{manifest()};
  request.evidence.blocks_digest = blocks_digest(threads);
  if (uploads.empty() && round().trust_aggregator()) {
    request.evidence.kind = Kind::kAggregate;
    request.evidence.blocks.push_back(blocks_);
    return request;
  }
  if (uploads.empty()) {
    throw RoundError(
        "the key holder of engine '" + scheme::engine_name(round().cipher().engine()) +
        "' can only check a sum by summing the uploads itself: pass them, in the order of the sum "
        "(open_sum(..., uploads=[...]); veilsum open --uploads ...), or make the round with "
        "trust_aggregator=True");
  }
  const auto& entries = manifest().entries();
  bool same = uploads.size() == entries.size();
  for (std::size_t k = 0; same && k < entries.size(); ++k) {
    same =
        uploads[k]->round_id() == round().id() && uploads[k]->head().part == entries[k].head.part;
  }
  if (!same) {
    throw RoundError("the " + std::to_string(uploads.size()) + " uploads are not the " +
                     std::to_string(entries.size()) +
                     " that the aggregate lists, in its order; nothing was opened");
  }
  request.evidence.kind = Kind::kUploads;
  for (const scheme::Upload* upload : uploads) {
    request.evidence.blocks.push_back(upload->shared_blocks());
  }
  return request;
}

Aggregate Aggregate::without_shares() const {
  Aggregate out(*this);
  out.manifest_ = manifest().without_shares();
  return out;
}

Bytes Aggregate::head_fields() const { return scheme::write_aggregate_fields(manifest()); }

std::uint64_t Aggregate::wire_bytes() const {
  const bool shared = round().committee() != nullptr;
  const std::uint64_t shares =
      shared && manifest().has_shares()
          ? scheme::Manifest::shares_bytes(round(), manifest().entries().size())
          : 0;
  return scheme::kEnvelopeHeaderBytes + manifest().wire_bytes() + (shared ? 1 : 0) + shares + 8 +
         blocks().size() + scheme::kEnvelopeTrailerBytes;
}

Bytes Aggregate::to_bytes() const {
  return scheme::seal(scheme::ObjectKind::kAggregate, {head_fields(), blocks()});
}

void Aggregate::save(const std::string& path) const {
  scheme::seal_to_file(path, FileKind::kPublic, scheme::ObjectKind::kAggregate,
                       {head_fields(), blocks()});
}

Aggregate Aggregate::from_bytes(ByteView bytes, const Round& round) {
  ByteReader in(scheme::open_envelope(bytes, scheme::ObjectKind::kAggregate), "aggregate");
  Manifest manifest = scheme::read_aggregate_fields(in, round);
  const ByteView data = in.raw(round.payload_bytes());
  in.finish();
  // Copied first: what is checked is what is kept, even if the caller's memory changes meanwhile.
  AlignedBuffer<std::uint8_t> blocks(data.size());
  std::memcpy(blocks.data(), data.data(), data.size());
  return Aggregate(std::move(manifest), std::move(blocks));
}

Aggregate weighted_sum(const Round& round, std::span<const scheme::Upload* const> uploads,
                       std::span<const std::uint64_t> weights,
                       const scheme::SignatureVerifier* verifier, int threads) {
  if (!weights.empty() && weights.size() != uploads.size()) {
    throw ParameterError(std::to_string(weights.size()) + " weights for " +
                         std::to_string(uploads.size()) + " uploads");
  }
  Manifest manifest(round);
  std::vector<const std::uint8_t*> sources;
  std::vector<std::uint64_t> factors;
  for (std::size_t k = 0; k < uploads.size(); ++k) {
    const std::uint64_t weight = weights.empty() ? 1 : weights[k];
    check_belongs(*uploads[k], round);
    manifest.add(uploads[k]->head(), weight, verifier);
    scheme::check_blocks(round, *uploads[k], threads);
    sources.push_back(uploads[k]->blocks().data());
    factors.push_back(weight);
  }
  check_enough(manifest);
  AlignedBuffer<std::uint8_t> blocks(static_cast<std::size_t>(round.payload_bytes()));
  scheme::sum_blocks(round, sources, factors, threads, blocks.data());
  return Aggregate(std::move(manifest), std::move(blocks));
}

}  // namespace veilsum::aggregate
