// Layer: aggregate. See sum_files.h. A thread takes a span of blocks and goes through it a few
// blocks at a time: reads them of every upload, checks and adds them while they are in its
// second-level cache, and writes the sum. Of signed uploads it keeps what it read until the span is
// whole, and hashes that: many pieces side by side are hashed three times faster than one.
#include "aggregate/sum_files.h"

#include <algorithm>
#include <atomic>
#include <map>
#include <memory>

#include "aggregate/aggregate.h"
#include "aggregate/upload_reader.h"
#include "base/file_stream.h"
#include "base/parallel.h"
#include "isa/dispatch.h"
#include "scheme/aggregate_file.h"
#include "scheme/block_sums.h"
#include "scheme/blocks_digest.h"
#include "scheme/journal.h"
#include "scheme/portions.h"
#include "scheme/wire.h"
#include "veilsum/errors.h"

namespace veilsum::aggregate {
namespace {

using scheme::Manifest;
using scheme::Round;
using scheme::Spans;

/// Bytes that a thread has in hand: with the piece of the output that it gathers, half of a usual
/// second-level cache.
constexpr std::size_t kCacheBytes = (std::size_t{1} << 20) - GatheredWrites::kPiece;
/// Uploads that are read before they are added together.
constexpr std::size_t kReadBatch = 16;
/// Bytes of signed uploads that all threads together keep for hashing, about.
constexpr std::size_t kHashedBytes = std::size_t{64} << 20;

class FileSum {
 public:
  FileSum(const Round& round, const std::vector<std::string>& paths,
          std::span<const std::uint64_t> weights, const scheme::SignatureVerifier* verifier,
          const std::string& path, const FileSumOptions& options)
      : round_(round),
        options_(options),
        spans_(round),
        hashed_(round.has_roster() || round.cipher().part_is_blocks_digest()),
        manifest_(round) {
    if (!weights.empty() && weights.size() != paths.size()) {
      throw ParameterError(std::to_string(weights.size()) + " weights for " +
                           std::to_string(paths.size()) + " uploads");
    }
    if (round.has_roster() && verifier == nullptr) {
      throw ParameterError("this round has a roster: a signature verifier is required");
    }
    for (std::size_t k = 0; k < paths.size(); ++k) {
      const std::uint64_t weight = weights.empty() ? 1 : weights[k];
      naming(paths[k], [&] {
        uploads_.push_back(std::make_unique<UploadReader>(paths[k], round, paths.size()));
        manifest_.add(uploads_.back()->head(), weight, verifier);
      });
      weights_.push_back(weight);
    }
    check_enough(manifest_);
    head_ = scheme::write_aggregate_head(manifest_);
    unit_ = manifest_.unit_weights();
    batch_ = std::min(kReadBatch, uploads_.size());
    if (hashed_) {
      const auto threads =
          static_cast<std::size_t>(options.threads > 0 ? options.threads : default_threads());
      batch_ = std::clamp<std::size_t>(kHashedBytes / threads / spans_.most_bytes(), 1, batch_);
    }
    step_ = std::clamp<std::uint64_t>(kCacheBytes / (batch_ + 1) / spans_.block_bytes(), 1,
                                      spans_.blocks_per_span());
    output_ = std::make_unique<scheme::ResumableOutput>(
        path, head_.size() + round.payload_bytes() + scheme::kEnvelopeTrailerBytes, options.resume,
        facts());
    output_->read_history([&](ByteView record) {
      ByteReader in(record, "a record");
      done_[in.u64()] = Bytes(record.begin(), record.end());
    });
  }

  void run() {
    try {
      sum();
    } catch (const VeilsumError&) {
      output_->discard();
      throw;
    }
  }

 private:
  struct Result {
    std::uint32_t crc = 0;
    std::vector<std::uint32_t> upload_crcs;
    std::vector<Bytes> upload_pieces;  // of those that are hashed
  };
  struct Scratch {
    Scratch(OutputFile& output, std::size_t in_bytes, std::size_t out_bytes)
        : in(in_bytes), out(out_bytes), writes(output) {}
    AlignedBuffer<std::uint8_t> in;
    AlignedBuffer<std::uint8_t> out;
    GatheredWrites writes;
    scheme::RowScratch rows;
    std::vector<const std::uint8_t*> sources;
    std::vector<std::uint64_t> factors;
  };

  /// Errors about an upload say which file.
  template <typename F>
  static void naming(const std::string& path, F f) {
    try {
      f();
    } catch (const WireFormatError& error) {
      throw WireFormatError(path + ": " + error.what());
    } catch (const RoundError& error) {
      throw RoundError(path + ": " + error.what());
    } catch (const HeadroomError& error) {
      throw HeadroomError(path + ": " + error.what());
    }
  }

