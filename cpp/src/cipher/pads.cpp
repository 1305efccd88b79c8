// Layer: cipher. See pads.h.
#include "cipher/pads.h"

#include "isa/dispatch.h"
#include "ring/expander.h"

namespace veilsum::cipher {

BlockKeys::BlockKeys(const scheme::Round& round, const scheme::KeyCoefficients& coefficients) {
  const std::size_t n = round.plan().degree();
  keys_.reserve(round.upload_keys());
  for (std::size_t i = 0; i < round.upload_keys(); ++i) {
    keys_.emplace_back(round.plan().ring(), coefficients.span().subspan(i * n, n));
  }
}

double cipher_us(const scheme::Round& round) {
  return static_cast<double>(round.blocks() * round.plan().ring().words()) *
         isa::nanoseconds_per_residue() / 1000;
}

const std::uint64_t* PadMaker::make(const scheme::Round& round, const BlockKeys& keys,
                                    std::uint64_t block, const isa::Ahead& ahead) {
  const ring::Ring& ring = round.plan().ring();
  const isa::KernelTable& kernels = isa::kernels();
  const std::size_t n = ring.degree();
  const std::uint64_t group = block / keys.count();
  if (group != group_) {
    group_ = kNone;
    for (std::size_t limb = 0; limb < ring.limbs(); ++limb) {
      kernels.expand_uniform(round.matrix_key(),
                             ring::stream_index(ring::Domain::kMatrix, limb, group),
                             ring.modulus(limb), n, matrix_.data() + limb * n);
    }
    group_ = group;
  }
  const ring::SlotMultiplier& key = keys.of_block(block);
  for (std::size_t limb = 0; limb < ring.limbs(); ++limb) {
    isa::MultiplyInverse args{};
    args.a = matrix_.data() + limb * n;
    args.slots = key.slots(limb);
    args.companions = key.companions(limb);
    args.view = &ring.tables(limb).view();
    args.out = pads_.data() + limb * n;
    if (limb == 0) args.ahead = ahead;
    kernels.multiply_inverse(args);
  }
  return pads_.data();
}

}  // namespace veilsum::cipher
