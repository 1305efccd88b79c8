// Layer: tests (scheme). Uploads: their bytes as the wire format lays them out, their digests and
// what a signature covers, who may sign in which round, and refusal of everything damaged: every
// byte changed in turn and every truncation, with the checksum repaired.
#include "scheme/upload.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "check.h"
#include "ring/sha256.h"
#include "scheme/blocks_digest.h"
#include "scheme/part_tree.h"
#include "support/committees.h"
#include "support/damage.h"
#include "support/envelopes.h"
#include "support/rounds.h"
#include "support/signatures.h"
#include "support/temporary_folder.h"
#include "support/toy_engine.h"
#include "veilsum/errors.h"

namespace veilsum::test {
namespace {

using scheme::Plan;
using scheme::Round;
using scheme::SecretKey;
using scheme::Upload;

Bytes copy_of(ByteView view) { return {view.begin(), view.end()}; }

AlignedBuffer<std::uint8_t> buffer_of(ByteView view) {
  AlignedBuffer<std::uint8_t> buffer(view.size());
  std::memcpy(buffer.data(), view.data(), view.size());
  return buffer;
}

/// Changes the blocks as no caller can, to see whether they are read once more.
void change_behind(const Upload& upload) {
  const_cast<std::uint8_t*>(upload.blocks().data())[0] ^= 1;
}

scheme::RoundFields with_roster(std::uint64_t size, std::uint64_t clients) {
  scheme::RoundFields fields = fields_of({{size, 1.0}});
  fields.roster = fake_roster(clients);
  return fields;
}

TEST("the bytes of an upload, unsigned and signed") {
  const Plan plan = make_plan(10, 16);
  const SecretKey key = make_key();
  const Round round = make_round(plan, key, with_roster(100, 3));
  Upload upload = make_upload(round, 42);
  for (const bool with_signature : {false, true}) {
    if (with_signature) sign(round, upload, 2);
    ByteWriter out;
    out.raw(round.id());
    out.u8(with_signature ? 1 : 0);
    out.u64(42);
    if (with_signature) {
      out.u32(2);
      out.raw(upload.blocks_digest(1));
      out.raw(upload.head().signature->signature.bytes());
    }
    out.raw(nonce_of(42));
    CHECK_EQ(upload.head().part.bytes().size(), 1168u);
    out.raw(upload.head().part.bytes());
    out.u64(round.payload_bytes());
    out.raw(upload.blocks());
    CHECK_EQ(upload.to_bytes(), envelope_of(5, out.bytes()));
    CHECK_EQ(upload.wire_bytes(), upload.to_bytes().size());
  }
}

TEST("uploads go to bytes, to a file, and back, for every ring and odd sizes") {
  const TemporaryFolder folder;
  for (const Plan& plan : plans_of_every_ring()) {
    const SecretKey key = make_key();
    std::uint64_t upload_keys = 1;
    for (const std::uint64_t size :
         {std::uint64_t{1}, std::uint64_t{9}, plan.block_capacity(), plan.block_capacity() + 3}) {
      scheme::RoundFields fields = with_roster(size, 3);
      fields.upload_keys = upload_keys++;
      const Round round = make_round(plan, key, fields);
      const Upload upload = make_signed_upload(round, size, 1);
      const Bytes bytes = upload.to_bytes();
      const Upload again = Upload::from_bytes(bytes, round);
      CHECK(again.to_bytes() == bytes);
      CHECK(again.round_id() == round.id());
      CHECK_EQ(again.head().clipped, upload.head().clipped);
      CHECK(again.head().nonce == upload.head().nonce);
      CHECK(again.head().part == upload.head().part);
      CHECK(again.head().digest() == upload.head().digest());
      CHECK(again.head().signature->client == 1);
      CHECK(copy_of(again.blocks()) == copy_of(upload.blocks()));
      upload.save(folder / "upload");
      CHECK_EQ(contents_of(folder / "upload"), std::string(bytes.begin(), bytes.end()));
    }
  }
}

TEST("the blocks digest hashes pieces of 64 KiB, with any number of threads") {
  const Plan plan = make_plan(10, 16);
  const SecretKey key = make_key();
  // Pieces that end inside, at the end of, and beyond the data; many at a time are hashed together.
  const std::uint64_t a_span = scheme::Spans(make_round(plan, key, 1)).values_per_span();
  for (const std::uint64_t values :
       {std::uint64_t{1}, 5 * plan.block_capacity() + 600, a_span, 2 * a_span + 1}) {
    const Round round = make_round(plan, key, fields_of({{values, 1.0}}, values % 2 + 1));
    const Upload upload = make_upload(round, 1);
    Bytes digests;
    for (std::size_t at = 0; at < upload.blocks().size(); at += 65536) {
      ring::Sha256 hash;
      hash.update(
          upload.blocks().subspan(at, std::min<std::size_t>(65536, upload.blocks().size() - at)));
      const Digest digest = hash.finish();
      digests.insert(digests.end(), digest.begin(), digest.end());
    }
    const Digest expected = ring::labelled_hash("veilsum/2/blocks-digest", {digests});
    for (int threads = 0; threads <= 4;
         ++threads) {  // each from a new object: one keeps its digest
      CHECK(Upload(round, upload.head(), buffer_of(upload.blocks())).blocks_digest(threads) ==
            expected);
    }
  }
}

TEST("the digest changes with every byte of the blocks") {
  const Plan plan = make_plan(10, 16);
  const SecretKey key = make_key();
  const Round round = make_round(plan, key, 12 * plan.block_capacity());
  const Upload upload = make_upload(round, 1);
  const Digest whole = upload.blocks_digest(1);
  Bytes blocks = copy_of(upload.blocks());
  for (const std::size_t at :
       {std::size_t{0}, std::size_t{65535}, std::size_t{65536}, blocks.size() - 1}) {
    AlignedBuffer<std::uint8_t> changed = buffer_of(blocks);
    changed[at] ^= 1;
    CHECK(Upload(round, upload.head(), std::move(changed)).blocks_digest(1) != whole);
  }
}

TEST("an upload reads its blocks for the digest once, also when it is moved") {
  const Plan plan = make_plan(10, 16);
  const SecretKey key = make_key();
  const Round round = make_round(plan, key, with_roster(12 * plan.block_capacity(), 3));
  Upload upload = make_upload(round, 1);
  const Digest first = upload.blocks_digest(2);
  change_behind(upload);
  CHECK(upload.blocks_digest(2) == first);
  const Upload moved = std::move(upload);
  CHECK(moved.blocks_digest(1) == first);
  // Not from a reading of its bytes, whose digest is that of the bytes it read.
  const Upload read = Upload::from_bytes(moved.to_bytes(), round);
  CHECK(read.blocks_digest(1) != first);
}

TEST("the digest an upload keeps is that of its own blocks") {
  const Plan plan = make_plan(10, 16);
  const SecretKey key = make_key();
  const Round round = make_round(plan, key, with_roster(12 * plan.block_capacity(), 3));
  const Digest one = make_upload(round, 1).blocks_digest(1);
  const Digest two = make_upload(round, 2).blocks_digest(1);
  CHECK(one != two);
  Upload upload = make_upload(round, 1);
  CHECK(upload.blocks_digest(1) == one);
  upload = make_upload(round, 2);  // one that knows none
  CHECK(upload.blocks_digest(1) == two);
  Upload other = make_upload(round, 1);
  CHECK(other.blocks_digest(1) == one);
  upload = std::move(other);  // one that knows its own
  CHECK(upload.blocks_digest(1) == one);
  // NOLINTNEXTLINE(bugprone-use-after-move): what is left has no blocks, so not their digest either
  CHECK(other.blocks_digest(1) == Upload(round, upload.head(), {}).blocks_digest(1));
  // What a signature says of the blocks is the sender's word, and changes nothing.
  Upload claimed = make_upload(round, 1);
  claimed.attach_signature(empty_signature(0, two));
  CHECK(claimed.blocks_digest(1) == one);
  CHECK(Upload::from_bytes(claimed.to_bytes(), round).blocks_digest(1) == one);
}

TEST("threads that ask for the digest at once all get it") {
  const Plan plan = make_plan(10, 16);
  const SecretKey key = make_key();
  const Round round = make_round(plan, key, 12 * plan.block_capacity());
  const Digest expected = make_upload(round, 1).blocks_digest(1);
  for (int repeat = 0; repeat < 20; ++repeat) {
    const Upload upload = make_upload(round, 1);
    std::atomic<int> wrong{0};
    std::vector<std::thread> readers;
    for (int reader = 0; reader < 4; ++reader) {
      readers.emplace_back([&] {
        for (int again = 0; again < 3; ++again) wrong += upload.blocks_digest(1) != expected;
      });
    }
    for (std::thread& reader : readers) reader.join();
    CHECK_EQ(wrong.load(), 0);
    change_behind(upload);
    CHECK(upload.blocks_digest(1) == expected);
  }
}

TEST("what a signature covers, byte by byte") {
  const Plan plan = make_plan(10, 16);
  const SecretKey key = make_key();
  const Round round = make_round(plan, key, 10);
  const Digest blocks = bytes32(2);
  scheme::UploadHead head = head_of(round, 3);
  head.clipped = 9;
  ByteWriter out;
  out.text("veilsum/2/upload-signature");
  out.raw(round.id());
  out.u32(7);
  out.u64(9);
  out.raw(nonce_of(3));
  out.raw(head.digest());
  out.raw(blocks);
  CHECK_EQ(scheme::signing_payload(round, 7, head, blocks), out.bytes());
  CHECK(head.digest() == ring::labelled_hash("veilsum/2/cipher-part", {head.part.bytes()}));
}

TEST("names for messages") {
  const Plan plan = make_plan(10, 16);
  const SecretKey key = make_key();
  const Round round = make_round(plan, key, 10);
  Upload upload = make_upload(round, 1);
  CHECK_EQ(upload.head().name(), "upload " + short_hex(upload.head().digest()));
  sign(round, upload, 3);
  CHECK_EQ(upload.head().name(), "client 3");
}

TEST("rosters: who must sign, who may, and that the signature holds") {
  const Plan plan = make_plan(10, 16);
  const SecretKey key = make_key();
  const Round open = make_round(plan, key, 10), closed = make_round(plan, key, with_roster(10, 3));
  const FakeVerifier verifier;
  const auto check = [&](const Round& round, const Upload& upload,
                         const scheme::SignatureVerifier* with) {
    scheme::check_signature(round, upload.head(), with);
  };
  // Without a roster: unsigned only, and nobody to ask.
  check(open, make_upload(open, 1), nullptr);
  check(open, make_upload(open, 1), &verifier);
  CHECK_EQ(verifier.calls.load(), 0);
  CHECK_THROWS_WITH(check(open, make_signed_upload(open, 1, 0), &verifier), RoundError,
                    "no roster");
  // With one: signed, by somebody on it, rightly.
  for (std::uint32_t client = 0; client < 3; ++client) {
    check(closed, make_signed_upload(closed, 1, client), &verifier);
  }
  CHECK_EQ(verifier.calls.load(), 3);
  CHECK_THROWS_WITH(check(closed, make_upload(closed, 1), &verifier), RoundError, "not signed");
  for (const std::uint32_t client : {3u, 4u, ~0u}) {
    CHECK_THROWS_WITH(check(closed, make_signed_upload(closed, 1, client), &verifier), RoundError,
                      "not on the roster");
  }
  CHECK_THROWS_WITH(check(closed, make_signed_upload(closed, 1, 0), nullptr), ParameterError,
                    "verifier");
  // Any change to what was signed.
  const Upload good = make_signed_upload(closed, 1, 1);
  const auto changed = [&](auto change) {
    scheme::UploadHead head = good.head();
    change(head);
    CHECK_THROWS_WITH(scheme::check_signature(closed, head, &verifier), RoundError,
                      "signature of client");
  };
  changed([](scheme::UploadHead& head) { ++head.clipped; });
  changed([](scheme::UploadHead& head) { head.nonce[15] ^= 1; });
  for (const std::size_t at : {std::size_t{0}, scheme::kSealedKeyBytes - 1}) {
    changed([&](scheme::UploadHead& head) {
      Bytes bytes = head.part.bytes();
      bytes[at] ^= 1;
      head.part = scheme::CipherPart(bytes);
    });
  }
  changed([](scheme::UploadHead& head) { head.signature->client = 2; });
  changed([](scheme::UploadHead& head) { head.signature->blocks_digest->front() ^= 1; });
  changed([](scheme::UploadHead& head) {
    head.signature->signature = test::changed(head.signature->signature, 63);
  });
  // A signature of the same client for another round.
  const Round other = make_round(plan, key, with_roster(10, 3), 2);
  CHECK_THROWS(check(other, good, &verifier), RoundError);
}

TEST("another round's upload is refused, whatever differs") {
  const Plan plan = make_plan(10, 16);
  const SecretKey key = make_key();
  const Round round = make_round(plan, key, 100);
  const Bytes bytes = make_upload(round, 1).to_bytes();
  for (const Round& other :
       {make_round(plan, key, 100, 2), make_round(plan, key, 101),
        make_round(plan, key, fields_of({{100, 2.0}})), make_round(make_plan(11, 16), key, 100),
        make_round(plan, key, fields_of({{100, 1.0}}, 2)), make_round(plan, make_key(2), 100)}) {
    CHECK_THROWS_WITH(Upload::from_bytes(bytes, other), RoundError, short_hex(round.id()));
    CHECK_THROWS_WITH(Upload::from_bytes(bytes, other), RoundError, short_hex(other.id()));
  }
}

TEST("blocks of another length and impossible counts are refused; blocks may be any bytes") {
  const Plan plan = make_plan(10, 16, 4, 128, "n4096");  // two limbs
  const SecretKey key = make_key();
  const Round round = make_round(plan, key, plan.block_capacity() + 20);
  const Upload upload = make_upload(round, 1);
  const Bytes good = upload.to_bytes();
  const std::size_t length_at = 16 + 32 + 1 + 8 + 16 + 1168;
  CHECK_EQ(scheme::upload_head_bytes(round, scheme::SignatureKind::kNone), length_at + 8);
  CHECK_EQ(scheme::upload_head_bytes(round, scheme::SignatureKind::kEd25519), length_at + 8 + 100);
  CHECK_EQ(scheme::upload_head_bytes(round, scheme::SignatureKind::kPostQuantum),
           length_at + 8 + 100 + 3309);
  // The length of the blocks.
  for (const std::uint64_t length :
       {std::uint64_t{0}, round.payload_bytes() - 1, round.payload_bytes() + 1, ~std::uint64_t{0},
        std::uint64_t{1} << 63}) {
    Bytes damaged = good;
    std::memcpy(damaged.data() + length_at, &length, 8);
    repair_checksum(damaged);
    CHECK_THROWS(Upload::from_bytes(damaged, round), WireFormatError);
  }
  // Clipped values: as many as there are, not one more.
  for (const std::uint64_t clipped : {round.size(), round.size() + 1, ~std::uint64_t{0}}) {
    Bytes damaged = good;
    std::memcpy(damaged.data() + 16 + 32 + 1, &clipped, 8);
    repair_checksum(damaged);
    if (clipped <= round.size()) {
      CHECK_EQ(Upload::from_bytes(damaged, round).head().clipped, clipped);
    } else {
      CHECK_THROWS_WITH(Upload::from_bytes(damaged, round), WireFormatError, "clipped");
    }
  }
  for (const std::uint8_t fill : {std::uint8_t{0}, std::uint8_t{0xff}}) {
    Bytes other = good;
    std::fill(other.begin() + static_cast<std::ptrdiff_t>(length_at) + 8, other.end() - 4, fill);
    repair_checksum(other);
    CHECK(Upload::from_bytes(other, round).to_bytes() == other);
  }
  // The kind of the signature: an unknown one, and one for which there is no room.
  for (const std::uint8_t kind : {std::uint8_t{3}, std::uint8_t{128}}) {
    Bytes damaged = good;
    damaged[16 + 32] = kind;
    repair_checksum(damaged);
    CHECK_THROWS_WITH(Upload::from_bytes(damaged, round), WireFormatError, "signatures of kind");
  }
  for (const std::uint8_t kind : {std::uint8_t{1}, std::uint8_t{2}}) {
    Bytes damaged = good;
    damaged[16 + 32] = kind;
    repair_checksum(damaged);
    CHECK_THROWS(Upload::from_bytes(damaged, round), WireFormatError);
  }
}

TEST("an upload of version 1 is refused by a sentence that names both versions") {
  const Plan plan = make_plan(10, 16);
  const Round round = make_round(plan, make_key(), 10);
  const Bytes former = with_version(make_upload(round, 1).to_bytes(), kFormerVersion);
  for (const char* part : {"version 1 ", "version 2"}) {
    CHECK_THROWS_WITH(Upload::from_bytes(former, round), WireFormatError, part);
    // By its first bytes too, whatever its size: readers of files have no more at hand.
    CHECK_THROWS_WITH(scheme::read_upload_head(ByteView(former).first(16), 99, round),
                      WireFormatError, part);
  }
}

TEST("sizes of uploads: unsigned, or as the roster's identities sign, and none between") {
  const Plan plan = make_plan(10, 16);
  const Round round = make_round(plan, make_key(), with_roster(10, 3));
  Upload upload = make_upload(round, 1);
  const std::uint64_t bare = upload.wire_bytes();
  const std::uint64_t ed25519 = bare + 100, both = bare + 100 + 3309;
  using enum scheme::SignatureKind;
  CHECK_EQ(scheme::upload_bytes(round, kNone), bare);
  CHECK(scheme::check_upload_size(bare, round) == kNone);
  sign(round, upload, 0);
  CHECK_EQ(scheme::upload_bytes(round, kEd25519), upload.wire_bytes());
  CHECK_EQ(upload.wire_bytes(), ed25519);
  const auto refuses = [&](const Round& by, std::uint64_t size, const std::string& due) {
    CHECK_THROWS_WITH(scheme::check_upload_size(size, by), WireFormatError, due);
  };
  const std::uint64_t others[] = {0,           bare - 1, bare + 1, ed25519 - 1,
                                  ed25519 + 1, both - 1, both + 1, ~std::uint64_t{0}};
  scheme::RoundFields fields = with_roster(10, 0);
  const Round open = make_round(plan, make_key(), fields);
  fields.roster = {fake_identity(1, kPostQuantum), fake_identity(2, kPostQuantum)};
  const Round quantum = make_round(plan, make_key(), fields);
  fields.roster = mixed_roster(3);
  const Round mixed = make_round(plan, make_key(), fields);
  for (const std::uint64_t size : others) {
    refuses(round, size, "of this round has " + std::to_string(ed25519) + " (");
    refuses(quantum, size, "of this round has " + std::to_string(both) + " (");
    refuses(mixed, size,
            "of this round has " + std::to_string(ed25519) + " or " + std::to_string(both) + " (");
    refuses(open, size, "of this round has " + std::to_string(bare) + " (");
  }
  // What nobody on the roster signs with is no size of this round.
  CHECK(scheme::check_upload_size(ed25519, round) == kEd25519);
  refuses(round, both, std::to_string(ed25519));
  CHECK(scheme::check_upload_size(both, quantum) == kPostQuantum);
  refuses(quantum, ed25519, std::to_string(both));
  CHECK(scheme::check_upload_size(ed25519, mixed) == kEd25519);
  CHECK(scheme::check_upload_size(both, mixed) == kPostQuantum);
  // Without a roster a signed upload is recognised, and refused with that reason.
  CHECK(scheme::check_upload_size(ed25519, open) == kEd25519);
  CHECK(scheme::check_upload_size(both, open) == kPostQuantum);
}

TEST("a mixed roster: each client signs as its own identity asks, and not otherwise") {
  const Plan plan = make_plan(10, 16);
  const SecretKey key = make_key();
  scheme::RoundFields fields = with_roster(10, 0);
  fields.roster = mixed_roster(3);
  const Round round = make_round(plan, key, fields);
  const FakeVerifier verifier;
  using enum scheme::SignatureKind;
  CHECK(round.expects(kEd25519) && round.expects(kPostQuantum) && !round.expects(kNone));
  const std::uint64_t bare = make_upload(round, 1).wire_bytes();
  for (std::uint32_t client = 0; client < 3; ++client) {
    const Upload good = make_signed_upload(round, 1 + client, client);
    CHECK_EQ(good.wire_bytes(), bare + 100 + (client == 1 ? 3309 : 0));
    const Bytes bytes = good.to_bytes();
    CHECK_EQ(bytes.size(), good.wire_bytes());
    CHECK_EQ(bytes[16 + 32], client == 1 ? 2 : 1);
    const Upload again = Upload::from_bytes(bytes, round);
    CHECK(again.to_bytes() == bytes);
    scheme::check_signature(round, again.head(), &verifier);
    const Bytes first = scheme::write_upload_head(round, good.head());
    CHECK(scheme::read_upload_head(first, bytes.size(), round).signature->signature ==
          good.head().signature->signature);

    // The other kind, by somebody whose signature holds for itself: no verifier is asked.
    const int before = verifier.calls.load();
    Upload other = make_upload(round, 1 + client);
    sign_as(round, other, client,
            fake_identity(9000 + client, client == 1 ? kEd25519 : kPostQuantum));
    const char* due = client == 1 ? "signs with Ed25519 and ML-DSA-65:" : "signs with Ed25519:";
    CHECK_THROWS_WITH(scheme::check_signature(round, other.head(), &verifier), RoundError, due);
    CHECK_EQ(verifier.calls.load(), before);
    CHECK_THROWS_WITH(Upload::from_bytes(other.to_bytes(), round), RoundError, due);
    CHECK_THROWS_WITH(
        scheme::read_upload_head(scheme::write_upload_head(round, other.head()),
                                 scheme::upload_bytes(round, other.head().signed_by()), round),
        RoundError, due);
  }
  // A post-quantum signature without its second half, under either flag.
  const Bytes good = make_signed_upload(round, 1, 1).to_bytes();
  const std::size_t end = 16 + 32 + 1 + 8 + 4 + 32 + 64;
  for (const int flag : {1, 2}) {
    Bytes stripped = good;
    stripped.erase(stripped.begin() + end, stripped.begin() + end + 3309);
    stripped[16 + 32] = static_cast<std::uint8_t>(flag);
    stripped = envelope_of(5, payload_of(stripped));
    CHECK_THROWS(Upload::from_bytes(stripped, round), VeilsumError);
  }
  // And an Ed25519 one that says it has one.
  Bytes longer = make_signed_upload(round, 1, 0).to_bytes();
  longer[16 + 32] = 2;
  repair_checksum(longer);
  CHECK_THROWS(Upload::from_bytes(longer, round), VeilsumError);
  for (const int flag : {3, 4, 128, 255}) {
    Bytes unknown = good;
    unknown[16 + 32] = static_cast<std::uint8_t>(flag);
    repair_checksum(unknown);
    CHECK_THROWS_WITH(Upload::from_bytes(unknown, round), WireFormatError, "unknown");
  }
}

TEST("an upload of an engine without a part of its own is named by its blocks") {
  const SecretKey key = make_toy_key();
  scheme::RoundFields fields = with_roster(100, 3);
  const Round round = make_toy_round({}, key, fields);
  const Bytes blocks = toy_blocks(round, 1);
  Upload upload = Upload::of_blocks(round, 17, blocks);
  CHECK(copy_of(upload.blocks()) == blocks);
  CHECK_EQ(upload.head().clipped, 17u);
  CHECK(!upload.head().signature);
  CHECK(upload.round_id() == round.id());
  const Digest named = scheme::digest_of_blocks(blocks, 1);
  CHECK(upload.head().part.bytes() == Bytes(named.begin(), named.end()));
  CHECK(upload.head().digest() == ring::labelled_hash("veilsum/2/cipher-part", {named}));
  // The nonce is drawn; the name is not.
  const Upload twin = Upload::of_blocks(round, 17, blocks);
  CHECK(twin.head().nonce != upload.head().nonce);
  CHECK(twin.head().digest() == upload.head().digest());
  CHECK(Upload::of_blocks(round, 0, toy_blocks(round, 2)).head().digest() !=
        upload.head().digest());
  for (const bool with_signature : {false, true}) {
    if (with_signature) sign(round, upload, 1);
    ByteWriter out;
    out.raw(round.id());
    out.u8(with_signature ? 1 : 0);
    out.u64(17);
    if (with_signature) {
      out.u32(1);
      out.raw(named);
      out.raw(upload.head().signature->signature.bytes());
    }
    out.raw(upload.head().nonce);
    out.raw(named);
    out.u64(blocks.size());
    out.raw(blocks);
    const Bytes bytes = upload.to_bytes();
    CHECK_EQ(bytes, envelope_of(5, out.bytes()));
    CHECK_EQ(upload.wire_bytes(), bytes.size());
    const auto kind =
        with_signature ? scheme::SignatureKind::kEd25519 : scheme::SignatureKind::kNone;
    CHECK_EQ(scheme::upload_bytes(round, kind), bytes.size());
    CHECK(scheme::check_upload_size(bytes.size(), round) == kind);
    const Bytes head = scheme::write_upload_head(round, upload.head());
    CHECK_EQ(head.size(), scheme::upload_head_bytes(round, kind));
    CHECK(std::equal(head.begin(), head.end(), bytes.begin()));
    CHECK(scheme::read_upload_head(head, bytes.size(), round).part == upload.head().part);
    const Upload again = Upload::from_bytes(bytes, round);
    CHECK(again.to_bytes() == bytes);
    const auto read = [&](const Bytes& damaged) {
      return Upload::from_bytes(damaged, round).to_bytes();
    };
    flip_every_byte(bytes, read, 64, 3);
    cut_everywhere(bytes, read, 13);
  }
}

TEST("blocks of another length, or more clipped values than there are, make no upload") {
  const SecretKey key = make_toy_key();
  const Round round = make_toy_round(key, 100);
  Bytes blocks = toy_blocks(round, 1);
  CHECK_EQ(Upload::of_blocks(round, 100, blocks).head().clipped, 100u);
  CHECK_THROWS_WITH(Upload::of_blocks(round, 101, blocks), ParameterError, "101 clipped");
  CHECK_THROWS(Upload::of_blocks(round, ~std::uint64_t{0}, blocks), ParameterError);
  CHECK_THROWS(Upload::of_blocks(round, 0, {}), ParameterError);
  CHECK_THROWS(Upload::of_blocks(round, 0, ByteView(blocks).first(blocks.size() - 1)),
               ParameterError);
  blocks.push_back(0);
  CHECK_THROWS_WITH(Upload::of_blocks(round, 0, blocks), ParameterError,
                    std::to_string(round.payload_bytes()) + " bytes");
  const Round native = make_round(make_plan(10, 16), make_key(), 10);
  CHECK_THROWS_WITH(
      Upload::of_blocks(native, 0, Bytes(static_cast<std::size_t>(native.payload_bytes()))),
      RoundError, "more than blocks");
}

TEST("what is said of the blocks holds: by the head, by its signer, by both, or by nobody") {
  const SecretKey toy = make_toy_key(), key = make_key();
  const Digest other = bytes32(3);
  // Nobody's word.
  const Round native = make_round(make_plan(10, 16), key, with_roster(10, 3));
  Upload sealed = make_upload(native, 1);
  CHECK(!scheme::blocks_are_named(native, sealed.head()));
  scheme::check_blocks(native, sealed.head(), other);
  // The signer's.
  sign(native, sealed, 1);
  CHECK(scheme::blocks_are_named(native, sealed.head()));
  scheme::check_blocks(native, sealed.head(), sealed.blocks_digest(1));
  CHECK_THROWS_WITH(scheme::check_blocks(native, sealed.head(), other), RoundError,
                    "client 1 are not the ones it signed");
  // The head's.
  const Round round = make_toy_round({}, toy, with_roster(50, 3));
  Upload named = make_toy_upload(round, 1);
  CHECK(scheme::blocks_are_named(round, named.head()));
  const Digest digest = named.blocks_digest(1);
  scheme::check_blocks(round, named.head(), digest);
  for (std::size_t at = 0; at < digest.size(); ++at) {
    Digest changed = digest;
    changed[at] ^= 1;
    CHECK_THROWS_WITH(scheme::check_blocks(round, named.head(), changed), RoundError,
                      named.head().name() + " are not the ones its head names");
  }
  // Both.
  sign(round, named, 2);
  scheme::check_blocks(round, named.head(), digest);
  CHECK_THROWS_WITH(scheme::check_blocks(round, named.head(), other), RoundError,
                    "client 2 are not the ones it signed");
  scheme::UploadHead lying = named.head();
  lying.signature->blocks_digest = other;
  CHECK_THROWS_WITH(scheme::check_blocks(round, lying, digest), RoundError, "signed");
  CHECK_THROWS_WITH(scheme::check_blocks(round, lying, other), RoundError, "its head names");
  lying = named.head();
  lying.part = scheme::CipherPart(Bytes(31));  // no reader gives such a head
  CHECK_THROWS_WITH(scheme::check_blocks(round, lying, digest), RoundError, "its head names");
}

TEST("every byte of a small upload changed, and every truncation") {
  const Plan plan = make_plan(10, 16);
  const SecretKey key = make_key();
  const Round round = make_round(plan, key, with_roster(13, 3));
  const auto read = [&](const Bytes& bytes) { return Upload::from_bytes(bytes, round).to_bytes(); };
  for (const bool with_signature : {false, true}) {
    Upload upload = make_upload(round, 5);
    if (with_signature) sign(round, upload, 1);
    const DamageReport flips = flip_every_byte(upload.to_bytes(), read, 200, 3);
    // Header, round id, flag and length; of the clip count all but its lowest bits.
    CHECK(flips.refused >= 9 * (16 + 32 + 1 + 7));
    CHECK(flips.refused < 9 * (16 + 32 + 1 + 8) + 16);
    CHECK(flips.accepted > round.payload_bytes() / 4);  // blocks are any bytes
    cut_everywhere(upload.to_bytes(), read, with_signature ? 13 : 1);
  }
}

TEST("an upload to a committee: the root in its head, the sealed shares between head and length") {
  for (const bool tagged : {false, true}) {
    const FakeVerifier verifier;
    const Round round = make_committee_round({3, 2, tagged, true});
    const std::size_t each = scheme::sealed_share_bytes(round);
    for (std::uint32_t client = 0; client < 3; ++client) {  // of both kinds of signature
      const Upload upload = make_signed_upload(round, 9, client);
      const scheme::UploadHead& head = upload.head();
      CHECK_EQ(head.shares->size(), 3 * each);
      CHECK(head.part.bytes() == copy_of(scheme::part_root(*head.shares, 3)));
      for (std::uint32_t member = 0; member < 3; ++member) {
        CHECK(copy_of(scheme::sealed_share(round, head, member)) ==
              copy_of(ByteView(*head.shares).subspan(member * each, each)));
      }
      CHECK_EQ(head.signature->blocks_digest.has_value(), !tagged);
      ByteWriter out;
      out.raw(round.id());
      out.u8(client == 1 ? 2 : 1);
      out.u64(9);
      out.u32(client);
      if (!tagged) out.raw(upload.blocks_digest(1));
      out.raw(head.signature->signature.bytes());
      out.raw(nonce_of(9));
      out.raw(head.part.bytes());
      out.raw(*head.shares);
      out.u64(round.payload_bytes());
      out.raw(upload.blocks());
      const Bytes bytes = upload.to_bytes();
      CHECK_EQ(bytes, envelope_of(5, out.bytes()));
      CHECK_EQ(upload.wire_bytes(), bytes.size());
      const auto kind = head.signed_by();
      CHECK_EQ(scheme::upload_bytes(round, kind), bytes.size());
      CHECK(scheme::check_upload_size(bytes.size(), round) == kind);
      const Bytes first = scheme::write_upload_head(round, head);
      CHECK_EQ(first.size(), scheme::upload_head_bytes(round, kind));
      CHECK(std::equal(first.begin(), first.end(), bytes.begin()));
      CHECK(*scheme::read_upload_head(first, bytes.size(), round).shares == *head.shares);
      const Upload again = Upload::from_bytes(bytes, round);
      CHECK(again.to_bytes() == bytes);
      CHECK(*again.head().shares == *head.shares);
      scheme::check_signature(round, again.head(), &verifier);
    }
  }
}

TEST("sealed shares that are not those which the head names are refused, whatever was changed") {
  for (const bool tagged : {false, true}) {
    const Round round = make_committee_round({3, 2, tagged});
    const Upload upload = make_signed_upload(round, 9, 1);
    const Bytes good = upload.to_bytes();
    const auto read = [&](const Bytes& bytes) {
      return Upload::from_bytes(bytes, round).to_bytes();
    };
    const std::size_t shares = upload.head().shares->size();
    const std::size_t end =
        good.size() - kTrailerBytes - static_cast<std::size_t>(round.payload_bytes()) - 8;
    const std::size_t root = end - shares - 32;
    Bytes damaged = good;
    for (std::size_t at = root; at < end; at += at < root + 32 ? 1 : 97) {
      damaged[at] ^= static_cast<std::uint8_t>(1u << at % 8);
      repair_checksum(damaged);
      CHECK_THROWS_WITH(read(damaged), WireFormatError,
                        "the sealed shares of client 1 are not the ones its head names");
      CHECK_THROWS(
          scheme::read_upload_head(ByteView(damaged).first(end + 8), damaged.size(), round),
          WireFormatError);
      damaged[at] = good[at];
    }
    // Two members' shares exchanged.
    const auto each = static_cast<std::ptrdiff_t>(shares / 3);
    const auto from = damaged.begin() + static_cast<std::ptrdiff_t>(root + 32);
    std::swap_ranges(from, from + each, from + each);
    repair_checksum(damaged);
    CHECK_THROWS_WITH(read(damaged), WireFormatError, "not the ones its head names");
    // Of another committee, with as many bytes.
    const Round other(make_plan(10, 16), make_committee(3, 3), committee_fields({3, 3, tagged}),
                      bytes32(77));
    CHECK_THROWS_WITH(Upload::from_bytes(good, other), RoundError, short_hex(other.id()));
    cut_everywhere(good, read, 499);
    scheme::UploadHead head = upload.head();
    CHECK_THROWS(scheme::attach_shares(round, head, Bytes(shares)), WireFormatError);
    scheme::attach_shares(round, head, *upload.head().shares);
  }
}

TEST("where a round has tags, a signature leaves the blocks out; elsewhere it covers them") {
  for (const bool tagged : {false, true}) {
    const Round round = make_committee_round({3, 2, tagged});
    const scheme::UploadHead head = head_of(round, 3, 1);
    const std::optional<Digest> blocks = tagged ? std::nullopt : std::optional(bytes32(2)),
                                other = tagged ? std::optional(bytes32(2)) : std::nullopt;
    ByteWriter out;
    out.text("veilsum/2/upload-signature");
    out.raw(round.id());
    out.u32(1);
    out.u64(0);
    out.raw(nonce_of(3));
    out.raw(head.digest());
    if (!tagged) out.raw(bytes32(2));
    CHECK_EQ(scheme::signing_payload(round, 1, head, blocks), out.bytes());
    CHECK_THROWS(scheme::signing_payload(round, 1, head, other), ParameterError);
    const Upload upload = make_signed_upload(round, 9, 1);
    CHECK_EQ(scheme::blocks_are_named(round, upload.head()), !tagged);
    if (!tagged) {
      CHECK_THROWS(scheme::check_blocks(round, upload.head(), bytes32(1)), RoundError);
    } else {
      scheme::check_blocks(round, upload.head(), bytes32(1));
    }
  }
}

}  // namespace
}  // namespace veilsum::test
