// Layer: isa, level avx2. SHA-256 (FIPS 180-4) and CRC-32C by the CRC32 instruction (RFC 3720).
// Many processors of this level lack the SHA extensions, so rounds are portable code with RORX and
// only the message schedule is vector code, four words at a time beside the rounds (Gulley & Gopal,
// "Fast SHA-256 implementations on Intel architecture processors", 2012). Constant time. The CRC32
// instruction has a latency of three and a throughput of one, so three neighbouring stretches run
// side by side and are joined by a carry-less product with x^(8 * length) mod P (Gopal et al.,
// Intel 2011).
#include "isa/avx2/kernels_internal.h"
#include "isa/avx2/vector_ops.h"

namespace veilsum::isa::avx2 {
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

inline std::uint32_t rotate_right(std::uint32_t x, int bits) {
  return (x >> bits) | (x << (32 - bits));
}

/// Round `t`: instead of moving the eight variables by one place, their names move.
inline void sha256_round(std::uint32_t s[8], int t, std::uint32_t sum) {
  const std::uint32_t a = s[(0 - t) & 7], b = s[(1 - t) & 7], c = s[(2 - t) & 7];
  const std::uint32_t e = s[(4 - t) & 7], f = s[(5 - t) & 7], g = s[(6 - t) & 7];
  std::uint32_t& d = s[(3 - t) & 7];
  std::uint32_t& h = s[(7 - t) & 7];
  // Grouped so that only three steps and two additions lie between e and the next e.
  const std::uint32_t choose = g ^ (e & (f ^ g));
  const std::uint32_t s1 = rotate_right(e, 6) ^ rotate_right(e, 11) ^ rotate_right(e, 25);
  const std::uint32_t s0 = rotate_right(a, 2) ^ rotate_right(a, 13) ^ rotate_right(a, 22);
  const std::uint32_t majority = b ^ ((a ^ b) & (b ^ c));  // a ^ b is b ^ c of the next round
  const std::uint32_t t1 = (h + sum + choose) + s1;
  d += t1;
  h = t1 + (s0 + majority);
}

template <int kBits>
inline __m128i rotate_lanes(__m128i x) {
  return _mm_or_si128(_mm_srli_epi32(x, kBits), _mm_slli_epi32(x, 32 - kBits));
}

/// s1(x) of the schedule in every lane.
inline __m128i small_sigma1(__m128i x) {
  return _mm_xor_si128(_mm_xor_si128(rotate_lanes<17>(x), rotate_lanes<19>(x)),
                       _mm_srli_epi32(x, 10));
}

/// Words t ... t + 3 of the schedule from the sixteen before. The last two depend on the first two.
inline __m128i next_words(__m128i w0, __m128i w4, __m128i w8, __m128i w12) {
  const __m128i x = _mm_alignr_epi8(w4, w0, 4);  // t - 15 ...
  const __m128i s0 =
      _mm_xor_si128(_mm_xor_si128(rotate_lanes<7>(x), rotate_lanes<18>(x)), _mm_srli_epi32(x, 3));
  const __m128i sum = _mm_add_epi32(_mm_add_epi32(w0, s0), _mm_alignr_epi8(w12, w8, 4));
  const __m128i zero = _mm_setzero_si128();
  const __m128i low = _mm_add_epi32(sum, small_sigma1(_mm_unpackhi_epi64(w12, zero)));
  return _mm_add_epi32(low, small_sigma1(_mm_unpacklo_epi64(zero, low)));
}

// --- eight messages at a time
// ---------------------------------------------------------------------

template <int kBits>
inline __m256i rotate_wide(__m256i x) {
  return _mm256_or_si256(_mm256_srli_epi32(x, kBits), _mm256_slli_epi32(x, 32 - kBits));
}

template <int kFirst, int kSecond, int kThird>
inline __m256i rotations(__m256i x) {
  return _mm256_xor_si256(_mm256_xor_si256(rotate_wide<kFirst>(x), rotate_wide<kSecond>(x)),
                          rotate_wide<kThird>(x));
}

template <int kFirst, int kSecond, int kShift>
inline __m256i rotations_and_shift(__m256i x) {
  return _mm256_xor_si256(_mm256_xor_si256(rotate_wide<kFirst>(x), rotate_wide<kSecond>(x)),
                          _mm256_srli_epi32(x, kShift));
}

/// 8 rows of 8 words, transposed in place.
inline void transpose_words(__m256i rows[8]) {
  __m256i x[8];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    x[2 * i] = _mm256_unpacklo_epi32(rows[2 * i], rows[2 * i + 1]);
    x[2 * i + 1] = _mm256_unpackhi_epi32(rows[2 * i], rows[2 * i + 1]);
  }
  __m256i y[8];
#pragma GCC unroll 2
  for (int i = 0; i < 2; ++i) {
    y[4 * i] = _mm256_unpacklo_epi64(x[4 * i], x[4 * i + 2]);
    y[4 * i + 1] = _mm256_unpackhi_epi64(x[4 * i], x[4 * i + 2]);
    y[4 * i + 2] = _mm256_unpacklo_epi64(x[4 * i + 1], x[4 * i + 3]);
    y[4 * i + 3] = _mm256_unpackhi_epi64(x[4 * i + 1], x[4 * i + 3]);
  }
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    rows[j] = _mm256_permute2x128_si256(y[j], y[4 + j], 0x20);
    rows[4 + j] = _mm256_permute2x128_si256(y[j], y[4 + j], 0x31);
  }
}

