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
      .expand_multiply = scalar::expand_multiply,
      .sample_cbd = scalar::sample_cbd,
      .encrypt_block = scalar::encrypt_block,
      .add_message = scalar::add_message,
      .decrypt_block = scalar::decrypt_block,
      .quantise = scalar::quantise,
      .dequantise = scalar::dequantise,
      .sum_packed = scalar::sum_packed,
      .pack = scalar::pack,
      .unpack = scalar::unpack,
  };
  return &kTable;
}

}  // namespace veilsum::isa
