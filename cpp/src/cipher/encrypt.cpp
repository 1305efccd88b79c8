// Layer: cipher. See encrypt.h. A thread's scratch - pads, digits, rounding words - stays in its
// nearest caches and is wiped when the thread is done.
#include "cipher/encrypt.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <optional>

#include "base/parallel.h"
#include "base/process.h"
#include "base/shown.h"
#include "cipher/block_encryptor.h"
#include "cipher/element.h"
#include "cipher/pad_store.h"
#include "cipher/pads.h"
#include "isa/dispatch.h"
#include "ring/expander.h"
#include "veilsum/errors.h"

namespace veilsum::cipher {
namespace {

using ring::Domain;
using ring::stream_index;
using scheme::Plan;
using scheme::Round;

/// Values between two progress reports: large enough to keep all threads busy in between.
constexpr std::uint64_t kPortionValues = std::uint64_t{1} << 24;

struct Scratch {
  Scratch(const Round& round, bool stochastic)
      : pads(round),
        digits(std::size_t{round.plan().digits()} * round.plan().degree()),
        words(stochastic ? digits.size() : 0) {}
  PadMaker pads;
  SecretBuffer<std::uint32_t> digits;
  SecretBuffer<std::uint32_t> words;
};

/// Everything that the blocks of one upload have in common.
struct Job {
  const Round& round;
  const EncryptOptions& options;
  const UploadSecrets& secrets;
  const std::uint8_t* pads;  ///< see PreparedUpload
  std::span<const std::uint8_t> ready;
  std::atomic<std::uint64_t> clipped{0};
  std::atomic<bool> finite{true};
};

/// Quantises the block's values to digits. Returns false when one is not finite.
bool fill_digits(Job& job, std::span<const Piece> pieces, std::uint64_t block,
                 std::uint32_t coefficients, Scratch& scratch) {
  const Plan& plan = job.round.plan();
  const isa::KernelTable& kernels = isa::kernels();
  const bool stochastic = job.options.rounding == Rounding::kStochastic;
  if (stochastic) {
    const std::size_t words = std::size_t{plan.digits()} * coefficients;
    kernels.aes_ctr(job.secrets.rounding.key(), stream_index(Domain::kRounding, 0, block), 0,
                    reinterpret_cast<std::uint8_t*>(scratch.words.data()), words / 4);
  }
  // Places without a value carry digit 0.
  const std::uint64_t values = job.round.block_values(block);
  for (std::uint32_t digit = 0; digit < plan.digits(); ++digit) {
    const std::uint64_t before = std::uint64_t{digit} * coefficients;
    if (before + coefficients <= values) continue;
    std::uint32_t* row = scratch.digits.data() + std::size_t{digit} * plan.degree();
    std::fill(row + (values > before ? values - before : 0), row + coefficients, 0);
  }
  std::uint64_t clipped = 0;
  bool finite = true;
  for_each_run(
      job.round, block, coefficients,
      [&](std::size_t segment, std::uint64_t first, std::uint32_t digit, std::uint32_t coefficient,
          std::size_t count) {
        const Piece& piece = pieces[segment];
        const double limit = job.round.segments()[segment].limit;
        const std::uint64_t in_piece = first - job.round.starts()[segment];
        const std::uint64_t in_block = first - block * plan.block_capacity();
        isa::Quantise args{};
        args.values = static_cast<const std::uint8_t*>(piece.values) +
                      (in_piece - piece.first) * element_bytes(piece.type);
        args.type = piece.type;
        args.count = count;
        args.weight = job.options.weight;
        args.limit = limit;
        args.inverse_step = static_cast<double>(plan.levels()) / limit;
        args.levels = plan.levels();
        args.in_float = piece.type != isa::ElementType::kFloat64 && plan.value_bits() <= 16 &&
                        in_float_range(std::fabs(args.weight)) && in_float_range(limit) &&
                        in_float_range(args.inverse_step);
        args.random = stochastic ? scratch.words.data() + in_block : nullptr;
        args.digits = scratch.digits.data() + std::size_t{digit} * plan.degree() + coefficient;
        const isa::QuantiseResult result = kernels.quantise(args);
        clipped += result.clipped;
        finite = finite && result.finite;
      });
  if (clipped != 0) job.clipped.fetch_add(clipped, std::memory_order_relaxed);
  return finite;
}

/// What the block after `block` reads and writes, as far as it lies in memory behind this one's.
isa::Ahead next_block(const Round& round, std::span<const Piece> pieces, std::uint64_t block,
                      std::uint8_t* out) {
  const std::uint64_t next = block + 1;
  if (next >= round.value_blocks()) return {};
  isa::Ahead ahead{};
  ahead.write = out + (round.block_offset(next) - round.block_offset(block));
  ahead.write_bytes =
      static_cast<std::size_t>(round.block_offset(next + 1) - round.block_offset(next));
  const std::uint64_t first = next * round.plan().block_capacity();
  const std::size_t segment = round.segment_of(first);
  const Piece& piece = pieces[segment];
  const std::uint64_t in_segment = first - round.starts()[segment];
  if (piece.values == nullptr || in_segment < piece.first) return ahead;
  const std::uint64_t in_piece = in_segment - piece.first;
  if (in_piece >= piece.count) return ahead;
  const std::size_t each = element_bytes(piece.type);
  ahead.read = static_cast<const std::uint8_t*>(piece.values) + in_piece * each;
  ahead.read_bytes = static_cast<std::size_t>(
      std::min<std::uint64_t>(round.plan().block_capacity(), piece.count - in_piece) * each);
  return ahead;
}

/// Encrypts one block to `out`, and adds its hash to `hash` unless that is null. A check block is a
/// message of zeros and has no hash.
void encrypt_one(Job& job, std::span<const Piece> pieces, std::uint64_t block, Scratch& scratch,
                 std::uint8_t* out, ring::TagSum* hash) {
  const Round& round = job.round;
  const Plan& plan = round.plan();
  const std::uint32_t coefficients = round.block_coefficients(block);
  const std::uint32_t* digits = nullptr;
  if (block < round.value_blocks()) {
    digits = scratch.digits.data();
    if (!fill_digits(job, pieces, block, coefficients, scratch)) {
      job.finite.store(false, std::memory_order_relaxed);
    } else if (hash != nullptr) {  // now, while the digits are in the nearest cache
      job.options.tag->key.hash().add_block(block, {digits, nullptr, plan.degree()}, coefficients,
                                            *hash);
    }
  }
  if (!job.ready.empty() && job.ready[block] != 0) {
    isa::EncryptFromPad args{};
    args.view = &plan.arithmetic().view();
    args.pad = job.pads + block * full_pad_bytes(round);
    args.digits = digits;
    args.digit_stride = plan.degree();
    args.coefficients = coefficients;
    args.out = out;
    args.ahead = next_block(round, pieces, block, out);
    isa::kernels().encrypt_from_pad(args);
    return;
  }
  isa::EncryptBlock args{};
  args.view = &plan.arithmetic().view();
  args.pads =
      scratch.pads.make(round, job.secrets.keys, block, next_block(round, pieces, block, out));
  args.pad_stride = plan.degree();
  args.digits = digits;
  args.digit_stride = plan.degree();
  args.error_key = &job.secrets.errors.key();
  args.error_index = stream_index(Domain::kBlockErrors, 0, block);
  args.coefficients = coefficients;
  args.out = out;
  isa::kernels().encrypt_block(args);
}

/// Names the first NaN or infinity; called once it is known that there is one.
[[noreturn]] void refuse_non_finite(const Round& round, std::span<const Piece> pieces) {
  for (std::size_t segment = 0; segment < pieces.size(); ++segment) {
    for (std::uint64_t at = 0; at < pieces[segment].count; ++at) {
      if (!is_finite(pieces[segment], at)) {
        throw ParameterError("the update is not finite: value " +
                             std::to_string(round.starts()[segment] + at) + " (value " +
                             std::to_string(at) + " of tensor " + std::to_string(segment) +
                             ") is NaN or infinite; nothing was encrypted");
      }
    }
  }
  throw ParameterError(
      "a NaN or an infinity was read, but the update holds none now: it changed while it was being "
      "encrypted; nothing was encrypted");
}

void check_pieces(const Round& round, std::span<const Piece> pieces,
                  const EncryptOptions& options) {
  if (pieces.size() != round.segments().size()) {
    throw ParameterError("the update has " + std::to_string(pieces.size()) +
                         " tensors, the round's layout " + std::to_string(round.segments().size()));
  }
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    if (pieces[i].count != round.segments()[i].count) {
      throw ParameterError("tensor " + std::to_string(i) + " of the update has " +
                           shown(pieces[i].count) + " values, the round's layout " +
                           std::to_string(round.segments()[i].count));
    }
    if (reinterpret_cast<std::uintptr_t>(pieces[i].values) % element_bytes(pieces[i].type) != 0) {
      throw ParameterError("tensor " + std::to_string(i) + " is not aligned to its element type");
    }
  }
  if (!std::isfinite(options.weight)) {
    throw ParameterError("weight is not finite; give a finite number");
  }
  if (round.tagged() && options.tag == nullptr) {
    throw RoundError("round " + short_hex(round.id()) +
                     " has tags: its group's keys are needed (encrypt(..., group=...))");
  }
  if (options.tag != nullptr) options.tag->key.check_round(round);
}

}  // namespace

