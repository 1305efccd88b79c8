// Layer: isa, level avx512. Fills the kernel table; holds no code of its own. Whether the processor
// has what these kernels need (AVX-512 F, DQ, BW, VL, IFMA, VBMI, VBMI2, VPOPCNTDQ, BITALG, VAES,
// VPCLMULQDQ, GFNI, SHA, BMI2, F16C) is decided by the caller before it calls through the table.
#include "isa/avx512/kernels_internal.h"

namespace veilsum::isa {

const KernelTable* avx512_table() noexcept {
  static constexpr KernelTable kTable = {
      .level = "avx512",
      .aes_encrypt_blocks = avx512::aes_encrypt_blocks,
      .aes_ctr = avx512::aes_ctr,
      .sha256_compress = avx512::sha256_compress,
      .sha256_compress_lanes = avx512::sha256_compress_lanes,
      .crc32c = avx512::crc32c,
      .ntt_forward = avx512::ntt_forward,
      .ntt_inverse_lazy = avx512::ntt_inverse_lazy,
      .expand_uniform = avx512::expand_uniform,
      .multiply_slots = avx512::multiply_slots,
      .multiply_inverse = avx512::multiply_inverse,
      .sample_cbd = avx512::sample_cbd,
      .encrypt_block = avx512::encrypt_block,
      .make_pad = avx512::make_pad,
      .encrypt_from_pad = avx512::encrypt_from_pad,
      .decrypt_block = avx512::decrypt_block,
      .noise_in_bounds = avx512::noise_in_bounds,
      .quantise = avx512::quantise,
      .dequantise = avx512::dequantise,
      .tag_run = avx512::tag_run,
      .sum_fields = avx512::sum_fields,
      .pack_fields = avx512::pack_fields,
      .unpack_fields = avx512::unpack_fields,
  };
  return &kTable;
}

}  // namespace veilsum::isa
