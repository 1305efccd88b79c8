// Layer: isa, level avx2. One run of the sum tag's hash modulo P = 2^50 - 27: a polynomial in the
// words, at two points. Knows nothing of keys, blocks or digits' meaning.
//
// Algorithm: that of the scalar level (Wegman and Carter 1981, powers from a table), four lanes a
// register, lane l sums words 4i + l. AVX2 has no wide integer products, but a fused multiply-add
// of doubles is exact as long as the sum is an integer of at most 53 bits. So a word is split into
// pieces of 22 bits, which are as many neighbouring digits as fit, or a part of one large digit,
// and a power into two halves of 25 bits, which the table holds as doubles. The hash is linear, so
// each piece has sums of its own, and its worth in the word is multiplied in when a step of 256
// words ends.
//
// Ranges: pieces below 2^22, halves below 2^25, 64 products a lane: sums stay at most 64 (2^22 - 1)
// (2^25 - 1) < 2^53. The comments at the sums show the rest. Output in [0, P).
//
// A piece costs four multiply-adds for four words at both points: eight for a word of two digits of
// 20 bits. 32-bit integer products would need as many and as many additions besides (0.45 instead
// of 0.37 ns a word on Zen 4). P = 2^61 - 1 is rare (values of 32 bits with the largest weights);
// the scalar level serves it.
#include "isa/avx2/kernels_internal.h"
#include "isa/avx2/vector_ops.h"

namespace veilsum::isa::avx2 {
namespace {

__extension__ typedef unsigned __int128 Uint128;

constexpr unsigned kBits = 50;
constexpr std::uint64_t kExcess = 27;
static_assert(kTagPrime50 == (std::uint64_t{1} << kBits) - kExcess);
constexpr std::uint64_t kMask50 = (std::uint64_t{1} << kBits) - 1;
constexpr unsigned kHalf = 25;  ///< bits of a power's lower half
constexpr unsigned kPiece = 22;
constexpr std::uint64_t kPieceEnd = std::uint64_t{1} << kPiece;

/// x modulo P, below 2^50 + 2^22 < 2 P, for x < 2^112: what stands above bit 50 is worth 27 times
/// itself; folded down once, x is below 2^67.
inline std::uint64_t reduce_lazy(Uint128 x) {
  x = (static_cast<std::uint64_t>(x) & kMask50) + (x >> kBits) * kExcess;
  return (static_cast<std::uint64_t>(x) & kMask50) +
         static_cast<std::uint64_t>(x >> kBits) * kExcess;
}

/// The same, in [0, P).
inline std::uint64_t reduce(Uint128 x) {
  const std::uint64_t difference = reduce_lazy(x) - kTagPrime50;
  std::uint64_t below = static_cast<std::uint64_t>(static_cast<std::int64_t>(difference) >> 63);
  __asm__("" : "+r"(below));  // or the compiler may turn the mask into a branch
  return difference + (kTagPrime50 & below);
}

/// The lanes' sum; lanes are integers in [0, 2^53).
inline std::uint64_t lanes(Real x) {
  alignas(32) double words[4];
  _mm256_store_pd(words, x);
  const std::int64_t low =
      static_cast<std::int64_t>(words[0]) + static_cast<std::int64_t>(words[1]);
  const std::int64_t high =
      static_cast<std::int64_t>(words[2]) + static_cast<std::int64_t>(words[3]);
  return static_cast<std::uint64_t>(low + high);
}

/// `count` neighbouring narrow digits, joined: t^count <= 2^22.
struct Joined {
  const std::uint32_t* first;
  std::size_t stride;
  const std::uint64_t* scale;  ///< 1, t, ...
  std::uint32_t count;
  std::uint64_t worth;  ///< of the piece in its word, below P

  Real operator()(std::size_t j) const {
    Real piece = row(first + j);
    for (std::uint32_t i = 1; i < count; ++i) {
      const Real worth_of_digit = splat(static_cast<double>(static_cast<std::int64_t>(scale[i])));
      piece = _mm256_fmadd_pd(row(first + i * stride + j), worth_of_digit, piece);
    }
    return piece;
  }
  static Real row(const std::uint32_t* digits) { return _mm256_cvtepi32_pd(load_half(digits)); }
};

/// Bits shift ... shift + 21 of one digit.
template <typename Digit>
struct Part {
  const Digit* digits;
  Block shift;
  std::uint64_t worth;