void seal_with_tag(const Round& round, const EncryptOptions& options, std::uint32_t client,
                   const UploadSeeds& seeds, const scheme::Sealer& sealer,
                   scheme::UploadHead& head) {
  std::optional<ring::TagSum> tag;
  if (round.tagged()) {
    if (options.tag == nullptr || !options.tag->hash) {
      throw RoundError("the blocks of a tagged upload are made and hashed before it is sealed");
    }
    tag = options.tag->key.tag(*options.tag->hash, client, head.nonce);
  }
  scheme::seal_secrets(round, client, seeds.key, tag ? &*tag : nullptr, sealer, head);
}

bool is_finite(const Piece& piece, std::uint64_t at) {
  const auto* bytes = static_cast<const std::uint8_t*>(piece.values);
  switch (piece.type) {
    case isa::ElementType::kFloat64:
      return std::isfinite(reinterpret_cast<const double*>(bytes)[at]);
    case isa::ElementType::kFloat32:
      return std::isfinite(reinterpret_cast<const float*>(bytes)[at]);
    case isa::ElementType::kFloat16:
      return (reinterpret_cast<const std::uint16_t*>(bytes)[at] & 0x7c00u) != 0x7c00u;
    case isa::ElementType::kBfloat16:
      return (reinterpret_cast<const std::uint16_t*>(bytes)[at] & 0x7f80u) != 0x7f80u;
  }
  return false;
}

