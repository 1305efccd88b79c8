// Layer: aggregate. Sums of uploads. An aggregate holds no secret and making one needs none: blocks
// are added modulo q where they lie, packed, in one pass over the uploads.
#pragma once

#include <cstdint>
#include <mutex>
#include <span>
#include <string>

#include "base/aligned_buffer.h"
#include "scheme/opening.h"

namespace veilsum::aggregate {

/// A weighted sum, still encrypted.
class Aggregate {
 public:
  Aggregate(scheme::Manifest manifest, Bytes capsule_sum, AlignedBuffer<std::uint8_t> blocks);

  const scheme::Manifest& manifest() const noexcept { return request_.manifest; }
  const scheme::Round& round() const noexcept { return request_.manifest.round(); }
  ByteView blocks() const noexcept { return blocks_.span(); }
  /// What the authority needs: everything but the blocks.
  const scheme::OpeningRequest& opening_request() const noexcept { return request_; }

  std::uint64_t wire_bytes() const noexcept;
  Bytes to_bytes() const;
  void save(const std::string& path) const;
  /// Signatures of the manifest are checked by whoever opens, not here.
  /// @throws WireFormatError, RoundError
  static Aggregate from_bytes(ByteView bytes, const scheme::Round& round);

 private:
  Bytes head_fields() const;
  scheme::OpeningRequest request_;
  AlignedBuffer<std::uint8_t> blocks_;
};

/// Sums uploads as they arrive; holds one aggregate in memory, whatever the number of clients.
/// Thread-safe: uploads may be added from any thread, in any order.
class Accumulator {
 public:
  /// @param verifier required when the round has a roster; must outlive the accumulator
  Accumulator(const scheme::Round& round, const scheme::SignatureVerifier* verifier);

  /// @param weight omega_k >= 1
  /// @throws RoundError for another round's upload, a duplicate, or a signature that does not hold
  /// @throws HeadroomError when the weights would exceed the plan's
  void add(const scheme::Upload& upload, std::uint64_t weight, int threads);
  std::uint64_t count() const;
  std::uint64_t total_weight() const;
  /// The sum so far; the accumulator is empty afterwards and takes no more uploads.
  /// @throws RoundError when fewer than min_clients uploads were added
  Aggregate finish();

 private:
  void check_usable() const;

  mutable std::mutex guard_;
  const scheme::Round round_;
  const scheme::SignatureVerifier* verifier_;
  scheme::Manifest manifest_;
  AlignedBuffer<std::uint8_t> blocks_;
  bool finished_ = false;
  bool spoiled_ = false;  // manifest and blocks may disagree
};

/// sum_k weights[k] * uploads[k] in one pass; empty weights mean all one.
/// @throws as Accumulator::add and finish; ParameterError when the counts differ
Aggregate weighted_sum(const scheme::Round& round, std::span<const scheme::Upload* const> uploads,
                       std::span<const std::uint64_t> weights,
                       const scheme::SignatureVerifier* verifier, int threads);

}  // namespace veilsum::aggregate
