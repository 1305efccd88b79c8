// Layer: tests (scheme). What a member has signed: one manifest a round, one round a step, one
// answer, one challenge an upload, and what the next sum of a training must hold; over restarts,
// crashes, threads and processes.
#include "scheme/member_ledger.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <iterator>
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

using scheme::ClientIds;
using scheme::EndorsedRound;
using scheme::MemberLedger;

Digest digest(std::uint64_t n) {
  Digest out;
  Random random(n);
  for (std::uint8_t& byte : out) byte = static_cast<std::uint8_t>(random.next());
  return out;
}

const Digest kMember = digest(1'000'000);
const Digest kReader = digest(2'000'000);

/// Round n of step n, unless said otherwise.
EndorsedRound round_of(std::uint64_t n, std::uint64_t manifest) {
  return {digest(n), digest(manifest), digest(700), n, digest(800)};
}

Bytes sealed(std::uint64_t n, std::size_t bytes = 40) {
  Bytes out(bytes);
  Random random(n);
  for (std::uint8_t& byte : out) byte = static_cast<std::uint8_t>(random.next());
  return out;
}

std::string text_of(const Bytes& bytes) { return {bytes.begin(), bytes.end()}; }

std::string endorsed_record(const EndorsedRound& round) {
  return std::string(1, '\1') + text_of_digest(round.round_id) + text_of_digest(round.manifest) +
         text_of_digest(round.training) + number_bytes(round.step, 8) +
         text_of_digest(round.purpose);
}

std::string answered_record(const Digest& round, const Digest& manifest, const Bytes& answer,
                            const Digest& reader = kReader) {
  return std::string(1, '\2') + text_of_digest(round) + text_of_digest(manifest) +
         text_of_digest(reader) + text_of(answer);
}

std::string challenged_record(const Digest& round, std::uint32_t client, const Digest& challenge) {
  return std::string(1, '\3') + text_of_digest(round) + number_bytes(client, 4) +
         text_of_digest(challenge);
}

std::string opened_record(const Digest& round, const Digest& manifest, const Bytes& words) {
  return std::string(1, '\4') + text_of_digest(round) + text_of_digest(manifest) + text_of(words);
}

std::string lost_record(const EndorsedRound& round, const ClientIds& clients) {
  std::string out = std::string(1, '\5') + text_of_digest(round.round_id) +
                    text_of_digest(round.manifest) + text_of_digest(round.training);
  for (const Digest& id : clients) out += text_of_digest(id);
  return out;
}

ClientIds clients_of(std::initializer_list<std::uint64_t> numbers) {
  ClientIds out;
  for (const std::uint64_t n : numbers) out.insert(digest(900 + n));
  return out;
}

std::string file_of(const std::vector<std::string>& records, const Digest& owner = kMember) {
  std::string out = ledger_head(2, owner);
  for (const std::string& record : records) out = with_record(out, record);
  return out;
}

