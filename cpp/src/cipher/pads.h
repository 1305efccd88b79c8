// Layer: cipher. The pad of a block: INTT(a_(b / kappa) o r_(b mod kappa)), for an upload's keys or
// a sum's. The same motion serves encryption and decryption.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "base/aligned_buffer.h"
#include "ring/ring.h"
#include "scheme/round.h"
#include "scheme/sealed_key.h"

namespace veilsum::cipher {

/// The keys of one upload or one sum, ready to multiply. Immutable, shared by threads.
class BlockKeys {
 public:
  BlockKeys(const scheme::Round& round, const scheme::KeyCoefficients& coefficients);

  const ring::SlotMultiplier& of_block(std::uint64_t block) const noexcept {
    return keys_[static_cast<std::size_t>(block % keys_.size())];
  }
  std::uint64_t count() const noexcept { return keys_.size(); }

 private:
  std::vector<ring::SlotMultiplier> keys_;
};

/// Makes pads in memory of its own; one a thread. Blocks that follow each other share the public
/// polynomial of their group, which is expanded once.
class PadMaker {
 public:
  explicit PadMaker(const scheme::Round& round)
      : pads_(round.plan().ring().words()), matrix_(round.plan().ring().words()) {}

  /// The pads of a block: [limb][N], lazy residues, until the next call.
  /// @param ahead memory that is touched soon after, usually that of the next block
  const std::uint64_t* make(const scheme::Round& round, const BlockKeys& keys, std::uint64_t block,
                            const isa::Ahead& ahead = {});

 private:
  static constexpr std::uint64_t kNone = std::numeric_limits<std::uint64_t>::max();

  SecretBuffer<std::uint64_t> pads_;
  AlignedBuffer<std::uint64_t> matrix_;  ///< a in slots
  std::uint64_t group_ = kNone;          ///< whose a that is
};

/// Calls f(segment, first_value, digit, first_coefficient, count) for every run of a block's values
/// that is one digit of its coefficients and lies in one segment, digit after digit.
/// Value v of the block is digit v / coefficients of coefficient v % coefficients.
template <typename F>
void for_each_run(const scheme::Round& round, std::uint64_t block, std::uint32_t coefficients,
                  F f) {
  const scheme::Plan& plan = round.plan();
  const std::uint64_t first = block * plan.block_capacity();
  const std::uint64_t values = round.block_values(block);
  if (values == 0) return;
  std::size_t segment = round.segment_of(first);
  std::uint64_t at = 0;
  while (at < values) {
    while (round.starts()[segment + 1] <= first + at) ++segment;  // skips empty segments too
    const std::uint64_t digit = at / coefficients;
    const std::uint64_t digit_end = (digit + 1) * coefficients;
    std::uint64_t end = digit_end < values ? digit_end : values;
    const std::uint64_t segment_end = round.starts()[segment + 1] - first;
    if (segment_end < end) end = segment_end;
    f(segment, first + at, static_cast<std::uint32_t>(digit),
      static_cast<std::uint32_t>(at % coefficients), static_cast<std::size_t>(end - at));
    at = end;
  }
}

/// About how long encrypting or decrypting the round's blocks takes on one thread.
double cipher_us(const scheme::Round& round);

/// Groups of blocks that share a public polynomial: the unit of parallel work in memory.
inline std::uint64_t group_count(const scheme::Round& round) noexcept {
  return (round.blocks() + round.upload_keys() - 1) / round.upload_keys();
}

}  // namespace veilsum::cipher
