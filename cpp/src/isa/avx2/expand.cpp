// Layer: isa, level avx2. Uniform residues and centred binomial errors from an AES-CTR keystream,
// and the product of residues with key slots, in doubles (vector_ops.h). Rejected words are met
// with probability (2^48 - q) / 2^48, below 2^-25 for the primes in use: one comparison at the end
// finds them, and a cold scalar path mends them by the rule of isa/kernels.h. Uniform residues are
// public; errors and slots are secret, and their paths have no branch or index on data.
#include "isa/avx2/block_io.h"
#include "isa/avx2/kernels_internal.h"

namespace veilsum::isa::avx2 {
namespace {

constexpr std::size_t kAesBlock = 16;
constexpr std::size_t kWordBytes = kPrimeBits / 8;
/// Three times eight AES blocks, sixty-four words.
constexpr std::size_t kWords = 64;
constexpr std::size_t kBatches = 3;

/// Words n, n + 1, ... of the keystream, three AES blocks, eight words, at a time.
class ExtraWords {
 public:
  ExtraWords(const AesKey& key, std::uint64_t index, std::size_t first_word)
      : key_(key), index_(index), next_block_(first_word / kGroup * kBatches) {}

  std::uint64_t next() {
    if (used_ == kBytes) {
      aes_ctr(key_, index_, next_block_, bytes_, kBatches);
      next_block_ += kBatches;
      used_ = 0;
    }
    std::uint64_t word = 0;
    std::memcpy(&word, bytes_ + used_, kWordBytes);
    used_ += kWordBytes;
    return word;
  }

 private:
  static constexpr std::size_t kBytes = kGroup * kWordBytes;
  const AesKey& key_;
  std::uint64_t index_;
  std::uint64_t next_block_;
  std::uint8_t bytes_[kBytes];
  std::size_t used_ = kBytes;
};

[[gnu::noinline, gnu::cold]] void replace_rejected(const AesKey& key, std::uint64_t index,
                                                   std::uint64_t q, std::size_t n,
                                                   std::uint64_t* out) {
  ExtraWords extra(key, index, n);
  for (std::size_t j = 0; j < n; ++j) {
    while (out[j] >= q) out[j] = extra.next();
  }
}

/// One chunk's keystream. `counter` is a multiple of eight.
template <int kRounds>
inline void fill(const AesKey& key, std::uint64_t index, std::uint64_t counter,
                 std::uint8_t* bytes) {
  for (std::size_t batch = 0; batch < kBatches; ++batch) {
    Block s[kChunkBlocks];
    ctr_start(key, index, counter + batch * kChunkBlocks, s);
    aes_rounds<kRounds, 1, kRounds>(key, s);
#pragma GCC unroll 8
    for (std::size_t i = 0; i < kChunkBlocks; ++i) {
      _mm_store_si128(reinterpret_cast<Block*>(bytes + kAesBlock * (kChunkBlocks * batch + i)),
                      s[i]);
    }
  }
}

template <int kRounds>
void expand(const AesKey& key, std::uint64_t index, const Modulus& modulus, std::size_t n,
            std::uint64_t* out) {
  alignas(32) std::uint8_t bytes[kWords * kWordBytes];
  const Vec delta = splat(modulus.delta);
  Vec carried = _mm256_setzero_si256();  // bit 48 where a word was q or above
  for (std::size_t start = 0; start < n; start += kWords) {
    fill<kRounds>(key, index, start / kGroup * kBatches, bytes);
    const std::size_t now = n - start < kWords ? n - start : kWords;
    const std::uint8_t* in = bytes;
    std::uint64_t* to = out + start;
    for (std::size_t j = 0; j < now; j += kGroup, in += kGroup * kWordBytes, to += kGroup) {
      const Vec low = load_residues(in);
      const Vec high = load_residues(in + 4 * kWordBytes);
      carried = _mm256_or_si256(carried, _mm256_add_epi64(low, delta));
      carried = _mm256_or_si256(carried, _mm256_add_epi64(high, delta));
      store(to, low);
      store(to + 4, high);
    }
  }
  if (__builtin_expect(_mm256_testz_si256(carried, splat(std::uint64_t{1} << kPrimeBits)) == 0,
                       0)) {
    replace_rejected(key, index, modulus.q, n, out);
  }
}

struct StoreSamples {
  std::size_t n;
  std::int8_t* out;

  void operator()(std::size_t j, const std::int16_t* e) const {
    const Block low = load_half(e);
    const Block bytes = _mm_packs_epi16(low, load_half(e + 8));
    if (j + kSixteen <= n) {
      _mm_storeu_si128(reinterpret_cast<Block*>(out + j), bytes);
    } else {
      _mm_storel_epi64(reinterpret_cast<Block*>(out + j), bytes);
    }
  }
};

}  // namespace

void expand_uniform(const AesKey& key, std::uint64_t index, const Modulus& modulus, std::size_t n,
                    std::uint64_t* out) {
  if (key.rounds == 10) {
    expand<10>(key, index, modulus, n, out);
  } else {
    expand<14>(key, index, modulus, n, out);
  }
}

/// a is taken as x = a - 8q in [-8q, 8q + 16 delta). With slots in [0, q), |x w| < 2^99: h is off
/// by at most 2^45 < q / 7, and the quotient, below 2^51 + 8 delta, by less than 1/7 + 1/4 more
/// than 1/2. So the product has a magnitude below q, and q is added. The rounding constant is as
/// much lower as the quotients reach higher. The top bits of the double stay where they are.
void multiply_slots(const std::uint64_t* a, const std::uint64_t* slots,
                    const std::uint64_t* /*companions*/, const Modulus& modulus, std::size_t n,
                    std::uint64_t* out) {
  const Field field(modulus.q);
  const double real_q = static_cast<double>(modulus.q);
  const Real centre = splat(kTwo52 + 8.0 * real_q);
  const Real round = splat(kRound - 8.0 * static_cast<double>(modulus.delta));
  const Real above = splat(kTwo52 + real_q);
#pragma GCC unroll 2
  for (std::size_t j = 0; j < n; j += 4) {
    const Real x = _mm256_sub_pd(raise(load(a + j)), centre);
    const Real w = to_real(load(slots + j));
    const Real h = _mm256_mul_pd(x, w);
    const Real l = _mm256_fmsub_pd(x, w, h);
    const Real c = _mm256_sub_pd(_mm256_fmadd_pd(h, field.inverse, round), round);
    const Real product = _mm256_add_pd(_mm256_fnmadd_pd(c, field.q, h), l);
    store(out + j, bits_of(_mm256_add_pd(product, above)));
  }
}

void sample_cbd(const AesKey& key, std::uint64_t index, std::size_t n, std::int8_t* out) {
  const StoreSamples work{n, out};
  if (key.rounds == 10) {
    for_each_sixteen<10>(key, index, n, work);
  } else {
    for_each_sixteen<14>(key, index, n, work);
  }
}

}  // namespace veilsum::isa::avx2
