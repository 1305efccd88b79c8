// Layer: scheme. See journal.h.
#include "scheme/journal.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/wipe.h"
#include "ring/sha256.h"
#include "scheme/record_frames.h"
#include "veilsum/errors.h"

namespace veilsum::scheme {
namespace {

constexpr char kMagic[8] = {'V', 'S', 'J', 'R', 'N', 'L', '2', '\n'};

std::string remedy(const std::string& path) {
  return "; to start again, delete " + path + " and the unfinished " +
         path.substr(0, path.size() - std::strlen(".journal")) + ".part";
}

}  // namespace

Journal::Journal(std::string path) : path_(std::move(path)) {
  file_ = Descriptor(::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (file_.get() < 0) throw_errno("cannot open", path_);
  if (::flock(file_.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) throw_errno("cannot lock", path_);
    throw ParameterError("another process is at work on " + path_ +
                         "; wait for it, or write to another name");
  }
  struct stat mine{};
  struct stat named{};
  if (::fstat(file_.get(), &mine) != 0) throw_errno("cannot stat", path_);
  // The process that held the lock may have finished, and removed the file, in between.
  if (::stat(path_.c_str(), &named) != 0 || named.st_ino != mine.st_ino ||
      named.st_dev != mine.st_dev) {
    throw ParameterError("another process has just finished with " + path_ +
                         "; look, and run again");
  }
  if (!S_ISREG(mine.st_mode) || mine.st_uid != ::geteuid() || (mine.st_mode & 077) != 0) {
    throw ParameterError(path_ +
                         " may hold secrets, but it is not a file that only this user can access" +
                         remedy(path_));
  }
  read_records();
}

Journal::~Journal() { forget(); }

void Journal::read_records() {
  struct stat status{};
  if (::fstat(file_.get(), &status) != 0) throw_errno("cannot stat", path_);
  const auto size = static_cast<std::uint64_t>(status.st_size);
  char magic[sizeof kMagic];
  const bool fresh = size < sizeof kMagic;
  if (!fresh) {
    (void)read_all_at(file_.get(), 0, {reinterpret_cast<std::uint8_t*>(magic), sizeof magic},
                      path_);
    if (std::memcmp(magic, kMagic, sizeof kMagic) != 0) {
      throw ParameterError(path_ + " is not a journal of this version of Veilsum" + remedy(path_));
    }
  }
  end_ = sizeof kMagic;
  if (fresh) {
    write_all_at(file_.get(), 0, {reinterpret_cast<const std::uint8_t*>(kMagic), sizeof kMagic},
                 path_);
  } else {
    const RecordScan scan =
        scan_records(file_.get(), sizeof kMagic, size, path_, [&](std::uint64_t, ByteView payload) {
          records_.emplace_back(payload.begin(), payload.end());
        });
    // Damage is refused: to forget a record could be to forget a digest.
    if (scan.damaged) {
      forget();
      throw ParameterError(path_ + " is damaged" + remedy(path_));
    }
    end_ = scan.end;
  }
  // What a crash cut short goes, so that the next record follows the last whole one.
  if (::ftruncate(file_.get(), static_cast<off_t>(end_)) != 0) throw_errno("cannot resize", path_);
}

Bytes Journal::place() const {
  ByteWriter out;
  out.raw(origin_of(file_.get(), path_));
  out.text(resolved_destination(path_));
  return out.take();
}

void Journal::forget() {
  for (Bytes& record : records_) secure_wipe(record.data(), record.size());
  records_.clear();
}

void Journal::append(ByteView payload) {
  const SecretBuffer<std::uint8_t> record = frame_record(end_, payload);
  write_all_at(file_.get(), end_, record.span(), path_);
  if (::fsync(file_.get()) != 0) throw_errno("cannot sync", path_);
  if (end_ == sizeof kMagic) sync_folder_of(path_);
  end_ += record.size();
}

void Journal::erase() {
  if (!process_.is_here()) return;  // the lock, and the run, are the parent's
  const Bytes zeros(std::size_t{1} << 16);
  for (std::uint64_t at = 0; at < end_; at += zeros.size()) {
    const auto part = static_cast<std::size_t>(std::min<std::uint64_t>(zeros.size(), end_ - at));
    write_all_at(file_.get(), at, ByteView(zeros).first(part), path_);
  }
  if (::fsync(file_.get()) != 0) throw_errno("cannot sync", path_);
  if (::unlink(path_.c_str()) != 0 && errno != ENOENT) throw_errno("cannot remove", path_);
  sync_folder_of(path_);
}

ResumableOutput::ResumableOutput(const std::string& output, std::uint64_t bytes, bool resume,
                                 const std::vector<JournalFact>& facts,
                                 std::span<std::uint8_t> secret) {
  const std::string path = find_destination(output).path;  // journal and .part stand beside it
  journal_name_ = journal_path(path);
  if (!resume) {
    struct stat status{};
    if (::lstat(journal_name_.c_str(), &status) == 0) {
      throw ParameterError(journal_name_ +
                           " is left of a run that was interrupted; continue that "
                           "run with resume=True (--resume)" +
                           remedy(journal_name_));
    }
    file_ = std::make_unique<OutputFile>(path, OutputFile::temporary_name(path), bytes,
                                         OutputFile::Existing::kRefuse);
    return;
  }
  journal_ = std::make_unique<Journal>(journal_name_);
  // A copy could be continued beside the journal itself, from another input.
  std::vector<JournalFact> all{
      {"it was moved or copied from where its run began", journal_->place()}};
  all.insert(all.end(), facts.begin(), facts.end());
  // The first record: a digest of every fact, then the secret.
  ByteWriter head(32 * all.size() + secret.size());
  for (const JournalFact& fact : all) {
    head.raw(ring::labelled_hash("veilsum/journal-fact", {fact.value}));
  }
  if (journal_->records().empty()) {
    head.raw(secret);
    Bytes record = head.take();
    try {
      journal_->append(record);
    } catch (...) {
      secure_wipe(record.data(), record.size());
      throw;
    }
    secure_wipe(record.data(), record.size());
  } else {
    const Bytes& first = journal_->records().front();
    if (first.size() != head.size() + secret.size()) {
      throw ParameterError(journal_name_ + " belongs to another kind of output" +
                           remedy(journal_name_));
    }
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (std::memcmp(first.data() + 32 * i, head.bytes().data() + 32 * i, 32) != 0) {
        throw ParameterError("cannot continue from " + journal_name_ + ": " + all[i].what +
                             remedy(journal_name_));
      }
    }
    if (!secret.empty()) std::memcpy(secret.data(), first.data() + head.size(), secret.size());
    history_.assign(journal_->records().begin() + 1, journal_->records().end());
  }
  journal_->forget();
  file_ =
      std::make_unique<OutputFile>(path, part_path(path), bytes, OutputFile::Existing::kContinue);
  file_->keep();
}

ResumableOutput::~ResumableOutput() { forget_history(); }

void ResumableOutput::forget_history() noexcept {
  for (Bytes& record : history_) secure_wipe(record.data(), record.size());
  history_.clear();
}

void ResumableOutput::read_history(const std::function<void(ByteView)>& read) {
  try {
    for (const Bytes& record : history_) read(record);
  } catch (const WireFormatError& error) {
    throw ParameterError(journal_name_ + " is damaged (" + error.what() + ")" +
                         remedy(journal_name_));
  }
  forget_history();
}

void ResumableOutput::record(ByteView payload) {
  if (journal_) journal_->append(payload);
}

void ResumableOutput::commit() {
  file_->commit();
  if (journal_) journal_->erase();
}

void ResumableOutput::discard() noexcept {
  if (!journal_) return;  // the file goes with its object
  try {
    file_->discard();
    journal_->erase();
  } catch (...) {  // NOLINT(bugprone-empty-catch): an error is on its way already
  }
}

}  // namespace veilsum::scheme
