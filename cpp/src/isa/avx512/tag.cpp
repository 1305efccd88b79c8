// Layer: isa, level avx512. One run of the sum tag's hash modulo P = 2^50 - 27: a polynomial in the
// words, at two points. Knows nothing of keys, blocks or digits' meaning.
//
// Algorithm: that of the scalar level (Wegman and Carter 1981, powers from a table), eight words a
// register: lane l sums w_(8i + l) x^(8i + l), and lanes are added at the end. The 104-bit products
// of IFMA go to two sums, of the low and of the high 52 bits, which are not reduced before a step
// of 256 words ends: at that point 2^52 = 108 modulo P makes one sum of the two. Two pairs of sums,
// for even and for odd groups, because a product takes four cycles.
//
// Ranges: words and powers below 2^50, so a step's low sum is below 32 * 2^52 = 2^57 and its high
// sum below 32 * 2^48 = 2^53; `fold` shows the rest. Output in [0, P).
//
// Seven vector instructions for eight words of two digits: two widen, one joins the digits, four
// multiply and add. For eight packed words one permutation of bytes takes the place of the three. P
// = 2^61 - 1 does not fit IFMA's 52 bits and is rare (values of 32 bits with the largest weights);
// the scalar level serves it.
#include "isa/avx512/kernels_internal.h"
#include "isa/avx512/vector_ops.h"

namespace veilsum::isa::avx512 {
namespace {

constexpr unsigned kBits = 50;
constexpr std::uint64_t kExcess = 27;
static_assert(kTagPrime50 == (std::uint64_t{1} << kBits) - kExcess);

struct Constants {
  Vec mask = splat((std::uint64_t{1} << kBits) - 1);
  Vec excess = splat(kExcess);
};

/// low + 2^52 high modulo P, below 2^50 + 2^16, for low < 2^58 and high < 2^54: 108 high, as 128 -
/// 16 - 4 times it, is below 2^60.8, so the sum is below 2^61, and its bits from 50 on are worth 27
/// each.
inline Vec fold(Vec low, Vec high, const Constants& k) {
  Vec x = _mm512_add_epi64(low, _mm512_slli_epi64(high, 7));
  x = _mm512_sub_epi64(x, _mm512_slli_epi64(high, 4));
  x = _mm512_sub_epi64(x, _mm512_slli_epi64(high, 2));
  return add_low(_mm512_and_si512(x, k.mask), _mm512_srli_epi64(x, kBits), k.excess);
}

/// A sum of products, its low and its high halves.
struct Sum {
  Vec low = _mm512_setzero_si512();
  Vec high = _mm512_setzero_si512();

