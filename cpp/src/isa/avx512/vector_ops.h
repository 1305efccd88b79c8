// Layer: isa, level avx512. Eight 64-bit lanes at a time: modular products by IFMA, 50-bit packing,
// AES rounds on four blocks a register. Everything lies in an anonymous namespace: each kernel file
// gets its own copy and none can be merged with code built for another level.
#pragma once

// GCC 12 calls its own _mm512_undefined_epi32() uninitialised (PR 105593).
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

#include <cstddef>
#include <cstdint>

#include "isa/kernels.h"

namespace veilsum::isa::avx512 {
namespace {

using Vec = __m512i;
__extension__ typedef unsigned __int128 Wide;

constexpr std::uint64_t kMask52 = (std::uint64_t{1} << 52) - 1;

inline Vec splat(std::uint64_t value) { return _mm512_set1_epi64(static_cast<long long>(value)); }

/// Low and high 52 bits of the 104-bit products of the low 52 bits of a and b, plus c.
inline Vec add_low(Vec c, Vec a, Vec b) { return _mm512_madd52lo_epu64(c, a, b); }
inline Vec add_high(Vec c, Vec a, Vec b) { return _mm512_madd52hi_epu64(c, a, b); }

/// [0, 2 * bound) -> [0, bound): the difference wraps to a huge number exactly when x < bound.
inline Vec reduce_once(Vec x, Vec bound) { return _mm512_min_epu64(x, _mm512_sub_epi64(x, bound)); }

/// Shoup product (Harvey 2014): x * w - floor(x * w' / 2^52) * q for x < 2^52. The low 52 bits of
/// the result are the value, in [0, 2q); bit 52 may hold a carry ("dirty"). `minus_q` is 2^52 - q.
/// A dirty value may go straight into another product, which reads only the low 52 bits.
inline Vec multiply_dirty(Vec x, Vec w, Vec w_shoup, Vec minus_q) {
  const Vec zero = _mm512_setzero_si512();
  const Vec h = add_high(zero, x, w_shoup);
  return add_low(add_low(zero, x, w), h, minus_q);
}

/// The same, clean: [0, 2q).
inline Vec multiply_lazy(Vec x, Vec w, Vec w_shoup, Vec minus_q, Vec mask52) {
  return _mm512_and_si512(multiply_dirty(x, w, w_shoup, minus_q), mask52);
}

/// Scalar counterpart of multiply_lazy, for cold paths and the tests' sake the same numbers.
inline std::uint64_t multiply_lazy_scalar(std::uint64_t x, std::uint64_t w, std::uint64_t w_shoup,
                                          std::uint64_t q) {
  const std::uint64_t h = static_cast<std::uint64_t>((static_cast<Wide>(x) * w_shoup) >> 52);
  return (x * w - h * q) & kMask52;
}

// --- 50-bit packing -----------------------------------------------------------------------------
// Lane l starts at bit 50 l: byte {0,6,12,18,25,31,37,43}[l], shifted by {0,2,4,6,0,2,4,6}[l]. A
// shifted lane covers seven bytes and shares its last byte with the next lane's first, so even and
// odd lanes are permuted apart and or-ed.

constexpr __mmask64 kGroupMask = (__mmask64{1} << kGroupBytes) - 1;

struct PackTables {
  alignas(64) std::uint8_t even[64];
  alignas(64) std::uint8_t odd[64];
  alignas(64) std::uint8_t spread[64];
  std::uint64_t even_mask;
  std::uint64_t odd_mask;
};

constexpr PackTables make_pack_tables() {
  PackTables tables{};
  constexpr std::size_t kFirstByte[8] = {0, 6, 12, 18, 25, 31, 37, 43};
  for (std::size_t lane = 0; lane < 8; ++lane) {
    for (std::size_t k = 0; k < 8; ++k) {
      const std::size_t byte = kFirstByte[lane] + k;
      tables.spread[8 * lane + k] = static_cast<std::uint8_t>(byte);
      if (k == 7) continue;
      if (lane % 2 == 0) {
        tables.even[byte] = static_cast<std::uint8_t>(8 * lane + k);
        tables.even_mask |= std::uint64_t{1} << byte;
      } else {
        tables.odd[byte] = static_cast<std::uint8_t>(8 * lane + k);
        tables.odd_mask |= std::uint64_t{1} << byte;
      }
    }
  }
  return tables;
}

constexpr PackTables kPackTables = make_pack_tables();
alignas(64) constexpr std::uint64_t kPackShift[8] = {0, 2, 4, 6, 0, 2, 4, 6};

struct Packer {
  Vec shift = _mm512_load_si512(kPackShift);
  Vec even = _mm512_load_si512(kPackTables.even);
  Vec odd = _mm512_load_si512(kPackTables.odd);

