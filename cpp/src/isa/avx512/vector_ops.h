// Layer: isa, level avx512. Eight 64-bit lanes at a time: modular products by IFMA, packed fields,
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

constexpr std::uint64_t kMask52 = (std::uint64_t{1} << 52) - 1;

inline Vec splat(std::uint64_t value) { return _mm512_set1_epi64(static_cast<long long>(value)); }

/// Low and high 52 bits of the 104-bit products of the low 52 bits of a and b, plus c.
inline Vec add_low(Vec c, Vec a, Vec b) { return _mm512_madd52lo_epu64(c, a, b); }
inline Vec add_high(Vec c, Vec a, Vec b) { return _mm512_madd52hi_epu64(c, a, b); }

/// [0, 2 * bound) -> [0, bound): the difference wraps to a huge number exactly when x < bound.
inline Vec reduce_once(Vec x, Vec bound) { return _mm512_min_epu64(x, _mm512_sub_epi64(x, bound)); }

// --- residues -----------------------------------------------------------------------------------
// Sums and products are left with anything above bit 52 ("dirty"): products read the low 52 bits
// alone, so that nothing has to be masked until a word is shifted, compared or packed.

/// Shoup product (Harvey 2014): x * w - floor(x * w' / 2^52) * q for x < 2^52. The low 52 bits are
/// the value, in [0, 2q). `minus_q` is 2^52 - q.
inline Vec multiply_dirty(Vec x, Vec w, Vec w_shoup, Vec minus_q) {
  const Vec zero = _mm512_setzero_si512();
  const Vec h = add_high(zero, x, w_shoup);
  return add_low(add_low(zero, x, w), h, minus_q);
}

/// Any word -> dirty, below 2^48 + 2^28 < 2q: 16 / 2^52 of it is its bits from 48 on, of which each
/// takes off a q. `sixteen` holds 16.
inline Vec reduce_dirty(Vec x, Vec sixteen, Vec minus_q) {
  return add_low(x, add_high(_mm512_setzero_si512(), x, sixteen), minus_q);
}

/// Any word -> [0, q), clean. 2^48 = delta modulo q.
struct Canonical {
  Vec sixteen, mask48, delta, q;

  explicit Canonical(const Modulus& modulus)
      : sixteen(splat(16)),
        mask48(splat((std::uint64_t{1} << kPrimeBits) - 1)),
        delta(splat(modulus.delta)),
        q(splat(modulus.q)) {}
  Vec operator()(Vec x) const {
    const Vec high = add_high(_mm512_setzero_si512(), x, sixteen);
    return reduce_once(add_low(_mm512_and_si512(x, mask48), high, delta), q);
  }
};

// --- packed fields ------------------------------------------------------------------------------
// See isa::FieldTable. A window is the 64-bit word in which a field begins at bit first_bit of its
// lane. Even and odd fields never share a byte with their like, so each kind is brought to its
// place by one byte permute, and one selection by bits joins the two: what stands in a window above
// or below its field falls away there.

/// Windows -> the group's bytes; what lies beyond them is left over. Widths of at least 8.
struct Packer {
  Vec even, odd, select;

  explicit Packer(const FieldTable& table)
      : even(_mm512_load_si512(table.even_bytes)), odd(_mm512_load_si512(table.odd_bytes)) {
    const Vec fields = _mm512_maskz_sllv_epi64(0x55, splat(table.mask), first_bit(table));
    select = _mm512_maskz_permutexvar_epi8(table.even_mask, even, fields);
  }
  static Vec first_bit(const FieldTable& table) { return _mm512_load_si512(table.first_bit); }
  Vec operator()(Vec windows) const {
    return _mm512_ternarylogic_epi64(select, _mm512_permutexvar_epi8(even, windows),
                                     _mm512_permutexvar_epi8(odd, windows), 0xca);
  }
};

/// Eight words, of which the low bits are packed, -> the group's bytes. Any width: fields of fewer
/// than eight bits are one word of 64 together.
struct RowPacker {
  Packer wide;
  Vec first_bit;
  std::uint64_t narrow;  ///< 0, or the fields' bits in bytes

  explicit RowPacker(const FieldTable& table)
      : wide(table),
        first_bit(Packer::first_bit(table)),
        narrow(table.bits < 8 ? table.mask * 0x0101010101010101u : 0) {}
  Vec operator()(Vec x) const {
    if (narrow == 0) return wide(_mm512_sllv_epi64(x, first_bit));
    const auto bytes = static_cast<std::uint64_t>(_mm_cvtsi128_si64(_mm512_cvtepi64_epi8(x)));
    return _mm512_zextsi128_si512(
        _mm_cvtsi64_si128(static_cast<long long>(_pext_u64(bytes, narrow))));
  }
};

/// The group's bytes (what follows is ignored) -> words that hold a field in their low bits, under
/// bits of its neighbours.
struct Unpacker {
  Vec windows, first_bit;

  explicit Unpacker(const FieldTable& table)
      : windows(_mm512_load_si512(table.window_bytes)), first_bit(Packer::first_bit(table)) {}
  Vec operator()(Vec bytes) const {
    return _mm512_srlv_epi64(_mm512_permutexvar_epi8(windows, bytes), first_bit);
  }
};

