// Layer: isa, level avx512. Rows of packed fields and their weighted sum modulo 2^B. A group of
// eight fields takes one byte permute and one variable shift each way. The sum is meant to run at
// memory speed: a chunk of eight groups is gathered from all sources in registers, so every source
// byte is read once and the sum written once. Rows of the same field follow each other, so that a
// chunk's carries stay at hand. Nothing is reduced on the way: what runs over the top of the last
// row's words has no meaning.
#include "isa/avx512/kernels_internal.h"
#include "isa/avx512/vector_ops.h"

namespace veilsum::isa::avx512 {
namespace {

constexpr unsigned kWordBits = 52;
constexpr std::size_t kGroups = 8;  ///< groups of one chunk
/// Prefetch distance in each source, into the second-level cache: requests for the first one fill
/// its few buffers and stop the processor's own streams, which cost half of the speed.
constexpr std::size_t kAheadBytes = 4096;

/// One row of all sources.
struct RowSum {
  const SumFields* args;
  const FieldTable* table;
  std::size_t offset;  ///< of the row in every source
  bool first;          ///< row of the field, which the complements' ones are added to
  bool last;           ///< row of the field, which leaves no carry
};

/// Writes kCount groups, all of whose sources have been read: whole registers where they end inside
/// the chunk, each over what the one before left behind its bytes.
template <std::size_t kCount>
inline void store_groups(const RowSum& row, std::size_t at, const Vec* groups) {
  const std::size_t bits = row.table->bits;
  const __mmask64 mask = group_mask(row.table->bits);
  std::uint8_t* out = row.args->out + row.offset + at;
#pragma GCC unroll 8
  for (std::size_t g = 0; g < kCount; ++g, out += bits) {
    if ((kCount - g) * bits >= 64) {
      _mm512_storeu_si512(out, groups[g]);
    } else {
      _mm512_mask_storeu_epi8(out, mask, groups[g]);
    }
  }
}

/// The bytes of group g of a chunk; `kWhole`: 64 can be read everywhere.
template <bool kWhole>
inline Vec load_group(const std::uint8_t* in, __mmask64 mask) {
  return kWhole ? _mm512_loadu_si512(in) : _mm512_maskz_loadu_epi8(mask, in);
}

template <std::size_t kCount>
inline void prefetch_source(const std::uint8_t* p, std::size_t bits) {
  if constexpr (kCount == 1) return;
  for (std::size_t line = 0; line < kCount * bits; line += 64) {
    _mm_prefetch(reinterpret_cast<const char*>(p + kAheadBytes + line), _MM_HINT_T1);
  }
}

/// One row, unit weights: fields are added in their windows, cleared of their neighbours, and
/// packed from there. Only bits above a field's are lost when a word wraps.
struct UnitWindows {
  Vec windows, mask;
  Packer pack;

