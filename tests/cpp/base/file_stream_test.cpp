// Layer: tests (base). Files by offset: short files, what is not a file, names and modes of
// outputs, full disks, and files that change while they are read.
#include "base/file_stream.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <string>
#include <system_error>
#include <vector>

#include "check.h"
#include "support/child.h"
#include "support/temporary_folder.h"
#include "veilsum/errors.h"

namespace veilsum::test {
namespace {

Bytes bytes_of(const std::string& text) { return {text.begin(), text.end()}; }

TEST("an input is read by offset, and a read beyond its end is an error") {
  const TemporaryFolder folder;
  put_contents(folder / "in", "0123456789");
  for (const auto keep : {InputFile::Keep::kOpen, InputFile::Keep::kReopen}) {
    const InputFile file(folder / "in", keep);
    CHECK_EQ(file.size(), 10u);
    Bytes out(4);
    file.read_at(3, out);
    CHECK(out == bytes_of("3456"));
    CHECK_THROWS(file.read_at(7, out), WireFormatError);
    CHECK_THROWS(file.read_at(1u << 20, out), WireFormatError);
  }
}

TEST("what is not a regular file is refused without waiting for it") {
  const TemporaryFolder folder;
  CHECK_THROWS(InputFile(folder / "missing"), std::system_error);
  CHECK_THROWS(InputFile(folder.path()), ParameterError);
  CHECK(::mkfifo((folder / "pipe").c_str(), 0600) == 0);
  CHECK_THROWS(InputFile(folder / "pipe"), ParameterError);
}

TEST("a file that was exchanged or cut is noticed") {
  const TemporaryFolder folder;
  put_contents(folder / "in", "0123456789");
  const InputFile open(folder / "in");
  const InputFile reopened(folder / "in", InputFile::Keep::kReopen);
  CHECK(open.unchanged() && reopened.unchanged());
  put_contents(folder / "in", "01234");
  CHECK(!open.unchanged() && !reopened.unchanged());
  Bytes out(2);
  CHECK_THROWS(reopened.read_at(0, out), WireFormatError);
  out.resize(10);
  CHECK_THROWS(open.read_at(0, out), WireFormatError);
}

TEST("a file that was changed and given its time back is noticed") {
  const TemporaryFolder folder;
  put_contents(folder / "in", "0123456789");
  const InputFile before(folder / "in");
  struct stat status{};
  CHECK_EQ(::stat((folder / "in").c_str(), &status), 0);
  ::usleep(20'000);  // more than a tick of the file system's clock
  put_contents(folder / "in", "9876543210");
  const timespec times[2] = {status.st_atim, status.st_mtim};
  CHECK_EQ(::utimensat(AT_FDCWD, (folder / "in").c_str(), times, 0), 0);
  const InputFile after(folder / "in");
  CHECK_EQ(after.identity().modified_ns, before.identity().modified_ns);
  CHECK(!before.unchanged());
  CHECK(after.identity() != before.identity());
  ByteWriter one, other;
  before.identity().write(one);
  after.identity().write(other);
  CHECK(one.bytes() != other.bytes());
}

TEST("a resolved name leads to the output from everywhere: links followed, folder absolute") {
  const TemporaryFolder folder;
  const std::string real = std::filesystem::canonical(folder.path()).string();
  CHECK_EQ(::mkdir((folder / "a").c_str(), 0700), 0);
  CHECK_EQ(::symlink("a", (folder / "link").c_str()), 0);
  CHECK_EQ(::symlink("a/file", (folder / "name").c_str()), 0);
  const Ending ending = run_child([&] {
    if (::chdir((folder / "a").c_str()) != 0) return 1;
    for (const std::string& name :
         {std::string("file"), std::string("./file"), std::string("../link/file"),
          std::string("../name"), folder / "link/../a//file"}) {
      if (resolved_destination(name) != real + "/a/file") return 2;
      put_contents("file", "there or not");
    }
    return resolved_destination("/no-such-file") == "/no-such-file" ? 0 : 3;
  });
  CHECK_EQ(ending.exit_status, 0);
  CHECK_THROWS_WITH(resolved_destination(folder / "none/file"), std::system_error, "none/file");
}

TEST("an output has mode 0600 until it is complete, then the mode of new files") {
  const TemporaryFolder folder;
  const std::string path = folder / "out";
  const mode_t before = ::umask(027);
  OutputFile file(path, folder / "working", 6, OutputFile::Existing::kRefuse);
  file.write_at(3, bytes_of("def"));
  file.write_at(0, bytes_of("abc"));
  CHECK_EQ(mode_of(folder / "working"), 0600u);
  file.commit();
  CHECK_EQ(::umask(before), static_cast<mode_t>(027));
  CHECK_EQ(mode_of(path), 0640u);
  CHECK_EQ(contents_of(path), "abcdef");
}

TEST("an output keeps the mode of the file that it replaces, and follows a link to it") {
  const TemporaryFolder folder;
  CHECK(::mkdir((folder / "elsewhere").c_str(), 0700) == 0);
  put_contents(folder / "elsewhere/out", "old", 0640);
  CHECK(::symlink("elsewhere/out", (folder / "link").c_str()) == 0);
  const std::string path = folder / "link";
  const std::string working = OutputFile::temporary_name(path);
  CHECK(working.starts_with(folder / "elsewhere/out."));
  OutputFile file(path, working, 3, OutputFile::Existing::kRefuse);
  file.write_at(0, bytes_of("new"));
  CHECK_EQ(contents_of(folder / "elsewhere/out"), "old");
  file.commit();
  CHECK_EQ(contents_of(folder / "elsewhere/out"), "new");
  CHECK_EQ(mode_of(folder / "elsewhere/out"), 0640u);
  struct stat status{};
  CHECK(::lstat(path.c_str(), &status) == 0 && S_ISLNK(status.st_mode));
}

TEST("an output that is a pipe, or becomes one meanwhile, is refused and stays a pipe") {
  const TemporaryFolder folder;
  const std::string path = folder / "out";
  OutputFile file(path, folder / "working", 3, OutputFile::Existing::kRefuse);
  CHECK(::mkfifo(path.c_str(), 0600) == 0);
  CHECK_THROWS(file.commit(), ParameterError);
  CHECK_THROWS(OutputFile(path, folder / "other", 3, OutputFile::Existing::kRefuse),
               ParameterError);
  CHECK_THROWS(OutputFile::temporary_name(path), ParameterError);
  struct stat status{};
  CHECK(::stat(path.c_str(), &status) == 0 && S_ISFIFO(status.st_mode));
}

TEST("an output in the way is refused or continued as asked, a link never followed") {
  const TemporaryFolder folder;
  put_contents(folder / "working", "xyz");
  CHECK_THROWS(OutputFile(folder / "out", folder / "working", 3, OutputFile::Existing::kRefuse),
               std::system_error);
  CHECK_EQ(contents_of(folder / "working"), "xyz");
  {
    OutputFile file(folder / "out", folder / "working", 3, OutputFile::Existing::kContinue);
    Bytes out(3);
    CHECK(file.read_at(0, out));
    CHECK(out == bytes_of("xyz"));
    CHECK(!file.read_at(1, out));
    file.keep();
  }
  CHECK_EQ(contents_of(folder / "working"), "xyz");
  put_contents(folder / "victim", "untouched");
  CHECK(::symlink((folder / "victim").c_str(), (folder / "link").c_str()) == 0);
  CHECK_THROWS(OutputFile(folder / "out", folder / "link", 3, OutputFile::Existing::kContinue),
               std::system_error);
  CHECK_EQ(contents_of(folder / "victim"), "untouched");
}

TEST("gathered writes give the file that single writes give, wherever they begin and end") {
  constexpr std::size_t kPiece = GatheredWrites::kPiece;
  struct Write {
    std::size_t offset;
    std::size_t bytes;
  };
  std::vector<Write> writes;
  for (std::size_t at = 100; at < 3 * kPiece; at += 12345) writes.push_back({at, 12345});
  writes.insert(writes.end(), {{10, 0},  // nothing, elsewhere
                               {7 * kPiece, kPiece},
                               {8 * kPiece, 1},
                               {8 * kPiece + 1, 3 * kPiece - 1},
                               {5 * kPiece - 1, kPiece + 2},
                               {4 * kPiece, kPiece - 1},
                               {3, 90},
                               {0, 3},
                               {93, 2},
                               {94, 4}});  // over the byte before
  const TemporaryFolder folder;
  const std::size_t size = 11 * kPiece;
  OutputFile file(folder / "out", folder / "working", size, OutputFile::Existing::kRefuse);
  GatheredWrites gathered(file);
  std::string expected(size, '\0');
  unsigned char next = 1;
  for (const Write& write : writes) {
    const Bytes bytes(write.bytes, next);
    expected.replace(write.offset, write.bytes, write.bytes, static_cast<char>(next++));
    gathered.write_at(write.offset, bytes);
  }
  gathered.flush();
  gathered.flush();  // nothing is left
  file.commit();
  CHECK(contents_of(folder / "out") == expected);
}

TEST("what is gathered is in the file when its piece is full or it is flushed, else never") {
  constexpr std::size_t kPiece = GatheredWrites::kPiece;
  const TemporaryFolder folder;
  OutputFile file(folder / "out", folder / "working", 2 * kPiece, OutputFile::Existing::kRefuse);
  const auto byte_at = [&](std::size_t offset) {
    Bytes out(1);
    CHECK(file.read_at(offset, out));
    return out[0];
  };
  {
    GatheredWrites gathered(file);
    gathered.write_at(kPiece - 2, bytes_of("a"));
    CHECK_EQ(byte_at(kPiece - 2), 0u);
    gathered.write_at(kPiece - 1, bytes_of("bc"));
    CHECK_EQ(byte_at(kPiece - 2), 'a');
    CHECK_EQ(byte_at(kPiece - 1), 'b');
    CHECK_EQ(byte_at(kPiece), 0u);
    gathered.write_at(5, bytes_of("d"));
    CHECK_EQ(byte_at(kPiece), 'c');
  }
  CHECK_EQ(byte_at(5), 0u);
}

TEST("a file that may not grow so large is an error at once, and leaves nothing") {
  const TemporaryFolder folder;
  const Ending ending = run_child([&] {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{1000, 1000};
    if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) return 2;
    try {
      const OutputFile file(folder / "out", folder / "working", 100000,
                            OutputFile::Existing::kRefuse);
    } catch (const std::system_error&) {
      return 7;
    }
    return 3;
  });
  CHECK_EQ(ending.exit_status, 7);
  CHECK(folder.names().empty());
}

TEST("a spool has no name") {
  const TemporaryFolder folder;
  SpoolFile spool(folder.path());
  CHECK(folder.names().empty());
  spool.write_at(5, bytes_of("hello"));
  Bytes out(5);
  spool.read_at(5, out);
  CHECK(out == bytes_of("hello"));
  CHECK_THROWS(spool.read_at(6, out), WireFormatError);
}

}  // namespace
}  // namespace veilsum::test