  std::vector<scheme::JournalFact> facts() const {
    ByteWriter kind;
    kind.text("sum");
    ByteWriter inputs;
    for (const auto& upload : uploads_) upload->file().identity().write(inputs);
    ByteWriter head;
    head.raw(head_);
    return {{"it is the journal of another kind of run", kind.take()},
            {"the uploads are other files, or one was changed since the run began", inputs.take()},
            {"the round, the weights or the uploads are other ones", head.take()}};
  }

  void sum() {
    std::uint32_t crc = isa::kernels().crc32c(0, head_.data(), head_.size());
    output_->file().write_at(0, head_);
    std::uint64_t count = 0;
    for (std::uint64_t first = 0; first < spans_.count(); first += count) {
      count = std::min(scheme::spans_in_portion(options_.threads), spans_.count() - first);
      if (!take_over(first, count)) {
        make(first, count);
        record(first);
      }
      for (std::uint64_t i = 0; i < count; ++i) {
        const Result& result = results_[static_cast<std::size_t>(i)];
        const std::size_t bytes = spans_.bytes(first + i);
        crc = scheme::crc32c_combine(crc, result.crc, bytes);
        for (std::size_t k = 0; k < uploads_.size(); ++k) {
          uploads_[k]->append(result.upload_crcs[k], bytes, result.upload_pieces[k]);
        }
      }
      output_->file().flush_range(head_.size() + spans_.offset(first),
                                  spans_.bytes_of_spans(first, count));
      if (options_.progress) options_.progress(spans_.end_value(first + count - 1), round_.size());
    }
    for (const auto& upload : uploads_) {
      naming(upload->file().path(), [&] { upload->check_whole(); });
    }
    ByteWriter trailer(scheme::kEnvelopeTrailerBytes);
    trailer.u32(crc);
    output_->file().write_at(head_.size() + round_.payload_bytes(), trailer.bytes());
    output_->commit();
  }

  void make(std::uint64_t first, std::uint64_t count) {
    results_.assign(static_cast<std::size_t>(count), {});
    parallel_for(
        static_cast<std::size_t>(count), options_.threads,
        [&] {
          return pool_.take([&] {
            return std::make_unique<Scratch>(output_->file(), batch_ * in_room(), out_room());
          });
        },
        [&](std::size_t item, auto& lease) { sum_span(first + item, *lease, results_[item]); });
    pool_.for_each([](Scratch& scratch) { scratch.writes.flush(); });
  }

  /// Bytes of scratch for each upload of a batch, and for the sum.
  std::size_t in_room() const { return in_whole() ? spans_.most_bytes() : step_bytes(); }
  std::size_t out_room() const { return out_whole() ? spans_.most_bytes() : step_bytes(); }
  std::size_t step_bytes() const { return static_cast<std::size_t>(step_) * spans_.block_bytes(); }
  /// Where in such a room a step that begins with `block` lies: at its place in the span, when
  /// there is room for whole spans.
  std::size_t place_of(std::uint64_t block, bool whole_spans) const {
    return whole_spans ? spans_.place_of(block) : 0;
  }
  bool in_whole() const { return hashed_; }
  bool out_whole() const { return batch_ < uploads_.size(); }

  void sum_span(std::uint64_t span, Scratch& scratch, Result& result) {
    result.upload_crcs.assign(uploads_.size(), 0);
    result.upload_pieces.assign(uploads_.size(), {});
    const std::uint64_t last = spans_.first_block(span) + spans_.blocks(span);
    for (std::size_t from = 0; from < uploads_.size(); from += batch_) {
      const std::size_t to = std::min(from + batch_, uploads_.size());
      for (std::uint64_t block = spans_.first_block(span); block < last; block += step_) {
        const std::uint64_t blocks = std::min(step_, last - block);
        add_batch(block, blocks, from, to, scratch, result);
        if (to != uploads_.size()) continue;
        const ByteView bytes = scratch.out.span().subspan(place_of(block, out_whole()),
                                                          spans_.bytes_of(block, blocks));
        result.crc = isa::kernels().crc32c(result.crc, bytes.data(), bytes.size());
        scratch.writes.write_at(head_.size() + spans_.offset_of(block), bytes);
      }
      if (hashed_) hash_batch(spans_.bytes(span), from, to, scratch, result);
    }
  }

  void hash_batch(std::size_t bytes, std::size_t from, std::size_t to, const Scratch& scratch,
                  Result& result) const {
    if (bytes != in_room() || bytes % scheme::kDigestPiece != 0) {
      for (std::size_t k = from; k < to; ++k) {
        result.upload_pieces[k] =
            scheme::piece_digests(scratch.in.span().subspan((k - from) * in_room(), bytes));
      }
      return;
    }
    // Rooms that are full of whole pieces lie one after the other: they are hashed as one.
    const Bytes digests = scheme::piece_digests(scratch.in.span().first((to - from) * bytes));
    const std::size_t each = digests.size() / (to - from);
    for (std::size_t k = from; k < to; ++k) {
      const ByteView own = ByteView(digests).subspan((k - from) * each, each);
      result.upload_pieces[k].assign(own.begin(), own.end());
    }
  }

