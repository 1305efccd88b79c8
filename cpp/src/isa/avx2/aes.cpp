// Layer: isa, level avx2. AES-128/256 by AES-NI, eight blocks in flight: AESENC has a latency of
// three to seven cycles and a throughput of one or two a cycle. VAES would double that, but few
// machines of this level have it. Constant time: AES instructions only, no table. Key expansion is
// isa/aes_key.h's.
#include "isa/avx2/kernels_internal.h"
#include "isa/avx2/vector_ops.h"

namespace veilsum::isa::avx2 {
namespace {

template <int kRounds>
inline Block encrypt_one(const AesKey& key, Block block) {
  block = _mm_xor_si128(block, round_key(key, 0));
#pragma GCC unroll 14
  for (int round = 1; round < kRounds; ++round) {
    block = _mm_aesenc_si128(block, round_key(key, round));
  }
  return _mm_aesenclast_si128(block, round_key(key, kRounds));
}

inline void store_block(std::uint8_t* out, Block block) {
  _mm_storeu_si128(reinterpret_cast<Block*>(out), block);
}

template <int kRounds>
void encrypt_blocks(const AesKey& key, const std::uint8_t* in, std::uint8_t* out,
                    std::size_t blocks) {
  std::size_t done = 0;
  for (; done + kChunkBlocks <= blocks; done += kChunkBlocks) {
    Block s[kChunkBlocks];
#pragma GCC unroll 8
    for (std::size_t i = 0; i < kChunkBlocks; ++i) {
      s[i] = _mm_xor_si128(load_half(in + 16 * (done + i)), round_key(key, 0));
    }
    aes_rounds<kRounds, 1, kRounds>(key, s);
#pragma GCC unroll 8
    for (std::size_t i = 0; i < kChunkBlocks; ++i) store_block(out + 16 * (done + i), s[i]);
  }
  for (; done < blocks; ++done) {
    store_block(out + 16 * done, encrypt_one<kRounds>(key, load_half(in + 16 * done)));
  }
}

template <int kRounds>
void keystream(const AesKey& key, std::uint64_t index, std::uint64_t counter, std::uint8_t* out,
               std::size_t blocks) {
  // The counter may start anywhere and wraps in its own 64 bits.
  Block base = _mm_set_epi64x(static_cast<long long>(index), static_cast<long long>(counter));
  const Block one = _mm_set_epi64x(0, 1);
  std::size_t done = 0;
  for (; done + kChunkBlocks <= blocks; done += kChunkBlocks) {
    Block s[kChunkBlocks];
#pragma GCC unroll 8
    for (std::size_t i = 0; i < kChunkBlocks; ++i) {
      s[i] = _mm_xor_si128(base, round_key(key, 0));
      base = _mm_add_epi64(base, one);
    }
    aes_rounds<kRounds, 1, kRounds>(key, s);
#pragma GCC unroll 8
    for (std::size_t i = 0; i < kChunkBlocks; ++i) store_block(out + 16 * (done + i), s[i]);
  }
  for (; done < blocks; ++done) {
    store_block(out + 16 * done, encrypt_one<kRounds>(key, base));
    base = _mm_add_epi64(base, one);
  }
}

}  // namespace

void aes_encrypt_blocks(const AesKey& key, const std::uint8_t* in, std::uint8_t* out,
                        std::size_t blocks) {
  if (key.rounds == 10) {
    encrypt_blocks<10>(key, in, out, blocks);
  } else {
    encrypt_blocks<14>(key, in, out, blocks);
  }
}

void aes_ctr(const AesKey& key, std::uint64_t index, std::uint64_t first_counter, std::uint8_t* out,
             std::size_t blocks) {
  if (key.rounds == 10) {
    keystream<10>(key, index, first_counter, out, blocks);
  } else {
    keystream<14>(key, index, first_counter, out, blocks);
  }
}

}  // namespace veilsum::isa::avx2
