// Layer: scheme. The aggregate as the authority sees it, and its opening. An opening request holds
// no blocks: the manifest (who contributed with which weight, their capsules and signatures) and
// the aggregator's sum of the capsules, which the authority recomputes.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "scheme/capsule.h"
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
  void remove(const Digest& capsule_digest) noexcept;

  const Round& round() const noexcept { return round_; }
  const std::vector<ManifestEntry>& entries() const noexcept { return entries_; }
  std::uint64_t total_weight() const noexcept { return total_weight_; }
  bool unit_weights() const noexcept { return total_weight_ == entries_.size(); }
  /// Hash over round, capsules and weights, independent of the order: names the sum itself.
  Digest digest() const;

  void write(ByteWriter& out) const;
  static Manifest read(ByteReader& in, const Round& round);

 private:
  void append(UploadHead head, std::uint64_t weight);

  Round round_;
  std::vector<ManifestEntry> entries_;
  std::map<Digest, std::uint64_t> capsules_;  // capsule digest -> weight
  std::set<std::uint32_t> clients_;           // of the signed ones
  std::uint64_t total_weight_ = 0;
};

/// What an aggregator sends to the authority.
struct OpeningRequest {
  Manifest manifest;
  Bytes capsule_sum;

  Bytes to_bytes() const;
  /// Signatures are not checked here but by open_sum().
  static OpeningRequest from_bytes(ByteView bytes, const Round& round);
};

/// R = sum omega_k r_k with the name of the sum it decrypts. Move-only; wiped when freed.
class SumKey {
 public:
  SumKey(const Round& round, const Digest& manifest, std::uint64_t count,
         std::uint64_t total_weight, bool exportable, EphemeralKey key);

  const Round& round() const noexcept { return round_; }
  const Digest& manifest() const noexcept { return manifest_; }
  std::uint64_t count() const noexcept { return count_; }
  std::uint64_t total_weight() const noexcept { return total_weight_; }
  /// False for sums with weights other than 1 unless the opener allowed it (rule 3).
  bool exportable() const noexcept { return exportable_; }
  const EphemeralKey& coefficients() const noexcept { return key_; }

  /// @throws RoundError when the key may not leave this process
  Bytes to_bytes() const;
  void save(const std::string& path) const;
  static SumKey from_bytes(ByteView bytes, const Round& round);
  static SumKey load(const std::string& path, const Round& round);

 private:
  Round round_;
  Digest manifest_;
  std::uint64_t count_;
  std::uint64_t total_weight_;
  bool exportable_;
  EphemeralKey key_;
};

/// Opens a sum: all of rule 2. Checks the key, the number of uploads, every signature, every
/// capsule, the aggregator's capsule sum and the ledger, in that order, before anything is
/// revealed.
/// @param allow_export let a key of a weighted sum be serialised (rule 3)
/// @throws KeyMismatchError, RoundError, ParameterError
SumKey open_sum(const SecretKey& secret, const OpeningRequest& request,
                const SignatureVerifier* verifier, bool allow_export);

}  // namespace veilsum::scheme
