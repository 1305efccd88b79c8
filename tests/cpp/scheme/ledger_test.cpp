// Layer: tests (scheme). The ledger of openings: one set of uploads a round, remembered over
// restarts, crashes in the middle of a line, and between processes that share a key.
#include "scheme/ledger.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "check.h"
#include "support/child.h"
#include "support/random.h"
#include "support/temporary_folder.h"
#include "veilsum/errors.h"

namespace veilsum::test {
namespace {

using scheme::OpeningLedger;

constexpr std::size_t kLine = 130;

Digest digest(std::uint64_t n) {
  Digest out;
  Random random(n);
  for (std::uint8_t& byte : out) byte = static_cast<std::uint8_t>(random.next());
  return out;
}

std::string line(std::uint64_t round, std::uint64_t manifest) {
  return to_hex(digest(round)) + " " + to_hex(digest(manifest)) + "\n";
}

bool allowed(OpeningLedger& ledger, std::uint64_t round, std::uint64_t manifest) {
  try {
    ledger.record(digest(round), digest(manifest));
    return true;
  } catch (const RoundError&) {
    return false;
  }
}

TEST("in memory: the same again is fine, another set is not, rounds are apart") {
  OpeningLedger ledger;
  CHECK(allowed(ledger, 1, 10));
  CHECK(allowed(ledger, 1, 10));
  CHECK(!allowed(ledger, 1, 11));
  CHECK(allowed(ledger, 2, 11));
  CHECK(allowed(ledger, 1, 10));  // a refusal changes nothing
  CHECK_THROWS_WITH(ledger.record(digest(1), digest(12)), RoundError,
                    to_hex(digest(1)).substr(0, 16));
}

TEST("in a file: one line an opening, written before the answer, mode 0600") {
  const TemporaryFolder folder;
  const std::string path = folder / "key.opened";
  OpeningLedger ledger;
  ledger.attach(path);
  CHECK(allowed(ledger, 1, 10));
  CHECK_EQ(contents_of(path), line(1, 10));
  CHECK(allowed(ledger, 1, 10));
  CHECK(!allowed(ledger, 1, 11));
  CHECK(allowed(ledger, 2, 20));
  CHECK_EQ(contents_of(path), line(1, 10) + line(2, 20));
  CHECK_EQ(mode_of(path), 0600u);
}

TEST("after a restart everything is remembered") {
  const TemporaryFolder folder;
  const std::string path = folder / "key.opened";
  for (std::uint64_t start = 0; start < 5; ++start) {
    OpeningLedger ledger;
    ledger.attach(path);
    for (std::uint64_t round = 0; round < start; ++round) {
      CHECK(!allowed(ledger, round, 1000 + round));
      CHECK(allowed(ledger, round, round));
    }
    CHECK(allowed(ledger, start, start));
  }
  CHECK_EQ(contents_of(path).size(), 5 * kLine);
}

TEST("what was opened in memory joins the file, once") {
  const TemporaryFolder folder;
  const std::string path = folder / "key.opened";
  put_contents(path, line(1, 10));
  OpeningLedger ledger;
  CHECK(allowed(ledger, 1, 10));
  CHECK(allowed(ledger, 2, 20));
  ledger.attach(path);
  CHECK_EQ(contents_of(path), line(1, 10) + line(2, 20));
  CHECK(!allowed(ledger, 2, 21));
  ledger.attach(folder / "elsewhere.opened");
  CHECK_EQ(contents_of(folder / "elsewhere.opened").size(), 2 * kLine);
  CHECK(allowed(ledger, 3, 30));
  CHECK_EQ(contents_of(path).size(), 2 * kLine);
}

TEST("a last line that a crash cut off does not count, and does not spoil the next") {
  for (std::size_t kept = 0; kept < kLine; ++kept) {
    const TemporaryFolder folder;
    const std::string path = folder / "key.opened";
    put_contents(path, line(1, 10) + line(2, 20).substr(0, kept));
    OpeningLedger ledger;
    ledger.attach(path);
    CHECK(!allowed(ledger, 1, 11));
    CHECK(allowed(ledger, 2, 21));  // its opening never returned a key
    CHECK_EQ(contents_of(path), line(1, 10) + line(2, 21));
  }
}

TEST("a crash after attaching: found at the next opening") {
  const TemporaryFolder folder;
  const std::string path = folder / "key.opened";
  OpeningLedger ledger;
  ledger.attach(path);
  CHECK(allowed(ledger, 1, 10));
  put_contents(path, line(1, 10) + line(2, 20).substr(0, 77));  // another process died writing
  CHECK(allowed(ledger, 3, 30));
  CHECK_EQ(contents_of(path), line(1, 10) + line(3, 30));
}

TEST("a file that is no ledger is refused and left as it is") {
  const std::string good = line(1, 10);
  std::vector<std::string> foreign = {
      std::string(kLine, 'x'),
      std::string(kLine, '\0'),
      std::string(1000, '\n'),
      "My diary. Today I learned about ring learning with errors.\n",
      "x",
      good + "notes in the margin",
      good + std::string(kLine, ' '),
      "# comment\n" + good,
      good.substr(0, kLine - 1) + " ",
  };
  for (const std::size_t at : {0u, 31u, 63u, 64u, 65u, 100u, 128u, 129u}) {
    std::string damaged = good;
    damaged[at] = at == 64 ? '0' : 'G';
    foreign.push_back(damaged);
    foreign.push_back(good + damaged);
  }
  std::string upper = good;
  for (char& c : upper) c = c >= 'a' && c <= 'f' ? static_cast<char>(c - 32) : c;
  foreign.push_back(upper);
  for (const std::string& text : foreign) {
    const TemporaryFolder folder;
    const std::string path = folder / "key.opened";
    put_contents(path, text);
    OpeningLedger ledger;
    CHECK_THROWS_WITH(ledger.attach(path), WireFormatError, path);
    CHECK_EQ(contents_of(path), text);
  }
}

TEST("a file that is refused leaves the ledger as it was") {
  const TemporaryFolder folder;
  OpeningLedger ledger;
  CHECK(allowed(ledger, 1, 10));
  put_contents(folder / "foreign", "something else");
  CHECK_THROWS(ledger.attach(folder / "foreign"), WireFormatError);
  CHECK(!allowed(ledger, 1, 11));
  CHECK(allowed(ledger, 2, 20));
  ledger.attach(folder / "key.opened");
  CHECK_THROWS(ledger.attach(folder / "foreign"), WireFormatError);
  CHECK_THROWS(ledger.attach(folder / "no/such/folder"), std::system_error);
  CHECK(allowed(ledger, 3, 30));
  CHECK(!allowed(ledger, 1, 11));
  CHECK_EQ(contents_of(folder / "key.opened").size(), 3 * kLine);
}

TEST("a ledger that others may write is refused") {
  const TemporaryFolder folder;
  const std::string path = folder / "key.opened";
  put_contents(path, line(1, 10), 0666);
  OpeningLedger ledger;
  CHECK_THROWS(ledger.attach(path), ParameterError);
}

TEST("what cannot be recorded is not opened, and does not count as opened") {
  const TemporaryFolder folder;
  const std::string place = folder / "mount";
  CHECK_EQ(::mkdir(place.c_str(), 0700), 0);
  OpeningLedger ledger;
  ledger.attach(place + "/key.opened");
  CHECK(allowed(ledger, 1, 10));
  std::filesystem::remove_all(place);
  CHECK_THROWS(ledger.record(digest(2), digest(20)), std::system_error);
  CHECK_EQ(::mkdir(place.c_str(), 0700), 0);
  CHECK(allowed(ledger, 2, 21));
}

TEST("a disk that is full in the middle of a line: refused, then repaired") {
  const TemporaryFolder folder;
  const std::string path = folder / "key.opened";
  const Ending ending = run_child([&]() -> int {
    ::signal(SIGXFSZ, SIG_IGN);
    OpeningLedger ledger;
    ledger.attach(path);
    if (!allowed(ledger, 1, 10)) return 1;
    rlimit limit{};
    ::getrlimit(RLIMIT_FSIZE, &limit);
    const rlimit narrow{200, limit.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &narrow);
    try {
      ledger.record(digest(2), digest(20));
      return 2;
    } catch (const std::system_error&) {
    }
    if (contents_of(path).size() != 200) return 3;
    ::setrlimit(RLIMIT_FSIZE, &limit);
    if (!allowed(ledger, 2, 21)) return 4;  // the first try opened nothing
    return allowed(ledger, 2, 20) ? 5 : 0;
  });
  CHECK_EQ(ending.exit_status, 0);
  CHECK_EQ(contents_of(path), line(1, 10) + line(2, 21));
}

TEST("another process's opening is seen") {
  const TemporaryFolder folder;
  const std::string path = folder / "key.opened";
  OpeningLedger ledger;
  ledger.attach(path);
  const Ending ending = run_child([&] {
    OpeningLedger theirs;
    theirs.attach(path);
    return allowed(theirs, 1, 10) ? 0 : 1;
  });
  CHECK_EQ(ending.exit_status, 0);
  CHECK(!allowed(ledger, 1, 11));
  CHECK(allowed(ledger, 1, 10));
  CHECK_EQ(contents_of(path), line(1, 10));
}

TEST("processes that race for the same rounds: one wins each") {
  constexpr std::uint64_t kProcesses = 4, kRounds = 24;
  const TemporaryFolder folder;
  const std::string path = folder / "key.opened";
  std::vector<pid_t> children;
  for (std::uint64_t process = 0; process < kProcesses; ++process) {
    children.push_back(start_child([&]() -> int {
      OpeningLedger ledger;
      ledger.attach(path);
      int won = 0;
      for (std::uint64_t round = 0; round < kRounds; ++round) {
        won += allowed(ledger, round, 100 + process);
      }
      return won;
    }));
  }
  int won = 0;
  for (const pid_t child : children) won += wait_for(child).exit_status;
  CHECK_EQ(won, static_cast<int>(kRounds));
  CHECK_EQ(contents_of(path).size(), kRounds * kLine);
  OpeningLedger ledger;
  ledger.attach(path);  // every line is whole
}

TEST("where nothing can be written a ledger attaches, but records nothing") {
  const TemporaryFolder folder;
  const std::string path = folder / "key.opened";
  CHECK(::chmod(folder.path().c_str(), 0555) == 0);
  const Ending ending = run_child([&] {
    if (::geteuid() == 0 && ::setresuid(65534, 65534, 65534) != 0) return 2;
    OpeningLedger ledger;
    ledger.attach(path);
    for (int i = 0; i < 2; ++i) {  // the same error again: nothing was remembered half-way
      try {
        ledger.record(Digest{1}, Digest{static_cast<std::uint8_t>(2 + i)});
        return 3;
      } catch (const std::system_error& error) {
        if (std::string(error.what()).find("must be recorded in") == std::string::npos) return 4;
      }
    }
    OpeningLedger full;
    full.record(Digest{1}, Digest{2});
    try {
      full.attach(path);  // what is known must go to the file at once
    } catch (const std::system_error&) {
      return 7;
    }
    return 5;
  });
  CHECK_EQ(ending.exit_status, 7);
  CHECK(::chmod(folder.path().c_str(), 0755) == 0);
  CHECK(folder.names().empty());
}

TEST("threads that race for the same rounds: one wins each") {
  for (const bool with_file : {false, true}) {
    constexpr std::uint64_t kThreads = 4, kRounds = 20;
    const TemporaryFolder folder;
    OpeningLedger ledger;
    if (with_file) ledger.attach(folder / "key.opened");
    std::atomic<int> won{0};
    std::vector<std::thread> threads;
    for (std::uint64_t thread = 0; thread < kThreads; ++thread) {
      threads.emplace_back([&, thread] {
        for (std::uint64_t round = 0; round < kRounds; ++round) {
          won += allowed(ledger, round, 100 + thread);
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK_EQ(won.load(), static_cast<int>(kRounds));
  }
}

}  // namespace
}  // namespace veilsum::test
