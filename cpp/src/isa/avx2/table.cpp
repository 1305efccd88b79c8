// Layer: isa, level avx2. Fills the kernel table; holds no code of its own. Whether the processor
// has what these kernels need (SSE4.2, POPCNT, PCLMULQDQ, AES, AVX, F16C, FMA, AVX2, BMI2) is
// decided by the caller before it calls through the table.
#include "isa/avx2/kernels_internal.h"

namespace veilsum::isa {

const KernelTable* avx2_table() noexcept {
  static constexpr KernelTable kTable = {
      .level = "avx2",
      .aes_encrypt_blocks = avx2::aes_encrypt_blocks,
      .aes_ctr = avx2::aes_ctr,
      .sha256_compress = avx2::sha256_compress,
      .sha256_compress_lanes = avx2::sha256_compress_lanes,
      .crc32c = avx2::crc32c,
      .ntt_forward = avx2::ntt_forward,
      .ntt_inverse_lazy = avx2::ntt_inverse_lazy,
      .expand_uniform = avx2::expand_uniform,
      .multiply_slots = avx2::multiply_slots,
      .multiply_inverse = avx2::multiply_inverse,
      .sample_cbd = avx2::sample_cbd,
      .encrypt_block = avx2::encrypt_block,
      .make_pad = avx2::make_pad,
      .encrypt_from_pad = avx2::encrypt_from_pad,
      .decrypt_block = avx2::decrypt_block,
      .noise_in_bounds = avx2::noise_in_bounds,
      .quantise = avx2::quantise,
      .dequantise = avx2::dequantise,
      .tag_run = avx2::tag_run,
      .sum_fields = avx2::sum_fields,
      .pack_fields = avx2::pack_fields,
      .unpack_fields = avx2::unpack_fields,
  };
  return &kTable;
}

}  // namespace veilsum::isa
