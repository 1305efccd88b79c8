// Layer: scheme. A client's ciphertext: its cipher's part and blocks, with the public facts about
// it. The native cipher's part is a sealed key, or, for a committee, the root of a hash tree over
// the sealed shares, which then travel beside the head.
// Objects of this type are well formed: they were either encrypted here or checked on reading.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/aligned_buffer.h"
#include "scheme/round.h"

namespace veilsum::scheme {

/// Public randomness that tells two uploads of a round apart.
using Nonce = std::array<std::uint8_t, 16>;

/// What an upload's head has of its engine, with its digest, which names the upload everywhere.
class CipherPart {
 public:
  CipherPart() = default;
  explicit CipherPart(Bytes bytes);

  const Bytes& bytes() const noexcept { return bytes_; }
  const Digest& digest() const noexcept { return digest_; }
  friend bool operator==(const CipherPart& a, const CipherPart& b) { return a.bytes_ == b.bytes_; }

 private:
  Bytes bytes_;
  Digest digest_{};
};

/// Bytes of the cipher's part in a round: a sealed key, the root over sealed shares, or what
/// another engine has.
std::size_t part_bytes(const Round& round) noexcept;
/// Bytes of the secret in a sealed key of one key holder: a seed, and the tag where there is one.
std::size_t sealed_secret_bytes(const Round& round) noexcept;

/// Checks signatures; supplied by the caller (the Python package uses `cryptography`).
class SignatureVerifier {
 public:
  virtual ~SignatureVerifier() = default;
  /// @param signature of the kind that `signer` makes
  virtual bool verify(const PublicIdentity& signer, const Signature& signature,
                      ByteView message) const = 0;
};

/// Who signed an upload, and over which blocks.
struct UploadSignature {
  std::uint32_t client = 0;  ///< index in the round's roster
  /// Nothing where the round has tags: they are what finds changed blocks.
  std::optional<Digest> blocks_digest;
  Signature signature;
};

/// An upload's sealed shares, one a member, one after the other. Copies share the bytes.
using SealedShares = std::shared_ptr<const Bytes>;

/// What the aggregator passes on of an upload besides its blocks.
struct UploadHead {
  std::uint64_t clipped = 0;  ///< values that lay beyond their limit
  Nonce nonce{};
  CipherPart part;
  std::optional<UploadSignature> signature;
  /// Of a committee's round, as long as they are to be forwarded: not a part of the head as it
  /// stands in manifests.
  SealedShares shares = nullptr;

  /// Names the upload.
  const Digest& digest() const noexcept { return part.digest(); }
  SignatureKind signed_by() const noexcept {
    return signature ? signature->signature.kind() : SignatureKind::kNone;
  }
  /// "client 3" or "upload 0123...": for messages.
  std::string name() const;
};

/// The bytes a client signs: label, round id, client, clip count, nonce, digests of the cipher's
/// part and, where the round has no tags, of the blocks.
Bytes signing_payload(const Round& round, std::uint32_t client, const UploadHead& head,
                      const std::optional<Digest>& blocks_digest);

/// Names everything that a head says but its signature.
Digest head_digest(const UploadHead& head);

/// Bytes of one sealed share of a committee's round.
std::size_t sealed_share_bytes(const Round& round);
/// That of one member.
/// @param head with its shares
ByteView sealed_share(const Round& round, const UploadHead& head, std::uint32_t member);
/// Takes the shares in, and checks that they are those that the head's part names.
/// @throws WireFormatError
void attach_shares(const Round& round, UploadHead& head, ByteView shares);

/// Checks roster membership and signature of a head.
/// @throws RoundError when the round has a roster and the signature is missing, wrong or of another
///         kind than the client's identity asks for, or when an upload is signed in a round without
///         one
/// @throws ParameterError when the round has a roster and `verifier` is null
void check_signature(const Round& round, const UploadHead& head, const SignatureVerifier* verifier);

/// Whether somebody says which blocks an upload has: its signer, or the head itself.
bool blocks_are_named(const Round& round, const UploadHead& head) noexcept;
/// Checks what is said of the blocks.
/// @param found the digest of the blocks at hand
/// @throws RoundError when they are other blocks
void check_blocks(const Round& round, const UploadHead& head, const Digest& found);

/// A digest computed from bytes that don't change, kept from then on. Any number of threads may ask
/// and keep at once: what they keep is equal. No lock, so a process forked meanwhile finds either a
/// whole digest or none.
class KeptDigest {
 public:
  KeptDigest() = default;
  KeptDigest(KeptDigest&& other) noexcept { take(other); }
  KeptDigest& operator=(KeptDigest&& other) noexcept {
    if (this != &other) take(other);
    return *this;
  }

