// Layer: isa, level avx2. Four 64-bit lanes at a time: exact modular products by FMA on doubles,
// AES rounds on eight blocks, centred binomial errors. Everything lies in an anonymous namespace:
// each kernel file gets its own copy and none can be merged with code built for another level.
//
// Arithmetic. A residue is an integer held in a double ("Real"), signed and lazy: any
// representative of magnitude up to 2^53 is exact. q is odd, 2^48 - 2^24 < q < 2^48, so that 2^52
// is 16 q and a little; u = 2^-53, inverse = RN(1 / q).
//
// Product x * w mod q (after Dekker 1971; Shoup's NTL and van der Hoeven, Lecerf & Quintin 2016,
// "Modular SIMD arithmetic in Mathemagix", section 3):
//     h = RN(x w)     l = x w - h       exact: an FMA yields the error of a product
//     c = RN(h * inverse) to an integer, by adding and subtracting 1.5 * 2^52 inside the FMA
//     result = (h - c q) + l
//   Let b = x w / q and |b| < 2^51, which keeps 1.5 * 2^52 + b in [2^52, 2^53), where doubles are
//   the integers. h and inverse have a relative error of u each, so |c - b| <= 1/2 + 2^-52 |b| (1 +
//   u), and the result, x w - c q, has magnitude at most q (1/2 + 2^-52 |b| (1 + u)): below q when
//   |b| < 2^51 (1 - u). |l| <= 2^46 (x w < 2^100), so h - c q = result - l is an integer below
//   2^49: the FMA that makes it is exact, and so is the last addition. With w centred, |w| < q / 2:
//   |x| <= 16 q will do, and |result| < q (1/2 + |x| / (32 q)) + 1. With w in [0, q): |x| <= 8 q
//   will do, and |result| < q (1/2 + |x| / (16 q)) + 1.
//
// Reduction of x, |x| <= 2^53: the same with w = 1. b = x / q, |b| < 33, so |c - b| < 1/2 + 2^-47,
// and the result is an integer of magnitude at most q / 2 + 2.
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
/// Byte shuffles make a zero of it.
constexpr std::uint8_t kNoByte = 0x80;

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

/// Registers that go through a chain of operations side by side, one operation at a time. A chain
/// takes some four cycles an operation; register by register it would fill a processor's scheduler.
constexpr std::size_t kBatch = 4;

/// Arithmetic modulo one prime; see the head of the file.
struct Field {
  Real q, inverse;
  Real half;         ///< (q - 1) / 2
  Real raised_half;  ///< 2^52 + (q - 1) / 2

  Field() = default;
  explicit Field(std::uint64_t modulus)
      : q(splat(static_cast<double>(modulus))),
        inverse(splat(1.0 / static_cast<double>(modulus))),
        half(splat(static_cast<double>((modulus - 1) >> 1))),
        raised_half(splat(kTwo52 + static_cast<double>((modulus - 1) >> 1))) {}

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