inline __mmask64 group_mask(std::uint32_t bits) { return (__mmask64{1} << bits) - 1; }

/// Groups of one row. Whole registers are read and written wherever they end inside the row: masked
/// stores are twice as dear where they cross lines. A whole store runs over the groups that follow,
/// so groups are written in ascending order.
struct RowReader {
  const std::uint8_t* row;
  std::size_t bits;
  std::size_t whole;  ///< groups before this one are read whole
  __mmask64 mask;

  RowReader(const std::uint8_t* at, std::uint32_t width, std::size_t groups)
      : row(at), bits(width), whole(whole_groups(width, groups)), mask(group_mask(width)) {}
  static std::size_t whole_groups(std::uint32_t width, std::size_t groups) {
    const std::size_t last = (64 + width - 1) / width - 1;  // whose registers leave the row
    return groups > last ? groups - last : 0;
  }
  Vec operator()(std::size_t group) const {
    const std::uint8_t* at = row + group * bits;
    return group < whole ? _mm512_loadu_si512(at) : _mm512_maskz_loadu_epi8(mask, at);
  }
};

struct RowWriter {
  std::uint8_t* row;
  std::size_t bits;
  std::size_t whole;
  __mmask64 mask;

  RowWriter(std::uint8_t* at, std::uint32_t width, std::size_t groups)
      : row(at),
        bits(width),
        whole(RowReader::whole_groups(width, groups)),
        mask(group_mask(width)) {}
  void operator()(std::size_t group, Vec bytes) const {
    std::uint8_t* at = row + group * bits;
    if (group < whole) {
      _mm512_storeu_si512(at, bytes);
    } else {
      _mm512_mask_storeu_epi8(at, mask, bytes);
    }
  }
};

/// Residues of 48 bits are six whole bytes each: one permute either way.
struct ResiduePermutes {
  alignas(64) std::uint8_t pack[64];
  alignas(64) std::uint8_t unpack[64];
};
constexpr ResiduePermutes make_residue_permutes() {
  ResiduePermutes permutes{};
  for (std::size_t lane = 0; lane < kGroup; ++lane) {
    for (std::size_t k = 0; k < 6; ++k) {
      permutes.pack[6 * lane + k] = static_cast<std::uint8_t>(8 * lane + k);
      permutes.unpack[8 * lane + k] = static_cast<std::uint8_t>(6 * lane + k);
    }
  }
  return permutes;
}
constexpr ResiduePermutes kResiduePermutes = make_residue_permutes();
constexpr __mmask64 kResidueLanes = 0x3f3f3f3f3f3f3f3fu;  ///< the low six bytes of each lane

struct ResiduePacker {
  Vec permute = _mm512_load_si512(kResiduePermutes.pack);
  Vec operator()(Vec x) const { return _mm512_permutexvar_epi8(permute, x); }
};

struct ResidueUnpacker {
  Vec permute = _mm512_load_si512(kResiduePermutes.unpack);
  Vec operator()(Vec bytes) const {
    return _mm512_maskz_permutexvar_epi8(kResidueLanes, permute, bytes);
  }
};

// --- memory asked for ----------------------------------------------------------------------------

/// Lines that are asked for while a kernel works, a few a step, into the second-level cache: the
/// first one has buffers for some two dozen requests, so that all of them at once would stall.
class Lines {
 public:
  Lines(const void* begin, std::size_t bytes, std::size_t steps)
      : at_(static_cast<const char*>(begin)), per_step_((bytes / 64 + steps) / steps) {
    if (bytes == 0) per_step_ = 0;
  }
  void read() {
    for (std::size_t k = 0; k < per_step_; ++k, at_ += 64) _mm_prefetch(at_, _MM_HINT_T1);
  }
  void write() {
    for (std::size_t k = 0; k < per_step_; ++k, at_ += 64) __builtin_prefetch(at_, 1, 2);
  }

 private:
  const char* at_;
  std::size_t per_step_;
};

// --- digits -------------------------------------------------------------------------------------

inline Vec load_digits(const std::uint32_t* digits) {
  return _mm512_cvtepu32_epi64(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(digits)));
}

/// floor(x / d) for x < 2^bits, bits <= 50, d >= 2: one high product and a shift, which is zero
/// where the product's bits suffice. isa::Divider's multiplier is r = ceil(2^(50 + c) / d), c =
/// ceil(log2 d), exact for x < 2^50. Rounding it up at bit j leaves ceil(2^(52 + s) / d) + e with s
/// = c - 2 - j and e < 1, an error below 2; exact while x * 2 * d <= 2^(52 + s), that is for s >=
/// bits + c - 51.
struct Quotient {
  Vec multiplier, shift;