scheme::Upload encrypt(const Round& round, std::span<const Piece> pieces,
                       const EncryptOptions& options, const scheme::Sealer& sealer) {
  return encrypt_with_seeds(round, pieces, options, sealer, UploadSeeds::fresh());
}

scheme::Upload encrypt_with_seeds(const Round& round, std::span<const Piece> pieces,
                                  const EncryptOptions& options, const scheme::Sealer& sealer,
                                  const UploadSeeds& seeds) {
  check_pieces(round, pieces, options);
  PreparedUpload prepared(round, seeds);
  return encrypt(prepared, pieces, options, sealer);
}

scheme::Upload encrypt(const Round& round, std::span<const Piece> pieces,
                       const EncryptOptions& options, const scheme::Sealer& sealer,
                       PadStore& pads) {
  if (pads.round().id() != round.id()) {
    throw RoundError("the pads were prepared for round " + short_hex(pads.round().id()) +
                     ", not for round " + short_hex(round.id()) +
                     "; make a PadStore for each round");
  }
  check_pieces(round, pieces, options);  // nothing is used up by arguments that do not fit
  PreparedUpload prepared = pads.take();
  return encrypt(prepared, pieces, options, sealer);
}

scheme::Upload encrypt(PreparedUpload& prepared, std::span<const Piece> pieces,
                       const EncryptOptions& options, const scheme::Sealer& sealer) {
  const Round& round = prepared.round();
  const Plan& plan = round.plan();
  check_pieces(round, pieces, options);
  std::optional<TagTotal> total;
  if (options.tag != nullptr) {
    options.tag->hash.reset();
    total.emplace(options.tag->key.field());
  }
  PreparedUpload::Contents upload = prepared.consume();
  const UploadSecrets& secrets = *upload.secrets;
  const ProcessMark process;
  AlignedBuffer<std::uint8_t> blocks(static_cast<std::size_t>(round.payload_bytes()));
  Job job{round, options, secrets, upload.pads.data(), upload.ready};
  const bool stochastic = options.rounding == Rounding::kStochastic;
  const std::uint64_t group_values = plan.block_capacity() * round.upload_keys();
  const std::uint64_t count = group_count(round);
  const std::uint64_t portion =
      options.progress ? std::max<std::uint64_t>(1, kPortionValues / group_values) : count;
  const int threads = worthwhile_threads(options.threads, cipher_us(round));
  for (std::uint64_t first = 0; first < count; first += portion) {
    const std::uint64_t items = std::min(portion, count - first);
    parallel_for(
        static_cast<std::size_t>(items), threads, [&] { return Scratch(round, stochastic); },
        [&](std::size_t item, Scratch& scratch) {
          const std::uint64_t begin = (first + item) * round.upload_keys();
          const std::uint64_t end = std::min(begin + round.upload_keys(), round.blocks());
          std::optional<ring::TagSum> hash;
          if (total) hash.emplace(options.tag->key.field());
          for (std::uint64_t block = begin; block < end; ++block) {
            encrypt_one(job, pieces, block, scratch, blocks.data() + round.block_offset(block),
                        hash ? &*hash : nullptr);
          }
          if (total && hash) total->add(*hash);
        });
    if (!job.finite.load()) refuse_non_finite(round, pieces);
    if (options.progress) {
      options.progress(std::min((first + items) * group_values, round.size()), round.size());
      if (!process.is_here()) {
        throw RoundError(
            "the process was forked while it encrypted, so there are two that would go "
            "on under one key; the child must encrypt anew");
      }
    }
  }
  if (options.on_clip == OnClip::kError && job.clipped.load() != 0) {
    throw ParameterError(std::to_string(job.clipped.load()) + " of " +
                         std::to_string(round.size()) +
                         " values lie beyond their limit; raise the round's limit, or encrypt with "
                         "on_clip=\"count\"");
  }
  // Blocks first: what is sealed may take the tag in.
  if (total) options.tag->hash = total->sum();
  scheme::UploadHead head;
  head.clipped = job.clipped.load();
  head.nonce = secrets.seeds.nonce;
  seal_with_tag(round, options, options.client, secrets.seeds, sealer, head);
  return scheme::Upload(round, std::move(head), std::move(blocks));
}

