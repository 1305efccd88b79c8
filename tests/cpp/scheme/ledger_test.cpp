// Layer: tests (scheme). The ledger of openings: one set of uploads a round, remembered over
// restarts, crashes in the middle of a record, and between processes that share a key. Its file is
// the key's, one, and not to be lost: another name, another folder or another key does not get
// around it.
#include "scheme/ledger.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "check.h"
#include "support/child.h"
#include "support/ledgers.h"
#include "support/random.h"
#include "support/temporary_folder.h"
#include "veilsum/errors.h"

namespace veilsum::test {
namespace {

using scheme::OpeningLedger;

constexpr std::size_t kRecord = 8 + 64 + 4;

Digest digest(std::uint64_t n) {
  Digest out;
  Random random(n);
  for (std::uint8_t& byte : out) byte = static_cast<std::uint8_t>(random.next());
  return out;
}

const Digest kOwner = digest(1'000'000);

/// A ledger file that lists these rounds and manifests, in order.
std::string file_of(const std::vector<std::pair<std::uint64_t, std::uint64_t>>& openings,
                    const Digest& owner = kOwner) {
  std::string out = ledger_head(1, owner);
  for (const auto& [round, manifest] : openings) {
    out = with_record(out, text_of_digest(digest(round)) + text_of_digest(digest(manifest)));
  }
  return out;
}

bool allowed(OpeningLedger& ledger, std::uint64_t round, std::uint64_t manifest) {
  try {
    ledger.record(digest(round), digest(manifest));
    return true;
  } catch (const RoundError&) {
    return false;
  }
}

/// A ledger that goes on with the file `path`.
struct Loaded : OpeningLedger {
  explicit Loaded(const std::string& path) : OpeningLedger(kOwner) { attach(path); }
};

/// A ledger of a key that is saved for the first time.
struct Saved : OpeningLedger {
  explicit Saved(const std::string& path) : OpeningLedger(kOwner) { keep_at(path); }
};

template <typename F>
int errno_of(F f) {
  try {
    f();
  } catch (const std::system_error& error) {
    return error.code().value();
  }
  return 0;
}

TEST("in memory: the same again is fine, another set is not, rounds are apart") {
  OpeningLedger ledger(kOwner);
  CHECK(allowed(ledger, 1, 10));
  CHECK(allowed(ledger, 1, 10));
  CHECK(!allowed(ledger, 1, 11));
  CHECK(allowed(ledger, 2, 11));
  CHECK(allowed(ledger, 1, 10));  // a refusal changes nothing
  CHECK_THROWS_WITH(ledger.record(digest(1), digest(12)), RoundError,
                    to_hex(digest(1)).substr(0, 16));
}

TEST("in a file: one record an opening, written before the answer, mode 0600") {
  const TemporaryFolder folder;
  const std::string path = folder / "key.opened";
  Saved ledger(path);
  CHECK_EQ(contents_of(path), ledger_head(1, kOwner));  // there before anything is opened
  CHECK(allowed(ledger, 1, 10));
  CHECK_EQ(contents_of(path), file_of({{1, 10}}));
  CHECK(allowed(ledger, 1, 10));
  CHECK(!allowed(ledger, 1, 11));
  CHECK(allowed(ledger, 2, 20));
  CHECK_EQ(contents_of(path), file_of({{1, 10}, {2, 20}}));
  CHECK_EQ(mode_of(path), 0600u);
  CHECK_EQ(folder.names().size(), 1u);
}

TEST("after a restart everything is remembered") {
  const TemporaryFolder folder;
  const std::string path = folder / "key.opened";
  {
    const Saved first(path);
  }
  for (std::uint64_t start = 0; start < 5; ++start) {
    Loaded ledger(path);
    for (std::uint64_t round = 0; round < start; ++round) {
      CHECK(!allowed(ledger, round, 1000 + round));
      CHECK(allowed(ledger, round, round));
    }
    CHECK(allowed(ledger, start, start));
  }
  CHECK_EQ(contents_of(path).size(), kLedgerHead + 5 * kRecord);
}

TEST("what was opened in memory joins the file, once") {
  const TemporaryFolder folder;
  const std::string path = folder / "key.opened";
  put_contents(path, file_of({{1, 10}}));
  OpeningLedger ledger(kOwner);
  CHECK(allowed(ledger, 1, 10));
  CHECK(allowed(ledger, 2, 20));
  ledger.keep_at(path);
  CHECK_EQ(contents_of(path), file_of({{1, 10}, {2, 20}}));
  CHECK(!allowed(ledger, 2, 21));
}

TEST("a missing file is an error, and never a new ledger") {
  const TemporaryFolder folder;
  const std::string path = folder / "key.opened";
  OpeningLedger ledger(kOwner);
  CHECK_EQ(errno_of([&] { ledger.attach(path); }), ENOENT);
  CHECK_THROWS_WITH(ledger.attach(path), std::system_error, "put it back beside its key");
  CHECK(folder.names().empty());
  ledger.keep_at(path);
  CHECK(allowed(ledger, 1, 10));
  std::filesystem::rename(path, folder / "elsewhere.opened");
  CHECK_EQ(errno_of([&] { ledger.record(digest(2), digest(20)); }), ENOENT);
  CHECK(!allowed(ledger, 1, 11));  // this process knows
  CHECK_EQ(errno_of([&] { ledger.record(digest(1), digest(10)); }), ENOENT);
  CHECK_EQ(errno_of([&] { ledger.keep_at(folder / "copy.opened"); }), ENOENT);
  CHECK_EQ(errno_of([&] { const Loaded other(path); }), ENOENT);
  CHECK_EQ(folder.names().size(), 1u);
  std::filesystem::rename(folder / "elsewhere.opened", path);
  CHECK(allowed(ledger, 2, 21));  // the refusal counted nothing
  CHECK_EQ(contents_of(path), file_of({{1, 10}, {2, 21}}));
}

TEST("another key's ledger, or one of another kind, is refused and left as it is") {
  const TemporaryFolder folder;
  const std::string path = folder / "key.opened";
  const std::string theirs = file_of({{1, 10}}, digest(77));
  put_contents(path, theirs);
  OpeningLedger ledger(kOwner);
  CHECK_THROWS_WITH(ledger.attach(path), KeyMismatchError, "of another key");
  CHECK_THROWS(ledger.keep_at(path), KeyMismatchError);
  CHECK_EQ(contents_of(path), theirs);
  put_contents(path, ledger_head(2, kOwner));
  CHECK_THROWS(ledger.attach(path), WireFormatError);
  CHECK_THROWS(ledger.keep_at(path), WireFormatError);
  CHECK(allowed(ledger, 1, 11));  // in memory, as before
}

TEST("the folder that a relative name was said in counts, wherever the process goes") {
  const TemporaryFolder folder;
  CHECK_EQ(::mkdir((folder / "other").c_str(), 0700), 0);
  const Ending ending = run_child([&] {
    if (::chdir(folder.path().c_str()) != 0) return 1;
    Saved saved("key.opened");
    Loaded loaded("key.opened");
    if (::chdir("other") != 0) return 2;
    if (!allowed(saved, 1, 10)) return 3;
    if (allowed(loaded, 1, 11)) return 4;
    if (!allowed(loaded, 2, 20)) return 5;
    return contents_of(folder / "key.opened") == file_of({{1, 10}, {2, 20}}) ? 0 : 6;
  });
  CHECK_EQ(ending.exit_status, 0);
  CHECK(std::filesystem::is_empty(folder / "other"));
}

TEST("a second key file shares the ledger by a link, and detaches nothing") {
  const TemporaryFolder folder;
  CHECK_EQ(::mkdir((folder / "away").c_str(), 0700), 0);
  const std::string path = folder / "key.opened";
  const std::string second = folder / "away/key.opened";
  Saved ledger(path);
  CHECK(allowed(ledger, 1, 10));
  for (int i = 0; i < 2; ++i) {  // again is no error
    ledger.keep_at(second);
    ledger.keep_at(path);
  }
  CHECK(std::filesystem::is_symlink(second));
  CHECK_EQ(contents_of(second), file_of({{1, 10}}));
  CHECK(allowed(ledger, 2, 20));
  CHECK_EQ(contents_of(path), file_of({{1, 10}, {2, 20}}));
  Loaded first_file(path), second_file(second);
  CHECK(allowed(second_file, 3, 30));
  CHECK(!allowed(first_file, 3, 31));
  CHECK(!allowed(ledger, 3, 31));
  // A key from a vault, saved where the link is: the same ledger.
  OpeningLedger vault(kOwner);
  CHECK(allowed(vault, 4, 40));
  vault.keep_at(second);
  CHECK(!allowed(first_file, 4, 41));
  CHECK(!allowed(vault, 3, 31));
  CHECK_EQ(contents_of(path), file_of({{1, 10}, {2, 20}, {3, 30}, {4, 40}}));
  // The first one moved: the link leads nowhere, and says so.
  std::filesystem::rename(path, folder / "moved.opened");
  CHECK_EQ(errno_of([&] { const Loaded lost(second); }), ENOENT);
  CHECK_EQ(errno_of([&] { const Saved lost(second); }), ENOENT);  // and makes no new one
  CHECK(!std::filesystem::exists(path));
}

TEST("what is in the way of a link is refused and stays") {
  const TemporaryFolder folder;
  Saved ledger(folder / "key.opened");
  for (const std::string& text : {file_of({}), file_of({{1, 10}}, digest(5)), std::string("x")}) {
    put_contents(folder / "other.opened", text);
    CHECK_THROWS_WITH(ledger.keep_at(folder / "other.opened"), ParameterError, "in the way");
    CHECK_EQ(contents_of(folder / "other.opened"), text);
  }
  CHECK_EQ(::symlink("nothing", (folder / "link.opened").c_str()), 0);
  CHECK_THROWS_WITH(ledger.keep_at(folder / "link.opened"), ParameterError, "in the way");
  CHECK(allowed(ledger, 1, 10));
  CHECK_EQ(contents_of(folder / "key.opened"), file_of({{1, 10}}));
}

TEST("a ledger has one name: with hard links it is refused") {
  const TemporaryFolder folder;
  const std::string path = folder / "key.opened";
  Saved ledger(path);
  CHECK(allowed(ledger, 1, 10));
  CHECK_EQ(::link(path.c_str(), (folder / "second.opened").c_str()), 0);
  CHECK_THROWS_WITH(Loaded(path), ParameterError, "2 names");
  CHECK_THROWS_WITH(Loaded(folder / "second.opened"), ParameterError, "2 names");
  CHECK_THROWS_WITH(ledger.record(digest(2), digest(20)), ParameterError, "2 names");
  CHECK_EQ(::unlink((folder / "second.opened").c_str()), 0);
  CHECK(allowed(ledger, 2, 21));
}

TEST("a ledger that was exchanged for an older one is refused by who knows better") {
  const TemporaryFolder folder;
  const std::string path = folder / "key.opened";
  Saved ledger(path);
  CHECK(allowed(ledger, 1, 10));
  const std::string old = contents_of(path);
  CHECK(allowed(ledger, 2, 20));
  const std::string now = contents_of(path);
  for (const std::string& text :
       {old, file_of({}), file_of({{2, 20}}), file_of({{1, 11}, {2, 20}})}) {
    std::filesystem::remove(path);
    put_contents(path, text);
    CHECK_THROWS_WITH(ledger.record(digest(3), digest(30)), RoundError, "exchanged for an older");
    CHECK_EQ(contents_of(path), text);
    CHECK(!allowed(ledger, 2, 21));
  }
  put_contents(path, now);
  CHECK(allowed(ledger, 3, 31));
}

TEST("a last record that a crash cut off does not count, and does not spoil the next") {
  const std::string whole = file_of({{1, 10}});
  const std::string both = file_of({{1, 10}, {2, 20}});
  const std::string after = file_of({{1, 10}, {2, 21}});
  const auto goes_on = [&](const std::string& text) {
    const TemporaryFolder folder;
    const std::string path = folder / "key.opened";
    put_contents(path, text);
    Loaded ledger(path);
    CHECK_EQ(contents_of(path), whole);
    CHECK(!allowed(ledger, 1, 11));
    CHECK(allowed(ledger, 2, 21));  // its opening never returned a key
    CHECK_EQ(contents_of(path), after);
  };
  for (std::size_t kept = 0; kept < kRecord; ++kept) {
    goes_on(both.substr(0, whole.size() + kept));
    // Zeros where bytes were to be: as far as the checksum, at least.
    if (kept == 0 || (kept >= 8 && kept <= kRecord - 4)) {
      goes_on(both.substr(0, whole.size() + kept) + std::string(kRecord - kept, '\0'));
    }
  }
  goes_on(whole + std::string(5000, '\0'));
}

TEST("a crash after attaching: found at the next opening") {
  const TemporaryFolder folder;
  const std::string path = folder / "key.opened";
  Saved ledger(path);
  CHECK(allowed(ledger, 1, 10));
  put_contents(path, file_of({{1, 10}, {2, 20}}).substr(0, 150));  // another process died writing
  CHECK(allowed(ledger, 3, 30));
  CHECK_EQ(contents_of(path), file_of({{1, 10}, {3, 30}}));
}

TEST("a crash while the file was made: only who saves a key finishes it") {
  const std::string head = ledger_head(1, kOwner);
  for (std::size_t kept = 0; kept < head.size(); ++kept) {
    const TemporaryFolder folder;
    const std::string path = folder / "key.opened";
    for (const std::string& rest : {std::string(), std::string(head.size() - 1 - kept, '\0')}) {
      if (kept != 0 && !rest.empty()) continue;
      put_contents(path, head.substr(0, kept) + rest);
      CHECK_THROWS(Loaded(path), WireFormatError);
      Saved ledger(path);
      CHECK(allowed(ledger, 1, 10));
      CHECK_EQ(contents_of(path), file_of({{1, 10}}));
    }
  }
}

TEST("a file that is no ledger, or damaged anywhere, is refused and left as it is") {
  const std::string good = file_of({{1, 10}, {2, 20}});
  std::vector<std::string> foreign = {
      std::string(kRecord, 'x'),
      std::string(kLedgerHead, '\0'),
      std::string(1000, '\n'),
      "My diary. Today I learned about ring learning with errors.\n",
      "x",
      good + "notes in the margin",
      good + std::string(kRecord, ' '),
      "# comment\n" + good,
      with_record(good, ""),
      with_record(good, "short"),
      with_record(good, std::string(63, 'a')),
      with_record(good, std::string(65, 'a')),
      // A whole record in another's place.
      file_of({}) + file_of({{1, 10}, {2, 20}}).substr(kLedgerHead + kRecord),
      good + file_of({{3, 30}}).substr(kLedgerHead),
  };
  // One bit anywhere: a flipped last record is no crash's doing.
  for (std::size_t at = 0; at < good.size(); ++at) {
    std::string damaged = good;
    damaged[at] = static_cast<char>(damaged[at] ^ (1 << (at % 8)));
    foreign.push_back(damaged);
  }
  for (const std::string& text : foreign) {
    const TemporaryFolder folder;
    const std::string path = folder / "key.opened";
    put_contents(path, text);
    OpeningLedger ledger(kOwner);
    CHECK_THROWS_WITH(ledger.attach(path), WireFormatError, path);
    CHECK_THROWS(ledger.keep_at(path), WireFormatError);
    CHECK_EQ(contents_of(path), text);
  }
}

TEST("a length that claims more than a file has takes no memory") {
  const TemporaryFolder folder;
  const std::string path = folder / "key.opened";
  const std::string head = ledger_head(1, kOwner);
  const std::string length = number_bytes(0xffffffffu, 4);
  const std::string frame =
      length + number_bytes(plain_crc32c(number_bytes(head.size(), 8) + length), 4);
  put_contents(path, head + frame + "the rest was never written");
  const Ending ending = run_child([&]() -> int {
    if (!limit_memory(std::uint64_t{3} << 30)) return 1;
    Loaded ledger(path);
    return allowed(ledger, 1, 10) ? 0 : 2;
  });
  CHECK_EQ(ending.exit_status, 0);
  CHECK_EQ(contents_of(path), file_of({{1, 10}}));
}

TEST("a file that is refused leaves the ledger as it was") {
  const TemporaryFolder folder;
  OpeningLedger ledger(kOwner);
  CHECK(allowed(ledger, 1, 10));
  put_contents(folder / "foreign", std::string(100, 'x'));
  CHECK_THROWS(ledger.keep_at(folder / "foreign"), WireFormatError);
  CHECK(!allowed(ledger, 1, 11));
  CHECK(allowed(ledger, 2, 20));
  CHECK_THROWS(ledger.attach(folder / "foreign"), ParameterError);  // something was opened
  ledger.keep_at(folder / "key.opened");
  CHECK_THROWS(ledger.keep_at(folder / "foreign"), ParameterError);
  CHECK_THROWS(ledger.keep_at(folder / "no/such/folder"), std::system_error);
  CHECK_THROWS(ledger.attach(folder / "key.opened"), ParameterError);
  CHECK(allowed(ledger, 3, 30));
  CHECK(!allowed(ledger, 1, 11));
  CHECK_EQ(contents_of(folder / "key.opened"), file_of({{1, 10}, {2, 20}, {3, 30}}));
}

TEST("a ledger that others may access is refused") {
  for (const unsigned mode : {0640u, 0604u, 0602u, 0660u, 0666u, 0601u}) {
    const TemporaryFolder folder;
    const std::string path = folder / "key.opened";
    put_contents(path, file_of({{1, 10}}), mode);
    OpeningLedger ledger(kOwner);
    CHECK_THROWS_WITH(ledger.attach(path), ParameterError, "chmod 600");
    CHECK_THROWS_WITH(ledger.keep_at(path), ParameterError, "chmod 600");
  }
}

TEST("a pipe, a folder or a link in the file's place is refused, not waited for") {
  const TemporaryFolder folder;
  const std::string path = folder / "key.opened";
  Saved ledger(path);
  std::filesystem::remove(path);
  CHECK_EQ(::mkfifo(path.c_str(), 0600), 0);
  CHECK_THROWS(ledger.record(digest(1), digest(10)), ParameterError);
  std::filesystem::remove(path);
  CHECK_EQ(::mkdir(path.c_str(), 0700), 0);
  CHECK_EQ(errno_of([&] { ledger.record(digest(1), digest(10)); }), EISDIR);
  std::filesystem::remove(path);
  put_contents(folder / "planted", file_of({}));
  CHECK_EQ(::symlink("planted", path.c_str()), 0);
  CHECK_EQ(errno_of([&] { ledger.record(digest(1), digest(10)); }), ELOOP);
}

TEST("what cannot be recorded is not opened, and does not count as opened") {
  const TemporaryFolder folder;
  const std::string place = folder / "mount";
  CHECK_EQ(::mkdir(place.c_str(), 0700), 0);
  Saved ledger(place + "/key.opened");
  CHECK(allowed(ledger, 1, 10));
  std::filesystem::rename(place, folder / "unmounted");
  CHECK_THROWS(ledger.record(digest(2), digest(20)), std::system_error);
  std::filesystem::rename(folder / "unmounted", place);
  CHECK(allowed(ledger, 2, 21));
}

TEST("a disk that is full in the middle of a record: refused, and nothing of it stays") {
  const TemporaryFolder folder;
  const std::string path = folder / "key.opened";
  const Ending ending = run_child([&]() -> int {
    ::signal(SIGXFSZ, SIG_IGN);
    Saved ledger(path);
    if (!allowed(ledger, 1, 10)) return 1;
    rlimit limit{};
    ::getrlimit(RLIMIT_FSIZE, &limit);
    for (rlim_t more = 0; more < kRecord; ++more) {
      const rlimit narrow{kLedgerHead + kRecord + more, limit.rlim_max};
      ::setrlimit(RLIMIT_FSIZE, &narrow);
      try {
        ledger.record(digest(2), digest(20));
        return 2;
      } catch (const std::system_error&) {
      }
      if (contents_of(path) != file_of({{1, 10}})) return 3;
    }
    ::setrlimit(RLIMIT_FSIZE, &limit);
    if (!allowed(ledger, 2, 21)) return 4;  // the first try opened nothing
    return allowed(ledger, 2, 20) ? 5 : 0;
  });
  CHECK_EQ(ending.exit_status, 0);
  CHECK_EQ(contents_of(path), file_of({{1, 10}, {2, 21}}));
}

TEST("killed at any moment: what was answered is in the file, and the file is whole") {
  Random random(5);
  for (int run = 0; run < 12; ++run) {
    const TemporaryFolder folder;
    const std::string path = folder / "key.opened";
    {
      const Saved first(path);
    }
    int pipe[2];
    CHECK_EQ(::pipe(pipe), 0);
    const pid_t child = start_child([&]() -> int {
      Loaded ledger(path);
      for (std::uint64_t round = 0;; ++round) {
        ledger.record(digest(round), digest(round + 500));
        const auto told = static_cast<std::uint8_t>(round);
        if (round < 250 && ::write(pipe[1], &told, 1) != 1) return 1;
      }
    });
    ::close(pipe[1]);
    ::usleep(static_cast<useconds_t>(2000 + random.below(20'000)));
    ::kill(child, SIGKILL);
    wait_for(child);
    Loaded ledger(path);
    std::uint8_t told = 0;
    while (::read(pipe[0], &told, 1) == 1) CHECK(!allowed(ledger, told, 9999));
    ::close(pipe[0]);
    CHECK_EQ((contents_of(path).size() - kLedgerHead) % kRecord, 0u);
  }
}

TEST("another process's opening is seen") {
  const TemporaryFolder folder;
  const std::string path = folder / "key.opened";
  Saved ledger(path);
  const Ending ending = run_child([&] {
    Loaded theirs(path);
    return allowed(theirs, 1, 10) ? 0 : 1;
  });
  CHECK_EQ(ending.exit_status, 0);
  CHECK(!allowed(ledger, 1, 11));
  CHECK(allowed(ledger, 1, 10));
  CHECK_EQ(contents_of(path), file_of({{1, 10}}));
}

TEST("processes that race for the same rounds, the file's making included: one wins each") {
  constexpr std::uint64_t kProcesses = 4, kRounds = 24;
  const TemporaryFolder folder;
  const std::string path = folder / "key.opened";
  std::vector<pid_t> children;
  for (std::uint64_t process = 0; process < kProcesses; ++process) {
    children.push_back(start_child([&]() -> int {
      Saved ledger(path);
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
  CHECK_EQ(contents_of(path).size(), kLedgerHead + kRounds * kRecord);
  const Loaded ledger(path);  // every record is whole
}

TEST("where nothing can be written a ledger attaches and refuses, but records nothing") {
  const TemporaryFolder folder;
  const std::string path = folder / "key.opened";
  constexpr unsigned kNobody = 65534;
  const std::string torn = file_of({{1, 10}, {2, 20}}).substr(0, kLedgerHead + kRecord + 30);
  put_contents(path, torn, 0400);
  if (::geteuid() == 0) CHECK_EQ(::chown(path.c_str(), kNobody, kNobody), 0);
  CHECK(::chmod(folder.path().c_str(), 0555) == 0);
  const Ending ending = run_child([&] {
    if (::geteuid() == 0 && ::setresuid(kNobody, kNobody, kNobody) != 0) return 2;
    Loaded ledger(path);
    if (allowed(ledger, 1, 11)) return 3;
    for (int i = 0; i < 2; ++i) {  // the same error again: nothing was remembered half-way
      try {
        ledger.record(Digest{1}, Digest{static_cast<std::uint8_t>(2 + i)});
        return 4;
      } catch (const std::system_error& error) {
        if (std::string(error.what()).find("must be recorded in") == std::string::npos) return 5;
      }
    }
    OpeningLedger full(kOwner);
    full.record(Digest{1}, Digest{2});
    try {
      full.keep_at(folder / "new.opened");  // what is known must go to the file at once
      return 6;
    } catch (const std::system_error&) {
    }
    // A folder that cannot be written is no hindrance where the file can.
    return ::chmod(path.c_str(), 0600) == 0 && allowed(ledger, 2, 21) ? 7 : 8;
  });
  CHECK_EQ(ending.exit_status, 7);
  CHECK(::chmod(folder.path().c_str(), 0755) == 0);
  CHECK_EQ(contents_of(path), file_of({{1, 10}, {2, 21}}));
  CHECK_EQ(folder.names().size(), 1u);
}

TEST("a forked child without a file neither opens nor makes one; with a file it shares it") {
  const TemporaryFolder folder;
  OpeningLedger memory(kOwner);
  Saved saved(folder / "key.opened");
  const Ending ending = run_child([&] {
    try {
      memory.record(digest(1), digest(10));
      return 1;
    } catch (const RoundError&) {
    }
    try {
      memory.keep_at(folder / "child.opened");
      return 2;
    } catch (const RoundError&) {
    }
    return allowed(saved, 1, 10) ? 0 : 3;
  });
  CHECK_EQ(ending.exit_status, 0);
  CHECK(!allowed(saved, 1, 11));
  CHECK(allowed(memory, 1, 11));
  CHECK_EQ(folder.names().size(), 1u);
}

TEST("threads that race for the same rounds: one wins each") {
  for (const bool with_file : {false, true}) {
    constexpr std::uint64_t kThreads = 4, kRounds = 20;
    const TemporaryFolder folder;
    OpeningLedger ledger(kOwner);
    if (with_file) ledger.keep_at(folder / "key.opened");
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
