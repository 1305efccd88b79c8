// Layer: isa, level avx512. AES-128/256 by VAES, four blocks a register, eight registers in flight:
// VAESENC on 512 bits has one port, a throughput of one a cycle and a latency of three to five.
// Constant time: AES instructions only, no table. Key expansion is isa/aes_key.h's.
#include "isa/avx512/kernels_internal.h"
#include "isa/avx512/vector_ops.h"

namespace veilsum::isa::avx512 {
namespace {

template <int kRounds>
inline Vec encrypt_register(const RoundKeys& keys, Vec block) {
  block = _mm512_xor_si512(block, keys.k[0]);
#pragma GCC unroll 14
  for (int round = 1; round < kRounds; ++round) block = _mm512_aesenc_epi128(block, keys.k[round]);
  return _mm512_aesenclast_epi128(block, keys.k[kRounds]);
}

inline __mmask8 tail_mask(std::size_t blocks) {
  return static_cast<__mmask8>((1U << (2 * blocks)) - 1U);
}

template <int kRounds>
void encrypt_blocks(const AesKey& key, const std::uint8_t* in, std::uint8_t* out,
                    std::size_t blocks) {
  RoundKeys keys;
  load_round_keys<kRounds>(key, keys);
  std::size_t done = 0;
  for (; done + kChunkBlocks <= blocks; done += kChunkBlocks) {
    Vec s[8];
#pragma GCC unroll 8
    for (std::size_t i = 0; i < 8; ++i) {
      s[i] = _mm512_xor_si512(_mm512_loadu_si512(in + 16 * done + 64 * i), keys.k[0]);
    }
    ctr_advance<kRounds, 8, 0, 8 * kRounds>(keys, s);
#pragma GCC unroll 8
    for (std::size_t i = 0; i < 8; ++i) _mm512_storeu_si512(out + 16 * done + 64 * i, s[i]);
  }
  for (; done < blocks; done += 4) {
    const __mmask8 mask = blocks - done < 4 ? tail_mask(blocks - done) : __mmask8{0xff};
    const Vec block = _mm512_maskz_loadu_epi64(mask, in + 16 * done);
    _mm512_mask_storeu_epi64(out + 16 * done, mask, encrypt_register<kRounds>(keys, block));
  }
  wipe(keys);
}

template <int kRounds>
void keystream(const AesKey& key, std::uint64_t index, std::uint64_t counter, std::uint8_t* out,
               std::size_t blocks) {
  RoundKeys keys;
  load_round_keys<kRounds>(key, keys);
  const __m128i first =
      _mm_set_epi64x(static_cast<long long>(index), static_cast<long long>(counter));
  Vec base = _mm512_add_epi64(_mm512_broadcast_i32x4(first), _mm512_load_si512(kCounters.words[0]));
  const Vec four = _mm512_broadcast_i32x4(_mm_set_epi64x(0, 4));
  const Vec thirty_two = _mm512_broadcast_i32x4(_mm_set_epi64x(0, 32));
  std::size_t done = 0;
  for (; done + kChunkBlocks <= blocks; done += kChunkBlocks) {
    Vec s[8];
    Vec c = base;
#pragma GCC unroll 8
    for (std::size_t i = 0; i < 8; ++i) {
      s[i] = _mm512_xor_si512(c, keys.k[0]);
      c = _mm512_add_epi64(c, four);
    }
    base = _mm512_add_epi64(base, thirty_two);
    ctr_advance<kRounds, 8, 0, 8 * kRounds>(keys, s);
#pragma GCC unroll 8
    for (std::size_t i = 0; i < 8; ++i) _mm512_storeu_si512(out + 16 * done + 64 * i, s[i]);
  }
  for (; done < blocks; done += 4) {
    const __mmask8 mask = blocks - done < 4 ? tail_mask(blocks - done) : __mmask8{0xff};
    _mm512_mask_storeu_epi64(out + 16 * done, mask, encrypt_register<kRounds>(keys, base));
    base = _mm512_add_epi64(base, four);
  }
  wipe(keys);
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

}  // namespace veilsum::isa::avx512