  /// x with |x| <= 15 q -> [0, q). The quotient is the nearest integer to y = (x - (q - 1) / 2) /
  /// q. With x = k q + s, 0 <= s < q, that is k + (s - (q - 1) / 2) / q: at least 1 / (2 q) > 2^-49
  /// away from a tie. The FMA rounds once; the error of inverse moves y by less than 15.5 * 2^-53.
  Real canonical(Real x) const { return _mm256_fnmadd_pd(quotient(_mm256_sub_pd(x, half)), q, x); }
  /// 2^52 + x with 0 <= x <= 15 q -> 2^52 + (x mod q), four registers.
  [[gnu::always_inline]] void make_canonical(Real* raised) const {
    Real k[kBatch];
#pragma GCC unroll 4
    for (std::size_t i = 0; i < kBatch; ++i) k[i] = _mm256_sub_pd(raised[i], raised_half);
#pragma GCC unroll 4
    for (std::size_t i = 0; i < kBatch; ++i) k[i] = _mm256_fmadd_pd(k[i], inverse, splat(kRound));
#pragma GCC unroll 4
    for (std::size_t i = 0; i < kBatch; ++i) k[i] = _mm256_sub_pd(k[i], splat(kRound));
#pragma GCC unroll 4
    for (std::size_t i = 0; i < kBatch; ++i) raised[i] = _mm256_fnmadd_pd(k[i], q, raised[i]);
  }
};

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
[[gnu::always_inline]] inline void aes_rounds(const AesKey& key, Block s[kChunkBlocks]) {
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
[[gnu::always_inline]] inline void ctr_start(const AesKey& key, std::uint64_t index,
                                             std::uint64_t counter, Block s[kChunkBlocks]) {
  const Block base =
      _mm_xor_si128(_mm_set_epi64x(static_cast<long long>(index), static_cast<long long>(counter)),
                    round_key(key, 0));
#pragma GCC unroll 8
  for (std::size_t i = 0; i < kChunkBlocks; ++i) {
    s[i] = _mm_xor_si128(base, _mm_load_si128(reinterpret_cast<const Block*>(kCounters.words[i])));
  }
}

// --- centred binomial errors --------------------------------------------------------------------

/// 32 bytes of keystream -> 16 samples of 16 bits. Bits are counted four at a time by a table of
/// sixteen in a register (Mula 2008).
[[gnu::always_inline]] inline Vec samples_of(Vec bytes) {
  const Vec counts = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4,  //
                                      0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
  const Vec nibbles = _mm256_set1_epi8(0x0f);
  const Vec low = _mm256_and_si256(bytes, nibbles);
  const Vec high = _mm256_and_si256(_mm256_srli_epi16(bytes, 4), nibbles);
  const Vec ones =
      _mm256_add_epi8(_mm256_shuffle_epi8(counts, low), _mm256_shuffle_epi8(counts, high));
  return _mm256_maddubs_epi16(ones, _mm256_set1_epi16(static_cast<short>(0xff01)));
}

constexpr std::size_t kErrorChunk = 64;  ///< samples that eight AES blocks make

/// The samples of one chunk.
struct Samples {
  alignas(32) std::int16_t e[kErrorChunk];
};

[[gnu::always_inline]] inline void make_samples(const Block s[kChunkBlocks], Samples& samples) {
#pragma GCC unroll 4
  for (std::size_t i = 0; i < kChunkBlocks / 2; ++i) {
    _mm256_store_si256(reinterpret_cast<Vec*>(samples.e + 16 * i),
                       samples_of(join(s[2 * i], s[2 * i + 1])));
  }
}

/// Calls work(j, samples) for j = 0, 16, ... below n (a multiple of eight) with the samples of
/// coefficients j ... j + 15, of which the last eight do not count where n ends. Samples are made
/// 256 at a time: AES alone keeps its own units busy.
template <int kRounds, typename Work>
[[gnu::always_inline]] inline void for_each_sixteen(const AesKey& key, std::uint64_t index,
                                                    std::size_t n, Work& work) {
  constexpr std::size_t kChunks = 4;
  Samples samples[kChunks];
  for (std::size_t start = 0; start < n; start += kChunks * kErrorChunk) {
    const std::size_t left = n - start;
    const std::size_t now = left < kChunks * kErrorChunk ? left : kChunks * kErrorChunk;
    for (std::size_t c = 0; c * kErrorChunk < now; ++c) {
      Block s[kChunkBlocks];
      ctr_start(key, index, (start + c * kErrorChunk) / kGroup, s);
      aes_rounds<kRounds, 1, kRounds>(key, s);
      make_samples(s, samples[c]);
    }
    for (std::size_t j = 0; j < now; j += 16) work(start + j, samples[0].e + j);
  }
  wipe(samples);
}

}  // namespace
}  // namespace veilsum::isa::avx2
