// Layer: isa, level avx2. Rows of B-bit fields: packing, unpacking and the weighted sum of packed
// blocks modulo 2^B. The sum is meant to run at memory speed: sixteen fields are gathered from all
// sources in registers, so every source byte is read once and the sum written once. What lies above
// a field in its lane is left there where only the low B bits of a sum count.
#include "isa/avx2/block_io.h"
#include "isa/avx2/kernels_internal.h"

namespace veilsum::isa::avx2 {
namespace {

/// Prefetch distance in each source; into the second-level cache, because lines of ten sources that
/// begin at the same place of a page would drive each other out of the first.
constexpr std::size_t kAheadBytes = 1024;
constexpr unsigned kWordBits = 52;

/// Sixteen fields of all sources, by pairs. A sum of 4096 words of 52 bits fits a lane.
struct UnitSum {
  Vec sum[kPairs];

  explicit UnitSum(const Vec carry[kPairs]) {
    for (std::size_t i = 0; i < kPairs; ++i) sum[i] = carry[i];
  }
  void add(std::size_t i, Vec x, Vec) { sum[i] = _mm256_add_epi64(sum[i], x); }
  void add_ones(std::size_t i, Vec weight) { sum[i] = _mm256_add_epi64(sum[i], weight); }
  Vec field(std::size_t i) const { return sum[i]; }
  Vec carry(std::size_t i) const { return _mm256_srli_epi64(sum[i], kWordBits); }
};

/// The same with weights of 2^20 in all: low + 2^32 high, products of 32 bits.
struct WeightedSum {
  Vec low[kPairs];
  Vec high[kPairs];

  explicit WeightedSum(const Vec carry[kPairs]) {
    for (std::size_t i = 0; i < kPairs; ++i) low[i] = carry[i], high[i] = _mm256_setzero_si256();
  }
  void add(std::size_t i, Vec x, Vec weight) {
    low[i] = _mm256_add_epi64(low[i], _mm256_mul_epu32(x, weight));
    high[i] = _mm256_add_epi64(high[i], _mm256_mul_epu32(_mm256_srli_epi64(x, 32), weight));
  }
  void add_ones(std::size_t i, Vec weight) { low[i] = _mm256_add_epi64(low[i], weight); }
  Vec field(std::size_t i) const {
    return _mm256_add_epi64(low[i], _mm256_slli_epi64(high[i], 32));
  }
  Vec carry(std::size_t i) const {
    return _mm256_srli_epi64(_mm256_add_epi64(high[i], _mm256_srli_epi64(low[i], 32)),
                             kWordBits - 32);
  }
};

struct Row {
  FieldLoader loader;
  FieldStorer storer;
  RowEnd end;
  std::size_t offset;  ///< in a block
  Vec mask;

