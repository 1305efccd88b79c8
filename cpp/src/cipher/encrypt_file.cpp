// Layer: cipher. See encrypt_file.h. The unit of parallel work is a span (blocks_digest.h): a
// thread reads its values, encrypts them a few blocks at a time in its caches, and writes them.
// Between portions of some spans the journal is written and progress is told.
#include "cipher/encrypt_file.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "base/parallel.h"
#include "base/process.h"
#include "base/shown.h"
#include "base/wipe.h"
#include "cipher/block_encryptor.h"
#include "cipher/element.h"
#include "cipher/hash_records.h"
#include "isa/dispatch.h"
#include "ring/sha256.h"
#include "scheme/blocks_digest.h"
#include "scheme/journal.h"
#include "scheme/portions.h"
#include "scheme/wire.h"
#include "veilsum/errors.h"

namespace veilsum::cipher {
namespace {

using scheme::blocks_in_step;
using scheme::Round;
using scheme::ScratchPool;
using scheme::Spans;
using scheme::spans_in_portion;

/// Input that a resumable run holds at a time: what its digests promise must be what is encrypted.
constexpr std::uint64_t kHeldBytes = std::uint64_t{48} << 20;
constexpr std::size_t kAlignment = 64;
/// Raise it with any change of the numbers that a value becomes: journals of before are refused
/// then.
constexpr std::uint32_t kQuantisation = 2;
constexpr std::uint64_t kNone = std::numeric_limits<std::uint64_t>::max();

/// Some consecutive values of the update, read into memory.
struct Values {
  SecretBuffer<std::uint8_t> buffer;
  std::vector<Piece> pieces;  // one a segment; those that are touched are set
  struct Run {
    std::size_t segment;
    std::size_t at;  // in the buffer
    std::size_t bytes;
  };
  std::vector<Run> runs;
};

/// Reads the values [first, end) of the update.
void read_values(const Round& round, std::span<const FilePiece> sources, std::uint64_t first,
                 std::uint64_t end, Values& out) {
  out.pieces.resize(sources.size());
  out.runs.clear();
  std::size_t needed = 0;
  for (std::size_t segment = round.segment_of(first);
       segment < sources.size() && round.starts()[segment] < end; ++segment) {
    const std::uint64_t from = std::max(first, round.starts()[segment]);
    const std::uint64_t to = std::min(end, round.starts()[segment + 1]);
    if (from >= to) continue;
    const auto bytes = static_cast<std::size_t>((to - from) * element_bytes(sources[segment].type));
    out.runs.push_back({segment, needed, bytes});
    out.pieces[segment] = {nullptr, sources[segment].type, to - from,
                           from - round.starts()[segment]};
    needed += (bytes + kAlignment - 1) / kAlignment * kAlignment;
  }
  if (out.buffer.size() < needed) out.buffer = SecretBuffer<std::uint8_t>(needed);
  for (const Values::Run& run : out.runs) {
    Piece& piece = out.pieces[run.segment];
    const FilePiece& source = sources[run.segment];
    source.file->read_at(source.offset + piece.first * element_bytes(source.type),
                         {out.buffer.data() + run.at, run.bytes});
    piece.values = out.buffer.data() + run.at;
  }
}

Digest digest_of(const Values& values) {
  ring::Sha256 hash;
  for (const Values::Run& run : values.runs) {
    hash.update(values.buffer.span().subspan(run.at, run.bytes));
  }
  return hash.finish();
}

/// The first value that is not finite, counted in the whole update, or kNone.
std::uint64_t first_not_finite(const Round& round, const Values& values) {
  for (const Values::Run& run : values.runs) {
    const Piece& piece = values.pieces[run.segment];
    for (std::uint64_t at = 0; at < piece.count; ++at) {
      if (!is_finite(piece, at)) return round.starts()[run.segment] + piece.first + at;
    }
  }
  return kNone;
}

void lower(std::atomic<std::uint64_t>& least, std::uint64_t value) {
  std::uint64_t seen = least.load();
  while (value < seen && !least.compare_exchange_weak(seen, value)) {
  }
}

void check_sources(const Round& round, std::span<const FilePiece> pieces,
                   const EncryptOptions& options) {
  if (pieces.size() != round.segments().size()) {
    throw ParameterError("the update has " + std::to_string(pieces.size()) +
                         " tensors, the round's layout " + std::to_string(round.segments().size()));
  }
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    const FilePiece& piece = pieces[i];
    if (piece.count != round.segments()[i].count) {
      throw ParameterError("tensor " + std::to_string(i) + " of the update has " +
                           shown(piece.count) + " values, the round's layout " +
                           std::to_string(round.segments()[i].count));
    }
    if (piece.offset > piece.file->size() ||
        piece.count > (piece.file->size() - piece.offset) / element_bytes(piece.type)) {
      throw WireFormatError(piece.file->path() + " ends before the last value of tensor " +
                            std::to_string(i));
    }
  }
  if (!std::isfinite(options.weight)) {
    throw ParameterError("weight is not finite; give a finite number");
  }
  if (round.tagged() && options.tag == nullptr) {
    throw RoundError("round " + short_hex(round.id()) +
                     " has tags: its group's keys are needed (encrypt_file(..., group=...))");
  }
  if (options.tag != nullptr) options.tag->key.check_round(round);
}

std::vector<scheme::JournalFact> facts_of(const Round& round, std::span<const FilePiece> pieces,
                                          const EncryptOptions& options,
                                          const std::optional<FileSigner>& signer) {
  ByteWriter files;
  for (const FilePiece& piece : pieces) {
    piece.file->identity().write(files);
    files.u64(piece.offset);
    files.u64(piece.count);
    files.u8(static_cast<std::uint8_t>(piece.type));
  }
  ByteWriter choices;
  choices.f64(options.weight);
  choices.u8(static_cast<std::uint8_t>(options.rounding));
  choices.u8(signer ? 1 : 0);
  choices.u32(signer ? signer->client : 0);
  if (options.tag != nullptr) choices.raw(options.tag->key.fingerprint());
  ByteWriter kind;
  // Another version may round the same input to other numbers, which the same pads must not meet.
  kind.text("encrypt " + std::to_string(kQuantisation));
  ByteWriter of_round;
  of_round.raw(round.id());
  return {
      {"it is the journal of another kind of run, or of another version of Veilsum", kind.take()},
      {"it is of another round", of_round.take()},
      {"the input is another file, or it was changed since the run began", files.take()},
      {"weight, rounding, signer or tag key are other ones", choices.take()}};
}

/// How the upload will be signed, which decides where its blocks begin.
scheme::SignatureKind kind_of(const Round& round, const std::optional<FileSigner>& signer) {
  if (!signer) return scheme::SignatureKind::kNone;
  if (signer->client >= round.roster().size()) {
    throw RoundError("client " + std::to_string(signer->client) + " is not on the roster of " +
                     std::to_string(round.roster().size()) + " clients");
  }
  return round.roster()[signer->client].kind();
}

/// One run of encrypt_file().
class FileEncryption {
 public:
  FileEncryption(const Round& round, std::span<const FilePiece> sources, const std::string& path,
                 const EncryptOptions& options, const scheme::Sealer& sealer, bool resume,
                 const std::optional<FileSigner>& signer, const UploadSeeds& fresh)
      : round_(round),
        sources_(sources),
        options_(options),
        sealer_(sealer),
        signer_(signer),
        spans_(round),
        signs_(kind_of(round, signer)),
        hashed_(signer.has_value() && !round.tagged()),
        head_bytes_(static_cast<std::size_t>(scheme::upload_head_bytes(round, signs_))),
        seeds_(fresh) {
    check_sources(round, sources, options);
    // What an earlier run began with replaces what is fresh.
    SecretBuffer<std::uint8_t> secret(2 * 32 + sizeof(scheme::Nonce));
    std::uint8_t* const parts[] = {seeds_.key.data(), seeds_.rounding.data(), seeds_.nonce.data()};
    const std::size_t sizes[] = {32, 32, sizeof(scheme::Nonce)};
    for (std::size_t i = 0; i < 3; ++i) std::memcpy(secret.data() + 32 * i, parts[i], sizes[i]);
    output_ = std::make_unique<scheme::ResumableOutput>(
        path, scheme::upload_bytes(round, signs_), resume,
        facts_of(round, sources, options, signer), secret.span());
    for (std::size_t i = 0; i < 3; ++i) std::memcpy(parts[i], secret.data() + 32 * i, sizes[i]);
    read_history();
  }

