// Layer: scheme. The aggregate as the key holder sees it, and its opening. An opening request holds
// no blocks: it is the manifest, who contributed with which weight, their sealed keys and
// signatures.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "scheme/keys.h"
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
  /// Hash over round, sealed keys and weights, independent of the order: names the sum itself.
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

/// What an aggregator sends to the key holder.
struct OpeningRequest {
  Manifest manifest;

  Bytes to_bytes() const;
  /// Signatures are not checked here but by open_sum().
  static OpeningRequest from_bytes(ByteView bytes, const Round& round);
};

/// R_i = sum omega_k r_(k,i), one for each upload key, with the name of the sum they decrypt.
/// Move-only; wiped when freed.
class SumKey {
 public:
  SumKey(const Round& round, const Digest& manifest, std::uint64_t count,
         std::uint64_t total_weight, bool exportable, KeyCoefficients keys);

  const Round& round() const noexcept { return round_; }
  const Digest& manifest() const noexcept { return manifest_; }
  std::uint64_t count() const noexcept { return count_; }
  std::uint64_t total_weight() const noexcept { return total_weight_; }
  /// False for sums with weights other than 1 unless the opener allowed it (rule 3).
  bool exportable() const noexcept { return exportable_; }
  /// [upload_keys][N], each within 8 * total_weight.
  const KeyCoefficients& coefficients() const noexcept { return keys_; }

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
  KeyCoefficients keys_;
};

/// Opens a sum: all of rule 2. Checks the key, the number of uploads, every signature, every sealed
/// key and the ledger, in that order, before anything is revealed.
/// @param allow_export let a key of a weighted sum be serialised (rule 3)
/// @throws KeyMismatchError, RoundError, ParameterError
SumKey open_sum(const SecretKey& secret, const OpeningRequest& request, const Opener& opener,
                const SignatureVerifier* verifier, bool allow_export);

}  // namespace veilsum::scheme
