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
  /// The same for a head that check_signature() has passed: asks no verifier, which may take long.
  void add_verified(UploadHead head, std::uint64_t weight);
  /// The checks of add() alone; add() would succeed after it.
  void check(const UploadHead& head, std::uint64_t weight, const SignatureVerifier* verifier) const;

  /// Takes back what add() appended; does nothing when it is not there.
  void remove(const Digest& upload) noexcept;

  const Round& round() const noexcept { return round_; }
  const std::vector<ManifestEntry>& entries() const noexcept { return entries_; }
  std::uint64_t total_weight() const noexcept { return total_weight_; }
  bool unit_weights() const noexcept { return total_weight_ == entries_.size(); }
  /// Hash over round, heads and weights, independent of the order: names the sum itself.
  Digest digest() const;

  /// Whether all uploads' sealed shares are there to be forwarded.
  bool has_shares() const noexcept;
  /// The same without them: all that a reader needs.
  Manifest without_shares() const;
  /// Bytes that all sealed shares of a committee's round take; 0 of others'.
  static std::uint64_t shares_bytes(const Round& round, std::uint64_t uploads);

  /// Heads, without sealed shares.
  void write(ByteWriter& out) const;
  std::uint64_t wire_bytes() const noexcept;
  static Manifest read(ByteReader& in, const Round& round);

  /// Takes the sealed shares in, upload by upload.
  void read_shares(ByteReader& in);

 private:
  void check_verified(const UploadHead& head, std::uint64_t weight) const;
  void append(UploadHead head, std::uint64_t weight);

  Round round_;
  std::vector<ManifestEntry> entries_;
  struct Named {
    std::uint64_t weight = 0;
    Digest head{};
  };
  std::map<Digest, Named> uploads_;  // by the upload's digest
  std::set<std::uint32_t> clients_;  // of the signed ones
  std::uint64_t total_weight_ = 0;
};

/// What an aggregate has between its envelope's header and its blocks: the manifest, the sealed
/// shares if they are there, and the length of the blocks.
Bytes write_aggregate_fields(const Manifest& manifest);
Manifest read_aggregate_fields(ByteReader& in, const Round& round);
/// Their size at most, for `uploads` uploads.
std::uint64_t most_aggregate_fields(const Round& round, std::uint64_t uploads);

}  // namespace veilsum::scheme