  void add_product(Vec x, Vec y) {
    low = add_low(low, x, y);
    high = add_high(high, x, y);
  }
};

/// A table's register, loaded once: GCC would fold the load into both products, and loads would
/// then bound the loop.
inline Vec load_power(const std::uint64_t* at) {
  Vec x = _mm512_load_si512(at);
  __asm__("" : "+v"(x));
  return x;
}

inline Vec load_row(const std::uint32_t* digits) { return load_digits(digits); }
inline Vec load_row(const std::uint64_t* digits) { return _mm512_loadu_si512(digits); }

/// Byte b of lane l is byte 6 l + b of the 48 that are read; the upper two bytes of a lane are 0.
alignas(64) constexpr std::uint8_t kPackedBytes[64] = {
    0,  1,  2,  3,  4,  5,  0,  0,  6,  7,  8,  9,  10, 11, 0,  0,  12, 13, 14, 15, 16, 17,
    0,  0,  18, 19, 20, 21, 22, 23, 0,  0,  24, 25, 26, 27, 28, 29, 0,  0,  30, 31, 32, 33,
    34, 35, 0,  0,  36, 37, 38, 39, 40, 41, 0,  0,  42, 43, 44, 45, 46, 47, 0,  0};

inline Vec load_row(const PackedWord* words) {
  const Vec bytes = _mm512_maskz_loadu_epi8((std::uint64_t{1} << 48) - 1, words);
  return _mm512_maskz_permutexvar_epi8(0x3f3f3f3f3f3f3f3f, _mm512_load_si512(kPackedBytes), bytes);
}

/// kDigits: digits of a word, or 0 where args.digit_count says it.
template <std::uint32_t kDigits, typename Digit>
[[gnu::always_inline]] inline Vec load_word(const TagRun& args, const Digit* at) {
  const std::uint32_t count = kDigits == 0 ? args.digit_count : kDigits;
  Vec word = load_row(at);
  for (std::uint32_t i = 1; i < count; ++i) {
    word = add_low(word, load_row(at + i * args.stride), splat(args.scale[i]));
  }
  return word;
}

/// Eight lanes below 2^51 each -> their sum modulo P in [0, P). The sum is below 2^54, with its
/// bits from 50 on folded below 2^50 + 2^9 < 2 P.
inline std::uint64_t lanes_modulo(Vec x) {
  const auto sum = static_cast<std::uint64_t>(_mm512_reduce_add_epi64(x));
  const std::uint64_t folded = (sum & ((std::uint64_t{1} << kBits) - 1)) + (sum >> kBits) * kExcess;
  const std::uint64_t difference = folded - kTagPrime50;
  std::uint64_t below = static_cast<std::uint64_t>(static_cast<std::int64_t>(difference) >> 63);
  __asm__("" : "+r"(below));  // or the compiler may turn the mask into a branch
  return difference + (kTagPrime50 & below);
}

template <std::uint32_t kDigits, typename Digit>
void run(const TagRun& args, const Digit* digits, std::uint64_t out[kTagEvaluations]) {
  const Constants k;
  const TagPowers& first = args.powers[0];
  const TagPowers& second = args.powers[1];
  Sum total[kTagEvaluations];
  for (std::size_t begin = 0; begin < args.count; begin += kTagStep) {
    const std::size_t left = args.count - begin;
    const std::size_t now = left < kTagStep ? left : kTagStep;
    const Digit* at = digits + begin;
    Sum even[kTagEvaluations], odd[kTagEvaluations];
    std::size_t j = 0;
    for (; j + 16 <= now; j += 16) {
      const Vec word = load_word<kDigits>(args, at + j);
      even[0].add_product(word, load_power(first.power + j));
      even[1].add_product(word, load_power(second.power + j));
      const Vec next = load_word<kDigits>(args, at + j + 8);
      odd[0].add_product(next, load_power(first.power + j + 8));
      odd[1].add_product(next, load_power(second.power + j + 8));
    }
    if (j < now) {
      const Vec word = load_word<kDigits>(args, at + j);
      even[0].add_product(word, load_power(first.power + j));
      even[1].add_product(word, load_power(second.power + j));
    }
    const std::uint64_t* steps[] = {first.step + begin / kTagStep, second.step + begin / kTagStep};
    for (std::size_t e = 0; e < kTagEvaluations; ++e) {
      // Low below 2^57, high below 2^53: both pairs together hold 32 products.
      const Vec value = fold(_mm512_add_epi64(even[e].low, odd[e].low),
                             _mm512_add_epi64(even[e].high, odd[e].high), k);
      total[e].add_product(value, splat(*steps[e]));
    }
  }
  // Eight products of (2^50 + 2^16) * 2^50: low below 2^55, high below 2^52.
  for (std::size_t e = 0; e < kTagEvaluations; ++e) {
    out[e] = lanes_modulo(fold(total[e].low, total[e].high, k));
  }
}

}  // namespace

void tag_run(const TagRun& args, std::uint64_t out[kTagEvaluations]) {
  if (args.prime != kTagPrime50) return scalar_table()->tag_run(args, out);
  if (args.packed != nullptr) return run<1>(args, args.packed, out);
  if (args.narrow == nullptr) return run<0>(args, args.wide, out);
  switch (args.digit_count) {
    case 1:
      return run<1>(args, args.narrow, out);
    case 2:
      return run<2>(args, args.narrow, out);
    case 3:
      return run<3>(args, args.narrow, out);
    case 4:
      return run<4>(args, args.narrow, out);
    default:
      return run<0>(args, args.narrow, out);
  }
}

}  // namespace veilsum::isa::avx512
