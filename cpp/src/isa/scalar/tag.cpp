// Layer: isa, scalar level. One run of the sum tag's hash: a polynomial in the words, at two
// points. Knows nothing of keys, blocks or digits' meaning.
//
// Algorithm: the polynomial hash of Wegman and Carter (1981) with powers from a table, so that the
// sum of products needs no reduction before kTagStep words are in (Bernstein's Poly1305, 2005, and
// its vector implementations do the same with few powers). A step's sum is reduced once and
// multiplied by x^(256 k).
//
// Ranges: words below 2^52, powers below P < 2^61. A step's sum is below 2^8 * 2^52 * 2^61 = 2^121.
// The run's sum is below 8 * 2^61 * 2^61 = 2^125. Both fit 128 bits. Output in [0, P).
//
// Portable: products of 64 by 64 bits. This level serves both primes; the others leave 2^61 - 1 to
// it.
#include <cstring>

#include "isa/scalar/kernels_internal.h"

namespace veilsum::isa::scalar {
namespace {

/// P = 2^bits - excess.
struct Prime {
  std::uint64_t p;
  unsigned bits;
  std::uint64_t excess;
};

/// x mod P in [0, P), for x < 2^126. Twice the bits from `bits` on are folded down, each worth
/// `excess`: after the first fold x < 2^81 + 2^50 (P = 2^50 - 27) or 2^65 + 2^61, after the second
/// x < 2^50 + 2^36 or 2^61 + 2^5, which is below 2 P.
std::uint64_t reduce_wide(Uint128 x, const Prime& prime) {
  const std::uint64_t mask = (std::uint64_t{1} << prime.bits) - 1;
  x = (static_cast<std::uint64_t>(x) & mask) + (x >> prime.bits) * prime.excess;
  const std::uint64_t low = (static_cast<std::uint64_t>(x) & mask) +
                            static_cast<std::uint64_t>(x >> prime.bits) * prime.excess;
  return subtract_if_above(low, prime.p);
}

template <typename Digit>
std::uint64_t value_of(const Digit& digit) {
  return digit;
}

std::uint64_t value_of(const PackedWord& word) {
  std::uint64_t value = 0;
  std::memcpy(&value, word.bytes, sizeof word.bytes);  // little-endian, as base/bytes.h asserts
  return value;
}

template <typename Digit>
void run(const TagRun& args, const Digit* digits, std::uint64_t out[kTagEvaluations]) {
  const Prime prime =
      args.prime == kTagPrime61 ? Prime{kTagPrime61, 61, 1} : Prime{kTagPrime50, 50, 27};
  const TagPowers& first = args.powers[0];
  const TagPowers& second = args.powers[1];
  Uint128 total[kTagEvaluations] = {0, 0};
  for (std::size_t begin = 0; begin < args.count; begin += kTagStep) {
    const std::size_t left = args.count - begin;
    const std::size_t now = left < kTagStep ? left : kTagStep;
    Uint128 sum0 = 0, sum1 = 0;
    for (std::size_t j = 0; j < now; ++j) {
      const Digit* at = digits + begin + j;
      std::uint64_t word = value_of(at[0]);
      for (std::uint32_t i = 1; i < args.digit_count; ++i) {
        word += value_of(at[i * args.stride]) * args.scale[i];
      }
      sum0 += static_cast<Uint128>(word) * first.power[j];
      sum1 += static_cast<Uint128>(word) * second.power[j];
    }
    const std::size_t k = begin / kTagStep;
    total[0] += static_cast<Uint128>(reduce_wide(sum0, prime)) * first.step[k];
    total[1] += static_cast<Uint128>(reduce_wide(sum1, prime)) * second.step[k];
  }
  for (std::size_t e = 0; e < kTagEvaluations; ++e) out[e] = reduce_wide(total[e], prime);
}

}  // namespace

void tag_run(const TagRun& args, std::uint64_t out[kTagEvaluations]) {
  if (args.packed != nullptr) {
    run(args, args.packed, out);
  } else if (args.narrow != nullptr) {
    run(args, args.narrow, out);
  } else {
    run(args, args.wide, out);
  }
}

}  // namespace veilsum::isa::scalar
