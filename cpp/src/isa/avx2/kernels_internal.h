// Layer: isa, level avx2. What the kernel files of this folder export to table.cpp; nothing else
// may include it. Contracts are those of isa/kernels.h.
#pragma once

#include "isa/kernels.h"

namespace veilsum::isa::avx2 {

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
void multiply_slots(const std::uint64_t* a, const std::uint64_t* slots,
                    const std::uint64_t* companions, const Modulus& modulus, std::size_t n,
                    std::uint64_t* out);
void multiply_inverse(const MultiplyInverse& args);
void sample_cbd(const AesKey& key, std::uint64_t index, std::size_t n, std::int8_t* out);
void encrypt_block(const EncryptBlock& args);
void make_pad(const MakePad& args);
void encrypt_from_pad(const EncryptFromPad& args);
bool decrypt_block(const DecryptBlock& args);
bool noise_in_bounds(const NoiseCheck& args);

/// The same for several limbs.
void encrypt_several(const EncryptBlock& args);
void make_pad_several(const MakePad& args);
void encrypt_from_pad_several(const EncryptFromPad& args);
bool decrypt_several(const DecryptBlock& args);
bool check_several(const NoiseCheck& args);

QuantiseResult quantise(const Quantise& args);
bool dequantise(const Dequantise& args);
void tag_run(const TagRun& args, std::uint64_t out[kTagEvaluations]);
void sum_fields(const SumFields& args);
void pack_fields(const std::uint64_t* in, std::size_t coefficients, const FieldTable& table,
                 std::uint8_t* out);
void unpack_fields(const std::uint8_t* in, std::size_t coefficients, const FieldTable& table,
                   std::uint64_t* out);

}  // namespace veilsum::isa::avx2
