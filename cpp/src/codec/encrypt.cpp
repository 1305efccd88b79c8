// Layer: codec. See encrypt.h. A thread's scratch - pads, planes, rounding words - stays in its
// first-level caches and is wiped when the thread is done.
#include "codec/encrypt.h"

#include <algorithm>
#include <atomic>
#include <cmath>

#include "base/parallel.h"
#include "base/process.h"
#include "codec/block_encryptor.h"
#include "codec/element.h"
#include "codec/pad_store.h"
#include "codec/pads.h"
#include "isa/dispatch.h"
#include "ring/expander.h"
#include "veilsum/errors.h"

namespace veilsum::codec {
namespace {

using ring::Domain;
using ring::stream_index;
using scheme::Plan;
using scheme::Round;

/// Values between two progress reports: large enough to keep all threads busy in between.
constexpr std::uint64_t kPortionValues = std::uint64_t{1} << 24;

struct Scratch {
  explicit Scratch(const Plan& plan, bool stochastic)
      : pads(plan.ring().words()),
        planes(std::size_t{plan.codeword().planes()} * plan.degree()),
        words(stochastic ? std::size_t{plan.lanes()} * plan.degree() : 0) {}
  SecretBuffer<std::uint64_t> pads;
  SecretBuffer<std::uint64_t> planes;
  SecretBuffer<std::uint32_t> words;
};

/// Everything that the blocks of one upload have in common.
struct Job {
  const Round& round;
  const EncryptOptions& options;
  const UploadSecrets& secrets;
  std::span<const std::uint8_t> ready;  ///< see PreparedUpload
  std::atomic<std::uint64_t> clipped{0};
  std::atomic<bool> finite{true};
};

/// Quantises the block's values into planes. Returns false when one is not finite.
bool fill_planes(Job& job, std::span<const Piece> pieces, std::uint64_t block,
                 std::uint32_t coefficients, Scratch& scratch) {
  const Plan& plan = job.round.plan();
  const isa::KernelTable& kernels = isa::kernels();
  const bool stochastic = job.options.rounding == Rounding::kStochastic;
  if (stochastic) {
    const std::size_t words = std::size_t{plan.lanes()} * coefficients;
    kernels.aes_ctr(job.secrets.rounding.key(), stream_index(Domain::kRounding, 0, block), 0,
                    reinterpret_cast<std::uint8_t*>(scratch.words.data()), words / 4);
  }
  // A lane overwrites its plane when it is the plane's first and fills it; otherwise the plane
  // starts from zero, so that places without a value carry digit 0.
  const std::uint64_t values = job.round.block_values(block);
  for (std::uint32_t plane = 0; plane < plan.codeword().planes(); ++plane) {
    const std::uint64_t first_lane = std::uint64_t{plane} * plan.lanes_per_plane();
    if ((first_lane + 1) * coefficients > values) {
      std::uint64_t* row = scratch.planes.data() + std::size_t{plane} * plan.degree();
      std::fill(row, row + coefficients, 0);
    }
  }
  std::uint64_t clipped = 0;
  bool finite = true;
  for_each_run(job.round, block, coefficients,
               [&](std::size_t segment, std::uint64_t first, std::uint32_t plane,
                   std::uint32_t shift, std::uint32_t coefficient, std::size_t count) {
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
                 args.random = stochastic ? scratch.words.data() + in_block : nullptr;
                 args.shift = shift;
                 args.overwrite = shift == 0;
                 args.plane =
                     scratch.planes.data() + std::size_t{plane} * plan.degree() + coefficient;
                 const isa::QuantiseResult result = kernels.quantise(args);
                 clipped += result.clipped;
                 finite = finite && result.finite;
               });
  job.clipped.fetch_add(clipped, std::memory_order_relaxed);
  return finite;
}

/// Encrypts one block to `out`, plan.block_bytes() of its values.
void encrypt_one(Job& job, std::span<const Piece> pieces, std::uint64_t block, Scratch& scratch,
                 std::uint8_t* out) {
  const Plan& plan = job.round.plan();
  const std::uint32_t coefficients = plan.block_coefficients(job.round.block_values(block));
  if (!fill_planes(job, pieces, block, coefficients, scratch)) {
    job.finite.store(false, std::memory_order_relaxed);
  }
  const std::uint32_t planes = plan.codeword().planes();
  if (job.ready.empty() || job.ready[block] == 0) {
    make_block_into(job.round, job.secrets, block, {scratch.planes.data(), planes},
                    scratch.pads.data(), out);
    return;
  }
  isa::AddMessage args{};
  args.planes = scratch.planes.data();
  args.plane_stride = plan.degree();
  args.plane_count = planes;
  args.limb_count = plan.limbs();
  args.limbs = plan.codeword().limb_views();
  args.coefficients = coefficients;
  args.packed = out;
  isa::kernels().add_message(args);
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
                           std::to_string(pieces[i].count) + " values, the round's layout " +
                           std::to_string(round.segments()[i].count));
    }
    if (reinterpret_cast<std::uintptr_t>(pieces[i].values) % element_bytes(pieces[i].type) != 0) {
      throw ParameterError("tensor " + std::to_string(i) + " is not aligned to its element type");
    }
  }
  if (!std::isfinite(options.weight)) {
    throw ParameterError("weight = " + std::to_string(options.weight) + " is not finite");
  }
}

}  // namespace

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
                       const EncryptOptions& options) {
  return encrypt_with_seeds(round, pieces, options, UploadSeeds::fresh());
}

