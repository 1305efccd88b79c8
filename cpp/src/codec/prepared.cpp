// Layer: codec. See prepared.h.
#include "codec/prepared.h"

#include <algorithm>
#include <utility>

#include "base/wipe.h"
#include "codec/pads.h"
#include "isa/dispatch.h"
#include "scheme/capsule.h"
#include "veilsum/errors.h"

namespace veilsum::codec {

UploadSeeds UploadSeeds::fresh() { return {fresh_seed(), fresh_seed(), fresh_seed()}; }

/// The capsule brings the ephemeral key, which is needed no longer than its slots take to make.
struct UploadSecrets::Made {
  scheme::Capsule capsule;
};

UploadSecrets::UploadSecrets(const scheme::Round& round, const UploadSeeds& seeds)
    : UploadSecrets(round, seeds, Made{scheme::make_capsule(round, seeds.capsule)}) {}

UploadSecrets::UploadSecrets(const scheme::Round& round, const UploadSeeds& seeds, Made made)
    : capsule(std::move(made.capsule.bytes)),
      key(round.plan().ring(), made.capsule.key.span()),
      errors("veilsum/1/errors", round.id(), seeds.errors.span(), ring::KeySize::kAes256),
      rounding("veilsum/1/rounding", round.id(), seeds.rounding.span(), ring::KeySize::kAes256) {}

PadBuffer::PadBuffer(PadBuffer&& other) noexcept
    : bytes_(std::move(other.bytes_)), touched_(std::exchange(other.touched_, 0)) {}

PadBuffer& PadBuffer::operator=(PadBuffer&& other) noexcept {
  if (this != &other) {
    wipe();
    bytes_ = std::move(other.bytes_);
    touched_ = std::exchange(other.touched_, 0);
  }
  return *this;
}

void PadBuffer::touch(std::size_t end) noexcept {
  touched_ = std::max(touched_, std::min(end, bytes_.size()));
}

AlignedBuffer<std::uint8_t> PadBuffer::release() && noexcept {
  touched_ = 0;
  return std::move(bytes_);
}

void PadBuffer::wipe() noexcept {
  secure_wipe(bytes_.data(), touched_);
  touched_ = 0;
}

PreparedUpload::PreparedUpload(const scheme::Round& round, const UploadSeeds& seeds)
    : PreparedUpload(round, std::make_shared<const UploadSecrets>(round, seeds),
                     PadBuffer(static_cast<std::size_t>(round.payload_bytes())), {}) {}

PreparedUpload::PreparedUpload(const scheme::Round& round,
                               std::shared_ptr<const UploadSecrets> secrets, PadBuffer blocks,
                               std::vector<std::uint8_t> ready)
    : round_(round), contents_(Contents{std::move(secrets), std::move(blocks), std::move(ready)}) {}

PreparedUpload::Contents PreparedUpload::consume() {
  if (!contents_ || contents_->secrets == nullptr) {
    throw RoundError("the pads of this upload to round " + short_hex(round_.id()) +
                     " were used already; pads are used once: prepare new ones");
  }
  Contents out = std::move(*contents_);
  contents_.reset();
  return out;
}

std::size_t full_block_bytes(const scheme::Round& round) noexcept {
  return round.plan().block_bytes(round.plan().block_capacity());
}

std::size_t bytes_of_block(const scheme::Round& round, std::uint64_t block) noexcept {
  return round.plan().block_bytes(round.block_values(block));
}

void make_block_into(const scheme::Round& round, const UploadSecrets& secrets, std::uint64_t block,
                     Planes planes, std::uint64_t* pads, std::uint8_t* out) {
  const scheme::Plan& plan = round.plan();
  make_pads_into(round, secrets.key, block, pads);
  isa::EncryptBlock args{};
  args.pads = pads;
  args.pad_stride = plan.degree();
  args.planes = planes.values;
  args.plane_stride = plan.degree();
  args.plane_count = planes.count;
  args.limb_count = plan.limbs();
  args.limbs = plan.codeword().limb_views();
  args.error_key = &secrets.errors.key();
  args.error_index = ring::stream_index(ring::Domain::kBlockErrors, 0, block);
  args.coefficients = plan.block_coefficients(round.block_values(block));
  args.out = out;
  isa::kernels().encrypt_block(args);
}

}  // namespace veilsum::codec
