// Layer: isa, scalar level. AES-128 and AES-256 (FIPS 197), encryption only, in constant time:
// bitsliced over 32 blocks. Row r, bit k of the state is one vector of four 32-bit lanes, lane =
// column, bit = block. In that layout a block as it lies in memory is already one vector, a 32 x 32
// bit transpose makes the slices, ShiftRows rotates lanes and MixColumns needs no movement at all.
// SubBytes is the circuit of Boyar and Peralta ("A new combinational logic minimization technique
// with applications to cryptology", SEA 2010; 115 gates, the four complements being folded
// into the round keys: 0x63 in every byte passes ShiftRows and MixColumns unchanged). No table, no
// branch and no address depends on key or data. Generic vectors become SSE2 or NEON.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

#include "base/wipe.h"
#include "isa/aes_key.h"
#include "isa/scalar/kernels_internal.h"
#include "veilsum/errors.h"

namespace veilsum::isa {
namespace {

typedef std::uint32_t Vector __attribute__((vector_size(16)));

constexpr std::size_t kBatch = 32;   // blocks per bitsliced batch: one per bit of a lane
constexpr std::size_t kSlices = 32;  // 4 rows x 8 bits
constexpr std::size_t kBlockBytes = 16;
constexpr std::uint32_t kMaxRounds = 14;
constexpr std::uint32_t kSboxConstant = 0x63;

/// The AES S-box without its affine constant 0x63, on bit slices: b[k] holds bit k of every byte.
/// Names follow the paper (x0 is the most significant bit).
template <class Word>
inline __attribute__((always_inline)) void sub_bytes_without_constant(Word b[8]) {
  const Word x0 = b[7], x1 = b[6], x2 = b[5], x3 = b[4], x4 = b[3], x5 = b[2], x6 = b[1], x7 = b[0];
  // Linear layer into the tower field.
  const Word y14 = x3 ^ x5, y13 = x0 ^ x6, y9 = x0 ^ x3, y8 = x0 ^ x5, t0 = x1 ^ x2;
  const Word y1 = t0 ^ x7, y4 = y1 ^ x3, y12 = y13 ^ y14, y2 = y1 ^ x0, y5 = y1 ^ x6;
  const Word y3 = y5 ^ y8, t1 = x4 ^ y12, y15 = t1 ^ x5, y20 = t1 ^ x1, y6 = y15 ^ x7;
  const Word y10 = y15 ^ t0, y11 = y20 ^ y9, y7 = x7 ^ y11, y17 = y10 ^ y11, y19 = y10 ^ y8;
  const Word y16 = t0 ^ y11, y21 = y13 ^ y16, y18 = x0 ^ y16;
  // Inversion in GF(2^8) by GF((2^4)^2).
  const Word t2 = y12 & y15, t3 = y3 & y6, t4 = t3 ^ t2, t5 = y4 & x7, t6 = t5 ^ t2;
  const Word t7 = y13 & y16, t8 = y5 & y1, t9 = t8 ^ t7, t10 = y2 & y7, t11 = t10 ^ t7;
  const Word t12 = y9 & y11, t13 = y14 & y17, t14 = t13 ^ t12, t15 = y8 & y10, t16 = t15 ^ t12;
  const Word t17 = t4 ^ t14, t18 = t6 ^ t16, t19 = t9 ^ t14, t20 = t11 ^ t16;
  const Word t21 = t17 ^ y20, t22 = t18 ^ y19, t23 = t19 ^ y21, t24 = t20 ^ y18;
  const Word t25 = t21 ^ t22, t26 = t21 & t23, t27 = t24 ^ t26, t28 = t25 & t27, t29 = t28 ^ t22;
  const Word t30 = t23 ^ t24, t31 = t22 ^ t26, t32 = t31 & t30, t33 = t32 ^ t24, t34 = t23 ^ t33;
  const Word t35 = t27 ^ t33, t36 = t24 & t35, t37 = t36 ^ t34, t38 = t27 ^ t36, t39 = t29 & t38;
  const Word t40 = t25 ^ t39, t41 = t40 ^ t37, t42 = t29 ^ t33, t43 = t29 ^ t40, t44 = t33 ^ t37;
  const Word t45 = t42 ^ t41;
  const Word z0 = t44 & y15, z1 = t37 & y6, z2 = t33 & x7, z3 = t43 & y16, z4 = t40 & y1;
  const Word z5 = t29 & y7, z6 = t42 & y11, z7 = t45 & y17, z8 = t41 & y10, z9 = t44 & y12;
  const Word z10 = t37 & y3, z11 = t33 & y4, z12 = t43 & y13, z13 = t40 & y5, z14 = t29 & y2;
  const Word z15 = t42 & y9, z16 = t45 & y14, z17 = t41 & y8;
  // Linear layer back, merged with the linear part of the affine map.
  const Word t46 = z15 ^ z16, t47 = z10 ^ z11, t48 = z5 ^ z13, t49 = z9 ^ z10, t50 = z2 ^ z12;
  const Word t51 = z2 ^ z5, t52 = z7 ^ z8, t53 = z0 ^ z3, t54 = z6 ^ z7, t55 = z16 ^ z17;
  const Word t56 = z12 ^ t48, t57 = t50 ^ t53, t58 = z4 ^ t46, t59 = z3 ^ t54, t60 = t46 ^ t57;
  const Word t61 = z14 ^ t57, t62 = t52 ^ t58, t63 = t49 ^ t58, t64 = z4 ^ t59, t65 = t61 ^ t62;
  const Word t66 = z1 ^ t63, t67 = t64 ^ t65, s3 = t53 ^ t66;
  b[7] = t59 ^ t63;
  b[6] = t64 ^ s3;
  b[5] = t55 ^ t67;
  b[4] = s3;
  b[3] = t51 ^ t66;
  b[2] = t47 ^ t65;
  b[1] = t56 ^ t62;
  b[0] = t48 ^ t60;
}

/// Transposes the 32 x 32 bit matrix in every lane: bit j of vector i <-> bit i of vector j.
inline __attribute__((always_inline)) void transpose(Vector a[kSlices]) {
  std::uint32_t mask = 0x0000ffffu;
  for (std::uint32_t s = 16; s != 0; s >>= 1, mask ^= mask << s) {
    for (std::uint32_t i = 0; i < kSlices; i = (i + s + 1) & ~s) {
      const Vector t = ((a[i] >> s) ^ a[i + s]) & mask;
      a[i + s] ^= t;
      a[i] ^= t << s;
    }
  }
}

/// Every round key, one bit a vector, spread over the 32 blocks; rounds >= 1 carry the 0x63 that
/// sub_bytes_without_constant left out. Secret: wiped by its destructor.
struct SlicedKey {
  Vector slice[kMaxRounds + 1][kSlices];
  std::uint32_t rounds;