scheme::Upload encrypt_with_seeds(const Round& round, std::span<const Piece> pieces,
                                  const EncryptOptions& options, const UploadSeeds& seeds) {
  check_pieces(round, pieces, options);
  PreparedUpload prepared(round, seeds);
  return encrypt(prepared, pieces, options);
}

scheme::Upload encrypt(const Round& round, std::span<const Piece> pieces,
                       const EncryptOptions& options, PadStore& pads) {
  if (pads.round().id() != round.id()) {
    throw RoundError("the pads were prepared for round " + short_hex(pads.round().id()) +
                     ", not for round " + short_hex(round.id()) +
                     "; make a PadStore for each round");
  }
  check_pieces(round, pieces, options);  // nothing is used up by arguments that do not fit
  PreparedUpload prepared = pads.take();
  return encrypt(prepared, pieces, options);
}

scheme::Upload encrypt(PreparedUpload& prepared, std::span<const Piece> pieces,
                       const EncryptOptions& options) {
  const Round& round = prepared.round();
  const Plan& plan = round.plan();
  check_pieces(round, pieces, options);
  PreparedUpload::Contents upload = prepared.consume();
  // From here on pads and ciphertexts stand side by side: all of it is wiped unless all goes well.
  upload.blocks.touch(upload.blocks.size());
  const ProcessMark process;
  Job job{round, options, *upload.secrets, upload.ready};
  std::uint8_t* out = upload.blocks.data();
  const std::size_t block_bytes = full_block_bytes(round);
  const bool stochastic = options.rounding == Rounding::kStochastic;
  const std::uint64_t count = round.blocks();
  const std::uint64_t portion =
      options.progress ? std::max<std::uint64_t>(1, kPortionValues / plan.block_capacity()) : count;
  for (std::uint64_t first = 0; first < count; first += portion) {
    const std::uint64_t items = std::min(portion, count - first);
    parallel_for(
        static_cast<std::size_t>(items), options.threads, [&] { return Scratch(plan, stochastic); },
        [&](std::size_t item, Scratch& scratch) {
          const std::uint64_t block = first + item;
          encrypt_one(job, pieces, block, scratch, out + block * block_bytes);
        });
    if (!job.finite.load()) refuse_non_finite(round, pieces);
    if (options.progress) {
      options.progress(std::min((first + items) * plan.block_capacity(), round.size()),
                       round.size());
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
  scheme::UploadHead head;
  head.clipped = job.clipped.load();
  head.capsule = upload.secrets->capsule;
  return scheme::Upload(round, std::move(head), std::move(upload.blocks).release());
}

struct BlockEncryptor::Shared {
  Job job;
};

struct BlockEncryptor::Scratch::Buffers {
  veilsum::codec::Scratch scratch;
};

BlockEncryptor::BlockEncryptor(const Round& round, const UploadSecrets& secrets,
                               const EncryptOptions& options)
    : shared_(new Shared{{round, options, secrets, {}}}) {}

BlockEncryptor::~BlockEncryptor() = default;

BlockEncryptor::Scratch::Scratch(const BlockEncryptor& owner)
    : buffers_(new Buffers{
          veilsum::codec::Scratch(owner.shared_->job.round.plan(),
                                  owner.shared_->job.options.rounding == Rounding::kStochastic)}) {}

BlockEncryptor::Scratch::~Scratch() = default;

bool BlockEncryptor::encrypt(std::uint64_t first, std::uint64_t count,
                             std::span<const Piece> pieces, Scratch& scratch, std::uint8_t* out) {
  const Plan& plan = shared_->job.round.plan();
  const std::size_t block_bytes = plan.block_bytes(plan.block_capacity());
  for (std::uint64_t block = 0; block < count; ++block) {
    encrypt_one(shared_->job, pieces, first + block, scratch.buffers_->scratch,
                out + block * block_bytes);
  }
  return shared_->job.finite.load(std::memory_order_relaxed);
}

std::uint64_t BlockEncryptor::clipped() const noexcept { return shared_->job.clipped.load(); }

}  // namespace veilsum::codec
