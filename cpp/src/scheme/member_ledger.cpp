// Layer: scheme. See member_ledger.h. A record begins with its type; docs/wire-format.md has the
// fields.
#include "scheme/member_ledger.h"

#include <sys/stat.h>

#include <system_error>

#include "base/file_stream.h"
#include "veilsum/errors.h"

namespace veilsum::scheme {
namespace {

enum RecordType : std::uint8_t { kEndorsed = 1, kAnswered = 2, kChallenged = 3 };

constexpr std::size_t kAnswerHead = 1 + 3 * sizeof(Digest);

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
  } else if (type == kAnswered) {
    const Digest manifest = in.array<32>();
    const Digest reader = in.array<32>();
    const auto round = to.rounds.find(round_id);
    fits = in.remaining() != 0 && round != to.rounds.end() && round->second.manifest == manifest &&
           to.answers.emplace(round_id, Answer{reader, at}).second;
  } else if (type == kChallenged) {
    const std::uint32_t client = in.u32();
    const Digest challenge = in.array<32>();
    in.finish();
    fits = to.challenges.emplace(std::pair(round_id, client), challenge).second;
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
  const auto step = known_.steps.find({round.training, round.step, round.purpose});
  if (step != known_.steps.end() && step->second != round.round_id) {
    throw RoundError("step " + std::to_string(round.step) +
                     " of this training was endorsed before for the same purpose, as round " +
                     short_hex(step->second) +
                     "; two sums of one step would reveal single updates");
  }
}

bool MemberLedger::endorse(const EndorsedRound& round) {
  const std::unique_lock<std::mutex> held = guard_.lock("this member's ledger");
  check(round);
  LedgerFile::Session session = open(LedgerFile::Access::kWrite);
  refresh(session);
  check(round);
  if (known_.rounds.contains(round.round_id)) return false;
  ByteWriter record = record_of(kEndorsed, round.round_id, 3 * sizeof(Digest) + 8);
  record.raw(round.manifest);
  record.raw(round.training);
  record.u64(round.step);
  record.raw(round.purpose);
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

std::optional<Bytes> MemberLedger::stored_answer(const LedgerFile::Session& session,
                                                 const Digest& round_id) const {
  const auto answer = known_.answers.find(round_id);
  if (answer == known_.answers.end()) return std::nullopt;
  const Bytes payload = session.payload_at(answer->second.at);
  if (payload.size() <= kAnswerHead) {
    throw WireFormatError(file_.path() + " changed while it was in use; restore it");
  }
  return Bytes(payload.begin() + kAnswerHead, payload.end());
}

Bytes MemberLedger::answer(const Digest& round_id, const Digest& manifest, const Digest& reader,
                           ByteView sealed) {
  if (sealed.empty() || sealed.size() > kMostAnswerBytes) {
    throw ParameterError("a sealed answer has 1 to " + std::to_string(kMostAnswerBytes) +
                         " bytes, not " + std::to_string(sealed.size()));
  }
  const std::unique_lock<std::mutex> held = guard_.lock("this member's ledger");
  LedgerFile::Session session = open(LedgerFile::Access::kWrite);
  refresh(session);
  check_answer(round_id, manifest, reader);
  if (std::optional<Bytes> before = stored_answer(session, round_id)) return std::move(*before);
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
  return stored_answer(session, round_id);
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

}  // namespace veilsum::scheme
