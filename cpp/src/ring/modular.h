// Layer: ring. Arithmetic modulo one prime q < 2^48: set-up arithmetic (any time), and the few
// constant-time operations that touch secrets outside the kernels.
#pragma once

#include <cstdint>

#include "isa/kernels.h"

namespace veilsum::ring {

__extension__ typedef unsigned __int128 uint128;

/// a * b mod q. Not constant-time: public values only.
inline std::uint64_t mul_mod(std::uint64_t a, std::uint64_t b, std::uint64_t q) noexcept {
  return static_cast<std::uint64_t>(static_cast<uint128>(a) * b % q);
}

/// base^exponent mod q. Public values only.
inline std::uint64_t pow_mod(std::uint64_t base, std::uint64_t exponent, std::uint64_t q) noexcept {
  std::uint64_t result = 1 % q;
  base %= q;
  for (; exponent != 0; exponent >>= 1) {
    if (exponent & 1) result = mul_mod(result, base, q);
    base = mul_mod(base, base, q);
  }
  return result;
}

/// a^-1 mod q for prime q and a != 0 mod q (Fermat). Public values only.
inline std::uint64_t inverse_mod(std::uint64_t a, std::uint64_t q) noexcept {
  return pow_mod(a, q - 2, q);
}

/// Shoup companion floor(w * 2^52 / q) of w < q. Public values only.
inline std::uint64_t shoup_companion(std::uint64_t w, std::uint64_t q) noexcept {
  return static_cast<std::uint64_t>((static_cast<uint128>(w) << 52) / q);
}

/// What kernels need of q, 2^48 - 2^24 < q < 2^48.
inline isa::Modulus make_modulus(std::uint64_t q) noexcept {
  return {q, (std::uint64_t{1} << isa::kPrimeBits) - q};
}

/// All ones when the top bit of `x` is set, else zero. Constant-time: the empty assembly keeps a
/// compiler from seeing that the mask is one bit and turning its uses into a branch (clang 16
/// does).
inline std::uint64_t sign_mask(std::uint64_t x) noexcept {
  auto mask = static_cast<std::uint64_t>(static_cast<std::int64_t>(x) >> 63);
  __asm__("" : "+r"(mask));
  return mask;
}

/// x in [0, 2q) -> [0, q). Constant-time.
inline std::uint64_t reduce_once(std::uint64_t x, std::uint64_t q) noexcept {
  const std::uint64_t d = x - q;
  return d + (q & sign_mask(d));
}

/// x * w mod q in [0, 2q) for x < 2^52 and a companion of w < q (Harvey 2014). Constant-time.
inline std::uint64_t mul_shoup_lazy(std::uint64_t x, std::uint64_t w, std::uint64_t w_shoup,
                                    std::uint64_t q) noexcept {
  const auto h = static_cast<std::uint64_t>((static_cast<uint128>(x) * w_shoup) >> 52);
  return x * w - h * q;
}

/// Shoup companion of a secret w < q, without a division.
/// With mu = floor(2^110 / q) < 2^63, floor(w * mu / 2^58) is the companion or one less: the
/// truncation of mu loses w / 2^58 < 2^-10 and the final floor less than one, so one masked
/// correction settles it. Constant-time.
inline std::uint64_t shoup_companion_secret(std::uint64_t w, std::uint64_t q) noexcept {
  const auto mu = static_cast<std::uint64_t>((static_cast<uint128>(1) << 110) / q);
  auto estimate = static_cast<std::uint64_t>((static_cast<uint128>(w) * mu) >> 58);
  const std::uint64_t remainder = (w << 52) - estimate * q;  // modulo 2^64; true value in [0, 2q)
  const std::uint64_t below = sign_mask(remainder - q);
  return estimate + 1 + below;
}

/// Small signed v, |v| < q, as a residue. Constant-time.
inline std::uint64_t residue_of(std::int64_t v, std::uint64_t q) noexcept {
  const auto u = static_cast<std::uint64_t>(v);
  return u + (q & sign_mask(u));
}

}  // namespace veilsum::ring
