// Layer: isa, scalar level. AES-CTR keystream -> polynomials: uniform residues by rejection of
// 48-bit words (exact, not merely close to uniform), and centred binomial samples (width 8, Alkim
// et al., "NewHope", 2016). Uniform residues are public, so their rejections may branch; samples
// are secret and do not meet a branch.
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/wipe.h"
#include "isa/scalar/kernels_internal.h"

namespace veilsum::isa::scalar {
namespace {

constexpr std::size_t kAesBlock = 16;
constexpr std::size_t kChunkBytes = 3072;  // six batches of the bitsliced AES, 512 residues
constexpr std::size_t kWordBytes = kPrimeBits / 8;

std::uint64_t residue_word(const std::uint8_t* at) {
  std::uint64_t word = 0;
  std::memcpy(&word, at, kWordBytes);
  return word;
}

/// Word j of the keystream from the words of one chunk on, handed out in order; what replaces
/// rejected words. A chunk begins where a word begins.
class ExtraWords {
 public:
  ExtraWords(const AesKey& key, std::uint64_t index, std::size_t first_word)
      : key_(key), index_(index), next_block_(first_word * kWordBytes / kAesBlock) {}

  std::uint64_t next() {
    if (used_ == sizeof bytes_) refill();
    const std::uint64_t word = residue_word(bytes_ + used_);
    used_ += kWordBytes;
    return word;
  }

 private:
  void refill() {
    aes_ctr(key_, index_, next_block_, bytes_, sizeof bytes_ / kAesBlock);
    next_block_ += sizeof bytes_ / kAesBlock;
    used_ = 0;
  }

  const AesKey& key_;
  std::uint64_t index_;
  std::uint64_t next_block_;
  std::uint8_t bytes_[32 * kAesBlock * 3];
  std::size_t used_ = sizeof bytes_;
};

/// Calls sink(first, bytes, size) for the keystream's first `total` bytes, a multiple of 16.
template <class Sink>
void for_each_chunk(const AesKey& key, std::uint64_t index, std::size_t total, Sink sink) {
  std::uint8_t bytes[kChunkBytes];
  for (std::size_t start = 0; start < total; start += kChunkBytes) {
    const std::size_t now = total - start < kChunkBytes ? total - start : kChunkBytes;
    aes_ctr(key, index, start / kAesBlock, bytes, now / kAesBlock);
    sink(start, bytes, now);
  }
  secure_wipe(bytes, sizeof bytes);
}

}  // namespace

/// out: n residues in [0, q). Variable time in the (public) keystream.
void expand_uniform(const AesKey& key, std::uint64_t index, const Modulus& modulus, std::size_t n,
                    std::uint64_t* out) {
  ExtraWords extra(key, index, n);
  for_each_chunk(key, index, n * kWordBytes,
                 [&](std::size_t start, const std::uint8_t* bytes, std::size_t size) {
                   std::uint64_t* to = out + start / kWordBytes;
                   for (std::size_t at = 0; at < size; at += kWordBytes) {
                     std::uint64_t residue = residue_word(bytes + at);
                     while (residue >= modulus.q) residue = extra.next();
                     *to++ = residue;
                   }
                 });
}

/// out: n values in [0, 2q). Constant time.
void multiply_slots(const std::uint64_t* a, const std::uint64_t* slots,
                    const std::uint64_t* companions, const Modulus& modulus, std::size_t n,
                    std::uint64_t* out) {
  for (std::size_t j = 0; j < n; ++j) {
    out[j] = multiply_lazy(a[j], slots[j], companions[j], modulus.q);
  }
}

/// out: n samples in [-8, 8]. Constant time.
void sample_cbd(const AesKey& key, std::uint64_t index, std::size_t n, std::int8_t* out) {
  for_each_chunk(key, index, 2 * n,
                 [&](std::size_t start, const std::uint8_t* bytes, std::size_t size) {
                   std::int8_t* to = out + start / 2;
                   for (std::size_t at = 0; at < size; at += 2) {
                     *to++ = static_cast<std::int8_t>(cbd_from_bytes(bytes[at], bytes[at + 1]));
                   }
                 });
}

}  // namespace veilsum::isa::scalar
