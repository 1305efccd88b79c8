// Layer: scheme. An upload's keys: all of them come from one 32-byte seed. It travels sealed to the
// key holder, or shares of the keys travel sealed to the members of a committee (HPKE, RFC 9180,
// with ML-KEM-768 + X25519). This layer knows what is sealed and in which context; the sealing
// itself is the caller's, as signatures are.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "base/aligned_buffer.h"
#include "base/entropy.h"
#include "ring/tag_hash.h"
#include "scheme/upload.h"

namespace veilsum::scheme {

/// Seals secrets; supplied by the caller (the Python package uses `cryptography`).
class Sealer {
 public:
  virtual ~Sealer() = default;
  /// @param key a public KEM key: of the key holder, a member or a reader
  /// @param info the context, bound to the sealed bytes
  /// @return kSealBytes more than the secret, randomised
  virtual Bytes seal(ByteView key, ByteView info, ByteView secret) const = 0;
};

/// Opens sealed secrets; supplied by the caller.
class Opener {
 public:
  virtual ~Opener() = default;
  /// @param key the secret key; empty where the opener knows its own
  /// @param secret receives what was sealed, which has to be of just this size
  /// @return false when `sealed` was not made for this key and context; `secret` is then
  ///         unspecified
  virtual bool open(ByteView key, ByteView info, ByteView sealed,
                    std::span<std::uint8_t> secret) const = 0;
};

/// What an upload's sealed secrets are bound to: the round, who uploads, the upload's nonce, and
/// who is to open them.
/// @param client kNoClient in a round without a roster
Bytes sealing_info(const Round& round, std::uint32_t client, const Nonce& nonce);
/// The same for a committee's member.
Bytes sealing_info(const Round& round, std::uint32_t client, const Nonce& nonce,
                   std::uint32_t member);
inline constexpr std::uint32_t kNoClient = ~std::uint32_t{0};
/// The client of a head.
inline std::uint32_t client_of(const UploadHead& head) noexcept {
  return head.signature ? head.signature->client : kNoClient;
}

/// Seals an upload's seed to the round's key holder, or shares of its keys to the members of its
/// committee, and its tag with them, and sets the head's part.
/// @param head with its nonce
/// @param client as sealing_info()
/// @param tag the upload's, masked; null where the round has none
/// @throws ParameterError when the sealer gives anything of another length
/// @throws RoundError when the round has a roster and there is no client of it
void seal_secrets(const Round& round, std::uint32_t client, const Seed& seed,
                  const ring::TagSum* tag, const Sealer& sealer, UploadHead& head);

/// Polynomials with small coefficients, one after the other: [keys][N].
using KeyCoefficients = SecretBuffer<std::int64_t>;

/// Label of the expander that gives an upload's keys and errors; its context is the round's id.
inline constexpr char kUploadLabel[] = "veilsum/2/upload";

/// The round's upload_keys() keys of one upload, coefficients in [-8, 8]. Constant-time in the
/// seed.
KeyCoefficients expand_keys(const Round& round, const Seed& seed);

}  // namespace veilsum::scheme
