// Layer: scheme. What an authority has opened, so that no round is opened twice for different sums.
#pragma once

#include <map>
#include <mutex>
#include <string>

#include "base/bytes.h"
#include "base/process.h"

namespace veilsum::scheme {

/// Round id -> digest of the manifest that was opened. Kept in memory, and in an append-only file
/// once attached to one. Thread-safe within the process; across processes the file is locked
/// while an entry is decided. Without a file, it is of the process that made it: a forked child has
/// a copy, and could open what its parent opens otherwise.
class OpeningLedger {
 public:
  /// Reads `path` when it exists and appends to it from now on, together with what is in memory.
  /// Where nothing can be written and nothing is to be, only remembers the path: record() will
  /// fail.
  /// @throws WireFormatError when the file is not a ledger
  void attach(const std::string& path);

  /// Allows the opening and records it durably, or throws.
  /// @throws RoundError when this round was opened for another manifest; in a forked child without
  ///         a file
  /// @return false when the same was recorded before
  bool record(const Digest& round_id, const Digest& manifest);

 private:
  void read_file_locked();

  std::mutex guard_;
  std::map<Digest, Digest> opened_;
  std::string path_;
  const ProcessMark process_;
};

}  // namespace veilsum::scheme