  FileUpload run() {
    if (options_.tag != nullptr) options_.tag->hash.reset();
    try {
      return encrypt();
    } catch (const VeilsumError&) {
      // An error that would come again: nothing to continue. What the operating system or the user
      // stopped stays, and so does what somebody exchanged the input under.
      if (!input_changed_) output_->discard();
      throw;
    }
  }

 private:
  static constexpr std::uint8_t kBegun = 'B';  // spans: digests of their input
  // Spans: checksums of their ciphertext, clip count; with a tag, the hash of their digits.
  static constexpr std::uint8_t kDone = 'D';

  struct DoneRecord {
    std::vector<std::uint32_t> checksums;
    std::uint64_t clipped = 0;
    std::optional<ring::TagSum> hash;
  };
  struct SpanResult {
    std::uint32_t crc = 0;
    Bytes pieces;
  };
  struct Scratch {
    Scratch(const BlockEncryptor& encryptor, OutputFile& output, std::size_t out_bytes)
        : blocks(encryptor), out(out_bytes), writes(output) {}
    BlockEncryptor::Scratch blocks;
    AlignedBuffer<std::uint8_t> out;
    GatheredWrites writes;
    Values values;
  };

  void read_history() {
    output_->read_history([&](ByteView record) {
      ByteReader in(record, "a record");
      const std::uint8_t type = in.u8();
      const std::uint64_t first = in.u64();
      const std::uint32_t count = in.u32();
      if (first >= spans_.count() || count > spans_.count() - first) {
        in.fail("it tells of a part that the update does not have");
      }
      if (type == kBegun) {
        for (std::uint32_t i = 0; i < count; ++i) begun_[first + i] = in.array<32>();
      } else if (type == kDone) {
        DoneRecord done;
        for (std::uint32_t i = 0; i < count; ++i) done.checksums.push_back(in.u32());
        done.clipped = in.u64();
        if (options_.tag != nullptr) done.hash = read_hash(in, options_.tag->key.field());
        const std::uint64_t values =
            count == 0 ? 0 : spans_.end_value(first + count - 1) - spans_.first_value(first);
        if (done.clipped > values) {
          in.fail("it tells of " + std::to_string(done.clipped) + " clipped values among " +
                  std::to_string(values));
        }
        done_[first] = std::move(done);
      } else {
        in.fail("a record of it is of no kind that is known");
      }
      in.finish();
    });
  }

