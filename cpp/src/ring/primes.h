// Layer: ring. The four primes of all rings: the largest below 2^48 that are 1 mod 2^16, so that
// X^N + 1 splits for every N up to 2^15. One set for all profiles keeps tables and tests few. All
// have 2^48 - q < 2^24: `round` and `lift` (isa/kernels.h) rest on it.
#pragma once

#include <array>
#include <cstdint>

namespace veilsum::ring {

inline constexpr std::uint32_t kMaxDegree = 1u << 15;
inline constexpr std::array<std::uint64_t, 4> kPrimes = {281474976317441ull, 281474975662081ull,
                                                         281474974482433ull, 281474972188673ull};

/// Deterministic Miller-Rabin for 64-bit numbers (first twelve primes as bases; Sorenson and
/// Webster 2015 prove this enough below 3.3e24).
bool is_prime(std::uint64_t n) noexcept;

/// The 2n-th root of unity psi that the transforms use: for the smallest g >= 2 for which
/// r = g^((q-1)/2n) has r^n = -1 mod q, psi = r.
std::uint64_t primitive_root_of_unity(std::uint64_t q, std::uint32_t n);

}  // namespace veilsum::ring
