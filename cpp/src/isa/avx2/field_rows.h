// Layer: isa, level avx2. Rows of B-bit fields in registers, sixteen fields (two groups of eight)
// at a time. Byte shuffles of this level stay inside 16 bytes, so the four registers are "pairs":
// register i holds fields 2i and 2i + 1 of the first group in its lower half and of the second
// group in its upper half. Each half then moves the same way, and what two neighbouring pairs of a
// group have in common, one byte, is passed on within the half. In a lane of 64 bits a field lies
// at bit `at`: 0, or where rounding left it. Everything is in an anonymous namespace; see
// vector_ops.h.
#pragma once

#include "isa/avx2/vector_ops.h"

namespace veilsum::isa::avx2 {
namespace {

constexpr std::size_t kPairs = 4;  ///< pairs of a group
constexpr std::size_t kSixteen = 2 * kGroup;
/// What 16-byte loads and stores of the last pair may touch beyond a group's bytes.
constexpr std::size_t kSlack = 16;
constexpr std::size_t kMostBits = 52;
/// Bytes of a bounce buffer: two groups and what stands over.
constexpr std::size_t kBounce = 2 * kMostBits + kSlack;

inline Vec twice(Block half) { return join(half, half); }

inline void set_shifts(Vec& shifts, std::uint32_t even, std::uint32_t odd) {
  shifts = _mm256_setr_epi64x(even, odd, even, odd);
}

/// From bytes to lanes: field of `table` at bit `at` of its lane. What lies around it in the lane
/// is garbage.
class FieldLoader {
 public:
  FieldLoader(std::uint32_t bits, std::uint32_t at) : bits_(bits) {
    for (std::uint32_t i = 0; i < kPairs; ++i) {
      begin_[i] = 2 * i * bits / 8;
      alignas(16) std::uint8_t bytes[16];
      std::uint32_t shift[2];
      for (std::uint32_t odd = 0; odd < 2; ++odd) {
        const std::uint32_t bit = (2 * i + odd) * bits;
        // The lane's first `up` bytes are empty, so that a right shift is left.
        const std::uint32_t up = (at + 7 - bit % 8) / 8;
        shift[odd] = 8 * up + bit % 8 - at;
        for (std::uint32_t j = 0; j < 8; ++j) {
          const std::uint32_t from = bit / 8 - begin_[i] + j - up;
          bytes[8 * odd + j] = static_cast<std::uint8_t>(j < up || from > 15 ? kNoByte : from);
        }
      }
      take_[i] = twice(_mm_load_si128(reinterpret_cast<const Block*>(bytes)));
      set_shifts(shift_[i], shift[0], shift[1]);
    }
  }
  /// Pair i of the groups at `in` and in + bits.
  [[gnu::always_inline]] Vec pair(const std::uint8_t* in, std::size_t i) const {
    const std::uint8_t* p = in + begin_[i];
    const Vec bytes = join(load_half(p), load_half(p + bits_));
    return _mm256_srlv_epi64(_mm256_shuffle_epi8(bytes, take_[i]), shift_[i]);
  }
  std::uint32_t bits() const { return bits_; }

 private:
  Vec take_[kPairs];
  Vec shift_[kPairs];
  std::uint32_t bits_;
  std::uint32_t begin_[kPairs];
};

/// From lanes to bytes: fields at bit `at` of their lanes, everything else zero.
class FieldStorer {
 public:
  FieldStorer(std::uint32_t bits, std::uint32_t at) : bits_(bits) {
    if (bits < 8) {
      for (std::uint32_t i = 0; i < kPairs; ++i)
        set_shifts(shift_[i], 2 * i * bits, (2 * i + 1) * bits);
      return;
    }
    for (std::uint32_t i = 0; i < kPairs; ++i) {
      begin_[i] = 2 * i * bits / 8;
      alignas(16) std::uint8_t bytes[2][16];
      std::uint32_t shift[2];
      for (std::uint32_t odd = 0; odd < 2; ++odd) {
        const std::uint32_t bit = 2 * i * bits % 8 + odd * bits;  // in the pair's bytes
        shift[odd] = (bit - at) % 8;
        const std::uint32_t down = (at + shift[odd]) / 8;  // bytes of the lane below the field
        for (std::uint32_t j = 0; j < 16; ++j) {
          const std::uint32_t from = j - bit / 8 + down;
          bytes[odd][j] =
              static_cast<std::uint8_t>(j < bit / 8 || from > 7 ? kNoByte : 8 * odd + from);
        }
      }
      even_[i] = twice(_mm_load_si128(reinterpret_cast<const Block*>(bytes[0])));
      odd_[i] = twice(_mm_load_si128(reinterpret_cast<const Block*>(bytes[1])));
      set_shifts(shift_[i], shift[0], shift[1]);
    }
    for (std::uint32_t i = 0; i + 1 < kPairs; ++i) {
      const bool shared = 2 * (i + 1) * bits % 8 != 0;
      const std::uint32_t last = shared ? begin_[i + 1] - begin_[i] : kNoByte;
      const Block none = _mm_set1_epi8(static_cast<char>(kNoByte));
      carry_[i] = twice(_mm_insert_epi8(none, static_cast<int>(last), 0));
    }
  }

