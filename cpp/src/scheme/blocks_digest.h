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

/// The digest of blocks that lie in memory.
Digest digest_of_blocks(ByteView blocks, int threads);

/// How a round's blocks are cut into spans. The last span also holds the check blocks.
class Spans {
 public:
  explicit Spans(const Round& round)
      : round_(round),
        block_bytes_(round.cipher().full_block_bytes()),
        blocks_per_span_(kDigestPiece / std::gcd(kDigestPiece, block_bytes_)),
        capacity_(round.cipher().block_capacity()) {}

  std::uint64_t count() const noexcept {
    return (round_.value_blocks() + blocks_per_span_ - 1) / blocks_per_span_;
  }
  /// Of a full block.
  std::size_t block_bytes() const noexcept { return block_bytes_; }
  std::uint64_t blocks_per_span() const noexcept { return blocks_per_span_; }
  std::uint64_t values_per_span() const noexcept { return blocks_per_span_ * capacity_; }
  /// Of every span but the last.
  std::size_t bytes_per_span() const noexcept {
    return static_cast<std::size_t>(blocks_per_span_) * block_bytes_;
  }
  /// Of the largest span: what a buffer for any of them needs.
  std::size_t most_bytes() const noexcept {
    return std::max(bytes(count() - 1), count() > 1 ? bytes_per_span() : 0);
  }
  std::uint64_t first_block(std::uint64_t span) const noexcept { return span * blocks_per_span_; }
  std::uint64_t blocks(std::uint64_t span) const noexcept {
    return span + 1 < count() ? blocks_per_span_ : round_.blocks() - first_block(span);
  }
  /// The span that a block lies in.
  std::uint64_t span_of(std::uint64_t block) const noexcept {
    return std::min(block / blocks_per_span_, count() - 1);
  }
  /// Where a span begins, and how long it is, in the blocks' bytes.
  std::uint64_t offset(std::uint64_t span) const noexcept { return span * bytes_per_span(); }
  std::size_t bytes(std::uint64_t span) const noexcept {
    return bytes_of(first_block(span), blocks(span));
  }
  /// Where a block begins, in the blocks' bytes, and in its span's.
  std::uint64_t offset_of(std::uint64_t block) const noexcept { return round_.block_offset(block); }
  std::size_t place_of(std::uint64_t block) const noexcept {
    return static_cast<std::size_t>(offset_of(block) - offset(span_of(block)));
  }
  /// Bytes of the blocks [first, first + count).
  std::size_t bytes_of(std::uint64_t first, std::uint64_t count) const noexcept {
    return static_cast<std::size_t>(offset_of(first + count) - offset_of(first));
  }
  /// Bytes of the spans [first, first + count).
  std::uint64_t bytes_of_spans(std::uint64_t first, std::uint64_t count) const noexcept {
    const std::uint64_t last = first + count - 1;
    return offset(last) + bytes(last) - offset(first);
  }
  std::uint64_t first_value(std::uint64_t span) const noexcept { return span * values_per_span(); }
  /// Values before the end of a span, and before a block.
  std::uint64_t end_value(std::uint64_t span) const noexcept {
    return std::min((span + 1) * values_per_span(), round_.size());
  }
  std::uint64_t values_before(std::uint64_t block) const noexcept {
    return std::min(block * capacity_, round_.size());
  }

 private:
  Round round_;
  std::size_t block_bytes_;
  std::uint64_t blocks_per_span_;
  std::uint64_t capacity_;
};

}  // namespace veilsum::scheme