/// Round t with its word of the schedule, constant added.
inline void round_of_lanes(__m256i s[8], int t, __m256i word) {
  const __m256i a = s[(0 - t) & 7], b = s[(1 - t) & 7], c = s[(2 - t) & 7];
  const __m256i e = s[(4 - t) & 7], f = s[(5 - t) & 7], g = s[(6 - t) & 7];
  const __m256i choose = _mm256_xor_si256(g, _mm256_and_si256(e, _mm256_xor_si256(f, g)));
  const __m256i majority =
      _mm256_xor_si256(b, _mm256_and_si256(_mm256_xor_si256(a, b), _mm256_xor_si256(b, c)));
  const __m256i t1 = _mm256_add_epi32(
      _mm256_add_epi32(_mm256_add_epi32(s[(7 - t) & 7], word), choose), rotations<6, 11, 25>(e));
  s[(3 - t) & 7] = _mm256_add_epi32(s[(3 - t) & 7], t1);
  s[(7 - t) & 7] = _mm256_add_epi32(_mm256_add_epi32(rotations<2, 13, 22>(a), majority), t1);
}

/// Messages `first` ... `first` + 7.
inline void compress_eight(std::uint32_t state[8][kHashLanes],
                           const std::uint8_t* const data[kHashLanes], std::size_t first,
                           std::size_t blocks) {
  const __m256i swap =
      _mm256_broadcastsi128_si256(_mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL));
  __m256i s[8];
  for (int i = 0; i < 8; ++i) {
    s[i] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(state[i] + first));
  }
  for (std::size_t block = 0; block < blocks; ++block) {
    __m256i w[16];
    for (int half = 0; half < 2; ++half) {
      __m256i rows[8];
#pragma GCC unroll 8
      for (int lane = 0; lane < 8; ++lane) {
        const std::uint8_t* from = data[first + static_cast<std::size_t>(lane)] + 64 * block;
        rows[lane] = _mm256_shuffle_epi8(
            _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + 32 * half)), swap);
      }
      transpose_words(rows);
      for (int i = 0; i < 8; ++i) w[8 * half + i] = rows[i];
    }
    __m256i before[8];
    for (int i = 0; i < 8; ++i) before[i] = s[i];
    for (int t = 0; t < 64; t += 16) {
#pragma GCC unroll 16
      for (int i = 0; i < 16; ++i) {
        const __m256i word = w[i];
        round_of_lanes(s, i,
                       _mm256_add_epi32(word, _mm256_set1_epi32(static_cast<int>(kSha256[t + i]))));
        if (t < 48) {  // word t + 16 + i takes the place of word t + i
          w[i] =
              _mm256_add_epi32(_mm256_add_epi32(word, w[(i + 9) % 16]),
                               _mm256_add_epi32(rotations_and_shift<7, 18, 3>(w[(i + 1) % 16]),
                                                rotations_and_shift<17, 19, 10>(w[(i + 14) % 16])));
        }
      }
    }
    for (int i = 0; i < 8; ++i) s[i] = _mm256_add_epi32(s[i], before[i]);
  }
  for (int i = 0; i < 8; ++i) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(state[i] + first), s[i]);
  }
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
  const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL);
  alignas(16) std::uint32_t sums[4];
  __m128i w[4];
  for (; blocks > 0; --blocks, data += 64) {
    std::uint32_t s[8];
    __builtin_memcpy(s, state, sizeof s);
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) w[i] = _mm_shuffle_epi8(load_half(data + 16 * i), swap);
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) {
      _mm_store_si128(
          reinterpret_cast<__m128i*>(sums),
          _mm_add_epi32(w[i % 4],
                        _mm_load_si128(reinterpret_cast<const __m128i*>(kSha256 + 4 * i))));
      // words 16 + 4i ... 19 + 4i take the place of words 4i ... 4i + 3
      if (i < 12) w[i % 4] = next_words(w[i % 4], w[(i + 1) % 4], w[(i + 2) % 4], w[(i + 3) % 4]);
#pragma GCC unroll 4
      for (int t = 0; t < 4; ++t) sha256_round(s, 4 * i + t, sums[t]);
    }
    for (int i = 0; i < 8; ++i) state[i] += s[i];
  }
  wipe(w);
  wipe(sums);
}

void sha256_compress_lanes(std::uint32_t state[8][kHashLanes],
                           const std::uint8_t* const data[kHashLanes], std::size_t blocks) {
  for (std::size_t first = 0; first < kHashLanes; first += 8) {
    compress_eight(state, data, first, blocks);
  }
}

std::uint32_t crc32c(std::uint32_t crc, const std::uint8_t* data, std::size_t bytes) {
  constexpr std::uint32_t kLong = 2048;
  constexpr std::uint32_t kShort = 128;
  std::uint64_t value = ~crc;
  for (; bytes >= 3 * kLong; bytes -= 3 * kLong, data += 3 * kLong) {
    value = crc_three<kLong>(value, data);
  }
  for (; bytes >= 3 * kShort; bytes -= 3 * kShort, data += 3 * kShort) {
    value = crc_three<kShort>(value, data);
  }
  for (; bytes >= 8; bytes -= 8, data += 8) value = _mm_crc32_u64(value, load64(data));
  std::uint32_t last = static_cast<std::uint32_t>(value);
  for (; bytes > 0; --bytes, ++data) last = _mm_crc32_u8(last, *data);
  return ~last;
}

}  // namespace veilsum::isa::avx2
