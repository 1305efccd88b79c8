// Layer: isa, level avx512. AES-CTR keystream -> polynomials: uniform residues of 48 bits and
// centred binomial samples of 16, and the product of slots. AES has one or two ports of its own and
// latency to hide, so the words of one chunk are taken apart between the rounds of the next.
// Rejected words are met with probability delta / 2^48, below 2^-25 for the primes in use: one
// comparison a chunk finds them and a cold scalar path mends them by the rule of isa/kernels.h.
// Uniform residues are public; samples are secret, and their path has no branch or index on data.
#include "isa/avx512/kernels_internal.h"
#include "isa/avx512/vector_ops.h"

namespace veilsum::isa::avx512 {
namespace {

constexpr std::uint64_t kMask48 = (std::uint64_t{1} << kPrimeBits) - 1;

/// Keystream word `word` of (key, index), 48 bits, one block at a time.
std::uint64_t keystream_word(const AesKey& key, std::uint64_t index, std::uint64_t word) {
  constexpr std::uint64_t kWordBytes = kPrimeBits / 8;
  alignas(16) std::uint8_t bytes[32];
  const std::uint64_t block = word * kWordBytes / 16;
  aes_ctr(key, index, block, bytes, 2);
  std::uint64_t value;
  __builtin_memcpy(&value, bytes + word * kWordBytes % 16, sizeof value);
  return value & kMask48;
}

/// Replaces what is not below q in out[first ... last), words whose keystream stands there, from
/// word `extra` on. Returns the next unused word.
[[gnu::noinline, gnu::cold]] std::uint64_t replace_rejected(const AesKey& key, std::uint64_t index,
                                                            std::uint64_t q, std::uint64_t* first,
                                                            std::uint64_t* last,
                                                            std::uint64_t extra) {
  for (; first < last; ++first) {
    while (*first >= q) *first = keystream_word(key, index, extra++);
  }
  return extra;
}

constexpr int kRegisters = 6;        ///< of a chunk: 24 AES blocks
constexpr std::size_t kWords = 64;   ///< of a chunk
constexpr std::size_t kVectors = 8;  ///< of eight words

/// Eight words from bytes 0 ... 47 of a register, or from its last 48.
struct WordUnpacker : ResidueUnpacker {
  Vec permute_last = _mm512_add_epi8(permute, _mm512_set1_epi8(16));

