// Layer: scheme. The authority's key pair: an RLWE key for capsules. The secret key also remembers
// which rounds it has opened, because two different sums of one round would give away their
// difference.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "base/entropy.h"
#include "ring/ring.h"
#include "scheme/plan.h"

namespace veilsum::scheme {

using KeyId = std::array<std::uint8_t, 16>;

/// b = e - a s in slots, with a expanded from a public seed. Immutable.
class PublicKey {
 public:
  /// @param b_slots [limb][n] in storage order, each below q
  PublicKey(std::shared_ptr<const ring::Ring> ring, const std::array<std::uint8_t, 32>& seed,
            AlignedBuffer<std::uint64_t> b_slots);

  const KeyId& id() const noexcept { return id_; }
  const ring::Ring& ring() const noexcept { return *ring_; }
  /// Multipliers by a and b for capsules.
  const ring::SlotMultiplier& a() const noexcept { return *a_; }
  const ring::SlotMultiplier& b() const noexcept { return *b_; }

  Bytes to_bytes() const;
  static PublicKey from_bytes(ByteView bytes);
  void write_fields(ByteWriter& out) const;
  static PublicKey read_fields(ByteReader& in);

 private:
  std::shared_ptr<const ring::Ring> ring_;
  Bytes fields_;
  std::shared_ptr<const ring::SlotMultiplier> a_;
  std::shared_ptr<const ring::SlotMultiplier> b_;
  KeyId id_{};
};

/// Remembers which manifest was opened for which round; see opening.h. Thread-safe.
class OpeningLedger;

/// The authority's secret. Move-only; wiped when freed.
class SecretKey {
 public:
  /// Derives s and e from `key_seed`, a from `public_seed`.
  SecretKey(std::shared_ptr<const ring::Ring> ring, const Seed& key_seed,
            const std::array<std::uint8_t, 32>& public_seed);
  SecretKey(SecretKey&&) noexcept;
  SecretKey& operator=(SecretKey&&) noexcept;
  ~SecretKey();

  const KeyId& id() const noexcept { return public_key_.id(); }
  const PublicKey& public_key() const noexcept { return public_key_; }
  const ring::Ring& ring() const noexcept { return *ring_; }
  /// Multiplier by -s.
  const ring::SlotMultiplier& minus_s() const noexcept { return minus_s_; }
  OpeningLedger& ledger() const noexcept { return *ledger_; }

  /// The key itself, for a vault. The caller wipes the bytes.
  Bytes to_bytes() const;
  static SecretKey from_bytes(ByteView bytes);
  /// Mode 0600; the ledger lives in `path` + ".opened" from then on.
  void save(const std::string& path);
  /// @throws ParameterError when others can access the file
  static SecretKey load(const std::string& path);

 private:
  std::shared_ptr<const ring::Ring> ring_;
  Seed key_seed_;
  std::array<std::uint8_t, 32> public_seed_;
  ring::SlotMultiplier minus_s_;
  PublicKey public_key_;
  std::unique_ptr<OpeningLedger> ledger_;
};

/// A fresh key for the plan's capsule ring, from the operating system's randomness.
SecretKey generate_key(const Plan& plan);

}  // namespace veilsum::scheme
