// Layer: isa, level avx2. Four 64-bit lanes at a time: exact modular products by FMA on doubles,
// 50-bit packing, AES rounds on eight blocks. Everything lies in an anonymous namespace: each
// kernel file gets its own copy and none can be merged with code built for another level.
//
// Arithmetic. A residue is an integer held in a double ("Real"), signed and lazy: any
// representative of magnitude below 2^53 is exact. q is odd, 2^49 < q < 2^50, u = 2^-53, inverse =
// RN(1 / q).
//
// Product x * w mod q (after Dekker 1971; Shoup's NTL and van der Hoeven, Lecerf & Quintin 2016,
// "Modular SIMD arithmetic in Mathemagix", section 3):
//     h = RN(x w)     l = x w - h       exact: an FMA yields the error of a product
//     c = RN(h * inverse) to an integer, by adding and subtracting 1.5 * 2^52 inside the FMA
//     result = (h - c q) + l
//   Let b = x w / q and |b| < 2^51, which keeps 1.5 * 2^52 + b in [2^52, 2^53), where doubles are
//   the integers. h and inverse have a relative error of u each, so |c - b| <= 1/2 + 2^-52 |b| (1 +
//   u), and the result, x w - c q, has magnitude at most q (1/2 + 2^-52 |b| (1 + u)): below q when
//   |b| < 2^51 (1 - u). |l| <= 2^48 (x w < 2^102), so h - c q = result - l is an integer below
//   2^51: the FMA that makes it is exact, and so is the last addition. With w centred, |w| < q / 2:
//   |x| <= 2^52 - 4 will do, and |result| < q (1/2 + |x| / 2^53) + 1. With w in [0, q): |x| <= 2^51
//   - 4 will do, and |result| < q (1/2 + |x| / 2^52) + 1. (and below q in either case)
//
// Reduction of x, |x| <= 2^52: the same with w = 1. b = x / q, |b| < 8, so |c - b| < 1/2 + 2^-50,
// and the result is an integer of magnitude at most q / 2 + 1.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "isa/kernels.h"

namespace veilsum::isa::avx2 {
namespace {

using Vec = __m256i;
using Real = __m256d;
using Block = __m128i;  ///< an AES block
__extension__ typedef unsigned __int128 Wide;

constexpr std::uint64_t kMask52 = (std::uint64_t{1} << 52) - 1;
constexpr double kTwo52 = 0x1p52;  ///< its low 52 bits are an integer
constexpr std::uint64_t kTwo52Bits = 0x4330000000000000u;
constexpr double kRound = 0x1.8p52;  ///< 1.5 * 2^52: signed integers
constexpr std::uint64_t kRoundBits = 0x4338000000000000u;

inline Vec splat(std::uint64_t value) { return _mm256_set1_epi64x(static_cast<long long>(value)); }
inline Real splat(double value) { return _mm256_set1_pd(value); }
inline Vec bits_of(Real x) { return _mm256_castpd_si256(x); }
inline Real real_of(Vec x) { return _mm256_castsi256_pd(x); }
inline Vec load(const void* p) { return _mm256_loadu_si256(static_cast<const Vec*>(p)); }
inline Block load_half(const void* p) { return _mm_loadu_si128(static_cast<const Block*>(p)); }
inline void store(void* p, Vec x) { _mm256_storeu_si256(static_cast<Vec*>(p), x); }
inline Vec join(Block low, Block high) {
  return _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1);
}

/// x in [0, 2^52) -> the double 2^52 + x.
inline Real raise(Vec x) { return real_of(_mm256_or_si256(x, splat(kTwo52Bits))); }
/// x in [0, 2^52) -> x - centre, exact for centre <= 2^52.
inline Real to_real(Vec x, double centre = 0.0) {
  return _mm256_sub_pd(raise(x), splat(kTwo52 + centre));
}
/// An integer in [0, 2^52).
inline Vec to_integer(Real x) {
  return _mm256_xor_si256(bits_of(_mm256_add_pd(x, splat(kTwo52))), splat(kTwo52Bits));
}
/// Signed integers, |x| < 2^51.
inline Real to_real_signed(Vec x) {
  return _mm256_sub_pd(real_of(_mm256_add_epi64(x, splat(kRoundBits))), splat(kRound));
}
inline Vec to_integer_signed(Real x) {
  return _mm256_sub_epi64(bits_of(_mm256_add_pd(x, splat(kRound))), splat(kRoundBits));
}

/// Arithmetic modulo one prime; see the head of the file.
struct Field {
  Real q, inverse;

  explicit Field(std::uint64_t modulus)
      : q(splat(static_cast<double>(modulus))),
        inverse(splat(1.0 / static_cast<double>(modulus))) {}

