// Layer: codec. See pads.h.
#include "codec/pads.h"

#include "isa/dispatch.h"
#include "ring/expander.h"

namespace veilsum::codec {

void make_pads_into(const scheme::Round& round, const ring::SlotMultiplier& key,
                    std::uint64_t block, std::uint64_t* out) {
  const ring::Ring& ring = round.plan().ring();
  const isa::KernelTable& kernels = isa::kernels();
  for (std::size_t limb = 0; limb < ring.limbs(); ++limb) {
    std::uint64_t* row = out + limb * ring.degree();
    kernels.expand_multiply(
        round.matrix_key(), ring::stream_index(ring::Domain::kMatrix, limb, block),
        ring.modulus(limb), ring.degree(), key.slots(limb), key.companions(limb), row);
    kernels.ntt_inverse_lazy(row, ring.tables(limb).view());
  }
}

}  // namespace veilsum::codec
