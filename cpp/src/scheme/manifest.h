// Layer: scheme. The uploads of one sum, and the rules for them: each once, signed as the roster
// asks, with weights that the plan holds. It knows no blocks and no keys.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <vector>

#include "scheme/upload.h"

namespace veilsum::scheme {

struct ManifestEntry {
  std::uint64_t weight = 1;
  UploadHead head;
};

/// The uploads of one sum, in the order in which they were added.
class Manifest {
 public:
  explicit Manifest(const Round& round) : round_(round) {}

  /// Checks everything about one upload but its blocks, and appends it.
  /// @throws RoundError for a duplicate or a signature that does not hold
  /// @throws HeadroomError when the weights would exceed the plan's
  /// @throws ParameterError for weight 0 or a missing verifier
  void add(UploadHead head, std::uint64_t weight, const SignatureVerifier* verifier);
  /// The checks of add() alone; add() would succeed after it.
  void check(const UploadHead& head, std::uint64_t weight, const SignatureVerifier* verifier) const;

  /// Takes back what add() appended; does nothing when it is not there.
  void remove(const Digest& upload) noexcept;

  const Round& round() const noexcept { return round_; }
  const std::vector<ManifestEntry>& entries() const noexcept { return entries_; }
  std::uint64_t total_weight() const noexcept { return total_weight_; }
  bool unit_weights() const noexcept { return total_weight_ == entries_.size(); }
  /// Hash over round, ciphers' parts and weights, independent of the order: names the sum itself.
  Digest digest() const;

  void write(ByteWriter& out) const;
  static Manifest read(ByteReader& in, const Round& round);

 private:
  void append(UploadHead head, std::uint64_t weight);

  Round round_;
  std::vector<ManifestEntry> entries_;
  std::map<Digest, std::uint64_t> uploads_;  // upload's digest -> weight
  std::set<std::uint32_t> clients_;          // of the signed ones
  std::uint64_t total_weight_ = 0;
};

}  // namespace veilsum::scheme
