// Layer: isa, level avx512. SHA-256 by the SHA extensions (FIPS 180-4; message schedule four words
// at a time) and CRC-32C (RFC 3720): long data by folding with VPCLMULQDQ, the rest by the CRC32
// instruction, which has a latency of three and a throughput of one, so that three neighbouring
// stretches run side by side and are joined by a carry-less product with x^(8 * length) mod P
// (Gopal et al., Intel 2011).
#include "isa/avx512/kernels_internal.h"
#include "isa/avx512/vector_ops.h"

namespace veilsum::isa::avx512 {
namespace {

alignas(64) constexpr std::uint32_t kSha256[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

/// 16 rows of 16 words, transposed in place: afterwards rows[t] holds word t of every row.
inline void transpose_words(__m512i rows[16]) {
  __m512i x[16];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {  // pairs of words of neighbouring rows
    x[2 * i] = _mm512_unpacklo_epi32(rows[2 * i], rows[2 * i + 1]);
    x[2 * i + 1] = _mm512_unpackhi_epi32(rows[2 * i], rows[2 * i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4;
       ++i) {  // words 4 k + j of rows 4 i ... 4 i + 3 in quarter k of rows[4 i + j]
    rows[4 * i] = _mm512_unpacklo_epi64(x[4 * i], x[4 * i + 2]);
    rows[4 * i + 1] = _mm512_unpackhi_epi64(x[4 * i], x[4 * i + 2]);
    rows[4 * i + 2] = _mm512_unpacklo_epi64(x[4 * i + 1], x[4 * i + 3]);
    rows[4 * i + 3] = _mm512_unpackhi_epi64(x[4 * i + 1], x[4 * i + 3]);
  }
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {  // a 4 x 4 transpose of quarters for each j
    const __m512i a = _mm512_shuffle_i32x4(rows[j], rows[4 + j], 0x44);
    const __m512i b = _mm512_shuffle_i32x4(rows[j], rows[4 + j], 0xee);
    const __m512i c = _mm512_shuffle_i32x4(rows[8 + j], rows[12 + j], 0x44);
    const __m512i d = _mm512_shuffle_i32x4(rows[8 + j], rows[12 + j], 0xee);
    rows[j] = _mm512_shuffle_i32x4(a, c, 0x88);
    rows[4 + j] = _mm512_shuffle_i32x4(a, c, 0xdd);
    rows[8 + j] = _mm512_shuffle_i32x4(b, d, 0x88);
    rows[12 + j] = _mm512_shuffle_i32x4(b, d, 0xdd);
  }
}

/// a ^ b ^ c; b where a is set and c elsewhere; the majority.
inline __m512i parity(__m512i a, __m512i b, __m512i c) {
  return _mm512_ternarylogic_epi32(a, b, c, 0x96);
}
inline __m512i choose(__m512i a, __m512i b, __m512i c) {
  return _mm512_ternarylogic_epi32(a, b, c, 0xca);
}
inline __m512i majority(__m512i a, __m512i b, __m512i c) {
  return _mm512_ternarylogic_epi32(a, b, c, 0xe8);
}

/// Round t with its word of the schedule: instead of moving the eight variables, their names move.
inline void round_of_lanes(__m512i s[8], int t, __m512i word, std::uint32_t constant) {
  const __m512i a = s[(0 - t) & 7], b = s[(1 - t) & 7], c = s[(2 - t) & 7];
  const __m512i e = s[(4 - t) & 7], f = s[(5 - t) & 7], g = s[(6 - t) & 7];
  const __m512i sum = _mm512_add_epi32(
      _mm512_add_epi32(s[(7 - t) & 7], _mm512_set1_epi32(static_cast<int>(constant))), word);
  const __m512i s1 =
      parity(_mm512_ror_epi32(e, 6), _mm512_ror_epi32(e, 11), _mm512_ror_epi32(e, 25));
  const __m512i s0 =
      parity(_mm512_ror_epi32(a, 2), _mm512_ror_epi32(a, 13), _mm512_ror_epi32(a, 22));
  const __m512i t1 = _mm512_add_epi32(_mm512_add_epi32(sum, choose(e, f, g)), s1);
  s[(3 - t) & 7] = _mm512_add_epi32(s[(3 - t) & 7], t1);
  s[(7 - t) & 7] = _mm512_add_epi32(_mm512_add_epi32(s0, majority(a, b, c)), t1);
}

constexpr std::uint32_t kCrc32cPolynomial = 0x82f63b78;  // reflected

/// x^exponent mod P, reflected (bit 31 is the coefficient of 1).
constexpr std::uint32_t power_of_x(std::uint32_t exponent) {
  std::uint32_t value = 0x80000000;
  for (std::uint32_t i = 0; i < exponent; ++i) {
    value = (value >> 1) ^ ((value & 1) != 0 ? kCrc32cPolynomial : 0);
  }
  return value;
}

/// crc * x^(8 * kBytes) mod P. A reflected product of two 32-bit values lacks one factor x, and
/// the CRC32 instruction multiplies by x^32: hence the 33.
template <std::uint32_t kBytes>
inline std::uint64_t advance_crc(std::uint64_t crc) {
  constexpr std::uint32_t kFactor = power_of_x(8 * kBytes - 33);
  const __m128i product =
      _mm_clmulepi64_si128(_mm_cvtsi64_si128(static_cast<long long>(crc)),
                           _mm_cvtsi64_si128(static_cast<long long>(kFactor)), 0);
  return _mm_crc32_u64(0, static_cast<std::uint64_t>(_mm_cvtsi128_si64(product)));
}

inline std::uint64_t load64(const std::uint8_t* p) {
  std::uint64_t value;
  __builtin_memcpy(&value, p, 8);
  return value;
}

/// Folds 256 bytes at a time (Gopal et al., "Fast CRC Computation Using PCLMULQDQ", Intel 2009,
/// over VPCLMULQDQ): sixteen 128-bit remainders, each moved 2048 bits on by two carry-less products
/// and joined with the data there. What is left, 256 bytes with the same remainder modulo P, goes
/// through the CRC32 instruction. The loop is bound by the two products for each 64 bytes; the
/// CRC32 instruction alone is bound by its throughput of 8 bytes a cycle.
/// @param bytes at least 256, a multiple of 256
inline std::uint64_t fold_crc(std::uint64_t crc, const std::uint8_t* p, std::size_t bytes) {
  constexpr std::uint64_t kLow = std::uint64_t{power_of_x(2048 + 32)} << 1;
  constexpr std::uint64_t kHigh = std::uint64_t{power_of_x(2048 - 32)} << 1;
  const __m512i factors = _mm512_mask_mov_epi64(splat(kLow), 0xaa, splat(kHigh));
  __m512i rest[4];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) rest[i] = _mm512_loadu_si512(p + 64 * i);
  rest[0] = _mm512_xor_si512(
      rest[0], _mm512_zextsi128_si512(_mm_cvtsi64_si128(static_cast<long long>(crc))));
  for (p += 256, bytes -= 256; bytes > 0; p += 256, bytes -= 256) {
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const __m512i low = _mm512_clmulepi64_epi128(rest[i], factors, 0x00);
      const __m512i high = _mm512_clmulepi64_epi128(rest[i], factors, 0x11);
      rest[i] = _mm512_ternarylogic_epi64(low, high, _mm512_loadu_si512(p + 64 * i), 0x96);
    }
  }
  alignas(64) std::uint64_t words[32];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) _mm512_store_si512(words + 8 * i, rest[i]);
  std::uint64_t value = 0;
  for (const std::uint64_t word : words) value = _mm_crc32_u64(value, word);
  return value;
}

/// Three stretches of kBytes each.
template <std::uint32_t kBytes>
inline std::uint64_t crc_three(std::uint64_t crc, const std::uint8_t* p) {
  std::uint64_t a = crc;
  std::uint64_t b = 0;
  std::uint64_t c = 0;
  for (std::size_t i = 0; i < kBytes; i += 8) {
    a = _mm_crc32_u64(a, load64(p + i));
    b = _mm_crc32_u64(b, load64(p + kBytes + i));
    c = _mm_crc32_u64(c, load64(p + 2 * kBytes + i));
  }
  return advance_crc<2 * kBytes>(a) ^ advance_crc<kBytes>(b) ^ c;
}

}  // namespace

void sha256_compress(std::uint32_t state[8], const std::uint8_t* data, std::size_t blocks) {
  // The SHA instructions exist in the legacy SSE encoding only: while a caller has left the upper
  // halves of vector registers dirty, each of them can wait for a state transition (200 times
  // slower).
  _mm256_zeroupper();
  const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL);
  // The instructions want the state as (A,B,E,F) and (C,D,G,H), high word first.
  const __m128i dcba = _mm_loadu_si128(reinterpret_cast<const __m128i*>(state));
  const __m128i hgfe = _mm_loadu_si128(reinterpret_cast<const __m128i*>(state + 4));
  const __m128i cdab = _mm_shuffle_epi32(dcba, 0xb1);
  const __m128i efgh = _mm_shuffle_epi32(hgfe, 0x1b);
  __m128i abef = _mm_alignr_epi8(cdab, efgh, 8);
  __m128i cdgh = _mm_blend_epi16(efgh, cdab, 0xf0);

