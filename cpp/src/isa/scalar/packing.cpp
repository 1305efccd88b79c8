// Layer: isa, scalar level. Rows of B-bit fields: eight of them are exactly B bytes. Packing,
// unpacking, and the weighted sum of packed blocks modulo 2^B, which is all that the aggregator
// does to blocks. Every string of the right length is a valid row, so there is nothing to
// range-check. Packing may see secrets and is constant time; what is summed or unpacked is
// ciphertext.
#include <cstddef>
#include <cstdint>

#include "isa/scalar/kernels_internal.h"

namespace veilsum::isa::scalar {
namespace {

constexpr std::size_t kChunk = 256;  // coefficients; accumulators of 16 KiB at most

/// The sum of one chunk. A field of several words is summed word by word: with 52-bit words and
/// weights of at most 2^20 in all a sum is below 2^72, so it is kept as low + 2^26 high, halves of
/// 26 bits times weights, and carries are taken at the end. Subtracting adds the complement: -c is
/// ~c + 1 modulo 2^B, in every row's own bits.
void sum_chunk(const SumFields& args, const std::size_t* row_at, std::size_t start,
               std::size_t now) {
  constexpr unsigned kSplit = kWordBits / 2;
  constexpr std::uint64_t kLowMask = (std::uint64_t{1} << kSplit) - 1;
  const BlockView& view = *args.view;
  std::uint64_t carry[kChunk] = {};
  std::uint64_t low[kChunk];
  std::uint64_t high[kChunk];
  for (std::size_t w = 0; w < view.words; ++w) {
    const FieldTable& table = *view.fields[w];
    const std::size_t offset = row_at[w] + start / kGroup * table.bits;
    for (std::size_t j = 0; j < now; ++j) low[j] = carry[j], high[j] = 0;
    for (std::size_t k = 0; k < args.source_count; ++k) {
      const std::uint8_t* in = args.sources[k] + offset;
      const std::uint64_t weight = args.weights == nullptr ? 1 : args.weights[k];
      const bool negated = args.subtract && k > 0;
      const std::uint64_t flip = negated ? table.mask : 0;
      const std::uint64_t one = negated && w == 0 ? weight : 0;
      for (std::size_t j = 0; j < now; j += kGroup, in += table.bits) {
        std::uint64_t c[kGroup];
        unpack_group(in, table.bits, c);
        for (std::size_t i = 0; i < kGroup; ++i) {
          const std::uint64_t field = c[i] ^ flip;
          low[j + i] += weight * (field & kLowMask) + one;
          high[j + i] += weight * (field >> kSplit);
        }
      }
    }
    // low < 2^47 and high < 2^46 plus a carry below 2^21.
    std::uint8_t* out = args.out + offset;
    for (std::size_t j = 0; j < now; j += kGroup, out += table.bits) {
      std::uint64_t field[kGroup];
      for (std::size_t i = 0; i < kGroup; ++i) {
        const std::uint64_t upper = high[j + i] + (low[j + i] >> kSplit);
        field[i] = ((upper << kSplit) | (low[j + i] & kLowMask)) & table.mask;
        carry[j + i] = upper >> kSplit;  // of no meaning after the last row
      }
      pack_group(field, table.bits, out);
    }
  }
}

}  // namespace

/// Sources hold any bytes; `out` may be one of them: a chunk's row is read whole before it is
/// written.
void sum_fields(const SumFields& args) {
  std::size_t row_at[kMaxWords];
  std::size_t at = 0;
  for (std::size_t w = 0; w < args.view->words; ++w) {
    row_at[w] = at;
    at += args.coefficients / kGroup * args.view->fields[w]->bits;
  }
  for (std::size_t start = 0; start < args.coefficients; start += kChunk) {
    const std::size_t left = args.coefficients - start;
    sum_chunk(args, row_at, start, left < kChunk ? left : kChunk);
  }
}

/// in: words below 2^bits, a multiple of eight of them. Constant time.
void pack_fields(const std::uint64_t* in, std::size_t coefficients, const FieldTable& table,
                 std::uint8_t* out) {
  for (std::size_t j = 0; j < coefficients; j += kGroup, out += table.bits) {
    pack_group(in + j, table.bits, out);
  }
}

/// out: words below 2^bits.
void unpack_fields(const std::uint8_t* in, std::size_t coefficients, const FieldTable& table,
                   std::uint64_t* out) {
  for (std::size_t j = 0; j < coefficients; j += kGroup, in += table.bits) {
    unpack_group(in, table.bits, out + j);
  }
}

}  // namespace veilsum::isa::scalar
