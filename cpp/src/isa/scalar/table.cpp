// Layer: isa, scalar level. The kernel table of the portable level: the reference that every other
// level is tested against, and what runs where no other level is present.
#include "isa/kernels.h"
#include "isa/scalar/kernels_internal.h"

namespace veilsum::isa {

const KernelTable* scalar_table() noexcept {
  static constexpr KernelTable kTable = {
      .level = "scalar",
      .aes_encrypt_blocks = scalar::aes_encrypt_blocks,
      .aes_ctr = scalar::aes_ctr,
      .sha256_compress = scalar::sha256_compress,
      .sha256_compress_lanes = scalar::sha256_compress_lanes,
      .crc32c = scalar::crc32c,
      .ntt_forward = scalar::ntt_forward,
      .ntt_inverse_lazy = scalar::ntt_inverse_lazy,
      .expand_uniform = scalar::expand_uniform,
      .multiply_slots = scalar::multiply_slots,
      .multiply_inverse = scalar::multiply_inverse,
      .sample_cbd = scalar::sample_cbd,
      .encrypt_block = scalar::encrypt_block,
      .make_pad = scalar::make_pad,
      .encrypt_from_pad = scalar::encrypt_from_pad,
      .decrypt_block = scalar::decrypt_block,
      .noise_in_bounds = scalar::noise_in_bounds,
      .quantise = scalar::quantise,
      .dequantise = scalar::dequantise,
      .tag_run = scalar::tag_run,
      .sum_fields = scalar::sum_fields,
      .pack_fields = scalar::pack_fields,
      .unpack_fields = scalar::unpack_fields,
  };
  return &kTable;
}

}  // namespace veilsum::isa
