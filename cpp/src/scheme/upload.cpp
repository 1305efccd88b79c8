// Layer: scheme. See upload.h.
#include "scheme/upload.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/entropy.h"
#include "base/file_io.h"
#include "base/shown.h"
#include "ring/sha256.h"
#include "scheme/blocks_digest.h"
#include "scheme/key_shares.h"
#include "scheme/part_tree.h"
#include "scheme/wire.h"
#include "veilsum/errors.h"

namespace veilsum::scheme {
namespace {

/// That a client of the roster signed as its identity asks. Others are check_signature()'s.
void check_kind(const Round& round, const UploadSignature& signature) {
  if (signature.client >= round.roster().size()) return;
  const SignatureKind due = round.roster()[signature.client].kind();
  const SignatureKind found = signature.signature.kind();
  if (found != due) {
    throw RoundError("client " + std::to_string(signature.client) + " signed with " +
                     signature_name(found) + ", but its identity in the roster signs with " +
                     signature_name(due) + ": the upload was altered, or somebody else made it");
  }
}

/// What a signature of a kind adds to a head.
constexpr std::size_t signed_bytes(SignatureKind kind, bool tagged) {
  return kind == SignatureKind::kNone ? 0 : 4 + (tagged ? 0 : 32) + signature_bytes(kind);
}

constexpr std::size_t kNoHeadBytes = 1 + 8 + sizeof(Nonce);  // of an unsigned head, without part

/// The facts of a head, as they are signed and as they are named.
void write_facts(ByteWriter& out, std::uint32_t client, const UploadHead& head,
                 const std::optional<Digest>& blocks_digest) {
  out.u32(client);
  out.u64(head.clipped);
  out.raw(head.nonce);
  out.raw(head.digest());
  if (blocks_digest) out.raw(*blocks_digest);
}

}  // namespace

CipherPart::CipherPart(Bytes bytes)
    : bytes_(std::move(bytes)), digest_(ring::labelled_hash("veilsum/2/cipher-part", {bytes_})) {}

std::size_t sealed_secret_bytes(const Round& round) noexcept {
  return 32 + (round.tagged() ? 8 * isa::kTagEvaluations : 0);
}

std::size_t part_bytes(const Round& round) noexcept {
  if (round.committee() != nullptr) return sizeof(Digest);
  const std::size_t tag = round.tagged() ? 8 * isa::kTagEvaluations : 0;
  return round.cipher().part_bytes() + tag;
}

std::size_t sealed_share_bytes(const Round& round) {
  return kSealBytes + ShareLayout(round).share_bytes();
}

ByteView sealed_share(const Round& round, const UploadHead& head, std::uint32_t member) {
  const std::size_t each = head.shares->size() / round.committee()->size();
  return ByteView(*head.shares).subspan(member * each, each);
}

void attach_shares(const Round& round, UploadHead& head, ByteView shares) {
  const Digest root = part_root(shares, round.committee()->size());
  if (!std::equal(root.begin(), root.end(), head.part.bytes().begin(), head.part.bytes().end())) {
    throw WireFormatError("the sealed shares of " + head.name() +
                          " are not the ones its head names: they were altered on the way");
  }
  head.shares = std::make_shared<const Bytes>(shares.begin(), shares.end());
}

std::size_t head_bytes(const Round& round, SignatureKind kind) noexcept {
  return kNoHeadBytes + signed_bytes(kind, round.tagged()) + part_bytes(round);
}

std::size_t most_head_bytes(const Round& round) noexcept {
  // Of a round without a roster as well: read, and then refused with its reason.
  return head_bytes(round, round.has_roster() && !round.expects(SignatureKind::kPostQuantum)
                               ? SignatureKind::kEd25519
                               : SignatureKind::kPostQuantum);
}

std::string UploadHead::name() const {
  if (signature) return "client " + std::to_string(signature->client);
  return "upload " + short_hex(digest());
}

Bytes signing_payload(const Round& round, std::uint32_t client, const UploadHead& head,
                      const std::optional<Digest>& blocks_digest) {
  if (blocks_digest.has_value() == round.tagged()) {
    throw ParameterError(round.tagged()
                             ? "with tags, no digest of the blocks is signed"
                             : "the digest of the blocks is signed where there is no tag");
  }
  ByteWriter out(192);
  out.text("veilsum/2/upload-signature");
  out.raw(round.id());
  write_facts(out, client, head, blocks_digest);
  return out.take();
}

Digest head_digest(const UploadHead& head) {
  ByteWriter out(128);
  write_facts(out, head.signature ? head.signature->client : ~std::uint32_t{0}, head,
              head.signature ? head.signature->blocks_digest : std::nullopt);
  return ring::labelled_hash("veilsum/2/head", {out.bytes()});
}

void check_signature(const Round& round, const UploadHead& head,
                     const SignatureVerifier* verifier) {
  if (!round.has_roster()) {
    if (head.signature) {
      throw RoundError("an upload is signed as client " + std::to_string(head.signature->client) +
                       ", but this round has no roster to check it against");
    }
    return;
  }
  if (!head.signature) {
    throw RoundError(head.name() + " is not signed, but this round has a roster of " +
                     std::to_string(round.roster().size()) + " clients");
  }
  const std::uint32_t client = head.signature->client;
  if (client >= round.roster().size()) {
    throw RoundError("client " + std::to_string(client) + " is not on the roster of " +
                     std::to_string(round.roster().size()) + " clients");
  }
  check_kind(round, *head.signature);
  if (verifier == nullptr) {
    throw ParameterError("this round has a roster: a signature verifier is required");
  }
  const Bytes message = signing_payload(round, client, head, head.signature->blocks_digest);
  if (!verifier->verify(round.roster()[client], head.signature->signature, message)) {
    throw RoundError("the signature of client " + std::to_string(client) +
                     " is wrong: the upload was altered, or somebody else made it");
  }
}

bool blocks_are_named(const Round& round, const UploadHead& head) noexcept {
  return (head.signature && head.signature->blocks_digest) ||
         round.cipher().part_is_blocks_digest();
}

void check_blocks(const Round& round, const UploadHead& head, const Digest& found) {
  if (head.signature && head.signature->blocks_digest.value_or(found) != found) {
    throw RoundError("the blocks of " + head.name() +
                     " are not the ones it signed: they were altered on the way");
  }
  if (round.cipher().part_is_blocks_digest() &&
      !std::equal(found.begin(), found.end(), head.part.bytes().begin(), head.part.bytes().end())) {
    throw RoundError("the blocks of " + head.name() +
                     " are not the ones its head names: they were altered on the way");
  }
}

Upload::Upload(const Round& round, UploadHead head, AlignedBuffer<std::uint8_t> blocks)
    : round_id_(round.id()),
      tagged_(round.tagged()),
      head_(std::move(head)),
      blocks_(std::make_shared<const AlignedBuffer<std::uint8_t>>(std::move(blocks))) {}

Upload Upload::of_blocks(const Round& round, std::uint64_t clipped, ByteView blocks) {
  if (!round.cipher().part_is_blocks_digest()) {
    throw RoundError("uploads of engine '" + engine_name(round.cipher().engine()) +
                     "' have more than blocks");
  }
  if (blocks.size() != round.payload_bytes() || clipped > round.size()) {
    throw ParameterError("an upload of " + std::to_string(blocks.size()) + " bytes of blocks and " +
                         shown(clipped) + " clipped values; this round's has " +
                         std::to_string(round.payload_bytes()) + " bytes and " +
                         std::to_string(round.size()) + " values");
  }
  AlignedBuffer<std::uint8_t> copy(blocks.size());
  std::memcpy(copy.data(), blocks.data(), blocks.size());
  Upload made(round, {}, std::move(copy));
  made.head_.clipped = clipped;
  os_entropy(made.head_.nonce);
  const Digest digest = made.blocks_digest(0);
  made.head_.part = CipherPart(Bytes(digest.begin(), digest.end()));
  return made;
}

void check_blocks(const Round& round, const Upload& upload, int threads) {
  if (blocks_are_named(round, upload.head())) {
    check_blocks(round, upload.head(), upload.blocks_digest(threads));
  }
}

Digest Upload::blocks_digest(int threads) const {
  if (const std::optional<Digest> kept = blocks_digest_.get()) return *kept;
  const Digest digest = digest_of_blocks(blocks(), threads);
  blocks_digest_.keep(digest);
  return digest;
}

void write_head(ByteWriter& out, const UploadHead& head) {
  out.u8(static_cast<std::uint8_t>(head.signed_by()));
  out.u64(head.clipped);
  if (head.signature) {
    out.u32(head.signature->client);
    if (head.signature->blocks_digest) out.raw(*head.signature->blocks_digest);
    out.raw(head.signature->signature.bytes());
  }
  out.raw(head.nonce);
  out.raw(head.part.bytes());
}

UploadHead read_head(ByteReader& in, const Round& round) {
  UploadHead head;
  const std::uint8_t flag = in.u8();
  if (flag > static_cast<std::uint8_t>(SignatureKind::kPostQuantum)) {
    in.fail("signatures of kind " + std::to_string(flag) + " are unknown");
  }
  const auto kind = static_cast<SignatureKind>(flag);
  head.clipped = in.u64();
  if (head.clipped > round.size()) {
    in.fail("says that " + std::to_string(head.clipped) + " of " + std::to_string(round.size()) +
            " values were clipped");
  }
  if (kind != SignatureKind::kNone) {
    const std::uint32_t client = in.u32();
    std::optional<Digest> blocks_digest;
    if (!round.tagged()) blocks_digest = in.array<32>();
    head.signature = {client, blocks_digest, Signature(in.raw(signature_bytes(kind)))};
    check_kind(round, *head.signature);
  }
  head.nonce = in.array<16>();
  const ByteView part = in.raw(part_bytes(round));
  head.part = CipherPart(Bytes(part.begin(), part.end()));
  return head;
}

std::size_t least_head_bytes(const Cipher& cipher) noexcept {
  return kEnvelopeHeaderBytes + 32 + kNoHeadBytes + cipher.part_bytes() + 8;
}

std::uint64_t upload_head_bytes(const Round& round, SignatureKind kind) {
  const Committee* committee = round.committee();
  const std::uint64_t shares =
      committee == nullptr ? 0 : std::uint64_t{committee->size()} * sealed_share_bytes(round);
  return kEnvelopeHeaderBytes + 32 + head_bytes(round, kind) + shares + 8;
}

std::uint64_t upload_bytes(const Round& round, SignatureKind kind) {
  return upload_head_bytes(round, kind) + round.payload_bytes() + kEnvelopeTrailerBytes;
}

SignatureKind check_upload_size(std::uint64_t actual_bytes, const Round& round) {
  if (actual_bytes == upload_bytes(round, SignatureKind::kNone)) return SignatureKind::kNone;
  std::string sizes;
  for (const SignatureKind kind : {SignatureKind::kEd25519, SignatureKind::kPostQuantum}) {
    if (round.has_roster() && !round.expects(kind)) continue;
    const std::uint64_t due = upload_bytes(round, kind);
    if (actual_bytes == due) return kind;
    sizes += (sizes.empty() ? "" : " or ") + std::to_string(due);
  }
  if (!round.has_roster()) sizes = std::to_string(upload_bytes(round, SignatureKind::kNone));
  throw WireFormatError("upload: has " + shown(actual_bytes) +
                        " bytes, an upload of this round has " + sizes +
                        " (truncated, padded, or of another round)");
}

namespace {

UploadHead read_head_and_shares(ByteReader& in, const Round& round) {
  UploadHead head = read_head(in, round);
  if (const Committee* committee = round.committee()) {
    attach_shares(round, head,
                  in.raw(std::uint64_t{committee->size()} * sealed_share_bytes(round)));
  }
  return head;
}

/// The other way: what stands in an upload between its round's id and its blocks.
void write_head_and_shares(ByteWriter& out, const UploadHead& head) {
  write_head(out, head);
  if (head.shares) out.raw(*head.shares);
}

}  // namespace

UploadHead read_upload_head(ByteView first_bytes, std::uint64_t actual_bytes, const Round& round) {
  check_envelope_header(first_bytes, actual_bytes, ObjectKind::kUpload);
  ByteReader in(first_bytes.subspan(kEnvelopeHeaderBytes), "upload");
  check_round_id(in.array<32>(), round, "the upload");
  UploadHead head = read_head_and_shares(in, round);
  const std::uint64_t length = in.u64();
  if (length != round.payload_bytes()) {
    in.fail("has " + std::to_string(length) + " bytes of blocks, this round needs " +
            std::to_string(round.payload_bytes()));
  }
  in.finish();
  return head;
}

Bytes write_upload_head(const Round& round, const UploadHead& head) {
  const SignatureKind kind = head.signed_by();
  ByteWriter out(static_cast<std::size_t>(upload_head_bytes(round, kind)));
  out.raw(envelope_header(ObjectKind::kUpload, upload_bytes(round, kind)));
  out.raw(round.id());
  write_head_and_shares(out, head);
  out.u64(round.payload_bytes());
  return out.take();
}

std::uint64_t Upload::wire_bytes() const noexcept {
  return kEnvelopeHeaderBytes + 32 + kNoHeadBytes + signed_bytes(head_.signed_by(), tagged_) +
         head_.part.bytes().size() + (head_.shares ? head_.shares->size() : 0) + 8 +
         blocks().size() + kEnvelopeTrailerBytes;
}

Bytes Upload::head_fields() const {
  ByteWriter out(256 + signed_bytes(head_.signed_by(), false) + head_.part.bytes().size() +
                 (head_.shares ? head_.shares->size() : 0));
  out.raw(round_id_);
  write_head_and_shares(out, head_);
  out.u64(blocks().size());
  return out.take();
}

Bytes Upload::to_bytes() const { return seal(ObjectKind::kUpload, {head_fields(), blocks()}); }

void Upload::save(const std::string& path) const {
  seal_to_file(path, FileKind::kPublic, ObjectKind::kUpload, {head_fields(), blocks()});
}

void check_round_id(const Digest& found, const Round& round, const std::string& what) {
  if (found != round.id()) {
    throw RoundError(what + " belongs to round " + short_hex(found) + ", not to round " +
                     short_hex(round.id()));
  }
}

Upload Upload::from_bytes(ByteView bytes, const Round& round) {
  ByteReader in(open_envelope(bytes, ObjectKind::kUpload), "upload");
  check_round_id(in.array<32>(), round, "the upload");
  UploadHead head = read_head_and_shares(in, round);
  const std::uint64_t length = in.u64();
  if (length != round.payload_bytes()) {
    in.fail("has " + std::to_string(length) + " bytes of blocks, this round needs " +
            std::to_string(round.payload_bytes()));
  }
  const ByteView data = in.raw(length);
  in.finish();
  // Copied first: what is checked is what is kept, even if the caller's memory changes meanwhile.
  AlignedBuffer<std::uint8_t> blocks(data.size());
  std::memcpy(blocks.data(), data.data(), data.size());
  return Upload(round, std::move(head), std::move(blocks));
}

}  // namespace veilsum::scheme
