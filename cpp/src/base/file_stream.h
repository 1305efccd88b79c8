// Layer: base. Files that do not fit in memory, read and written in portions by offset, from any
// thread. Inputs are read, never mapped: a file that somebody truncates meanwhile is an error then,
// not a crash. Outputs take their name only when they are complete.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "base/aligned_buffer.h"
#include "base/bytes.h"
#include "base/process.h"

namespace veilsum {

/// Closes a file descriptor.
class Descriptor {
 public:
  explicit Descriptor(int fd = -1) noexcept : fd_(fd) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  Descriptor(Descriptor&& other) noexcept : fd_(other.release()) {}
  Descriptor& operator=(Descriptor&& other) noexcept;
  ~Descriptor();
  int get() const noexcept { return fd_; }
  int release() noexcept;

 private:
  int fd_;
};

/// What tells that a path still names the same, unchanged file. Whoever changes a file can put the
/// time of modification back, but not that of the last change.
struct FileIdentity {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  std::uint64_t size = 0;
  std::int64_t modified_s = 0;
  std::int64_t modified_ns = 0;
  std::int64_t changed_s = 0;
  std::int64_t changed_ns = 0;

  void write(ByteWriter& out) const;
  friend bool operator==(const FileIdentity&, const FileIdentity&) = default;
};

/// @param path for messages
/// @throws std::system_error
FileIdentity identity_of(int fd, const std::string& path);

/// What tells a file from every copy of it, also one that was given its number when it was gone:
/// device, inode and, where the file system has it, the time at which it was made. No user can set
/// that.
/// @param path for messages
/// @throws std::system_error
Bytes origin_of(int fd, const std::string& path);

/// A regular file, read by offset. Thread-safe.
class InputFile {
 public:
  enum class Keep { kOpen, kReopen };

  /// @param keep kReopen opens the file anew for every read: for more files than a process may hold
  /// @throws std::system_error when it cannot be opened
  /// @throws ParameterError when it is not a regular file
  explicit InputFile(std::string path, Keep keep = Keep::kOpen);

  const std::string& path() const noexcept { return path_; }
  std::uint64_t size() const noexcept { return identity_.size; }
  const FileIdentity& identity() const noexcept { return identity_; }
  /// Fills `out` from `offset` on.
  /// @throws WireFormatError when the file ends before that
  void read_at(std::uint64_t offset, std::span<std::uint8_t> out) const;
  /// Whether size and times are still those at opening.
  bool unchanged() const noexcept;

 private:
  Descriptor open_checked() const;

  std::string path_;
  Descriptor file_;
  FileIdentity identity_;
};

/// Where an output goes. Its name may be a link; then the file that the link names is the output.
struct Destination {
  /// Who may do what with the file that is there.
  struct Rights {
    mode_t mode = 0;
    uid_t owner = 0;
    gid_t group = 0;
  };

  std::string path;              ///< links followed; the temporary file stands in its folder
  std::optional<Rights> before;  ///< of the file that will be replaced; nothing when there is none
};

/// Follows links to where an output goes.
/// @throws ParameterError when that is a device, a pipe or a socket: an output appears whole or not
///         at all, which those cannot do; and for a link that another user put into a folder that
///         everybody can write to
/// @throws std::system_error when it is a folder, or cannot be looked at
Destination find_destination(const std::string& path);

/// Where an output goes, as a name that leads there whatever the working folder becomes: absolute,
/// every link followed.
/// @throws as find_destination(); std::system_error when its folder is not there
std::string resolved_destination(const std::string& path);

/// Gives a finished file the rights of the file that it replaces, or those that new files have.
/// Where the group cannot be kept, the rights of the group fall to those of others.
/// @param path for messages
void give_rights(int fd, const Destination& target, const std::string& path);

/// A file in the making: mode 0600 under a name of its own beside `path`, until commit().
/// write_at() is thread-safe for ranges that do not overlap. It belongs to the process that made
/// it: a forked child neither commits nor removes it.
class OutputFile {
 public:
  enum class Existing { kRefuse, kContinue };

  /// @param path a link is followed
  /// @param working_name the name until commit(); in the folder where find_destination(path) is
  /// @param bytes final size; asked from the file system at once, so that a full disk shows now
  OutputFile(std::string path, std::string working_name, std::uint64_t bytes, Existing existing);
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;
  /// Removes the unfinished file, unless keep() was called.
  ~OutputFile();

  /// A name beside where `path` leads, with random letters: for outputs that are not resumed.
  static std::string temporary_name(const std::string& path);

  void write_at(std::uint64_t offset, ByteView bytes);
  /// False when the file ends before the range does.
  bool read_at(std::uint64_t offset, std::span<std::uint8_t> out) const;
  /// Starts writing a range to the disk, without waiting for it.
  void flush_range(std::uint64_t offset, std::uint64_t bytes) noexcept;
  /// Leave the unfinished file where it is.
  void keep() noexcept { keep_ = true; }
  /// Remove the unfinished file now, keep() or not.
  void discard() noexcept;
  /// Syncs, gives the file its rights (see give_rights), and moves it to its name.
  /// @throws RoundError in a forked child
  /// @throws ParameterError as find_destination(), which looks again
  void commit();

 private:
  std::string path_;
  std::string working_name_;
  Descriptor file_;
  const ProcessMark process_;
  bool keep_ = false;
  bool done_ = false;
};

/// What one thread writes to an OutputFile, gathered into whole pieces of the file. The page cache
/// keeps such pieces in large units, not page by page: that makes writing the file, and every later
/// reading of it, cheaper. Wiped when it goes, like the buffers that the bytes come from.
class GatheredWrites {
 public:
  /// Pieces begin at multiples of this.
  static constexpr std::size_t kPiece = std::size_t{256} * 1024;

  /// @param file must outlive this object
  explicit GatheredWrites(OutputFile& file) : file_(file), buffer_(kPiece) {}

  /// Bytes that follow those before are gathered with them; others may come at any offset.
  void write_at(std::uint64_t offset, ByteView bytes);
  /// Writes what is held. Until then it is not in the file, and it never is without.
  void flush();

 private:
  OutputFile& file_;
  SecretBuffer<std::uint8_t> buffer_;
  std::uint64_t offset_ = 0;  // of what is held, which lies in one piece
  std::size_t held_ = 0;
};

/// A file without a name that vanishes with this object: for data that waits to be checked.
class SpoolFile {
 public:
  /// @param folder where to make it
  explicit SpoolFile(const std::string& folder);
  void write_at(std::uint64_t offset, ByteView bytes);
  void read_at(std::uint64_t offset, std::span<std::uint8_t> out) const;

 private:
  std::string folder_;
  Descriptor file_;
};

/// Loops over pwrite(2) until everything is written. `path` is for messages.
void write_all_at(int fd, std::uint64_t offset, ByteView bytes, const std::string& path);
/// Loops over pread(2); returns how many bytes there were.
std::size_t read_all_at(int fd, std::uint64_t offset, std::span<std::uint8_t> out,
                        const std::string& path);
/// Makes renames and new names in the folder of `path` durable.
void sync_folder_of(const std::string& path) noexcept;
/// Throws std::system_error from errno: "`what` `path`: reason".
[[noreturn]] void throw_errno(const std::string& what, const std::string& path);

}  // namespace veilsum
