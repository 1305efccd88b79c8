// Layer: scheme. An upload's keys: all of them come from one 32-byte seed, and that seed travels
// sealed to the key holder (HPKE, RFC 9180, with ML-KEM-768 + X25519). This layer knows what is
// sealed and in which context; the sealing itself is the caller's, as signatures are.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "base/aligned_buffer.h"
#include "base/entropy.h"
#include "scheme/upload.h"

namespace veilsum::scheme {

/// Seals a seed; supplied by the caller (the Python package uses `cryptography`).
class Sealer {
 public:
  virtual ~Sealer() = default;
  /// @param key the key holder's public key, kPublicKeyBytes
  /// @param info the context, bound to the sealed bytes
  /// @return kSealedKeyBytes, randomised
  virtual Bytes seal(ByteView key, ByteView info, ByteView seed) const = 0;
};

/// Opens sealed seeds; supplied by the caller.
class Opener {
 public:
  virtual ~Opener() = default;
  /// @return false when `sealed` was not made for this key and context; `seed` is then unspecified
  virtual bool open(ByteView key, ByteView info, ByteView sealed, Seed& seed) const = 0;
};

/// What a sealed seed is bound to: the round, the upload's nonce, the key holder.
Bytes sealing_info(const Round& round, const Nonce& nonce);

/// @throws ParameterError when the sealer gives anything but kSealedKeyBytes
CipherPart seal_key(const Round& round, const Nonce& nonce, const Seed& seed, const Sealer& sealer);

/// Polynomials with small coefficients, one after the other: [keys][N].
using KeyCoefficients = SecretBuffer<std::int64_t>;

/// Label of the expander that gives an upload's keys and errors; its context is the round's id.
inline constexpr char kUploadLabel[] = "veilsum/2/upload";

/// The round's upload_keys() keys of one upload, coefficients in [-8, 8]. Constant-time in the
/// seed.
KeyCoefficients expand_keys(const Round& round, const Seed& seed);

}  // namespace veilsum::scheme