  Vec last(Vec bytes) const {
    return _mm512_maskz_permutexvar_epi8(kResidueLanes, permute_last, bytes);
  }
};

/// Three registers of keystream hold four vectors of 48-byte groups. This is vector kAt of the
/// eight of a chunk.
template <int kAt>
inline Vec take_words(const Vec* s, const WordUnpacker& unpack) {
  const Vec* t = s + kAt / 4 * 3;
  if constexpr (kAt % 4 == 0) return unpack(t[0]);
  if constexpr (kAt % 4 == 1) return unpack(_mm512_alignr_epi64(t[1], t[0], 6));
  if constexpr (kAt % 4 == 2) return unpack(_mm512_alignr_epi64(t[2], t[1], 4));
  return unpack.last(t[2]);
}

/// Vectors kAt ... 7 of `current` to `out`, beside the AES of `next`.
template <int kRounds, int kAt>
inline void expand_chunk(const RoundKeys& keys, const Vec* current, Vec* next,
                         const WordUnpacker& unpack, Vec& largest, std::uint64_t* out) {
  constexpr int kOperations = kRegisters * kRounds;
  constexpr int kAll = static_cast<int>(kVectors);
  const Vec x = take_words<kAt>(current, unpack);
  largest = _mm512_max_epu64(largest, x);
  _mm512_storeu_si512(out + 8 * kAt, x);
  ctr_advance<kRounds, kRegisters, kOperations * kAt / kAll, kOperations*(kAt + 1) / kAll>(keys,
                                                                                           next);
  if constexpr (kAt + 1 < kAll) {
    expand_chunk<kRounds, kAt + 1>(keys, current, next, unpack, largest, out);
  }
}

template <int kAt>
inline void expand_rest(const Vec* s, const WordUnpacker& unpack, std::size_t vectors,
                        std::uint64_t* out) {
  if (kAt < vectors) _mm512_storeu_si512(out + 8 * kAt, take_words<kAt>(s, unpack));
  if constexpr (kAt + 1 < kVectors) expand_rest<kAt + 1>(s, unpack, vectors, out);
}

inline void start_chunk(CounterStream& counters, Vec* s) {
#pragma GCC unroll 3
  for (int i = 0; i < kRegisters; i += 2) counters.next(s[i], s[i + 1]);
}

template <int kRounds>
void expand(const AesKey& key, std::uint64_t index, std::uint64_t q, std::size_t n,
            std::uint64_t* out) {
  RoundKeys keys;
  load_round_keys<kRounds>(key, keys);
  CounterStream counters(keys, index, 0);
  const WordUnpacker unpack;
  const Vec bound = splat(q);
  std::uint64_t extra = n;
  Vec next[kRegisters];
  start_chunk(counters, next);
  ctr_advance<kRounds, kRegisters, 0, kRegisters * kRounds>(keys, next);
  std::size_t j = 0;
  for (; j + kWords < n; j += kWords) {
    Vec current[kRegisters];
#pragma GCC unroll 6
    for (int i = 0; i < kRegisters; ++i) current[i] = next[i];
    start_chunk(counters, next);
    Vec largest = _mm512_setzero_si512();
    expand_chunk<kRounds, 0>(keys, current, next, unpack, largest, out + j);
    if (__builtin_expect(_mm512_cmpge_epu64_mask(largest, bound) != 0, 0)) {
      extra = replace_rejected(key, index, q, out + j, out + j + kWords, extra);
    }
  }
  // The last chunk, whole or in part.
  expand_rest<0>(next, unpack, (n - j) / 8, out + j);
  replace_rejected(key, index, q, out + j, out + n, extra);
}

template <int kRounds>
void cbd(const AesKey& key, std::uint64_t index, std::size_t n, std::int8_t* out) {
  constexpr std::size_t kHalf = 32;  // samples of a register
  const ErrorKeys<kRounds> keys(key);
  CounterStream counters(keys.round, index, 0);
  const __m256i centre = _mm256_set1_epi8(kCbdWidth);
  for (std::size_t j = 0; j < n; j += 2 * kHalf) {
    Vec s[2];
    counters.next(s[0], s[1]);
    ctr_advance<kRounds, 2, 0, 2 * kRounds>(keys.round, s);
#pragma GCC unroll 2
    for (std::size_t i = 0; i < 2; ++i) {
      const std::size_t at = j + i * kHalf;
      if (at >= n) break;
      const __m256i samples = _mm512_cvtepi16_epi8(_mm512_popcnt_epi16(s[i]));
      const std::size_t left = n - at;
      const __mmask32 mask = left < kHalf ? (__mmask32{1} << left) - 1 : ~__mmask32{0};
      _mm256_mask_storeu_epi8(out + at, mask, _mm256_sub_epi8(samples, centre));
    }
  }
}

}  // namespace

void expand_uniform(const AesKey& key, std::uint64_t index, const Modulus& modulus, std::size_t n,
                    std::uint64_t* out) {
  if (n == 0) return;
  if (key.rounds == 10) {
    expand<10>(key, index, modulus.q, n, out);
  } else {
    expand<14>(key, index, modulus.q, n, out);
  }
}

void multiply_slots(const std::uint64_t* a, const std::uint64_t* slots,
                    const std::uint64_t* companions, const Modulus& modulus, std::size_t n,
                    std::uint64_t* out) {
  const Vec minus_q = splat((kMask52 + 1) - modulus.q);
  for (std::size_t j = 0; j < n; j += 8) {
    _mm512_storeu_si512(out + j,
                        multiply_dirty(_mm512_loadu_si512(a + j), _mm512_loadu_si512(slots + j),
                                       _mm512_loadu_si512(companions + j), minus_q));
  }
}

void sample_cbd(const AesKey& key, std::uint64_t index, std::size_t n, std::int8_t* out) {
  if (key.rounds == 10) {
    cbd<10>(key, index, n, out);
  } else {
    cbd<14>(key, index, n, out);
  }
}

}  // namespace veilsum::isa::avx512
