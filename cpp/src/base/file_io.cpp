// Layer: base. See file_io.h. POSIX calls, because the modes, the fsync and the rename are the
// point.
#include "base/file_io.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "base/entropy.h"
#include "base/file_stream.h"

namespace veilsum {
namespace {

[[noreturn]] void fail(const std::string& what, const std::string& path) {
  throw_errno(what, path);
}

void write_all(int fd, ByteView bytes, const std::string& path) {
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t wrote = ::write(fd, bytes.data() + done, bytes.size() - done);
    if (wrote < 0) {
      if (errno == EINTR) continue;
      fail("cannot write", path);
    }
    done += static_cast<std::size_t>(wrote);
  }
}

}  // namespace

void write_file(const std::string& path, std::span<const ByteView> parts, FileKind kind) {
  const Destination target = find_destination(path);
  std::uint8_t suffix[8];
  os_entropy(suffix);
  const std::string temporary = target.path + "." + to_hex(suffix) + ".tmp";
  const bool inherits = kind == FileKind::kPublic && target.before.has_value();
  const mode_t mode = kind == FileKind::kSecret || inherits ? 0600 : 0666;
  {
    const Descriptor file(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode));
    if (file.get() < 0) fail("cannot create", path);
    try {
      for (const ByteView part : parts) write_all(file.get(), part, path);
      if (inherits) give_rights(file.get(), target, path);
      if (::fsync(file.get()) != 0) fail("cannot sync", path);
    } catch (...) {
      ::unlink(temporary.c_str());
      throw;
    }
  }
  if (::rename(temporary.c_str(), target.path.c_str()) != 0) {
    const int reason = errno;
    ::unlink(temporary.c_str());
    errno = reason;
    fail("cannot replace", path);
  }
  sync_folder_of(target.path);
}

Bytes read_file(const std::string& path, FileKind kind) {
  // Not blocking: a pipe in the file's place is refused below instead of being waited for.
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.get() < 0) fail("cannot open", path);
  struct stat status{};
  if (::fstat(file.get(), &status) != 0) fail("cannot stat", path);
  if (S_ISDIR(status.st_mode)) {
    throw std::system_error(EISDIR, std::generic_category(),
                            path + " is a folder; give the name of a file");
  }
  if (!S_ISREG(status.st_mode)) throw ParameterError(path + " is not a regular file");
  if (kind == FileKind::kSecret && (status.st_mode & 077) != 0) {
    throw ParameterError(path + " holds a secret but others can access it (mode " +
                         std::to_string((status.st_mode >> 6) & 7) +
                         std::to_string((status.st_mode >> 3) & 7) +
                         std::to_string(status.st_mode & 7) +
                         "); run chmod 600 on it, and replace the key if it may have been read");
  }
  Bytes bytes(static_cast<std::size_t>(status.st_size));
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t got = ::read(file.get(), bytes.data() + done, bytes.size() - done);
    if (got < 0) {
      if (errno == EINTR) continue;
      fail("cannot read", path);
    }
    if (got == 0) break;
    done += static_cast<std::size_t>(got);
  }
  bytes.resize(done);
  return bytes;
}

}  // namespace veilsum