  Real operator()(std::size_t j) const {
    return to_real(
        _mm256_and_si256(_mm256_srl_epi64(row(digits + j), shift), splat(kPieceEnd - 1)));
  }
  static Vec row(const std::uint32_t* at) { return _mm256_cvtepu32_epi64(load_half(at)); }
  static Vec row(const std::uint64_t* at) { return load(at); }
  /// Four words of 24 bytes: each half holds two of them, from byte 0 and, of bytes 8 to 23, from
  /// byte 4.
  static Vec row(const PackedWord* at) {
    const Vec halves =
        _mm256_inserti128_si256(_mm256_castsi128_si256(load_half(at)), load_half(at->bytes + 8), 1);
    constexpr char kNone = -128;
    return _mm256_shuffle_epi8(
        halves,
        _mm256_setr_epi8(0, 1, 2, 3, 4, 5, kNone, kNone, 6, 7, 8, 9, 10, 11, kNone, kNone, 4, 5, 6,
                         7, 8, 9, kNone, kNone, 10, 11, 12, 13, 14, 15, kNone, kNone));
  }
};

/// kPieces pieces of words begin ... begin + now - 1: adds what they are worth to step_sum, each
/// below 2^101. `now` is a multiple of eight.
template <std::size_t kPieces, typename Piece>
[[gnu::always_inline]] inline void add_pieces(const TagPowers* powers, const Piece* pieces,
                                              std::size_t begin, std::size_t now,
                                              Uint128 step_sum[kTagEvaluations]) {
  // Eight chains of multiply-adds hide their latency: a single piece has two sets of four sums.
  constexpr std::size_t kSets = kPieces == 1 ? 2 : 1;
  constexpr std::size_t kHalves = 2 * kTagEvaluations;
  Real sums[kPieces * kSets][kHalves];
  for (auto& set : sums) {
    for (Real& sum : set) sum = _mm256_setzero_pd();
  }
  for (std::size_t start = 0; start < now; start += 8) {
#pragma GCC unroll 2
    for (std::size_t half = 0; half < 2; ++half) {
      const std::size_t j = start + 4 * half;
      Real power[kHalves];
#pragma GCC unroll 2
      for (std::size_t e = 0; e < kTagEvaluations; ++e) {
        power[2 * e] = _mm256_load_pd(powers[e].low + j);
        power[2 * e + 1] = _mm256_load_pd(powers[e].high + j);
      }
#pragma GCC unroll 2
      for (std::size_t p = 0; p < kPieces; ++p) {
        const Real x = pieces[p](begin + j);
        Real* set = sums[kPieces == 1 ? half : p];
#pragma GCC unroll 4
        for (std::size_t i = 0; i < kHalves; ++i) {
          // Loaded once for all pieces: GCC would fold the load into each product.
          if (kPieces > 1) __asm__("" : "+x"(power[i]));
          set[i] = _mm256_fmadd_pd(x, power[i], set[i]);
        }
      }
    }
  }
  for (std::size_t p = 0; p < kPieces; ++p) {
    for (std::size_t e = 0; e < kTagEvaluations; ++e) {
      Uint128 sum = 0;  // below 2^82: lanes add up to less than 2^56
      for (std::size_t set = p; set < p + kSets; ++set) {
        sum += lanes(sums[set][2 * e]);
        sum += static_cast<Uint128>(lanes(sums[set][2 * e + 1])) << kHalf;
      }
      step_sum[e] += static_cast<Uint128>(reduce_lazy(sum)) * pieces[p].worth;
    }
  }
}

/// A word has at most 50 pieces (four where digits are joined as they are here), so a step's sum is
/// below 2^107; the run's is below 8 * 2^101.
template <typename Piece>
void run(const TagRun& args, const Piece* pieces, std::size_t count,
         std::uint64_t out[kTagEvaluations]) {
  Uint128 total[kTagEvaluations] = {0, 0};
  for (std::size_t begin = 0; begin < args.count; begin += kTagStep) {
    const std::size_t left = args.count - begin;
    const std::size_t now = left < kTagStep ? left : kTagStep;
    Uint128 step_sum[kTagEvaluations] = {0, 0};
    std::size_t p = 0;
    for (; p + 2 <= count; p += 2) {
      add_pieces<2>(args.powers, pieces + p, begin, now, step_sum);
    }
    if (p < count) add_pieces<1>(args.powers, pieces + p, begin, now, step_sum);
    for (std::size_t e = 0; e < kTagEvaluations; ++e) {
      total[e] +=
          static_cast<Uint128>(reduce_lazy(step_sum[e])) * args.powers[e].step[begin / kTagStep];
    }
  }
  for (std::size_t e = 0; e < kTagEvaluations; ++e) out[e] = reduce(total[e]);
}

constexpr std::uint32_t kMostPieces = 50;

/// Narrow digits below 2^22.
void run_joined(const TagRun& args, std::uint64_t out[kTagEvaluations]) {
  Joined pieces[kMostPieces];
  std::size_t count = 0;
  for (std::uint32_t first = 0; first < args.digit_count;) {
    std::uint32_t digits = 1;
    std::uint64_t end = args.base;  // of what `digits` digits hold
    while (first + digits < args.digit_count && end * args.base <= kPieceEnd) {
      end *= args.base;
      ++digits;
    }
    pieces[count++] = {args.narrow + first * args.stride, args.stride, args.scale, digits,
                       args.scale[first]};
    first += digits;
  }
  run(args, pieces, count, out);
}

/// Digits of any size: a larger one is cut. One of 64 or 48 bits is below P, one of 32 bits may be
/// of a base beyond them.
template <typename Digit>
void run_parts(const TagRun& args, const Digit* digits, std::uint64_t out[kTagEvaluations]) {
  constexpr unsigned kDigitBits = sizeof(Digit) == 4 ? 32 : kBits;
  Part<Digit> pieces[kMostPieces];
  std::size_t count = 0;
  for (std::uint32_t i = 0; i < args.digit_count; ++i) {
    for (unsigned shift = 0; shift < kDigitBits; shift += kPiece) {
      if (shift != 0 && (args.base - 1) >> shift == 0) break;
      pieces[count++] = {digits + i * args.stride, _mm_cvtsi32_si128(static_cast<int>(shift)),
                         reduce(static_cast<Uint128>(args.scale[i]) << shift)};
    }
  }
  run(args, pieces, count, out);
}

}  // namespace

void tag_run(const TagRun& args, std::uint64_t out[kTagEvaluations]) {
  if (args.prime != kTagPrime50) return scalar_table()->tag_run(args, out);
  if (args.packed != nullptr) return run_parts(args, args.packed, out);
  if (args.narrow == nullptr) return run_parts(args, args.wide, out);
  if (args.base > kPieceEnd) return run_parts(args, args.narrow, out);
  run_joined(args, out);
}

}  // namespace veilsum::isa::avx2
