// Layer: isa, scalar level. Rows of 50-bit residues: eight of them are exactly 50 bytes. Packing,
// unpacking with a range check, and the weighted sum of packed rows, which is all that the
// aggregator does to blocks. Sums are lazy: a chunk of coefficients stays in cache while every
// source is added to it without reduction, and one Barrett step at the end makes it canonical.
// Packing may see secrets and is constant time; rows that are summed or unpacked are ciphertexts,
// hence public, and yet meet no branch either: the range check is gathered into one word.
#include <cstddef>
#include <cstdint>

#include "isa/scalar/kernels_internal.h"

namespace veilsum::isa::scalar {
namespace {

constexpr std::size_t kChunk = 512;  // coefficients; accumulators of 8 KiB at most

/// Sum of the sources over `now` coefficients that start at byte `offset`, all weights one. Words
/// below 2^50, 8192 of them: below 2^63, so one 64-bit accumulator and `reduce` (x < 2^63) do.
/// Returns a word whose top bit is set when a residue was >= q.
std::uint64_t sum_chunk(const SumPacked& args, std::size_t offset, std::size_t now,
                        std::uint64_t* sum) {
  const std::uint64_t limit = args.modulus.q - 1;
  std::uint64_t above = 0;
  for (std::size_t j = 0; j < now; ++j) sum[j] = 0;
  for (std::size_t k = 0; k < args.source_count; ++k) {
    const std::uint8_t* in = args.sources[k] + offset;
    for (std::size_t j = 0; j < now; j += kGroup, in += kGroupBytes) {
      std::uint64_t c[kGroup];
      unpack_group(in, c);
      for (std::size_t i = 0; i < kGroup; ++i) {
        above |= limit - c[i];
        sum[j + i] += c[i];
      }
    }
  }
  for (std::size_t j = 0; j < now; ++j) sum[j] = reduce(sum[j], args.modulus);
  return above;
}

/// The same with weights of sum at most 2^20: the sum stays below 2^70. It is kept as
/// low + 2^26 high with c = c_low + 2^26 c_high, c_low < 2^26 and c_high < 2^24, hence low < 2^46
/// and high < 2^44; weights and halves fit 32 bits, so the products are 32 x 32 -> 64. At the end
/// high 2^26 + low  is split once more at bit 52: with high = h1 2^26 + h0 it is h1 2^52 + (h0 2^26
/// + low), h1 < 2^18, and h1 2^52 mod q (lazy, < 2q) plus the rest (< 2^53) is below 2^54, in reach
/// of `reduce`.
std::uint64_t sum_chunk_weighted(const SumPacked& args, std::size_t offset, std::size_t now,
                                 std::uint64_t* sum) {
  constexpr unsigned kSplit = 26;
  constexpr std::uint64_t kLowMask = (std::uint64_t{1} << kSplit) - 1;
  const std::uint64_t limit = args.modulus.q - 1;
  std::uint64_t high[kChunk];
  std::uint64_t above = 0;
  for (std::size_t j = 0; j < now; ++j) sum[j] = high[j] = 0;
  for (std::size_t k = 0; k < args.source_count; ++k) {
    const std::uint8_t* in = args.sources[k] + offset;
    const std::uint32_t weight = static_cast<std::uint32_t>(args.weights[k]);
    for (std::size_t j = 0; j < now; j += kGroup, in += kGroupBytes) {
      std::uint64_t c[kGroup];
      unpack_group(in, c);
      for (std::size_t i = 0; i < kGroup; ++i) {
        above |= limit - c[i];
        const std::uint32_t c_low = static_cast<std::uint32_t>(c[i] & kLowMask);
        const std::uint32_t c_high = static_cast<std::uint32_t>(c[i] >> kSplit);
        sum[j + i] += static_cast<std::uint64_t>(weight) * c_low;
        high[j + i] += static_cast<std::uint64_t>(weight) * c_high;
      }
    }
  }
  for (std::size_t j = 0; j < now; ++j) {
    const std::uint64_t rest = ((high[j] & kLowMask) << kSplit) + sum[j];
    const std::uint64_t folded = multiply_lazy(high[j] >> kSplit, args.modulus.two52_mod_q,
                                               args.modulus.two52_shoup, args.modulus.q);
    sum[j] = reduce(rest + folded, args.modulus);
  }
  return above;
}

}  // namespace

/// out: canonical residues. Sources hold any 50-bit words; the result is false, and `out`
/// unspecified, when one of them is >= q. Sum of weights at most 2^20; `out` may be a source.
bool sum_packed(const SumPacked& args) {
  std::uint64_t sum[kChunk];
  std::uint64_t above = 0;
  for (std::size_t start = 0; start < args.coefficients; start += kChunk) {
    const std::size_t left = args.coefficients - start;
    const std::size_t now = left < kChunk ? left : kChunk;
    const std::size_t offset = start / kGroup * kGroupBytes;
    above |= args.weights == nullptr ? sum_chunk(args, offset, now, sum)
                                     : sum_chunk_weighted(args, offset, now, sum);
    pack(sum, now, args.out + offset);
  }
  return (above >> 63) == 0;
}

/// in: words below 2^50, a multiple of eight of them. out: coefficients / 8 * 50 bytes. Constant
/// time.
void pack(const std::uint64_t* in, std::size_t coefficients, std::uint8_t* out) {
  for (std::size_t j = 0; j < coefficients; j += kGroup, out += kGroupBytes) {
    pack_group(in + j, out);
  }
}

/// out: words below 2^50; true when all of them are below q.
bool unpack(const std::uint8_t* in, std::size_t coefficients, std::uint64_t q, std::uint64_t* out) {
  std::uint64_t above = 0;
  for (std::size_t j = 0; j < coefficients; j += kGroup, in += kGroupBytes) {
    unpack_group(in, out + j);
    for (std::size_t i = 0; i < kGroup; ++i) above |= (q - 1) - out[j + i];
  }
  return (above >> 63) == 0;
}

}  // namespace veilsum::isa::scalar
