// Layer: scheme. Ed25519 verification keys (RFC 8032) as rosters list them: 32 bytes, and which of
// them identify nobody. Signatures are checked by a verifier from outside, most of which, the
// RFC's own procedure included, accept such keys.
#pragma once

#include <array>
#include <cstdint>

namespace veilsum::scheme {

using VerificationKey = std::array<std::uint8_t, 32>;

/// Why a key identifies nobody, as the rest of a sentence that begins with the key; null when it
/// does not.
/// - One of the eight points of small order: with key 01 00 ... 00 the signature 01 00 ... 00 holds
///   for every message, so anybody signs for that client.
/// - A y coordinate that is not below p = 2^255 - 19: another spelling of a key, so one client
///   could stand in a roster twice.
/// Curve membership is not checked: no signature holds under a key that is no point.
const char* weakness(const VerificationKey& key) noexcept;

}  // namespace veilsum::scheme