/// A folder with the new ledger of a member.
struct Place {
  TemporaryFolder folder;
  std::string path = folder / "opened.ledger";
  Place() { MemberLedger::create(path, kMember); }
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

template <typename F>
bool allowed(F f) {
  try {
    f();
    return true;
  } catch (const RoundError&) {
    return false;
  }
}

TEST("the file is what the format says, mode 0600, each record there when the call returns") {
  const Place place;
  std::vector<std::string> records;
  CHECK_EQ(contents_of(place.path), file_of(records));
  CHECK_EQ(mode_of(place.path), 0600u);
  MemberLedger ledger(place.path, kMember);
  const EndorsedRound round = round_of(1, 10);
  CHECK(ledger.endorse(round));
  records.push_back(endorsed_record(round));
  CHECK_EQ(contents_of(place.path), file_of(records));
  CHECK(ledger.answer(digest(1), digest(10), kReader, sealed(5)) == sealed(5));
  records.push_back(answered_record(digest(1), digest(10), sealed(5)));
  CHECK_EQ(contents_of(place.path), file_of(records));
  CHECK(ledger.challenge(digest(1), 3, digest(50)));
  records.push_back(challenged_record(digest(1), 3, digest(50)));
  CHECK_EQ(contents_of(place.path), file_of(records));
  // The same again: known, and nothing is written.
  CHECK(!ledger.endorse(round));
  CHECK(ledger.answer(digest(1), digest(10), kReader, sealed(6)) == sealed(5));
  CHECK(!ledger.challenge(digest(1), 3, digest(50)));
  CHECK_EQ(contents_of(place.path), file_of(records));
  CHECK_EQ(place.folder.names().size(), 1u);
}

TEST("a round is endorsed for one manifest, a step of a training for one round") {
  const Place place;
  MemberLedger ledger(place.path, kMember);
  CHECK(!ledger.endorsed(digest(1)));
  CHECK(ledger.endorse(round_of(1, 10)));
  CHECK(ledger.endorsed(digest(1)) == digest(10));
  const std::string before = contents_of(place.path);
  CHECK_THROWS_WITH(ledger.endorse(round_of(1, 11)), RoundError, "endorsed before");
  EndorsedRound again = round_of(2, 20);
  again.step = 1;
  CHECK_THROWS_WITH(ledger.endorse(again), RoundError, to_hex(digest(1)).substr(0, 16));
  EndorsedRound altered = round_of(1, 10);
  altered.step = 9;
  CHECK_THROWS(ledger.endorse(altered), RoundError);
  CHECK_EQ(contents_of(place.path), before);
  CHECK(!ledger.endorsed(digest(2)));
  // Another step, purpose or training is another one.
  EndorsedRound purpose = round_of(2, 20), training = round_of(3, 30);
  purpose.step = training.step = 1;
  purpose.purpose = digest(801);
  training.training = digest(701);
  CHECK(ledger.endorse(purpose));
  CHECK(ledger.endorse(training));
  EndorsedRound largest = round_of(4, 40);
  largest.step = ~std::uint64_t{0};
  CHECK(ledger.endorse(largest));
  CHECK(!ledger.endorse(largest));
}

TEST("an answer is for what was endorsed, to one reader, and the same bytes for ever") {
  const Place place;
  {
    MemberLedger ledger(place.path, kMember);
    CHECK_THROWS_WITH(ledger.answer(digest(1), digest(10), kReader, sealed(1)), RoundError,
                      "not endorsed");
    CHECK_THROWS(ledger.answered(digest(1), digest(10), kReader), RoundError);
    ledger.endorse(round_of(1, 10));
    CHECK(!ledger.answered(digest(1), digest(10), kReader));
    CHECK_THROWS_WITH(ledger.answer(digest(1), digest(11), kReader, sealed(1)), RoundError,
                      "another set");
    CHECK_THROWS(ledger.answer(digest(1), digest(10), kReader, {}), ParameterError);
    CHECK(ledger.answer(digest(1), digest(10), kReader, sealed(1)) == sealed(1));
    CHECK(ledger.answered(digest(1), digest(10), kReader) == sealed(1));
    CHECK_THROWS_WITH(ledger.answer(digest(1), digest(10), digest(3), sealed(1)), RoundError,
                      "another reader");
    CHECK_THROWS(ledger.answered(digest(1), digest(10), digest(3)), RoundError);
    CHECK_THROWS(ledger.answered(digest(1), digest(11), kReader), RoundError);
    // One byte, and more than is read at once.
    for (const std::size_t bytes : {std::size_t{1}, std::size_t{300'000}}) {
      ledger.endorse(round_of(100 + bytes, 20));
      ledger.answer(digest(100 + bytes), digest(20), kReader, sealed(bytes, bytes));
    }
  }
  MemberLedger ledger(place.path, kMember);
  CHECK(ledger.answered(digest(1), digest(10), kReader) == sealed(1));
  CHECK(ledger.answer(digest(1), digest(10), kReader, sealed(2)) == sealed(1));
  for (const std::size_t bytes : {std::size_t{1}, std::size_t{300'000}}) {
    CHECK(ledger.answered(digest(100 + bytes), digest(20), kReader) == sealed(bytes, bytes));
  }
}

TEST("one challenge an upload") {
  const Place place;
  for (int start = 0; start < 2; ++start) {
    MemberLedger ledger(place.path, kMember);
    CHECK_EQ(ledger.challenge(digest(1), 0, digest(50)), start == 0);
    CHECK_THROWS_WITH(ledger.challenge(digest(1), 0, digest(51)), RoundError, "client 0");
    CHECK_EQ(ledger.challenge(digest(1), 0xffffffffu, digest(51)), start == 0);
    CHECK_EQ(ledger.challenge(digest(2), 0, digest(51)), start == 0);
    CHECK_THROWS(ledger.challenge(digest(2), 0, digest(50)), RoundError);
  }
}

TEST("a file is made once, and must be there, of this member, its own and alone") {
  const Place place;
  CHECK_THROWS_WITH(MemberLedger::create(place.path, kMember), ParameterError, "there already");
  CHECK_EQ(errno_of([&] { MemberLedger(place.folder / "none", kMember); }), ENOENT);
  CHECK_THROWS_WITH(MemberLedger(place.folder / "none", kMember), std::system_error, "is missing");
  CHECK_EQ(place.folder.names().size(), 1u);
  CHECK_THROWS_WITH(MemberLedger(place.path, digest(4)), KeyMismatchError, "of another identity");
  put_contents(place.folder / "key.opened", ledger_head(1, kMember));  // a key's
  CHECK_THROWS(MemberLedger(place.folder / "key.opened", kMember), WireFormatError);
  for (const unsigned mode : {0640u, 0602u, 0666u}) {
    ::chmod(place.path.c_str(), static_cast<mode_t>(mode));
    CHECK_THROWS_WITH(MemberLedger(place.path, kMember), ParameterError, "chmod 600");
  }
  ::chmod(place.path.c_str(), 0600);
  MemberLedger ledger(place.path, kMember);
  CHECK_EQ(::link(place.path.c_str(), (place.folder / "second").c_str()), 0);
  CHECK_THROWS_WITH(MemberLedger(place.folder / "second", kMember), ParameterError, "2 names");
  CHECK_THROWS_WITH(ledger.endorse(round_of(1, 10)), ParameterError, "2 names");
  std::filesystem::remove(place.folder / "second");
  CHECK_EQ(::symlink("opened.ledger", (place.folder / "link").c_str()), 0);
  MemberLedger linked(place.folder / "link", kMember);
  CHECK_EQ(linked.path(), std::filesystem::canonical(place.path).string());
  CHECK(linked.endorse(round_of(1, 10)));
  CHECK(!allowed([&] { ledger.endorse(round_of(1, 11)); }));
  std::filesystem::remove(place.path);
  CHECK_EQ(errno_of([&] { ledger.endorse(round_of(2, 20)); }), ENOENT);
  CHECK_THROWS(MemberLedger::create(place.folder / "link", kMember), ParameterError);
  CHECK(!std::filesystem::exists(place.path));
}

TEST("a crash while the file was made: making it again finishes it") {
  const std::string head = ledger_head(2, kMember);
  for (std::size_t kept = 0; kept < head.size(); ++kept) {
    const TemporaryFolder folder;
    put_contents(folder / "ledger", head.substr(0, kept));
    CHECK_THROWS(MemberLedger(folder / "ledger", kMember), WireFormatError);
    MemberLedger::create(folder / "ledger", kMember);
    CHECK(MemberLedger(folder / "ledger", kMember).endorse(round_of(1, 10)));
  }
}

TEST("what challenges were answered with is one, for one sum, and the same bytes for ever") {
  const Place place;
  {
    MemberLedger ledger(place.path, kMember);
    CHECK(!ledger.challenges_answered(digest(1), digest(10)));
    CHECK_THROWS(ledger.challenge_answer(digest(1), digest(10), {}), ParameterError);
    CHECK(ledger.challenge_answer(digest(1), digest(10), sealed(1)) == sealed(1));
    CHECK_EQ(contents_of(place.path), file_of({opened_record(digest(1), digest(10), sealed(1))}));
    ledger.endorse(round_of(2, 20));
    CHECK_THROWS_WITH(ledger.challenge_answer(digest(2), digest(21), sealed(1)), RoundError,
                      "another set");
    CHECK(ledger.challenge_answer(digest(2), digest(20), sealed(2)) == sealed(2));
  }
  MemberLedger ledger(place.path, kMember);
  CHECK(ledger.challenges_answered(digest(1), digest(10)) == sealed(1));
  CHECK(ledger.challenge_answer(digest(1), digest(10), sealed(3)) == sealed(1));
  CHECK(ledger.challenges_answered(digest(2), digest(20)) == sealed(2));
  CHECK_THROWS_WITH(ledger.challenges_answered(digest(1), digest(11)), RoundError, "another set");
  CHECK_THROWS(ledger.challenge_answer(digest(1), digest(11), sealed(1)), RoundError);
}

TEST(
    "after a loss sums hold the lost round's clients, until one that was endorsed later is "
    "answered") {
  const Place place;
  MemberLedger ledger(place.path, kMember), another(place.path, kMember);
  const EndorsedRound lost = round_of(1, 10), early = round_of(2, 20), later = round_of(3, 30);
  const ClientIds all = clients_of({1, 2, 3}), fewer = clients_of({1, 3});
  ledger.endorse(lost, all);
  ledger.endorse(early, fewer);
  CHECK(ledger.lose(lost, all));
  CHECK(!ledger.lose(lost, all));
  CHECK_EQ(contents_of(place.path),
           file_of({endorsed_record(lost), endorsed_record(early), lost_record(lost, all)}));
  for (MemberLedger* one : {&ledger, &another}) {
    CHECK_THROWS_WITH(one->endorse(later, fewer), RoundError, to_hex(digest(902)).substr(0, 16));
    CHECK_THROWS_WITH(one->endorse(later, {}), RoundError, "lacks 3 client(s)");
    CHECK_THROWS_WITH(one->endorse(lost, all), RoundError, "was lost");
    CHECK_THROWS_WITH(one->endorse(early, fewer), RoundError, "lacks 1 client(s)");
    CHECK(!one->endorse_to_blame(lost));
  }
  // Neither the lost round is answered, nor what was endorsed before the loss and lacks a client:
  // endorse() of another process may have allowed it when there was no loss.
  CHECK_THROWS_WITH(ledger.answer(digest(1), digest(10), kReader, sealed(1), all), RoundError,
                    "was lost");
  CHECK_THROWS_WITH(ledger.answer(digest(2), digest(20), kReader, sealed(1), fewer), RoundError,
                    "lacks 1 client(s)");
  // With all of them it may be, and takes nothing away.
  CHECK(ledger.answer(digest(2), digest(20), kReader, sealed(1), all) == sealed(1));
  CHECK(another.answer(digest(2), digest(20), kReader, sealed(2), fewer) == sealed(1));
  CHECK_THROWS(another.endorse(later, fewer), RoundError);
  CHECK(!another.endorse(early, fewer));  // answered: it says the same again
  CHECK(ledger.endorse(later, clients_of({1, 2, 3, 4})));
  EndorsedRound last = round_of(4, 40);
  CHECK_THROWS(another.endorse(last, fewer), RoundError);  // endorsed is not answered
  EndorsedRound foreign = round_of(5, 50);
  foreign.training = digest(701);
  CHECK(another.endorse(foreign, fewer));
  another.answer(digest(5), digest(50), kReader, sealed(3));
  CHECK_THROWS(another.endorse(last, fewer), RoundError);
  another.answer(digest(3), digest(30), kReader, sealed(4), all);
  CHECK(MemberLedger(place.path, kMember).endorse(last, fewer));
  // Another loss is another requirement; both are told apart.
  CHECK(ledger.lose(last, fewer));
  CHECK_THROWS(another.endorse(round_of(6, 60), clients_of({1, 2})), RoundError);
  CHECK(another.endorse(round_of(6, 60), fewer));
}

TEST("a loss is recorded of one sum, and a verdict only ever takes clients away") {
  const Place place;
  MemberLedger ledger(place.path, kMember);
  const EndorsedRound lost = round_of(1, 10);
  CHECK(ledger.lose(lost, clients_of({1, 2, 3})));  // not endorsed here
  CHECK_THROWS_WITH(ledger.lose(round_of(1, 11), clients_of({1})), RoundError, "another set");
  CHECK_THROWS_WITH(ledger.endorse_to_blame(round_of(1, 11)), RoundError, "another set");
  CHECK(ledger.endorse_to_blame(lost));
  CHECK(ledger.lose(lost, clients_of({1, 3, 4})));
  CHECK(!ledger.lose(lost, clients_of({1, 2, 3})));
  CHECK(ledger.endorse(round_of(2, 20), clients_of({1, 3})));
  CHECK_EQ(contents_of(place.path),
           file_of({lost_record(lost, clients_of({1, 2, 3})), endorsed_record(lost),
                    lost_record(lost, clients_of({1, 3})), endorsed_record(round_of(2, 20))}));
  CHECK_THROWS_WITH(ledger.lose(round_of(2, 21), clients_of({1})), RoundError, "another set");
  CHECK(ledger.lose(lost, {}));
  CHECK(ledger.endorse(round_of(3, 30), clients_of({7})));
  const std::string good = contents_of(place.path);
  std::string unordered = lost_record(round_of(9, 90), clients_of({1, 2}));
  std::rotate(unordered.begin() + 97, unordered.begin() + 129, unordered.end());
  EndorsedRound elsewhere = lost;
  elsewhere.training = digest(701);
  for (const std::string& record :
       {unordered, lost_record(round_of(9, 90), clients_of({1})) + "a",
        lost_record(round_of(2, 21), clients_of({1})), lost_record(lost, {}),
        lost_record(elsewhere, {}), opened_record(digest(1), digest(11), sealed(1)),
        opened_record(digest(9), digest(90), {})}) {
    const TemporaryFolder folder;
    put_contents(folder / "ledger", with_record(good, record));
    CHECK_THROWS_WITH(MemberLedger(folder / "ledger", kMember), WireFormatError, "ledger");
  }
  const std::string losing = file_of({lost_record(lost, clients_of({1, 2}))});
  for (const std::string& record :
       {endorsed_record(round_of(1, 11)), lost_record(lost, clients_of({1, 2})),
        lost_record(lost, clients_of({3})), lost_record(round_of(1, 11), clients_of({1}))}) {
    const TemporaryFolder folder;
    put_contents(folder / "ledger", with_record(losing, record));
    CHECK_THROWS_WITH(MemberLedger(folder / "ledger", kMember), WireFormatError, "contradicts");
  }
}

TEST("a ledger without a loss that was recorded is refused by who recorded it") {
  const Place place;
  MemberLedger ledger(place.path, kMember);
  const std::string empty = contents_of(place.path);
  ledger.lose(round_of(1, 10), clients_of({1, 2}));
  ledger.challenge_answer(digest(1), digest(10), sealed(1));
  const std::string all = contents_of(place.path);
  const std::string said = file_of({opened_record(digest(1), digest(10), sealed(1))});
  for (const std::string& old :
       {empty, said, file_of({lost_record(round_of(1, 10), clients_of({1, 2}))})}) {
    std::filesystem::remove(place.path);
    put_contents(place.path, old);
    CHECK_THROWS_WITH(ledger.endorse(round_of(2, 20), clients_of({1, 2})), RoundError,
                      "exchanged for an older");
  }
  put_contents(place.path, all);
  CHECK(ledger.endorse(round_of(2, 20), clients_of({1, 2})));
}

TEST("the folder that a relative name was said in counts, wherever the process goes") {
  const TemporaryFolder folder;
  const Ending ending = run_child([&] {
    if (::chdir(folder.path().c_str()) != 0) return 1;
    MemberLedger::create("ledger", kMember);
    MemberLedger ledger("ledger", kMember);
    if (::chdir("/") != 0) return 2;
    return ledger.endorse(round_of(1, 10)) ? 0 : 3;
  });
  CHECK_EQ(ending.exit_status, 0);
  CHECK_EQ(contents_of(folder / "ledger"), file_of({endorsed_record(round_of(1, 10))}));
}

TEST("a torn last record is dropped; anything else that is not whole is refused and stays") {
  const std::vector<std::string> records = {
      endorsed_record(round_of(1, 10)), answered_record(digest(1), digest(10), sealed(1)),
      challenged_record(digest(1), 3, digest(50)), endorsed_record(round_of(2, 20))};
  const std::string good = file_of(records);
  const std::string before = file_of({records.begin(), records.end() - 1});
  for (std::size_t size = before.size(); size < good.size(); ++size) {
    const TemporaryFolder folder;
    put_contents(folder / "ledger", good.substr(0, size));
    MemberLedger ledger(folder / "ledger", kMember);
    CHECK_EQ(contents_of(folder / "ledger"), before);
    CHECK(!ledger.endorsed(digest(2)));
    CHECK(ledger.answered(digest(1), digest(10), kReader) == sealed(1));
    CHECK(ledger.endorse(round_of(2, 21)));
  }
  std::vector<std::string> bad;
  for (std::size_t at = 0; at < good.size(); ++at) {
    bad.push_back(good);
    bad.back()[at] = static_cast<char>(bad.back()[at] ^ (1 << (at % 8)));
  }
  for (const std::string& record :
       {std::string(1, '\0') + std::string(64, 'a'), std::string(1, '\4') + std::string(64, 'a'),
        std::string(1, '\1'), endorsed_record(round_of(3, 30)) + "a",
        endorsed_record(round_of(3, 30)).substr(0, 136), challenged_record(digest(1), 4, {}) + "a",
        challenged_record(digest(1), 4, {}).substr(0, 68),
        // What no member would have recorded.
        endorsed_record(round_of(1, 10)), endorsed_record(round_of(1, 11)),
        endorsed_record({digest(3), digest(30), digest(700), 1, digest(800)}),
        answered_record(digest(1), digest(10), sealed(1)),
        answered_record(digest(1), digest(10), sealed(2)),
        answered_record(digest(2), digest(21), sealed(2)),
        answered_record(digest(2), digest(20), {}), answered_record(digest(3), digest(30), {1}),
        challenged_record(digest(1), 3, digest(50)), challenged_record(digest(1), 3, digest(51))}) {
    bad.push_back(with_record(good, record));
  }
  for (const std::string& text : bad) {
    const TemporaryFolder folder;
    put_contents(folder / "ledger", text);
    CHECK_THROWS_WITH(MemberLedger(folder / "ledger", kMember), WireFormatError, "ledger");
    CHECK_EQ(contents_of(folder / "ledger"), text);
  }
}

TEST("a ledger that was exchanged for an older one is refused by who knows better") {
  const Place place;
  MemberLedger ledger(place.path, kMember);
  ledger.endorse(round_of(1, 10));
  const std::string endorsed = contents_of(place.path);
  ledger.answer(digest(1), digest(10), kReader, sealed(1));
  const std::string answered = contents_of(place.path);
  ledger.challenge(digest(1), 3, digest(50));
  const std::string all = contents_of(place.path);
  for (const std::string& old :
       {file_of({}), endorsed, answered,
        with_record(with_record(endorsed, answered_record(digest(1), digest(10), sealed(1), {})),
                    challenged_record(digest(1), 3, digest(50))),
        with_record(answered, challenged_record(digest(1), 3, digest(51)))}) {
    std::filesystem::remove(place.path);
    put_contents(place.path, old);
    CHECK_THROWS_WITH(ledger.endorse(round_of(2, 20)), RoundError, "exchanged for an older");
    CHECK_THROWS(ledger.answered(digest(1), digest(10), kReader), RoundError);
    CHECK_THROWS(ledger.challenge(digest(1), 4, digest(50)), RoundError);
    CHECK_EQ(contents_of(place.path), old);
  }
  put_contents(place.path, all);
  CHECK(ledger.endorse(round_of(2, 20)));
}

TEST("a full disk: nothing of the record stays, and it did not count") {
  const Place place;
  const Ending ending = run_child([&]() -> int {
    ::signal(SIGXFSZ, SIG_IGN);
    MemberLedger ledger(place.path, kMember);
    ledger.endorse(round_of(1, 10));
    const std::string before = contents_of(place.path);
    rlimit limit{};
    ::getrlimit(RLIMIT_FSIZE, &limit);
    for (rlim_t more = 0; more < 80; ++more) {
      const rlimit narrow{before.size() + more, limit.rlim_max};
      ::setrlimit(RLIMIT_FSIZE, &narrow);
      if (errno_of([&] { ledger.endorse(round_of(2, 20)); }) == 0) return 1;
      if (errno_of([&] { ledger.answer(digest(1), digest(10), kReader, sealed(1)); }) == 0)
        return 2;
      if (more < 76 && errno_of([&] { ledger.challenge(digest(1), 1, digest(1)); }) == 0) return 3;
      if (more < 76 && contents_of(place.path) != before) return 4;
    }
    ::setrlimit(RLIMIT_FSIZE, &limit);
    if (!ledger.endorse(round_of(2, 21))) return 5;
    return ledger.answer(digest(1), digest(10), kReader, sealed(2)) == sealed(2) ? 0 : 6;
  });
  CHECK_EQ(ending.exit_status, 0);
}

TEST("killed at any moment: what was returned is in the file, and the file is whole") {
  Random random(6);
  for (int run = 0; run < 12; ++run) {
    const Place place;
    int pipe[2];
    CHECK_EQ(::pipe(pipe), 0);
    const pid_t child = start_child([&]() -> int {
      MemberLedger ledger(place.path, kMember);
      for (std::uint64_t n = 0;; ++n) {
        ledger.endorse(round_of(n, n + 500));
        ledger.answer(digest(n), digest(n + 500), kReader, sealed(n, 5000));
        const auto told = static_cast<std::uint8_t>(n);
        if (n < 250 && ::write(pipe[1], &told, 1) != 1) return 1;
      }
    });
    ::close(pipe[1]);
    ::usleep(static_cast<useconds_t>(2000 + random.below(20'000)));
    ::kill(child, SIGKILL);
    wait_for(child);
    MemberLedger ledger(place.path, kMember);
    std::uint8_t told = 0;
    while (::read(pipe[0], &told, 1) == 1) {
      CHECK(ledger.answered(digest(told), digest(told + 500u), kReader) == sealed(told, 5000));
    }
    ::close(pipe[0]);
    CHECK(ledger.endorse(round_of(1'000'000, 1)));
  }
}

TEST("processes that race: one manifest a round, one round a step, one answer for all") {
  constexpr std::uint64_t kProcesses = 4, kRounds = 16;
  const Place place;
  std::vector<pid_t> children;
  for (std::uint64_t process = 0; process < kProcesses; ++process) {
    children.push_back(start_child([&]() -> int {
      MemberLedger ledger(place.path, kMember);
      int won = 0;
      for (std::uint64_t n = 0; n < kRounds; ++n) {
        won += allowed([&] { ledger.endorse(round_of(n, 1000 + process)); });
        // The same step in a round of this process's own.
        EndorsedRound other = round_of(n, 1000);
        other.round_id = digest(5000 + process);
        if (n % 2 == 1 && allowed([&] { ledger.endorse(other); })) return 100;
        const Digest manifest = *ledger.endorsed(digest(n));
        const Bytes mine = sealed(process * kRounds + n);
        const Bytes counts = ledger.answer(digest(n), manifest, kReader, mine);
        if (ledger.answered(digest(n), manifest, kReader) != counts) return 101;
      }
      return won;
    }));
  }
  int won = 0;
  for (const pid_t child : children) won += wait_for(child).exit_status;
  CHECK_EQ(won, static_cast<int>(kRounds));
  MemberLedger ledger(place.path, kMember);
  for (std::uint64_t n = 0; n < kRounds; ++n) CHECK(ledger.endorsed(digest(n)).has_value());
}

TEST("another process's records are seen by one that was there before") {
  const Place place;
  MemberLedger ledger(place.path, kMember);
  const Ending ending = run_child([&] {
    MemberLedger theirs(place.path, kMember);
    theirs.endorse(round_of(1, 10));
    theirs.answer(digest(1), digest(10), kReader, sealed(7));
    return ledger.endorse(round_of(2, 20)) ? 0 : 1;  // the parent's object, in the child
  });
  CHECK_EQ(ending.exit_status, 0);
  CHECK(!allowed([&] { ledger.endorse(round_of(1, 11)); }));
  CHECK(!allowed([&] { ledger.endorse(round_of(2, 21)); }));
  CHECK(ledger.answered(digest(1), digest(10), kReader) == sealed(7));
}

TEST("a child forked while a thread records neither waits for it nor records") {
  const Place place;
  MemberLedger ledger(place.path, kMember);
  // Another process holds the file, so that the thread stops inside.
  int ready[2], release[2];
  CHECK_EQ(::pipe(ready), 0);
  CHECK_EQ(::pipe(release), 0);
  const pid_t holder = start_child([&]() -> int {
    scheme::LedgerFile file(scheme::LedgerKind::kMember, kMember, ledger.path());
    const auto session = file.open(scheme::LedgerFile::Access::kWrite);
    char byte = 1;
    if (::write(ready[1], &byte, 1) != 1) return 1;
    return ::read(release[0], &byte, 1) == 1 ? 0 : 2;
  });
  char byte = 0;
  CHECK_EQ(::read(ready[0], &byte, 1), 1);
  std::thread thread([&] { ledger.endorse(round_of(1, 10)); });
  ::usleep(200'000);
  const Ending ending = run_child([&] {
    try {
      ledger.endorse(round_of(2, 20));
    } catch (const RoundError& error) {
      return std::string(error.what()).find("load it here anew") != std::string::npos ? 7 : 8;
    }
    return 9;
  });
  CHECK_EQ(::write(release[1], &byte, 1), 1);
  thread.join();
  CHECK_EQ(wait_for(holder).exit_status, 0);
  CHECK_EQ(ending.exit_status, 7);
  CHECK(ledger.endorsed(digest(1)) == digest(10));
  for (const int fd : {ready[0], ready[1], release[0], release[1]}) ::close(fd);
}

TEST("threads that race: one wins each round, and all get one answer") {
  constexpr std::uint64_t kThreads = 4, kRounds = 16;
  const Place place;
  MemberLedger ledger(place.path, kMember);
  std::atomic<int> won{0}, differ{0};
  std::vector<std::thread> threads;
  for (std::uint64_t thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      for (std::uint64_t n = 0; n < kRounds; ++n) {
        won += allowed([&] { ledger.endorse(round_of(n, 100 + thread)); });
        const Digest manifest = *ledger.endorsed(digest(n));
        const Bytes counts = ledger.answer(digest(n), manifest, kReader, sealed(thread * 100 + n));
        differ += ledger.answered(digest(n), manifest, kReader) != counts;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK_EQ(won.load(), static_cast<int>(kRounds));
  CHECK_EQ(differ.load(), 0);
}

TEST("a ledger that may only be read gives its answers back, and signs nothing") {
  const Place place;
  {
    MemberLedger ledger(place.path, kMember);
    ledger.endorse(round_of(1, 10));
    ledger.answer(digest(1), digest(10), kReader, sealed(1));
  }
  constexpr unsigned kNobody = 65534;
  ::chmod(place.path.c_str(), 0400);
  if (::geteuid() == 0) CHECK_EQ(::chown(place.path.c_str(), kNobody, kNobody), 0);
  CHECK(::chmod(place.folder.path().c_str(), 0555) == 0);
  const Ending ending = run_child([&] {
    if (::geteuid() == 0 && ::setresuid(kNobody, kNobody, kNobody) != 0) return 1;
    MemberLedger ledger(place.path, kMember);
    if (ledger.answered(digest(1), digest(10), kReader) != sealed(1)) return 2;
    try {
      ledger.endorse(round_of(2, 20));
      return 3;
    } catch (const std::system_error& error) {
      if (std::string(error.what()).find("must be recorded in") == std::string::npos) return 4;
    }
    return 0;
  });
  CHECK_EQ(ending.exit_status, 0);
  CHECK(::chmod(place.folder.path().c_str(), 0755) == 0);
}

}  // namespace
}  // namespace veilsum::test
