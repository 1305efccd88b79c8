// Layer: scheme. What a committee's members say of a sum before anything of it is opened: a signed
// word for one manifest of a round each, and t of these together. Members answer a certificate and
// nothing else, and honest members give their word for one manifest of a round: so no two sums of a
// round are opened while the dishonest are fewer than 2t - n.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "scheme/manifest.h"
#include "scheme/sum_key.h"

namespace veilsum::scheme {

/// What members give their word for: a manifest, and, where nothing else finds changed blocks, the
/// aggregate's blocks.
struct SumName {
  Digest manifest{};
  /// Where names_blocks() says so.
  std::optional<Digest> blocks;

  /// One digest for both: what ledgers record, and what endorsements and answers are bound to.
  Digest digest(const Round& round) const;
  friend bool operator==(const SumName&, const SumName&) = default;
};

/// The bytes a member signs to endorse a sum.
Bytes endorsement_payload(const Round& round, std::uint32_t member, const Digest& sum);

/// One member's signed word.
struct Endorsement {
  Digest round_id{};
  std::uint32_t member = 0;
  Digest sum{};  ///< SumName::digest()
  Signature signature;

  /// @throws RoundError when it is of another round, or by nobody of its committee, or the
  ///         signature does not hold
  void check(const Round& round, const SignatureVerifier& verifier) const;

  Bytes to_bytes() const;
  /// Checks that the round is this one; the signature is check()'s.
  static Endorsement from_bytes(ByteView bytes, const Round& round);
};

/// A manifest with t members' word for it.
class Certificate {
 public:
  /// @param endorsements t at least, by distinct members, all of this sum; the first t are kept
  /// @throws RoundError when they are fewer, of different sums, or do not hold
  Certificate(const Manifest& manifest, std::optional<Digest> blocks,
              const std::vector<Endorsement>& endorsements, const SignatureVerifier& verifier);

  const Round& round() const noexcept { return manifest_.round(); }
  const Manifest& manifest() const noexcept { return manifest_; }
  const std::optional<Digest>& blocks() const noexcept { return name_.blocks; }
  const SumName& name() const noexcept { return name_; }
  /// What it certifies: SumName::digest().
  const Digest& sum() const noexcept { return sum_; }
  /// Who endorsed.
  std::vector<std::uint32_t> members() const;

  Bytes to_bytes() const;
  /// Every signature is checked: what is of this type holds.
  /// @throws WireFormatError, RoundError
  static Certificate from_bytes(ByteView bytes, const Round& round,
                                const SignatureVerifier& verifier);

 private:
  Manifest manifest_;
  SumName name_;
  Digest sum_{};
  std::vector<Endorsement> endorsements_;
};

/// The committee of a round.
/// @throws RoundError for a round of one key holder
const Committee& committee_of(const Round& round);

/// A member's number, as everything that members exchange has it.
/// @throws WireFormatError for nobody of the round's committee
std::uint32_t read_member(ByteReader& in, const Round& round);
/// A member's number and signature, as endorsements, certificates and answers have them.
void write_word(ByteWriter& out, std::uint32_t member, const Signature& signature);
std::pair<std::uint32_t, Signature> read_word(ByteReader& in, const Round& round);

/// The identity of a member.
/// @throws RoundError for nobody of the round's committee
const PublicIdentity& member_of(const Round& round, std::uint32_t member);
/// Refuses what a member did not sign.
/// @param what messages call it: "endorsement", "answer"
/// @throws RoundError
void check_word(const Round& round, std::uint32_t member, const Signature& signature,
                ByteView payload, const SignatureVerifier& verifier, const std::string& what);

}  // namespace veilsum::scheme
