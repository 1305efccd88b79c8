// Layer: cipher. See decrypt.h.
#include "cipher/decrypt.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <optional>

#include "base/parallel.h"
#include "base/wipe.h"
#include "cipher/block_decryptor.h"
#include "cipher/element.h"
#include "cipher/pads.h"
#include "isa/dispatch.h"
#include "ring/blocks_hash.h"
#include "scheme/blocks_digest.h"
#include "veilsum/errors.h"

namespace veilsum::cipher {
namespace {

using scheme::Plan;
using scheme::Round;

constexpr std::uint64_t kPortionValues = std::uint64_t{1} << 24;

/// What every block of one decryption has in common.
struct Job {
  Round round;
  BlockKeys keys;
  std::uint64_t total_weight;
  DecryptOptions options;
  bool narrow;                                  ///< digits fit 32 bits
  std::optional<ring::BlocksHash> blocks_hash;  ///< where the key has a check

  Job(const Round& its_round, const scheme::SumKey& key, const DecryptOptions& its_options)
      : round(its_round),
        keys(its_round, key.coefficients()),
        total_weight(key.total_weight()),
        options(its_options),
        narrow(its_round.plan().base() <= std::uint64_t{1} << 32) {
    if (key.blocks_check() != nullptr) blocks_hash.emplace(key.blocks_check()->key);
  }
};

struct Scratch {
  explicit Scratch(const Job& job) : pads(job.round) {
    const Plan& plan = job.round.plan();
    const std::size_t digits = std::size_t{plan.digits()} * plan.degree();
    if (job.narrow) {
      narrow = SecretBuffer<std::uint32_t>(digits);
    } else {
      wide = SecretBuffer<std::uint64_t>(digits);
    }
  }
  PadMaker pads;
  SecretBuffer<std::uint32_t> narrow;
  SecretBuffer<std::uint64_t> wide;
};

/// Adds the hash of a block's bytes where one is wanted: before decryption reads them again, from
/// the cache.
void hash_one(const Job& job, const std::uint8_t* packed, std::uint64_t block, SumHashes* hashes) {
  if (hashes == nullptr || hashes->blocks() == nullptr || !job.blocks_hash) return;
  job.blocks_hash->add_block(block, {packed, job.round.block_bytes(block)}, *hashes->blocks());
}

/// True when the fields of a check block are within the noise of a sum of zeros.
bool check_one(const Job& job, const std::uint8_t* packed, std::uint64_t block, Scratch& scratch,
               SumHashes* hashes) {
  hash_one(job, packed, block, hashes);
  const Plan& plan = job.round.plan();
  isa::NoiseCheck args{};
  args.view = &plan.arithmetic().view();
  args.packed = packed;
  args.pads = scratch.pads.make(job.round, job.keys, block);
  args.pad_stride = plan.degree();
  args.coefficients = job.round.block_coefficients(block);
  args.bound = plan.noise_bound();
  return isa::kernels().noise_in_bounds(args);
}

/// What the block after `block` reads and writes, when it follows in memory.
isa::Ahead next_block(const Job& job, const std::uint8_t* packed, std::uint64_t block,
                      std::uint8_t* out) {
  const Round& round = job.round;
  const std::uint64_t next = block + 1;
  if (next >= round.value_blocks()) return {};
  const std::size_t each = element_bytes(job.options.type);
  const std::uint64_t bytes = round.block_offset(next) - round.block_offset(block);
  return {packed + bytes, static_cast<std::size_t>(bytes), out + round.block_values(block) * each,
          static_cast<std::size_t>(round.block_values(next) * each)};
}

/// Decrypts a block of values to `out`, and adds its hashes to `hashes` unless that is null. False
/// when a coefficient is out of range, or a value beyond the limits: no sum of this plan under this
/// key, and none of so much weight, looks like it. Where hashes decide, such a block is worked
/// through to its end like any other: the time would count how many there are.
bool decrypt_one(const Job& job, const std::uint8_t* packed, std::uint64_t block, Scratch& scratch,
                 std::uint8_t* out, SumHashes* hashes) {
  const Round& round = job.round;
  const Plan& plan = round.plan();
  const isa::KernelTable& kernels = isa::kernels();
  const std::uint32_t coefficients = round.block_coefficients(block);
  isa::DecryptBlock args{};
  args.view = &plan.arithmetic().view();
  args.packed = packed;
  args.pads = scratch.pads.make(round, job.keys, block, next_block(job, packed, block, out));
  args.pad_stride = plan.degree();
  args.coefficients = coefficients;
  args.digits = {job.narrow ? scratch.narrow.data() : nullptr,
                 job.narrow ? nullptr : scratch.wide.data(), plan.degree()};
  hash_one(job, packed, block, hashes);
  bool within = kernels.decrypt_block(args);
  if (!within && (hashes == nullptr || !hashes->any())) return false;
  if (ring::TagSum* const hash = hashes == nullptr ? nullptr : hashes->digits()) {
    job.options.tag->key.hash().add_block(  // places without a value, too: their digits must be 0
        block, {args.digits.narrow, args.digits.wide, plan.degree()}, coefficients, *hash);
  }
  for_each_run(
      round, block, coefficients,
      [&](std::size_t segment, std::uint64_t first, std::uint32_t digit, std::uint32_t coefficient,
          std::size_t count) {
        const double step = round.segments()[segment].limit / static_cast<double>(plan.levels());
        const std::size_t at = std::size_t{digit} * plan.degree() + coefficient;
        isa::Dequantise run{};
        run.narrow = job.narrow ? scratch.narrow.data() + at : nullptr;
        run.wide = job.narrow ? nullptr : scratch.wide.data() + at;
        run.count = count;
        run.offset = static_cast<std::int64_t>(job.total_weight) * plan.levels();
        run.scale = job.options.average ? step / static_cast<double>(job.total_weight) : step;
        run.type = job.options.type;
        run.in_float = run.type == isa::ElementType::kFloat32 &&
                       plan.base() <= std::uint64_t{1} << 24 && in_float_range(run.scale);
        run.out = out + (first - block * plan.block_capacity()) * element_bytes(job.options.type);
        within &= kernels.dequantise(run);
      });
  return within;
}

/// Wipes numbers that may not leave.
class Withheld {
 public:
  Withheld(void* values, std::size_t bytes) : values_(values), bytes_(bytes) {}
  Withheld(const Withheld&) = delete;
  Withheld& operator=(const Withheld&) = delete;
  ~Withheld() { secure_wipe(values_, bytes_); }
  void release() noexcept { bytes_ = 0; }

