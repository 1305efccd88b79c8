// Layer: scheme. What decrypts one sum and nothing else. Of the native engine it is the sum of the
// upload keys; of another, bytes that its cipher made, which mean nothing here.
#pragma once

#include <cstdint>
#include <string>

#include "scheme/round.h"
#include "scheme/sealed_key.h"

namespace veilsum::scheme {

/// A sum key with the name of the sum it decrypts. Move-only; wiped when freed.
class SumKey {
 public:
  /// R_i = sum omega_k r_(k,i), one for each upload key.
  /// @param keys [upload_keys][N], each within 8 * total_weight
  SumKey(const Round& round, const Digest& manifest, std::uint64_t count,
         std::uint64_t total_weight, bool exportable, KeyCoefficients keys);
  /// Of another engine. Such a key holds nothing of any single upload.
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
  /// Empty for the native engine.
  std::span<const std::uint8_t> body() const noexcept { return body_.span(); }

  /// @throws RoundError when the key may not leave this process
  Bytes to_bytes() const;
  void save(const std::string& path) const;
  static SumKey from_bytes(ByteView bytes, const Round& round);
  static SumKey load(const std::string& path, const Round& round);

 private:
  SecretBuffer<std::uint8_t> pack_coefficients() const;
  static KeyCoefficients unpack_coefficients(ByteReader& in, const Round& round,
                                             std::uint64_t total_weight);

  Round round_;
  Digest manifest_;
  std::uint64_t count_;
  std::uint64_t total_weight_;
  bool exportable_;
  KeyCoefficients keys_;
  SecretBuffer<std::uint8_t> body_;
};

}  // namespace veilsum::scheme
