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

/// Writes kCount groups, all of whose sources have been read: whole registers, each over the zeros
/// that the one before left behind its 50 bytes. Masked stores are twice as dear.
template <std::size_t kCount, class Group>
inline void store_groups(std::uint8_t* out, const Group& group) {
#pragma GCC unroll 8
  for (std::size_t g = 0; g + 1 < kCount; ++g) _mm512_storeu_si512(out + g * kGroupBytes, group(g));
  store_group(out + (kCount - 1) * kGroupBytes, group(kCount - 1));
}

/// Residues as the permute of Unpacker leaves them: lane l shifted up by kPackShift[l], six bits at
/// most. Sums can do without the shift down and up again.
struct Lanes {
  Vec shift = _mm512_load_si512(kPackShift);
  Vec spread = _mm512_load_si512(kPackTables.spread);
  Vec even = _mm512_load_si512(kPackTables.even);
  Vec odd = _mm512_load_si512(kPackTables.odd);
  Vec mask = up(splat(kResidueMask));

  Vec up(Vec x) const { return _mm512_sllv_epi64(x, shift); }
  Vec down(Vec x) const { return _mm512_srlv_epi64(x, shift); }
  Vec unpack(Vec bytes) const {
    return _mm512_and_si512(_mm512_permutexvar_epi8(spread, bytes), mask);
  }
  Vec pack(Vec x) const {
    return _mm512_or_si512(_mm512_maskz_permutexvar_epi8(kPackTables.even_mask, even, x),
                           _mm512_maskz_permutexvar_epi8(kPackTables.odd_mask, odd, x));
  }
};

/// Sums of at most two residues, in their lanes.
struct PairFolder {
  Vec q;

  PairFolder(const Modulus& modulus, const Lanes& lanes) : q(lanes.up(splat(modulus.q))) {}
  Vec operator()(Vec x, const Lanes&) const { return reduce_once(x, q); }
};

/// Sums of `count` residues in their lanes when q is so little below 2^50 that what 2^50 leaves
/// modulo q, times the carries beyond bit 50 (fewer than `count`), stays below 2q - 2^50. That
/// holds for every modulus of a plan.
struct CloseFolder {
  Vec q, mask50, two50;

  CloseFolder(const Modulus& modulus, const Lanes&)
      : q(splat(modulus.q)), mask50(splat(kResidueMask)), two50(splat(rest(modulus))) {}

  static std::uint64_t rest(const Modulus& modulus) { return kResidueMask + 1 - modulus.q; }
  static bool serves(const Modulus& modulus, std::uint64_t count) {
    return count * rest(modulus) <= modulus.q - rest(modulus);
  }
  Vec operator()(Vec x, const Lanes& lanes) const {
    const Vec sum = lanes.down(x);
    const Vec carries = _mm512_srli_epi64(sum, 50);
    return lanes.up(reduce_once(add_low(_mm512_and_si512(sum, mask50), carries, two50), q));
  }
};

/// Any sum.
struct AnyFolder {
  Folder fold;

  AnyFolder(const Modulus& modulus, const Lanes&) : fold(modulus) {}
  Vec operator()(Vec x, const Lanes& lanes) const { return lanes.up(fold(lanes.down(x))); }
};

/// So many residues in their lanes, below 2^56, fit a word together with a sum that was folded.
constexpr std::uint32_t kUnitSources = 127;

/// Largest residues seen: several, since each comparison waits for the one before it.
struct Largest {
  Vec of[4] = {_mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512(),
               _mm512_setzero_si512()};

  void see(std::size_t g, Vec x) { of[g % 4] = _mm512_max_epu64(of[g % 4], x); }
  bool below(Vec bound) const {
    const Vec pairs[2] = {_mm512_max_epu64(of[0], of[1]), _mm512_max_epu64(of[2], of[3])};
    return _mm512_cmpge_epu64_mask(_mm512_max_epu64(pairs[0], pairs[1]), bound) == 0;
  }
};

/// Sums kCount groups of all sources, weights of one.
template <std::size_t kCount, bool kLast, class Fold>
inline void sum_units(const SumPacked& args, std::size_t offset, const Lanes& lanes,
                      const Fold& fold, Largest& largest) {
  Vec sum[kCount];
#pragma GCC unroll 8
  for (std::size_t g = 0; g < kCount; ++g) sum[g] = _mm512_setzero_si512();
  for (std::uint32_t begin = 0; begin < args.source_count; begin += kUnitSources) {
    if (begin != 0) {
#pragma GCC unroll 8
      for (std::size_t g = 0; g < kCount; ++g) sum[g] = fold(sum[g], lanes);
    }
    const std::uint32_t left = args.source_count - begin;
    const std::uint32_t end = begin + (left < kUnitSources ? left : kUnitSources);
    for (std::uint32_t k = begin; k < end; ++k) {
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
        const Vec x = lanes.unpack(bytes);
        largest.see(g, x);
        sum[g] = _mm512_add_epi64(sum[g], x);
      }
    }
  }
  store_groups<kCount>(args.out + offset,
                       [&](std::size_t g) { return lanes.pack(fold(sum[g], lanes)); });
}

/// One group of all sources with weights below 2^52. Low words gain less than 2^52 a source, so
/// they are folded into the high ones every 2048 sources; high words stay below 2^19.
template <std::size_t kCount, bool kLast>
inline void sum_weighted(const SumPacked& args, std::size_t offset, const Unpacker& unpacker,
                         const Folder& folder, const Packer& packer, Largest& largest) {
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
        largest.see(g, x);
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
  store_groups<kCount>(args.out + offset,
                       [&](std::size_t g) { return packer(folder(hi[g], lo[g])); });
}

/// Whole registers are read except for the last group, whose 50 bytes may end the buffer.
template <class Fold>
bool sum_unweighted(const SumPacked& args) {
  const Lanes lanes;
  const Fold fold(args.modulus, lanes);
  const std::size_t groups = args.coefficients / kGroup;
  Largest largest;
  std::size_t g = 0;
  for (; g + kGroups < groups; g += kGroups) {
    sum_units<kGroups, false>(args, g * kGroupBytes, lanes, fold, largest);
  }
  for (; g < groups; ++g) sum_units<1, true>(args, g * kGroupBytes, lanes, fold, largest);
  return largest.below(lanes.up(splat(args.modulus.q)));
}

}  // namespace

bool sum_packed(const SumPacked& args) {
  if (args.weights == nullptr) {
    const std::uint32_t together =  // with what was folded before
        args.source_count <= kUnitSources ? args.source_count : kUnitSources + 1;
    if (together <= 2) return sum_unweighted<PairFolder>(args);
    if (CloseFolder::serves(args.modulus, together)) return sum_unweighted<CloseFolder>(args);
    return sum_unweighted<AnyFolder>(args);
  }
  const Unpacker unpacker;
  const Packer packer;
  const Folder folder(args.modulus);
  const std::size_t groups = args.coefficients / kGroup;
  Largest largest;
  std::size_t g = 0;
  for (; g + kGroups / 2 < groups; g += kGroups / 2) {
    sum_weighted<kGroups / 2, false>(args, g * kGroupBytes, unpacker, folder, packer, largest);
  }
  for (; g < groups; ++g) {
    sum_weighted<1, true>(args, g * kGroupBytes, unpacker, folder, packer, largest);
  }
  return largest.below(splat(args.modulus.q));
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