  /// Adds the blocks [block, block + blocks) of the uploads [from, to) to scratch.out.
  void add_batch(std::uint64_t block, std::uint64_t blocks, std::size_t from, std::size_t to,
                 Scratch& scratch, Result& result) {
    const std::size_t bytes = spans_.bytes_of(block, blocks);
    const std::size_t place = place_of(block, in_whole());
    for (std::size_t k = from; k < to; ++k) {
      const std::span<std::uint8_t> in =
          scratch.in.span().subspan((k - from) * in_room() + place, bytes);
      naming(uploads_[k]->file().path(),
             [&] { uploads_[k]->read_blocks(spans_.offset_of(block), in); });
      result.upload_crcs[k] = isa::kernels().crc32c(result.upload_crcs[k], in.data(), in.size());
    }
    for (std::uint64_t i = 0; i < blocks; ++i) {
      const std::size_t at = spans_.bytes_of(block, i);
      std::uint8_t* const out = scratch.out.data() + place_of(block, out_whole()) + at;
      scratch.sources.clear();
      scratch.factors.clear();
      if (from != 0) {
        scratch.sources.push_back(out);
        scratch.factors.push_back(1);
      }
      for (std::size_t k = from; k < to; ++k) {
        scratch.sources.push_back(scratch.in.data() + (k - from) * in_room() + place + at);
        scratch.factors.push_back(weights_[k]);
      }
      const std::span<const std::uint64_t> factors =
          unit_ ? std::span<const std::uint64_t>()
                : std::span<const std::uint64_t>(scratch.factors);
      scheme::sum_block(round_, block + i, scratch.sources, factors, scratch.rows, out);
    }
  }

  void record(std::uint64_t first) {
    if (!output_->journaled()) return;
    ByteWriter out;
    out.u64(first);
    out.u32(static_cast<std::uint32_t>(results_.size()));
    for (const Result& result : results_) {
      out.u32(result.crc);
      for (std::size_t k = 0; k < uploads_.size(); ++k) {
        out.u32(result.upload_crcs[k]);
        out.raw(result.upload_pieces[k]);
      }
    }
    output_->record(out.bytes());
  }

  /// True when an earlier run wrote these spans and they are still right; `count` becomes its own.
  bool take_over(std::uint64_t first, std::uint64_t& count) {
    const auto found = done_.find(first);
    if (found == done_.end()) return false;
    ByteReader in(found->second, "journal");
    (void)in.u64();
    const std::uint32_t spans = in.u32();
    if (spans == 0 || spans > spans_.count() - first) return false;
    results_.assign(spans, {});
    for (std::uint32_t i = 0; i < spans; ++i) {
      Result& result = results_[i];
      result.crc = in.u32();
      result.upload_pieces.resize(uploads_.size());
      for (std::size_t k = 0; k < uploads_.size(); ++k) {
        result.upload_crcs.push_back(in.u32());
        if (!hashed_) continue;
        const ByteView pieces = in.raw(32 * scheme::digest_pieces(spans_.bytes(first + i)));
        result.upload_pieces[k].assign(pieces.begin(), pieces.end());
      }
    }
    std::atomic<bool> good{true};
    parallel_for(
        spans, options_.threads, [&] { return AlignedBuffer<std::uint8_t>(spans_.most_bytes()); },
        [&](std::size_t item, AlignedBuffer<std::uint8_t>& buffer) {
          const std::span<std::uint8_t> bytes = buffer.span().first(spans_.bytes(first + item));
          if (!output_->file().read_at(head_.size() + spans_.offset(first + item), bytes) ||
              isa::kernels().crc32c(0, bytes.data(), bytes.size()) != results_[item].crc) {
            good.store(false);
          }
        });
    if (!good.load()) return false;
    count = spans;
    return true;
  }

  const Round& round_;
  const FileSumOptions& options_;
  Spans spans_;
  const bool hashed_;  // whether the uploads' blocks are
  Manifest manifest_;
  std::vector<std::unique_ptr<UploadReader>> uploads_;
  std::vector<std::uint64_t> weights_;
  Bytes head_;
  bool unit_ = true;
  std::size_t batch_ = 1;
  std::uint64_t step_ = 1;
  std::unique_ptr<scheme::ResumableOutput> output_;
  std::map<std::uint64_t, Bytes> done_;
  std::vector<Result> results_;
  scheme::ScratchPool<Scratch> pool_;
};

}  // namespace

void sum_files(const Round& round, const std::vector<std::string>& paths,
               std::span<const std::uint64_t> weights, const scheme::SignatureVerifier* verifier,
               const std::string& path, const FileSumOptions& options) {
  FileSum(round, paths, weights, verifier, path, options).run();
}

}  // namespace veilsum::aggregate