  FileUpload encrypt() {
    const UploadSecrets secrets(round_, seeds_);
    BlockEncryptor encryptor(round_, secrets, options_);
    encryptor_ = &encryptor;
    const std::uint64_t portion = portion_spans();
    std::uint64_t clipped = 0;
    if (options_.tag != nullptr) total_.emplace(options_.tag->key.field());
    scheme::BlocksDigest digest;
    std::uint32_t crc = 0;
    for (std::uint64_t first = 0; first < spans_.count(); first += portion) {
      const std::uint64_t count = std::min(portion, spans_.count() - first);
      results_.assign(static_cast<std::size_t>(count), {});
      if (!take_over(first, count, clipped)) {
        const std::uint64_t before = encryptor.clipped();
        make(first, count);
        const std::uint64_t beyond = encryptor.clipped() - before;
        clipped += beyond;
        record_done(first, count, beyond);
        if (portion_ && total_) total_->add(portion_->sum());
      }
      for (std::uint64_t i = 0; i < count; ++i) {
        const SpanResult& result = results_[static_cast<std::size_t>(i)];
        crc = scheme::crc32c_combine(crc, result.crc, spans_.bytes(first + i));
        digest.append(result.pieces);
      }
      output_->file().flush_range(head_bytes_ + spans_.offset(first),
                                  spans_.bytes_of_spans(first, count));
      if (options_.progress) options_.progress(spans_.end_value(first + count - 1), round_.size());
      if (!process_.is_here()) {
        throw RoundError(
            "the process was forked while it encrypted, so there are two that would go on under "
            "one key; the child must encrypt anew");
      }
    }
    if (options_.on_clip == OnClip::kError && clipped != 0) {
      throw ParameterError(std::to_string(clipped) + " of " + std::to_string(round_.size()) +
                           " values lie beyond their limit; raise the round's limit, or encrypt "
                           "with on_clip=\"count\"");
    }
    check_inputs_unchanged();
    if (total_) options_.tag->hash = *total_;
    return finish(clipped, digest.finish(), crc);
  }

