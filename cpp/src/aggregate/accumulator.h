// Layer: aggregate. The sum of uploads as they arrive: whole, in files, or in pieces. It holds one
// aggregate in memory, whatever the number of clients.
//
// An upload is added in one pass, checked while it is added. When its checksum or its signed digest
// turns out wrong, what was added of it is subtracted again - exactly, modulo 2^B - and until then
// nobody can take the sum.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "aggregate/aggregate.h"
#include "aggregate/upload_reader.h"
#include "base/file_stream.h"
#include "base/process.h"

namespace veilsum::aggregate {

class Incoming;

/// Thread-safe: uploads may be added from any thread, in any order, several at a time.
class Accumulator {
 public:
  /// @param verifier required when the round has a roster; must outlive the accumulator
  Accumulator(const scheme::Round& round, const scheme::SignatureVerifier* verifier);
  ~Accumulator();

  const scheme::Round& round() const noexcept { return round_; }

  /// @param weight omega_k >= 1
  /// @throws RoundError for another round's upload, a duplicate, or a signature that does not hold
  /// @throws HeadroomError when the weights would exceed the plan's
  void add(const scheme::Upload& upload, std::uint64_t weight, int threads);
  /// Adds an upload from a file, in portions.
  /// @throws as add(); WireFormatError for a damaged file; the sum is then as it was
  void add_file(const std::string& path, std::uint64_t weight, int threads);
  /// Prepares for an upload that arrives in pieces. The accumulator must outlive the result.
  /// @param total_bytes the upload's size; only what uploads of this round have is admitted
  /// @param folder where pieces wait when they are more than kSpoolInMemory
  /// @throws WireFormatError for another size
  /// @throws RoundError when as many are arriving as the plan has clients
  std::unique_ptr<Incoming> receive(std::uint64_t total_bytes, const std::string& folder);

  /// Both wait for nothing: a verifier, a signal handler and a forked child may ask too.
  std::uint64_t count() const noexcept { return count_.load(std::memory_order_relaxed); }
  std::uint64_t total_weight() const noexcept {
    return total_weight_.load(std::memory_order_relaxed);
  }
  /// The sum so far, after uploads that are being added; takes no more uploads afterwards.
  /// @throws RoundError when fewer than min_clients uploads were added; in a child that was forked
  ///         while one was being added, which has half of it
  Aggregate finish();

 private:
  friend class Incoming;
  /// Fills the given bytes from an offset of the blocks on.
  using ReadBlocks = std::function<void(std::uint64_t, std::span<std::uint8_t>)>;
  enum class Sign { kPlus, kMinus };

  void add_checked(UploadCheck& upload, std::uint64_t weight, int threads);
  void note_manifest() noexcept;
  /// Registers an upload: the checks of the manifest.
  void begin(scheme::UploadHead head, std::uint64_t weight);
  void end(bool spoiled) noexcept;
  struct Scratch;
  /// Adds blocks to the sum in place, or takes them out again.
  void add_blocks(std::uint64_t block, std::uint64_t blocks, ByteView bytes, std::uint64_t weight,
                  Sign sign, Scratch& scratch);
  struct Added;
  /// @throws WireFormatError when the upload no longer has the bytes that were added: the sum is
  /// lost
  void take_back(const UploadCheck& upload, std::uint64_t weight, const std::vector<Added>& added,
                 int threads);
  void check_usable() const;
  std::mutex& lock_of(std::uint64_t block) noexcept {
    return locks_[spans_.span_of(block) % locks_.size()];
  }

  const scheme::Round round_;
  const scheme::Spans spans_;
  const scheme::SignatureVerifier* verifier_;

  // Of everything below but the blocks. Never held while the verifier is asked, which may do
  // anything: ask this accumulator, or wait for a thread that does.
  mutable std::mutex guard_;
  std::condition_variable idle_;
  scheme::Manifest manifest_;
  std::uint64_t adding_ = 0;
  bool finished_ = false;
  bool spoiled_ = false;  // manifest and blocks may disagree
  const ProcessMark process_;

  // What the manifest says, written under guard_.
  std::atomic<std::uint64_t> count_{0};
  std::atomic<std::uint64_t> total_weight_{0};
  std::atomic<std::uint64_t> arriving_{0};

  AlignedBuffer<std::uint8_t> blocks_;  // allocated by the first upload, under guard_
  std::vector<std::uint8_t> filled_;  // by block: whether it holds anything; under its span's lock
  std::array<std::mutex, 64> locks_;  // of spans
};

/// An upload on its way. Pieces may come in any order, from any thread; a piece may come again,
/// with the same bytes. Dropped before finish(), it leaves no trace in the sum.
class Incoming {
 public:
  /// Uploads up to this size wait in memory, which is taken as they come.
  static constexpr std::uint64_t kSpoolInMemory = std::uint64_t{1} << 20;
  /// Separate runs of bytes that may be missing at a time: tiny pieces in a hostile order would
  /// otherwise cost more memory than they carry.
  static constexpr std::size_t kMostRuns = 4096;

  Incoming(Accumulator& owner, std::uint64_t total_bytes, const std::string& folder);
  Incoming(const Incoming&) = delete;
  Incoming& operator=(const Incoming&) = delete;
  ~Incoming();

  std::uint64_t total_bytes() const noexcept { return total_; }
  /// Different bytes so far.
  std::uint64_t received_bytes() const;
  /// @throws WireFormatError beyond the end, for bytes that differ from those that came before at
  ///         the same place, or for too many separate pieces
  void write(std::uint64_t offset, ByteView bytes);
  /// Checks the upload and adds it; no piece may follow.
  /// @throws WireFormatError when bytes are missing or damaged; as Accumulator::add. The sum is
  /// then
  ///         as it was, and the upload is gone.
  void finish(std::uint64_t weight, int threads);

 private:
  /// Of memory that waits for pieces: what a piece of one byte costs.
  static constexpr std::size_t kPageBytes = std::size_t{1} << 12;

  /// Makes room for a piece. Under guard_.
  void make_room(std::uint64_t begin, std::uint64_t end);
  /// Calls f(the rest of the page, bytes done) for the pages of a part of the upload.
  template <typename F>
  void for_each_page(std::uint64_t offset, std::size_t bytes, F f) const;
  void store(std::uint64_t offset, ByteView bytes);
  void load(std::uint64_t offset, std::span<std::uint8_t> out) const;
  void compare(std::uint64_t offset, ByteView bytes) const;
  [[noreturn]] void refuse_closed() const;

  Accumulator& owner_;
  const std::uint64_t total_;
  std::vector<std::unique_ptr<std::uint8_t[]>> pages_;  // null before a byte of theirs has come
  std::unique_ptr<SpoolFile> spool_;
  mutable std::mutex guard_;
  std::condition_variable written_;              // or compared
  std::map<std::uint64_t, std::uint64_t> runs_;  // begin -> end of what was taken in
  std::uint64_t received_ = 0;
  std::uint64_t writing_ = 0;    // threads that store bytes of runs_
  std::uint64_t comparing_ = 0;  // threads that read what is stored
  bool closed_ = false;
};

}  // namespace veilsum::aggregate
