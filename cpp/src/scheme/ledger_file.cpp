// Layer: scheme. See ledger_file.h.
#include "scheme/ledger_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <system_error>
#include <utility>

#include "isa/dispatch.h"
#include "scheme/record_frames.h"
#include "veilsum/errors.h"

namespace veilsum::scheme {
namespace {

constexpr char kMagic[8] = {'V', 'S', 'L', 'E', 'D', 'G', '1', '\n'};

struct KindWords {
  const char* what;     // it holds
  const char* owner;    // whose it is
  const char* restore;  // when it is lost
};

const KindWords& words_of(LedgerKind kind) {
  static constexpr KindWords kWords[] = {
      {"ledger of opened rounds", "key",
       "put it back beside its key (key and ledger move together); if it is lost for good, retire "
       "the key and make a new one"},
      {"member's ledger", "identity",
       "put it back where it was; if it is lost for good, retire the identity and make a new one"}};
  return kWords[static_cast<std::size_t>(kind) - 1];
}

}  // namespace

bool cannot_write(const std::system_error& error) {
  const std::error_code code = error.code();
  return code == std::errc::permission_denied || code == std::errc::read_only_file_system ||
         code == std::errc::operation_not_permitted;
}

std::unique_lock<std::mutex> LedgerGuard::lock(const char* whose) {
  std::unique_lock<std::mutex> held(guard_, std::defer_lock);
  if (process_.is_here()) {
    held.lock();
  } else if (!held.try_lock()) {
    throw RoundError(std::string(whose) +
                     " was being used in another thread when this process was forked; load it here "
                     "anew");
  }
  return held;
}

LedgerFile::LedgerFile(LedgerKind kind, const Digest& owner, std::string path)
    : kind_(kind), owner_(owner), path_(std::move(path)) {}

Bytes LedgerFile::header() const {
  ByteWriter out(kLedgerHeaderBytes);
  out.text({kMagic, sizeof kMagic});
  out.u8(static_cast<std::uint8_t>(kind_));
  out.raw(Bytes(3));
  out.raw(owner_);
  out.u32(isa::kernels().crc32c(0, out.bytes().data(), out.size()));
  return out.take();
}

void LedgerFile::refuse_missing() const {
  const KindWords& words = words_of(kind_);
  throw std::system_error(
      ENOENT, std::generic_category(),
      "the " + std::string(words.what) + " " + path_ + " of " + words.owner + " " +
          short_hex(owner_) +
          " is missing, and without it what was done could be done again: " + words.restore);
}

void LedgerFile::check_header(int fd, std::uint64_t size) const {
  const KindWords& words = words_of(kind_);
  const Bytes expected = header();
  Bytes found(static_cast<std::size_t>(std::min<std::uint64_t>(size, expected.size())));
  found.resize(read_all_at(fd, 0, found, path_));
  if (found == expected) return;
  std::uint32_t stored = 0;
  const std::size_t checked = expected.size() - sizeof stored;
  if (found.size() == expected.size()) std::memcpy(&stored, found.data() + checked, sizeof stored);
  constexpr std::size_t kOwnerAt = sizeof kMagic + 4;
  if (found.size() == expected.size() &&
      isa::kernels().crc32c(0, found.data(), checked) == stored &&
      std::equal(found.begin(), found.begin() + kOwnerAt, expected.begin())) {
    throw KeyMismatchError(path_ + " is the " + words.what + " of another " + words.owner +
                           "; move it away together with what it belongs to");
  }
  throw WireFormatError(path_ + " is not a " + words.what + ", or its header is damaged; " +
                        words.restore);
}

LedgerFile::Session LedgerFile::open(Access access) {
  constexpr int kHow = O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;  // a pipe is refused, not waited for
  const int create = access == Access::kCreate ? O_CREAT : 0;
  bool writable = true;
  Descriptor file(::open(path_.c_str(), O_RDWR | create | kHow, 0600));
  if (file.get() < 0 && access == Access::kRead &&
      (errno == EACCES || errno == EPERM || errno == EROFS)) {
    writable = false;
    file = Descriptor(::open(path_.c_str(), O_RDONLY | kHow));
  }
  if (file.get() < 0) {
    if (errno == ENOENT && access != Access::kCreate) refuse_missing();
    throw_errno("cannot open", path_);
  }
  while (::flock(file.get(), LOCK_EX) != 0) {
    if (errno != EINTR) throw_errno("cannot lock", path_);
  }
  struct stat status{};
  struct stat named{};
  if (::fstat(file.get(), &status) != 0) throw_errno("cannot stat", path_);
  if (!S_ISREG(status.st_mode)) throw ParameterError(path_ + " is not a regular file");
  if ((status.st_mode & 077) != 0) {
    throw ParameterError(path_ +
                         " is a ledger that others can access; run chmod 600 on it, and see that "
                         "nobody changed it");
  }
  if (::lstat(path_.c_str(), &named) != 0 || named.st_dev != status.st_dev ||
      named.st_ino != status.st_ino) {
    if (status.st_nlink == 0) refuse_missing();
    throw ParameterError(path_ + " was exchanged for another file just now; look, and try again");
  }
  if (status.st_nlink != 1) {
    throw ParameterError(path_ + " has " + std::to_string(status.st_nlink) +
                         " names (hard links); a ledger has one: remove the others");
  }
  const auto size = static_cast<std::uint64_t>(status.st_size);
  const Bytes first = header();
  const bool make = access == Access::kCreate && size < first.size();
  if (make) {
    // New, or a crash cut it short before anything could be recorded.
    Bytes found(static_cast<std::size_t>(size));
    found.resize(read_all_at(file.get(), 0, found, path_));
    const bool zeros = std::all_of(found.begin(), found.end(), [](auto b) { return b == 0; });
    if (!zeros && !std::equal(found.begin(), found.end(), first.begin())) {
      check_header(file.get(), size);
    }
    try {
      write_all_at(file.get(), 0, first, path_);
      if (::fsync(file.get()) != 0) throw_errno("cannot sync", path_);
    } catch (...) {
      if (size == 0) ::unlink(path_.c_str());  // nothing was there, and nothing half-made stays
      throw;
    }
    sync_folder_of(path_);
  } else {
    check_header(file.get(), size);
  }
  return {*this, std::move(file), writable, make};
}

LedgerFile::Session::Session(LedgerFile& owner, Descriptor file, bool writable, bool made)
    : owner_(owner),
      file_(std::move(file)),
      writable_(writable),
      made_(made),
      identity_(identity_of(file_.get(), owner.path_)) {}

bool LedgerFile::Session::read(const std::function<void(std::uint64_t, ByteView)>& visit) {
  if (owner_.seen_ == identity_) {
    end_ = owner_.end_;
    return false;
  }
  const RecordScan scan =
      scan_records(file_.get(), kLedgerHeaderBytes, identity_.size, owner_.path_, visit);
  if (scan.damaged) {
    const KindWords& words = words_of(owner_.kind_);
    throw WireFormatError(owner_.path_ + " is damaged at byte " + std::to_string(scan.end) +
                          " and not a ledger that can be trusted; restore it, or retire this " +
                          words.owner);
  }
  end_ = scan.end;
  return true;
}

void LedgerFile::Session::accept() {
  const std::string& path = owner_.path_;
  if (owner_.seen_ == identity_ || !writable_) return;  // the next one that may, does
  if (end_ != identity_.size && ::ftruncate(file_.get(), static_cast<off_t>(end_)) != 0) {
    throw_errno("cannot repair", path);
  }
  if (::fsync(file_.get()) != 0) throw_errno("cannot sync", path);
  sync_folder_of(path);
  owner_.seen_ = identity_ = identity_of(file_.get(), path);
  owner_.end_ = end_;
}

std::uint64_t LedgerFile::Session::append(ByteView payload) {
  const std::string& path = owner_.path_;
  const std::uint64_t at = end_;
  if (at == 0) throw std::logic_error("a ledger is read before something is appended");
  const SecretBuffer<std::uint8_t> record = frame_record(at, payload);
  try {
    write_all_at(file_.get(), at, record.span(), path);
    if (::fsync(file_.get()) != 0) throw_errno("cannot sync", path);
  } catch (...) {
    // It never counted. What cannot be taken back here is a record that was cut short, or one that
    // says more than was done.
    owner_.seen_.reset();
    (void)!::ftruncate(file_.get(), static_cast<off_t>(at));
    throw;
  }
  owner_.end_ = at + record.size();
  end_ = owner_.end_;
  owner_.seen_ = identity_ = identity_of(file_.get(), path);
  return at;
}

Bytes LedgerFile::Session::payload_at(std::uint64_t at) const {
  std::optional<Bytes> found;
  const std::string& path = owner_.path_;
  std::uint8_t head[4];
  if (read_all_at(file_.get(), at, head, path) == sizeof head) {
    std::uint32_t length = 0;
    std::memcpy(&length, head, sizeof length);
    const std::uint64_t end = at + kRecordHead + length + kRecordTail;
    if (end <= identity_.size) {
      scan_records(file_.get(), at, end, path, [&](std::uint64_t, ByteView payload) {
        found = Bytes(payload.begin(), payload.end());
      });
    }
  }
  if (!found) {
    throw WireFormatError(path + " is damaged at byte " + std::to_string(at) +
                          "; restore it, or retire this " + words_of(owner_.kind_).owner);
  }
  return std::move(*found);
}

}  // namespace veilsum::scheme