  std::uint64_t portion_spans() const {
    if (!output_->journaled()) return spans_in_portion(options_.threads);
    std::size_t widest = 2;
    for (const FilePiece& piece : sources_) widest = std::max(widest, element_bytes(piece.type));
    return std::max<std::uint64_t>(1, kHeldBytes / (spans_.values_per_span() * widest));
  }

  /// True when an earlier run made these spans and their bytes are still right.
  bool take_over(std::uint64_t first, std::uint64_t count, std::uint64_t& clipped) {
    const auto found = done_.find(first);
    if (found == done_.end() || found->second.checksums.size() != count ||
        found->second.hash.has_value() != total_.has_value()) {
      return false;
    }
    for (std::uint64_t i = 0; i < count; ++i) {
      if (!begun_.contains(first + i)) return false;
    }
    std::atomic<bool> good{true};
    parallel_for(
        static_cast<std::size_t>(count), options_.threads,
        [&] { return AlignedBuffer<std::uint8_t>(spans_.most_bytes()); },
        [&](std::size_t item, AlignedBuffer<std::uint8_t>& buffer) {
          const std::uint64_t span = first + item;
          const std::span<std::uint8_t> bytes = buffer.span().first(spans_.bytes(span));
          if (!output_->file().read_at(head_bytes_ + spans_.offset(span), bytes)) {
            good.store(false);
            return;
          }
          note_bytes(results_[item], bytes);
          if (results_[item].crc != found->second.checksums[item]) good.store(false);
        });
    if (good.load()) {
      clipped += found->second.clipped;
      if (total_ && found->second.hash) total_->add(*found->second.hash);
      return true;
    }
    results_.assign(static_cast<std::size_t>(count), {});
    return false;
  }

  void note_bytes(SpanResult& result, ByteView bytes) const {
    result.crc = isa::kernels().crc32c(0, bytes.data(), bytes.size());
    if (hashed_) result.pieces = scheme::piece_digests(bytes);
  }

