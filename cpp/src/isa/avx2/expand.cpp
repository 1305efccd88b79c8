// Layer: isa, level avx2. Uniform residues and centred binomial errors from an AES-CTR keystream,
// eight blocks (sixteen words) at a time. The product with the key slots is made in doubles
// (vector_ops.h) and runs beside the rounds of the next chunk: nothing depends on it.
// Rejected words are met with probability (2^50 - q) / 2^50, below 2^-26 for the primes in use: one
// comparison at the end finds them, and a cold scalar path starts over by the rule of
// isa/kernels.h. Uniform residues are public; errors are secret, and their path has no branch or
// index on data.
#include "isa/avx2/kernels_internal.h"
#include "isa/avx2/vector_ops.h"

namespace veilsum::isa::avx2 {
namespace {

/// Keystream word `word` of (key, index), one block at a time.
inline std::uint64_t keystream_word(const AesKey& key, std::uint64_t index, std::uint64_t word) {
  Block block = _mm_set_epi64x(static_cast<long long>(index), static_cast<long long>(word / 2));
  block = _mm_xor_si128(block, round_key(key, 0));
  const int rounds = static_cast<int>(key.rounds);
  for (int round = 1; round < rounds; ++round) {
    block = _mm_aesenc_si128(block, round_key(key, round));
  }
  block = _mm_aesenclast_si128(block, round_key(key, rounds));
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

/// Coefficients first ... last - 1, rejections mended from word n on.
[[gnu::noinline, gnu::cold]] void expand_scalar(const Expansion& e, std::size_t first,
                                                std::size_t last, std::size_t n) {
  std::uint64_t extra = n;
  for (std::size_t j = first; j < last; ++j) {
    std::uint64_t value = keystream_word(*e.key, e.index, j) & kResidueMask;
    while (value >= e.q) value = keystream_word(*e.key, e.index, extra++) & kResidueMask;
    e.out[j] =
        e.slots == nullptr ? value : multiply_lazy_scalar(value, e.slots[j], e.shoup[j], e.q);
  }
}

template <bool kMultiply>
struct ExpandFinish {
  const std::uint64_t* slots;
  std::uint64_t* out;
  Field field;
  Vec mask50 = splat(kResidueMask);
  Real above;  // q, to come out positive
  Real largest = _mm256_setzero_pd();

  explicit ExpandFinish(const Expansion& e)
      : slots(e.slots), out(e.out), field(e.q), above(splat(kTwo52 + static_cast<double>(e.q))) {}

  /// Words j ... j + 3. A rejected one (below 2^50 all the same) makes a number that is thrown
  /// away.
  void operator()(std::size_t j, Vec words) {
    const Vec x = _mm256_and_si256(words, mask50);
    const Real value = to_real(x);
    largest = _mm256_max_pd(largest, value);
    if constexpr (kMultiply) {
      // |x| < 2^50 and slots in [0, q): magnitude of the product below 3/4 q + 1
      const Real product = field.multiply(value, to_real(load(slots + j)));
      store(out + j, _mm256_xor_si256(bits_of(_mm256_add_pd(product, above)), splat(kTwo52Bits)));
    } else {
      store(out + j, x);
    }
  }

  bool rejected_one() const {
    return _mm256_movemask_pd(_mm256_cmp_pd(largest, field.q, _CMP_GE_OQ)) != 0;
  }
};

template <int kRounds, bool kMultiply>
void expand(const Expansion& e, std::size_t n) {
  ExpandFinish<kMultiply> finish(e);
  const std::size_t whole = n / 4 * 4;
  for_each_four<kRounds>(*e.key, e.index, whole, finish);
  if (__builtin_expect(finish.rejected_one(), 0)) {
    expand_scalar(e, 0, n, n);
  } else if (whole != n) {
    expand_scalar(e, whole, n, n);
  }
}

template <bool kMultiply>
void expand_any(const Expansion& e, std::size_t n) {
  if (e.key->rounds == 10) {
    expand<10, kMultiply>(e, n);
  } else {
    expand<14, kMultiply>(e, n);
  }
}

/// Bytes 0, 4, 8, 12 of each half (samples 0 1 4 5 and 2 3 6 7) -> their places among eight.
alignas(32) constexpr std::uint8_t kSampleBytes[32] = {
    0,    4,    0x80, 0x80, 8,    12,   0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80,
    0x80, 0x80, 0,    4,    0x80, 0x80, 8,    12,   0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80};

struct CbdFinish {
  ErrorSampler sampler;
  Vec bytes = _mm256_load_si256(reinterpret_cast<const Vec*>(kSampleBytes));
  Vec first_half = _mm256_setzero_si256();
  std::int8_t* out;

  explicit CbdFinish(std::int8_t* samples) : out(samples) {}

  void operator()(std::size_t j, Vec words) {
    const Vec counts = sampler(words);
    if (j % 8 == 0) {
      first_half = counts;
      return;
    }
    // 32-bit lanes 0 1 4 5 | 2 3 6 7
    const Vec samples =
        _mm256_sub_epi32(_mm256_packus_epi32(first_half, counts), _mm256_set1_epi32(kCbdWidth));
    const Vec placed = _mm256_shuffle_epi8(samples, bytes);
    _mm_storel_epi64(
        reinterpret_cast<Block*>(out + j - 4),
        _mm_or_si128(_mm256_castsi256_si128(placed), _mm256_extracti128_si256(placed, 1)));
  }
};

template <int kRounds>
void cbd(const AesKey& key, std::uint64_t index, std::size_t n, std::int8_t* out) {
  CbdFinish finish(out);
  for_each_four<kRounds>(key, index, n, finish);
  wipe(finish.first_half);
}

}  // namespace

void expand_uniform(const AesKey& key, std::uint64_t index, const Modulus& modulus, std::size_t n,
                    std::uint64_t* out) {
  expand_any<false>({&key, index, modulus.q, nullptr, nullptr, out}, n);
}

void expand_multiply(const AesKey& key, std::uint64_t index, const Modulus& modulus, std::size_t n,
                     const std::uint64_t* key_slots, const std::uint64_t* key_slots_shoup,
                     std::uint64_t* out) {
  expand_any<true>({&key, index, modulus.q, key_slots, key_slots_shoup, out}, n);
}

void sample_cbd(const AesKey& key, std::uint64_t index, std::size_t n, std::int8_t* out) {
  if (key.rounds == 10) {
    cbd<10>(key, index, n, out);
  } else {
    cbd<14>(key, index, n, out);
  }
}

}  // namespace veilsum::isa::avx2
