// Layer: tests (scheme). Journals and resumable outputs: what survives a crash, who may go on, and
// that nothing secret is left behind.
#include "scheme/journal.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <filesystem>
#include <string>

#include "check.h"
#include "support/child.h"
#include "support/ledgers.h"
#include "support/temporary_folder.h"
#include "veilsum/errors.h"

namespace veilsum::test {
namespace {

using scheme::Journal;
using scheme::JournalFact;
using scheme::ResumableOutput;

Bytes bytes_of(const std::string& text) { return {text.begin(), text.end()}; }

std::vector<JournalFact> facts(const std::string& input = "input") {
  return {{"another kind", bytes_of("kind")}, {"the input changed", bytes_of(input)}};
}

TEST("records come back in order, in a file that only this user can read") {
  const TemporaryFolder folder;
  const std::string path = folder / "x.journal";
  {
    Journal journal(path);
    CHECK(journal.records().empty());
    journal.append(bytes_of("one"));
    journal.append(Bytes(2));
    journal.append(bytes_of("three"));
  }
  CHECK_EQ(mode_of(path), 0600u);
  Journal again(path);
  CHECK_EQ(again.records().size(), std::size_t{3});
  CHECK(again.records().at(0) == bytes_of("one"));
  CHECK(again.records().at(1) == Bytes(2));
  CHECK(again.records().at(2) == bytes_of("three"));
}

TEST("a record that was cut short or damaged does not count, and the next one follows the last") {
  const TemporaryFolder folder;
  const std::string path = folder / "x.journal";
  {
    Journal(path).append(bytes_of("first"));
  }
  const std::string first = contents_of(path);
  {
    Journal(path).append(bytes_of("second"));
  }
  const std::string both = contents_of(path);
  for (std::size_t length = 0; length < both.size(); ++length) {
    put_contents(path, both.substr(0, length));
    const std::size_t expected = length < first.size() ? 0 : 1;
    {
      Journal journal(path);
      CHECK_EQ(journal.records().size(), expected);
      journal.append(bytes_of("third"));
    }
    Journal again(path);
    CHECK_EQ(again.records().size(), std::size_t{expected + 1});
    CHECK(again.records().back() == bytes_of("third"));
  }
  // The last checksum was never written.
  put_contents(path, both.substr(0, both.size() - 4) + std::string(4, '\0'));
  CHECK_EQ(Journal(path).records().size(), 1u);
  put_contents(path, first + std::string(4096, '\0'));  // where the next one was to be
  CHECK_EQ(Journal(path).records().size(), 1u);
  CHECK_EQ(contents_of(path), first);
}

TEST("anything else that is not whole is damage, and refused: a length above all") {
  const TemporaryFolder folder;
  const std::string path = folder / "x.journal";
  {
    Journal journal(path);
    journal.append(bytes_of("first"));
    journal.append(bytes_of("second"));
  }
  const std::string both = contents_of(path);
  CHECK_EQ(both, with_record(with_record("VSJRNL2\n", "first"), "second"));
  std::vector<std::string> bad;
  for (std::size_t at = 0; at < both.size(); ++at) {
    bad.push_back(both);
    bad.back()[at] = static_cast<char>(bad.back()[at] ^ (1 << (at % 8)));
  }
  bad.push_back(both);
  bad.back().replace(8, 8, std::string(8, '\0'));  // not only zeros behind it
  bad.push_back(both);
  bad.back()[10] = 1;  // the first record would reach beyond the end, and take the second along
  bad.push_back("VSJRNL1\n" + both.substr(8));
  for (const std::string& damaged : bad) {
    put_contents(path, damaged);
    CHECK_THROWS_WITH(Journal(path), ParameterError, "delete");
    CHECK_EQ(contents_of(path), damaged);
  }
}

TEST("what is no journal, others can read, or another process holds is refused") {
  const TemporaryFolder folder;
  const std::string path = folder / "x.journal";
  put_contents(path, "something else entirely");
  CHECK_THROWS(Journal(path), ParameterError);
  CHECK_EQ(contents_of(path), "something else entirely");
  put_contents(path, "", 0640);
  CHECK_THROWS(Journal(path), ParameterError);
  put_contents(path, "", 0600);
  const Journal held(path);
  const Ending ending = run_child([&] {
    try {
      const Journal second(path);
    } catch (const ParameterError& error) {
      return std::string(error.what()).find("another process") != std::string::npos ? 7 : 8;
    }
    return 0;
  });
  CHECK_EQ(ending.exit_status, 7);
}

TEST("erasing overwrites the secret before the name goes") {
  const TemporaryFolder folder;
  const std::string path = folder / "x.journal";
  const std::string other_name = folder / "kept";
  Journal journal(path);
  journal.append(bytes_of("a secret of the upload"));
  CHECK(::link(path.c_str(), other_name.c_str()) == 0);  // to see the bytes after the name is gone
  journal.erase();
  CHECK(folder.names() == std::vector<std::string>{"kept"});
  const std::string left = contents_of(other_name);
  CHECK(!left.empty());
  CHECK_EQ(left.find_first_not_of('\0'), std::string::npos);
}

TEST("an output goes on with the first run's secret, and takes its name when committed") {
  const TemporaryFolder folder;
  const std::string path = folder / "out";
  std::array<std::uint8_t, 4> secret = {1, 2, 3, 4};
  {
    ResumableOutput output(path, 8, true, facts(), secret);
    output.file().write_at(0, bytes_of("abcd"));
    output.record(bytes_of("half"));
  }
  CHECK_EQ(mode_of(ResumableOutput::part_path(path)), 0600u);
  CHECK(contents_of(path).empty());
  std::array<std::uint8_t, 4> other = {9, 9, 9, 9};
  {
    ResumableOutput output(path, 8, true, facts(), other);
    CHECK(other == secret);
    std::vector<Bytes> history;
    output.read_history(
        [&](ByteView record) { history.emplace_back(record.begin(), record.end()); });
    CHECK(history == std::vector<Bytes>{bytes_of("half")});
    output.file().write_at(4, bytes_of("efgh"));
    output.commit();
  }
  CHECK_EQ(contents_of(path), "abcdefgh");
  CHECK(folder.names() == std::vector<std::string>{"out"});
}

TEST("a run that differs, or one without resume, is refused and changes nothing") {
  const TemporaryFolder folder;
  const std::string path = folder / "out";
  std::array<std::uint8_t, 4> secret = {1, 2, 3, 4};
  {
    const ResumableOutput output(path, 8, true, facts(), secret);
  }
  const std::string journal = contents_of(ResumableOutput::journal_path(path));
  const auto refused = [&](bool resume, const std::vector<JournalFact>& of, std::size_t bytes,
                           const std::string& why) {
    std::array<std::uint8_t, 4> fresh = {5, 5, 5, 5};
    try {
      const ResumableOutput output(path, 8, resume, of, std::span(fresh).first(bytes));
      CHECK_EQ(why, "refused");
    } catch (const ParameterError& error) {
      CHECK(std::string(error.what()).find(why) != std::string::npos);
    }
    CHECK(contents_of(ResumableOutput::journal_path(path)) == journal);
  };
  refused(false, facts(), 4, "--resume");
  refused(true, facts("other"), 4, "the input changed");
  refused(true, facts(), 3, "another kind of output");
  std::array<std::uint8_t, 4> fresh = {5, 5, 5, 5};
  ResumableOutput(path, 8, true, facts(), fresh).discard();
  CHECK(folder.names().empty());
}

TEST("a journal that was copied or moved does not go on, under no name") {
  std::array<std::uint8_t, 4> secret = {1, 2, 3, 4};
  const auto go_on = [&](const std::string& path) {
    std::array<std::uint8_t, 4> fresh = {5, 5, 5, 5};
    const ResumableOutput output(path, 8, true, facts(), fresh);
    CHECK(fresh == secret);
  };
  const TemporaryFolder folder;
  const std::string path = folder / "out", other = folder / "other";
  {
    const ResumableOutput output(path, 8, true, facts(), secret);
  }
  const std::string journal = path + ".journal", copy = other + ".journal";
  const std::string text = contents_of(journal);
  // Copied.
  put_contents(copy, text);
  CHECK_THROWS_WITH(go_on(other), ParameterError, "moved or copied");
  CHECK_EQ(contents_of(copy), text);
  std::filesystem::remove(copy);
  // A second name, and a folder's.
  std::filesystem::create_hard_link(journal, copy);
  CHECK_THROWS_WITH(go_on(other), ParameterError, "moved or copied");
  std::filesystem::remove(copy);
  std::filesystem::create_directory(folder / "away");
  std::filesystem::rename(journal, folder / "away/out.journal");
  CHECK_THROWS_WITH(go_on(folder / "away/out"), ParameterError, "moved or copied");
  // Back at its place it goes on; through a link to the folder too.
  std::filesystem::rename(folder / "away/out.journal", journal);
  go_on(path);
  std::filesystem::create_directory_symlink(folder.path(), folder / "link");
  go_on(folder / "link/out");
  // A copy in its place, while the journal itself exists and when it is gone.
  std::filesystem::rename(journal, folder / "kept");
  put_contents(journal, text);
  CHECK_THROWS_WITH(go_on(path), ParameterError, "moved or copied");
  std::filesystem::remove(journal);
  std::filesystem::rename(folder / "kept", journal);
  go_on(path);
  struct statx born{};
  CHECK_EQ(::statx(AT_FDCWD, journal.c_str(), 0, STATX_BTIME, &born), 0);
  std::filesystem::remove(journal);
  if ((born.stx_mask & STATX_BTIME) == 0)
    SKIP("this file system does not say when a file was made");
  ::usleep(20'000);  // its number may be given to the next file; the time of its making is not
  put_contents(journal, text);
  CHECK_THROWS_WITH(go_on(path), ParameterError, "moved or copied");
}

TEST("a record that its reader finds wrong is damage, with the remedy") {
  const TemporaryFolder folder;
  const std::string path = folder / "out";
  {
    ResumableOutput output(path, 8, true, facts());
    output.record(bytes_of("half"));
  }
  ResumableOutput output(path, 8, true, facts());
  CHECK_THROWS_WITH(output.read_history([](ByteView) { throw WireFormatError("no sense"); }),
                    ParameterError, "no sense");
  CHECK_THROWS_WITH(output.read_history([](ByteView) { throw WireFormatError("no sense"); }),
                    ParameterError, "delete " + path + ".journal");
}

TEST("without resume a failure leaves nothing, and the old file stands until the commit") {
  const TemporaryFolder folder;
  const std::string path = folder / "out";
  put_contents(path, "old");
  {
    ResumableOutput output(path, 3, false, facts());
    output.file().write_at(0, bytes_of("new"));
    CHECK_EQ(contents_of(path), "old");
  }
  CHECK_EQ(contents_of(path), "old");
  CHECK(folder.names() == std::vector<std::string>{"out"});
  ResumableOutput output(path, 3, false, facts());
  output.file().write_at(0, bytes_of("new"));
  output.commit();
  CHECK_EQ(contents_of(path), "new");
}

}  // namespace
}  // namespace veilsum::test
