// Layer: scheme. What an authority has opened, so that no round is opened twice for different sums.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "base/bytes.h"
#include "scheme/ledger_file.h"

namespace veilsum::scheme {

/// Round id -> digest of the manifest that was opened. Kept in memory, and in an append-only file
/// once it has one (ledger_file.h). Thread-safe within the process; across processes the file is
/// locked while an entry is decided. Without a file, it is of the process that made it: a forked
/// child has a copy, and could open what its parent opens otherwise.
///
/// It has one file for as long as it lives, and a key file that is saved or loaded has a ledger
/// beside it from the first moment: so a ledger that is not there was lost, and nothing is opened.
class OpeningLedger {
 public:
  /// @param owner see LedgerFile
  explicit OpeningLedger(const Digest& owner) : owner_(owner) {}

  /// Goes on with the ledger that must stand at `path`; a link to it is followed.
  /// Where it may only be read, this does no more; record() will fail.
  /// @throws as LedgerFile::open(); ParameterError when it has a file, or opened something
  void attach(const std::string& path);

  /// For a key file that is about to be saved: a ledger at `path` from now on. The first time, that
  /// is a new file, or one of this key that is there, and what is in memory joins it. Later the
  /// ledger stays where it is, and `path` becomes a link to it, so that both key files share it.
  /// @throws as LedgerFile::open(); ParameterError when another ledger of this key, or anything
  ///         else, is in the way; RoundError in a forked child that has no file
  /// @return whether there was nothing at `path` before
  bool keep_at(const std::string& path);

  /// The key file could not be saved after all: removes what keep_at() made at `path`.
  void take_back(const std::string& path) noexcept;

  /// Allows the opening and records it durably, or throws.
  /// @throws RoundError when this round was opened for another manifest; in a forked child without
  ///         a file; when the file was exchanged for an older one
  /// @throws as LedgerFile::open()
  /// @return false when the same was recorded before
  bool record(const Digest& round_id, const Digest& manifest);

 private:
  using Rounds = std::map<Digest, Digest>;

  void refresh(LedgerFile::Session& session);
  void append(LedgerFile::Session& session, const Digest& round_id, const Digest& manifest);
  void refuse_other(const Digest& round_id, const Digest& manifest) const;

  LedgerGuard guard_;
  Digest owner_;
  Rounds opened_;
  std::unique_ptr<LedgerFile> file_;
};

}  // namespace veilsum::scheme
