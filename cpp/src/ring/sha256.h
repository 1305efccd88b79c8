// Layer: ring. SHA-256 (FIPS 180-4) over the active kernel, and the labelled hashes that every id
// and every key of the scheme comes from.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string_view>

#include "base/bytes.h"

namespace veilsum::ring {

/// Streaming SHA-256. The state is wiped on destruction: seeds pass through it.
class Sha256 {
 public:
  Sha256() noexcept;
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;
  ~Sha256();

  Sha256& update(ByteView data) noexcept;
  /// Pads and returns the digest; only restart() may follow.
  Digest finish() noexcept;
  /// Begins anew.
  void restart() noexcept;

 private:
  std::uint32_t state_[8];
  std::uint8_t block_[64];
  std::size_t filled_ = 0;
  std::uint64_t total_ = 0;
};

/// SHA-256 of each piece of `data`, in order; the last piece may be shorter. Pieces are hashed side
/// by side, several times faster than one after the other.
/// @param piece_bytes a multiple of 64, not 0
/// @param digests room for 32 bytes a piece
void sha256_pieces_into(ByteView data, std::size_t piece_bytes, std::uint8_t* digests) noexcept;

/// SHA-256(label || parts...). Labels are fixed ASCII, none a prefix of another; every part but
/// the last has a fixed length, so the concatenation is unambiguous.
Digest labelled_hash(std::string_view label, std::initializer_list<ByteView> parts) noexcept;

}  // namespace veilsum::ring
