// Layer: aggregate. See aggregate.h.
#include "aggregate/aggregate.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <utility>
#include <vector>

#include "base/file_io.h"
#include "base/parallel.h"
#include "isa/dispatch.h"
#include "scheme/wire.h"
#include "veilsum/errors.h"

namespace veilsum::aggregate {
namespace {

using scheme::Manifest;
using scheme::Plan;
using scheme::Round;

/// Sources per kernel call: their current lines and the output fit the second-level cache.
constexpr std::size_t kBatch = 64;

/// out = sum_k weights[k] * sources[k], row by row; `out` may be sources[0].
void sum_blocks(const Round& round, std::span<const std::uint8_t* const> sources,
                std::span<const std::uint64_t> weights, int threads, std::uint8_t* out) {
  const Plan& plan = round.plan();
  const std::size_t full = plan.block_bytes(plan.block_capacity());
  const bool unit =
      std::all_of(weights.begin(), weights.end(), [](std::uint64_t weight) { return weight == 1; });
  struct Scratch {
    std::vector<const std::uint8_t*> rows;
    std::vector<std::uint64_t> factors;
  };
  std::atomic<bool> good{true};
  parallel_for(
      static_cast<std::size_t>(round.blocks()), threads, [] { return Scratch{}; },
      [&](std::size_t block, Scratch& scratch) {
        const std::size_t coefficients = plan.block_coefficients(round.block_values(block));
        const std::size_t row_bytes = coefficients / isa::kGroup * isa::kGroupBytes;
        for (std::size_t limb = 0; limb < plan.limbs(); ++limb) {
          const std::size_t at = block * full + limb * row_bytes;
          for (std::size_t first = 0; first < sources.size(); first += kBatch) {
            scratch.rows.clear();
            scratch.factors.clear();
            if (first != 0) {
              scratch.rows.push_back(out + at);
              scratch.factors.push_back(1);
            }
            for (std::size_t k = first; k < std::min(first + kBatch, sources.size()); ++k) {
              scratch.rows.push_back(sources[k] + at);
              scratch.factors.push_back(weights[k]);
            }
            isa::SumPacked args{};
            args.sources = scratch.rows.data();
            args.weights = unit ? nullptr : scratch.factors.data();
            args.source_count = static_cast<std::uint32_t>(scratch.rows.size());
            args.coefficients = coefficients;
            args.modulus = plan.ring().modulus(limb);
            args.out = out + at;
            if (!isa::kernels().sum_packed(args)) good.store(false, std::memory_order_relaxed);
          }
        }
      });
  if (!good.load()) throw WireFormatError("upload: a residue is not below its modulus");
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

Bytes capsule_sum_of(const Manifest& manifest) {
  std::vector<ByteView> capsules;
  std::vector<std::uint64_t> weights;
  for (const scheme::ManifestEntry& entry : manifest.entries()) {
    capsules.emplace_back(entry.head.capsule);
    weights.push_back(entry.weight);
  }
  return scheme::sum_capsules(manifest.round().plan(), capsules, weights);
}

void check_enough(const Manifest& manifest) {
  if (manifest.entries().size() < manifest.round().min_clients()) {
    throw RoundError("the sum holds " + std::to_string(manifest.entries().size()) +
                     " upload(s), round " + short_hex(manifest.round().id()) + " needs at least " +
                     std::to_string(manifest.round().min_clients()));
  }
}

}  // namespace

Aggregate::Aggregate(Manifest manifest, Bytes capsule_sum, AlignedBuffer<std::uint8_t> blocks)
    : request_{std::move(manifest), std::move(capsule_sum)}, blocks_(std::move(blocks)) {}

Bytes Aggregate::head_fields() const {
  ByteWriter out;
  request_.manifest.write(out);
  out.raw(request_.capsule_sum);
  out.u64(blocks_.size());
  return out.take();
}

std::uint64_t Aggregate::wire_bytes() const noexcept {
  std::uint64_t total = scheme::kEnvelopeHeaderBytes + 32 + 4 + request_.capsule_sum.size() + 8 +
                        blocks_.size() + scheme::kEnvelopeTrailerBytes;
  for (const scheme::ManifestEntry& entry : manifest().entries()) {
    total += 8 + 9 + (entry.head.signature ? 100u : 0u) + entry.head.capsule.size();
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
  const ByteView sum = in.raw(round.plan().capsule().bytes);
  if (!scheme::capsule_well_formed(round.plan(), sum)) {
    in.fail("a residue of the capsule sum is not below its modulus");
  }
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
  if (!scheme::blocks_well_formed(round, blocks.span(), 0))
    in.fail("a residue is not below its modulus");
  return Aggregate(std::move(manifest), Bytes(sum.begin(), sum.end()), std::move(blocks));
}

Accumulator::Accumulator(const Round& round, const scheme::SignatureVerifier* verifier)
    : round_(round), verifier_(verifier), manifest_(round) {
  if (round.has_roster() && verifier == nullptr) {
    throw ParameterError("this round has a roster: a signature verifier is required");
  }
}

void Accumulator::add(const scheme::Upload& upload, std::uint64_t weight, int threads) {
  check_belongs(upload, round_);
  check_blocks_digest(upload, threads);
  const std::lock_guard<std::mutex> lock(guard_);
  check_usable();
  const bool first = manifest_.entries().empty();
  if (first) blocks_ = AlignedBuffer<std::uint8_t>(upload.blocks().size());
  manifest_.add(upload.head(), weight,
                verifier_);  // asks the verifier, once; refusals change nothing
  spoiled_ = true;           // until the blocks are in, too
  const std::uint8_t* const sources[] = {first ? upload.blocks().data() : blocks_.data(),
                                         upload.blocks().data()};
  const std::uint64_t weights[] = {1, weight};
  const std::size_t skip = first ? 1 : 0;
  sum_blocks(round_, std::span(sources).subspan(skip), std::span(weights).subspan(skip), threads,
             blocks_.data());
  spoiled_ = false;
}

void Accumulator::check_usable() const {
  if (finished_) throw RoundError("this accumulator is finished and takes no more uploads");
  if (spoiled_) {
    throw RoundError(
        "adding an upload failed half-way, so this sum is lost; add the uploads to a new one");
  }
}

std::uint64_t Accumulator::count() const {
  const std::lock_guard<std::mutex> lock(guard_);
  return manifest_.entries().size();
}

std::uint64_t Accumulator::total_weight() const {
  const std::lock_guard<std::mutex> lock(guard_);
  return manifest_.total_weight();
}

Aggregate Accumulator::finish() {
  const std::lock_guard<std::mutex> lock(guard_);
  check_usable();
  check_enough(manifest_);
  Bytes capsule_sum = capsule_sum_of(manifest_);
  finished_ = true;
  return Aggregate(std::exchange(manifest_, Manifest(round_)), std::move(capsule_sum),
                   std::move(blocks_));
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
  Bytes capsule_sum = capsule_sum_of(manifest);
  return Aggregate(std::move(manifest), std::move(capsule_sum), std::move(blocks));
}

}  // namespace veilsum::aggregate
