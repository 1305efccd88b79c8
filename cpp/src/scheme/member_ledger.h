// Layer: scheme. What a committee's member has signed and answered: one manifest a round, one round
// a step of a training, one answer, one challenge an upload. What a member may sign is decided
// above; what it may not sign any more, here.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
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
  /// @throws RoundError when this round was endorsed otherwise, or another round for this training,
  ///         step and purpose
  /// @return false when the same was recorded before
  bool endorse(const EndorsedRound& round);

  /// The manifest that was endorsed for a round.
  std::optional<Digest> endorsed(const Digest& round_id);

  /// Records the answer for an endorsed manifest, unless one is there.
  /// @param reader digest of whom it is sealed to
  /// @param sealed signature and sealed share, bytes to this layer: 1 to kMostAnswerBytes bytes
  /// @return the answer that counts, and is the only one to hand out: `sealed`, or the bytes that
  ///         were recorded before
  /// @throws RoundError when this manifest was not endorsed here, or the round was answered for
  ///         another reader
  Bytes answer(const Digest& round_id, const Digest& manifest, const Digest& reader,
               ByteView sealed);

  /// The recorded answer, so that it need not be made again.
  /// @throws RoundError as answer()
  std::optional<Bytes> answered(const Digest& round_id, const Digest& manifest,
                                const Digest& reader);

  /// Allows opening a challenge of one client's upload and records it, or throws.
  /// @throws RoundError when another challenge was recorded for this round and client
  /// @return false when the same was recorded before
  bool challenge(const Digest& round_id, std::uint32_t client, const Digest& challenge);

 private:
  struct Answer {
    Digest reader{};
    std::uint64_t at = 0;  // of the record: answers are many and not small, and stay on disk
  };
  struct Entries {
    std::map<Digest, EndorsedRound> rounds;
    std::map<std::tuple<Digest, std::uint64_t, Digest>, Digest> steps;  // to the round
    std::map<Digest, Answer> answers;
    std::map<std::pair<Digest, std::uint32_t>, Digest> challenges;
  };

  LedgerFile::Session open(LedgerFile::Access access);
  void refresh(LedgerFile::Session& session);
  bool holds(const Entries& found) const;
  void take(Entries& to, std::uint64_t at, ByteView payload) const;
  void check(const EndorsedRound& round) const;
  void check_answer(const Digest& round_id, const Digest& manifest, const Digest& reader) const;
  std::optional<Bytes> stored_answer(const LedgerFile::Session& session,
                                     const Digest& round_id) const;

  LedgerGuard guard_;
  LedgerFile file_;
  Entries known_;
};

}  // namespace veilsum::scheme
