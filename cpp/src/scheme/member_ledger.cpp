// Layer: scheme. See member_ledger.h. A record begins with its type; docs/wire-format.md has the
// fields.
#include "scheme/member_ledger.h"

#include <sys/stat.h>

#include <algorithm>
#include <iterator>
#include <system_error>

#include "base/file_stream.h"
#include "veilsum/errors.h"

namespace veilsum::scheme {
namespace {

enum RecordType : std::uint8_t {
  kEndorsed = 1,
  kAnswered = 2,
  kChallenged = 3,
  kChallengeAnswered = 4,
  kLost = 5
};

constexpr std::size_t kAnswerHead = 1 + 3 * sizeof(Digest);
constexpr std::size_t kChallengeHead = 1 + 2 * sizeof(Digest);

void check_size(ByteView answer) {
  if (answer.empty() || answer.size() > MemberLedger::kMostAnswerBytes) {
    throw ParameterError("a sealed answer has 1 to " +
                         std::to_string(MemberLedger::kMostAnswerBytes) + " bytes, not " +
                         std::to_string(answer.size()));
  }
}

ClientIds read_clients(ByteReader& in) {
  ClientIds out;
  while (in.remaining() != 0) {
    const Digest id = in.array<32>();
    if (!out.empty() && id <= *out.rbegin()) in.fail("clients are not in order");
    out.insert(out.end(), id);
  }
  return out;
}

ByteWriter record_of(RecordType type, const Digest& round_id, std::size_t more) {
  ByteWriter out(1 + sizeof(Digest) + more);
  out.u8(type);
  out.raw(round_id);
  return out;
}

}  // namespace

void MemberLedger::create(const std::string& path, const Digest& identity) {
  struct stat status{};
  const bool there = ::lstat(path.c_str(), &status) == 0;
  const bool unfinished =
      there && S_ISREG(status.st_mode) && status.st_size < static_cast<off_t>(kLedgerHeaderBytes);
  if (there && !unfinished) {
    throw ParameterError(path +
                         " is there already; a member's ledger is made once for an identity, and "
                         "never again: use that file, or give another name");
  }
  LedgerFile file(LedgerKind::kMember, identity, resolved_destination(path));
  (void)file.open(LedgerFile::Access::kCreate);
}

MemberLedger::MemberLedger(const std::string& path, const Digest& identity)
    : file_(LedgerKind::kMember, identity, resolved_destination(path)) {
  LedgerFile::Session session = file_.open(LedgerFile::Access::kRead);
  refresh(session);
}

LedgerFile::Session MemberLedger::open(LedgerFile::Access access) {
  try {
    return file_.open(access);
  } catch (const std::system_error& error) {
    if (!cannot_write(error)) throw;
    throw std::system_error(error.code(),
                            "what this member signs must be recorded in " + file_.path() +
                                ", which cannot be written; move it to a folder that can");
  }
}

void MemberLedger::take(Entries& to, std::uint64_t at, ByteView payload) const {
  ByteReader in(payload, file_.path() + ": the record at byte " + std::to_string(at));
  const std::uint8_t type = in.u8();
  const Digest round_id = in.array<32>();
  bool fits = true;
  if (type == kEndorsed) {
    EndorsedRound round{round_id, in.array<32>(), in.array<32>(), in.u64(), in.array<32>()};
    in.finish();
    fits = to.rounds.emplace(round_id, round).second &&
           to.steps.emplace(std::tuple(round.training, round.step, round.purpose), round_id).second;
    to.endorsed_at.emplace(round_id, at);
    const auto lost = to.lost.find(round_id);
    fits = fits && (lost == to.lost.end() || lost->second.manifest == round.manifest);
  } else if (type == kAnswered) {
    const Digest manifest = in.array<32>();
    const Digest reader = in.array<32>();
    const auto round = to.rounds.find(round_id);
    fits = in.remaining() != 0 && round != to.rounds.end() && round->second.manifest == manifest &&
           to.answers.emplace(round_id, Answer{reader, at}).second;
    if (fits) {
      // What was endorsed before the loss was recorded need not hold its clients.
      for (auto& [lost_id, lost] : to.lost) {
        lost.followed =
            lost.followed || (lost_id != round_id && lost.training == round->second.training &&
                              to.endorsed_at.at(round_id) > lost.at);
      }
    }
  } else if (type == kChallenged) {
    const std::uint32_t client = in.u32();
    const Digest challenge = in.array<32>();
    in.finish();
    fits = to.challenges.emplace(std::pair(round_id, client), challenge).second;
  } else if (type == kChallengeAnswered) {
    const Digest manifest = in.array<32>();
    const auto round = to.rounds.find(round_id);
    fits = in.remaining() != 0 &&
           (round == to.rounds.end() || round->second.manifest == manifest) &&
           to.challenge_answers.emplace(round_id, Answer{manifest, at}).second;
  } else if (type == kLost) {
    const Digest manifest = in.array<32>();
    const Digest training = in.array<32>();
    ClientIds clients = read_clients(in);
    const auto round = to.rounds.find(round_id);
    fits = round == to.rounds.end() ||
           (round->second.manifest == manifest && round->second.training == training);
    const auto [known, first] =
        to.lost.try_emplace(round_id, Lost{manifest, training, clients, at, false});
    if (!first) {  // again, with a verdict: fewer
      fits = fits && known->second.manifest == manifest && known->second.training == training &&
             clients.size() < known->second.clients.size() &&
             std::includes(known->second.clients.begin(), known->second.clients.end(),
                           clients.begin(), clients.end());
      known->second.clients = std::move(clients);
    }
  } else {
    in.fail("type " + std::to_string(type) +
            " is unknown; restore the file, or retire this identity");
  }
  if (!fits) {
    in.fail("contradicts those before it; restore the file, or retire this identity");
  }
}

bool MemberLedger::holds(const Entries& found) const {
  for (const auto& [round_id, round] : known_.rounds) {
    const auto at = found.rounds.find(round_id);
    if (at == found.rounds.end() || at->second != round) return false;
  }
  for (const auto& [round_id, answer] : known_.answers) {
    const auto at = found.answers.find(round_id);
    if (at == found.answers.end() || at->second.reader != answer.reader ||
        at->second.at != answer.at) {
      return false;
    }
  }
  for (const auto& [upload, challenge] : known_.challenges) {
    const auto at = found.challenges.find(upload);
    if (at == found.challenges.end() || at->second != challenge) return false;
  }
  for (const auto& [round_id, answer] : known_.challenge_answers) {
    const auto at = found.challenge_answers.find(round_id);
    if (at == found.challenge_answers.end() || at->second.at != answer.at) return false;
  }
  for (const auto& [round_id, lost] : known_.lost) {
    const auto at = found.lost.find(round_id);
    if (at == found.lost.end() || at->second.manifest != lost.manifest ||
        at->second.at != lost.at || at->second.clients.size() > lost.clients.size()) {
      return false;
    }
  }
  return true;
}

void MemberLedger::refresh(LedgerFile::Session& session) {
  Entries found;
  if (!session.read([&](std::uint64_t at, ByteView payload) { take(found, at, payload); })) return;
  if (!holds(found)) {
    throw RoundError(file_.path() +
                     " no longer lists what this member signed: it was exchanged for an older "
                     "ledger, so restore it");
  }
  session.accept();
  known_ = std::move(found);
}

void MemberLedger::check(const EndorsedRound& round) const {
  const auto known = known_.rounds.find(round.round_id);
  if (known != known_.rounds.end() && known->second != round) {
    throw RoundError("round " + short_hex(round.round_id) +
                     " was endorsed before for another set of uploads; the difference of two sums "
                     "would reveal single updates, so start a new round");
  }
  const auto lost = known_.lost.find(round.round_id);
  if (lost != known_.lost.end() && lost->second.manifest != round.manifest) {
    throw RoundError("round " + short_hex(round.round_id) +
                     " was lost here with another set of uploads");
  }
  const auto step = known_.steps.find({round.training, round.step, round.purpose});
  if (step != known_.steps.end() && step->second != round.round_id) {
    throw RoundError("step " + std::to_string(round.step) +
                     " of this training was endorsed before for the same purpose, as round " +
                     short_hex(step->second) +
                     "; two sums of one step would reveal single updates");
  }
}

void MemberLedger::check_lost(const EndorsedRound& round, const ClientIds& clients) const {
  if (known_.answers.contains(round.round_id)) return;  // nothing is opened by saying it again
  if (known_.lost.contains(round.round_id)) {
    throw RoundError("round " + short_hex(round.round_id) +
                     " was lost: its updates are summed again in a new round");
  }
  for (const auto& [lost_id, lost] : known_.lost) {
    if (lost.followed || lost.training != round.training) continue;
    ClientIds missing;
    std::set_difference(lost.clients.begin(), lost.clients.end(), clients.begin(), clients.end(),
                        std::inserter(missing, missing.end()));
    if (missing.empty()) continue;
    std::string named;
    for (const Digest& id : missing) named += (named.empty() ? "" : ", ") + short_hex(id);
    throw RoundError("the sum lacks " + std::to_string(missing.size()) + " client(s) of round " +
                     short_hex(lost_id) + " of this training, which was lost: " + named +
                     "; the next sum must hold all of its clients but convicted ones, for leaving "
                     "one out, while updates repeat, gives that one away");
  }
}

template <typename Check>
bool MemberLedger::record(const EndorsedRound& round, Check more) {
  const std::unique_lock<std::mutex> held = guard_.lock("this member's ledger");
  check(round);
  LedgerFile::Session session = open(LedgerFile::Access::kWrite);
  refresh(session);
  check(round);
  more();
  if (known_.rounds.contains(round.round_id)) return false;
  ByteWriter record = record_of(kEndorsed, round.round_id, 3 * sizeof(Digest) + 8);
  record.raw(round.manifest);
  record.raw(round.training);
  record.u64(round.step);
  record.raw(round.purpose);
  take(known_, session.append(record.bytes()), record.bytes());
  return true;
}

bool MemberLedger::endorse(const EndorsedRound& round, const ClientIds& clients) {
  return record(round, [&] { check_lost(round, clients); });
}

bool MemberLedger::endorse_to_blame(const EndorsedRound& round) {
  return record(round, [] {});
}

bool MemberLedger::lose(const EndorsedRound& round, const ClientIds& clients) {
  const std::unique_lock<std::mutex> held = guard_.lock("this member's ledger");
  LedgerFile::Session session = open(LedgerFile::Access::kWrite);
  refresh(session);
  const auto endorsed = known_.rounds.find(round.round_id);
  const auto lost = known_.lost.find(round.round_id);
  if ((endorsed != known_.rounds.end() && endorsed->second != round) ||
      (lost != known_.lost.end() && lost->second.manifest != round.manifest)) {
    throw RoundError("round " + short_hex(round.round_id) +
                     " was endorsed or lost here with another set of uploads");
  }
  ClientIds left = clients;
  if (lost != known_.lost.end()) {
    std::erase_if(left, [&](const Digest& id) { return !lost->second.clients.contains(id); });
    if (left.size() == lost->second.clients.size()) return false;
  }
  ByteWriter record = record_of(kLost, round.round_id, (2 + left.size()) * sizeof(Digest));
  record.raw(round.manifest);
  record.raw(round.training);
  for (const Digest& id : left) record.raw(id);
  take(known_, session.append(record.bytes()), record.bytes());
  return true;
}

std::optional<Digest> MemberLedger::endorsed(const Digest& round_id) {
  const std::unique_lock<std::mutex> held = guard_.lock("this member's ledger");
  LedgerFile::Session session = open(LedgerFile::Access::kRead);
  refresh(session);
  const auto known = known_.rounds.find(round_id);
  if (known == known_.rounds.end()) return std::nullopt;
  return known->second.manifest;
}

void MemberLedger::check_answer(const Digest& round_id, const Digest& manifest,
                                const Digest& reader) const {
  const auto known = known_.rounds.find(round_id);
  if (known == known_.rounds.end() || known->second.manifest != manifest) {
    throw RoundError("round " + short_hex(round_id) + " was " +
                     (known == known_.rounds.end() ? "not endorsed here, so it is not answered"
                                                   : "endorsed here for another set of uploads"));
  }
  const auto answer = known_.answers.find(round_id);
  if (answer != known_.answers.end() && answer->second.reader != reader) {
    throw RoundError("round " + short_hex(round_id) +
                     " was answered before, sealed to another reader");
  }
}

std::optional<Bytes> MemberLedger::stored(const LedgerFile::Session& session,
                                          const std::map<Digest, Answer>& answers,
                                          const Digest& round_id, std::size_t head) const {
  const auto answer = answers.find(round_id);
  if (answer == answers.end()) return std::nullopt;
  const Bytes payload = session.payload_at(answer->second.at);
  if (payload.size() <= head) {
    throw WireFormatError(file_.path() + " changed while it was in use; restore it");
  }
  return Bytes(payload.begin() + static_cast<std::ptrdiff_t>(head), payload.end());
}

Bytes MemberLedger::answer(const Digest& round_id, const Digest& manifest, const Digest& reader,
                           ByteView sealed, const ClientIds& clients) {
  check_size(sealed);
  const std::unique_lock<std::mutex> held = guard_.lock("this member's ledger");
  LedgerFile::Session session = open(LedgerFile::Access::kWrite);
  refresh(session);
  check_answer(round_id, manifest, reader);
  if (std::optional<Bytes> before = stored(session, known_.answers, round_id, kAnswerHead)) {
    return std::move(*before);
  }
  check_lost(known_.rounds.at(round_id), clients);
  ByteWriter record = record_of(kAnswered, round_id, 2 * sizeof(Digest) + sealed.size());
  record.raw(manifest);
  record.raw(reader);
  record.raw(sealed);
  take(known_, session.append(record.bytes()), record.bytes());
  return {sealed.begin(), sealed.end()};
}

std::optional<Bytes> MemberLedger::answered(const Digest& round_id, const Digest& manifest,
                                            const Digest& reader) {
  const std::unique_lock<std::mutex> held = guard_.lock("this member's ledger");
  LedgerFile::Session session = open(LedgerFile::Access::kRead);
  refresh(session);
  check_answer(round_id, manifest, reader);
  return stored(session, known_.answers, round_id, kAnswerHead);
}

bool MemberLedger::challenge(const Digest& round_id, std::uint32_t client,
                             const Digest& challenge) {
  const std::unique_lock<std::mutex> held = guard_.lock("this member's ledger");
  LedgerFile::Session session = open(LedgerFile::Access::kWrite);
  refresh(session);
  const auto known = known_.challenges.find({round_id, client});
  if (known != known_.challenges.end()) {
    if (known->second == challenge) return false;
    throw RoundError("another challenge of client " + std::to_string(client) +
                     "'s upload of round " + short_hex(round_id) +
                     " was opened before; two would open its shares");
  }
  ByteWriter record = record_of(kChallenged, round_id, 4 + sizeof(Digest));
  record.u32(client);
  record.raw(challenge);
  take(known_, session.append(record.bytes()), record.bytes());
  return true;
}

void MemberLedger::check_challenged(const Digest& round_id, const Digest& manifest) const {
  const auto endorsed = known_.rounds.find(round_id);
  const auto answered = known_.challenge_answers.find(round_id);
  if ((endorsed != known_.rounds.end() && endorsed->second.manifest != manifest) ||
      (answered != known_.challenge_answers.end() && answered->second.reader != manifest)) {
    throw RoundError("round " + short_hex(round_id) +
                     " was endorsed or challenged here for another set of uploads");
  }
}

Bytes MemberLedger::challenge_answer(const Digest& round_id, const Digest& manifest,
                                     ByteView words) {
  check_size(words);
  const std::unique_lock<std::mutex> held = guard_.lock("this member's ledger");
  LedgerFile::Session session = open(LedgerFile::Access::kWrite);
  refresh(session);
  check_challenged(round_id, manifest);
  if (std::optional<Bytes> before =
          stored(session, known_.challenge_answers, round_id, kChallengeHead)) {
    return std::move(*before);
  }
  ByteWriter record = record_of(kChallengeAnswered, round_id, sizeof(Digest) + words.size());
  record.raw(manifest);
  record.raw(words);
  take(known_, session.append(record.bytes()), record.bytes());
  return {words.begin(), words.end()};
}

std::optional<Bytes> MemberLedger::challenges_answered(const Digest& round_id,
                                                       const Digest& manifest) {
  const std::unique_lock<std::mutex> held = guard_.lock("this member's ledger");
  LedgerFile::Session session = open(LedgerFile::Access::kRead);
  refresh(session);
  check_challenged(round_id, manifest);
  return stored(session, known_.challenge_answers, round_id, kChallengeHead);
}

}  // namespace veilsum::scheme
