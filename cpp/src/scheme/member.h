// Layer: scheme. A member of a committee: it opens what clients sealed to it, endorses one sum of a
// round, and answers a certificate with its share of the sum's key. Which sums it has endorsed and
// answered is its ledger's to remember, by whoever calls.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "scheme/certificate.h"
#include "scheme/key_shares.h"

namespace veilsum::scheme {

/// What an aggregator sends to one member: the manifest, the share of every upload that is sealed
/// to this member, and the path that ties it to the root that the client signed.
class MemberRequest {
 public:
  /// @param manifest with its sealed shares
  /// @param blocks digest of the aggregate's blocks, where names_blocks() says so
  /// @throws RoundError without uploads or the shares; ParameterError for nobody of the committee
  MemberRequest(const Manifest& manifest, std::optional<Digest> blocks, std::uint32_t member);

  const Round& round() const noexcept { return manifest_.round(); }
  const Manifest& manifest() const noexcept { return manifest_; }
  std::uint32_t member() const noexcept { return member_; }
  const SumName& name() const noexcept { return name_; }
  /// The share sealed by the client of entry `k`.
  ByteView part(std::size_t k) const noexcept {
    return ByteView(parts_).subspan(k * part_bytes_, part_bytes_);
  }

  Bytes to_bytes() const;
  /// Checks the paths; signatures are check_request()'s.
  /// @throws WireFormatError, RoundError
  static MemberRequest from_bytes(ByteView bytes, const Round& round);

 private:
  explicit MemberRequest(Manifest manifest) : manifest_(std::move(manifest)) {}

  Manifest manifest_;
  SumName name_;
  std::uint32_t member_ = 0;
  std::size_t part_bytes_ = 0;
  Bytes parts_;
  std::vector<std::vector<Digest>> paths_;
};

/// Everything a member asks of a sum before it looks at its shares: that it is a member, the number
/// of uploads, unit weights, every signature.
/// @param least the fewest uploads that this member's own policy allows
/// @throws KeyMismatchError when `me` is not the member that is asked; RoundError
void check_request(const MemberRequest& request, const PublicIdentity& me, std::uint64_t least,
                   const SignatureVerifier& verifier);

/// What opening the shares gave.
struct OpenedShares {
  KeyShare sum;
  /// Clients whose share cannot be opened, or is none: nothing of this round is signed then.
  std::vector<std::uint32_t> bad;
};
OpenedShares open_shares(const MemberRequest& request, const Opener& opener);

/// The bytes that a sealed answer is bound to.
Bytes answer_info(const Round& round, const Digest& sum, std::uint32_t member);

/// Who may open answers: a KEM key, and a digest that names it.
struct Reader {
  Bytes key;
  Digest id{};
};
Reader reader_of(const Round& round);

/// A member's share of a sum's key, sealed to the round's reader, signed. It counts as an
/// endorsement.
struct Answer {
  Digest round_id{};
  std::uint32_t member = 0;
  Digest sum{};
  Bytes sealed;
  Signature signature;

  /// @throws RoundError when it is of another round or sum, by nobody of the committee, or the
  ///         signature does not hold
  void check(const Certificate& certificate, const SignatureVerifier& verifier) const;

  Bytes to_bytes() const;
  /// Checks that the round is this one; the signature is check()'s.
  static Answer from_bytes(ByteView bytes, const Round& round);
};

/// The bytes a member signs with an answer.
Bytes answer_payload(const Round& round, std::uint32_t member, const Digest& sum, ByteView sealed);

/// Seals a share of a sum to the round's reader. Not signed, not recorded.
Bytes seal_answer(const Round& round, const Digest& sum, std::uint32_t member,
                  const KeyShare& share, const Sealer& sealer);

}  // namespace veilsum::scheme
