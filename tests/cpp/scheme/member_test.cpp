// Layer: tests (scheme). What a member is asked, and what it answers: requests that show each
// member its own sealed shares under the clients' signatures, the checks before any share is
// opened, shares that are none, and answers, byte by byte.
#include "scheme/member.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "check.h"
#include "ring/sha256.h"
#include "scheme/part_tree.h"
#include "support/committees.h"
#include "support/damage.h"
#include "support/envelopes.h"
#include "support/modulus.h"
#include "veilsum/errors.h"

namespace veilsum::test {
namespace {

using scheme::Answer;
using scheme::Certificate;
using scheme::Manifest;
using scheme::MemberRequest;
using scheme::Round;
using scheme::UploadHead;

constexpr std::uint16_t kRequestKind = 11, kAnswerKind = 14;

Bytes copy_of(ByteView view) { return {view.begin(), view.end()}; }

/// Accepts everything, to build what no honest aggregator builds.
class Gullible final : public scheme::SignatureVerifier {
  bool verify(const scheme::PublicIdentity&, const scheme::Signature&, ByteView) const override {
    return true;
  }
};

MemberRequest request_of(const Manifest& manifest, std::uint32_t member) {
  return {manifest, some_blocks(manifest.round()), member};
}

/// The head of a client that seals other bytes to one member, and signs that.
UploadHead with_share(const Round& round, std::uint32_t client, std::uint32_t member,
                      const Bytes& sealed) {
  UploadHead head = head_of(round, client + 1, client);
  Bytes shares = *head.shares;
  std::copy(sealed.begin(), sealed.end(),
            shares.begin() + static_cast<std::ptrdiff_t>(member * sealed.size()));
  const Digest root = scheme::part_root(shares, round.committee()->size());
  head.part = scheme::CipherPart(Bytes(root.begin(), root.end()));
  scheme::attach_shares(round, head, shares);
  scheme::Upload upload(round, head, random_blocks(round, client));
  sign(round, upload, client);
  return upload.head();
}

Manifest with_head(const Round& round, std::vector<std::uint32_t> others, const UploadHead& head) {
  const FakeVerifier verifier;
  Manifest manifest = manifest_of_clients(round, {others[0]});
  manifest.add(head, 1, &verifier);
  for (std::size_t k = 1; k < others.size(); ++k) {
    manifest.add(make_signed_upload(round, others[k] + 1, others[k]).head(), 1, &verifier);
  }
  return manifest;
}

TEST("a request shows a member its own shares alone, with the paths to the signed roots") {
  for (const bool tagged : {false, true}) {
    for (const std::uint64_t members : {2u, 3u, 5u}) {
      const Round round = make_committee_round({members, members / 2 + 1, tagged, true});
      const Manifest manifest = manifest_of_clients(round, {2, 0, 1});
      for (std::uint32_t member = 0; member < members; ++member) {
        const MemberRequest request = request_of(manifest, member);
        CHECK_EQ(request.member(), member);
        CHECK(request.manifest().digest() == manifest.digest());
        CHECK(!request.manifest().has_shares());
        CHECK(request.name().blocks == some_blocks(round));
        ByteWriter out;
        manifest.write(out);
        if (!tagged) out.raw(bytes32(301));
        out.u32(member);
        for (std::size_t k = 0; k < 3; ++k) {
          const UploadHead& head = manifest.entries()[k].head;
          const ByteView part = scheme::sealed_share(round, head, member);
          CHECK(copy_of(part) == copy_of(request.part(k)));
          CHECK_EQ(part.size() * members, head.shares->size());
          out.raw(part);
          for (const Digest& digest :
               scheme::part_path(*head.shares, static_cast<std::uint32_t>(members), member)) {
            out.raw(digest);
          }
        }
        const Bytes bytes = request.to_bytes();
        CHECK_EQ(bytes, envelope_of(kRequestKind, out.bytes()));
        const MemberRequest again = MemberRequest::from_bytes(bytes, round);
        CHECK(again.to_bytes() == bytes);
        CHECK_EQ(again.member(), member);
        CHECK(again.name() == request.name());
        for (std::size_t k = 0; k < 3; ++k) {
          CHECK(copy_of(again.part(k)) == copy_of(request.part(k)));
        }
      }
    }
  }
}

TEST("what is no request: no uploads, no shares, nobody of the committee, blocks misnamed") {
  const Round round = make_committee_round({}), tagged = make_committee_round({4, 3, true});
  const Manifest manifest = manifest_of_clients(round, {0, 1});
  CHECK_THROWS_WITH(request_of(manifest.without_shares(), 0), RoundError,
                    "without the uploads' sealed shares");
  CHECK_THROWS_WITH(request_of(Manifest(round), 0), RoundError, "no uploads");
  for (const std::uint32_t nobody : {4u, ~0u}) {
    CHECK_THROWS_WITH(request_of(manifest, nobody), ParameterError, "no member number");
  }
  CHECK_THROWS_WITH(MemberRequest(manifest, std::nullopt, 0), RoundError, "blocks as well");
  CHECK_THROWS_WITH(MemberRequest(manifest_of_clients(tagged, {0, 1}), bytes32(1), 0), RoundError,
                    "no blocks");
  const Round single = make_round(make_plan(10, 16), make_key(), 10);
  CHECK_THROWS_WITH(MemberRequest(Manifest(single), std::nullopt, 0), RoundError, "one key holder");
  CHECK_THROWS_WITH(MemberRequest::from_bytes(request_of(manifest, 0).to_bytes(), single),
                    RoundError, "one key holder");
  CHECK_THROWS_WITH(
      MemberRequest::from_bytes(request_of(manifest, 0).to_bytes(), make_committee_round({}, 2)),
      RoundError, "belongs to round");
}

TEST("a share or a path that was changed is not what the head names") {
  const Round round = make_committee_round({5, 3});
  const Manifest manifest = manifest_of_clients(round, {0, 1});
  const std::size_t each = scheme::sealed_share_bytes(round);
  for (const std::uint32_t member : {0u, 3u, 4u}) {  // paths of three digests and of one
    const Bytes good = request_of(manifest, member).to_bytes();
    const std::size_t path = scheme::part_path_length(5, member) * 32;
    const std::size_t first = good.size() - kTrailerBytes - 2 * (each + path);
    const auto read = [&](const Bytes& bytes) {
      return MemberRequest::from_bytes(bytes, round).to_bytes();
    };
    CHECK(read(good) == good);
    Bytes damaged = good;
    for (std::size_t at = first; at + kTrailerBytes < good.size();
         at += (at - first) % (each + path) >= each ? 1 : 23) {
      damaged[at] ^= static_cast<std::uint8_t>(1u << at % 8);
      repair_checksum(damaged);
      CHECK_THROWS_WITH(read(damaged), WireFormatError,
                        std::string("client ") + (at < first + each + path ? "0" : "1"));
      damaged[at] = good[at];
    }
    // Another member's number on the same bytes, or two clients' shares exchanged with their paths.
    for (std::uint32_t other = 0; other < 6; ++other) {
      if (other == member) continue;
      damaged = good;
      std::memcpy(damaged.data() + first - 4, &other, 4);
      repair_checksum(damaged);
      CHECK_THROWS(read(damaged), WireFormatError);
    }
    damaged = good;
    std::swap_ranges(damaged.begin() + static_cast<std::ptrdiff_t>(first),
                     damaged.begin() + static_cast<std::ptrdiff_t>(first + each + path),
                     damaged.begin() + static_cast<std::ptrdiff_t>(first + each + path));
    repair_checksum(damaged);
    CHECK_THROWS_WITH(read(damaged), WireFormatError, "client 0 is not the one its head names");
    flip_every_byte(good, read, 64, 29);
    cut_everywhere(good, read, 67);
  }
}

TEST("before any share is opened: the member asked, the number of uploads, weights, signatures") {
  const Round round = make_committee_round({4, 3, false, true});
  const std::vector<scheme::PublicIdentity>& members = round.committee()->members();
  const Manifest manifest = manifest_of_clients(round, {0, 1, 2});
  const FakeVerifier verifier;
  scheme::check_request(request_of(manifest, 1), members[1], 0, verifier);
  CHECK_EQ(verifier.calls.load(), 3);
  scheme::check_request(request_of(manifest, 1), members[1], 3, verifier);
  // Who is asked: nobody looks further.
  const int before = verifier.calls.load();
  for (const scheme::PublicIdentity& other : {members[0], members[2], fake_identity(1)}) {
    CHECK_THROWS_WITH(scheme::check_request(request_of(manifest, 1), other, 0, verifier),
                      KeyMismatchError, "for member 1");
  }
  // The round's number, and the member's own.
  const Manifest one = manifest_of_clients(round, {2});
  CHECK_THROWS_WITH(scheme::check_request(request_of(one, 1), members[1], 0, verifier), RoundError,
                    "fewer than 2");
  for (const std::uint64_t least : {std::uint64_t{4}, ~std::uint64_t{0}}) {
    CHECK_THROWS_WITH(scheme::check_request(request_of(manifest, 1), members[1], least, verifier),
                      RoundError, "fewer than " + std::to_string(least));
  }
  CHECK_EQ(verifier.calls.load(), before);
  // Weights: this plan holds none, so they come from bytes alone.
  Bytes weighted = request_of(manifest, 1).to_bytes();
  weighted[kHeaderBytes + 32 + 4] = 2;
  repair_checksum(weighted);
  const MemberRequest heavy = MemberRequest::from_bytes(weighted, round);
  CHECK_EQ(heavy.manifest().total_weight(), 4u);
  CHECK_THROWS_WITH(scheme::check_request(heavy, members[1], 0, verifier), RoundError,
                    "equal weights only");
  // Signatures: of a changed head, of an invented client.
  const Gullible gullible;
  const auto refused = [&](const std::function<void(UploadHead&)>& change, const std::string& why) {
    Manifest changed(round);
    UploadHead head = make_signed_upload(round, 1, 0).head();
    change(head);
    changed.add(head, 1, &gullible);
    changed.add(make_signed_upload(round, 2, 1).head(), 1, &verifier);
    CHECK_THROWS_WITH(scheme::check_request(request_of(changed, 1), members[1], 0, verifier),
                      RoundError, why);
  };
  refused([](UploadHead& head) { head.nonce[3] ^= 1; }, "signature of client 0");
  refused([](UploadHead& head) { ++head.clipped; }, "signature of client 0");
  refused([](UploadHead& head) { head.signature->client = 2; }, "signature of client 2");
  refused([](UploadHead& head) { head.signature->blocks_digest->back() ^= 1; },
          "signature of client 0");
  refused(
      [](UploadHead& head) {
        head.signature->signature = test::changed(head.signature->signature, 9);
      },
      "signature of client 0");
  refused(
      [&](UploadHead& head) {  // another's sealed shares under this client's signature
        const UploadHead other = head_of(round, 5, 3);
        head.part = other.part;
        head.shares = other.shares;
      },
      "signature of client 0");
}

TEST("a policy of fewer than the round asks is no policy: min_clients stands") {
  scheme::RoundFields fields = committee_fields({});
  fields.min_clients = 4;
  const Round round(make_plan(10, 16), make_committee(4, 3), fields, bytes32(1));
  const FakeVerifier verifier;
  const scheme::PublicIdentity& me = round.committee()->members()[0];
  const Manifest three = manifest_of_clients(round, {0, 1, 2}),
                 four = manifest_of_clients(round, {0, 1, 2, 3});
  CHECK_THROWS_WITH(scheme::check_request(request_of(three, 0), me, 0, verifier), RoundError,
                    "fewer than 4");
  CHECK_THROWS(scheme::check_request(request_of(three, 0), me, 3, verifier), RoundError);
  scheme::check_request(request_of(four, 0), me, 2, verifier);
}

TEST("opened shares add up, member by member, to what interpolates to the sum key") {
  for (const bool tagged : {false, true}) {
    const Round round = make_committee_round({4, 3, tagged, true});
    const scheme::ShareLayout layout(round);
    const Manifest manifest = manifest_of_clients(round, {3, 0, 2});
    for (std::uint32_t member = 0; member < 4; ++member) {
      const scheme::OpenedShares opened =
          scheme::open_shares(request_of(manifest, member), opener_of_member(round, member));
      CHECK(opened.bad.empty());
      scheme::KeyShare expected(layout);
      for (const std::uint64_t n : {1u, 3u, 4u}) {
        std::optional<ring::TagSum> tag;
        if (tagged) tag.emplace(tag_of(round, n));
        const auto dealt = scheme::deal_shares(round, seed32(n), tag ? &*tag : nullptr);
        expected.add(layout, scheme::read_share(layout, dealt[member].span()));
      }
      const auto same = [](const ring::Elements& a, const ring::Elements& b) {
        return std::equal(a.begin(), a.end(), b.begin(), b.end());
      };
      CHECK(same(opened.sum.keys, expected.keys));
      CHECK(same(opened.sum.masks, expected.masks));
      CHECK(same(opened.sum.tag, expected.tag));
      CHECK(same(opened.sum.tag_masks, expected.tag_masks));
      // Another member's key opens none of them.
      const scheme::OpenedShares none =
          scheme::open_shares(request_of(manifest, member), opener_of_member(round, 3 - member));
      CHECK(none.bad == (std::vector<std::uint32_t>{3, 0, 2}));
      CHECK(std::all_of(none.sum.keys.begin(), none.sum.keys.end(), [](auto v) { return v == 0; }));
    }
  }
}

TEST("a share that was altered, or copied from another client, round or member, is reported") {
  for (const bool tagged : {false, true}) {
    const CommitteeShape shape{4, 3, tagged};
    const Round round = make_committee_round(shape), other = make_committee_round(shape, 2);
    constexpr std::uint32_t kMember = 2;
    const FakeVerifier verifier;
    const auto share_of = [&](const Round& of, std::uint64_t n, std::uint32_t client,
                              std::uint32_t member) {
      return copy_of(scheme::sealed_share(of, head_of(of, n, client), member));
    };
    /// Sealed to the right member, in the right context, by client 1 itself.
    const auto sealed_by_client = [&](const Bytes& share) {
      const scheme::PublicIdentity& to = round.committee()->members()[kMember];
      return kSealer.seal(to.kem_key(), scheme::sealing_info(round, 1, nonce_of(2), kMember),
                          share);
    };
    const scheme::ShareLayout layout(round);
    Bytes none(layout.share_bytes(), 0xff);  // no fields below p
    std::vector<std::pair<const char*, Bytes>> cases = {
        {"another client's", share_of(round, 1, 0, kMember)},
        {"another client's, for its own number", share_of(round, 2, 0, kMember)},
        {"another upload's of this client", share_of(round, 9, 1, kMember)},
        {"another round's", share_of(other, 2, 1, kMember)},
        {"another member's", share_of(round, 2, 1, kMember + 1)},
        {"no share", sealed_by_client(none)},
        {"zeros", Bytes(scheme::sealed_share_bytes(round))},
    };
    for (const std::size_t at : {std::size_t{0}, std::size_t{40}, std::size_t{2000},
                                 scheme::sealed_share_bytes(round) - 1}) {
      Bytes altered = share_of(round, 2, 1, kMember);
      altered[at] ^= 4;
      cases.emplace_back("altered", std::move(altered));
    }
    for (const auto& [what, sealed] : cases) {
      const Manifest manifest = with_head(round, {0, 3}, with_share(round, 1, kMember, sealed));
      const MemberRequest request = request_of(manifest, kMember);
      // The client signed it, so nothing else finds it.
      scheme::check_request(request, round.committee()->members()[kMember], 0, verifier);
      const scheme::OpenedShares opened = scheme::open_shares(
          MemberRequest::from_bytes(request.to_bytes(), round), opener_of_member(round, kMember));
      if (opened.bad != std::vector<std::uint32_t>{1}) CHECK_EQ(std::string(what), "reported");
      // What is reported is not in the sum.
      const scheme::OpenedShares rest =
          scheme::open_shares(request_of(manifest_of_clients(round, {0, 3}), kMember),
                              opener_of_member(round, kMember));
      CHECK(std::equal(opened.sum.keys.begin(), opened.sum.keys.end(), rest.sum.keys.begin()));
      // The other members have nothing to report.
      CHECK(scheme::open_shares(request_of(manifest, 0), opener_of_member(round, 0)).bad.empty());
    }
    // And the share as the client made it is none of this.
    const Manifest good =
        with_head(round, {0, 3}, with_share(round, 1, kMember, share_of(round, 2, 1, kMember)));
    CHECK(scheme::open_shares(request_of(good, kMember), opener_of_member(round, kMember))
              .bad.empty());
    // Several bad ones are all reported, in the manifest's order.
    Manifest bad(round);
    bad.add(with_share(round, 3, kMember, cases[0].second), 1, &verifier);
    bad.add(make_signed_upload(round, 1, 0).head(), 1, &verifier);
    bad.add(with_share(round, 1, kMember, cases[1].second), 1, &verifier);
    CHECK(scheme::open_shares(request_of(bad, kMember), opener_of_member(round, kMember)).bad ==
          (std::vector<std::uint32_t>{3, 1}));
  }
}

TEST("answers are sealed to the round's reader: the group, or the server it names") {
  const Round served = make_committee_round({}), grouped = make_committee_round({4, 3, true});
  CHECK(scheme::reader_of(served).key == copy_of(served.reader()->kem_key()));
  CHECK(scheme::reader_of(grouped).key ==
        Bytes(grouped.group()->reading_key.begin(), grouped.group()->reading_key.end()));
  for (const Round& round : {served, grouped}) {
    CHECK(scheme::reader_of(round).id ==
          ring::labelled_hash("veilsum/2/reader-id", {scheme::reader_of(round).key}));
  }
  CHECK_THROWS_WITH(scheme::reader_of(make_round(make_plan(10, 16), make_key(), 10)), RoundError,
                    "names no reader");
}

TEST("what answers are bound to and signed over; their bytes; and what they hold") {
  for (const bool tagged : {false, true}) {
    const Round round = make_committee_round({4, 3, tagged, true});
    const scheme::ShareLayout layout(round);
    ByteWriter info;
    info.text("veilsum/2/sealed-answer");
    info.raw(round.id());
    info.raw(bytes32(4));
    info.u32(3);
    CHECK_EQ(scheme::answer_info(round, bytes32(4), 3), info.bytes());
    ByteWriter payload;
    payload.text("veilsum/2/answer");
    payload.raw(round.id());
    payload.u32(3);
    payload.raw(bytes32(4));
    payload.raw(ring::labelled_hash("veilsum/2/sealed-answer-digest", {bytes32(5)}));
    CHECK_EQ(scheme::answer_payload(round, 3, bytes32(4), bytes32(5)), payload.bytes());

    const Manifest manifest = manifest_of_clients(round, {0, 1});
    const Certificate certificate = certify(manifest, some_blocks(round));
    for (std::uint32_t member = 0; member < 4; ++member) {
      const scheme::KeyShare share = share_of_member(manifest, some_blocks(round), member);
      const Answer answer = answer_with(certificate, member, share);
      answer.check(certificate, FakeVerifier());
      CHECK_EQ(answer.sealed.size(), scheme::kSealBytes + layout.answer_bytes());
      ByteWriter out;
      out.raw(round.id());
      out.raw(certificate.sum());
      out.u32(member);
      out.raw(answer.signature.bytes());
      out.raw(answer.sealed);
      const Bytes bytes = answer.to_bytes();
      CHECK_EQ(bytes, envelope_of(kAnswerKind, out.bytes()));
      const Answer again = Answer::from_bytes(bytes, round);
      CHECK(again.to_bytes() == bytes);
      again.check(certificate, FakeVerifier());
      SecretBuffer<std::uint8_t> plain(layout.answer_bytes());
      CHECK(opener_of_reader(round).open({}, scheme::answer_info(round, certificate.sum(), member),
                                         again.sealed, plain.span()));
      const auto expected = scheme::write_answer(layout, share);
      CHECK(std::equal(plain.begin(), plain.end(), expected.begin()));
      if (member != 1) continue;
      const auto read = [&](const Bytes& in) { return Answer::from_bytes(in, round).to_bytes(); };
      flip_every_byte(bytes, read, 72, 17);
      cut_everywhere(bytes, read, 41);
      CHECK_THROWS_WITH(Answer::from_bytes(bytes, make_committee_round({4, 3, tagged, true}, 2)),
                        RoundError, "belongs to round");
      for (const std::uint32_t nobody : {4u, ~0u}) {
        Bytes damaged = bytes;
        std::memcpy(damaged.data() + kHeaderBytes + 64, &nobody, 4);
        repair_checksum(damaged);
        CHECK_THROWS_WITH(Answer::from_bytes(damaged, round), WireFormatError, "no member number");
      }
    }
  }
}

TEST("an answer holds for its certificate as its member signed it, and in no other way") {
  const Round round = make_committee_round({4, 3, false, true}),
              other = make_committee_round({4, 3, false, true}, 2);
  const Manifest manifest = manifest_of_clients(round, {0, 1, 2});
  const Certificate certificate = certify(manifest, some_blocks(round)),
                    blocks = certify(manifest, some_blocks(round, 2)),
                    fewer = certify(manifest_of_clients(round, {0, 1}), some_blocks(round)),
                    foreign = certify(manifest_of_clients(other, {0, 1, 2}), some_blocks(other));
  const scheme::KeyShare share = share_of_member(manifest, some_blocks(round), 1);
  const Answer good = answer_with(certificate, 1, share);
  const FakeVerifier verifier;
  good.check(certificate, verifier);
  const auto refused = [&](const std::function<void(Answer&)>& change, const std::string& why) {
    Answer bad = good;
    change(bad);
    CHECK_THROWS_WITH(bad.check(certificate, verifier), RoundError, why);
  };
  CHECK_THROWS_WITH(good.check(blocks, verifier), RoundError, "answered another sum");
  CHECK_THROWS_WITH(good.check(fewer, verifier), RoundError, "answered another sum");
  CHECK_THROWS_WITH(good.check(foreign, verifier), RoundError, "belongs to round");
  refused([](Answer& a) { a.sum[0] ^= 1; }, "answered another sum");
  refused([&](Answer& a) { a.round_id = other.id(); }, "belongs to round");
  refused([](Answer& a) { a.sealed[100] ^= 1; }, "member 1 does not hold");
  refused([](Answer& a) { a.sealed.push_back(0); }, "member 1 does not hold");
  refused([](Answer& a) { a.signature = changed(a.signature, 3372); }, "member 1 does not hold");
  refused([](Answer& a) { a.member = 3; }, "member 3 does not hold");
  for (const std::uint32_t nobody : {4u, ~0u}) {
    refused([&](Answer& a) { a.member = nobody; }, "no member number");
  }
  const int before = verifier.calls.load();
  refused([](Answer& a) { a.signature = scheme::Signature(Bytes(64)); }, "member 1 does not hold");
  CHECK_EQ(verifier.calls.load(), before);
  // An endorsement's signature is no answer's.
  refused([&](Answer& a) { a.signature = endorse(round, 1, certificate.sum()).signature; },
          "member 1 does not hold");
  // Signed for another round with the same sum.
  refused(
      [&](Answer& a) {
        a.signature = fake_signature(round.committee()->members()[1],
                                     scheme::answer_payload(other, 1, certificate.sum(), a.sealed));
      },
      "member 1 does not hold");
}

TEST("a sealer that gives another length gives no answer") {
  class Short final : public scheme::Sealer {
    Bytes seal(ByteView, ByteView, ByteView secret) const override {
      return Bytes(scheme::kSealBytes + secret.size() - 1);
    }
  };
  const Round round = make_committee_round({});
  const scheme::ShareLayout layout(round);
  CHECK_THROWS_WITH(scheme::seal_answer(round, bytes32(1), 0, scheme::KeyShare(layout), Short()),
                    ParameterError,
                    "not " + std::to_string(scheme::kSealBytes + layout.answer_bytes() - 1));
}

}  // namespace
}  // namespace veilsum::test
