// Layer: cipher. See prepared.h.
#include "cipher/prepared.h"

#include <algorithm>
#include <atomic>
#include <utility>

#include "base/background.h"
#include "base/wipe.h"
#include "isa/dispatch.h"
#include "veilsum/errors.h"

namespace veilsum::cipher {

UploadSeeds UploadSeeds::fresh() {
  UploadSeeds out{fresh_seed(), fresh_seed(), {}};
  os_entropy(out.nonce);
  return out;
}

UploadSecrets::UploadSecrets(const scheme::Round& round, const UploadSeeds& its_seeds)
    : seeds(its_seeds),
      keys(round, scheme::expand_keys(round, seeds.key)),
      errors(scheme::kUploadLabel, round.id(), seeds.key.span(), ring::KeySize::kAes256),
      rounding("veilsum/2/rounding", round.id(), seeds.rounding.span(), ring::KeySize::kAes256) {}

struct PadWiper::Job {
  explicit Job(PadBuffer its_pads) : pads(std::move(its_pads)), thread(1, [this] { work(); }) {}

  void work() noexcept {
    pads = PadBuffer(0);
    done.store(true, std::memory_order_release);
  }

  PadBuffer pads;  // wiped when the thread cannot be made, too
  std::atomic<bool> done{false};
  BackgroundThreads thread;  // last: it may begin before the constructor ends
};

PadWiper::PadWiper() = default;

PadWiper::~PadWiper() {
  // A forked child has neither the thread nor a way to wait for it; what it has a copy of stays.
  if (!process_.is_here()) (void)job_.release();  // NOLINT(bugprone-unused-return-value)
}

void PadWiper::take(PadBuffer pads) noexcept {
  if (!process_.is_here()) return;  // the lock may be held for ever; `pads` is wiped as it goes
  const std::lock_guard<std::mutex> lock(guard_);
  try {
    if (!job_ || job_->done.load(std::memory_order_acquire)) {
      job_.reset();
      auto job = std::make_unique<Job>(std::move(pads));
      if (job->thread.count() == 0) job->work();  // the system grants no thread
      job_ = std::move(job);
      return;
    }
  } catch (...) {  // no memory for a thread: whoever holds the pads now has wiped them
  }
}

PadBuffer::PadBuffer(PadBuffer&& other) noexcept
    : bytes_(std::move(other.bytes_)),
      wiper_(std::move(other.wiper_)),
      touched_(std::exchange(other.touched_, 0)) {}

PadBuffer& PadBuffer::operator=(PadBuffer&& other) noexcept {
  if (this != &other) {
    dispose();
    bytes_ = std::move(other.bytes_);
    wiper_ = std::move(other.wiper_);
    touched_ = std::exchange(other.touched_, 0);
  }
  return *this;
}

void PadBuffer::touch(std::size_t end) noexcept {
  touched_ = std::max(touched_, std::min(end, bytes_.size()));
}

void PadBuffer::dispose() noexcept {
  if (touched_ != 0 && wiper_) {
    const std::shared_ptr<PadWiper> wiper = std::move(wiper_);
    wiper->take(std::move(*this));
    return;
  }
  secure_wipe(bytes_.data(), touched_);
  touched_ = 0;
}

PreparedUpload::PreparedUpload(const scheme::Round& round, const UploadSeeds& seeds)
    : PreparedUpload(round, std::make_shared<const UploadSecrets>(round, seeds), PadBuffer(0), {}) {
}

PreparedUpload::PreparedUpload(const scheme::Round& round,
                               std::shared_ptr<const UploadSecrets> secrets, PadBuffer pads,
                               std::vector<std::uint8_t> ready)
    : round_(round), contents_(Contents{std::move(secrets), std::move(pads), std::move(ready)}) {}

PreparedUpload::Contents PreparedUpload::consume() {
  if (!contents_ || contents_->secrets == nullptr) {
    throw RoundError("the pads of this upload to round " + short_hex(round_.id()) +
                     " were used already; pads are used once: prepare new ones");
  }
  Contents out = std::move(*contents_);
  contents_.reset();
  return out;
}

std::size_t full_pad_bytes(const scheme::Round& round) {
  const ring::Ring& ring = round.plan().ring();
  return ring.limbs() * (ring.degree() / isa::kGroup) * isa::kResidueBytes;
}

std::size_t pad_bytes(const scheme::Round& round, std::uint64_t block) {
  return round.plan().ring().limbs() * (round.block_coefficients(block) / isa::kGroup) *
         isa::kResidueBytes;
}

std::uint64_t first_pad_bytes(const scheme::Round& round, std::uint64_t blocks) {
  const std::uint64_t full = full_pad_bytes(round);
  const std::uint64_t last_values = round.value_blocks() - 1;  // the one that may be short
  return blocks * full - (blocks > last_values ? full - pad_bytes(round, last_values) : 0);
}

std::uint64_t all_pad_bytes(const scheme::Round& round) {
  return first_pad_bytes(round, round.blocks());
}

std::uint64_t pad_buffer_bytes(const scheme::Round& round) {
  return round.blocks() * full_pad_bytes(round);
}

void make_pad_into(const scheme::Round& round, const UploadSecrets& secrets, std::uint64_t block,
                   PadMaker& maker, std::uint8_t* out) {
  const scheme::Plan& plan = round.plan();
  isa::MakePad args{};
  args.view = &plan.arithmetic().view();
  args.pads = maker.make(round, secrets.keys, block);
  args.pad_stride = plan.degree();
  args.error_key = &secrets.errors.key();
  args.error_index = ring::stream_index(ring::Domain::kBlockErrors, 0, block);
  args.coefficients = round.block_coefficients(block);
  args.out = out;
  isa::kernels().make_pad(args);
}

}  // namespace veilsum::cipher
