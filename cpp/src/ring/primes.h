// Layer: ring. The four primes of all rings: the largest below 2^50 that are 1 mod 2^15, so that
// X^N + 1 splits for every N up to 2^14. One set for all profiles keeps tables and tests few.
#pragma once

#include <array>
#include <cstdint>

namespace veilsum::ring {

inline constexpr std::uint32_t kMaxDegree = 1u << 14;
inline constexpr std::array<std::uint64_t, 4> kPrimes = {1125899904679937ull, 1125899903991809ull,
                                                         1125899903827969ull, 1125899903795201ull};

/// Deterministic Miller-Rabin for 64-bit numbers (first twelve primes as bases; Sorenson and
/// Webster 2015 prove this enough below 3.3e24).
bool is_prime(std::uint64_t n) noexcept;

/// The 2n-th root of unity psi that the transforms use: for the smallest g >= 2 for which
/// r = g^((q-1)/2n) has r^n = -1 mod q, psi = r.
std::uint64_t primitive_root_of_unity(std::uint64_t q, std::uint32_t n);

}  // namespace veilsum::ring
