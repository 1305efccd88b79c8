// Layer: isa, scalar level. Declares the portable kernels that table.cpp collects, and the few
// word-sized helpers they share. Every helper has internal linkage. Constant time rests on three
// rules: no branch, no table index and no division depends on a secret; selections are arithmetic
// (opaque sign masks), because a compiler may turn `x < q ? a : b` into a branch; and products of
// 64-bit words are assumed to take the same time for every operand, as they do on current 64-bit
// processors.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "isa/kernels.h"

namespace veilsum::isa::scalar {

void aes_encrypt_blocks(const AesKey& key, const std::uint8_t* in, std::uint8_t* out,
                        std::size_t blocks);
void aes_ctr(const AesKey& key, std::uint64_t index, std::uint64_t first_counter, std::uint8_t* out,
             std::size_t blocks);
void sha256_compress(std::uint32_t state[8], const std::uint8_t* data, std::size_t blocks);
void sha256_compress_lanes(std::uint32_t state[8][kHashLanes],
                           const std::uint8_t* const data[kHashLanes], std::size_t blocks);
std::uint32_t crc32c(std::uint32_t crc, const std::uint8_t* data, std::size_t bytes);
void ntt_forward(std::uint64_t* a, const NttView& view);
void ntt_inverse_lazy(std::uint64_t* a, const NttView& view);
void expand_uniform(const AesKey& key, std::uint64_t index, const Modulus& modulus, std::size_t n,
                    std::uint64_t* out);
void multiply_slots(const std::uint64_t* a, const std::uint64_t* slots,
                    const std::uint64_t* companions, const Modulus& modulus, std::size_t n,
                    std::uint64_t* out);
void multiply_inverse(const MultiplyInverse& args);
void sample_cbd(const AesKey& key, std::uint64_t index, std::size_t n, std::int8_t* out);
void encrypt_block(const EncryptBlock& args);
void make_pad(const MakePad& args);
void encrypt_from_pad(const EncryptFromPad& args);
bool decrypt_block(const DecryptBlock& args);
bool noise_in_bounds(const NoiseCheck& args);
QuantiseResult quantise(const Quantise& args);
bool dequantise(const Dequantise& args);
void tag_run(const TagRun& args, std::uint64_t out[kTagEvaluations]);
void sum_fields(const SumFields& args);
void pack_fields(const std::uint64_t* in, std::size_t coefficients, const FieldTable& table,
                 std::uint8_t* out);
void unpack_fields(const std::uint8_t* in, std::size_t coefficients, const FieldTable& table,
                   std::uint64_t* out);

// --- shared helpers, internal linkage -----------------------------------------------------------

__extension__ typedef unsigned __int128 Uint128;

/// All ones when bit 63 of x is set, else zero. The empty asm hides from the compiler that there
/// are only two values: Clang 16 rebuilds a minimum from plain masks and then makes a branch of it.
static inline std::uint64_t sign_mask(std::uint64_t x) {
  std::uint64_t mask = static_cast<std::uint64_t>(static_cast<std::int64_t>(x) >> 63);
  __asm__("" : "+r"(mask));
  return mask;
}

/// x in [0, 2m) -> x mod m, for m < 2^62.
static inline std::uint64_t subtract_if_above(std::uint64_t x, std::uint64_t m) {
  const std::uint64_t difference = x - m;
  return difference + (m & sign_mask(difference));
}

/// x * w mod q in [0, 2q), for any x < 2^52 and w < q with companion floor(w * 2^52 / q).
/// Harvey 2014, section 2: h = floor(x w' / 2^52) is floor(x w / q) or one less, so the difference
/// below, taken modulo 2^64, is the exact lazy product.
static inline std::uint64_t multiply_lazy(std::uint64_t x, std::uint64_t w, std::uint64_t w_shoup,
                                          std::uint64_t q) {
  const std::uint64_t h = static_cast<std::uint64_t>((static_cast<Uint128>(x) * w_shoup) >> 52);
  return x * w - h * q;
}

/// x mod q in [0, 2q), for any x < 2^52 (the words that hold 16 q): 2^48 = delta mod q, so the high
/// bits h < 16 are worth h * delta < 2^28, and 2^48 + 2^28 < 2q.
static inline std::uint64_t reduce_lazy(std::uint64_t x, const Modulus& modulus) {
  constexpr std::uint64_t kPrimeMask = (std::uint64_t{1} << kPrimeBits) - 1;
  return (x & kPrimeMask) + (x >> kPrimeBits) * modulus.delta;
}

/// x mod q in [0, q), for any x < 2^52.
static inline std::uint64_t reduce(std::uint64_t x, const Modulus& modulus) {
  return subtract_if_above(reduce_lazy(x, modulus), modulus.q);
}

inline constexpr unsigned kWordBits = 52;
inline constexpr std::uint64_t kWordMask = (std::uint64_t{1} << kWordBits) - 1;

static inline std::uint64_t load64(const std::uint8_t* p) {
  std::uint64_t x;
  std::memcpy(&x, p, sizeof x);
  return x;
}

static inline void store64(std::uint8_t* p, std::uint64_t x) { std::memcpy(p, &x, sizeof x); }

/// Eight words below 2^bits -> `bits` bytes. Words of 64 bits are filled from below; which bits go
/// where depends on the width alone.
static inline void pack_group(const std::uint64_t c[kGroup], std::uint32_t bits,
                              std::uint8_t* out) {
  std::uint64_t word = 0;
  std::uint32_t filled = 0;
  for (std::size_t i = 0; i < kGroup; ++i) {
    word |= c[i] << filled;
    filled += bits;
    if (filled >= 64) {
      store64(out, word);
      out += 8;
      filled -= 64;
      word = filled == 0 ? 0 : c[i] >> (bits - filled);
    }
  }
  for (; filled != 0; filled -= 8, word >>= 8) *out++ = static_cast<std::uint8_t>(word);
}

/// `bits` bytes -> eight words below 2^bits. Reads exactly those bytes.
static inline void unpack_group(const std::uint8_t* in, std::uint32_t bits,
                                std::uint64_t c[kGroup]) {
  std::uint64_t words[kWordBits / 8 + 1] = {};
  std::memcpy(words, in, bits);
  const std::uint64_t mask = (std::uint64_t{1} << bits) - 1;
  for (std::uint32_t i = 0; i < kGroup; ++i) {
    const std::uint32_t word = i * bits / 64;
    const std::uint32_t from = i * bits % 64;
    std::uint64_t field = words[word] >> from;
    if (from + bits > 64) field |= words[word + 1] << (64 - from);
    c[i] = field & mask;
  }
}

/// One CBD sample from two keystream bytes: popcount(first) - popcount(second), in [-8, 8]. Both
/// counts in one word by the usual halving sums; a library popcount may index a table.
static inline std::int64_t cbd_from_bytes(std::uint8_t first, std::uint8_t second) {
  std::uint32_t x = static_cast<std::uint32_t>(first) | static_cast<std::uint32_t>(second) << 16;
  x = x - ((x >> 1) & 0x55555555u);
  x = (x & 0x33333333u) + ((x >> 2) & 0x33333333u);
  x = (x + (x >> 4)) & 0x0f0f0f0fu;
  return static_cast<std::int64_t>(x & 0xff) - static_cast<std::int64_t>(x >> 16);
}

}  // namespace veilsum::isa::scalar
