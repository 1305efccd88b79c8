// Layer: scheme. The key holder's key pair, to which uploads seal their seeds (sealed_key.h). To
// this layer both halves are bytes with an id; whoever seals and opens knows their structure. The
// secret key also remembers which rounds it has opened, because two different sums of one round
// would give away their difference.
#pragma once

#include <array>
#include <memory>
#include <string>

#include "base/aligned_buffer.h"
#include "base/bytes.h"

namespace veilsum::scheme {

using KeyId = std::array<std::uint8_t, 16>;

/// An ML-KEM-768 encapsulation key (FIPS 203) and an X25519 public key (RFC 7748).
inline constexpr std::size_t kPublicKeyBytes = 1184 + 32;
/// An ML-KEM-768 seed (d, z) and an X25519 private key.
inline constexpr std::size_t kSecretKeyBytes = 64 + 32;

/// Immutable; copies share the bytes.
class PublicKey {
 public:
  /// @throws ParameterError for another length
  explicit PublicKey(ByteView bytes);

  const KeyId& id() const noexcept { return id_; }
  ByteView bytes() const noexcept { return *bytes_; }

  Bytes to_bytes() const;
  static PublicKey from_bytes(ByteView bytes);
  void write_fields(ByteWriter& out) const;
  static PublicKey read_fields(ByteReader& in);

 private:
  std::shared_ptr<const Bytes> bytes_;
  KeyId id_{};
};

/// Remembers which manifest was opened for which round; see opening.h. Thread-safe.
class OpeningLedger;

/// The key holder's secret. Move-only; wiped when freed.
class SecretKey {
 public:
  /// @param secret kSecretKeyBytes, the other half of `public_key`
  SecretKey(ByteView secret, PublicKey public_key);
  SecretKey(SecretKey&&) noexcept;
  SecretKey& operator=(SecretKey&&) noexcept;
  ~SecretKey();

  const KeyId& id() const noexcept { return public_key_.id(); }
  const PublicKey& public_key() const noexcept { return public_key_; }
  ByteView secret() const noexcept { return secret_.span(); }
  OpeningLedger& ledger() const noexcept { return *ledger_; }

  /// The key itself, for a vault. The caller wipes the bytes.
  Bytes to_bytes() const;
  static SecretKey from_bytes(ByteView bytes);
  /// Mode 0600; the ledger lives in `path` + ".opened" from then on.
  void save(const std::string& path);
  /// @throws ParameterError when others can access the file
  static SecretKey load(const std::string& path);

 private:
  SecretBuffer<std::uint8_t> secret_;
  PublicKey public_key_;
  std::unique_ptr<OpeningLedger> ledger_;
};

}  // namespace veilsum::scheme