  void make(std::uint64_t first, std::uint64_t count) {
    std::atomic<std::uint64_t> not_finite{kNone};
    const bool held = output_->journaled();
    if (held) hold_input(first, count);
    if (options_.tag != nullptr) portion_.emplace(options_.tag->key.field());
    const std::uint64_t step = blocks_in_step(spans_);
    parallel_for(
        static_cast<std::size_t>(count), options_.threads,
        [&] {
          return pool_.take([&] {
            return std::make_unique<Scratch>(
                *encryptor_, output_->file(),
                signer_ ? spans_.most_bytes() : step * spans_.block_bytes());
          });
        },
        [&](std::size_t item, auto& lease) {
          encrypt_span(first + item, held ? &held_[item] : nullptr, step, *lease, results_[item],
                       not_finite);
        });
    pool_.for_each([](Scratch& scratch) { scratch.writes.flush(); });
    if (not_finite.load() != kNone) {
      const std::uint64_t index = not_finite.load();
      throw NotFiniteError("the update is not finite: value " + std::to_string(index) +
                               " is NaN or infinite; nothing was encrypted",
                           index);
    }
  }

  /// Reads the portion's input, and has its digests on disk before anything is made of it.
  void hold_input(std::uint64_t first, std::uint64_t count) {
    if (held_.size() < count) held_.resize(static_cast<std::size_t>(count));
    std::vector<Digest> digests(static_cast<std::size_t>(count));
    parallel_for(
        static_cast<std::size_t>(count), options_.threads, [] { return 0; },
        [&](std::size_t item, int) {
          const std::uint64_t span = first + item;
          read_values(round_, sources_, spans_.first_value(span), spans_.end_value(span),
                      held_[item]);
          digests[item] = digest_of(held_[item]);
        });
    bool known = true;
    for (std::uint64_t i = 0; i < count; ++i) {
      const auto earlier = begun_.find(first + i);
      known = known && earlier != begun_.end();
      if (earlier != begun_.end() && earlier->second != digests[static_cast<std::size_t>(i)]) {
        input_changed_ = true;
        throw ParameterError(
            "the values from " + std::to_string(spans_.first_value(first + i)) +
            " on are not those that the interrupted run began to encrypt; encrypting others with "
            "its key would give both away. Restore the input, or start again without the journal");
      }
    }
    if (known) return;
    ByteWriter record(16 + 32 * digests.size());
    record.u8(kBegun);
    record.u64(first);
    record.u32(static_cast<std::uint32_t>(count));
    for (const Digest& digest : digests) record.raw(digest);
    output_->record(record.bytes());
  }

  void encrypt_span(std::uint64_t span, const Values* held, std::uint64_t step, Scratch& scratch,
                    SpanResult& result, std::atomic<std::uint64_t>& not_finite) {
    std::optional<ring::TagSum> hash;
    if (portion_) hash.emplace(options_.tag->key.field());
    for (std::uint64_t done = 0; done < spans_.blocks(span); done += step) {
      const std::uint64_t block = spans_.first_block(span) + done;
      const std::uint64_t blocks = std::min(step, spans_.blocks(span) - done);
      if (held == nullptr) {
        read_values(round_, sources_, spans_.values_before(block),
                    spans_.values_before(block + blocks), scratch.values);
      }
      const Values& values = held != nullptr ? *held : scratch.values;
      // What is signed stays until its span is whole, to be hashed at once.
      std::uint8_t* const out = scratch.out.data() + (signer_ ? spans_.place_of(block) : 0);
      if (!encryptor_->encrypt(block, blocks, values.pieces, scratch.blocks, out,
                               hash ? &*hash : nullptr)) {
        lower(not_finite, first_not_finite(round_, values));
        continue;
      }
      const ByteView bytes(out, spans_.bytes_of(block, blocks));
      result.crc = isa::kernels().crc32c(result.crc, bytes.data(), bytes.size());
      scratch.writes.write_at(head_bytes_ + spans_.offset_of(block), bytes);
    }
    if (portion_ && hash) portion_->add(*hash);
    if (hashed_) {
      result.pieces = scheme::piece_digests(scratch.out.span().first(spans_.bytes(span)));
    }
  }

