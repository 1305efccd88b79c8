// Layer: scheme. Where a round of a training stands, and the two public facts about the group of
// clients that reads it.
#pragma once

#include <cstdint>
#include <string>

#include "base/bytes.h"
#include "scheme/kem_key.h"

namespace veilsum::scheme {

/// A client makes one upload, and a member endorses one sum, for each step of a training and
/// purpose, whatever rounds are made for it.
struct TrainingStep {
  static constexpr std::size_t kMostPurposeBytes = 64;

  Digest training{};  ///< names the training
  std::uint64_t step = 0;
  std::string purpose;  ///< 1 ... 64 characters of printable ASCII: "update", "statistics", ...
  Digest history{};     ///< h: everything that has steered the clients so far (rule 8)

  friend bool operator==(const TrainingStep&, const TrainingStep&) = default;
};

/// What a round says of its group: the clients share a tag key and a reading key, which nobody
/// else has.
struct GroupCommitment {
  static constexpr std::size_t kKemKeyBytes = kEncapsulationKeyBytes + kExchangeKeyBytes;

  Digest tag_key{};  ///< a hash of the group's tag key
  std::array<std::uint8_t, kKemKeyBytes>
      reading_key{};  ///< the public half: answers are sealed to it

  friend bool operator==(const GroupCommitment&, const GroupCommitment&) = default;
};

}  // namespace veilsum::scheme