  explicit UnitWindows(const FieldTable& table)
      : windows(_mm512_load_si512(table.window_bytes)),
        mask(_mm512_sllv_epi64(splat(table.mask), Packer::first_bit(table))),
        pack(table) {}
  /// The field, or with `complement` its bits inverted, which is -field - 1.
  template <bool kComplement>
  Vec take(Vec bytes) const {
    const Vec x = _mm512_permutexvar_epi8(windows, bytes);
    return kComplement ? _mm512_andnot_si512(x, mask) : _mm512_and_si512(x, mask);
  }
};

template <std::size_t kCount, bool kWhole, bool kSubtract>
inline void sum_windows(const RowSum& row, std::size_t at, const UnitWindows& unit) {
  const SumFields& args = *row.args;
  const std::size_t bits = row.table->bits;
  const __mmask64 mask = group_mask(row.table->bits);
  Vec sum[kCount];
  const std::uint8_t* p = args.sources[0] + row.offset + at;
  prefetch_source<kCount>(p, bits);
  Vec start = _mm512_setzero_si512();
  if constexpr (kSubtract) {
    start = _mm512_sllv_epi64(splat(args.source_count - 1), Packer::first_bit(*row.table));
  }
#pragma GCC unroll 8
  for (std::size_t g = 0; g < kCount; ++g) {
    sum[g] = _mm512_add_epi64(start, unit.take<false>(load_group<kWhole>(p + g * bits, mask)));
  }
  for (std::uint32_t k = 1; k < args.source_count; ++k) {
    p = args.sources[k] + row.offset + at;
    prefetch_source<kCount>(p, bits);
#pragma GCC unroll 8
    for (std::size_t g = 0; g < kCount; ++g) {
      sum[g] =
          _mm512_add_epi64(sum[g], unit.take<kSubtract>(load_group<kWhole>(p + g * bits, mask)));
    }
  }
#pragma GCC unroll 8
  for (std::size_t g = 0; g < kCount; ++g) sum[g] = unit.pack(sum[g]);
  store_groups<kCount>(row, at, sum);
}

/// Any row: words of at most 52 bits times weights of at most 2^20 in all.
struct WordRow {
  RowSum sum;
  Unpacker unpack;
  Vec mask;
  RowPacker pack;

  WordRow() : WordRow(RowSum{}, kNoTable) {}
  WordRow(const RowSum& row, const FieldTable& table)
      : sum(row), unpack(table), mask(splat(table.mask)), pack(table) {}

