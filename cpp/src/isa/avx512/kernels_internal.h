// Layer: isa, level avx512. What the kernel files of this folder export to table.cpp; nothing else
// may include it. Contracts are those of isa/kernels.h.
#pragma once

#include "isa/kernels.h"

namespace veilsum::isa::avx512 {

void aes_encrypt_blocks(const AesKey& key, const std::uint8_t* in, std::uint8_t* out,
                        std::size_t blocks);
void aes_ctr(const AesKey& key, std::uint64_t index, std::uint64_t first_counter, std::uint8_t* out,
             std::size_t blocks);

void sha256_compress(std::uint32_t state[8], const std::uint8_t* data, std::size_t blocks);
void sha256_compress_lanes(std::uint32_t state[8][kHashLanes],
                           const std::uint8_t* const data[kHashLanes], std::size_t blocks);
std::uint32_t crc32c(std::uint32_t crc, const std::uint8_t* data, std::size_t bytes);

void ntt_forward(std::uint64_t* a, const NttView& view);
void ntt_inverse_lazy(std::uint64_t* a, const NttView& view);

void expand_uniform(const AesKey& key, std::uint64_t index, const Modulus& modulus, std::size_t n,
                    std::uint64_t* out);
void expand_multiply(const AesKey& key, std::uint64_t index, const Modulus& modulus, std::size_t n,
                     const std::uint64_t* key_slots, const std::uint64_t* key_slots_shoup,
                     std::uint64_t* out);
void sample_cbd(const AesKey& key, std::uint64_t index, std::size_t n, std::int8_t* out);

void encrypt_block(const EncryptBlock& args);
void add_message(const AddMessage& args);
void decrypt_block(const DecryptBlock& args);
QuantiseResult quantise(const Quantise& args);
void dequantise(const Dequantise& args);

bool sum_packed(const SumPacked& args);
void pack(const std::uint64_t* in, std::size_t coefficients, std::uint8_t* out);
bool unpack(const std::uint8_t* in, std::size_t coefficients, std::uint64_t q, std::uint64_t* out);

}  // namespace veilsum::isa::avx512
