// Layer: tests (base). Files: whole or not at all, even when the process is killed or the disk is
// full in the middle of a write; secrets readable by nobody else, and refused when they are.
#include "base/file_io.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <system_error>
#include <thread>

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
    append_line_durably(name + ".lines", "x");
    CHECK_EQ(mode_of(name + ".secret"), 0600u);
    CHECK_EQ(mode_of(name + ".public"), 0666u & ~mask);
    CHECK_EQ(mode_of(name + ".lines"), 0600u);
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
    CHECK_THROWS_WITH(read_file(folder.path(), kind), ParameterError, "not a regular file");
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
    append_line_durably("lines", "x");
    return read_file("plain", FileKind::kSecret) == Bytes{7} ? 0 : 2;
  });
  CHECK_EQ(ending.exit_status, 0);
  CHECK_EQ(mode_of(folder / "plain"), 0600u);
  CHECK_EQ(contents_of(folder / "lines"), "x\n");
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

TEST("lines are appended and on disk") {
  const TemporaryFolder folder;
  const std::string path = folder / "lines";
  append_line_durably(path, "one");
  append_line_durably(path, "two");
  append_line_durably(path, "");
  CHECK_EQ(contents_of(path), "one\ntwo\n\n");
  CHECK_EQ(errno_of([&] { append_line_durably(folder / "no/such", "x"); }), ENOENT);
}

}  // namespace
}  // namespace veilsum::test
