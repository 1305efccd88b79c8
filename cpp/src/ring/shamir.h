// Layer: ring. Shamir's secret sharing (1979) of vectors over GF(p), coefficient by coefficient,
// and Lagrange interpolation back. Member k of n (k from 0) has the point k + 1; any t shares give
// the secret, t - 1 say nothing about it. Knows nothing of uploads, seals or signatures; answers
// that may be wrong are reed_solomon.h's business.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/bytes.h"
#include "isa/kernels.h"
#include "ring/prime_field.h"

namespace veilsum::ring {

/// Elements of a field: a secret, a share, or shares, [member][coefficient].
using Elements = SecretBuffer<std::uint64_t>;

/// A (t, n) threshold scheme over one field.
class Shamir {
 public:
  /// @param members n, 1 ... kMaxMembers, below p
  /// @param threshold t, 1 ... n
  /// @throws ParameterError
  Shamir(const PrimeField& field, std::uint32_t members, std::uint32_t threshold);

  const PrimeField& field() const noexcept { return field_; }
  std::uint32_t members() const noexcept { return members_; }
  std::uint32_t threshold() const noexcept { return threshold_; }
  /// The point of member `k`.
  std::uint64_t point(std::uint32_t k) const noexcept { return std::uint64_t{k} + 1; }

 private:
  PrimeField field_;
  std::uint32_t members_;
  std::uint32_t threshold_;
};

/// What some members hold or have answered.
struct Answers {
  std::span<const std::uint32_t> members;  ///< distinct, below n
  std::span<const std::uint64_t> words;    ///< elements, [members.size()][coefficients]
};

/// Shares of a polynomial for each coefficient, all n members: row k is sum_i x^i coefficients[i]
/// at the point x of member k. Constant-time in the coefficients.
/// @param coefficients elements, [t][columns]; row 0 is the secret
/// @throws ParameterError when the number of elements is no multiple of t
Elements evaluate(const Shamir& scheme, std::span<const std::uint64_t> coefficients);

/// Shares of `secret`, [n][secret.size()]. The other coefficients are uniform elements of the
/// stream (key, index), rows 1 ... t - 1 one after the other; no other use of the key may take that
/// stream. Constant-time in secret and stream, but for rejected words (see uniform_elements).
/// Besides the result it takes 4 t (narrow fields) or 8 t bytes a coefficient.
Elements share(const Shamir& scheme, std::span<const std::uint64_t> secret, const isa::AesKey& key,
               std::uint64_t index);
/// The same for signed numbers, |number| < p.
Elements share_signed(const Shamir& scheme, std::span<const std::int64_t> secret,
                      const isa::AesKey& key, std::uint64_t index);

/// The secret that exactly t answers give. Constant-time in the words.
/// @throws ParameterError as check_answers, and for another number of answers
Elements reconstruct(const Shamir& scheme, const Answers& answers);

/// Lagrange coefficients at 0 of `members`. Public.
std::vector<std::uint64_t> weights_at_zero(const Shamir& scheme,
                                           std::span<const std::uint32_t> members);

/// 1 / prod_(m != i) (x_i - x_m) for each of `members`. Public.
std::vector<std::uint64_t> inverse_differences(const Shamir& scheme,
                                               std::span<const std::uint32_t> members);

/// @return the number of coefficients of each answer
/// @throws ParameterError for a member out of range or twice, fewer than t answers, and words that
///   do not divide among the members
std::size_t check_answers(const Shamir& scheme, const Answers& answers);

/// Elements of a challenge's answer: the least m with p^m >= 2^128, so that a share vector other
/// than the right one gives the right answer to a challenge with a probability of at most 2^-128.
std::size_t challenge_elements(const PrimeField& field);

/// `count` linear combinations of a share vector, their coefficients uniform elements under a key
/// from the digest: combination i takes those of stream i. Linear, and the same for
/// every member: the members' combinations are shares of the combinations of the secret. An answer
/// is to be masked, by adding a share of uniform elements, before anyone sees it. Constant-time in
/// the share.
/// @param challenge public, and fixed only after the shares were dealt
Elements combine_challenge(const PrimeField& field, const Digest& challenge,
                           std::span<const std::uint64_t> share, std::size_t count);
/// challenge_elements() of them.
inline Elements combine_challenge(const PrimeField& field, const Digest& challenge,
                                  std::span<const std::uint64_t> share) {
  return combine_challenge(field, challenge, share, challenge_elements(field));
}

}  // namespace veilsum::ring