 private:
  static constexpr FieldTable kNoTable{};
};

/// So many low words, below 2^52 each, and a carry fit 64 bits.
constexpr std::uint32_t kFold = 2048;

/// One row of kCount groups; takes and leaves the carry. `ones` is what complements lack of
/// negative numbers: the sum of the subtracted weights.
template <std::size_t kCount, bool kWhole, bool kUnit>
inline void sum_words(const WordRow& row, std::size_t at, std::uint64_t ones, Vec* carry) {
  const SumFields& args = *row.sum.args;
  const std::size_t bits = row.sum.table->bits;
  const __mmask64 mask = group_mask(row.sum.table->bits);
  const Vec start = splat(row.sum.first ? ones : 0);
  Vec low[kCount];
  Vec high[kCount];
#pragma GCC unroll 8
  for (std::size_t g = 0; g < kCount; ++g) {
    low[g] = _mm512_add_epi64(carry[g], start);
    high[g] = _mm512_setzero_si512();
  }
  for (std::uint32_t begin = 0; begin < args.source_count; begin += kFold) {
    if (begin != 0) {
#pragma GCC unroll 8
      for (std::size_t g = 0; g < kCount; ++g) {
        high[g] = _mm512_add_epi64(high[g], _mm512_srli_epi64(low[g], kWordBits));
        low[g] = _mm512_and_si512(low[g], splat(kMask52));
      }
    }
    const std::uint32_t left = args.source_count - begin;
    const std::uint32_t end = begin + (left < kFold ? left : kFold);
    for (std::uint32_t k = begin; k < end; ++k) {
      const std::uint8_t* p = args.sources[k] + row.sum.offset + at;
      const Vec flip = args.subtract && k > 0 ? row.mask : _mm512_setzero_si512();
      const Vec weight = splat(kUnit ? 1 : args.weights[k]);
      prefetch_source<kCount>(p, bits);
#pragma GCC unroll 8
      for (std::size_t g = 0; g < kCount; ++g) {
        Vec x = row.unpack(load_group<kWhole>(p + g * bits, mask));
        x = _mm512_ternarylogic_epi64(x, row.mask, flip, 0x6a);  // (x & mask) ^ flip
        if constexpr (kUnit) {
          low[g] = _mm512_add_epi64(low[g], x);
        } else {
          low[g] = add_low(low[g], x, weight);
          if (!row.sum.last) high[g] = add_high(high[g], x, weight);
        }
      }
    }
  }
#pragma GCC unroll 8
  for (std::size_t g = 0; g < kCount; ++g) {
    carry[g] = _mm512_add_epi64(high[g], _mm512_srli_epi64(low[g], kWordBits));
    low[g] = row.pack(low[g]);
  }
  store_groups<kCount>(row.sum, at, low);
}

/// One row, weights of one.
template <bool kSubtract>
void sum_one_row(const RowSum& row) {
  const UnitWindows unit(*row.table);
  const std::size_t bits = row.table->bits;
  const std::size_t groups = row.args->coefficients / kGroup;
  const std::size_t whole = RowReader::whole_groups(row.table->bits, groups);
  std::size_t g = 0;
  for (; g + kGroups <= whole; g += kGroups) {
    sum_windows<kGroups, true, kSubtract>(row, g * bits, unit);
  }
  for (; g < groups; ++g) sum_windows<1, false, kSubtract>(row, g * bits, unit);
}

/// Any number of rows, any weights.
template <std::size_t kCount, bool kUnit>
void sum_rows(const WordRow* rows, std::size_t count) {
  const SumFields& args = *rows[0].sum.args;
  const std::size_t groups = args.coefficients / kGroup;
  std::size_t whole = groups;
  for (std::size_t w = 0; w < count; ++w) {
    const std::size_t here = RowReader::whole_groups(rows[w].sum.table->bits, groups);
    if (here < whole) whole = here;
  }
  std::uint64_t ones = 0;
  if (args.subtract) {
    for (std::uint32_t k = 1; k < args.source_count; ++k) ones += kUnit ? 1 : args.weights[k];
  }
  std::size_t g = 0;
  for (; g + kCount <= whole; g += kCount) {
    Vec carry[kCount];
#pragma GCC unroll 8
    for (std::size_t i = 0; i < kCount; ++i) carry[i] = _mm512_setzero_si512();
    for (std::size_t w = 0; w < count; ++w) {
      sum_words<kCount, true, kUnit>(rows[w], g * rows[w].sum.table->bits, ones, carry);
    }
  }
  for (; g < groups; ++g) {
    Vec carry = _mm512_setzero_si512();
    for (std::size_t w = 0; w < count; ++w) {
      sum_words<1, false, kUnit>(rows[w], g * rows[w].sum.table->bits, ones, &carry);
    }
  }
}

}  // namespace

void sum_fields(const SumFields& args) {
  const std::size_t words = args.view->words;
  WordRow rows[kMaxWords];
  std::size_t offset = 0;
  for (std::size_t w = 0; w < words; ++w) {
    const FieldTable& table = *args.view->fields[w];
    rows[w] = WordRow({&args, &table, offset, w == 0, w + 1 == words}, table);
    offset += args.coefficients / kGroup * table.bits;
  }
  if (args.weights != nullptr) return sum_rows<kGroups / 2, false>(rows, words);
  if (words > 1 || args.view->bits < 8) return sum_rows<kGroups, true>(rows, words);
  if (args.subtract) return sum_one_row<true>(rows[0].sum);
  sum_one_row<false>(rows[0].sum);
}

void pack_fields(const std::uint64_t* in, std::size_t coefficients, const FieldTable& table,
                 std::uint8_t* out) {
  const RowPacker pack(table);
  const std::size_t groups = coefficients / kGroup;
  const RowWriter write(out, table.bits, groups);
  for (std::size_t g = 0; g < groups; ++g) {
    write(g, pack(_mm512_loadu_si512(in + kGroup * g)));
  }
}

void unpack_fields(const std::uint8_t* in, std::size_t coefficients, const FieldTable& table,
                   std::uint64_t* out) {
  const Unpacker unpack(table);
  const Vec mask = splat(table.mask);
  const std::size_t groups = coefficients / kGroup;
  const RowReader read(in, table.bits, groups);
  for (std::size_t g = 0; g < groups; ++g) {
    _mm512_storeu_si512(out + kGroup * g, _mm512_and_si512(unpack(read(g)), mask));
  }
}

}  // namespace veilsum::isa::avx512
