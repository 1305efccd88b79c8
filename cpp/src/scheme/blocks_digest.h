// Layer: scheme. The digest that a signature covers the blocks with, and the spans in which blocks
// are handled when they do not lie in memory as one: a span is a run of whole blocks that begins
// where a piece of the digest begins, so that spans are read, checked and hashed independently.
#pragma once

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <span>

#include "ring/sha256.h"
#include "scheme/round.h"

namespace veilsum::scheme {

inline constexpr std::size_t kDigestPiece = std::size_t{64} * 1024;

inline std::size_t digest_pieces(std::uint64_t bytes) noexcept {
  return static_cast<std::size_t>((bytes + kDigestPiece - 1) / kDigestPiece);
}

/// SHA-256 over the SHA-256 of each 64 KiB piece, whose digests are appended in order.
class BlocksDigest {
 public:
  BlocksDigest() noexcept { restart(); }
  /// @param digests of the next pieces, 32 bytes each
  void append(ByteView digests) noexcept { hash_.update(digests); }
  /// Only restart() may follow.
  Digest finish() noexcept { return hash_.finish(); }
  void restart() noexcept;

 private:
  ring::Sha256 hash_;
};

/// The digests of the pieces of `bytes`, which begin where a piece begins, one after the other.
/// Many pieces at a time are hashed side by side, three times faster: give whole spans.
Bytes piece_digests(ByteView bytes);

/// How a round's blocks are cut into spans.
class Spans {
 public:
  explicit Spans(const Round& round)
      : block_bytes_(round.plan().block_bytes(round.plan().block_capacity())),
        blocks_per_span_(kDigestPiece / std::gcd(kDigestPiece, block_bytes_)),
        blocks_(round.blocks()),
        capacity_(round.plan().block_capacity()),
        values_(round.size()),
        bytes_(round.payload_bytes()) {}

  std::uint64_t count() const noexcept {
    return (blocks_ + blocks_per_span_ - 1) / blocks_per_span_;
  }
  std::size_t block_bytes() const noexcept { return block_bytes_; }
  std::uint64_t blocks_per_span() const noexcept { return blocks_per_span_; }
  std::uint64_t values_per_span() const noexcept { return blocks_per_span_ * capacity_; }
  std::size_t bytes_per_span() const noexcept {
    return static_cast<std::size_t>(blocks_per_span_) * block_bytes_;
  }
  std::uint64_t first_block(std::uint64_t span) const noexcept { return span * blocks_per_span_; }
  std::uint64_t blocks(std::uint64_t span) const noexcept {
    return std::min(blocks_per_span_, blocks_ - first_block(span));
  }
  /// Where a span begins, and how long it is, in the blocks' bytes.
  std::uint64_t offset(std::uint64_t span) const noexcept { return span * bytes_per_span(); }
  std::size_t bytes(std::uint64_t span) const noexcept {
    return static_cast<std::size_t>(
        std::min<std::uint64_t>(bytes_per_span(), bytes_ - offset(span)));
  }
  /// Bytes of the blocks [first, first + count).
  std::size_t bytes_of(std::uint64_t first, std::uint64_t count) const noexcept {
    return static_cast<std::size_t>(
        std::min<std::uint64_t>(count * block_bytes_, bytes_ - first * block_bytes_));
  }
  std::uint64_t first_value(std::uint64_t span) const noexcept { return span * values_per_span(); }
  /// Values before the end of a span.
  std::uint64_t end_value(std::uint64_t span) const noexcept {
    return std::min((span + 1) * values_per_span(), values_);
  }

 private:
  std::size_t block_bytes_;
  std::uint64_t blocks_per_span_;
  std::uint64_t blocks_;
  std::uint64_t capacity_;
  std::uint64_t values_;
  std::uint64_t bytes_;
};

}  // namespace veilsum::scheme
