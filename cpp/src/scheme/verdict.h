// Layer: scheme. Who spoiled a round, as far as members' signed words show it. A verdict is a
// certificate with the challenges that members opened: what it says is computed from them, here, by
// whoever reads it, and nobody is believed.
//
// Let n' members have opened the challenges, and f be the largest number of dishonest members that
// is assumed. The combinations of an honest client's shares are a word of the code of Reed and
// Solomon wherever members are honest. So a client whose word is farther than f from every codeword
// is convicted; there are such words only where n' - t > f. A nearer one is the client's doing or
// that of the members who depart from it, which cannot be told: the pairs are suspects. A share
// that a member cannot open counts as a departure.
//
// A member is convicted whose combinations fit every upload and whose answer does not: honest ones
// with fitting combinations have answers on one codeword (but for a chance of 2^-128 an upload, and
// 2^-100 for a tag over 50 bits), and one that at least t + f answers lie on is theirs.
//
// A key, tag or block that is wrong but consistently shared is not to be told from a change by the
// aggregator. Then nobody is named.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "scheme/challenge.h"
#include "scheme/combine.h"

namespace veilsum::scheme {

/// f: max(1, 2t - n - 1, floor((n - t) / 2)). Up to 2t - n - 1 dishonest members the committee
/// keeps its promise, whatever the aggregator does; never fewer than wrong answers are corrected,
/// and no verdict rests on one member's word.
std::uint32_t assumed_dishonest(const Committee& committee) noexcept;

/// What the challenges' answers show.
struct Findings {
  std::vector<std::uint32_t> clients;                             ///< convicted, ascending
  std::vector<std::pair<std::uint32_t, std::uint32_t>> suspects;  ///< (client, member), ascending
  /// Members whose combinations fit every upload; nobody where some upload's word could not be
  /// decoded uniquely.
  std::vector<std::uint32_t> fitting;
};

/// @param clients the sum's, ascending
/// @param members who answered, distinct
/// @param combinations [member][client]
Findings judge(const ShareLayout& layout, std::span<const std::uint32_t> clients,
               std::span<const std::uint32_t> members,
               std::span<const std::vector<Combinations>> combinations, std::uint32_t f);

/// What the answers to the certificate show of members.
enum class AnswersSeen : std::uint8_t {
  kNone,    ///< they were not looked at, or there are too few
  kFit,     ///< they are shares of one sum
  kDoubted  ///< they are not
};
struct MemberFindings {
  AnswersSeen seen = AnswersSeen::kNone;
  std::vector<std::uint32_t> convicted;  ///< ascending
};
/// @param fitting Findings::fitting
MemberFindings judge_members(const ShareLayout& layout, std::span<const std::uint32_t> fitting,
                             const OpenedAnswers& answers, std::uint32_t f);

class Verdict {
 public:
  /// @param words of a member that is there twice the first counts
  /// @throws RoundError when a signature of a member or a client does not hold, or a word is of
  ///         another sum
  Verdict(const Certificate& certificate, std::vector<ChallengeAnswer> words,
          const SignatureVerifier& verifier);
  /// Looks at members' answers to the certificate as well, which takes their reader.
  /// @throws RoundError as combine()
  void look_at(const std::vector<Answer>& answers, const Opener& reader,
               const SignatureVerifier& verifier);

  const Certificate& certificate() const noexcept { return certificate_; }
  const std::vector<ChallengeAnswer>& words() const noexcept { return words_; }
  /// Convicted.
  const std::vector<std::uint32_t>& clients() const noexcept { return findings_.clients; }
  /// Convicted by look_at(); for the readers alone to check, and so not in the bytes.
  const std::vector<std::uint32_t>& members() const noexcept { return members_.convicted; }
  const std::vector<std::pair<std::uint32_t, std::uint32_t>>& suspects() const noexcept {
    return findings_.suspects;
  }
  /// For people.
  std::string sentence() const;

  /// Certificate and words: all that anybody needs to come to the same clients and suspects.
  Bytes to_bytes() const;
  /// Every signature is checked, and the verdict computed.
  /// @throws WireFormatError, RoundError
  static Verdict from_bytes(ByteView bytes, const Round& round, const SignatureVerifier& verifier);

 private:
  Certificate certificate_;
  std::vector<ChallengeAnswer> words_;  // by member, ascending
  Findings findings_;
  MemberFindings members_;
};

}  // namespace veilsum::scheme