  /// RN(x * inverse), |x * inverse| < 2^51.
  Real quotient(Real x) const {
    return _mm256_sub_pd(_mm256_fmadd_pd(x, inverse, splat(kRound)), splat(kRound));
  }
  Real multiply(Real x, Real w) const {
    const Real h = _mm256_mul_pd(x, w);
    const Real l = _mm256_fmsub_pd(x, w, h);
    return _mm256_add_pd(_mm256_fnmadd_pd(quotient(h), q, h), l);
  }
  Real reduce(Real x) const { return _mm256_fnmadd_pd(quotient(x), q, x); }

  /// Twiddles in [0, q) -> |w| < q / 2.
  Real centre(Real w) const { return reduce(w); }

  /// x in [-1.5 q, 2.5 q] -> [0, q). The quotient is rounded after 1/2 - 2^-51 is taken off: with
  /// x = k q + s, 0 <= s < q, the exact value y = k + s / q - 1/2 + 2^-51 lies in
  /// [k - 1/2 + 2^-51, k + 1/2 - 2^-51), as 1 / q > 2^-50. The computed one is off by less than
  /// 2^-51: |x| times the error of inverse, 2.5 * 2^50 * 2^-103, and half a unit of a number of
  /// magnitude 2 at most, 2^-53. (Where |y| comes out a little above 2 the unit doubles, and there
  /// is no tie near.) So it rounds to k.
  Real canonical(Real x) const {
    const Real y = _mm256_fmadd_pd(x, inverse, splat(0x1p-51 - 0.5));
    const Real k = _mm256_sub_pd(_mm256_add_pd(y, splat(kRound)), splat(kRound));
    return _mm256_fnmadd_pd(k, q, x);
  }
};

/// x * w - floor(x * w' / 2^52) * q for cold paths; [0, 2q).
inline std::uint64_t multiply_lazy_scalar(std::uint64_t x, std::uint64_t w, std::uint64_t w_shoup,
                                          std::uint64_t q) {
  const std::uint64_t h = static_cast<std::uint64_t>((static_cast<Wide>(x) * w_shoup) >> 52);
  return x * w - h * q;
}

/// Gathers whether a residue was q or above: the sign of q - 1 - x.
struct RangeCheck {
  Vec largest;
  Vec below = _mm256_setzero_si256();

