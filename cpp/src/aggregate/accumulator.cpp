// Layer: aggregate. See accumulator.h.
#include "aggregate/accumulator.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <utility>

#include "base/parallel.h"
#include "base/shown.h"
#include "isa/dispatch.h"
#include "scheme/block_sums.h"
#include "scheme/portions.h"
#include "veilsum/errors.h"

namespace veilsum::aggregate {

using scheme::Manifest;
using scheme::Round;
using scheme::Upload;
using scheme::UploadHead;

struct Accumulator::Scratch {
  explicit Scratch(std::size_t bytes) : in(bytes) {}
  AlignedBuffer<std::uint8_t> in;
  scheme::RowScratch rows;
};

/// What of a span is in the sum, and the checksum of its bytes.
struct Accumulator::Added {
  std::uint64_t blocks = 0;
  std::uint32_t crc = 0;
};

Accumulator::Accumulator(const Round& round, const scheme::SignatureVerifier* verifier)
    : round_(round), spans_(round_), verifier_(verifier), manifest_(round) {
  if (round.has_roster() && verifier == nullptr) {
    throw ParameterError("this round has a roster: a signature verifier is required");
  }
}

Accumulator::~Accumulator() = default;

void Accumulator::check_usable() const {
  if (finished_) throw RoundError("this accumulator is finished and takes no more uploads");
  if (spoiled_) {
    throw RoundError(
        "adding an upload failed half-way, so this sum is lost; add the uploads to a new one");
  }
}

void Accumulator::note_manifest() noexcept {
  count_.store(manifest_.entries().size(), std::memory_order_relaxed);
  total_weight_.store(manifest_.total_weight(), std::memory_order_relaxed);
}

void Accumulator::begin(UploadHead head, std::uint64_t weight) {
  {
    const std::lock_guard<std::mutex> lock(guard_);
    check_usable();
  }
  scheme::check_signature(round_, head, verifier_);  // asks the verifier, once
  const std::lock_guard<std::mutex> lock(guard_);
  check_usable();
  if (blocks_.empty()) {
    filled_.assign(static_cast<std::size_t>(round_.blocks()), 0);
    blocks_ = AlignedBuffer<std::uint8_t>(static_cast<std::size_t>(round_.payload_bytes()));
  }
  manifest_.add_verified(std::move(head), weight);  // refusals change nothing
  note_manifest();
  ++adding_;
}

void Accumulator::end(bool spoiled) noexcept {
  const std::lock_guard<std::mutex> lock(guard_);
  spoiled_ = spoiled_ || spoiled;
  --adding_;
  idle_.notify_all();
}

void Accumulator::add_blocks(std::uint64_t block, std::uint64_t blocks, ByteView bytes,
                             std::uint64_t weight, Sign sign, Scratch& scratch) {
  const std::lock_guard<std::mutex> lock(lock_of(block));
  for (std::uint64_t i = 0; i < blocks; ++i) {
    const std::uint8_t* const from = bytes.data() + spans_.bytes_of(block, i);
    std::uint8_t* const to = blocks_.data() + spans_.offset_of(block + i);
    if (sign == Sign::kMinus) {
      scheme::subtract_block(round_, block + i, from, weight, to);
      continue;
    }
    const std::uint8_t* const sources[] = {to, from};
    const std::uint64_t weights[] = {1, weight};
    std::uint8_t& filled = filled_[static_cast<std::size_t>(block + i)];
    const std::size_t skip = std::exchange(filled, std::uint8_t{1}) != 0 ? 0 : 1;
    scheme::sum_block(round_, block + i, std::span(sources).subspan(skip),
                      scheme::unless_unit(std::span(weights).subspan(skip)), scratch.rows, to);
  }
}

void Accumulator::add_checked(UploadCheck& upload, std::uint64_t weight, int threads) {
  struct Result {
    std::uint32_t crc = 0;
    Bytes pieces;
  };
  std::vector<Added> added(static_cast<std::size_t>(spans_.count()));
  begin(upload.head(), weight);  // whatever may throw from here on ends it again
  std::vector<Result> results;
  scheme::ScratchPool<Scratch> pool;
  const std::uint64_t step = scheme::blocks_in_step(spans_);
  const bool hashed = upload.hashed();
  try {
    for (std::uint64_t first = 0; first < spans_.count(); first += results.size()) {
      results.assign(static_cast<std::size_t>(
                         std::min(scheme::spans_in_portion(threads), spans_.count() - first)),
                     {});
      parallel_for(
          results.size(), threads,
          [&] {
            return pool.take([&] {
              return std::make_unique<Scratch>(hashed ? spans_.most_bytes()
                                                      : static_cast<std::size_t>(step) *
                                                            spans_.block_bytes());
            });
          },
          [&](std::size_t item, auto& lease) {
            const std::uint64_t span = first + item;
            Result& result = results[item];
            for (std::uint64_t done = 0; done < spans_.blocks(span); done += step) {
              const std::uint64_t block = spans_.first_block(span) + done;
              const std::uint64_t blocks = std::min(step, spans_.blocks(span) - done);
              // What is hashed stays until its span is whole, to be hashed at once.
              const std::span<std::uint8_t> bytes = lease->in.span().subspan(
                  hashed ? spans_.place_of(block) : 0, spans_.bytes_of(block, blocks));
              upload.read_blocks(spans_.offset_of(block), bytes);
              result.crc = isa::kernels().crc32c(result.crc, bytes.data(), bytes.size());
              add_blocks(block, blocks, bytes, weight, Sign::kPlus, *lease);
              Added& so_far = added[static_cast<std::size_t>(span)];
              so_far.blocks += blocks;
              so_far.crc = result.crc;
            }
            if (hashed) {
              result.pieces = scheme::piece_digests(lease->in.span().first(spans_.bytes(span)));
            }
          });
      for (std::size_t i = 0; i < results.size(); ++i) {
        upload.append(results[i].crc, spans_.bytes(first + i), results[i].pieces);
      }
    }
    upload.check_whole();
  } catch (...) {
    bool spoiled = false;
    try {
      take_back(upload, weight, added, threads);
    } catch (...) {
      spoiled = true;
    }
    {
      const std::lock_guard<std::mutex> lock(guard_);
      if (!spoiled) manifest_.remove(upload.head().digest());
      note_manifest();
    }
    end(spoiled);
    throw;
  }
  end(false);
}

void Accumulator::take_back(const UploadCheck& upload, std::uint64_t weight,
                            const std::vector<Added>& added, int threads) {
  const std::uint64_t step = scheme::blocks_in_step(spans_);
  parallel_for(
      added.size(), threads,
      [&] { return Scratch(static_cast<std::size_t>(step) * spans_.block_bytes()); },
      [&](std::size_t span, Scratch& scratch) {
        std::uint32_t crc = 0;
        for (std::uint64_t done = 0; done < added[span].blocks; done += step) {
          const std::uint64_t block = spans_.first_block(span) + done;
          const std::uint64_t blocks = std::min(step, added[span].blocks - done);
          const std::span<std::uint8_t> bytes =
              scratch.in.span().first(spans_.bytes_of(block, blocks));
          upload.read_blocks(spans_.offset_of(block), bytes);
          crc = isa::kernels().crc32c(crc, bytes.data(), bytes.size());
          add_blocks(block, blocks, bytes, weight, Sign::kMinus, scratch);
        }
        // A file that somebody writes to meanwhile: what was subtracted is not what was added.
        if (crc != added[span].crc) {
          throw WireFormatError("upload: changed while it was being read");
        }
      });
}

void Accumulator::add(const Upload& upload, std::uint64_t weight, int threads) {
  scheme::check_round_id(upload.round_id(), round_, "the upload");
  scheme::check_blocks(round_, upload, threads);
  begin(upload.head(), weight);
  try {
    parallel_for(
        static_cast<std::size_t>(round_.blocks()),
        worthwhile_threads(threads, scheme::sum_us(round_, 2)), [] { return Scratch(0); },
        [&](std::size_t block, Scratch& scratch) {
          const ByteView bytes = upload.blocks().subspan(
              static_cast<std::size_t>(spans_.offset_of(block)), spans_.bytes_of(block, 1));
          add_blocks(block, 1, bytes, weight, Sign::kPlus, scratch);
        });
  } catch (...) {
    end(true);
    throw;
  }
  end(false);
}

void Accumulator::add_file(const std::string& path, std::uint64_t weight, int threads) {
  UploadReader reader(path, round_, 1);
  add_checked(reader.check(), weight, threads);
}

std::unique_ptr<Incoming> Accumulator::receive(std::uint64_t total_bytes,
                                               const std::string& folder) {
  const bool is_signed =
      scheme::check_upload_size(total_bytes, round_) != scheme::SignatureKind::kNone;
  if (is_signed != round_.has_roster()) {
    throw WireFormatError(round_.has_roster()
                              ? "upload: its size is that of an unsigned one, but this round has a "
                                "roster: every upload must be signed"
                              : "upload: its size is that of a signed one, but this round has no "
                                "roster to check signatures with");
  }
  {
    const std::lock_guard<std::mutex> lock(guard_);
    check_usable();
  }
  if (arriving_.fetch_add(1) >= round_.cipher().clients()) {
    --arriving_;
    throw RoundError(std::to_string(round_.cipher().clients()) +
                     " uploads are arriving already, as many as the plan has clients; finish or "
                     "drop one first");
  }
  try {
    return std::make_unique<Incoming>(*this, total_bytes, folder);
  } catch (...) {
    --arriving_;
    throw;
  }
}

Aggregate Accumulator::finish() {
  std::unique_lock<std::mutex> lock(guard_);
  if (!process_.is_here() && adding_ != 0) {  // perhaps by a thread that is in the parent only
    throw RoundError(
        "an upload is being added, or was when this process was forked; let all threads end before "
        "the fork, or add the uploads to a new accumulator here");
  }
  idle_.wait(lock, [&] { return adding_ == 0; });
  check_usable();
  check_enough(manifest_);
  finished_ = true;
  Aggregate sum(std::exchange(manifest_, Manifest(round_)), std::move(blocks_));
  note_manifest();
  return sum;
}

Incoming::Incoming(Accumulator& owner, std::uint64_t total_bytes, const std::string& folder)
    : owner_(owner), total_(total_bytes) {
  if (total_ > kSpoolInMemory) spool_ = std::make_unique<SpoolFile>(folder);
}

Incoming::~Incoming() { --owner_.arriving_; }

std::uint64_t Incoming::received_bytes() const {
  const std::lock_guard<std::mutex> lock(guard_);
  return received_;
}

void Incoming::refuse_closed() const {
  throw RoundError("this upload is finished and takes no more pieces");
}

void Incoming::make_room(std::uint64_t begin, std::uint64_t end) {
  if (spool_) return;
  const auto last = static_cast<std::size_t>((end - 1) / kPageBytes);
  if (pages_.empty()) pages_.resize(static_cast<std::size_t>((total_ - 1) / kPageBytes + 1));
  for (auto page = static_cast<std::size_t>(begin / kPageBytes); page <= last; ++page) {
    if (!pages_[page]) pages_[page] = std::make_unique<std::uint8_t[]>(kPageBytes);
  }
}

template <typename F>
void Incoming::for_each_page(std::uint64_t offset, std::size_t bytes, F f) const {
  for (std::size_t done = 0; done < bytes;) {
    const auto at = static_cast<std::size_t>(offset + done);
    const std::size_t within = at % kPageBytes;
    const std::size_t count = std::min(kPageBytes - within, bytes - done);
    f(std::span(pages_[at / kPageBytes].get() + within, count), done);
    done += count;
  }
}

void Incoming::store(std::uint64_t offset, ByteView bytes) {
  if (spool_) return spool_->write_at(offset, bytes);
  for_each_page(offset, bytes.size(), [&](std::span<std::uint8_t> page, std::size_t done) {
    std::memcpy(page.data(), bytes.data() + done, page.size());
  });
}

void Incoming::load(std::uint64_t offset, std::span<std::uint8_t> out) const {
  if (spool_) return spool_->read_at(offset, out);
  for_each_page(offset, out.size(), [&](std::span<const std::uint8_t> page, std::size_t done) {
    std::memcpy(out.data() + done, page.data(), page.size());
  });
}

void Incoming::compare(std::uint64_t offset, ByteView bytes) const {
  Bytes before(std::min<std::size_t>(bytes.size(), std::size_t{1} << 18));
  while (!bytes.empty()) {
    const std::size_t part = std::min(bytes.size(), before.size());
    load(offset, std::span(before).first(part));
    if (std::memcmp(before.data(), bytes.data(), part) != 0) {
      throw WireFormatError("upload: a piece at byte " + shown(offset) +
                            " came twice with different bytes");
    }
    offset += part;
    bytes = bytes.subspan(part);
  }
}

void Incoming::write(std::uint64_t offset, ByteView bytes) {
  if (offset > total_ || bytes.size() > total_ - offset) {
    throw WireFormatError("upload: a piece of " + std::to_string(bytes.size()) + " bytes at byte " +
                          shown(offset) + " goes beyond the " + std::to_string(total_) +
                          " bytes of the upload");
  }
  if (bytes.empty()) return;
  const std::uint64_t end = offset + bytes.size();
  std::vector<std::pair<std::uint64_t, std::uint64_t>> fresh;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> known;
  {
    const std::lock_guard<std::mutex> lock(guard_);
    if (closed_) refuse_closed();
    // The runs that overlap or touch [offset, end) are joined with it to one.
    auto at = runs_.upper_bound(offset);
    if (at != runs_.begin() && std::prev(at)->second >= offset) --at;
    std::uint64_t from = offset;
    std::uint64_t joined_begin = offset;
    std::uint64_t joined_end = end;
    auto stop = at;
    for (; stop != runs_.end() && stop->first <= end; ++stop) {
      const std::uint64_t begin = std::max(stop->first, offset);
      const std::uint64_t until = std::min(stop->second, end);
      if (begin > from) fresh.emplace_back(from, begin);
      if (until > begin) known.emplace_back(begin, until);
      from = std::max(from, until);
      joined_begin = std::min(joined_begin, stop->first);
      joined_end = std::max(joined_end, stop->second);
    }
    if (from < end) fresh.emplace_back(from, end);
    if (at == stop && runs_.size() >= kMostRuns) {
      throw WireFormatError("upload: more than " + std::to_string(kMostRuns) +
                            " separate pieces; send larger ones, or nearer to their order");
    }
    for (const auto& run : fresh) make_room(run.first, run.second);
    if (!fresh.empty()) {
      runs_.erase(at, stop);
      runs_.emplace(joined_begin, joined_end);
      ++writing_;
    }
  }
  const auto part = [&](const std::pair<std::uint64_t, std::uint64_t>& run) {
    return bytes.subspan(static_cast<std::size_t>(run.first - offset),
                         static_cast<std::size_t>(run.second - run.first));
  };
  if (!fresh.empty()) {
    std::uint64_t stored = 0;
    try {
      for (const auto& run : fresh) {
        store(run.first, part(run));
        stored += run.second - run.first;
      }
    } catch (...) {  // a full disk: what is noted as received is not there
      const std::lock_guard<std::mutex> lock(guard_);
      closed_ = true;
      --writing_;
      written_.notify_all();
      throw;
    }
    const std::lock_guard<std::mutex> lock(guard_);
    received_ += stored;
    --writing_;
    written_.notify_all();
  }
  if (known.empty()) return;
  std::unique_lock<std::mutex> lock(guard_);
  // What is compared may still be on its way from another thread. Who waits here writes nothing.
  written_.wait(lock, [&] { return writing_ == 0; });
  if (closed_) refuse_closed();
  ++comparing_;
  lock.unlock();
  const auto done = [&] {
    const std::lock_guard<std::mutex> again(guard_);
    --comparing_;
    written_.notify_all();
  };
  try {
    for (const auto& run : known) compare(run.first, part(run));
  } catch (...) {
    done();
    throw;
  }
  done();
}

void Incoming::finish(std::uint64_t weight, int threads) {
  {
    std::unique_lock<std::mutex> lock(guard_);
    if (closed_) refuse_closed();
    written_.wait(lock, [&] { return writing_ == 0; });
    if (closed_) refuse_closed();
    if (received_ != total_) {
      throw WireFormatError("upload: truncated: " + std::to_string(received_) + " of " +
                            std::to_string(total_) + " bytes have arrived");
    }
    closed_ = true;
  }
  UploadCheck check(
      owner_.round_, total_,
      [this](std::uint64_t offset, std::span<std::uint8_t> out) { load(offset, out); });
  owner_.add_checked(check, weight, threads);
  // A piece that came again may still be compared with what is here.
  std::unique_lock<std::mutex> lock(guard_);
  written_.wait(lock, [&] { return comparing_ == 0; });
  spool_.reset();
  pages_.clear();
}

}  // namespace veilsum::aggregate