struct BlockEncryptor::Shared {
  Job job;
};

struct BlockEncryptor::Scratch::Buffers {
  veilsum::cipher::Scratch scratch;
};

BlockEncryptor::BlockEncryptor(const Round& round, const UploadSecrets& secrets,
                               const EncryptOptions& options)
    : shared_(new Shared{{round, options, secrets, nullptr, {}}}) {}

BlockEncryptor::~BlockEncryptor() = default;

BlockEncryptor::Scratch::Scratch(const BlockEncryptor& owner)
    : buffers_(new Buffers{veilsum::cipher::Scratch(
          owner.shared_->job.round,
          owner.shared_->job.options.rounding == Rounding::kStochastic)}) {}

BlockEncryptor::Scratch::~Scratch() = default;

bool BlockEncryptor::encrypt(std::uint64_t first, std::uint64_t count,
                             std::span<const Piece> pieces, Scratch& scratch, std::uint8_t* out,
                             ring::TagSum* hash) {
  const Round& round = shared_->job.round;
  for (std::uint64_t block = first; block < first + count; ++block) {
    encrypt_one(shared_->job, pieces, block, scratch.buffers_->scratch,
                out + (round.block_offset(block) - round.block_offset(first)), hash);
  }
  return shared_->job.finite.load(std::memory_order_relaxed);
}

std::uint64_t BlockEncryptor::clipped() const noexcept { return shared_->job.clipped.load(); }

}  // namespace veilsum::cipher
