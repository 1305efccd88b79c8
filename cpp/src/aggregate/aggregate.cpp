// Layer: aggregate. See aggregate.h.
#include "aggregate/aggregate.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "aggregate/sum_rows.h"
#include "base/file_io.h"
#include "base/parallel.h"
#include "scheme/wire.h"
#include "veilsum/errors.h"

namespace veilsum::aggregate {
namespace {

using scheme::Manifest;
using scheme::Round;

/// out = sum_k weights[k] * sources[k].
void sum_blocks(const Round& round, std::span<const std::uint8_t* const> sources,
                std::span<const std::uint64_t> weights, int threads, std::uint8_t* out) {
  const std::span<const std::uint64_t> factors = unless_unit(weights);
  struct Scratch {
    RowScratch rows;
    std::vector<const std::uint8_t*> at;
  };
  parallel_for(
      static_cast<std::size_t>(round.blocks()),
      worthwhile_threads(threads, sum_us(round, sources.size())), [] { return Scratch{}; },
      [&](std::size_t block, Scratch& scratch) {
        const auto offset = static_cast<std::size_t>(round.block_offset(block));
        scratch.at.clear();
        for (const std::uint8_t* source : sources) scratch.at.push_back(source + offset);
        sum_block(round, block, scratch.at, factors, scratch.rows, out + offset);
      });
}

/// What a signature promises about the blocks must hold for the blocks at hand.
void check_blocks_digest(const scheme::Upload& upload, int threads) {
  const auto& signature = upload.head().signature;
  if (signature && upload.blocks_digest(threads) != signature->blocks_digest) {
    throw RoundError("the blocks of " + upload.head().name() +
                     " are not the ones it signed: they were altered on the way");
  }
}

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
    : request_{std::move(manifest)}, blocks_(std::move(blocks)) {}

Bytes Aggregate::head_fields() const {
  ByteWriter out;
  request_.manifest.write(out);
  out.u64(blocks_.size());
  return out.take();
}

std::uint64_t Aggregate::wire_bytes() const noexcept {
  std::uint64_t total =
      scheme::kEnvelopeHeaderBytes + 32 + 4 + 8 + blocks_.size() + scheme::kEnvelopeTrailerBytes;
  for (const scheme::ManifestEntry& entry : manifest().entries()) {
    total += 8 + scheme::head_bytes(entry.head.signature.has_value());
  }
  return total;
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
  Manifest manifest = Manifest::read(in, round);
  const std::uint64_t length = in.u64();
  if (length != round.payload_bytes()) {
    in.fail("has " + std::to_string(length) + " bytes of blocks, this round needs " +
            std::to_string(round.payload_bytes()));
  }
  const ByteView data = in.raw(length);
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
    check_blocks_digest(*uploads[k], threads);
    sources.push_back(uploads[k]->blocks().data());
    factors.push_back(weight);
  }
  check_enough(manifest);
  AlignedBuffer<std::uint8_t> blocks(static_cast<std::size_t>(round.payload_bytes()));
  sum_blocks(round, sources, factors, threads, blocks.data());
  return Aggregate(std::move(manifest), std::move(blocks));
}

}  // namespace veilsum::aggregate