  /// Writes the two groups, 2 * bits bytes, and up to kSlack bytes beyond.
  [[gnu::always_inline]] void store_pairs(std::uint8_t* out, const Vec x[kPairs]) const {
    if (__builtin_expect(bits_ < 8, 0)) {
      store_narrow(out, x);
      return;
    }
    Vec bytes[kPairs];
#pragma GCC unroll 4
    for (std::size_t i = 0; i < kPairs; ++i) {
      const Vec y = _mm256_sllv_epi64(x[i], shift_[i]);
      bytes[i] = _mm256_or_si256(_mm256_shuffle_epi8(y, even_[i]), _mm256_shuffle_epi8(y, odd_[i]));
      if (i > 0) {
        bytes[i] = _mm256_or_si256(bytes[i], _mm256_shuffle_epi8(bytes[i - 1], carry_[i - 1]));
      }
    }
#pragma GCC unroll 4
    for (std::size_t i = 0; i < kPairs; ++i) {
      store_half(out + begin_[i], _mm256_castsi256_si128(bytes[i]));
    }
#pragma GCC unroll 4
    for (std::size_t i = 0; i < kPairs; ++i) {
      store_half(out + bits_ + begin_[i], _mm256_extracti128_si256(bytes[i], 1));
    }
  }
  /// Fields 4i ... 4i + 3 in register i.
  [[gnu::always_inline]] void store_natural(std::uint8_t* out, const Vec x[kPairs]) const {
    const Vec pairs[kPairs] = {
        _mm256_permute2x128_si256(x[0], x[2], 0x20), _mm256_permute2x128_si256(x[0], x[2], 0x31),
        _mm256_permute2x128_si256(x[1], x[3], 0x20), _mm256_permute2x128_si256(x[1], x[3], 0x31)};
    store_pairs(out, pairs);
  }
  std::uint32_t bits() const { return bits_; }

 private:
  static void store_half(std::uint8_t* out, Block x) {
    _mm_storeu_si128(reinterpret_cast<Block*>(out), x);
  }
  /// A group is at most seven bytes: one word.
  [[gnu::noinline]] void store_narrow(std::uint8_t* out, const Vec x[kPairs]) const {
    Vec sum = _mm256_sllv_epi64(x[0], shift_[0]);
    for (std::size_t i = 1; i < kPairs; ++i) {
      sum = _mm256_or_si256(sum, _mm256_sllv_epi64(x[i], shift_[i]));
    }
    sum = _mm256_or_si256(sum, _mm256_unpackhi_epi64(sum, sum));
    _mm_storel_epi64(reinterpret_cast<Block*>(out), _mm256_castsi256_si128(sum));
    _mm_storel_epi64(reinterpret_cast<Block*>(out + bits_), _mm256_extracti128_si256(sum, 1));
  }

  Vec shift_[kPairs];
  Vec even_[kPairs];
  Vec odd_[kPairs];
  Vec carry_[kPairs - 1];
  std::uint32_t bits_;
  std::uint32_t begin_[kPairs];
};

/// Where sixteen fields may be read or written in place: a row ends after `bytes`.
struct RowEnd {
  std::size_t bytes;
  std::uint32_t bits;
  RowEnd(std::size_t coefficients, std::uint32_t field_bits)
      : bytes(coefficients / kGroup * field_bits), bits(field_bits) {}
  /// Fields j ... j + 15 and what may be touched beyond.
  bool has_room(std::size_t j) const { return j / kGroup * bits + 2 * bits + kSlack <= bytes; }
  std::size_t left(std::size_t j) const {
    const std::size_t at = j / kGroup * bits;
    return bytes - at < 2 * bits ? bytes - at : 2 * bits;
  }
};

}  // namespace
}  // namespace veilsum::isa::avx2
