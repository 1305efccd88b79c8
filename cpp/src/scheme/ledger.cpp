// Layer: scheme. See ledger.h. A record is a round id and the digest of what was opened.
#include "scheme/ledger.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include "base/file_stream.h"
#include "veilsum/errors.h"

namespace veilsum::scheme {
namespace {

constexpr std::size_t kRecordBytes = 2 * sizeof(Digest);

bool is_there(const std::string& path) {
  struct stat status{};
  return ::lstat(path.c_str(), &status) == 0;
}

bool is_link(const std::string& path) {
  struct stat status{};
  return ::lstat(path.c_str(), &status) == 0 && S_ISLNK(status.st_mode);
}

}  // namespace

void OpeningLedger::refresh(LedgerFile::Session& session) {
  Rounds found;
  if (!session.read([&](std::uint64_t at, ByteView payload) {
        Digest round_id, manifest;
        if (payload.size() != kRecordBytes) {
          throw WireFormatError(file_->path() + ": the record at byte " + std::to_string(at) +
                                " is not one of a ledger of opened rounds; restore the file, or "
                                "retire this key");
        }
        std::memcpy(round_id.data(), payload.data(), sizeof(Digest));
        std::memcpy(manifest.data(), payload.data() + sizeof(Digest), sizeof(Digest));
        found.emplace(round_id, manifest);  // the first counts
      })) {
    return;
  }
  for (const auto& [round_id, manifest] : opened_) {
    const auto there = found.find(round_id);
    if (there == found.end() || there->second != manifest) {
      throw RoundError(file_->path() + " no longer lists round " + short_hex(round_id) +
                       " as it was opened: it was exchanged for an older ledger, so restore it");
    }
  }
  session.accept();
  opened_ = std::move(found);
}

void OpeningLedger::append(LedgerFile::Session& session, const Digest& round_id,
                           const Digest& manifest) {
  std::uint8_t payload[kRecordBytes];
  std::memcpy(payload, round_id.data(), sizeof(Digest));
  std::memcpy(payload + sizeof(Digest), manifest.data(), sizeof(Digest));
  session.append(payload);
  opened_.emplace(round_id, manifest);
}

void OpeningLedger::refuse_other(const Digest& round_id, const Digest& manifest) const {
  const auto at = opened_.find(round_id);
  if (at == opened_.end() || at->second == manifest) return;
  throw RoundError(
      "round " + short_hex(round_id) +
      " was opened before for another set of uploads, or for other blocks of theirs; the "
      "difference of two sums would reveal single updates, so start a new round (the "
      "same sum is opened again as it was the first time: from the aggregate, or from "
      "its request)");
}

void OpeningLedger::attach(const std::string& path) {
  const std::unique_lock<std::mutex> held = guard_.lock("this key");
  if (file_ || !opened_.empty()) throw ParameterError("only a new ledger goes on with a file");
  file_ =
      std::make_unique<LedgerFile>(LedgerKind::kOpenedRounds, owner_, resolved_destination(path));
  try {
    LedgerFile::Session session = file_->open(LedgerFile::Access::kRead);
    refresh(session);
  } catch (...) {
    file_.reset();
    throw;
  }
}

bool OpeningLedger::keep_at(const std::string& path) {
  const std::unique_lock<std::mutex> held = guard_.lock("this key");
  if (!file_) {
    if (!guard_.is_here()) {
      throw RoundError(
          "this key was made in the process that this one was forked from, which may open rounds "
          "that a file of this process would not list; save the key there, and load it here");
    }
    file_ =
        std::make_unique<LedgerFile>(LedgerKind::kOpenedRounds, owner_, resolved_destination(path));
    Rounds before = std::exchange(opened_, {});
    bool made = false;
    try {
      // A link names a ledger that was there: it is not made anew behind it.
      LedgerFile::Session session =
          file_->open(is_link(path) ? LedgerFile::Access::kWrite : LedgerFile::Access::kCreate);
      made = session.made_file();
      refresh(session);
      for (const auto& [round_id, manifest] : before) {
        if (!opened_.contains(round_id)) append(session, round_id, manifest);
      }
    } catch (...) {  // what was opened stays known
      if (made) ::unlink(file_->path().c_str());
      opened_.merge(before);
      file_.reset();
      throw;
    }
    return made;
  }
  (void)file_->open(LedgerFile::Access::kRead);  // a link to nothing helps nobody
  if (!is_there(path)) {
    if (::symlink(file_->path().c_str(), path.c_str()) != 0) {
      throw_errno("cannot make the link to the ledger " + file_->path() + ",", path);
    }
    sync_folder_of(path);
    return true;
  }
  if (resolved_destination(path) == file_->path()) return false;
  throw ParameterError("this key's ledger is " + file_->path() + ", and " + path +
                       " is in the way of a link to it; give the key another name, or move that "
                       "file away if its key is no longer used");
}

void OpeningLedger::take_back(const std::string& path) noexcept {
  try {
    const std::unique_lock<std::mutex> held = guard_.lock("this key");
    if (file_ && path == file_->path()) file_.reset();
    ::unlink(path.c_str());
  } catch (...) {  // NOLINT(bugprone-empty-catch): an error is on its way already
  }
}

bool OpeningLedger::record(const Digest& round_id, const Digest& manifest) {
  const std::unique_lock<std::mutex> held = guard_.lock("this key");
  refuse_other(round_id, manifest);
  if (!file_) {
    if (!guard_.is_here()) {
      throw RoundError(
          "this key was made in the process that this one was forked from, and which rounds it has "
          "opened is known to neither alone; save the key there, and load it in each process");
    }
    return opened_.emplace(round_id, manifest).second;
  }
  LedgerFile::Session session = [&] {
    try {
      return file_->open(LedgerFile::Access::kWrite);
    } catch (const std::system_error& error) {
      if (!cannot_write(error)) throw;
      throw std::system_error(error.code(),
                              "this opening must be recorded in " + file_->path() +
                                  ", which cannot be written; move the key and its .opened file to "
                                  "a folder that can");
    }
  }();
  refresh(session);
  refuse_other(round_id, manifest);
  if (opened_.contains(round_id)) return false;
  append(session, round_id, manifest);
  return true;
}

}  // namespace veilsum::scheme
