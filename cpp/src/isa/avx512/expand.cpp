// Layer: isa, level avx512. Uniform residues and centred binomial errors from an AES-CTR keystream,
// four blocks (eight words) a register, eight registers in flight. AES keeps one port busy (one
// VAESENC a cycle), so the product with the key slots runs beside the rounds of the next chunk.
// Rejected words are met with probability (2^50 - q) / 2^50, below 2^-26 for the primes in use: one
// comparison a chunk finds them and a cold scalar path mends them by the rule of isa/kernels.h.
// Uniform residues are public; errors are secret, and their path has no branch or index on data.
#include "isa/avx512/kernels_internal.h"
#include "isa/avx512/vector_ops.h"

namespace veilsum::isa::avx512 {
namespace {

/// Keystream word `word` of (key, index), one block at a time.
inline std::uint64_t keystream_word(const AesKey& key, std::uint64_t index, std::uint64_t word) {
  const __m128i* keys = reinterpret_cast<const __m128i*>(key.bytes);
  __m128i block = _mm_set_epi64x(static_cast<long long>(index), static_cast<long long>(word / 2));
  block = _mm_xor_si128(block, _mm_load_si128(keys));
  for (std::uint32_t round = 1; round < key.rounds; ++round) {
    block = _mm_aesenc_si128(block, _mm_load_si128(keys + round));
  }
  block = _mm_aesenclast_si128(block, _mm_load_si128(keys + key.rounds));
  return static_cast<std::uint64_t>(word % 2 == 0 ? _mm_cvtsi128_si64(block)
                                                  : _mm_extract_epi64(block, 1));
}

struct Expansion {
  const AesKey* key;
  std::uint64_t index;
  std::uint64_t q;
  const std::uint64_t* slots;  ///< null: the residues themselves are wanted
  const std::uint64_t* shoup;
  std::uint64_t* out;
};

/// Coefficients first ... last - 1, rejections mended from word `extra` on. Returns the next
/// unused word.
[[gnu::noinline, gnu::cold]] std::uint64_t expand_scalar(const Expansion& e, std::size_t first,
                                                         std::size_t last, std::uint64_t extra) {
  for (std::size_t j = first; j < last; ++j) {
    std::uint64_t value = keystream_word(*e.key, e.index, j) & kResidueMask;
    while (value >= e.q) value = keystream_word(*e.key, e.index, extra++) & kResidueMask;
    e.out[j] =
        e.slots == nullptr ? value : multiply_lazy_scalar(value, e.slots[j], e.shoup[j], e.q);
  }
  return extra;
}

template <bool kMultiply>
struct ExpandFinish {
  Vec mask50, mask52, minus_q, largest;
  const std::uint64_t* slots;
  const std::uint64_t* shoup;
  std::uint64_t* out;

  void at(const Expansion& e, std::size_t j) {
    if constexpr (kMultiply) {
      slots = e.slots + j;
      shoup = e.shoup + j;
    }
    out = e.out + j;
    largest = _mm512_setzero_si512();
  }

