// Layer: tests (base). Files: whole or not at all, even when the process is killed or the disk is
// full in the middle of a write; secrets readable by nobody else, and refused when they are.
#include "base/file_io.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <system_error>
#include <thread>
#include <vector>

#include "base/file_stream.h"
#include "check.h"
#include "support/child.h"
#include "support/temporary_folder.h"

namespace veilsum::test {
namespace {

void put(const std::string& path, const Bytes& bytes, FileKind kind = FileKind::kPublic) {
  const ByteView parts[] = {bytes};
  write_file(path, parts, kind);
}

class Umask {
 public:
  explicit Umask(mode_t mask) : before_(::umask(mask)) {}
  Umask(const Umask&) = delete;
  Umask& operator=(const Umask&) = delete;
  ~Umask() { ::umask(before_); }

 private:
  mode_t before_;
};

/// Runs body; returns the error code of the std::system_error it throws, 0 when it throws none.
template <typename Body>
int errno_of(Body body) {
  try {
    body();
  } catch (const std::system_error& error) {
    return error.code().value();
  }
  return 0;
}

TEST("what is written is read back: empty, in one part, in several") {
  const TemporaryFolder folder;
  const Bytes large(300'000, 0x42);
  for (const FileKind kind : {FileKind::kPublic, FileKind::kSecret}) {
    const std::string path = folder / "thing";
    const Bytes small = {1, 2, 3};
    const ByteView parts[] = {small, ByteView{}, large, small};
    write_file(path, parts, kind);
    Bytes expected = small;
    expected.insert(expected.end(), large.begin(), large.end());
    expected.insert(expected.end(), small.begin(), small.end());
    CHECK_EQ(read_file(path, kind), expected);
    write_file(path, {}, kind);
    CHECK_EQ(read_file(path, kind), Bytes{});
  }
  CHECK_EQ(folder.names().size(), 1u);
}

TEST("secrets have mode 0600 whatever the umask; public files obey it") {
  const TemporaryFolder folder;
  for (const mode_t mask : {0000u, 0022u, 0077u, 0002u}) {
    const Umask guard(mask);
    const std::string name = folder / std::to_string(mask);
    put(name + ".secret", {1}, FileKind::kSecret);
    put(name + ".public", {1}, FileKind::kPublic);
    CHECK_EQ(mode_of(name + ".secret"), 0600u);
    CHECK_EQ(mode_of(name + ".public"), 0666u & ~mask);
  }
}

TEST("a secret that replaces a readable file is not readable") {
  const TemporaryFolder folder;
  const std::string path = folder / "key";
  put_contents(path, "old and public", 0644);
  put(path, {9}, FileKind::kSecret);
  CHECK_EQ(mode_of(path), 0600u);
  CHECK_EQ(read_file(path, FileKind::kSecret), Bytes{9});
}

TEST("a secret is refused when group or others have any right to it") {
  const TemporaryFolder folder;
  const std::string path = folder / "key";
  put_contents(path, "secret");
  for (unsigned mode = 0; mode < 01000; ++mode) {
    if ((mode & 0400) == 0) continue;  // the owner must be able to read
    ::chmod(path.c_str(), static_cast<mode_t>(mode));
    if ((mode & 077) == 0) {
      CHECK_EQ(read_file(path, FileKind::kSecret).size(), 6u);
    } else {
      const std::string octal = {static_cast<char>('0' + (mode >> 6)),
                                 static_cast<char>('0' + (mode >> 3 & 7)),
                                 static_cast<char>('0' + (mode & 7))};
      CHECK_THROWS_WITH(read_file(path, FileKind::kSecret), ParameterError, "mode " + octal);
      CHECK_THROWS_WITH(read_file(path, FileKind::kSecret), ParameterError, path);
    }
    CHECK_EQ(read_file(path, FileKind::kPublic).size(), 6u);
  }
}

TEST("a file that replaces another keeps its mode, whatever the umask") {
  const TemporaryFolder folder;
  const Umask guard(0022);
  for (const unsigned mode : {0640u, 0600u, 0666u, 0444u, 0755u}) {
    const std::string path = folder / "thing";
    put_contents(path, "old", mode);
    put(path, {1, 2});
    CHECK_EQ(mode_of(path), mode);
    CHECK_EQ(contents_of(path), "\1\2");
    ::unlink(path.c_str());
  }
}

TEST("a file keeps its owner and group, or its group's rights fall to those of others") {
  if (::geteuid() != 0) return;  // only root makes files of other owners
  const TemporaryFolder folder;
  const std::string path = folder / "thing";
  put_contents(path, "old", 0664);
  CHECK_EQ(::chown(path.c_str(), 12345, 23456), 0);
  put(path, {1});
  struct stat status{};
  CHECK_EQ(::stat(path.c_str(), &status), 0);
  CHECK_EQ(status.st_uid, 12345u);
  CHECK_EQ(status.st_gid, 23456u);
  CHECK_EQ(mode_of(path), 0664u);
  // A user who owns the folder, but is not of the file's group.
  CHECK_EQ(::chown(folder.path().c_str(), 999, 999), 0);
  const Ending ending = run_child([&] {
    if (::setgid(999) != 0 || ::setuid(999) != 0) return 1;
    put(path, {2});
    return 0;
  });
  CHECK_EQ(ending.exit_status, 0);
  CHECK_EQ(::stat(path.c_str(), &status), 0);
  CHECK_EQ(status.st_gid, 999u);
  CHECK_EQ(mode_of(path), 0644u);
}

TEST("a secret never goes to the owner of the file that it replaces") {
  if (::geteuid() != 0) return;  // only root makes files of other owners
  const TemporaryFolder folder;
  const std::string path = folder / "key";
  put_contents(path, "bait", 0600);
  CHECK_EQ(::chown(path.c_str(), 12345, 23456), 0);
  put(path, {9}, FileKind::kSecret);
  struct stat status{};
  CHECK_EQ(::stat(path.c_str(), &status), 0);
  CHECK_EQ(status.st_uid, ::geteuid());
  CHECK_EQ(mode_of(path), 0600u);
}

TEST("a link is followed, to the end of a chain, and stays a link") {
  for (const FileKind kind : {FileKind::kPublic, FileKind::kSecret}) {
    const TemporaryFolder folder;
    CHECK_EQ(::mkdir((folder / "elsewhere").c_str(), 0700), 0);
    put_contents(folder / "elsewhere/thing", "old", 0640);
    CHECK_EQ(::symlink("thing", (folder / "elsewhere/second").c_str()), 0);
    CHECK_EQ(::symlink("elsewhere/second", (folder / "first").c_str()), 0);
    put(folder / "first", {'n', 'e', 'w'}, kind);
    CHECK_EQ(contents_of(folder / "elsewhere/thing"), "new");
    CHECK_EQ(mode_of(folder / "elsewhere/thing"), kind == FileKind::kSecret ? 0600u : 0640u);
    struct stat status{};
    CHECK_EQ(::lstat((folder / "first").c_str(), &status), 0);
    CHECK(S_ISLNK(status.st_mode));
    CHECK_EQ(folder.names().size(), 2u);
  }
}

TEST("a link to a file that is not there makes the file; links in a circle are an error") {
  const TemporaryFolder folder;
  CHECK_EQ(::symlink((folder / "new").c_str(), (folder / "link").c_str()), 0);
  put(folder / "link", {5});
  CHECK_EQ(contents_of(folder / "new"), "\5");
  CHECK_EQ(::symlink("a", (folder / "b").c_str()), 0);
  CHECK_EQ(::symlink("b", (folder / "a").c_str()), 0);
  CHECK_EQ(errno_of([&] { put(folder / "a", {5}); }), ELOOP);
  CHECK_THROWS_WITH(put(folder / "a", {5}), std::system_error, folder / "a");
}

TEST("a link that somebody else put into a folder that all can write to is not followed") {
  if (::geteuid() != 0) return;  // only root makes links of other owners
  const TemporaryFolder folder;
  CHECK_EQ(::chmod(folder.path().c_str(), 01777), 0);
  put_contents(folder / "victim", "untouched");
  CHECK_EQ(::symlink("victim", (folder / "link").c_str()), 0);
  put(folder / "link", {5});  // root's own link
  put_contents(folder / "victim", "untouched");
  CHECK_EQ(::lchown((folder / "link").c_str(), 12345, 12345), 0);
  CHECK_THROWS_WITH(put(folder / "link", {5}), ParameterError, "another user");
  CHECK_EQ(contents_of(folder / "victim"), "untouched");
}

TEST("devices, pipes and sockets are refused, and stay what they are") {
  const TemporaryFolder folder;
  std::vector<std::string> special{folder / "pipe"};
  CHECK_EQ(::mkfifo(special[0].c_str(), 0644), 0);
  CHECK_EQ(::symlink("pipe", (folder / "link").c_str()), 0);
  special.push_back(folder / "link");
  // A container may forbid nodes; then /dev/null is looked at, and never written.
  if (::mknod((folder / "node").c_str(), S_IFCHR | 0666, ::makedev(1, 3)) == 0) {
    special.push_back(folder / "node");
  }
  for (const std::string& path : special) {
    for (const FileKind kind : {FileKind::kPublic, FileKind::kSecret}) {
      CHECK_THROWS_WITH(put(path, {1}, kind), ParameterError, path);
    }
    struct stat status{};
    CHECK_EQ(::stat(path.c_str(), &status), 0);
    CHECK(S_ISFIFO(status.st_mode) || S_ISCHR(status.st_mode));
  }
  CHECK_THROWS_WITH(find_destination("/dev/null"), ParameterError, "/dev/null");
  CHECK_EQ(folder.names().size(), special.size());
}

TEST("a descriptor's link in /proc leads to its file, and to nothing when that is gone") {
  const TemporaryFolder folder;
  put_contents(folder / "thing", "old");
  const int fd = ::open((folder / "thing").c_str(), O_RDONLY | O_CLOEXEC);
  const std::string link = "/proc/self/fd/" + std::to_string(fd);
  put(link, {'n'});
  CHECK_EQ(contents_of(folder / "thing"), "n");
  // The descriptor still has the old file, which no name leads to any more.
  CHECK_EQ(errno_of([&] { put(link, {'m'}); }), ESTALE);
  ::close(fd);
  int ends[2];
  CHECK_EQ(::pipe(ends), 0);
  CHECK_THROWS_WITH(put("/proc/self/fd/" + std::to_string(ends[1]), {1}), ParameterError, "a pipe");
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST("replacing a file leaves the old one whole for those who have it open") {
  const TemporaryFolder folder;
  const std::string path = folder / "thing";
  put(path, Bytes(5000, 'a'));
  std::ifstream reader(path, std::ios::binary);
  put(path, Bytes(7000, 'b'));
  const std::string seen{std::istreambuf_iterator<char>(reader), std::istreambuf_iterator<char>()};
  CHECK(seen == std::string(5000, 'a'));
  CHECK(contents_of(path) == std::string(7000, 'b'));
}

TEST("what cannot be read is a system_error with the reason and the path, or a ParameterError") {
  const TemporaryFolder folder;
  const std::string missing = folder / "missing";
  for (const FileKind kind : {FileKind::kPublic, FileKind::kSecret}) {
    CHECK_EQ(errno_of([&] { read_file(missing, kind); }), ENOENT);
    CHECK_THROWS_WITH(read_file(missing, kind), std::system_error, missing);
    CHECK_EQ(errno_of([&] { read_file(folder.path(), kind); }), EISDIR);
    CHECK_THROWS_WITH(read_file(folder.path(), kind), std::system_error, "is a folder");
    CHECK_THROWS_WITH(read_file("/dev/null", kind), ParameterError, "not a regular file");
  }
}

TEST("a pipe in a file's place is refused at once, not waited for") {
  const TemporaryFolder folder;
  const std::string path = folder / "pipe";
  CHECK_EQ(::mkfifo(path.c_str(), 0600), 0);
  const Ending ending = run_child([&] {
    ::alarm(10);  // ends a child that hangs
    try {
      read_file(path, FileKind::kPublic);
    } catch (const ParameterError&) {
      return 0;
    }
    return 1;
  });
  CHECK_EQ(ending.signal, 0);
  CHECK_EQ(ending.exit_status, 0);
}

TEST("what cannot be written leaves nothing behind") {
  const TemporaryFolder folder;
  CHECK_EQ(errno_of([&] { put(folder / "no/such/folder", {1}); }), ENOENT);
  const std::string taken = folder / "taken";
  CHECK_EQ(::mkdir(taken.c_str(), 0700), 0);
  CHECK_EQ(errno_of([&] { put(taken, {1}); }), EISDIR);
  CHECK_THROWS_WITH(put(taken, {1}), std::system_error, "cannot replace " + taken);
  CHECK_EQ(folder.names(), std::vector<std::string>{"taken"});
}

TEST("a path without a folder means the working folder") {
  const TemporaryFolder folder;
  const Ending ending = run_child([&] {
    if (::chdir(folder.path().c_str()) != 0) return 1;
    put("plain", {7}, FileKind::kSecret);
    return read_file("plain", FileKind::kSecret) == Bytes{7} ? 0 : 2;
  });
  CHECK_EQ(ending.exit_status, 0);
  CHECK_EQ(mode_of(folder / "plain"), 0600u);
}

/// Lets this process write files of at most `bytes`; beyond, SIGXFSZ comes, or EFBIG if ignored.
void limit_file_size(rlim_t bytes) {
  const rlimit limit{bytes, bytes};
  const rlimit no_core{0, 0};
  ::setrlimit(RLIMIT_FSIZE, &limit);
  ::setrlimit(RLIMIT_CORE, &no_core);
}

TEST("a disk that fills up in the middle of a write: an error, the old file, no litter") {
  const TemporaryFolder folder;
  const std::string path = folder / "thing";
  put(path, Bytes(1000, 'o'));
  const Ending ending = run_child([&] {
    ::signal(SIGXFSZ, SIG_IGN);
    limit_file_size(50'000);
    return errno_of([&] { put(path, Bytes(200'000, 'n')); }) == EFBIG ? 0 : 1;
  });
  CHECK_EQ(ending.exit_status, 0);
  CHECK(contents_of(path) == std::string(1000, 'o'));
  CHECK_EQ(folder.names(), std::vector<std::string>{"thing"});
}

TEST("killed in the middle of a write: the old file is whole") {
  const TemporaryFolder folder;
  const std::string path = folder / "thing";
  put(path, Bytes(1000, 'o'));
  const Ending ending = run_child([&] {
    ::signal(SIGXFSZ, SIG_DFL);
    limit_file_size(50'000);
    put(path, Bytes(200'000, 'n'));  // the system kills the process at byte 50,000
    return 0;
  });
  CHECK_EQ(ending.signal, SIGXFSZ);
  CHECK(contents_of(path) == std::string(1000, 'o'));
  // What was written until then lies in the temporary file, nowhere else.
  std::vector<std::string> names = folder.names();
  CHECK_EQ(names.size(), 2u);
  for (const std::string& name : names) CHECK(name == "thing" || name.ends_with(".tmp"));
  put(path, Bytes(10, 'n'));
  CHECK(contents_of(path) == std::string(10, 'n'));
}

TEST("killed at any moment: one of the files that were written, never a mixture") {
  using namespace std::chrono_literals;
  const TemporaryFolder folder;
  const std::string path = folder / "thing";
  put(path, Bytes(100'000, 'a'));
  for (int attempt = 0; attempt < 8; ++attempt) {
    const pid_t child = start_child([&]() -> int {
      for (char letter = 'b';; letter = letter == 'z' ? 'b' : static_cast<char>(letter + 1)) {
        put(path, Bytes(100'000, static_cast<std::uint8_t>(letter)));
      }
    });
    std::this_thread::sleep_for(5ms + attempt * 3ms);
    ::kill(child, SIGKILL);
    CHECK_EQ(wait_for(child).signal, SIGKILL);
    const std::string seen = contents_of(path);
    CHECK_EQ(seen.size(), 100'000u);
    CHECK(std::all_of(seen.begin(), seen.end(), [&](char c) { return c == seen.front(); }));
  }
}

}  // namespace
}  // namespace veilsum::test
