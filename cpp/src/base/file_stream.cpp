// Layer: base. See file_stream.h.
#include "base/file_stream.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <system_error>
#include <utility>

#include "base/entropy.h"
#include "veilsum/errors.h"

namespace veilsum {
namespace {

std::string folder_of(const std::string& path) {
  const std::size_t slash = path.find_last_of('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

FileIdentity identity_of(const struct stat& status) {
  return {static_cast<std::uint64_t>(status.st_dev),
          static_cast<std::uint64_t>(status.st_ino),
          static_cast<std::uint64_t>(status.st_size),
          static_cast<std::int64_t>(status.st_mtim.tv_sec),
          static_cast<std::int64_t>(status.st_mtim.tv_nsec),
          static_cast<std::int64_t>(status.st_ctim.tv_sec),
          static_cast<std::int64_t>(status.st_ctim.tv_nsec)};
}

/// The mode that the user wants for new files. A stricter mask stands for an instant: a file that
/// another thread makes just then is less open, never more.
mode_t ordinary_mode() {
  static std::mutex one_at_a_time;  // or one thread would take the other's mask for the user's
  const std::lock_guard<std::mutex> lock(one_at_a_time);
  const mode_t mask = ::umask(077);
  ::umask(mask);
  return 0666 & ~mask;
}

std::string read_link(const std::string& path) {
  std::string text(256, '\0');
  for (;;) {
    const ssize_t length = ::readlink(path.c_str(), text.data(), text.size());
    if (length < 0) throw_errno("cannot follow", path);
    if (static_cast<std::size_t>(length) < text.size()) {
      text.resize(static_cast<std::size_t>(length));
      break;
    }
    text.resize(2 * text.size());
  }
  return text.starts_with('/') ? text : folder_of(path) + "/" + text;
}

/// Linux refuses to open such a link (fs.protected_symlinks); it is followed by hand here.
void refuse_planted(const std::string& link, const struct stat& status) {
  struct stat folder{};
  if (::stat(folder_of(link).c_str(), &folder) != 0) throw_errno("cannot stat the folder of", link);
  const bool everybody = (folder.st_mode & S_ISVTX) != 0 && (folder.st_mode & S_IWOTH) != 0;
  if (everybody && status.st_uid != ::geteuid() && status.st_uid != folder.st_uid) {
    throw ParameterError("the output " + link +
                         " is a link that another user made in a folder that everybody can write "
                         "to; give the output another name");
  }
}

[[noreturn]] void refuse_special(const std::string& path) {
  throw ParameterError("the output " + path +
                       " is a device, a pipe or a socket; outputs are files, which appear whole or "
                       "not at all: write to a file, and copy it there");
}

void reserve(int fd, std::uint64_t bytes, const std::string& path) {
#if defined(__linux__)
  while (bytes != 0 && ::fallocate(fd, 0, 0, static_cast<off_t>(bytes)) != 0) {
    if (errno == EINTR) continue;
    if (errno != EOPNOTSUPP && errno != ENOSYS && errno != EINVAL) {
      throw_errno("cannot reserve " + std::to_string(bytes) + " bytes for", path);
    }
    break;  // this file system cannot say; a full disk shows while writing
  }
#endif
  if (::ftruncate(fd, static_cast<off_t>(bytes)) != 0) throw_errno("cannot resize", path);
}

}  // namespace

void throw_errno(const std::string& what, const std::string& path) {
  throw std::system_error(errno, std::generic_category(), what + " " + path);
}

Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
  if (this != &other) {
    if (fd_ >= 0) ::close(fd_);
    fd_ = other.release();
  }
  return *this;
}

Descriptor::~Descriptor() {
  if (fd_ >= 0) ::close(fd_);
}

int Descriptor::release() noexcept { return std::exchange(fd_, -1); }

void write_all_at(int fd, std::uint64_t offset, ByteView bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t wrote = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (wrote < 0) {
      if (errno == EINTR) continue;
      throw_errno("cannot write", path);
    }
    bytes = bytes.subspan(static_cast<std::size_t>(wrote));
    offset += static_cast<std::uint64_t>(wrote);
  }
}

std::size_t read_all_at(int fd, std::uint64_t offset, std::span<std::uint8_t> out,
                        const std::string& path) {
  std::size_t done = 0;
  while (done < out.size()) {
    const ssize_t got =
        ::pread(fd, out.data() + done, out.size() - done, static_cast<off_t>(offset + done));
    if (got < 0) {
      if (errno == EINTR) continue;
      throw_errno("cannot read", path);
    }
    if (got == 0) break;
    done += static_cast<std::size_t>(got);
  }
  return done;
}

void sync_folder_of(const std::string& path) noexcept {
  const int folder = ::open(folder_of(path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  // Some file systems refuse to sync a folder; the data itself is already on disk then.
  if (folder >= 0) {
    (void)::fsync(folder);
    ::close(folder);
  }
}

void FileIdentity::write(ByteWriter& out) const {
  out.u64(device);
  out.u64(inode);
  out.u64(size);
  out.u64(static_cast<std::uint64_t>(modified_s));
  out.u64(static_cast<std::uint64_t>(modified_ns));
  out.u64(static_cast<std::uint64_t>(changed_s));
  out.u64(static_cast<std::uint64_t>(changed_ns));
}

FileIdentity identity_of(int fd, const std::string& path) {
  struct stat status{};
  if (::fstat(fd, &status) != 0) throw_errno("cannot stat", path);
  return identity_of(status);
}

Bytes origin_of(int fd, const std::string& path) {
  struct stat status{};
  if (::fstat(fd, &status) != 0) throw_errno("cannot stat", path);
  ByteWriter out(32);
  out.u64(static_cast<std::uint64_t>(status.st_dev));
  out.u64(static_cast<std::uint64_t>(status.st_ino));
#if defined(STATX_BTIME)
  struct statx more{};
  if (::statx(fd, "", AT_EMPTY_PATH, STATX_BTIME, &more) == 0 &&
      (more.stx_mask & STATX_BTIME) != 0) {
    out.u64(static_cast<std::uint64_t>(more.stx_btime.tv_sec));
    out.u64(more.stx_btime.tv_nsec);
  }
#endif
  return out.take();
}

InputFile::InputFile(std::string path, Keep keep) : path_(std::move(path)) {
  // Not blocking: a pipe in the file's place is refused below instead of being waited for.
  Descriptor file(::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.get() < 0) throw_errno("cannot open", path_);
  struct stat status{};
  if (::fstat(file.get(), &status) != 0) throw_errno("cannot stat", path_);
  if (!S_ISREG(status.st_mode)) throw ParameterError(path_ + " is not a regular file");
  identity_ = identity_of(status);
  if (keep == Keep::kOpen) file_ = std::move(file);
}

Descriptor InputFile::open_checked() const {
  Descriptor file(::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.get() < 0) throw_errno("cannot open", path_);
  struct stat status{};
  if (::fstat(file.get(), &status) != 0) throw_errno("cannot stat", path_);
  if (!S_ISREG(status.st_mode) || identity_of(status) != identity_) {
    throw WireFormatError(path_ + " changed while it was being read");
  }
  return file;
}

void InputFile::read_at(std::uint64_t offset, std::span<std::uint8_t> out) const {
  const Descriptor opened = file_.get() < 0 ? open_checked() : Descriptor();
  const int fd = file_.get() < 0 ? opened.get() : file_.get();
  if (read_all_at(fd, offset, out, path_) != out.size()) {
    throw WireFormatError(path_ + " is truncated: it ends before byte " +
                          std::to_string(offset + out.size()));
  }
}

bool InputFile::unchanged() const noexcept {
  struct stat status{};
  const int failed =
      file_.get() >= 0 ? ::fstat(file_.get(), &status) : ::stat(path_.c_str(), &status);
  return failed == 0 && identity_of(status) == identity_;
}

Destination find_destination(const std::string& path) {
  struct stat named{};
  const bool there = ::stat(path.c_str(), &named) == 0;
  // Asked first: what /dev/stdout leads to may be a pipe, which has no name to follow.
  if (there && S_ISDIR(named.st_mode)) {
    errno = EISDIR;
    throw_errno("cannot replace", path);
  }
  if (there && !S_ISREG(named.st_mode)) refuse_special(path);
  Destination found{path, std::nullopt};
  struct stat status{};
  for (int links = 0; ::lstat(found.path.c_str(), &status) == 0;) {
    if (!S_ISLNK(status.st_mode)) {
      if (!S_ISREG(status.st_mode)) refuse_special(path);
      // A link of /proc can lead to a file whose name is gone, or another file's now.
      if (there && status.st_dev == named.st_dev && status.st_ino == named.st_ino) {
        found.before = {static_cast<mode_t>(status.st_mode & 0777), status.st_uid, status.st_gid};
        return found;
      }
      errno = ESTALE;
      throw_errno("cannot follow", path);
    }
    constexpr int kMostLinks = 40;  // as many as Linux follows
    if (++links > kMostLinks) {
      errno = ELOOP;
      throw_errno("cannot follow", path);
    }
    refuse_planted(found.path, status);
    found.path = read_link(found.path);
  }
  if (errno != ENOENT && errno != ENOTDIR) throw_errno("cannot reach", path);
  if (there) {
    errno = ESTALE;
    throw_errno("cannot follow", path);
  }
  return found;
}

std::string resolved_destination(const std::string& path) {
  const std::string found = find_destination(path).path;
  const std::string folder = folder_of(found);
  const std::unique_ptr<char, void (*)(void*)> real(::realpath(folder.c_str(), nullptr), std::free);
  if (!real) throw_errno("cannot reach", path);
  const std::string absolute = real.get();
  const std::size_t slash = found.find_last_of('/');
  const std::string name = slash == std::string::npos ? found : found.substr(slash + 1);
  return (absolute == "/" ? "" : absolute) + "/" + name;
}

void give_rights(int fd, const Destination& target, const std::string& path) {
  mode_t mode = 0;
  if (target.before) {
    struct stat mine{};
    if (::fstat(fd, &mine) != 0) throw_errno("cannot stat", path);
    const auto& [before, owner, group] = *target.before;
    mode = before;
    const bool same = mine.st_uid == owner && mine.st_gid == group;
    constexpr auto kAsItIs = static_cast<uid_t>(-1);
    if (!same && ::fchown(fd, owner, group) != 0 && mine.st_gid != group &&
        ::fchown(fd, kAsItIs, group) != 0) {
      // Rights that were meant for one group must not become another's.
      mode = (mode & 0707u) | (mode & 007u) << 3;
    }
  } else {
    mode = ordinary_mode();
  }
  if (::fchmod(fd, mode) != 0) throw_errno("cannot set the mode of", path);
}

std::string OutputFile::temporary_name(const std::string& path) {
  std::uint8_t suffix[8];
  os_entropy(suffix);
  return find_destination(path).path + "." + to_hex(suffix) + ".tmp";
}

OutputFile::OutputFile(std::string path, std::string working_name, std::uint64_t bytes,
                       Existing existing)
    : path_(std::move(path)), working_name_(std::move(working_name)) {
  (void)find_destination(path_);  // refuses now what commit() would refuse
  const int only_new = existing == Existing::kRefuse ? O_EXCL : 0;
  file_ = Descriptor(
      ::open(working_name_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | only_new, 0600));
  if (file_.get() < 0) throw_errno("cannot create", path_);
  try {
    struct stat status{};
    if (::fstat(file_.get(), &status) != 0) throw_errno("cannot stat", working_name_);
    if (!S_ISREG(status.st_mode) || status.st_uid != ::geteuid()) {
      throw ParameterError(working_name_ + " is in the way and not a file of this user");
    }
    if (::fchmod(file_.get(), 0600) != 0) throw_errno("cannot protect", working_name_);
    reserve(file_.get(), bytes, path_);
  } catch (...) {
    // What an earlier run wrote is not this one's to remove.
    if (existing == Existing::kRefuse) ::unlink(working_name_.c_str());
    throw;
  }
}

OutputFile::~OutputFile() {
  if (!done_ && !keep_ && process_.is_here()) ::unlink(working_name_.c_str());
}

void OutputFile::discard() noexcept {
  if (done_ || !process_.is_here()) return;
  ::unlink(working_name_.c_str());
  keep_ = true;  // nothing left to remove
}

void OutputFile::write_at(std::uint64_t offset, ByteView bytes) {
  write_all_at(file_.get(), offset, bytes, path_);
}

bool OutputFile::read_at(std::uint64_t offset, std::span<std::uint8_t> out) const {
  return read_all_at(file_.get(), offset, out, working_name_) == out.size();
}

void OutputFile::flush_range(std::uint64_t offset, std::uint64_t bytes) noexcept {
#if defined(__linux__)
  // Only a hint: commit() syncs, and has less to wait for.
  (void)::sync_file_range(file_.get(), static_cast<off_t>(offset), static_cast<off_t>(bytes),
                          SYNC_FILE_RANGE_WRITE);
#else
  (void)offset;
  (void)bytes;
#endif
}

void OutputFile::commit() {
  if (!process_.is_here()) {
    throw RoundError("the process was forked while it wrote " + path_ +
                     "; only the one that began finishes it");
  }
  if (::fsync(file_.get()) != 0) throw_errno("cannot sync", path_);
  const Destination target = find_destination(path_);
  give_rights(file_.get(), target, path_);
  if (::rename(working_name_.c_str(), target.path.c_str()) != 0) {
    throw_errno("cannot replace", path_);
  }
  done_ = true;
  sync_folder_of(target.path);
}

void GatheredWrites::write_at(std::uint64_t offset, ByteView bytes) {
  if (offset != offset_ + held_) flush();
  while (!bytes.empty()) {
    const std::size_t room = kPiece - static_cast<std::size_t>(offset % kPiece);
    const ByteView part = bytes.first(std::min(room, bytes.size()));
    if (part.size() == kPiece) {  // nothing is held: a piece begins here
      file_.write_at(offset, part);
    } else {
      if (held_ == 0) offset_ = offset;
      std::memcpy(buffer_.data() + held_, part.data(), part.size());
      held_ += part.size();
      if (part.size() == room) flush();
    }
    bytes = bytes.subspan(part.size());
    offset += part.size();
  }
}

void GatheredWrites::flush() { file_.write_at(offset_, {buffer_.data(), std::exchange(held_, 0)}); }

SpoolFile::SpoolFile(const std::string& folder) : folder_(folder) {
#if defined(O_TMPFILE)
  file_ = Descriptor(::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (file_.get() >= 0) return;
  if (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT && errno != EINVAL) {
    throw_errno("cannot make a temporary file in", folder);
  }
#endif
  const std::string name = OutputFile::temporary_name(folder + "/veilsum-spool");
  file_ =
      Descriptor(::open(name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (file_.get() < 0) throw_errno("cannot make a temporary file in", folder);
  ::unlink(name.c_str());
}

void SpoolFile::write_at(std::uint64_t offset, ByteView bytes) {
  write_all_at(file_.get(), offset, bytes, folder_);
}

void SpoolFile::read_at(std::uint64_t offset, std::span<std::uint8_t> out) const {
  if (read_all_at(file_.get(), offset, out, folder_) != out.size()) {
    throw WireFormatError("a spooled upload is shorter than it was written");
  }
}

}  // namespace veilsum
