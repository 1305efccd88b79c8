// Layer: aggregate. Sums of uploads. An aggregate holds no secret and making one needs none: blocks
// are added modulo 2^B where they lie, packed, in one pass over the uploads.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "base/aligned_buffer.h"
#include "scheme/blocks_digest.h"
#include "scheme/opening.h"

namespace veilsum::aggregate {

/// A weighted sum, still encrypted.
class Aggregate {
 public:
  Aggregate(scheme::Manifest manifest, AlignedBuffer<std::uint8_t> blocks);

  const scheme::Manifest& manifest() const noexcept { return manifest_; }
  const scheme::Round& round() const noexcept { return manifest_.round(); }
  /// Empty of what was moved elsewhere.
  ByteView blocks() const noexcept { return blocks_ ? blocks_->span() : ByteView(); }
  /// Digest over the blocks, as of an upload's.
  Digest blocks_digest(int threads) const { return scheme::digest_of_blocks(blocks(), threads); }
  /// What the native engine's key holder needs: everything but the blocks.
  scheme::OpeningRequest opening_request(int threads) const;
  /// What the key holder of another engine needs: the uploads, in the manifest's order, or the
  /// blocks, where the round trusts its aggregator.
  /// @param uploads may be empty there
  /// @throws RoundError when they are missing, or not the manifest's
  scheme::OpeningRequest opening_request(std::span<const scheme::Upload* const> uploads,
                                         int threads) const;

  /// The same sum without its uploads' sealed shares: what readers download. Shares the blocks.
  Aggregate without_shares() const;

  std::uint64_t wire_bytes() const;
  Bytes to_bytes() const;
  void save(const std::string& path) const;
  /// Signatures of the manifest are checked by whoever opens, not here.
  /// @throws WireFormatError, RoundError
  static Aggregate from_bytes(ByteView bytes, const scheme::Round& round);

 private:
  Bytes head_fields() const;
  scheme::Manifest manifest_;
  scheme::SharedBlocks blocks_;
};

/// @throws RoundError when the manifest holds fewer uploads than the round's min_clients
void check_enough(const scheme::Manifest& manifest);

/// sum_k weights[k] * uploads[k] in one pass; empty weights mean all one.
/// @throws as Accumulator::add and finish; ParameterError when the counts differ
Aggregate weighted_sum(const scheme::Round& round, std::span<const scheme::Upload* const> uploads,
                       std::span<const std::uint64_t> weights,
                       const scheme::SignatureVerifier* verifier, int threads);

}  // namespace veilsum::aggregate
