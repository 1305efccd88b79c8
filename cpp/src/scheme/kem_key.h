// Layer: scheme. The KEM key of an identity as rosters list it: an ML-KEM-768 encapsulation key
// (FIPS 203) and an X25519 public key (RFC 7748), and which bytes are none that protect a secret.
// Sealing itself is done outside the core.
#pragma once

#include <cstddef>

#include "base/bytes.h"

namespace veilsum::scheme {

inline constexpr std::size_t kEncapsulationKeyBytes = 1184;
inline constexpr std::size_t kExchangeKeyBytes = 32;

/// Why bytes are no ML-KEM-768 encapsulation key, as the rest of a sentence that begins with the
/// key; null when they are one.
/// - A coefficient of 3329 or more: FIPS 203, section 7.2, has it checked before use.
/// - Coefficients that are all 0: anybody decapsulates. Buffers that nobody filled look so.
/// @param key kEncapsulationKeyBytes
const char* weakness_of_encapsulation_key(ByteView key) noexcept;

/// The same of an X25519 public key.
/// - A point of low order, on the curve or its twist: the shared secret is 0 for everybody.
/// - A coordinate that is not below p = 2^255 - 19, or has the top bit set, which X25519 ignores:
///   another spelling of a key, so one key could stand in a roster twice.
/// @param key kExchangeKeyBytes
const char* weakness_of_exchange_key(ByteView key) noexcept;

}  // namespace veilsum::scheme
