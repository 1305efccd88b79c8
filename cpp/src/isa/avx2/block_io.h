// Layer: isa, level avx2. What the two block files share: messages from digits, pads of 48 bits,
// errors and pads as lanes. Everything is in an anonymous namespace; see vector_ops.h.
#pragma once

#include <cstring>

#include "isa/avx2/field_rows.h"
#include "isa/avx2/vector_ops.h"

namespace veilsum::isa::avx2 {
namespace {

// --- pads of 48 bits ----------------------------------------------------------------------------

/// Four residues in the low 48 bits of their lanes -> 24 bytes at out, and eight beyond.
inline void store_residues(std::uint8_t* out, Vec x) {
  const Vec gather = _mm256_setr_epi8(0, 1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 13, -1, -1, -1, -1,  //
                                      0, 1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 13, -1, -1, -1, -1);
  const Vec together = _mm256_setr_epi32(0, 1, 2, 4, 5, 6, 7, 7);
  store(out, _mm256_permutevar8x32_epi32(_mm256_shuffle_epi8(x, gather), together));
}

/// 24 bytes, no other is read -> four residues.
inline Vec load_residues(const std::uint8_t* in) {
  const Vec spread = _mm256_setr_epi8(0, 1, 2, 3, 4, 5, -1, -1, 6, 7, 8, 9, 10, 11, -1, -1,  //
                                      4, 5, 6, 7, 8, 9, -1, -1, 10, 11, 12, 13, 14, 15, -1, -1);
  return _mm256_shuffle_epi8(join(load_half(in), load_half(in + 8)), spread);
}

// --- digits -------------------------------------------------------------------------------------

/// t of a plan, from what its view holds: with one digit limit = Delta t.
inline std::uint64_t digit_base(const BlockView& view) {
  if (view.base.divisor != 0) return view.base.divisor;
  return view.limb_count == 1 ? view.limit[0] / view.delta.divisor : 0;
}

inline Real signed_digits(const std::uint32_t* p) { return _mm256_cvtepi32_pd(load_half(p)); }
inline Real unsigned_digits(const std::uint32_t* p) {
  return to_real(_mm256_cvtepu32_epi64(load_half(p)));
}

/// sum_d digit_d t^d for four coefficients, exact below 2^53. kDigits: how many, or 0 for `count`.
/// kSigned: digits are below 2^31, whose conversion is one instruction.
template <int kDigits, bool kSigned>
struct DigitReader {
  Real base;
  std::size_t count;

  static Real four(const std::uint32_t* p) {
    return kSigned ? signed_digits(p) : unsigned_digits(p);
  }
  Real operator()(const std::uint32_t* p, std::size_t stride) const {
    std::size_t d = kDigits == 0 ? count : std::size_t{kDigits};
    Real message = four(p + --d * stride);
    while (d != 0) message = _mm256_fmadd_pd(message, base, four(p + --d * stride));
    return message;
  }
};

/// A lane of a pad or a keystream's error.
inline Vec clean(Vec pads) { return _mm256_and_si256(pads, splat(kMask52)); }
inline Vec load_errors(const std::int16_t* e) {
  return _mm256_cvtepi16_epi64(_mm_loadl_epi64(reinterpret_cast<const Block*>(e)));
}

/// pad + error modulo one prime, sixteen coefficients, packed: eight bytes beyond are written too.
struct PadStorer {
  Field field;
  Vec above;  ///< the bits of 2^52, and q, so that nothing is negative

  PadStorer(const Field& of_q, std::uint64_t q) : field(of_q), above(splat(kTwo52Bits + q)) {}
  [[gnu::always_inline]] void operator()(const std::uint64_t* pads, const std::int16_t* errors,
                                         std::uint8_t* out) const {
    Real u[kBatch];
#pragma GCC unroll 4
    for (std::size_t i = 0; i < kBatch; ++i) {
      const Vec e = _mm256_add_epi64(load_errors(errors + 4 * i), above);
      u[i] = real_of(_mm256_add_epi64(clean(load(pads + 4 * i)), e));
    }
    field.make_canonical(u);
#pragma GCC unroll 4
    for (std::size_t i = 0; i < kBatch; ++i) store_residues(out + 24 * i, bits_of(u[i]));
  }
};

/// Lanes 0 1 of p and of p + 8, as FieldLoader::pair brings fields.
inline Vec load_pair(const std::uint64_t* p) { return join(load_half(p), load_half(p + kGroup)); }

/// Pairs i and i + 1 of a row of sixteen numbers, their low 32 bits -> p[0 ... 3] and p[8 ... 11].
inline void store_narrow_pairs(std::uint32_t* p, Vec x, Vec y) {
  const Vec both =
      _mm256_castps_si256(_mm256_shuffle_ps(_mm256_castsi256_ps(x), _mm256_castsi256_ps(y), 0x88));
  _mm_storeu_si128(reinterpret_cast<Block*>(p), _mm256_castsi256_si128(both));
  _mm_storeu_si128(reinterpret_cast<Block*>(p + kGroup), _mm256_extracti128_si256(both, 1));
}
inline void store_wide_pair(std::uint64_t* p, Vec x) {
  _mm_storeu_si128(reinterpret_cast<Block*>(p), _mm256_castsi256_si128(x));
  _mm_storeu_si128(reinterpret_cast<Block*>(p + kGroup), _mm256_extracti128_si256(x, 1));
}

/// How many of the sixteen coefficients from j on are there.
inline std::size_t left_of(std::size_t coefficients, std::size_t j) {
  return coefficients - j < kSixteen ? coefficients - j : kSixteen;
}

/// Calls work(j, errors) for sixteen coefficients at a time.
template <class Work>
void with_errors(const AesKey& key, std::uint64_t index, std::size_t coefficients,
                 const Work& work) {
  if (key.rounds == 10) {
    for_each_sixteen<10>(key, index, coefficients, work);
  } else {
    for_each_sixteen<14>(key, index, coefficients, work);
  }
}

/// Sixteen coefficients of digits for the end of a row.
struct DigitBounce {
  alignas(32) std::uint32_t digits[kMaxDigits][kSixteen];

  DigitBounce(const std::uint32_t* from, std::size_t stride, std::size_t rows, std::size_t left) {
    for (std::size_t d = 0; d < rows; ++d) {
      std::memset(digits[d], 0, sizeof digits[d]);
      std::memcpy(digits[d], from + d * stride, left * sizeof digits[d][0]);
    }
  }
};

/// The bytes that rows of the next block will have are asked for while this one is computed: blocks
/// touch memory in order, with microseconds of work in the cache between, in which it would lie
/// idle. Prefetching past the end is harmless.
inline void prefetch_write(const std::uint8_t* p) {
  __builtin_prefetch(p, 1, 2);
  __builtin_prefetch(p + 64, 1, 2);
}
inline void prefetch_read(const std::uint8_t* p) {
  _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T1);
  _mm_prefetch(reinterpret_cast<const char*>(p) + 64, _MM_HINT_T1);
}

}  // namespace
}  // namespace veilsum::isa::avx2