  Quotient() = default;
  Quotient(const Divider& divider, std::uint32_t bits) {
    const std::uint32_t c = divider.shift;
    const std::uint32_t s = shift_of(divider, bits);
    shift = splat(s);
    if (c < 2) {  // d = 2; a divisor of one is not for here
      multiplier = splat(divider.multiplier << 1);
    } else {
      const std::uint32_t j = c - 2 - s;
      multiplier = splat((divider.multiplier + ((std::uint64_t{1} << j) - 1)) >> j);
    }
  }
  static std::uint32_t shift_of(const Divider& divider, std::uint32_t bits) {
    const std::uint32_t c = divider.shift;
    if (c < 2 || bits + c <= 51) return 0;
    return bits <= 49 ? bits + c - 51 : c - 2;
  }
  /// Where the shift is known to be zero.
  Vec unshifted(Vec x) const { return add_high(_mm512_setzero_si512(), x, multiplier); }
  Vec operator()(Vec x) const {
    return _mm512_srlv_epi64(add_high(_mm512_setzero_si512(), x, multiplier), shift);
  }
};

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

constexpr std::size_t kChunkBlocks = 32;  ///< AES blocks of one chunk of aes_ctr

/// Operations first ... last - 1 of the kRegisters * kRounds that follow the first key addition,
/// round by round: callers spread them between other work, because AES has latency to hide.
template <int kRounds, int kRegisters, int kFirst, int kLast>
[[gnu::always_inline]] inline void ctr_advance(const RoundKeys& keys, Vec* s) {
#pragma GCC unroll 128
  for (int op = kFirst; op < kLast; ++op) {
    const int round = op / kRegisters + 1;
    const int i = op % kRegisters;
    s[i] = round < kRounds ? _mm512_aesenc_epi128(s[i], keys.k[round])
                           : _mm512_aesenclast_epi128(s[i], keys.k[round]);
  }
}

/// Counter blocks after the first key addition, two registers (eight blocks) at a time. `counter`
/// is a multiple of eight, so that its low bits can be set by exclusive or.
struct CounterStream {
  Vec base, low, high;

  CounterStream(const RoundKeys& keys, std::uint64_t index, std::uint64_t counter)
      : base(_mm512_broadcast_i32x4(
            _mm_set_epi64x(static_cast<long long>(index), static_cast<long long>(counter)))),
        low(_mm512_xor_si512(keys.k[0], _mm512_load_si512(kCounters.words[0]))),
        high(_mm512_xor_si512(keys.k[0], _mm512_load_si512(kCounters.words[1]))) {}
  void next(Vec& first, Vec& second) {
    first = _mm512_xor_si512(base, low);
    second = _mm512_xor_si512(base, high);
    base = _mm512_add_epi64(base, _mm512_broadcast_i32x4(_mm_set_epi64x(0, 8)));
  }
};

// --- errors -------------------------------------------------------------------------------------

/// CBD samples from AES-CTR: two bytes each, eight in a block. A chunk is two registers, 64
/// samples. The last round key inverts every second byte, so that the population count of a 16-bit
/// word is e + 8.
template <int kRounds>
struct ErrorKeys {
  RoundKeys round;

  explicit ErrorKeys(const AesKey& key) {
    load_round_keys<kRounds>(key, round);
    round.k[kRounds] =
        _mm512_xor_si512(round.k[kRounds], _mm512_set1_epi16(static_cast<short>(0xff00)));
  }
  ~ErrorKeys() { wipe(round); }
  ErrorKeys(const ErrorKeys&) = delete;
  ErrorKeys& operator=(const ErrorKeys&) = delete;
};

/// Samples of group k of a register's four, in the lanes' low words.
alignas(64) constexpr std::uint16_t kSampleWords[4][32] = {
    {0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0,
     4, 0, 0, 0, 5, 0, 0, 0, 6, 0, 0, 0, 7, 0, 0, 0},
    {8,  0, 0, 0, 9,  0, 0, 0, 10, 0, 0, 0, 11, 0, 0, 0,
     12, 0, 0, 0, 13, 0, 0, 0, 14, 0, 0, 0, 15, 0, 0, 0},
    {16, 0, 0, 0, 17, 0, 0, 0, 18, 0, 0, 0, 19, 0, 0, 0,
     20, 0, 0, 0, 21, 0, 0, 0, 22, 0, 0, 0, 23, 0, 0, 0},
    {24, 0, 0, 0, 25, 0, 0, 0, 26, 0, 0, 0, 27, 0, 0, 0,
     28, 0, 0, 0, 29, 0, 0, 0, 30, 0, 0, 0, 31, 0, 0, 0}};
constexpr __mmask32 kSampleLanes = 0x11111111u;

inline Vec spread_samples(std::size_t group, Vec samples) {
  return _mm512_maskz_permutexvar_epi16(kSampleLanes, _mm512_load_si512(kSampleWords[group]),
                                        samples);
}

/// Eight coefficients of one digit to where it goes.
inline void store_digits(const DigitRows& rows, std::size_t digit, std::size_t j, Vec x) {
  if (rows.narrow != nullptr) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(rows.narrow + digit * rows.stride + j),
                        _mm512_cvtepi64_epi32(x));
  } else {
    _mm512_storeu_si512(rows.wide + digit * rows.stride + j, x);
  }
}

}  // namespace
}  // namespace veilsum::isa::avx512
