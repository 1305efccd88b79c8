// Layer: scheme. The largest log2 Q that a ring degree may carry at a security level.
//
// Two published tables for ternary secrets and classical attacks, of which the stricter entry
// counts: the Homomorphic Encryption Standard (Albrecht et al., 2018, table 1) and Bossuat et al.,
// "Security Guidelines for Implementing Homomorphic Encryption" (ePrint 2024/463, table 5.2).
// Both are for ternary secrets (sigma 0.82) under errors of sigma 3.19. Veilsum's secrets and
// errors are centred binomial of width 8, sigma 2 each. Lattice attacks scale the secret's half of
// their lattice by the ratio of the two, so that what counts is the product of the widths: 4
// against 2.6, and no attack on ternary secrets' few values applies. The tables are therefore on
// the safe side.
#pragma once

#include <cstdint>

namespace veilsum::scheme {

/// Largest admissible log2 Q, or 0 when the tables have no entry.
/// @param degree ring degree N
/// @param security 128, 192 or 256 bits
std::uint32_t max_log2_modulus(std::uint32_t degree, std::uint32_t security) noexcept;

}  // namespace veilsum::scheme
