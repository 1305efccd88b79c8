// Layer: scheme. From members' answers to a sum key, by whoever reads. Wrong answers are corrected
// where there are enough right ones, and never give a wrong number: what they leave in doubt, the
// tag or the check blocks decide.
#pragma once

#include <cstdint>
#include <vector>

#include "scheme/member.h"

namespace veilsum::scheme {

struct Combined {
  /// The one that the code gives; then, where it gives none or all are asked for, those of sets of
  /// t answers, at most 64. Whoever has the blocks tries them.
  std::vector<SumKey> keys;
  /// For each key, the members whose answers are known not to fit it, ascending. Of a set of t
  /// answers nothing is known of the others.
  std::vector<std::vector<std::uint32_t>> wrong;
};

/// Members' shares of a sum, as its reader opened them.
struct OpenedAnswers {
  std::vector<std::uint32_t> members;
  std::vector<KeyShare> shares;           ///< of each
  std::vector<std::uint32_t> unreadable;  ///< members whose answer cannot be opened, or is none
};
/// @param answers to this certificate; of a member that answers twice the first counts
/// @throws RoundError for an answer to another certificate, or whose signature does not hold
OpenedAnswers open_answers(const Certificate& certificate, const std::vector<Answer>& answers,
                           const Opener& reader, const SignatureVerifier& verifier);

/// @param answers as open_answers()
/// @param reader opens what is sealed to the round's reader
/// @param every whether sets of t answers are tried although the code gives a key
/// @throws RoundError for an answer to another certificate, or whose signature does not hold, and
///         for fewer than t members, naming the others
/// @throws TamperedSumError when no set of t answers is that of a sum
Combined combine(const Certificate& certificate, const std::vector<Answer>& answers,
                 const Opener& reader, const SignatureVerifier& verifier, bool every = false);

}  // namespace veilsum::scheme