  std::optional<Digest> get() const noexcept {
    if (state_.load(std::memory_order_acquire) != State::kKept) return std::nullopt;
    return digest_;
  }
  void keep(const Digest& digest) noexcept {
    State expected = State::kNone;
    if (!state_.compare_exchange_strong(expected, State::kWriting)) return;  // somebody else does
    digest_ = digest;
    state_.store(State::kKept, std::memory_order_release);
  }

 private:
  enum class State : std::uint8_t { kNone, kWriting, kKept };

  /// Like every move, by one thread alone. The bytes go with the move, so `other` keeps nothing.
  void take(KeptDigest& other) noexcept {
    digest_ = other.digest_;
    state_ = other.state_.exchange(State::kNone);
  }

  std::atomic<State> state_{State::kNone};
  Digest digest_{};
};

/// Blocks that several objects refer to; nobody writes to them.
using SharedBlocks = std::shared_ptr<const AlignedBuffer<std::uint8_t>>;

class Upload {
 public:
  /// @param blocks round.payload_bytes() of packed fields: any bytes are valid
  Upload(const Round& round, UploadHead head, AlignedBuffer<std::uint8_t> blocks);
  /// Of a cipher whose part is the digest of the blocks; draws the nonce.
  /// @throws ParameterError for another length than the round's
  static Upload of_blocks(const Round& round, std::uint64_t clipped, ByteView blocks);

  const Digest& round_id() const noexcept { return round_id_; }
  /// Whether its round has tags, so that signatures leave the blocks out.
  bool tagged() const noexcept { return tagged_; }
  const UploadHead& head() const noexcept { return head_; }
  /// Empty of what was moved elsewhere.
  ByteView blocks() const noexcept { return blocks_ ? blocks_->span() : ByteView(); }
  /// The same, to be kept beyond this object.
  const SharedBlocks& shared_blocks() const noexcept { return blocks_; }
  /// Size of to_bytes().
  std::uint64_t wire_bytes() const noexcept;

  /// Digest over the blocks: SHA-256 over the SHA-256 of each 64 KiB piece. The first call computes
  /// it from the blocks, whatever a signature says of them; the object keeps it for the others.
  Digest blocks_digest(int threads) const;
  void attach_signature(UploadSignature signature) { head_.signature = std::move(signature); }

  /// The object in parts: head fields and blocks, without copying the blocks.
  Bytes head_fields() const;
  Bytes to_bytes() const;
  void save(const std::string& path) const;
  /// Every length and the checksum are checked.
  /// @throws WireFormatError for malformed bytes
  /// @throws RoundError for an upload of another round
  static Upload from_bytes(ByteView bytes, const Round& round);

 private:
  Digest round_id_;
  bool tagged_;
  UploadHead head_;
  SharedBlocks blocks_;
  mutable KeptDigest blocks_digest_;
};

/// Bytes of an upload of this round as it travels.
std::uint64_t upload_bytes(const Round& round, SignatureKind kind);
/// Bytes of an upload before its blocks: envelope header, round id, head, sealed shares of a
/// committee's round, length of the blocks.
std::uint64_t upload_head_bytes(const Round& round, SignatureKind kind);
/// Of an unsigned upload to one key holder.
std::size_t least_head_bytes(const Cipher& cipher) noexcept;
/// Reads them, given an upload's size as a whole.
/// @throws WireFormatError, RoundError as Upload::from_bytes
UploadHead read_upload_head(ByteView first_bytes, std::uint64_t actual_bytes, const Round& round);
/// How an upload of this size is signed: the sizes are those that the roster's identities sign at,
/// and that of an unsigned one; of a round without a roster, all. That the client at hand signs so,
/// read_upload_head() checks.
/// @throws WireFormatError for a size that no upload of this round has
SignatureKind check_upload_size(std::uint64_t actual_bytes, const Round& round);
/// The same bytes, to be written.
Bytes write_upload_head(const Round& round, const UploadHead& head);

/// Checks what is said of an upload's blocks, where anything is, against those that it has.
/// @throws RoundError
void check_blocks(const Round& round, const Upload& upload, int threads);

/// Reading and writing of a head inside uploads, aggregates and opening requests, and its size.
std::size_t head_bytes(const Round& round, SignatureKind kind) noexcept;
/// Of the longest head of a round's uploads.
std::size_t most_head_bytes(const Round& round) noexcept;
void write_head(ByteWriter& out, const UploadHead& head);
UploadHead read_head(ByteReader& in, const Round& round);

/// Checks that the id read from bytes is this round's.
/// @throws RoundError
void check_round_id(const Digest& found, const Round& round, const std::string& what);

}  // namespace veilsum::scheme