  void operator()(std::size_t i, Vec word) {
    Vec x = _mm512_and_si512(word, mask50);
    largest = _mm512_max_epu64(largest, x);
    if constexpr (kMultiply) {
      x = multiply_lazy(x, _mm512_loadu_si512(slots + 8 * i), _mm512_loadu_si512(shoup + 8 * i),
                        minus_q, mask52);
    }
    _mm512_storeu_si512(out + 8 * i, x);
  }
};

template <int kRounds, bool kMultiply>
void expand(const Expansion& e, std::size_t n) {
  RoundKeys keys;
  load_round_keys<kRounds>(*e.key, keys);
  const Vec q = splat(e.q);
  ExpandFinish<kMultiply> finish;
  finish.mask50 = splat(kResidueMask);
  finish.mask52 = splat(kMask52);
  finish.minus_q = splat((kMask52 + 1) - e.q);
  std::uint64_t extra = n;
  Vec next[8];
  ctr_chunk<kRounds>(keys, e.index, 0, next);
  std::size_t j = 0;
  for (; j + kChunk < n; j += kChunk) {
    Vec current[8];
#pragma GCC unroll 8
    for (std::size_t i = 0; i < 8; ++i) current[i] = next[i];
    ctr_start<kRounds>(keys, e.index, (j + kChunk) / 2, next);
    finish.at(e, j);
    pipelined_chunk<kRounds, 0>(keys, current, next, finish);
    if (__builtin_expect(_mm512_cmpge_epu64_mask(finish.largest, q) != 0, 0)) {
      extra = expand_scalar(e, j, j + kChunk, extra);
    }
  }
  // The last chunk, whole or in part.
  finish.at(e, j);
  const std::size_t whole = (n - j) / 8;
#pragma GCC unroll 8
  for (std::size_t i = 0; i < 8; ++i) {
    if (i < whole) finish(i, next[i]);
  }
  if (__builtin_expect(_mm512_cmpge_epu64_mask(finish.largest, q) != 0, 0)) {
    extra = expand_scalar(e, j, j + 8 * whole, extra);
  }
  expand_scalar(e, j + 8 * whole, n, extra);
}

template <bool kMultiply>
void expand_any(const Expansion& e, std::size_t n) {
  if (e.key->rounds == 10) {
    expand<10, kMultiply>(e, n);
  } else {
    expand<14, kMultiply>(e, n);
  }
}

struct CbdFinish {
  Vec low42, high21, offset;
  std::int8_t* out;

  void operator()(std::size_t i, Vec word) const {
    // popcount(a) - popcount(b) = popcount(a) + popcount(~b) - 21; 0x6a: (A & B) ^ C
    const Vec bits = _mm512_ternarylogic_epi64(word, low42, high21, 0x6a);
    const Vec value = _mm512_sub_epi64(_mm512_popcnt_epi64(bits), offset);
    _mm_storel_epi64(reinterpret_cast<__m128i*>(out + 8 * i), _mm512_cvtepi64_epi8(value));
  }
};

template <int kRounds>
void cbd(const AesKey& key, std::uint64_t index, std::size_t n, std::int8_t* out) {
  constexpr std::uint64_t kLow21 = (std::uint64_t{1} << kCbdWidth) - 1;
  RoundKeys keys;
  load_round_keys<kRounds>(key, keys);
  CbdFinish finish;
  finish.low42 = splat((kLow21 << kCbdWidth) | kLow21);
  finish.high21 = splat(kLow21 << kCbdWidth);
  finish.offset = splat(kCbdWidth);
  for (std::size_t j = 0; j < n; j += kChunk) {
    Vec words[8];
    ctr_chunk<kRounds>(keys, index, j / 2, words);
    finish.out = out + j;
    const std::size_t whole = (n - j) / 8;
#pragma GCC unroll 8
    for (std::size_t i = 0; i < 8; ++i) {
      if (i < whole) finish(i, words[i]);
    }
  }
  wipe(keys);
}

}  // namespace

void expand_uniform(const AesKey& key, std::uint64_t index, const Modulus& modulus, std::size_t n,
                    std::uint64_t* out) {
  if (n == 0) return;
  expand_any<false>({&key, index, modulus.q, nullptr, nullptr, out}, n);
}

void expand_multiply(const AesKey& key, std::uint64_t index, const Modulus& modulus, std::size_t n,
                     const std::uint64_t* key_slots, const std::uint64_t* key_slots_shoup,
                     std::uint64_t* out) {
  if (n == 0) return;
  expand_any<true>({&key, index, modulus.q, key_slots, key_slots_shoup, out}, n);
}

void sample_cbd(const AesKey& key, std::uint64_t index, std::size_t n, std::int8_t* out) {
  if (key.rounds == 10) {
    cbd<10>(key, index, n, out);
  } else {
    cbd<14>(key, index, n, out);
  }
}

}  // namespace veilsum::isa::avx512
