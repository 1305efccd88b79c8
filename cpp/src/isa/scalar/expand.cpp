// Layer: isa, scalar level. AES-CTR keystream -> polynomials: uniform residues by rejection of
// 50-bit words (exact, not merely close to uniform), the same multiplied by key slots on the fly,
// and centred binomial samples (k = 21, Alkim et al., "NewHope", 2016). Uniform residues are
// public, so their rejections may branch; samples and key slots are secret and do not meet a
// branch.
#include <cstddef>
#include <cstdint>

#include "base/wipe.h"
#include "isa/scalar/kernels_internal.h"

namespace veilsum::isa::scalar {
namespace {

constexpr std::size_t kChunkWords = 512;  // 4 KiB of keystream, eight batches of the bitsliced AES
constexpr std::size_t kWordsPerBlock = 2;

/// The words from `first_word` (even) on of a keystream, handed out in order; what replaces
/// rejected words.
class ExtraWords {
 public:
  ExtraWords(const AesKey& key, std::uint64_t index, std::size_t first_word)
      : key_(key), index_(index), next_block_(first_word / kWordsPerBlock) {}

  std::uint64_t next() {
    if (used_ == filled_) refill();
    return words_[used_++];
  }

 private:
  void refill() {
    // A batch of the bitsliced cipher is 32 blocks; making fewer saves nothing.
    aes_ctr(key_, index_, next_block_, reinterpret_cast<std::uint8_t*>(words_), kBlocks);
    next_block_ += kBlocks;
    filled_ = kBlocks * kWordsPerBlock;
    used_ = 0;
  }

  static constexpr std::size_t kBlocks = 32;
  const AesKey& key_;
  std::uint64_t index_;
  std::uint64_t next_block_;
  std::size_t used_ = 0;
  std::size_t filled_ = 0;
  std::uint64_t words_[kBlocks * kWordsPerBlock];
};

/// Calls sink(j, word j of the keystream) for j = 0 ... n - 1, n even.
template <class Sink>
void for_each_word(const AesKey& key, std::uint64_t index, std::size_t n, Sink sink) {
  std::uint64_t words[kChunkWords];
  for (std::size_t start = 0; start < n; start += kChunkWords) {
    const std::size_t now = n - start < kChunkWords ? n - start : kChunkWords;
    aes_ctr(key, index, start / kWordsPerBlock, reinterpret_cast<std::uint8_t*>(words),
            now / kWordsPerBlock);
    for (std::size_t j = 0; j < now; ++j) sink(start + j, words[j]);
  }
  secure_wipe(words, sizeof words);
}

template <class Sink>
void for_each_residue(const AesKey& key, std::uint64_t index, const Modulus& modulus, std::size_t n,
                      Sink sink) {
  ExtraWords extra(key, index, n);
  const std::uint64_t q = modulus.q;
  for_each_word(key, index, n, [&](std::size_t j, std::uint64_t word) {
    std::uint64_t residue = word & kResidueMask;
    while (residue >= q) residue = extra.next() & kResidueMask;
    sink(j, residue);
  });
}

}  // namespace

/// out: n residues in [0, q). Variable time in the (public) keystream.
void expand_uniform(const AesKey& key, std::uint64_t index, const Modulus& modulus, std::size_t n,
                    std::uint64_t* out) {
  for_each_residue(key, index, modulus, n,
                   [&](std::size_t j, std::uint64_t residue) { out[j] = residue; });
}

/// out: n values in [0, 2q), congruent to residue times key slot. key_slots in [0, q). Variable
/// time in the (public) keystream, constant time in the key slots.
void expand_multiply(const AesKey& key, std::uint64_t index, const Modulus& modulus, std::size_t n,
                     const std::uint64_t* key_slots, const std::uint64_t* key_slots_shoup,
                     std::uint64_t* out) {
  for_each_residue(key, index, modulus, n, [&](std::size_t j, std::uint64_t residue) {
    out[j] = multiply_lazy(residue, key_slots[j], key_slots_shoup[j], modulus.q);
  });
}

/// out: n samples in [-21, 21]. Constant time.
void sample_cbd(const AesKey& key, std::uint64_t index, std::size_t n, std::int8_t* out) {
  for_each_word(key, index, n, [&](std::size_t j, std::uint64_t word) {
    out[j] = static_cast<std::int8_t>(cbd_from_word(word));
  });
}

}  // namespace veilsum::isa::scalar
