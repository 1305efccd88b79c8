// Layer: scheme. What a committee's members hold of an upload: Shamir shares of its keys over
// GF(p), coefficient by coefficient, of its tag over GF(P) where the round has tags, and of uniform
// values that mask what a member says when it is asked for a linear combination of a share. Shares
// of a sum are sums of shares. Sealing them is sealed_key.h's business.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/entropy.h"
#include "ring/shamir.h"
#include "ring/tag_hash.h"
#include "scheme/sealed_key.h"

namespace veilsum::scheme {

/// What the shares of a committee's round look like.
class ShareLayout {
 public:
  /// @throws RoundError for a round of one key holder
  explicit ShareLayout(const Round& round);

  const ring::Shamir& keys() const noexcept { return keys_; }
  /// Over the tag's field; nothing where there is no tag.
  const std::optional<ring::Shamir>& tags() const noexcept { return tags_; }
  /// Coefficients of the upload's keys, kappa N.
  std::size_t columns() const noexcept { return columns_; }
  /// Uniform values dealt beside the keys, and, where there is a tag, beside the tag.
  std::size_t masks() const noexcept { return masks_; }
  static constexpr std::size_t kTagMasks = isa::kTagEvaluations;

  /// Bytes of a dealt share.
  std::size_t share_bytes() const noexcept { return share_bytes_; }
  /// Bytes of a member's share of a sum.
  std::size_t answer_bytes() const noexcept { return answer_bytes_; }

 private:
  ring::Shamir keys_;
  std::optional<ring::Shamir> tags_;
  std::size_t columns_;
  std::size_t masks_;
  std::size_t share_bytes_;
  std::size_t answer_bytes_;
};

/// A member's share, of one upload or of a sum. Wiped when freed.
struct KeyShare {
  ring::Elements keys;       ///< [columns]
  ring::Elements masks;      ///< [masks]
  ring::Elements tag;        ///< [kTagEvaluations], or nothing
  ring::Elements tag_masks;  ///< [kTagMasks], or nothing

  /// Zero: the sum of nothing.
  explicit KeyShare(const ShareLayout& layout);
  /// Constant-time.
  void add(const ShareLayout& layout, const KeyShare& other);
};

/// The shares of one upload, in the form in which they are sealed, one a member. All of it comes
/// from the upload's seed. Constant-time in seed and tag, but for rejected words of the stream.
/// @param tag the upload's, masked; null where the round has none
std::vector<SecretBuffer<std::uint8_t>> deal_shares(const Round& round, const Seed& seed,
                                                    const ring::TagSum* tag);

/// @throws WireFormatError when a member cannot have been dealt these bytes
KeyShare read_share(const ShareLayout& layout, ByteView bytes);

/// A share of a sum as members answer it: without the masks.
SecretBuffer<std::uint8_t> write_answer(const ShareLayout& layout, const KeyShare& share);
/// @throws WireFormatError
KeyShare read_answer(const ShareLayout& layout, ByteView bytes);

/// The tag's field of a plan.
ring::TagField tag_field(const Round& round);

}  // namespace veilsum::scheme
