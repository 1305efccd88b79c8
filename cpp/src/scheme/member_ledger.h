// Layer: scheme. What a committee's member has signed and answered: one manifest a round, one round
// a step of a training, one answer, one challenge an upload, and which rounds were lost. What a
// member may sign is decided above; what it may not sign any more, here.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <utility>

#include "base/bytes.h"
#include "scheme/ledger_file.h"

namespace veilsum::scheme {

/// What a member signs when it endorses a manifest.
struct EndorsedRound {
  Digest round_id{};
  Digest manifest{};
  Digest training{};
  std::uint64_t step = 0;
  Digest purpose{};

  friend bool operator==(const EndorsedRound&, const EndorsedRound&) = default;
};

/// Clients by the ids of their identities, which rounds with other rosters have as well.
using ClientIds = std::set<Digest>;

/// One file, bound to the member's identity. Every record is on disk before the call returns.
/// Thread-safe; across processes the file is locked while an entry is decided. A forked child may
/// use it, but not in the moment that another thread of its parent did.
class MemberLedger {
 public:
  static constexpr std::size_t kMostAnswerBytes = std::size_t{1} << 30;

  /// Makes the file of an identity that has signed nothing yet, or finishes one that a crash left
  /// without its header.
  /// @throws ParameterError when a file is there, whatever it is; std::system_error
  static void create(const std::string& path, const Digest& identity);

  /// Goes on with the file of this identity; a symbolic link to it is followed, at once and for
  /// good. Where it may only be read, answers can be looked up, and nothing recorded.
  /// @throws as LedgerFile::open(): a missing file, one of another identity, one that others can
  ///         access, hard links, damage
  MemberLedger(const std::string& path, const Digest& identity);

  const std::string& path() const noexcept { return file_.path(); }

  /// Allows the endorsement and records it, or throws.
  /// @param clients of the manifest
  /// @throws RoundError when this round was endorsed otherwise, or another round for this training,
  ///         step and purpose; when it was lost, or `clients` lack one of a lost round of the same
  ///         training that no round with all of them followed. Not for a round that was answered.
  /// @return false when the same was recorded before
  bool endorse(const EndorsedRound& round, const ClientIds& clients = {});
  /// The same for a member that is about to open challenges, which opens no sum: lost rounds are
  /// what it is for.
  bool endorse_to_blame(const EndorsedRound& round);

  /// Records that a round was lost. Until a round of the same training that was endorsed after it
  /// is answered, others must hold all of `clients`.
  /// @param clients of the lost round, but for convicted ones. When it was recorded before, those
  ///        count that are in both: a verdict may come later.
  /// @throws RoundError when another sum of the round was endorsed or lost here
  /// @return false when nothing changes
  bool lose(const EndorsedRound& round, const ClientIds& clients);

  /// The manifest that was endorsed for a round.
  std::optional<Digest> endorsed(const Digest& round_id);

  /// Records the answer for an endorsed manifest, unless one is there.
  /// @param reader digest of whom it is sealed to
  /// @param sealed signature and sealed share, bytes to this layer: 1 to kMostAnswerBytes bytes
  /// @return the answer that counts, and is the only one to hand out: `sealed`, or the bytes that
  ///         were recorded before
  /// @param clients of the manifest
  /// @throws RoundError when this manifest was not endorsed here, or the round was answered for
  ///         another reader; when it was lost, or `clients` lack one of a lost round, as endorse():
  ///         another process may have recorded that since
  Bytes answer(const Digest& round_id, const Digest& manifest, const Digest& reader,
               ByteView sealed, const ClientIds& clients = {});

  /// The recorded answer, so that it need not be made again.
  /// @throws RoundError as answer(), but for losses: an answer that left is given again
  std::optional<Bytes> answered(const Digest& round_id, const Digest& manifest,
                                const Digest& reader);

  /// Allows opening a challenge of one client's upload and records it, or throws.
  /// @throws RoundError when another challenge was recorded for this round and client
  /// @return false when the same was recorded before
  bool challenge(const Digest& round_id, std::uint32_t client, const Digest& challenge);

  /// Records what the challenges of a round's uploads were answered with, unless it is there.
  /// @param words signature and combinations, bytes to this layer: 1 to kMostAnswerBytes bytes
  /// @return what counts, and is the only thing to hand out: `words`, or the bytes that were
  ///         recorded before
  /// @throws RoundError when another sum of the round was endorsed or challenged here
  Bytes challenge_answer(const Digest& round_id, const Digest& manifest, ByteView words);
  /// What was recorded.
  /// @throws RoundError as challenge_answer()
  std::optional<Bytes> challenges_answered(const Digest& round_id, const Digest& manifest);

 private:
  struct Answer {
    Digest reader{};
    std::uint64_t at = 0;  // of the record: answers are many and not small, and stay on disk
  };
  struct Lost {
    Digest manifest{};
    Digest training{};
    ClientIds clients;
    std::uint64_t at = 0;   // of the first record
    bool followed = false;  // by an answered round that was endorsed later
  };
  struct Entries {
    std::map<Digest, EndorsedRound> rounds;
    std::map<std::tuple<Digest, std::uint64_t, Digest>, Digest> steps;  // to the round
    std::map<Digest, Answer> answers;
    std::map<std::pair<Digest, std::uint32_t>, Digest> challenges;
    std::map<Digest, Answer> challenge_answers;  // `reader` is the sum
    std::map<Digest, std::uint64_t> endorsed_at;
    std::map<Digest, Lost> lost;
  };

  LedgerFile::Session open(LedgerFile::Access access);
  void refresh(LedgerFile::Session& session);
  bool holds(const Entries& found) const;
  void take(Entries& to, std::uint64_t at, ByteView payload) const;
  void check(const EndorsedRound& round) const;
  void check_lost(const EndorsedRound& round, const ClientIds& clients) const;
  void check_challenged(const Digest& round_id, const Digest& manifest) const;
  template <typename Check>
  bool record(const EndorsedRound& round, Check more);
  void check_answer(const Digest& round_id, const Digest& manifest, const Digest& reader) const;
  std::optional<Bytes> stored(const LedgerFile::Session& session,
                              const std::map<Digest, Answer>& answers, const Digest& round_id,
                              std::size_t head) const;

  LedgerGuard guard_;
  LedgerFile file_;
  Entries known_;
};

}  // namespace veilsum::scheme