 private:
  void* values_;
  std::size_t bytes_;
};

}  // namespace

void refuse_sum() {
  throw TamperedSumError(
      "the blocks are not the sum that this key opens: they were altered after the uploads were "
      "encrypted, or an upload does not fit its sealed key; no value is given out");
}

SumHashes::SumHashes(const scheme::SumKey& key, const DecryptOptions& options) {
  if (options.tag != nullptr) digits_.emplace(options.tag->key.field());
  if (key.blocks_check() != nullptr) blocks_.emplace(ring::BlocksHash::field());
}

void SumHashes::add(const SumHashes& part) {
  if (digits_ && part.digits_) digits_->add(*part.digits_);
  if (blocks_ && part.blocks_) blocks_->add(*part.blocks_);
}

bool SumHashes::hold(const scheme::SumKey& key, const DecryptOptions& options) const noexcept {
  unsigned all = 1;  // one verdict: whoever asks branches on it, and on neither half
  if (digits_) all &= static_cast<unsigned>(digits_->equals(options.tag->expected));
  if (blocks_) all &= static_cast<unsigned>(blocks_->equals(key.blocks_check()->value));
  return all != 0;
}

void check_blocks_of(const scheme::SumKey& key, const Digest& found) {
  if (key.blocks_digest() && *key.blocks_digest() != found) refuse_sum();
}

void check_decryption(const scheme::SumKey& key, const scheme::Manifest& manifest,
                      const DecryptOptions& options) {
  scheme::check_sum_key(key, manifest);
  if (options.type != isa::ElementType::kFloat32 && options.type != isa::ElementType::kFloat64) {
    throw ParameterError("decryption gives float32 or float64");
  }
  if (manifest.round().tagged() && options.tag == nullptr) {
    throw RoundError(
        "the sum has a tag, and no number leaves before it holds: its group's keys are "
        "needed (decrypt(..., group=...))");
  }
  if (options.tag == nullptr) return;
  options.tag->key.check_round(manifest.round());
  if (!(options.tag->expected.field() == options.tag->key.field())) {
    throw ParameterError("the sum of tags is of another plan than the round's");
  }
}

void decrypt(const scheme::SumKey& key, const scheme::Manifest& manifest, ByteView blocks,
             const DecryptOptions& options, void* out) {
  check_decryption(key, manifest, options);
  const Round& round = manifest.round();
  const Plan& plan = round.plan();
  const Job job(round, key, options);
  const std::uint64_t keys = round.upload_keys();
  const std::uint64_t values = round.value_blocks();
  SumHashes total(key, options);
  std::mutex guard;
  const auto add = [&](const SumHashes& part) {
    if (!part.any()) return;
    const std::lock_guard<std::mutex> lock(guard);
    total.add(part);
  };
  Withheld withheld(out, static_cast<std::size_t>(round.size() * element_bytes(options.type)));
  std::atomic<bool> good{true};
  const auto scratch_for = [&] { return Scratch(job); };
  const int threads = worthwhile_threads(options.threads, cipher_us(round));
  parallel_for(static_cast<std::size_t>(round.check_blocks()), threads, scratch_for,
               [&](std::size_t item, Scratch& scratch) {
                 SumHashes part(key, options);
                 const std::uint64_t block = values + item;
                 const std::uint8_t* const at = blocks.data() + round.block_offset(block);
                 if (!check_one(job, at, block, scratch, &part)) {
                   good.store(false, std::memory_order_relaxed);
                 }
                 add(part);
               });
  if (key.blocks_digest()) {
    check_blocks_of(key, scheme::digest_of_blocks(blocks, options.threads));
  }
  if (!total.any() && !good.load()) refuse_sum();
  const std::uint64_t value_bytes = plan.block_capacity() * element_bytes(options.type);
  const std::uint64_t count = (values + keys - 1) / keys;
  const std::uint64_t group_values = plan.block_capacity() * keys;
  const std::uint64_t portion =
      options.progress ? std::max<std::uint64_t>(1, kPortionValues / group_values) : count;
  for (std::uint64_t first = 0; first < count; first += portion) {
    const std::uint64_t items = std::min(portion, count - first);
    parallel_for(
        static_cast<std::size_t>(items), threads, scratch_for,
        [&](std::size_t item, Scratch& scratch) {
          SumHashes part(key, options);
          const std::uint64_t begin = (first + item) * keys;
          const std::uint64_t end = std::min(begin + keys, values);
          for (std::uint64_t block = begin; block < end; ++block) {
            if (!decrypt_one(job, blocks.data() + round.block_offset(block), block, scratch,
                             static_cast<std::uint8_t*>(out) + block * value_bytes, &part)) {
              good.store(false, std::memory_order_relaxed);
            }
          }
          add(part);
        });
    if (!total.any() && !good.load()) refuse_sum();
    if (options.progress) {
      options.progress(std::min((first + items) * group_values, round.size()), round.size());
    }
  }
  const bool holds = total.hold(key, options);
  if (!good.load() || !holds) refuse_sum();
  withheld.release();
}

struct BlockDecryptor::Shared {
  Job job;
};

struct BlockDecryptor::Scratch::Buffers {
  veilsum::cipher::Scratch scratch;
};

BlockDecryptor::BlockDecryptor(const scheme::SumKey& key, const scheme::Manifest& manifest,
                               const DecryptOptions& options)
    : shared_((check_decryption(key, manifest, options),
               new Shared{Job(manifest.round(), key, options)})) {}

BlockDecryptor::~BlockDecryptor() = default;

BlockDecryptor::Scratch::Scratch(const BlockDecryptor& owner)
    : buffers_(new Buffers{veilsum::cipher::Scratch(owner.shared_->job)}) {}

BlockDecryptor::Scratch::~Scratch() = default;

bool BlockDecryptor::decrypt(std::uint64_t first, std::uint64_t count, ByteView packed,
                             Scratch& scratch, std::uint8_t* out, SumHashes* hashes) const {
  const Job& job = shared_->job;
  const Round& round = job.round;
  const std::uint64_t value_bytes = round.plan().block_capacity() * element_bytes(job.options.type);
  bool all_good = true;
  for (std::uint64_t block = first; block < first + count; ++block) {
    const std::uint8_t* const at =
        packed.data() + (round.block_offset(block) - round.block_offset(first));
    veilsum::cipher::Scratch& buffers = scratch.buffers_->scratch;
    const bool good =
        block < round.value_blocks()
            ? decrypt_one(job, at, block, buffers, out + (block - first) * value_bytes, hashes)
            : check_one(job, at, block, buffers, hashes);
    all_good &= good;
    if (!good && !(hashes != nullptr && hashes->any())) break;
  }
  return all_good;
}

}  // namespace veilsum::cipher