  /// Eight values below 2^50 -> 50 bytes, the rest zero.
  Vec operator()(Vec x) const {
    const Vec y = _mm512_sllv_epi64(x, shift);
    return _mm512_or_si512(_mm512_maskz_permutexvar_epi8(kPackTables.even_mask, even, y),
                           _mm512_maskz_permutexvar_epi8(kPackTables.odd_mask, odd, y));
  }
};

inline void store_group(std::uint8_t* out, Vec packed) {
  _mm512_mask_storeu_epi8(out, kGroupMask, packed);
}

struct Unpacker {
  Vec shift = _mm512_load_si512(kPackShift);
  Vec spread = _mm512_load_si512(kPackTables.spread);
  Vec mask = splat(kResidueMask);

  /// 50 bytes (what follows is ignored) -> eight values below 2^50.
  Vec operator()(Vec bytes) const {
    const Vec y = _mm512_permutexvar_epi8(spread, bytes);
    return _mm512_and_si512(_mm512_srlv_epi64(y, shift), mask);
  }
};

inline Vec load_group(const std::uint8_t* in) { return _mm512_maskz_loadu_epi8(kGroupMask, in); }

// --- AES ----------------------------------------------------------------------------------------

/// Round keys, each four times: one register encrypts four blocks.
struct RoundKeys {
  Vec k[15];
};

template <int kRounds>
inline void load_round_keys(const AesKey& key, RoundKeys& out) {
#pragma GCC unroll 15
  for (int i = 0; i <= kRounds; ++i) {
    out.k[i] = _mm512_broadcast_i32x4(
        _mm_load_si128(reinterpret_cast<const __m128i*>(key.bytes + 16 * i)));
  }
}

/// Clears secrets that stood on the stack; the barrier keeps the stores.
template <typename T>
inline void wipe(T& secret) {
  static_assert(sizeof(T) % 64 == 0);
  unsigned char* bytes = reinterpret_cast<unsigned char*>(&secret);
  for (std::size_t i = 0; i < sizeof(T); i += 64) {
    _mm512_storeu_si512(bytes + i, _mm512_setzero_si512());
  }
  __asm__ __volatile__("" : : "r"(&secret) : "memory");
}

/// Counters 4i ... 4i + 3 in the low words of register i of eight; the high words are zero.
struct CounterTable {
  alignas(64) std::uint64_t words[8][8];
};
constexpr CounterTable make_counter_table() {
  CounterTable table{};
  for (std::size_t i = 0; i < 8; ++i) {
    for (std::size_t b = 0; b < 4; ++b) table.words[i][2 * b] = 4 * i + b;
  }
  return table;
}
constexpr CounterTable kCounters = make_counter_table();

constexpr std::size_t kChunk = 64;        ///< keystream words of one chunk: eight registers
constexpr std::size_t kChunkBlocks = 32;  ///< AES blocks of one chunk

/// Eight counter blocks after the first key addition. `counter` is a multiple of 32, so that the
/// low five bits can be set by exclusive or.
template <int kRounds>
inline void ctr_start(const RoundKeys& keys, std::uint64_t index, std::uint64_t counter, Vec s[8]) {
  const __m128i block =
      _mm_set_epi64x(static_cast<long long>(index), static_cast<long long>(counter));
  const Vec base = _mm512_xor_si512(_mm512_broadcast_i32x4(block), keys.k[0]);
#pragma GCC unroll 8
  for (std::size_t i = 0; i < 8; ++i) {
    s[i] = _mm512_xor_si512(base, _mm512_load_si512(kCounters.words[i]));
  }
}

/// Operations first ... last - 1 of the 8 * kRounds that remain, round by round: callers spread
/// them between other work, because AES has one port and latency to hide.
template <int kRounds, int kFirst, int kLast>
inline void ctr_advance(const RoundKeys& keys, Vec s[8]) {
#pragma GCC unroll 128
  for (int op = kFirst; op < kLast; ++op) {
    const int round = op / 8 + 1;
    const int i = op % 8;
    s[i] = round < kRounds ? _mm512_aesenc_epi128(s[i], keys.k[round])
                           : _mm512_aesenclast_epi128(s[i], keys.k[round]);
  }
}

/// Keystream words 2 * counter ... 2 * counter + 63 of (key, index).
template <int kRounds>
inline void ctr_chunk(const RoundKeys& keys, std::uint64_t index, std::uint64_t counter, Vec s[8]) {
  ctr_start<kRounds>(keys, index, counter, s);
  ctr_advance<kRounds, 0, 8 * kRounds>(keys, s);
}

/// One chunk of work beside the AES of the next: `finish(i, word)` for the registers of `current`,
/// an eighth of the rounds of `next` after each.
template <int kRounds, int kStep, typename Finish>
inline void pipelined_chunk(const RoundKeys& keys, const Vec current[8], Vec next[8],
                            Finish& finish) {
  finish(std::size_t{kStep}, current[kStep]);
  ctr_advance<kRounds, kStep * kRounds, (kStep + 1) * kRounds>(keys, next);
  if constexpr (kStep < 7) {
    pipelined_chunk<kRounds, kStep + 1>(keys, current, next, finish);
  }
}

}  // namespace
}  // namespace veilsum::isa::avx512
