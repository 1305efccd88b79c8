// Layer: scheme. The file under every ledger: what an identity has done and must not do twice. One
// append-only file of records (record_frames.h) behind a header that names the kind of ledger and
// whose it is. This file locks, checks, reads, repairs and appends; ledger.h and member_ledger.h
// know what the records mean.
//
// The lock is on the file itself, so two names that lead to it (a link, another folder mounted
// there) are one ledger. A hard link is refused all the same: whoever moves or copies one of the
// names takes it for a ledger of its own.
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>

#include "base/bytes.h"
#include "base/file_stream.h"
#include "base/process.h"

namespace veilsum::scheme {

enum class LedgerKind : std::uint8_t {
  kOpenedRounds = 1,  ///< of a secret key
  kMember = 2,        ///< of a committee's member
};

/// Magic, kind, three zeros, owner, CRC-32C.
inline constexpr std::size_t kLedgerHeaderBytes = 8 + 1 + 3 + 32 + 4;

/// Keeps two threads out of a ledger's memory, and a forked child out of what a thread of its
/// parent was changing.
class LedgerGuard {
 public:
  /// @param whose "this key", for the message
  /// @throws RoundError in a child that was forked while another thread held the guard: nobody
  /// there
  ///         will ever let go of it, and what it was about to change may be half changed
  std::unique_lock<std::mutex> lock(const char* whose);
  /// False in a child forked since the ledger was made.
  bool is_here() const noexcept { return process_.is_here(); }

 private:
  std::mutex guard_;
  const ProcessMark process_;
};

/// One file. Not thread-safe: its ledger guards it.
class LedgerFile {
 public:
  enum class Access {
    kRead,   ///< to know what is there; a file that may only be read will do
    kWrite,  ///< to append
    kCreate  ///< to append; makes the file, or finishes one that a crash left without its header
  };

  /// Touches nothing yet.
  /// @param path absolute, no link (resolved_output())
  /// @param owner of a key the 16 bytes of its id and 16 zeros, else the identity's id
  LedgerFile(LedgerKind kind, const Digest& owner, std::string path);

  const std::string& path() const noexcept { return path_; }

  /// The file, open and locked against other processes and threads, for one scope.
  class Session {
   public:
    /// Whether this session made the file.
    bool made_file() const noexcept { return made_; }
    /// Reads all records when the file is not as this object last saw it, else nothing.
    /// visit(where, payload) is called in order; the caller gathers, checks, and then calls
    /// accept().
    /// @return whether it read
    /// @throws WireFormatError when the file is damaged; nothing was changed then
    bool read(const std::function<void(std::uint64_t, ByteView)>& visit);
    /// What was read counts: drops what a crash left of a last record, and has on disk what another
    /// process may have died before syncing.
    void accept();
    /// Appends a record, durable when this returns. Where it fails, the file is as it was.
    /// @return where it stands
    /// @throws std::system_error
    std::uint64_t append(ByteView payload);
    /// The payload of the record at `at`, which read() or append() named.
    /// @throws WireFormatError when it is no longer there
    Bytes payload_at(std::uint64_t at) const;

   private:
    friend class LedgerFile;
    Session(LedgerFile& owner, Descriptor file, bool writable, bool made);

    LedgerFile& owner_;
    Descriptor file_;
    bool writable_;
    bool made_;
    FileIdentity identity_;
    std::uint64_t end_ = 0;  // behind the last record; known once read
  };

  /// @throws std::system_error ENOENT, with the remedy, when the file is missing; others as the
  ///         operating system says
  /// @throws ParameterError when it is no regular file, others can access it, or it has several
  /// names
  /// @throws WireFormatError when it is no ledger, or of another kind
  /// @throws KeyMismatchError when it is another identity's
  Session open(Access access);

 private:
  Bytes header() const;
  void check_header(int fd, std::uint64_t size) const;
  [[noreturn]] void refuse_missing() const;

  LedgerKind kind_;
  Digest owner_;
  std::string path_;
  std::optional<FileIdentity> seen_;  // as accept() or append() left it
  std::uint64_t end_ = 0;             // behind the last record, then
};

/// Whether an error says that something cannot be written here, by this user.
bool cannot_write(const std::system_error& error);

}  // namespace veilsum::scheme
