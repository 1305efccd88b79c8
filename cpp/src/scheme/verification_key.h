// Layer: scheme. The keys that check an identity's signatures, Ed25519 (RFC 8032) and ML-DSA-65
// (FIPS 204), and which bytes identify nobody. Signatures are checked by a verifier from outside,
// most of which, the standards' own procedures included, accept such keys.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/bytes.h"

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

/// Of ML-DSA-65.
inline constexpr std::size_t kLatticeVerificationKeyBytes = 1952;

/// The same of an ML-DSA-65 key: one whose coefficients t1 are all 0 or 1023, so that t is about 0
/// and anybody signs. Buffers of zeros and of ones, which nobody filled, are such keys. Others that
/// somebody else can sign for exist, as for every scheme; only who makes one on purpose has one.
/// @param key kLatticeVerificationKeyBytes
const char* weakness_of_lattice_key(ByteView key) noexcept;

}  // namespace veilsum::scheme
