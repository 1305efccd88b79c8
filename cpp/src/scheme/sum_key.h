// Layer: scheme. What decrypts one sum and nothing else. Of the native engine it is the sum of the
// upload keys; of another, bytes that its cipher made, which mean nothing here.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "ring/tag_hash.h"
#include "scheme/blocks_check.h"
#include "scheme/round.h"
#include "scheme/sealed_key.h"

namespace veilsum::scheme {

/// Whether a sum's key is bound to the aggregate's blocks, and not only to its manifest: where
/// there is no tag. Whoever gets results of an unbound key could have any blocks decrypted: what
/// weighted uploads' keys make of a few such shows every upload's key, and a plain sum's the sum
/// itself. Who asks to open such a sum without showing its blocks, members' requests included,
/// names their digest.
bool names_blocks(const Round& round) noexcept;

/// A sum key with the name of the sum it decrypts. Move-only; wiped when freed.
///
/// Where names_blocks() says so it has just one of two: the digest of the blocks, which is all that
/// a request and a certificate say of them, or, of a key holder that had them in hand, their keyed
/// hash, which decryption checks in its own pass over them.
class SumKey {
 public:
  /// R_i = sum omega_k r_(k,i), one for each upload key.
  /// @param keys [upload_keys][N], each within 8 * total_weight
  /// @param tag the sum of the uploads' tags, where the round has any
  /// @param blocks_digest of the aggregate's blocks, where names_blocks() says so and there is no
  ///        check; of a committee's sum always
  /// @param blocks_check of the aggregate's blocks, where names_blocks() says so and there is no
  ///        digest
  SumKey(const Round& round, const Digest& manifest, std::uint64_t count,
         std::uint64_t total_weight, bool exportable, KeyCoefficients keys,
         std::optional<ring::TagSum> tag = std::nullopt,
         std::optional<Digest> blocks_digest = std::nullopt,
         std::optional<BlocksCheck> blocks_check = std::nullopt);
  /// Of another engine. Such a key holds nothing of any single upload.
  /// @throws ParameterError, both: for a count or a weight that no sum of the round has
  SumKey(const Round& round, const Digest& manifest, std::uint64_t count,
         std::uint64_t total_weight, SecretBuffer<std::uint8_t> body);

  const Round& round() const noexcept { return round_; }
  const Digest& manifest() const noexcept { return manifest_; }
  std::uint64_t count() const noexcept { return count_; }
  std::uint64_t total_weight() const noexcept { return total_weight_; }
  /// False for sums with weights other than 1 unless the opener allowed it (rule 3).
  bool exportable() const noexcept { return exportable_; }
  /// Empty for another engine than the native one.
  const KeyCoefficients& coefficients() const noexcept { return keys_; }
  /// The sum of the uploads' masked tags; null where the round has none.
  const ring::TagSum* tag() const noexcept { return tag_ ? &*tag_ : nullptr; }
  /// Of the only blocks that it decrypts; nothing where it is not bound to blocks so.
  const std::optional<Digest>& blocks_digest() const noexcept { return blocks_digest_; }
  const BlocksCheck* blocks_check() const noexcept {
    return blocks_check_ ? &*blocks_check_ : nullptr;
  }
  /// The same key, of one that is bound by a digest, for whoever reads the blocks twice, once for
  /// the digest and once for the numbers: with the key of a hash (its value is 0) by which both
  /// readings are known to be the same. Derived from R, so that a run that goes on finds it again;
  /// whoever could make two readings of one hash holds R. It never leaves the process.
  SumKey for_two_readings() const;
  /// Empty for the native engine.
  std::span<const std::uint8_t> body() const noexcept { return body_.span(); }

  /// @throws RoundError when the key may not leave this process
  Bytes to_bytes() const;
  void save(const std::string& path) const;
  static SumKey from_bytes(ByteView bytes, const Round& round);
  static SumKey load(const std::string& path, const Round& round);

 private:
  void check_counts() const;
  void check_binding() const;
  SecretBuffer<std::uint8_t> pack_coefficients() const;
  static KeyCoefficients unpack_coefficients(ByteReader& in, const Round& round,
                                             std::uint64_t total_weight);

  Round round_;
  Digest manifest_;
  std::uint64_t count_;
  std::uint64_t total_weight_;
  bool exportable_;
  KeyCoefficients keys_;
  std::optional<ring::TagSum> tag_;
  std::optional<Digest> blocks_digest_;
  std::optional<BlocksCheck> blocks_check_;
  SecretBuffer<std::uint8_t> body_;
};

}  // namespace veilsum::scheme
