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
void expand_multiply(const AesKey& key, std::uint64_t index, const Modulus& modulus, std::size_t n,
                     const std::uint64_t* key_slots, const std::uint64_t* key_slots_shoup,
                     std::uint64_t* out);
void sample_cbd(const AesKey& key, std::uint64_t index, std::size_t n, std::int8_t* out);
void encrypt_block(const EncryptBlock& args);
void add_message(const AddMessage& args);
void decrypt_block(const DecryptBlock& args);
QuantiseResult quantise(const Quantise& args);
void dequantise(const Dequantise& args);
bool sum_packed(const SumPacked& args);
void pack(const std::uint64_t* in, std::size_t coefficients, std::uint8_t* out);
bool unpack(const std::uint8_t* in, std::size_t coefficients, std::uint64_t q, std::uint64_t* out);

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

/// x mod q in [0, q), for any x < 2^63. With b = floor(2^100 / q), x b / 2^100 lies in
/// (x/q - x/2^100, x/q], so its floor is floor(x/q) or one less: one masked subtraction is left.
static inline std::uint64_t reduce(std::uint64_t x, const Modulus& modulus) {
  const std::uint64_t h =
      static_cast<std::uint64_t>((static_cast<Uint128>(x) * modulus.barrett) >> 100);
  return subtract_if_above(x - h * modulus.q, modulus.q);
}

static inline std::uint64_t load64(const std::uint8_t* p) {
  std::uint64_t x;
  std::memcpy(&x, p, sizeof x);
  return x;
}

static inline void store64(std::uint8_t* p, std::uint64_t x) { std::memcpy(p, &x, sizeof x); }

/// Eight residues below 2^50 -> 50 bytes.
static inline void pack_group(const std::uint64_t c[kGroup], std::uint8_t* out) {
  store64(out + 0, c[0] | (c[1] << 50));
  store64(out + 8, (c[1] >> 14) | (c[2] << 36));
  store64(out + 16, (c[2] >> 28) | (c[3] << 22));
  store64(out + 24, (c[3] >> 42) | (c[4] << 8) | (c[5] << 58));
  store64(out + 32, (c[5] >> 6) | (c[6] << 44));
  store64(out + 40, (c[6] >> 20) | (c[7] << 30));
  const std::uint16_t last = static_cast<std::uint16_t>(c[7] >> 34);
  std::memcpy(out + 48, &last, sizeof last);
}

/// 50 bytes -> eight words below 2^50. Reads exactly 50 bytes.
static inline void unpack_group(const std::uint8_t* in, std::uint64_t c[kGroup]) {
  const std::uint64_t w0 = load64(in), w1 = load64(in + 8), w2 = load64(in + 16),
                      w3 = load64(in + 24), w4 = load64(in + 32), w5 = load64(in + 40);
  std::uint16_t last;
  std::memcpy(&last, in + 48, sizeof last);
  c[0] = w0 & kResidueMask;
  c[1] = ((w0 >> 50) | (w1 << 14)) & kResidueMask;
  c[2] = ((w1 >> 36) | (w2 << 28)) & kResidueMask;
  c[3] = ((w2 >> 22) | (w3 << 42)) & kResidueMask;
  c[4] = (w3 >> 8) & kResidueMask;
  c[5] = ((w3 >> 58) | (w4 << 6)) & kResidueMask;
  c[6] = ((w4 >> 44) | (w5 << 20)) & kResidueMask;
  c[7] = (w5 >> 30) | (static_cast<std::uint64_t>(last) << 34);
}

/// One CBD sample from a keystream word: popcount(bits 0..20) - popcount(bits 21..41), in [-21,
/// 21]. Both counts in one word by the usual halving sums; a library popcount may index a table.
static inline std::int64_t cbd_from_word(std::uint64_t word) {
  constexpr std::uint64_t kSample = (std::uint64_t{1} << kCbdWidth) - 1;
  std::uint64_t x = (word & kSample) | ((word & (kSample << kCbdWidth)) << (32 - kCbdWidth));
  x = x - ((x >> 1) & 0x5555555555555555u);
  x = (x & 0x3333333333333333u) + ((x >> 2) & 0x3333333333333333u);
  x = (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0fu;
  x = x + (x >> 8);
  x = x + (x >> 16);
  return static_cast<std::int64_t>(x & 0xff) - static_cast<std::int64_t>((x >> 32) & 0xff);
}

}  // namespace veilsum::isa::scalar
