// Layer: scheme. The key holder's key pair, of any engine; to the native one's, uploads seal their
// seeds (sealed_key.h). To this layer both halves are bytes with an id; whoever seals and opens
// knows their structure. The secret key also remembers which rounds it has opened, because two
// different sums of one round would give away their difference.
#pragma once

#include <array>
#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/bytes.h"
#include "base/process.h"
#include "scheme/cipher.h"

namespace veilsum::scheme {

using KeyId = std::array<std::uint8_t, 16>;

/// Of the native engine: an ML-KEM-768 encapsulation key (FIPS 203) and an X25519 public key
/// (RFC 7748).
inline constexpr std::size_t kPublicKeyBytes = 1184 + 32;
/// An ML-KEM-768 seed (d, z) and an X25519 private key.
inline constexpr std::size_t kSecretKeyBytes = 64 + 32;

/// Immutable; copies share the bytes.
class PublicKey {
 public:
  /// Of the native engine.
  /// @throws ParameterError for another length
  explicit PublicKey(ByteView body) : PublicKey(Engine::kNative, body, {}) {}
  /// @param parts the keys of the parties that had their turn before, in order, for an engine whose
  ///        key holders share one key; each of their secret keys takes part in opening
  /// @throws ParameterError for another length, or more parts, than the engine has
  PublicKey(Engine engine, ByteView body, std::vector<KeyId> parts);

  Engine engine() const noexcept { return engine_; }
  const KeyId& id() const noexcept { return id_; }
  ByteView body() const noexcept { return *body_; }
  const std::vector<KeyId>& parts() const noexcept { return parts_; }

  Bytes to_bytes() const;
  static PublicKey from_bytes(ByteView bytes);
  void write_fields(ByteWriter& out) const;
  /// The same bytes, alone.
  Bytes fields() const;
  static PublicKey read_fields(ByteReader& in);

 private:
  Engine engine_;
  std::vector<KeyId> parts_;
  std::shared_ptr<const Bytes> body_;
  KeyId id_{};
};

/// Remembers which manifest was opened for which round; see opening.h. Thread-safe.
class OpeningLedger;

/// What a cipher made for one opening that it must not make twice. Thread-safe.
class LastOpening {
 public:
  /// Openings that failed and may be tried again, at most: the oldest is forgotten, and is then
  /// refused as one that was made.
  static constexpr std::size_t kMostAllowed = 64;

  /// The bytes that were made for `what`, or those that `make` gives now.
  /// @param may_make throws when nothing may be made any more
  /// @throws RoundError when `make` itself comes back here on its own thread
  SecretBuffer<std::uint8_t> get(const Digest& what, const std::function<void()>& may_make,
                                 const std::function<SecretBuffer<std::uint8_t>()>& make);

 private:
  std::mutex guard_;                     // held while something is made, which may take seconds
  std::atomic<std::thread::id> making_;  // whose thread holds it
  const ProcessMark process_;
  std::optional<Digest> what_;
  std::deque<Digest> allowed_;  // what may still be made: making it failed, and gave nothing out
  SecretBuffer<std::uint8_t> made_;
};

/// The key holder's secret. Move-only; wiped when freed.
class SecretKey {
 public:
  /// @param secret the other half of `public_key`; kSecretKeyBytes of the native engine
  SecretKey(ByteView secret, PublicKey public_key);
  SecretKey(SecretKey&&) noexcept;
  SecretKey& operator=(SecretKey&&) noexcept;
  ~SecretKey();

  const KeyId& id() const noexcept { return public_key_.id(); }
  const PublicKey& public_key() const noexcept { return public_key_; }
  ByteView secret() const noexcept { return secret_.span(); }
  /// Whether this key opens what is encrypted to `key`, alone or as a party's.
  bool opens(const PublicKey& key) const noexcept;
  OpeningLedger& ledger() const noexcept { return *ledger_; }
  LastOpening& last_opening() const noexcept { return *last_; }

  /// The key itself, for a vault. The caller wipes the bytes.
  Bytes to_bytes() const;
  /// What it opened before is not known then.
  static SecretKey from_bytes(ByteView bytes);
  /// Mode 0600. The first time the ledger's file is made, `path` + ".opened"; it stays the ledger
  /// when the key is saved elsewhere too, and what stands beside the other file is a link to it.
  /// @throws as OpeningLedger::keep_at(); std::system_error
  void save(const std::string& path);
  /// A key that was saved has a ledger: without it, it is not loaded.
  /// @throws ParameterError when others can access the file, or it has several names (hard links)
  /// @throws as OpeningLedger::attach()
  static SecretKey load(const std::string& path);

 private:
  SecretBuffer<std::uint8_t> secret_;
  PublicKey public_key_;
  std::unique_ptr<OpeningLedger> ledger_;
  std::unique_ptr<LastOpening> last_;
};

}  // namespace veilsum::scheme
