// Layer: ring. Answers as words of a Reed-Solomon code: n' shares of one secret are a codeword of
// length n' and dimension t, so up to floor((n' - t) / 2) wrong ones are found and left out. All
// coefficients are wrong at the same members, so members are what is looked for. Knows nothing of
// who asked, and convicts nobody.
//
// What the search works on are syndromes: sums that are zero for every codeword, and so depend on
// what wrong answers add to right ones and on nothing else. Syndromes and secrets are computed in
// constant time; the search is not constant-time, in which members err and by how much.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "ring/shamir.h"

namespace veilsum::ring {

/// What decode() finds.
struct Decoded {
  /// The secret; nothing when the answers are undecodable: farther than floor((n' - t) / 2) members
  /// from every sharing.
  std::optional<Elements> secret;
  /// The members whose answers do not fit, ascending; empty when undecodable.
  std::vector<std::uint32_t> wrong;
};

/// The secret of the one sharing that at most floor((n' - t) / 2) of the n' answers depart from.
/// Exact: it depends on no chance. With t or t + 1 answers no error is corrected; with t none is
/// seen.
///
/// Each coefficient's word is decoded by the algorithm of Berlekamp and Massey (Massey 1969) unless
/// the wrong members known already explain it.
/// @throws ParameterError as check_answers
Decoded decode(const Shamir& scheme, const Answers& answers);

/// Sets that `trial_subsets` gives at most.
inline constexpr std::size_t kMaxTrials = 64;

/// At most kMaxTrials sets of t of `answers` answers, for a caller who can check a secret: all of
/// them, in lexicographic order, when there are no more; otherwise kMaxTrials different ones, the
/// same at every call, spread as if by chance, since the first in any regular order share most of
/// their members.
/// @return ascending positions, below `answers`
/// @throws ParameterError unless 1 <= threshold <= answers <= kMaxMembers
std::vector<std::vector<std::uint32_t>> trial_subsets(std::uint32_t answers,
                                                      std::uint32_t threshold);

enum class Distance : std::uint8_t {
  kWithin,     ///< some sharing departs from the word at f members or fewer
  kFarther,    ///< none does
  kUndecided,  ///< f is beyond the decoder's radius and too many sets of members would be tried
};

struct DistanceVerdict {
  Distance distance;
  /// When kWithin: the members of a nearest sharing's departures, ascending. Beyond
  /// floor((n' - t) / 2) members there may be other sharings as near.
  std::vector<std::uint32_t> differing;
};

/// Sets of members that `distance_from_code` tries at most.
inline constexpr std::uint64_t kMaxDistanceTrials = std::uint64_t{1} << 16;

/// Whether the word is within `f` members of a sharing. Decided whenever f is at most
/// floor((n' - t) / 2), or the sets of up to f among n' members are at most kMaxDistanceTrials.
/// @param word all of a sharing's shares or some, or combinations of them
/// @param f below n' - t: any t shares agree with some sharing
/// @throws ParameterError as check_answers, and for another f
DistanceVerdict distance_from_code(const Shamir& scheme, const Answers& word, std::uint32_t f);

/// One of several words whose members err together.
struct Part {
  const Shamir& scheme;
  Answers word;
};
/// The same for words over several fields, of the same members in the same order, n and t: one set
/// of at most `f` members has to explain the departures in all of them.
/// @param parts at least one
/// @throws ParameterError also when the members differ
DistanceVerdict distance_from_code(std::span<const Part> parts, std::uint32_t f);

}  // namespace veilsum::ring
