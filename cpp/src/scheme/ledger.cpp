// Layer: scheme. See ledger.h. One line an opening: "<round id hex> <manifest digest hex>".
#include "scheme/ledger.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include "base/file_io.h"
#include "veilsum/errors.h"

namespace veilsum::scheme {
namespace {

/// Exclusive lock between processes, on a file of its own beside the ledger, for one scope.
class FileLock {
 public:
  /// @throws std::system_error; with what cannot_write() says yes to where `path` may only be read
  explicit FileLock(const std::string& path)
      : fd_(::open((path + ".lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)) {
    if (fd_ < 0 || ::flock(fd_, LOCK_EX) != 0) {
      const int reason = errno;
      if (fd_ >= 0) ::close(fd_);
      throw std::system_error(reason, std::generic_category(), "cannot lock " + path);
    }
  }
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;
  ~FileLock() { ::close(fd_); }

 private:
  int fd_;
};

bool cannot_write(const std::system_error& error) {
  const std::error_code code = error.code();
  return code == std::errc::permission_denied || code == std::errc::read_only_file_system ||
         code == std::errc::operation_not_permitted;
}

constexpr std::size_t kHexDigits = 64;
constexpr std::size_t kLineBytes = kHexDigits + 1 + kHexDigits + 1;

int hex_digit(std::uint8_t c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

/// True when `c` may stand at place `at` of a line.
bool fits(std::size_t at, std::uint8_t c) {
  if (at == kHexDigits) return c == ' ';
  if (at == kLineBytes - 1) return c == '\n';
  return hex_digit(c) >= 0;
}

/// 32 bytes from 64 digits that are known to be hexadecimal.
Digest parse_hex(const std::uint8_t* text) {
  Digest out;
  for (std::size_t i = 0; i < out.size(); ++i) {
    out[i] = static_cast<std::uint8_t>(hex_digit(text[2 * i]) * 16 + hex_digit(text[2 * i + 1]));
  }
  return out;
}

std::string line_of(const Digest& round_id, const Digest& manifest) {
  return to_hex(round_id) + " " + to_hex(manifest);
}

}  // namespace

void OpeningLedger::read_file_locked() {
  if (::access(path_.c_str(), F_OK) != 0) {
    if (errno == ENOENT) return;
    throw std::system_error(errno, std::generic_category(), "cannot read " + path_);
  }
  const Bytes bytes = read_file(path_, FileKind::kSecret);
  // Every byte is looked at before anything is changed: a file that is not a ledger stays whole.
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    if (!fits(at % kLineBytes, bytes[at])) {
      throw WireFormatError(path_ + " is not a ledger of opened rounds (line " +
                            std::to_string(at / kLineBytes + 1) +
                            "); restore it, or retire this key");
    }
  }
  // A crash while appending can leave a partial last line. Its opening never returned a key, so it
  // does not count; the next append must start on a line of its own.
  const std::size_t whole = bytes.size() / kLineBytes * kLineBytes;
  for (std::size_t at = 0; at < whole; at += kLineBytes) {
    opened_.emplace(parse_hex(&bytes[at]), parse_hex(&bytes[at + kHexDigits + 1]));
  }
  if (whole != bytes.size() && ::truncate(path_.c_str(), static_cast<off_t>(whole)) != 0) {
    throw std::system_error(errno, std::generic_category(), "cannot repair " + path_);
  }
}

void OpeningLedger::attach(const std::string& path) {
  const std::lock_guard<std::mutex> guard(guard_);
  const std::map<Digest, Digest> in_memory = opened_;
  const std::string before = std::exchange(path_, path);
  try {
    const FileLock lock(path_);
    opened_.clear();
    read_file_locked();
    for (const auto& [round_id, manifest] : in_memory) {
      if (opened_.emplace(round_id, manifest).second) {
        append_line_durably(path_, line_of(round_id, manifest));
      }
    }
  } catch (const std::system_error& error) {
    opened_ = in_memory;
    // A key may be looked at where nothing can be written; record() needs the file, and asks again.
    if (in_memory.empty() && cannot_write(error)) return;
    path_ = before;
    throw;
  } catch (...) {  // what was opened stays known
    opened_ = in_memory;
    path_ = before;
    throw;
  }
}

bool OpeningLedger::record(const Digest& round_id, const Digest& manifest) {
  std::unique_lock<std::mutex> guard(guard_, std::defer_lock);
  if (process_.is_here()) {
    guard.lock();
  } else if (!guard.try_lock()) {
    // Forked while another thread of the parent was recording: nobody here will ever unlock, and
    // what it was about to change may be half changed.
    throw RoundError(
        "this key was opening a round in another thread when this process was forked; load it here "
        "anew");
  }
  const auto decide = [&]() -> bool {
    const auto [at, fresh] = opened_.emplace(round_id, manifest);
    if (!fresh && at->second != manifest) {
      throw RoundError("round " + short_hex(round_id) +
                       " was opened before for another set of uploads; the difference of two sums "
                       "would reveal single updates, so start a new round");
    }
    return fresh;
  };
  if (path_.empty()) {
    if (!process_.is_here()) {
      throw RoundError(
          "this key was made in the process that this one was forked from, and which rounds it has "
          "opened is known to neither alone; save the key, and load it in each process");
    }
    return decide();
  }
  const FileLock lock = [&] {
    try {
      return FileLock(path_);
    } catch (const std::system_error& error) {
      throw std::system_error(error.code(),
                              "this opening must be recorded in " + path_ +
                                  ", which cannot be written; move the key and its .opened file, "
                                  "if there is one, to a folder that can");
    }
  }();
  read_file_locked();
  if (!decide()) return false;
  try {
    append_line_durably(path_, line_of(round_id, manifest));
  } catch (...) {
    opened_.erase(round_id);
    throw;
  }
  return true;
}

}  // namespace veilsum::scheme
