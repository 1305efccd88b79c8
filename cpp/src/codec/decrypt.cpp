// Layer: codec. See decrypt.h.
#include "codec/decrypt.h"

#include <algorithm>

#include "base/parallel.h"
#include "codec/block_decryptor.h"
#include "codec/element.h"
#include "codec/pads.h"
#include "isa/dispatch.h"
#include "veilsum/errors.h"

namespace veilsum::codec {
namespace {

using scheme::Plan;
using scheme::Round;

constexpr std::uint64_t kPortionValues = std::uint64_t{1} << 24;

struct Scratch {
  explicit Scratch(const Plan& plan)
      : pads(plan.ring().words()), planes(std::size_t{plan.codeword().planes()} * plan.degree()) {}
  SecretBuffer<std::uint64_t> pads;
  SecretBuffer<std::uint64_t> planes;
};

/// Decrypts the block whose packed residues lie at `packed` to `out`, where its values go.
void decrypt_one(const Round& round, const ring::SlotMultiplier& key, std::uint64_t total_weight,
                 const std::uint8_t* packed, const DecryptOptions& options, std::uint64_t block,
                 Scratch& scratch, std::uint8_t* out) {
  const Plan& plan = round.plan();
  const isa::KernelTable& kernels = isa::kernels();
  const std::uint32_t coefficients = plan.block_coefficients(round.block_values(block));
  make_pads_into(round, key, block, scratch.pads.data());
  isa::DecryptBlock args{};
  args.packed = packed;
  args.pads = scratch.pads.data();
  args.pad_stride = plan.degree();
  args.decode = &plan.codeword().decode_view();
  args.coefficients = coefficients;
  args.planes = scratch.planes.data();
  args.plane_stride = plan.degree();
  kernels.decrypt_block(args);
  for_each_run(
      round, block, coefficients,
      [&](std::size_t segment, std::uint64_t first, std::uint32_t plane, std::uint32_t shift,
          std::uint32_t coefficient, std::size_t count) {
        const double step = round.segments()[segment].limit / static_cast<double>(plan.levels());
        isa::Dequantise run{};
        run.plane = scratch.planes.data() + std::size_t{plane} * plan.degree() + coefficient;
        run.count = count;
        run.shift = shift;
        run.mask = (std::uint64_t{1} << plan.lane_bits()) - 1;
        run.offset = static_cast<std::int64_t>(total_weight) * plan.levels();
        run.scale = options.average ? step / static_cast<double>(total_weight) : step;
        run.type = options.type;
        run.out = out + (first - block * plan.block_capacity()) * element_bytes(options.type);
        kernels.dequantise(run);
      });
}

}  // namespace

void check_decryption(const scheme::SumKey& key, const scheme::Manifest& manifest,
                      const DecryptOptions& options) {
  const Round& round = manifest.round();
  if (key.round().id() != round.id()) {
    throw KeyMismatchError("the sum key belongs to round " + short_hex(key.round().id()) +
                           ", the aggregate to round " + short_hex(round.id()));
  }
  if (key.manifest() != manifest.digest()) {
    throw KeyMismatchError(
        "the sum key was opened for another set of uploads of this round than this aggregate sums");
  }
  if (options.type != isa::ElementType::kFloat32 && options.type != isa::ElementType::kFloat64) {
    throw ParameterError("decryption gives float32 or float64");
  }
}

void decrypt(const scheme::SumKey& key, const scheme::Manifest& manifest, ByteView blocks,
             const DecryptOptions& options, void* out) {
  check_decryption(key, manifest, options);
  const Round& round = manifest.round();
  const Plan& plan = round.plan();
  const ring::SlotMultiplier multiplier(plan.ring(), key.coefficients().span());
  const std::size_t block_bytes = plan.block_bytes(plan.block_capacity());
  const std::uint64_t value_bytes = plan.block_capacity() * element_bytes(options.type);
  const std::uint64_t count = round.blocks();
  const std::uint64_t portion =
      options.progress ? std::max<std::uint64_t>(1, kPortionValues / plan.block_capacity()) : count;
  for (std::uint64_t first = 0; first < count; first += portion) {
    const std::uint64_t items = std::min(portion, count - first);
    parallel_for(
        static_cast<std::size_t>(items), options.threads, [&] { return Scratch(plan); },
        [&](std::size_t item, Scratch& scratch) {
          const std::uint64_t block = first + item;
          decrypt_one(round, multiplier, key.total_weight(), blocks.data() + block * block_bytes,
                      options, block, scratch,
                      static_cast<std::uint8_t*>(out) + block * value_bytes);
        });
    if (options.progress) {
      options.progress(std::min((first + items) * plan.block_capacity(), round.size()),
                       round.size());
    }
  }
}

struct BlockDecryptor::Shared {
  Round round;
  ring::SlotMultiplier key;
  std::uint64_t total_weight;
  DecryptOptions options;
};

struct BlockDecryptor::Scratch::Buffers {
  veilsum::codec::Scratch scratch;
};

BlockDecryptor::BlockDecryptor(const scheme::SumKey& key, const scheme::Manifest& manifest,
                               const DecryptOptions& options)
    : shared_((check_decryption(key, manifest, options),
               new Shared{
                   manifest.round(),
                   ring::SlotMultiplier(manifest.round().plan().ring(), key.coefficients().span()),
                   key.total_weight(), options})) {}

BlockDecryptor::~BlockDecryptor() = default;

BlockDecryptor::Scratch::Scratch(const BlockDecryptor& owner)
    : buffers_(new Buffers{veilsum::codec::Scratch(owner.shared_->round.plan())}) {}

BlockDecryptor::Scratch::~Scratch() = default;

bool BlockDecryptor::decrypt(std::uint64_t first, std::uint64_t count, ByteView packed,
                             Scratch& scratch, std::uint8_t* out) const {
  const Round& round = shared_->round;
  const Plan& plan = round.plan();
  const std::size_t block_bytes = plan.block_bytes(plan.block_capacity());
  const std::uint64_t value_bytes = plan.block_capacity() * element_bytes(shared_->options.type);
  // The pads' buffer serves first to look at the residues.
  std::uint64_t* const residues = scratch.buffers_->scratch.pads.data();
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::uint8_t* const at = packed.data() + i * block_bytes;
    const std::size_t coefficients = plan.block_coefficients(round.block_values(first + i));
    const std::size_t row = coefficients / isa::kGroup * isa::kGroupBytes;
    for (std::size_t limb = 0; limb < plan.limbs(); ++limb) {
      if (!isa::kernels().unpack(at + limb * row, coefficients, plan.ring().q(limb), residues)) {
        return false;
      }
    }
    decrypt_one(round, shared_->key, shared_->total_weight, at, shared_->options, first + i,
                scratch.buffers_->scratch, out + i * value_bytes);
  }
  return true;
}

}  // namespace veilsum::codec