  for (; blocks > 0; --blocks, data += 64) {
    const __m128i abef_before = abef;
    const __m128i cdgh_before = cdgh;
    __m128i w[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      w[i] =
          _mm_shuffle_epi8(_mm_loadu_si128(reinterpret_cast<const __m128i*>(data + 16 * i)), swap);
    }
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) {
      const __m128i words = w[i % 4];
      const __m128i sum =
          _mm_add_epi32(words, _mm_load_si128(reinterpret_cast<const __m128i*>(kSha256 + 4 * i)));
      cdgh = _mm_sha256rnds2_epu32(cdgh, abef, sum);
      abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(sum, 0x0e));
      if (i < 12) {  // words 16 + 4i ... 19 + 4i take the place of words 4i ... 4i + 3
        const __m128i last = w[(i + 3) % 4];
        const __m128i seven_back = _mm_alignr_epi8(last, w[(i + 2) % 4], 4);
        w[i % 4] = _mm_sha256msg2_epu32(
            _mm_add_epi32(_mm_sha256msg1_epu32(words, w[(i + 1) % 4]), seven_back), last);
      }
    }
    abef = _mm_add_epi32(abef, abef_before);
    cdgh = _mm_add_epi32(cdgh, cdgh_before);
  }

  const __m128i feba = _mm_shuffle_epi32(abef, 0x1b);
  const __m128i dchg = _mm_shuffle_epi32(cdgh, 0xb1);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(state), _mm_blend_epi16(feba, dchg, 0xf0));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(state + 4), _mm_alignr_epi8(dchg, feba, 8));
}

