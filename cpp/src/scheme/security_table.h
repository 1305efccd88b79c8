// Layer: scheme. The largest log2 Q that a ring degree may carry at a security level.
//
// Two published tables for ternary secrets and classical attacks, of which the stricter entry
// counts: the Homomorphic Encryption Standard (Albrecht et al., 2018, table 1) and Bossuat et al.,
// "Security Guidelines for Implementing Homomorphic Encryption" (ePrint 2024/463, table 5.2).
// Veilsum's secrets are centred binomial with sigma = 3.24, which is never weaker than ternary.
#pragma once

#include <cstdint>

namespace veilsum::scheme {

/// Largest admissible log2 Q, or 0 when the tables have no entry.
/// @param degree ring degree N
/// @param security 128, 192 or 256 bits
std::uint32_t max_log2_modulus(std::uint32_t degree, std::uint32_t security) noexcept;

}  // namespace veilsum::scheme