  explicit RangeCheck(std::uint64_t q) : largest(splat(q - 1)) {}
  void see(Vec x) { below = _mm256_or_si256(below, _mm256_sub_epi64(largest, x)); }
  bool all() const { return _mm256_movemask_pd(real_of(below)) == 0; }
};

// --- 50-bit packing -----------------------------------------------------------------------------
// Four residues are 25 bytes. Residue l starts at bit 50 l: byte 0, 6, 12, 18, shifted by 0, 2,
// 4, 6. Byte permutes stay inside 16 bytes, so a half register holds two neighbours, 13 bytes of
// output, and the halves of two registers that make up the same 25 bytes are brought together
// first.

struct ByteTable {
  alignas(32) std::uint8_t bytes[32];
};

constexpr std::uint8_t kNoByte = 0x80;

/// Residue 0 (or 2) of a half: seven bytes in front; residue 1 (or 3): seven bytes from byte 6 on.
constexpr ByteTable make_pack_table(bool second) {
  ByteTable table{};
  for (std::size_t half = 0; half < 32; half += 16) {
    for (std::size_t k = 0; k < 16; ++k) table.bytes[half + k] = kNoByte;
    for (std::size_t k = 0; k < 7; ++k) {
      table.bytes[half + k + (second ? 6 : 0)] = static_cast<std::uint8_t>(k + (second ? 8 : 0));
    }
  }
  return table;
}

/// Eight bytes from `offset` on and eight from `offset` + 6 on, in each half.
constexpr ByteTable make_unpack_table(std::size_t offset_low, std::size_t offset_high) {
  ByteTable table{};
  for (std::size_t half = 0; half < 2; ++half) {
    const std::size_t offset = half == 0 ? offset_low : offset_high;
    for (std::size_t k = 0; k < 8; ++k) {
      const std::size_t second = offset + 6 + k;
      table.bytes[16 * half + k] = static_cast<std::uint8_t>(offset + k);
      table.bytes[16 * half + 8 + k] = second < 16 ? static_cast<std::uint8_t>(second) : kNoByte;
    }
  }
  return table;
}

constexpr ByteTable kPackFirst = make_pack_table(false);
constexpr ByteTable kPackSecond = make_pack_table(true);
constexpr ByteTable kUnpackLow = make_unpack_table(0, 0);
constexpr ByteTable kUnpackHigh = make_unpack_table(0, 3);

inline Vec load_table(const ByteTable& table) {
  return _mm256_load_si256(reinterpret_cast<const Vec*>(table.bytes));
}

/// Residues 0 1 2 3 and 4 5 6 7, below 2^50 -> exactly 50 bytes at out.
inline void store_group(std::uint8_t* out, Vec x0123, Vec x4567) {
  const Vec first = load_table(kPackFirst);
  const Vec second = load_table(kPackSecond);
  const Vec x0145 = _mm256_permute2x128_si256(x0123, x4567, 0x20);
  const Vec x2367 = _mm256_permute2x128_si256(x0123, x4567, 0x31);
  const Vec y0145 = _mm256_sllv_epi64(x0145, _mm256_setr_epi64x(0, 2, 0, 2));
  const Vec y2367 = _mm256_sllv_epi64(x2367, _mm256_setr_epi64x(4, 6, 4, 6));
  // 13 bytes each: of bytes 0 ... 12 and 12 ... 24 of the 25
  const Vec low =
      _mm256_or_si256(_mm256_shuffle_epi8(y0145, first), _mm256_shuffle_epi8(y0145, second));
  const Vec high =
      _mm256_or_si256(_mm256_shuffle_epi8(y2367, first), _mm256_shuffle_epi8(y2367, second));
  const Vec from0 = _mm256_or_si256(low, _mm256_slli_si256(high, 12));         // bytes 0 ... 15
  const Vec from9 = _mm256_alignr_epi8(_mm256_srli_si256(high, 4), from0, 9);  // bytes 9 ... 24
  _mm_storeu_si128(reinterpret_cast<Block*>(out), _mm256_castsi256_si128(from0));
  _mm_storeu_si128(reinterpret_cast<Block*>(out + 9), _mm256_castsi256_si128(from9));
  _mm_storeu_si128(reinterpret_cast<Block*>(out + 25), _mm256_extracti128_si256(from0, 1));
  _mm_storeu_si128(reinterpret_cast<Block*>(out + 34), _mm256_extracti128_si256(from9, 1));
}

inline Vec spread(Vec bytes, const ByteTable& table) {
  const Vec y = _mm256_shuffle_epi8(bytes, load_table(table));
  return _mm256_and_si256(_mm256_srlv_epi64(y, _mm256_setr_epi64x(0, 2, 4, 6)),
                          splat(kResidueMask));
}

/// 50 bytes, no other is read -> residues 0 1 2 3 and 4 5 6 7.
inline Vec load_residues_low(const std::uint8_t* in) {
  return spread(join(load_half(in), load_half(in + 12)), kUnpackLow);
}
inline Vec load_residues_high(const std::uint8_t* in) {
  return spread(join(load_half(in + 25), load_half(in + 34)), kUnpackHigh);  // 37 = 34 + 3
}

// --- AES ----------------------------------------------------------------------------------------

/// Clears secrets that stood on the stack; the barrier keeps the stores.
template <typename T>
inline void wipe(T& secret) {
  static_assert(sizeof(T) % 16 == 0);
  unsigned char* bytes = reinterpret_cast<unsigned char*>(&secret);
  for (std::size_t i = 0; i < sizeof(T); i += 16) {
    _mm_storeu_si128(reinterpret_cast<Block*>(bytes + i), _mm_setzero_si128());
  }
  __asm__ __volatile__("" : : "r"(&secret) : "memory");
}

inline Block round_key(const AesKey& key, int i) {
  return _mm_load_si128(reinterpret_cast<const Block*>(key.bytes + 16 * i));
}

constexpr std::size_t kChunk = 16;       ///< keystream words of one chunk
constexpr std::size_t kChunkBlocks = 8;  ///< AES blocks of one chunk

struct CounterTable {
  alignas(16) std::uint64_t words[kChunkBlocks][2];
};
constexpr CounterTable make_counter_table() {
  CounterTable table{};
  for (std::size_t i = 0; i < kChunkBlocks; ++i) table.words[i][0] = i;
  return table;
}
constexpr CounterTable kCounters = make_counter_table();

/// Rounds kFirst ... kLast of eight blocks side by side: AESENC has a latency of three to seven
/// cycles and a throughput of one or two a cycle.
template <int kRounds, int kFirst, int kLast>
inline void aes_rounds(const AesKey& key, Block s[kChunkBlocks]) {
#pragma GCC unroll 14
  for (int round = kFirst; round <= kLast; ++round) {
    const Block k = round_key(key, round);
#pragma GCC unroll 8
    for (std::size_t i = 0; i < kChunkBlocks; ++i) {
      s[i] = round < kRounds ? _mm_aesenc_si128(s[i], k) : _mm_aesenclast_si128(s[i], k);
    }
  }
}

/// Eight counter blocks after the first key addition. `counter` is a multiple of eight, so that its
/// low three bits can be set by exclusive or.
inline void ctr_start(const AesKey& key, std::uint64_t index, std::uint64_t counter,
                      Block s[kChunkBlocks]) {
  const Block base =
      _mm_xor_si128(_mm_set_epi64x(static_cast<long long>(index), static_cast<long long>(counter)),
                    round_key(key, 0));
#pragma GCC unroll 8
  for (std::size_t i = 0; i < kChunkBlocks; ++i) {
    s[i] = _mm_xor_si128(base, _mm_load_si128(reinterpret_cast<const Block*>(kCounters.words[i])));
  }
}

/// Keystream words 2 * counter ... 2 * counter + 15 of (key, index).
template <int kRounds>
inline void ctr_chunk(const AesKey& key, std::uint64_t index, std::uint64_t counter,
                      Block s[kChunkBlocks]) {
  ctr_start(key, index, counter, s);
  aes_rounds<kRounds, 1, kRounds>(key, s);
}

/// Four words of a chunk.
inline Vec words_of(const Block s[kChunkBlocks], std::size_t i) {
  return join(s[2 * i], s[2 * i + 1]);
}

/// One chunk of work beside the AES of the next: `finish(i, words)` for the four registers of
/// `current`, a quarter of the rounds of `next` after each. Left to itself the processor would meet
/// all rounds first, and its scheduler would be full of them.
template <int kRounds, int kStep, typename Finish>
inline void pipelined_chunk(const AesKey& key, const Block current[kChunkBlocks],
                            Block next[kChunkBlocks], Finish& finish) {
  finish(std::size_t{kStep}, words_of(current, kStep));
  aes_rounds<kRounds, kStep * kRounds / 4 + 1, (kStep + 1) * kRounds / 4>(key, next);
  if constexpr (kStep < 3) pipelined_chunk<kRounds, kStep + 1>(key, current, next, finish);
}

/// Calls finish(j, words) for the words j ... j + 3 of the keystream of (key, index), j = 0, 4, ...
/// below n (a multiple of four).
template <int kRounds, typename Finish>
inline void for_each_four(const AesKey& key, std::uint64_t index, std::size_t n, Finish& finish) {
  if (n == 0) return;
  Block current[kChunkBlocks];
  Block next[kChunkBlocks];
  ctr_chunk<kRounds>(key, index, 0, next);
  std::size_t j = 0;
  for (; j + kChunk < n; j += kChunk) {
#pragma GCC unroll 8
    for (std::size_t i = 0; i < kChunkBlocks; ++i) current[i] = next[i];
    ctr_start(key, index, (j + kChunk) / 2, next);
    const auto at = [&](std::size_t i, Vec words) { finish(j + 4 * i, words); };
    pipelined_chunk<kRounds, 0>(key, current, next, at);
  }
#pragma GCC unroll 4
  for (std::size_t i = 0; i < 4; ++i) {
    if (j + 4 * i < n) finish(j + 4 * i, words_of(next, i));
  }
  wipe(current);
  wipe(next);
}

// --- centred binomial errors --------------------------------------------------------------------

/// Keystream word -> e + 21 in [0, 42]: popcount(a) - popcount(b) = popcount(a) + popcount(~b)
/// - 21. Bits are counted four at a time by a table of sixteen in a register (Mula 2008), and bytes
/// by PSADBW. Bits 42 ... 63 are masked away with the nibbles.
struct ErrorSampler {
  static constexpr std::uint64_t kLow21 = (std::uint64_t{1} << kCbdWidth) - 1;
  static constexpr std::uint64_t kLow42 = (kLow21 << kCbdWidth) | kLow21;
  static constexpr std::uint64_t kNibbles = 0x0f0f0f0f0f0f0f0fu;

  Vec high21 = splat(kLow21 << kCbdWidth);
  Vec low_nibbles = splat(kNibbles & kLow42);
  Vec high_nibbles = splat(kNibbles & (kLow42 >> 4));
  Vec counts = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4,  //
                                0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);

  Vec operator()(Vec word) const {
    const Vec bits = _mm256_xor_si256(word, high21);
    const Vec low = _mm256_and_si256(bits, low_nibbles);
    const Vec high = _mm256_and_si256(_mm256_srli_epi64(bits, 4), high_nibbles);
    const Vec bytes =
        _mm256_add_epi8(_mm256_shuffle_epi8(counts, low), _mm256_shuffle_epi8(counts, high));
    return _mm256_sad_epu8(bytes, _mm256_setzero_si256());
  }
};

}  // namespace
}  // namespace veilsum::isa::avx2
