// Layer: scheme. The public half of a party's identity, as rosters list it: the keys that check its
// signatures and those that secrets are sealed to. This layer knows its bytes and which of them
// identify nobody; signing, verifying and sealing are done outside the core.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "scheme/kem_key.h"
#include "scheme/verification_key.h"

namespace veilsum::scheme {

/// How a party signs. The number stands at the front of its identity, and in the head of its
/// uploads.
enum class SignatureKind : std::uint8_t {
  kNone = 0,
  kEd25519 = 1,
  kPostQuantum = 2,  ///< Ed25519 and ML-DSA-65 (FIPS 204), of which both must hold
};

/// Bytes of a signature; 0 of none. One of two keys is both, Ed25519's first.
constexpr std::size_t signature_bytes(SignatureKind kind) noexcept {
  constexpr std::size_t ed25519 = 64;
  constexpr std::size_t ml_dsa_65 = 3309;
  return kind == SignatureKind::kNone      ? 0
         : kind == SignatureKind::kEd25519 ? ed25519
                                           : ed25519 + ml_dsa_65;
}

/// What messages call it: "Ed25519", "Ed25519 and ML-DSA-65".
const char* signature_name(SignatureKind kind) noexcept;

/// A signature as it travels: bytes of one of the two lengths.
class Signature {
 public:
  /// @throws ParameterError for another length
  explicit Signature(ByteView bytes);

  SignatureKind kind() const noexcept { return kind_; }
  const Bytes& bytes() const noexcept { return bytes_; }
  friend bool operator==(const Signature& a, const Signature& b) { return a.bytes_ == b.bytes_; }

 private:
  SignatureKind kind_;
  Bytes bytes_;
};

/// Immutable; copies share the bytes. Every object of this type was checked.
class PublicIdentity {
 public:
  /// Bytes of the fields without and with ML-DSA-65.
  static constexpr std::size_t kLeastBytes = 1 + 32 + kEncapsulationKeyBytes + kExchangeKeyBytes;
  static constexpr std::size_t kMostBytes = kLeastBytes + kLatticeVerificationKeyBytes;

  /// @param fields the form in which rosters list it
  /// @throws ParameterError when that is malformed, or a key identifies nobody
  explicit PublicIdentity(ByteView fields);

  SignatureKind kind() const noexcept { return static_cast<SignatureKind>(bytes_->front()); }
  ByteView fields() const noexcept { return *bytes_; }
  /// Names it: a hash of all its keys.
  const Digest& id() const noexcept { return id_; }

  ByteView verification_key() const noexcept { return part(1, 32); }
  ByteView encapsulation_key() const noexcept { return part(33, kEncapsulationKeyBytes); }
  /// Both halves of the KEM key, as HPKE's keys travel here.
  ByteView kem_key() const noexcept { return part(33, kEncapsulationKeyBytes + kExchangeKeyBytes); }
  ByteView exchange_key() const noexcept { return part(1217, kExchangeKeyBytes); }
  /// Empty without ML-DSA-65.
  ByteView lattice_verification_key() const noexcept {
    return part(kLeastBytes, bytes_->size() - kLeastBytes);
  }

  Bytes to_bytes() const;
  /// @throws WireFormatError
  static PublicIdentity from_bytes(ByteView bytes);
  /// Reads the fields, whose first byte tells how many follow.
  /// @throws WireFormatError for a kind that is unknown, or fewer bytes; ParameterError as above
  static PublicIdentity read_fields(ByteReader& in);

  friend bool operator==(const PublicIdentity& a, const PublicIdentity& b) {
    return *a.bytes_ == *b.bytes_;
  }

 private:
  ByteView part(std::size_t at, std::size_t size) const noexcept {
    return ByteView(*bytes_).subspan(at, size);
  }

  std::shared_ptr<const Bytes> bytes_;
  Digest id_{};
};

/// Refuses a list in which two have a key in common, be it only one of several: who lists another's
/// key as its own would be sealed what is the other's, or be signed for by it.
/// @param each, all what messages call one of them and the list
/// @throws ParameterError naming the two places
void check_distinct(const std::vector<PublicIdentity>& list, const char* each = "client",
                    const char* all = "roster");

}  // namespace veilsum::scheme
