// Layer: scheme. What a committee's members say of single uploads after a round was spoiled: one
// challenge an upload, answered with random linear combinations of the member's share of it. Masks
// that every client deals beside its keys hide all else: any number of combinations together give
// the combination of the keys plus a uniform value. A second challenge of one upload would give
// their difference, so it is the ledger's to see that there is none.
#pragma once

#include <cstdint>
#include <vector>

#include "scheme/member.h"

namespace veilsum::scheme {

/// What is asked of the shares of one client's upload: fixed by the manifest, and so after all
/// shares were dealt, and by nobody's choice.
/// @param manifest Manifest::digest()
Digest challenge_of(const Digest& manifest, std::uint32_t client);

/// Entries of a manifest by client, ascending: the order of a challenge's answer. (Copies of one
/// manifest may list their entries in any order.)
std::vector<const ManifestEntry*> by_client(const Manifest& manifest);

/// A member's combinations of its share of one upload.
struct Combinations {
  bool opened = false;  ///< whether a share was sealed to this member; the rest is 0 if not
  ring::Elements keys;  ///< [layout.masks()], over GF(p)
  ring::Elements tag;   ///< [kTagMasks] over GF(P), or nothing
};

/// Masked. Constant-time in the share.
Combinations combinations_of(const ShareLayout& layout, const Digest& challenge,
                             const KeyShare& share);
/// Bytes of one upload's combinations.
std::size_t combinations_bytes(const ShareLayout& layout);

/// Opens the challenge of every upload of a request.
/// @return combinations_bytes() for each client, ascending
Bytes open_challenges(const MemberRequest& request, const Opener& opener);

/// A member's combinations for all uploads of a certified sum, signed. Public.
struct ChallengeAnswer {
  Digest round_id{};
  std::uint32_t member = 0;
  Digest sum{};
  Bytes words;
  Signature signature;

  /// @throws RoundError when it is of another round or sum or number of uploads, by nobody of the
  ///         committee, or the signature does not hold
  void check(const Certificate& certificate, const SignatureVerifier& verifier) const;
  /// One for each client, ascending.
  /// @throws WireFormatError
  std::vector<Combinations> combinations(const ShareLayout& layout) const;

  Bytes to_bytes() const;
  /// Checks that the round is this one, and every word; the signature is check()'s.
  static ChallengeAnswer from_bytes(ByteView bytes, const Round& round);
};

/// The bytes a member signs with it.
Bytes challenge_payload(const Round& round, std::uint32_t member, const Digest& sum,
                        ByteView words);

}  // namespace veilsum::scheme
