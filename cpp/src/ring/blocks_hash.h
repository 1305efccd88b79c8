// Layer: ring. A keyed hash of packed blocks, for a party that holds blocks and will see some again
// under the same name: are they the same bytes? Whoever makes the blocks never learns the key, so
// no collision resistance is needed, and the polynomial hash of the sum tag (tag_hash.h) does, at a
// tenth of the time of SHA-256. It knows blocks of bytes and a key; not rounds, sums or who asks.
//
// A block's bytes are little-endian words of 48 bits. Whole groups of eight words make runs of at
// most 2048 words; the bytes behind the last group, if any, followed by zeros to eight words, make
// a run of their own. The hash of the vector is that of tag_hash.h with t = 2^48 and L = 1: P =
// 2^50 - 27, a word is one digit, and the runs of a block are numbered from 0 in order, with
// multipliers of their own.
//
// Forgery. The number of bytes of each block must be known beforehand: then other bytes are other
// words. Who does not know the key gives other blocks the same hash with probability at most
//   (2048 / P)^2 (1 + 2^-44)^2 < 2^-77.99 a try
// by the argument of tag_hash.h: some run's polynomial of differences is not zero, its words being
// below P, and has at most 2047 roots; elsewhere the run's multiplier makes the difference uniform.
// That one is told only whether a try failed helps nobody: q tries win with at most q times that.
// Who also learns the hash of one vector, though not the key, does no better unless that hash is 0
// in an evaluation: differences that are not proportional to the vector's own values at the point
// stay uniform, and proportional ones vanish only if the hash does.
#pragma once

#include <cstdint>

#include "base/bytes.h"
#include "base/entropy.h"
#include "ring/tag_hash.h"

namespace veilsum::ring {

/// The hash under one key. Immutable: threads may share it, each with a TagSum of its own, and add
/// these up in any order.
class BlocksHash : private TagHash {
 public:
  explicit BlocksHash(const Seed& key) : TagHash(kBase, 1, key) {}

  /// The field of its values, whatever the key.
  static TagField field() { return TagField(kBase); }

  /// Adds one block to `sum`. Constant time in the key.
  /// @param block its number, below 2^48; each block of a vector is added once
  /// @param bytes at most 2^20 of them
  /// @throws ParameterError when a number is out of range or `sum` is of another field
  void add_block(std::uint64_t block, ByteView bytes, TagSum& sum) const;

 private:
  static constexpr std::uint64_t kBase = std::uint64_t{1} << 48;
};

}  // namespace veilsum::ring
