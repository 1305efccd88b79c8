// Layer: isa, level avx512. 50-bit packing and the weighted sum of packed rows. A group of eight
// residues is 50 bytes: one byte permute and one variable shift each way. The sum is meant to run
// at memory speed: a chunk of eight groups is gathered from all sources in registers, so every
// source byte is read once and the sum written once; reduction happens once per output.
#include "isa/avx512/kernels_internal.h"
#include "isa/avx512/vector_ops.h"

namespace veilsum::isa::avx512 {
namespace {

/// Constants to bring hi * 2^52 + lo below q, for hi < 2^52 and lo < 2^52.
struct Folder {
  Vec q, q2, q4, minus_q, mask52, two52, two52_shoup;

  explicit Folder(const Modulus& modulus)
      : q(splat(modulus.q)),
        q2(splat(2 * modulus.q)),
        q4(splat(4 * modulus.q)),
        minus_q(splat((kMask52 + 1) - modulus.q)),
        mask52(splat(kMask52)),
        two52(splat(modulus.two52_mod_q)),
        two52_shoup(splat(modulus.two52_shoup)) {}

  Vec operator()(Vec hi, Vec lo) const {
    // 2^52 < 8q because q > 2^49; product < 2q
    Vec x = reduce_once(lo, q4);
    x = _mm512_add_epi64(x, multiply_lazy(hi, two52, two52_shoup, minus_q, mask52));
    x = reduce_once(x, q4);
    x = reduce_once(x, q2);
    return reduce_once(x, q);
  }
  /// x < 2^64.
  Vec operator()(Vec x) const {
    return (*this)(_mm512_srli_epi64(x, 52), _mm512_and_si512(x, mask52));
  }
};

constexpr std::size_t kGroups = 8;         ///< groups of one chunk
constexpr std::size_t kAheadBytes = 1536;  ///< prefetch distance in each source

/// Sums kCount groups of all sources. Unit weights: 8192 * 2^50 = 2^63 fits a word.
template <std::size_t kCount, bool kLast>
inline Vec sum_units(const SumPacked& args, std::size_t offset, const Unpacker& unpacker,
                     const Folder& folder, const Packer& packer, Vec largest) {
  Vec sum[kCount];
#pragma GCC unroll 8
  for (std::size_t g = 0; g < kCount; ++g) sum[g] = _mm512_setzero_si512();
  for (std::uint32_t k = 0; k < args.source_count; ++k) {
    const std::uint8_t* p = args.sources[k] + offset;
    if constexpr (kCount == kGroups) {
#pragma GCC unroll 8
      for (std::size_t line = 0; line < kCount * kGroupBytes; line += 64) {
        _mm_prefetch(reinterpret_cast<const char*>(p + kAheadBytes + line), _MM_HINT_T0);
      }
    }
#pragma GCC unroll 8
    for (std::size_t g = 0; g < kCount; ++g) {
      const Vec bytes =
          kLast ? load_group(p + g * kGroupBytes) : _mm512_loadu_si512(p + g * kGroupBytes);
      const Vec x = unpacker(bytes);
      largest = _mm512_max_epu64(largest, x);
      sum[g] = _mm512_add_epi64(sum[g], x);
    }
  }
#pragma GCC unroll 8
  for (std::size_t g = 0; g < kCount; ++g) {
    store_group(args.out + offset + g * kGroupBytes, packer(folder(sum[g])));
  }
  return largest;
}

/// One group of all sources with weights below 2^52. Low words gain less than 2^52 a source, so
/// they are folded into the high ones every 2048 sources; high words stay below 2^19.
template <std::size_t kCount, bool kLast>
inline Vec sum_weighted(const SumPacked& args, std::size_t offset, const Unpacker& unpacker,
                        const Folder& folder, const Packer& packer, Vec largest) {
  constexpr std::uint32_t kFold = 2048;
  Vec lo[kCount];
  Vec hi[kCount];
#pragma GCC unroll 8
  for (std::size_t g = 0; g < kCount; ++g) lo[g] = hi[g] = _mm512_setzero_si512();
  for (std::uint32_t begin = 0; begin < args.source_count; begin += kFold) {
    const std::uint32_t left = args.source_count - begin;
    const std::uint32_t end = begin + (left < kFold ? left : kFold);
    for (std::uint32_t k = begin; k < end; ++k) {
      const std::uint8_t* p = args.sources[k] + offset;
      const Vec weight = splat(args.weights[k]);
      if constexpr (kCount > 1) {
#pragma GCC unroll 8
        for (std::size_t line = 0; line < kCount * kGroupBytes; line += 64) {
          _mm_prefetch(reinterpret_cast<const char*>(p + kAheadBytes + line), _MM_HINT_T0);
        }
      }
#pragma GCC unroll 8
      for (std::size_t g = 0; g < kCount; ++g) {
        const Vec bytes =
            kLast ? load_group(p + g * kGroupBytes) : _mm512_loadu_si512(p + g * kGroupBytes);
        const Vec x = unpacker(bytes);
        largest = _mm512_max_epu64(largest, x);
        lo[g] = add_low(lo[g], x, weight);
        hi[g] = add_high(hi[g], x, weight);
      }
    }
#pragma GCC unroll 8
    for (std::size_t g = 0; g < kCount; ++g) {
      hi[g] = _mm512_add_epi64(hi[g], _mm512_srli_epi64(lo[g], 52));
      lo[g] = _mm512_and_si512(lo[g], folder.mask52);
    }
  }
#pragma GCC unroll 8
  for (std::size_t g = 0; g < kCount; ++g) {
    store_group(args.out + offset + g * kGroupBytes, packer(folder(hi[g], lo[g])));
  }
  return largest;
}

}  // namespace

bool sum_packed(const SumPacked& args) {
  const Unpacker unpacker;
  const Packer packer;
  const Folder folder(args.modulus);
  const std::size_t groups = args.coefficients / kGroup;
  Vec largest = _mm512_setzero_si512();
  std::size_t g = 0;
  // Whole registers are read except for the last group, whose 50 bytes may end the buffer.
  if (args.weights == nullptr) {
    for (; g + kGroups < groups; g += kGroups) {
      largest = sum_units<kGroups, false>(args, g * kGroupBytes, unpacker, folder, packer, largest);
    }
    for (; g < groups; ++g) {
      largest = sum_units<1, true>(args, g * kGroupBytes, unpacker, folder, packer, largest);
    }
  } else {
    for (; g + kGroups / 2 < groups; g += kGroups / 2) {
      largest = sum_weighted<kGroups / 2, false>(args, g * kGroupBytes, unpacker, folder, packer,
                                                 largest);
    }
    for (; g < groups; ++g) {
      largest = sum_weighted<1, true>(args, g * kGroupBytes, unpacker, folder, packer, largest);
    }
  }
  return _mm512_cmpge_epu64_mask(largest, splat(args.modulus.q)) == 0;
}

void pack(const std::uint64_t* in, std::size_t coefficients, std::uint8_t* out) {
  const Packer packer;
  // Whole registers are written, each over the zeros that the one before left behind its 50 bytes:
  // masked stores are twice as dear. The last group may end the buffer.
  std::size_t j = 0;
  for (; j + kGroup < coefficients; j += kGroup, out += kGroupBytes) {
    _mm512_storeu_si512(out, packer(_mm512_loadu_si512(in + j)));
  }
  if (j < coefficients) store_group(out, packer(_mm512_loadu_si512(in + j)));
}

bool unpack(const std::uint8_t* in, std::size_t coefficients, std::uint64_t q, std::uint64_t* out) {
  const Unpacker unpacker;
  Vec largest = _mm512_setzero_si512();
  const auto step = [&](std::size_t j, Vec bytes) {
    const Vec x = unpacker(bytes);
    largest = _mm512_max_epu64(largest, x);
    _mm512_storeu_si512(out + j, x);
  };
  std::size_t j = 0;
  for (; j + kGroup < coefficients; j += kGroup, in += kGroupBytes) {
    step(j, _mm512_loadu_si512(in));
  }
  if (j < coefficients) step(j, load_group(in));
  return _mm512_cmpge_epu64_mask(largest, splat(q)) == 0;
}

}  // namespace veilsum::isa::avx512
