// Layer: cipher. The sum tag of uploads and sums (ring/tag_hash.h says what it is): the round's tag
// key, the tag that an upload sends, and what encryption and decryption are given to hash with. It
// knows rounds and digits; not how tags are shared, sealed or opened.
#pragma once

#include <cstdint>
#include <mutex>
#include <optional>

#include "base/bytes.h"
#include "base/entropy.h"
#include "ring/tag_hash.h"
#include "scheme/manifest.h"
#include "scheme/round.h"
#include "scheme/sum_key.h"
#include "scheme/upload.h"

namespace veilsum::cipher {

/// A round's tag key, which the aggregator does not have, ready to hash with. Wiped when freed;
/// threads may share it.
class TagKey {
 public:
  /// @param group_key the group's tag key, 32 bytes
  /// @throws ParameterError for a group key of another length
  /// @throws RoundError for a round of another engine than the native one
  TagKey(const scheme::Round& round, ByteView group_key);
  TagKey(const TagKey&) = delete;
  TagKey& operator=(const TagKey&) = delete;

  const scheme::Round& round() const noexcept { return round_; }
  const ring::TagHash& hash() const noexcept { return hash_; }
  const ring::TagField& field() const noexcept { return hash_.field(); }

  /// What the upload of a client with this nonce adds to its hash.
  ring::TagSum mask(std::uint32_t client, const scheme::Nonce& nonce) const;
  /// The tag of an upload: hash + mask.
  /// @param hash of its digits, of this round's field
  /// @throws ParameterError when the hash is of another field
  ring::TagSum tag(const ring::TagSum& hash, std::uint32_t client,
                   const scheme::Nonce& nonce) const;

  /// Tells keys apart, and nothing of the key.
  Digest fingerprint() const;
  /// @throws RoundError when the key is of another round than `round`
  void check_round(const scheme::Round& round) const;

 private:
  scheme::Round round_;
  Seed key_;
  ring::TagHash hash_;
};

/// Asks an encryption for its upload's hash: the key goes in, the hash comes out. One for each
/// encryption.
struct Tagging {
  const TagKey& key;
  /// h of the upload's digits, unmasked, so a secret. There from when all blocks are made, before
  /// the upload's key is sealed, so that what is sealed can take the tag in; nothing when
  /// encryption fails before that.
  std::optional<ring::TagSum> hash;
};

/// What the hash of a sum's digits must be.
struct TagCheck {
  const TagKey& key;
  /// The weighted sum of the uploads' hashes: of their tags, less that of their masks.
  ring::TagSum expected;
};

/// The check of an opened sum: its key has the sum of tags, its manifest the uploads' masks.
/// @throws RoundError when the round has no tags, or the tag key is of another round
TagCheck check_of(const TagKey& key, const scheme::SumKey& sum, const scheme::Manifest& manifest);

/// Adds up what threads have hashed, in any order.
class TagTotal {
 public:
  explicit TagTotal(const ring::TagField& field) : sum_(field) {}

  void add(const ring::TagSum& part) {
    const std::lock_guard<std::mutex> lock(guard_);
    sum_.add(part);
  }
  /// When no thread adds any more.
  const ring::TagSum& sum() const noexcept { return sum_; }

 private:
  std::mutex guard_;
  ring::TagSum sum_;
};

}  // namespace veilsum::cipher
