// Layer: tests (scheme). Journals and resumable outputs: what survives a crash, who may go on, and
// that nothing secret is left behind.
#include "scheme/journal.h"

#include <array>
#include <cstring>
#include <string>

#include "check.h"
#include "support/child.h"
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
  std::string damaged = both;
  damaged.back() ^= 1;
  put_contents(path, damaged);
  CHECK_EQ(Journal(path).records().size(), 1u);
  put_contents(path, first + std::string(4096, '\0'));  // where the next one was to be
  CHECK_EQ(Journal(path).records().size(), 1u);
  CHECK_EQ(contents_of(path), first);
}

TEST("a bad record with others behind it is damage, and refused") {
  const TemporaryFolder folder;
  const std::string path = folder / "x.journal";
  {
    Journal journal(path);
    journal.append(bytes_of("first"));
    journal.append(bytes_of("second"));
  }
  const std::string both = contents_of(path);
  constexpr std::size_t kFirst = 8 + 8;  // magic, frame
  for (const std::size_t at : {kFirst - 1, kFirst, kFirst + 4}) {
    std::string damaged = both;
    damaged[at] ^= 1;
    put_contents(path, damaged);
    CHECK_THROWS(Journal(path), ParameterError);
    CHECK_EQ(contents_of(path), damaged);
  }
  std::string gap = both;
  gap.replace(8, 8, std::string(8, '\0'));  // not only zeros behind it
  put_contents(path, gap);
  CHECK_THROWS(Journal(path), ParameterError);
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
    CHECK_EQ(output.history().size(), std::size_t{1});
    CHECK(output.history().at(0) == bytes_of("half"));
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