  Row(std::uint32_t bits, std::size_t coefficients, std::size_t begin)
      : loader(bits, 0),
        storer(bits, 0),
        end(coefficients, bits),
        offset(begin),
        mask(splat((std::uint64_t{1} << bits) - 1)) {}
};

/// Fields j ... j + 15 of one row, summed over the sources. Subtracting adds the complement: -c is
/// ~c
/// + 1 modulo 2^B, in every row's own bits. kMasked: the row is not the last one, its sums are
/// carried.
template <class Sum, bool kMasked>
[[gnu::always_inline]] inline void gather(const SumFields& args, const Row& row, std::size_t j,
                                          bool lowest, Vec carry[kPairs], Vec fields[kPairs]) {
  Sum sum(carry);
  const std::size_t at = row.offset + j / kGroup * row.end.bits;
  const bool in_place = row.end.has_room(j);
  for (std::uint32_t k = 0; k < args.source_count; ++k) {
    const std::uint8_t* in = args.sources[k] + at;
    std::uint8_t bounce[kBounce];
    if (__builtin_expect(in_place, 1)) {
      _mm_prefetch(reinterpret_cast<const char*>(in) + kAheadBytes, _MM_HINT_T1);
      _mm_prefetch(reinterpret_cast<const char*>(in) + kAheadBytes + 64, _MM_HINT_T1);
    } else {
      std::memset(bounce, 0, sizeof bounce);
      std::memcpy(bounce, in, row.end.left(j));
      in = bounce;
    }
    const Vec weight = splat(args.weights == nullptr ? 1 : args.weights[k]);
    if (args.subtract && k > 0) {
      for (std::size_t i = 0; i < kPairs; ++i) {
        const Vec x = _mm256_andnot_si256(row.loader.pair(in, i), row.mask);
        sum.add(i, x, weight);
        if (lowest) sum.add_ones(i, weight);
      }
      continue;
    }
#pragma GCC unroll 4
    for (std::size_t i = 0; i < kPairs; ++i) {
      Vec x = row.loader.pair(in, i);
      if constexpr (kMasked) x = _mm256_and_si256(x, row.mask);
      sum.add(i, x, weight);
    }
  }
#pragma GCC unroll 4
  for (std::size_t i = 0; i < kPairs; ++i) {
    fields[i] = _mm256_and_si256(sum.field(i), row.mask);
    if constexpr (kMasked) carry[i] = sum.carry(i);
  }
}

/// Writes what it should and, inside the row, up to kSlack bytes more: into fields of the next
/// sixteen, which have been read by then. Rows narrower than a byte a field are not wide enough for
/// that.
inline void put(const SumFields& args, const Row& row, std::size_t j, const Vec fields[kPairs]) {
  std::uint8_t* out = args.out + row.offset + j / kGroup * row.end.bits;
  if (__builtin_expect(row.end.has_room(j) && row.end.bits >= 8, 1)) {
    row.storer.store_pairs(out, fields);
    return;
  }
  std::uint8_t bounce[kBounce];
  row.storer.store_pairs(bounce, fields);
  std::memcpy(out, bounce, row.end.left(j));
}

template <class Sum>
void sum_one_row(const SumFields& args) {
  const Row row(args.view->bits, args.coefficients, 0);
  Vec none[kPairs] = {};
  Vec now[kPairs];
  Vec next[kPairs];
  gather<Sum, false>(args, row, 0, true, none, now);
  std::size_t j = kSixteen;
  for (; j < args.coefficients; j += kSixteen) {
    gather<Sum, false>(args, row, j, true, none, next);
    put(args, row, j - kSixteen, now);
#pragma GCC unroll 4
    for (std::size_t i = 0; i < kPairs; ++i) now[i] = next[i];
  }
  put(args, row, j - kSixteen, now);
}

/// Fields of several words: all rows of sixteen fields, then the next sixteen.
template <class Sum>
void sum_rows(const SumFields& args) {
  const std::size_t words = args.view->words;
  const auto row_of = [&](std::size_t w) {
    std::size_t begin = 0;
    for (std::size_t v = 0; v < w && v < words; ++v) {
      begin += args.coefficients / kGroup * args.view->fields[v]->bits;
    }
    return Row(args.view->fields[w < words ? w : 0]->bits, args.coefficients, begin);
  };
  const Row rows[kMaxWords] = {row_of(0), row_of(1), row_of(2), row_of(3)};
  Vec fields[2][kMaxWords][kPairs];
  const auto gather_all = [&](std::size_t j, Vec(&to)[kMaxWords][kPairs]) {
    Vec carry[kPairs] = {};
    for (std::size_t w = 0; w + 1 < words; ++w) {
      gather<Sum, true>(args, rows[w], j, w == 0, carry, to[w]);
    }
    gather<Sum, false>(args, rows[words - 1], j, false, carry, to[words - 1]);
  };
  std::size_t turn = 0;
  gather_all(0, fields[0]);
  for (std::size_t j = 0; j < args.coefficients; j += kSixteen, turn ^= 1) {
    if (j + kSixteen < args.coefficients) gather_all(j + kSixteen, fields[turn ^ 1]);
    for (std::size_t w = 0; w < words; ++w) put(args, rows[w], j, fields[turn][w]);
  }
}

}  // namespace

void sum_fields(const SumFields& args) {
  if (args.coefficients == 0) return;
  if (args.view->words == 1) {
    args.weights == nullptr ? sum_one_row<UnitSum>(args) : sum_one_row<WeightedSum>(args);
  } else {
    args.weights == nullptr ? sum_rows<UnitSum>(args) : sum_rows<WeightedSum>(args);
  }
}

void pack_fields(const std::uint64_t* in, std::size_t coefficients, const FieldTable& table,
                 std::uint8_t* out) {
  const FieldStorer storer(table.bits, 0);
  const RowEnd end(coefficients, table.bits);
  const auto sixteen = [&](const std::uint64_t* from, std::uint8_t* to) {
    const Vec fields[kPairs] = {load(from), load(from + 4), load(from + 8), load(from + 12)};
    storer.store_natural(to, fields);
  };
  for (std::size_t j = 0; j < coefficients; j += kSixteen) {
    std::uint8_t* to = out + j / kGroup * table.bits;
    if (j + kSixteen <= coefficients && end.has_room(j)) {
      sixteen(in + j, to);
      continue;
    }
    alignas(32) std::uint64_t words[kSixteen] = {};
    const std::size_t left = left_of(coefficients, j);
    std::memcpy(words, in + j, left * sizeof words[0]);
    alignas(16) std::uint8_t bytes[kBounce + 8];
    sixteen(words, bytes);
    std::memcpy(to, bytes, end.left(j));
    wipe(words);
    wipe(bytes);
  }
}

void unpack_fields(const std::uint8_t* in, std::size_t coefficients, const FieldTable& table,
                   std::uint64_t* out) {
  const FieldLoader loader(table.bits, 0);
  const RowEnd end(coefficients, table.bits);
  const Vec mask = splat(table.mask);
  const auto sixteen = [&](const std::uint8_t* from, std::uint64_t* to) {
    Vec x[kPairs];
#pragma GCC unroll 4
    for (std::size_t i = 0; i < kPairs; ++i) x[i] = _mm256_and_si256(loader.pair(from, i), mask);
#pragma GCC unroll 2
    for (std::size_t i = 0; i < kPairs; i += 2) {
      store(to + 2 * i, _mm256_permute2x128_si256(x[i], x[i + 1], 0x20));
      store(to + kGroup + 2 * i, _mm256_permute2x128_si256(x[i], x[i + 1], 0x31));
    }
  };
  for (std::size_t j = 0; j < coefficients; j += kSixteen) {
    const std::uint8_t* from = in + j / kGroup * table.bits;
    if (j + kSixteen <= coefficients && end.has_room(j)) {
      sixteen(from, out + j);
      continue;
    }
    std::uint8_t bytes[kBounce] = {};
    std::memcpy(bytes, from, end.left(j));
    std::uint64_t words[kSixteen];
    sixteen(bytes, words);
    const std::size_t left = left_of(coefficients, j);
    std::memcpy(out + j, words, left * sizeof words[0]);
  }
}

}  // namespace veilsum::isa::avx2
