// Layer: scheme. An output file that can be made in several runs. Beside the unfinished file stands
// a journal of what is done; with it, a run that was killed goes on where it stopped. The journal
// may hold secrets (the seeds of an upload): it is created with mode 0600, locked against a second
// process, and overwritten before it is removed.
//
// The journal: the 8 bytes "VSJRNL2\n", then records (record_frames.h). A last record that a crash
// cut short does not count; everything else that is not whole is damage. The first record says what
// the output is made of, and which file this journal is: a copy, or one that was moved to go on for
// another output, is refused.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/file_stream.h"
#include "base/process.h"

namespace veilsum::scheme {

/// One fact that must be the same in every run of an output, and how to name it in a message.
struct JournalFact {
  std::string what;  ///< "the input file changed", ...
  Bytes value;
};

/// Record storage. Appending is durable when append() returns.
class Journal {
 public:
  /// Opens or creates `path` and locks it.
  /// @throws ParameterError when another process holds it, others can read it, it is no journal, or
  ///         it is damaged
  explicit Journal(std::string path);
  ~Journal();

  const std::vector<Bytes>& records() const noexcept { return records_; }
  /// The records were looked at: wipes them from memory.
  void forget();
  /// @param payload not empty
  void append(ByteView payload);
  /// Which file this is, for comparing: its name, links followed, and origin_of().
  Bytes place() const;
  /// Overwrites the file, removes it; in a forked child does nothing.
  void erase();

 private:
  void read_records();

  std::string path_;
  Descriptor file_;
  const ProcessMark process_;
  std::uint64_t end_ = 0;
  std::vector<Bytes> records_;
};

/// An OutputFile with a journal when it is to be resumable, without one when not.
class ResumableOutput {
 public:
  /// @param output a link is followed
  /// @param facts compared with those of the run that is continued
  /// @param secret stored in a new journal; of a continued one, what the first run stored
  /// @throws ParameterError when a journal is there and `resume` is false, or its facts differ
  ResumableOutput(const std::string& output, std::uint64_t bytes, bool resume,
                  const std::vector<JournalFact>& facts, std::span<std::uint8_t> secret = {});
  ~ResumableOutput();

  OutputFile& file() noexcept { return *file_; }
  bool journaled() const noexcept { return journal_ != nullptr; }
  /// Calls read(record) for each record of earlier runs, in order; none for a new output. They are
  /// forgotten then.
  /// @throws ParameterError, with the remedy, where `read` finds one wrong (WireFormatError)
  void read_history(const std::function<void(ByteView)>& read);
  /// Durable; does nothing without a journal.
  void record(ByteView payload);
  /// The output takes its name; the journal is wiped.
  void commit();
  /// Nothing of this run is worth keeping: removes output and journal.
  void discard() noexcept;

  static std::string journal_path(const std::string& path) { return path + ".journal"; }
  static std::string part_path(const std::string& path) { return path + ".part"; }

 private:
  /// Wipes them from memory.
  void forget_history() noexcept;

  std::string journal_name_;
  std::unique_ptr<Journal> journal_;
  std::vector<Bytes> history_;
  std::unique_ptr<OutputFile> file_;
};

}  // namespace veilsum::scheme
