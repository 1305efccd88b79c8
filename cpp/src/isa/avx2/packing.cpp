// Layer: isa, level avx2. 50-bit packing and the weighted sum of packed rows. A group of eight
// residues is 50 bytes, two registers of four. The sum is meant to run at memory speed: a chunk of
// four groups is gathered from all sources in registers, so every source byte is read once and the
// sum written once; reduction happens once per output, in doubles.
#include "isa/avx2/kernels_internal.h"
#include "isa/avx2/vector_ops.h"

namespace veilsum::isa::avx2 {
namespace {

constexpr std::size_t kAheadBytes = 1536;  ///< prefetch distance in each source

/// Four residues of all sources with weights. The products of the low 32 bits sum up to below
/// 2^32 * 2^20, those of the 18 bits above to below 2^38.
struct WeightedSum {
  Vec low = _mm256_setzero_si256();
  Vec high = _mm256_setzero_si256();

  void add(Vec x, Vec weight) {
    low = _mm256_add_epi64(low, _mm256_mul_epu32(x, weight));
    high = _mm256_add_epi64(high, _mm256_mul_epu32(_mm256_srli_epi64(x, 32), weight));
  }
  /// high * 2^32 is exact; b = high * 2^32 / q is below 2^21, so the rounded quotient is off by
  /// 1/2 + 2^-31 at most and the remainder, an integer of magnitude below q / 2 + 2^19, comes out
  /// exact. With low it is below 2^53, exact again, and is reduced to q / 2 + 1.
  Vec residue(const Field& field) const {
    const Real h = _mm256_mul_pd(to_real(high), splat(0x1p32));
    const Real sum = _mm256_add_pd(field.reduce(h), to_real(low));
    return to_integer(field.canonical(field.reduce(sum)));
  }
};

/// The same with weights of one: 8192 * 2^50 = 2^63 fits a word.
struct UnitSum {
  Vec sum = _mm256_setzero_si256();

  void add(Vec x, Vec) { sum = _mm256_add_epi64(sum, x); }
  /// k = RN(sum / q) from the upper 50 bits of the sum, below 2^14 + 1: the bits left out and the
  /// errors of reciprocal and product are below 2^-36, so |sum - k q| < q / 2 + 2^14, which is made
  /// from 32-bit products modulo 2^64. The double 1.5 * 2^52 + k holds k in its low 32 bits.
  Vec residue(const Field& field) const {
    const Real upper = to_real(_mm256_srli_epi64(sum, 13));
    const Real scale = _mm256_mul_pd(field.inverse, splat(0x1p13));
    const Vec k = bits_of(_mm256_fmadd_pd(upper, scale, splat(kRound)));
    const Vec q = to_integer(field.q);
    const Vec product =
        _mm256_add_epi64(_mm256_mul_epu32(k, q),
                         _mm256_slli_epi64(_mm256_mul_epu32(k, _mm256_srli_epi64(q, 32)), 32));
    const Vec remainder = _mm256_sub_epi64(sum, product);
    const Vec negative = _mm256_cmpgt_epi64(_mm256_setzero_si256(), remainder);
    return _mm256_add_epi64(remainder, _mm256_and_si256(negative, q));
  }
};

/// Sums kGroups groups of all sources.
template <class Sum, std::size_t kGroups>
inline void sum_groups(const SumPacked& args, std::size_t offset, const Field& field,
                       RangeCheck& check) {
  Sum sum[2 * kGroups];
  for (std::uint32_t k = 0; k < args.source_count; ++k) {
    const std::uint8_t* p = args.sources[k] + offset;
    const Vec weight = splat(args.weights == nullptr ? 1 : args.weights[k]);
    if constexpr (kGroups > 1) {
#pragma GCC unroll 4
      for (std::size_t line = 0; line < kGroups * kGroupBytes; line += 64) {
        _mm_prefetch(reinterpret_cast<const char*>(p + kAheadBytes + line), _MM_HINT_T0);
      }
    }
#pragma GCC unroll 4
    for (std::size_t g = 0; g < kGroups; ++g) {
      const Vec low = load_residues_low(p + g * kGroupBytes);
      const Vec high = load_residues_high(p + g * kGroupBytes);
      check.see(low);
      check.see(high);
      sum[2 * g].add(low, weight);
      sum[2 * g + 1].add(high, weight);
    }
  }
#pragma GCC unroll 4
  for (std::size_t g = 0; g < kGroups; ++g) {
    store_group(args.out + offset + g * kGroupBytes, sum[2 * g].residue(field),
                sum[2 * g + 1].residue(field));
  }
}

template <class Sum, std::size_t kGroups>
bool sum_rows(const SumPacked& args) {
  const Field field(args.modulus.q);
  RangeCheck check(args.modulus.q);
  const std::size_t groups = args.coefficients / kGroup;
  std::size_t g = 0;
  for (; g + kGroups <= groups; g += kGroups) {
    sum_groups<Sum, kGroups>(args, g * kGroupBytes, field, check);
  }
  for (; g < groups; ++g) sum_groups<Sum, 1>(args, g * kGroupBytes, field, check);
  return check.all();
}

}  // namespace

bool sum_packed(const SumPacked& args) {
  return args.weights == nullptr ? sum_rows<UnitSum, 3>(args) : sum_rows<WeightedSum, 2>(args);
}

void pack(const std::uint64_t* in, std::size_t coefficients, std::uint8_t* out) {
  for (std::size_t j = 0; j < coefficients; j += kGroup, out += kGroupBytes) {
    store_group(out, load(in + j), load(in + j + 4));
  }
}

bool unpack(const std::uint8_t* in, std::size_t coefficients, std::uint64_t q, std::uint64_t* out) {
  RangeCheck check(q);
  for (std::size_t j = 0; j < coefficients; j += kGroup, in += kGroupBytes) {
    const Vec low = load_residues_low(in);
    const Vec high = load_residues_high(in);
    check.see(low);
    check.see(high);
    store(out + j, low);
    store(out + j + 4, high);
  }
  return check.all();
}

}  // namespace veilsum::isa::avx2