  void record_done(std::uint64_t first, std::uint64_t count, std::uint64_t clipped) {
    if (!output_->journaled()) return;
    ByteWriter record(32 + 4 * static_cast<std::size_t>(count) + kHashBytes);
    record.u8(kDone);
    record.u64(first);
    record.u32(static_cast<std::uint32_t>(count));
    for (const SpanResult& result : results_) record.u32(result.crc);
    record.u64(clipped);
    record_with_hashes(*output_, std::move(record), {portion_ ? &portion_->sum() : nullptr});
  }

  void check_inputs_unchanged() const {
    for (const FilePiece& piece : sources_) {
      if (!piece.file->unchanged()) {
        throw ParameterError(piece.file->path() +
                             " was changed while it was being encrypted; nothing was written");
      }
    }
  }

  FileUpload finish(std::uint64_t clipped, const Digest& blocks_digest,
                    std::uint32_t crc_of_blocks) {
    scheme::UploadHead head;
    head.clipped = clipped;
    head.nonce = seeds_.nonce;
    seal_with_tag(round_, options_, signer_ ? signer_->client : scheme::kNoClient, seeds_, sealer_,
                  head);
    if (signer_) {
      const std::optional<Digest> named =
          round_.tagged() ? std::nullopt : std::optional(blocks_digest);
      scheme::Signature signature =
          signer_->sign(scheme::signing_payload(round_, signer_->client, head, named));
      if (signature.kind() != signs_) {
        throw ParameterError(
            "the signer signed with " + std::string(scheme::signature_name(signature.kind())) +
            ", but its identity in the roster signs with " + scheme::signature_name(signs_));
      }
      head.signature = {signer_->client, named, std::move(signature)};
    }
    const Bytes first = scheme::write_upload_head(round_, head);
    ByteWriter last(scheme::kEnvelopeTrailerBytes);
    last.u32(scheme::crc32c_combine(isa::kernels().crc32c(0, first.data(), first.size()),
                                    crc_of_blocks, round_.payload_bytes()));
    output_->file().write_at(0, first);
    output_->file().write_at(first.size() + round_.payload_bytes(), last.bytes());
    output_->commit();
    return {scheme::upload_bytes(round_, signs_), clipped, head.digest()};
  }

  const Round& round_;
  std::span<const FilePiece> sources_;
  const EncryptOptions& options_;
  const scheme::Sealer& sealer_;
  const std::optional<FileSigner>& signer_;
  Spans spans_;
  scheme::SignatureKind signs_;
  const bool hashed_;  ///< the blocks' digest is signed
  std::size_t head_bytes_;
  const ProcessMark process_;
  UploadSeeds seeds_;
  std::unique_ptr<scheme::ResumableOutput> output_;
  std::map<std::uint64_t, Digest> begun_;     // by span
  std::map<std::uint64_t, DoneRecord> done_;  // by first span of a portion
  BlockEncryptor* encryptor_ = nullptr;
  std::vector<SpanResult> results_;
  std::optional<TagTotal> portion_;    // hash of the portion that is being made
  std::optional<ring::TagSum> total_;  // hash of the portions that are done
  std::vector<Values> held_;
  ScratchPool<Scratch> pool_;
  bool input_changed_ = false;
};

}  // namespace

FileUpload encrypt_file(const Round& round, std::span<const FilePiece> pieces,
                        const std::string& path, const EncryptOptions& options,
                        const scheme::Sealer& sealer, bool resume,
                        const std::optional<FileSigner>& signer) {
  return encrypt_file_with_seeds(round, pieces, path, options, sealer, resume, signer,
                                 UploadSeeds::fresh());
}

FileUpload encrypt_file_with_seeds(const Round& round, std::span<const FilePiece> pieces,
                                   const std::string& path, const EncryptOptions& options,
                                   const scheme::Sealer& sealer, bool resume,
                                   const std::optional<FileSigner>& signer,
                                   const UploadSeeds& seeds) {
  return FileEncryption(round, pieces, path, options, sealer, resume, signer, seeds).run();
}

}  // namespace veilsum::cipher