  explicit SlicedKey(const AesKey& key) : rounds(key.rounds) {
    for (std::uint32_t round = 0; round <= rounds; ++round) {
      Vector word;
      std::memcpy(&word, key.bytes + kBlockBytes * round, sizeof word);
      const std::uint32_t constant = round == 0 ? 0 : kSboxConstant * 0x01010101u;
      word ^= constant;
      for (std::uint32_t i = 0; i < kSlices; ++i) {
        slice[round][i] = -((word >> i) & 1u);
      }
    }
  }
  ~SlicedKey() { secure_wipe(this, sizeof *this); }
  SlicedKey(const SlicedKey&) = delete;
  SlicedKey& operator=(const SlicedKey&) = delete;
};

/// SubBytes (without its constant) and ShiftRows: column c of row r comes from column c + r.
inline __attribute__((always_inline)) void substitute_and_shift(Vector a[kSlices]) {
  for (std::size_t row = 0; row < 4; ++row) sub_bytes_without_constant(a + 8 * row);
  for (std::size_t k = 0; k < 8; ++k) {
    a[8 + k] = __builtin_shufflevector(a[8 + k], a[8 + k], 1, 2, 3, 0);
    a[16 + k] = __builtin_shufflevector(a[16 + k], a[16 + k], 2, 3, 0, 1);
    a[24 + k] = __builtin_shufflevector(a[24 + k], a[24 + k], 3, 0, 1, 2);
  }
}

/// MixColumns and AddRoundKey. With d_r = a_r ^ a_(r+1) and t = a_0 ^ a_1 ^ a_2 ^ a_3 the column
/// product 2 a_r + 3 a_(r+1) + a_(r+2) + a_(r+3) is xtime(d_r) ^ a_r ^ t.
inline __attribute__((always_inline)) void mix_and_add_key(Vector a[kSlices],
                                                           const Vector key[kSlices]) {
  const Vector top0 = a[7] ^ a[15], top1 = a[15] ^ a[23], top2 = a[23] ^ a[31], top3 = a[31] ^ a[7];
  Vector below0 = top0, below1 = top1, below2 = top2, below3 = top3;  // bit k - 1 of d_r, cyclic
  for (std::size_t k = 0; k < 8; ++k) {
    const Vector a0 = a[k], a1 = a[8 + k], a2 = a[16 + k], a3 = a[24 + k];
    const Vector d0 = a0 ^ a1, d1 = a1 ^ a2, d2 = a2 ^ a3, d3 = a3 ^ a0;
    const Vector t = d0 ^ d2;
    Vector r0 = a0 ^ t ^ below0, r1 = a1 ^ t ^ below1, r2 = a2 ^ t ^ below2, r3 = a3 ^ t ^ below3;
    if (k == 1 || k == 3 || k == 4) {  // x^8 = x^4 + x^3 + x + 1
      r0 ^= top0;
      r1 ^= top1;
      r2 ^= top2;
      r3 ^= top3;
    }
    a[k] = r0 ^ key[k];
    a[8 + k] = r1 ^ key[8 + k];
    a[16 + k] = r2 ^ key[16 + k];
    a[24 + k] = r3 ^ key[24 + k];
    below0 = d0;
    below1 = d1;
    below2 = d2;
    below3 = d3;
  }
}

/// Encrypts 32 blocks in place; a[b] is block b as it lies in memory.
void encrypt_batch(const SlicedKey& key, Vector a[kSlices]) {
  transpose(a);
  for (std::size_t i = 0; i < kSlices; ++i) a[i] ^= key.slice[0][i];
  for (std::uint32_t round = 1; round < key.rounds; ++round) {
    substitute_and_shift(a);
    mix_and_add_key(a, key.slice[round]);
  }
  substitute_and_shift(a);
  for (std::size_t i = 0; i < kSlices; ++i) a[i] ^= key.slice[key.rounds][i];
  transpose(a);
}

/// S-box on the four bytes of a word, constant time.
std::uint32_t substitute_word(std::uint32_t word) {
  std::uint32_t slice[8];
  for (std::uint32_t k = 0; k < 8; ++k) slice[k] = (word >> k) & 0x01010101u;
  sub_bytes_without_constant(slice);
  std::uint32_t result = kSboxConstant * 0x01010101u;
  for (std::uint32_t k = 0; k < 8; ++k) result ^= slice[k] << k;
  secure_wipe(slice, sizeof slice);
  return result;
}

}  // namespace

void aes_expand_key(const std::uint8_t* key, std::size_t key_bytes, AesKey& out) {
  if (key_bytes != 16 && key_bytes != 32) {
    throw ParameterError("AES key: got " + std::to_string(key_bytes) +
                         " bytes; a key is 16 bytes (AES-128) or 32 bytes (AES-256)");
  }
  const std::size_t key_words = key_bytes / 4;
  out.rounds = static_cast<std::uint32_t>(key_words + 6);
  const std::size_t total_words = 4 * (static_cast<std::size_t>(out.rounds) + 1);
  // FIPS 197, section 5.2. Words are little-endian here, so RotWord is a right rotation by 8 and
  // the round constant sits in the lowest byte.
  std::uint32_t words[4 * (kMaxRounds + 1)] = {};
  std::memcpy(words, key, key_bytes);
  std::uint32_t round_constant = 1;
  for (std::size_t i = key_words; i < total_words; ++i) {
    std::uint32_t t = words[i - 1];
    if (i % key_words == 0) {
      t = substitute_word((t >> 8) | (t << 24)) ^ round_constant;
      round_constant = (round_constant << 1) ^ ((round_constant >> 7) * 0x11bu);
    } else if (key_words == 8 && i % key_words == 4) {
      t = substitute_word(t);
    }
    words[i] = words[i - key_words] ^ t;
  }
  std::memcpy(out.bytes, words, sizeof out.bytes);
  secure_wipe(words, sizeof words);
}

namespace scalar {

/// Constant time in key and data. in == out allowed; otherwise the buffers do not overlap.
void aes_encrypt_blocks(const AesKey& key, const std::uint8_t* in, std::uint8_t* out,
                        std::size_t blocks) {
  const SlicedKey sliced(key);
  Vector state[kBatch];
  while (blocks != 0) {
    const std::size_t now = blocks < kBatch ? blocks : kBatch;
    std::memset(state, 0, sizeof state);
    std::memcpy(state, in, now * kBlockBytes);
    encrypt_batch(sliced, state);
    std::memcpy(out, state, now * kBlockBytes);
    in += now * kBlockBytes;
    out += now * kBlockBytes;
    blocks -= now;
  }
  secure_wipe(state, sizeof state);
}

/// Block i is AES(key, LE64(first_counter + i) || LE64(index)); the counter wraps at 2^64.
void aes_ctr(const AesKey& key, std::uint64_t index, std::uint64_t first_counter, std::uint8_t* out,
             std::size_t blocks) {
  const SlicedKey sliced(key);
  Vector state[kBatch];
  std::uint64_t counter = first_counter;
  while (blocks != 0) {
    const std::size_t now = blocks < kBatch ? blocks : kBatch;
    for (std::size_t i = 0; i < kBatch; ++i) {
      const std::uint64_t block[2] = {counter + i, index};
      std::memcpy(&state[i], block, sizeof block);
    }
    encrypt_batch(sliced, state);
    std::memcpy(out, state, now * kBlockBytes);
    counter += now;
    out += now * kBlockBytes;
    blocks -= now;
  }
  secure_wipe(state, sizeof state);
}

}  // namespace scalar
}  // namespace veilsum::isa