void sha256_compress_lanes(std::uint32_t state[8][kHashLanes],
                           const std::uint8_t* const data[kHashLanes], std::size_t blocks) {
  const __m512i swap =
      _mm512_broadcast_i32x4(_mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL));
  __m512i s[8];
  for (int i = 0; i < 8; ++i) s[i] = _mm512_loadu_si512(state[i]);
  for (std::size_t block = 0; block < blocks; ++block) {
    __m512i w[16];
#pragma GCC unroll 16
    for (int lane = 0; lane < 16; ++lane) {
      w[lane] = _mm512_shuffle_epi8(_mm512_loadu_si512(data[lane] + 64 * block), swap);
    }
    transpose_words(w);
    __m512i before[8];
    for (int i = 0; i < 8; ++i) before[i] = s[i];
    for (int t = 0; t < 64; t += 16) {
#pragma GCC unroll 16
      for (int i = 0; i < 16; ++i) {
        round_of_lanes(s, i, w[i], kSha256[t + i]);
        if (t < 48) {  // word t + 16 + i takes the place of word t + i
          const __m512i x = w[(i + 1) % 16], y = w[(i + 14) % 16];
          const __m512i s0 =
              parity(_mm512_ror_epi32(x, 7), _mm512_ror_epi32(x, 18), _mm512_srli_epi32(x, 3));
          const __m512i s1 =
              parity(_mm512_ror_epi32(y, 17), _mm512_ror_epi32(y, 19), _mm512_srli_epi32(y, 10));
          w[i] =
              _mm512_add_epi32(_mm512_add_epi32(w[i], w[(i + 9) % 16]), _mm512_add_epi32(s0, s1));
        }
      }
    }
    for (int i = 0; i < 8; ++i) s[i] = _mm512_add_epi32(s[i], before[i]);
  }
  for (int i = 0; i < 8; ++i) _mm512_storeu_si512(state[i], s[i]);
}

std::uint32_t crc32c(std::uint32_t crc, const std::uint8_t* data, std::size_t bytes) {
  constexpr std::uint32_t kShort = 128;
  std::uint64_t value = static_cast<std::uint32_t>(~crc);
  if (const std::size_t whole = bytes / 256 * 256; whole >= 1024) {
    value = fold_crc(value, data, whole);
    data += whole;
    bytes -= whole;
  }
  for (; bytes >= 3 * kShort; bytes -= 3 * kShort, data += 3 * kShort) {
    value = crc_three<kShort>(value, data);
  }
  for (; bytes >= 8; bytes -= 8, data += 8) value = _mm_crc32_u64(value, load64(data));
  std::uint32_t last = static_cast<std::uint32_t>(value);
  for (; bytes > 0; --bytes, ++data) last = _mm_crc32_u8(last, *data);
  return ~last;
}

}  // namespace veilsum::isa::avx512
