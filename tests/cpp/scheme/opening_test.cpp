// Layer: tests (scheme). Manifests, openings and sum keys: the rules of DESIGN.md section 3 (2 and
// 3) each broken in turn, sealed keys that were changed or belong elsewhere, the exact sum key, and
// its bytes.
#include "scheme/opening.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <string>
#include <system_error>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "check.h"
#include "ring/sha256.h"
#include "scheme/blocks_check.h"
#include "scheme/blocks_digest.h"
#include "scheme/ledger.h"
#include "support/active_level.h"
#include "support/allocations.h"
#include "support/committees.h"
#include "support/damage.h"
#include "support/envelopes.h"
#include "support/rounds.h"
#include "support/signatures.h"
#include "support/temporary_folder.h"
#include "veilsum/errors.h"

namespace veilsum::test {
namespace {

using scheme::Manifest;
using scheme::OpeningRequest;
using scheme::Plan;
using scheme::Round;
using scheme::SecretKey;
using scheme::SumKey;
using scheme::UploadHead;

static_assert(!std::is_copy_constructible_v<SumKey>);

Manifest manifest_of(const Round& round, const std::vector<std::uint64_t>& seeds,
                     const std::vector<std::uint64_t>& weights = {},
                     const scheme::SignatureVerifier* verifier = nullptr) {
  Manifest manifest(round);
  for (std::size_t k = 0; k < seeds.size(); ++k) {
    manifest.add(head_of(round, seeds[k]), weights.empty() ? 1 : weights[k], verifier);
  }
  return manifest;
}

OpeningRequest request_of_seeds(const Round& round, const std::vector<std::uint64_t>& seeds,
                                const std::vector<std::uint64_t>& weights = {}) {
  return {manifest_of(round, seeds, weights)};
}

SumKey open_sum(const SecretKey& key, const OpeningRequest& request,
                const scheme::SignatureVerifier* verifier = nullptr, bool allow_export = false) {
  return scheme::open_sum(key, request, kOpener, verifier, allow_export);
}

TEST("the sum key is exactly the weighted sum of the uploads' keys, in every ring, for any kappa") {
  for (const Plan& plan : plans_of_every_ring()) {
    const bool weighted = plan.weight_bits() != 0;
    const std::vector<std::uint64_t> seeds = {1, 2, 3};
    const std::vector<std::uint64_t> weights =
        weighted ? std::vector<std::uint64_t>{plan.max_weight() - 3, 1, 2}
                 : std::vector<std::uint64_t>{1, 1, 1};
    for (const std::uint64_t upload_keys : {1u, 3u}) {
      const SecretKey key = make_key();
      const Round round = make_round(plan, key, fields_of({{50, 1.0}}, upload_keys));
      std::vector<std::int64_t> expected(upload_keys * plan.degree(), 0);
      for (std::size_t k = 0; k < seeds.size(); ++k) {
        const scheme::KeyCoefficients keys = scheme::expand_keys(round, seed32(seeds[k]));
        CHECK_EQ(keys.size(), expected.size());
        for (std::size_t j = 0; j < expected.size(); ++j) {
          expected[j] += static_cast<std::int64_t>(weights[k]) * keys[j];
        }
      }
      const OpeningRequest request = request_of_seeds(round, seeds, weights);
      on_every_active_level([&] {
        const SumKey sum = open_sum(key, request);
        CHECK(std::equal(expected.begin(), expected.end(), sum.coefficients().begin(),
                         sum.coefficients().end()));
        CHECK_EQ(sum.count(), 3u);
        CHECK_EQ(sum.total_weight(), weights[0] + weights[1] + weights[2]);
        CHECK(sum.manifest() == request.manifest.digest());
        CHECK(sum.round().id() == round.id());
        CHECK_EQ(sum.exportable(), !weighted);
      });
    }
  }
}

TEST("a manifest takes every upload once, weights of at least 1, up to W in all") {
  const Plan unit = make_plan(3, 16), weighted = make_plan(3, 16, 2);  // W = 12
  const SecretKey key = make_key();
  const Round round = make_round(unit, key, 10), heavy = make_round(weighted, key, 10);
  Manifest manifest(round);
  manifest.add(head_of(round, 1), 1, nullptr);
  CHECK_THROWS_WITH(manifest.add(head_of(round, 1), 1, nullptr), RoundError, "counts once");
  CHECK_THROWS_WITH(manifest.add(head_of(round, 2), 0, nullptr), ParameterError, "is 0");
  for (const std::uint64_t weight : {2ull, ~0ull, 1ull << 32}) {
    CHECK_THROWS_WITH(manifest.add(head_of(round, 2), weight, nullptr), HeadroomError,
                      "unit weights only");
  }
  manifest.add(head_of(round, 2), 1, nullptr);
  manifest.add(head_of(round, 3), 1, nullptr);
  CHECK_THROWS_WITH(manifest.add(head_of(round, 4), 1, nullptr), HeadroomError,
                    "total weight 4 is above this plan's 3");
  CHECK_EQ(manifest.entries().size(), 3u);
  CHECK_EQ(manifest.total_weight(), 3u);
  CHECK(manifest.unit_weights());

  Manifest sums(heavy);
  CHECK_THROWS(sums.add(head_of(heavy, 1), 13, nullptr), HeadroomError);
  CHECK_THROWS(sums.add(head_of(heavy, 1), ~std::uint64_t{0}, nullptr), HeadroomError);
  sums.add(head_of(heavy, 1), 5, nullptr);
  CHECK_THROWS(sums.add(head_of(heavy, 2), ~std::uint64_t{0} - 4, nullptr),
               HeadroomError);  // wraps
  CHECK_THROWS(sums.add(head_of(heavy, 2), 8, nullptr), HeadroomError);
  sums.add(head_of(heavy, 2), 7, nullptr);
  CHECK_EQ(sums.total_weight(), 12u);
  CHECK(!sums.unit_weights());
}

TEST("check says what add would do, and changes nothing") {
  const Plan plan = make_plan(2, 16);
  const SecretKey key = make_key();
  const Round round = make_round(plan, key, 10);
  Manifest manifest(round);
  const UploadHead head = head_of(round, 1);
  manifest.check(head, 1, nullptr);
  manifest.check(head, 1, nullptr);
  CHECK_EQ(manifest.entries().size(), 0u);
  manifest.add(head, 1, nullptr);
  CHECK_THROWS(manifest.check(head, 1, nullptr), RoundError);
}

TEST("one client of the roster counts once, whatever it uploads") {
  const Plan plan = make_plan(10, 16);
  const SecretKey key = make_key();
  scheme::RoundFields fields = fields_of({{10, 1.0}});
  fields.roster = fake_roster(3);
  const Round round = make_round(plan, key, fields);
  const FakeVerifier verifier;
  Manifest manifest(round);
  manifest.add(make_signed_upload(round, 1, 0).head(), 1, &verifier);
  CHECK_THROWS_WITH(manifest.add(make_signed_upload(round, 2, 0).head(), 1, &verifier), RoundError,
                    "the first upload stands");
  // Another client's name on the same sealed key.
  scheme::Upload twin = make_upload(round, 1, 0);
  sign(round, twin, 1);
  CHECK_THROWS_WITH(manifest.add(twin.head(), 1, &verifier), RoundError, "counts once");
  manifest.add(make_signed_upload(round, 2, 1).head(), 1, &verifier);
  CHECK_EQ(manifest.entries().size(), 2u);
  manifest.remove(make_signed_upload(round, 1, 0).head().digest());
  CHECK_EQ(manifest.total_weight(), 1u);
  manifest.add(make_signed_upload(round, 3, 0).head(), 1, &verifier);  // as if it had never been
}

TEST("the sealed key names the upload: another nonce, clip count or order makes no second one") {
  const Plan plan = make_plan(10, 16);
  const Round round = make_round(plan, make_key(), 10);
  Manifest manifest(round);
  manifest.add(head_of(round, 1), 1, nullptr);
  manifest.add(head_of(round, 2), 1, nullptr);
  UploadHead twin = head_of(round, 1);
  twin.nonce = nonce_of(77);
  twin.clipped = 3;
  CHECK_THROWS_WITH(manifest.add(twin, 1, nullptr), RoundError, "counts once");
  CHECK_THROWS_WITH(manifest.add(twin, 1, nullptr), RoundError, twin.name());
  CHECK_EQ(manifest.entries().size(), 2u);
}

TEST("the manifest's digest names the sum: any order, but nothing else") {
  const Plan plan = make_plan(10, 16, 3);
  const SecretKey key = make_key();
  const Round round = make_round(plan, key, 10), other = make_round(plan, key, 10, 2);
  const Digest digest = manifest_of(round, {1, 2, 3}, {1, 2, 3}).digest();
  CHECK(manifest_of(round, {3, 1, 2}, {3, 1, 2}).digest() == digest);
  CHECK(manifest_of(round, {1, 2, 3}, {1, 3, 2}).digest() != digest);
  CHECK(manifest_of(round, {1, 2}, {1, 2}).digest() != digest);
  CHECK(manifest_of(round, {1, 2, 4}, {1, 2, 3}).digest() != digest);
  CHECK(manifest_of(other, {1, 2, 3}, {1, 2, 3}).digest() != digest);
  // As the wire format says: round id, then the uploads' digests in order, each with its head's
  // digest and its weight.
  std::vector<std::tuple<Digest, Digest, std::uint64_t>> entries;
  for (std::uint64_t n = 1; n <= 3; ++n) {
    const UploadHead head = head_of(round, n);
    ByteWriter facts;
    facts.u32(~std::uint32_t{0});  // nobody's
    facts.u64(head.clipped);
    facts.raw(head.nonce);
    facts.raw(head.digest());
    entries.emplace_back(head.digest(), ring::labelled_hash("veilsum/2/head", {facts.bytes()}), n);
  }
  std::sort(entries.begin(), entries.end());
  ByteWriter out;
  out.raw(round.id());
  for (const auto& [upload, head, weight] : entries) {
    out.raw(upload);
    out.raw(head);
    out.u64(weight);
  }
  CHECK(digest == ring::labelled_hash("veilsum/2/manifest", {out.bytes()}));
}

TEST("the manifest's digest covers everything that a head says, but not its signature") {
  const Plan plan = make_plan(10, 16);
  const SecretKey key = make_key();
  scheme::RoundFields fields = fields_of({{10, 1.0}});
  fields.roster = fake_roster(3);
  const FakeVerifier verifier;
  for (const bool with_signatures : {false, true}) {
    const Round round = with_signatures ? make_round(plan, key, fields) : make_round(plan, key, 10);
    const auto digest_with = [&](auto change) {
      ByteWriter out;
      out.raw(round.id());
      out.u32(2);
      for (std::uint32_t k = 0; k < 2; ++k) {
        UploadHead head =
            with_signatures ? make_signed_upload(round, k + 1, k).head() : head_of(round, k + 1);
        head.clipped = 4;
        if (k == 0) change(head);
        out.u64(1);
        scheme::write_head(out, head);
      }
      ByteReader in(out.bytes(), "manifest");
      return Manifest::read(in, round).digest();
    };
    std::vector<Digest> digests;
    digests.push_back(digest_with([](UploadHead&) {}));
    digests.push_back(digest_with([](UploadHead& head) { head.clipped = 5; }));
    digests.push_back(digest_with([](UploadHead& head) { head.clipped = 3; }));
    digests.push_back(digest_with([](UploadHead& head) { head.nonce[0] ^= 1; }));
    digests.push_back(digest_with([](UploadHead& head) { head.nonce[15] ^= 128; }));
    digests.push_back(digest_with([](UploadHead& head) {
      Bytes bytes = head.part.bytes();
      bytes.back() ^= 1;
      head.part = scheme::CipherPart(bytes);
    }));
    if (with_signatures) {
      digests.push_back(digest_with([](UploadHead& head) { head.signature->client = 2; }));
      digests.push_back(
          digest_with([](UploadHead& head) { head.signature->blocks_digest->back() ^= 1; }));
      CHECK(digest_with([](UploadHead& head) {
              head.signature->signature = changed(head.signature->signature, 0);
            }) == digests[0]);
    }
    std::sort(digests.begin(), digests.end());
    CHECK(std::adjacent_find(digests.begin(), digests.end()) == digests.end());
    CHECK_EQ(digests.size(), with_signatures ? 8u : 6u);
  }
  // What a head's digest is made of.
  const Round round = make_round(plan, key, fields);
  const UploadHead head = make_signed_upload(round, 7, 2).head();
  ByteWriter facts;
  facts.u32(2);
  facts.u64(head.clipped);
  facts.raw(head.nonce);
  facts.raw(head.digest());
  facts.raw(*head.signature->blocks_digest);
  CHECK(scheme::head_digest(head) == ring::labelled_hash("veilsum/2/head", {facts.bytes()}));
}

TEST("too few uploads are not opened") {
  const Plan plan = make_plan(10, 16);
  const SecretKey key = make_key();
  scheme::RoundFields fields = fields_of({{10, 1.0}});
  fields.min_clients = 3;
  const Round round = make_round(plan, key, fields);
  CHECK_THROWS_WITH(open_sum(key, request_of_seeds(round, {1, 2})), RoundError, "at least 3");
  open_sum(key, request_of_seeds(round, {1, 2, 3}));
  const Round pair = make_round(plan, key, 10);
  CHECK_THROWS(open_sum(key, request_of_seeds(pair, {1})), RoundError);
  CHECK_THROWS(open_sum(key, request_of_seeds(pair, {})), RoundError);
  // Nothing of what was refused was recorded as opened.
  open_sum(key, request_of_seeds(pair, {1, 2}));
}

TEST("the wrong key is told so before anything else") {
  const Plan plan = make_plan(10, 16);
  const SecretKey key = make_key(1), stranger = make_key(2);
  const Round round = make_round(plan, key, 10);
  CHECK_THROWS_WITH(open_sum(stranger, request_of_seeds(round, {1, 2})), KeyMismatchError,
                    short_hex(stranger.id()));
}

TEST("a sealed key that was changed, or made for another round, nonce or key, is refused by name") {
  const Plan plan = make_plan(10, 16);
  const SecretKey key = make_key();
  const Round round = make_round(plan, key, 10), other = make_round(plan, key, 10, 2),
              foreign = make_round(plan, make_key(2), 10);
  const auto refused = [&](const UploadHead& head) {
    for (const bool first : {false, true}) {
      Manifest manifest(round);
      if (first) manifest.add(head, 1, nullptr);
      manifest.add(head_of(round, 1), 1, nullptr);
      manifest.add(head_of(round, 2), 1, nullptr);
      if (!first) manifest.add(head, 1, nullptr);
      CHECK_THROWS_WITH(open_sum(key, {manifest}), RoundError,
                        "the sealed key of " + head.name() + " was not made for this round");
    }
  };
  for (const std::size_t at : {std::size_t{0}, std::size_t{500}, scheme::kSealedKeyBytes - 1}) {
    UploadHead changed = head_of(round, 3);
    Bytes bytes = changed.part.bytes();
    bytes[at] ^= 0x10;
    changed.part = scheme::CipherPart(bytes);
    refused(changed);
  }
  UploadHead renamed = head_of(round, 3);
  renamed.nonce[0] ^= 1;
  refused(renamed);
  UploadHead copied = head_of(round, 3);
  copied.nonce = nonce_of(4);  // another upload's
  refused(copied);
  refused(head_of(other, 3));
  refused(head_of(foreign, 3));
  UploadHead empty;
  empty.part = scheme::CipherPart(Bytes(scheme::kSealedKeyBytes));
  refused(empty);
  // Nothing of what was refused was recorded as opened.
  CHECK_EQ(open_sum(key, request_of_seeds(round, {1, 2, 3})).count(), 3u);
}

TEST("a signed upload's sealed key is refused with the client's name") {
  const Plan plan = make_plan(10, 16);
  const SecretKey key = make_key();
  scheme::RoundFields fields = fields_of({{10, 1.0}});
  fields.roster = fake_roster(3);
  const Round round = make_round(plan, key, fields);
  const FakeVerifier verifier;
  // Client 2 signs what it did not seal to this round.
  UploadHead head = head_of(make_round(plan, key, 10, 9), 3);
  scheme::Upload upload(round, head, random_blocks(round, 3));
  sign(round, upload, 2);
  Manifest manifest(round);
  manifest.add(make_signed_upload(round, 1, 0).head(), 1, &verifier);
  manifest.add(upload.head(), 1, &verifier);
  CHECK_THROWS_WITH(open_sum(key, {manifest}, &verifier), RoundError,
                    "the sealed key of client 2 ");
}

TEST("checks come in order: key, number, signatures, sealed keys, ledger; and before any opening") {
  const Plan plan = make_plan(10, 16);
  const SecretKey key = make_key();
  scheme::RoundFields fields = fields_of({{10, 1.0}});
  fields.roster = fake_roster(3);
  const Round round = make_round(plan, key, fields);
  const FakeVerifier verifier;
  const ToyOpener opener;
  UploadHead bad_seal = make_signed_upload(round, 1, 0).head();
  UploadHead bad_signature = make_signed_upload(round, 2, 1).head();
  /// Accepts everything, to build what no honest aggregator builds.
  class Gullible final : public scheme::SignatureVerifier {
    bool verify(const scheme::PublicIdentity&, const scheme::Signature&, ByteView) const override {
      return true;
    }
  };
  const Gullible gullible;
  Bytes bytes = bad_seal.part.bytes();
  bytes[9] ^= 1;
  bad_seal.part = scheme::CipherPart(bytes);
  bad_signature.signature->signature = changed(bad_signature.signature->signature, 0);
  const auto manifest = [&](const std::vector<UploadHead>& heads) {
    Manifest out(round);
    for (const UploadHead& head : heads) out.add(head, 1, &gullible);
    return OpeningRequest{out};
  };
  const auto open = [&](const SecretKey& with, const OpeningRequest& request,
                        const scheme::SignatureVerifier& checks) {
    return scheme::open_sum(with, request, opener, &checks, false).count();
  };
  CHECK_THROWS(open(make_key(2), manifest({bad_seal}), verifier), KeyMismatchError);
  CHECK_THROWS_WITH(open(key, manifest({bad_seal}), verifier), RoundError, "at least 2");
  CHECK_EQ(verifier.calls.load(), 0);
  CHECK_THROWS_WITH(open(key, manifest({bad_seal, bad_signature}), verifier), RoundError,
                    "signature of client 0");  // it covers the sealed key
  CHECK_EQ(opener.calls.load(), 0);
  CHECK_THROWS_WITH(open(key, manifest({bad_signature, bad_seal}), gullible), RoundError,
                    "sealed key of client 0");
  CHECK_EQ(opener.calls.load(), 2);
  const OpeningRequest good =
      manifest({make_signed_upload(round, 1, 0).head(), make_signed_upload(round, 2, 1).head()});
  CHECK_EQ(open(key, good, verifier), 2u);
  // Another set of this round: its sealed keys are looked at, then the ledger refuses.
  CHECK_THROWS_WITH(open(key,
                         manifest({make_signed_upload(round, 1, 0).head(),
                                   make_signed_upload(round, 3, 2).head()}),
                         verifier),
                    RoundError, "opened before");
}

TEST("signatures are checked again by the key holder") {
  const Plan plan = make_plan(10, 16);
  const SecretKey key = make_key();
  scheme::RoundFields fields = fields_of({{10, 1.0}});
  fields.roster = fake_roster(3);
  const Round round = make_round(plan, key, fields);
  const FakeVerifier verifier;
  /// Accepts everything, as an aggregator that invents clients would have it.
  class Gullible final : public scheme::SignatureVerifier {
    bool verify(const scheme::PublicIdentity&, const scheme::Signature&, ByteView) const override {
      return true;
    }
  };
  const Gullible gullible;
  Manifest manifest(round);
  manifest.add(make_signed_upload(round, 1, 0).head(), 1, &verifier);
  UploadHead forged = make_signed_upload(round, 2, 1).head();
  forged.signature->signature = changed(forged.signature->signature, 0);
  manifest.add(forged, 1, &gullible);
  const OpeningRequest request = {manifest};
  CHECK_THROWS_WITH(open_sum(key, request, &verifier), RoundError, "signature of client 1");
  CHECK_THROWS(open_sum(key, request), ParameterError);
  Manifest good(round);
  good.add(make_signed_upload(round, 1, 0).head(), 1, &verifier);
  good.add(make_signed_upload(round, 2, 1).head(), 1, &verifier);
  CHECK_EQ(open_sum(key, {good}, &verifier).count(), 2u);
}

TEST("a round is opened for one set of uploads only; the same set again is fine") {
  const Plan plan = make_plan(10, 16);
  SecretKey key = make_key();
  const Round round = make_round(plan, key, 10), other = make_round(plan, key, 10, 2);
  const SumKey first = open_sum(key, request_of_seeds(round, {1, 2, 3}));
  const SumKey again = open_sum(key, request_of_seeds(round, {3, 2, 1}));
  CHECK(first.manifest() == again.manifest());
  CHECK(std::equal(first.coefficients().begin(), first.coefficients().end(),
                   again.coefficients().begin()));
  CHECK_THROWS_WITH(open_sum(key, request_of_seeds(round, {1, 2})), RoundError, "opened before");
  CHECK_THROWS(open_sum(key, request_of_seeds(round, {1, 2, 3, 4})), RoundError);
  open_sum(key, request_of_seeds(other, {1, 2}));
  // Over a restart.
  const TemporaryFolder folder;
  key.save(folder / "key");
  const SecretKey restarted = SecretKey::load(folder / "key");
  CHECK_THROWS(open_sum(restarted, request_of_seeds(round, {1, 2})), RoundError);
  open_sum(restarted, request_of_seeds(round, {2, 1, 3}));
}

TEST("an opening that cannot be recorded yields no key") {
  const Plan plan = make_plan(10, 16);
  SecretKey key = make_key();
  const Round round = make_round(plan, key, 10);
  const TemporaryFolder folder;
  const std::string place = folder / "mount";
  std::filesystem::create_directory(place);
  key.save(place + "/key");
  std::filesystem::remove_all(place);
  CHECK_THROWS(open_sum(key, request_of_seeds(round, {1, 2})), std::system_error);
}

TEST("the key of a weighted sum leaves only when that was asked for") {
  const Plan plan = make_plan(10, 16, 2, 128, "n2048");
  const SecretKey key = make_key();
  const TemporaryFolder folder;
  const Round weighted = make_round(plan, key, 10), unit = make_round(plan, key, 10, 2);
  const OpeningRequest request = request_of_seeds(weighted, {1, 2}, {2, 1});
  const SumKey kept = open_sum(key, request);
  CHECK(!kept.exportable());
  CHECK_THROWS_WITH(kept.to_bytes(), RoundError, "export=True");
  CHECK_THROWS(kept.save(folder / "sum.key"), RoundError);
  CHECK(folder.names().empty());
  const SumKey exported = open_sum(key, request, nullptr, true);
  CHECK(exported.exportable());
  // The blocks' digest, and coefficients within 8 * 3: 49 values, so six bits each.
  CHECK_EQ(exported.to_bytes().size(), 16 + 32 + 32 + 4 + 8 + 1 + 32 + 2048u / 8 * 6 + 4);
  CHECK(open_sum(key, request_of_seeds(unit, {1, 2})).exportable());
}

TEST("a request without tags names the aggregate's blocks, and the key that it opens does") {
  const Plan plan = make_plan(10, 16, 2, 128, "n2048");
  const SecretKey key = make_key();
  const Round round = make_round(plan, key, 10);
  for (const std::uint64_t weight : {std::uint64_t{1}, std::uint64_t{2}}) {
    OpeningRequest request = request_of_seeds(round, {1, 2}, {weight, 1});
    request.evidence.blocks_digest = bytes32(8);
    ByteWriter out;
    request.manifest.write(out);
    out.u8(0);
    out.raw(bytes32(8));
    CHECK_EQ(request.to_bytes(), envelope_of(7, out.bytes()));
    const OpeningRequest again = OpeningRequest::from_bytes(request.to_bytes(), round);
    CHECK(again.evidence.blocks_digest == bytes32(8));
    CHECK(again.to_bytes() == request.to_bytes());
    const SumKey sum = open_afresh(key, again);
    CHECK(sum.blocks_digest() == bytes32(8));
    CHECK(sum.blocks_check() == nullptr);
  }
}

/// The blocks of an aggregate, by number.
Bytes blocks_of(const Round& round, std::uint64_t n) {
  const AlignedBuffer<std::uint8_t> blocks = random_blocks(round, n);
  return {blocks.begin(), blocks.end()};
}

SumKey open_sum(const SecretKey& key, const Manifest& manifest, const Bytes& blocks) {
  return scheme::open_sum(key, manifest, scheme::hash_of_memory(manifest.round(), blocks, 2),
                          kOpener, nullptr, false);
}

TEST("with the blocks in hand the key has their hash under a key of this opening alone") {
  const Plan plan = make_plan(10, 16, 2, 128, "n2048");
  const SecretKey key = make_key(), other_key = make_key(2);
  const Round round = make_round(plan, key, fields_of({{9000, 1.0}}, 2));
  const Manifest plain = manifest_of(round, {1, 2}), weighted = manifest_of(round, {1, 2}, {2, 1});
  const Bytes blocks = blocks_of(round, 3);
  std::vector<Bytes> hash_keys;
  for (const Manifest* manifest : {&plain, &weighted}) {
    const SecretKey fresh(key.secret(), key.public_key());
    const SumKey sum = open_sum(fresh, *manifest, blocks);
    CHECK(!sum.blocks_digest());
    const scheme::BlocksCheck& check = *sum.blocks_check();
    hash_keys.emplace_back(check.key.span().begin(), check.key.span().end());
    // By the wire format.
    const Digest named = manifest->digest();
    Bytes input;
    for (const ByteView part :
         {ByteView(reinterpret_cast<const std::uint8_t*>("veilsum/2/blocks-check-key"), 26),
          ByteView(round.id()), ByteView(named), key.secret()}) {
      input.insert(input.end(), part.begin(), part.end());
    }
    ring::Sha256 hash;
    hash.update(input);
    const Digest expected = hash.finish();
    CHECK(std::equal(expected.begin(), expected.end(), check.key.span().begin()));
    ring::TagSum value(ring::BlocksHash::field());
    const ring::BlocksHash under(check.key);
    for (std::uint64_t b = round.blocks(); b-- > 0;) {
      under.add_block(b,
                      ByteView(blocks).subspan(static_cast<std::size_t>(round.block_offset(b)),
                                               round.block_bytes(b)),
                      value);
    }
    CHECK(value.equals(check.value));
  }
  CHECK(hash_keys[0] != hash_keys[1]);
  // Blocks of another length are no blocks of this round.
  CHECK_THROWS(open_sum(other_key, plain, blocks), KeyMismatchError);
  Bytes longer = blocks;
  longer.push_back(0);
  CHECK_THROWS_WITH(open_sum(key, plain, longer), ParameterError, "bytes");
  open_sum(key, plain, blocks);  // and nothing was opened then
}

TEST("one manifest is opened for one set of blocks; the same again gives the same key") {
  const Plan plan = make_plan(10, 16, 2, 128, "n2048");
  for (const std::uint64_t weight : {std::uint64_t{1}, std::uint64_t{2}}) {
    SecretKey key = make_key();
    const Round round = make_round(plan, key, 10), other = make_round(plan, key, 10, 2);
    const Manifest manifest = manifest_of(round, {1, 2}, {weight, 1});
    const Bytes blocks = blocks_of(round, 3);
    Bytes changed = blocks;
    changed.back() ^= 0x80;
    const SumKey first = open_sum(key, manifest, blocks);
    const SumKey again = open_sum(key, manifest_of(round, {2, 1}, {1, weight}), blocks);
    CHECK(first.blocks_check()->value.equals(again.blocks_check()->value));
    CHECK(std::equal(first.coefficients().begin(), first.coefficients().end(),
                     again.coefficients().begin()));
    const auto refused = [&](const SecretKey& with) {
      CHECK_THROWS_WITH(open_sum(with, manifest, changed), RoundError, "other blocks of theirs");
      // Whether a request means the same blocks cannot be told.
      OpeningRequest request{manifest};
      request.evidence.blocks_digest = scheme::digest_of_blocks(blocks, 1);
      CHECK_THROWS_WITH(open_sum(with, request), RoundError, "from its request");
      CHECK(open_sum(with, manifest, blocks)
                .blocks_check()
                ->value.equals(first.blocks_check()->value));
    };
    refused(key);
    // Over a restart: the ledger's file has it.
    const TemporaryFolder folder;
    key.save(folder / "key");
    refused(SecretKey::load(folder / "key"));
    // Nor the reverse, and not for other blocks than a request named.
    OpeningRequest request{manifest_of(other, {1, 2}, {weight, 1})};
    const Bytes others = blocks_of(other, 4);
    request.evidence.blocks_digest = scheme::digest_of_blocks(others, 1);
    open_sum(key, request);
    open_sum(key, request);
    CHECK_THROWS_WITH(open_sum(key, request.manifest, others), RoundError, "opened before");
    request.evidence.blocks_digest.back() ^= 1;
    CHECK_THROWS_WITH(open_sum(key, request), RoundError, "other blocks of theirs");
  }
}

TEST("with a tag nobody asks for the blocks, and the ledger has the manifest alone") {
  const SecretKey key = make_key();
  scheme::RoundFields fields = fields_of({{10, 1.0}});
  fields.roster = fake_roster(4);
  fields.group = fake_group();
  const Round round = make_round(make_plan(10, 16), key, fields);
  const FakeVerifier verifier;
  Manifest manifest(round);
  for (const std::uint32_t client : {0u, 1u}) {
    manifest.add(make_signed_upload(round, client + 1, client).head(), 1, &verifier);
  }
  int asked = 0;
  const scheme::HashBlocks blocks = [&](const ring::BlocksHash&) {
    ++asked;
    return ring::TagSum(ring::BlocksHash::field());
  };
  const SumKey sum = scheme::open_sum(key, manifest, blocks, kOpener, &verifier, false);
  CHECK_EQ(asked, 0);
  CHECK(!sum.blocks_digest());
  CHECK(sum.blocks_check() == nullptr);
  CHECK_EQ(open_sum(key, {manifest}, &verifier).count(), 2u);
}

TEST("a key holder's tagged round: tags are sealed with the seed, and add up") {
  const Plan plan = make_plan(10, 16);
  const SecretKey key = make_key();
  const FakeVerifier verifier;
  scheme::RoundFields fields = fields_of({{10, 1.0}});
  fields.roster = fake_roster(4);
  fields.group = fake_group();
  const Round round = make_round(plan, key, fields);
  CHECK_EQ(scheme::sealed_secret_bytes(round), 48u);
  CHECK_EQ(scheme::part_bytes(round), scheme::kSealBytes + 48);
  const auto open = [&](const std::vector<UploadHead>& heads) {
    Manifest manifest(round);
    for (const UploadHead& head : heads) manifest.add(head, 1, &verifier);
    return open_afresh(key, {manifest}, &verifier);
  };
  std::vector<UploadHead> heads;
  for (const std::uint32_t client : {2u, 0u, 3u}) {
    heads.push_back(make_signed_upload(round, client + 1, client).head());
  }
  const SumKey sum = open(heads);
  CHECK(sum.tag() != nullptr);
  CHECK(sum.tag()->values() == tag_of_clients(round, {2, 0, 3}));
  CHECK(!sum.blocks_digest());
  const std::vector<std::int64_t> expected = key_of_clients(round, {2, 0, 3});
  CHECK(std::equal(expected.begin(), expected.end(), sum.coefficients().begin()));
  CHECK(SumKey::from_bytes(sum.to_bytes(), round).to_bytes() == sum.to_bytes());

  // What a client seals that is no tag, at both edges, in either word.
  for (const std::size_t word : {std::size_t{0}, std::size_t{1}}) {
    for (const std::uint64_t value : {ring::kTagPrime - 1, ring::kTagPrime, ~std::uint64_t{0}}) {
      Bytes secret(48, 1);
      std::fill(secret.begin() + 32, secret.end(), std::uint8_t{0});
      std::memcpy(secret.data() + 32 + 8 * word, &value, 8);
      UploadHead head;
      head.nonce = nonce_of(50);
      head.part = scheme::CipherPart(kSealer.seal(
          key.public_key().body(), scheme::sealing_info(round, 1, head.nonce), secret));
      scheme::Upload upload(round, head, random_blocks(round, 1));
      sign(round, upload, 1);
      if (value < ring::kTagPrime) {
        CHECK_EQ(open({heads[0], upload.head()}).count(), 2u);
      } else {
        CHECK_THROWS_WITH(open({heads[0], upload.head()}), RoundError,
                          "client 1 sealed is no tag of this round");
      }
    }
  }
}

TEST("a plan of unit weights is never opened weighted, even if the aggregator built it so") {
  const Plan unit = make_plan(10, 16);
  const SecretKey key = make_key();
  const Round round = make_round(unit, key, 10);
  // A manifest with a weight of 2 can only come from bytes.
  ByteWriter out;
  out.raw(round.id());
  out.u32(2);
  for (std::uint64_t k = 1; k <= 2; ++k) {
    out.u64(k);
    scheme::write_head(out, head_of(round, k));
  }
  out.u8(0);            // shows no blocks
  out.raw(bytes32(1));  // but names them
  const OpeningRequest request = OpeningRequest::from_bytes(envelope_of(7, out.bytes()), round);
  CHECK_THROWS_WITH(open_sum(key, request, nullptr, true), RoundError, "unit weights");
}

/// Fields of `width` bits one after the other, bit by bit.
Bytes packed_bits(const std::vector<std::uint64_t>& fields, unsigned width) {
  Bytes out(fields.size() * width / 8);
  for (std::size_t bit = 0; bit < fields.size() * width; ++bit) {
    const std::uint64_t value = fields[bit / width] >> (bit % width) & 1;
    out[bit / 8] = static_cast<std::uint8_t>(out[bit / 8] | value << (bit % 8));
  }
  return out;
}

unsigned bits_of(std::uint64_t value) {
  unsigned bits = 0;
  for (; value != 0; value >>= 1) ++bits;
  return bits;
}

TEST("sum keys go to bytes, to private files, and back, whatever their width") {
  const TemporaryFolder folder;
  const SecretKey key = make_key();
  for (const Plan& plan : plans_of_every_ring()) {
    for (const std::uint64_t upload_keys : {1u, 3u}) {
      const Round round = make_round(plan, key, fields_of({{10, 1.0}}, upload_keys));
      const bool weighted = plan.weight_bits() != 0;
      for (const std::uint64_t weight : {std::uint64_t{1}, plan.max_weight() - 1}) {
        if (!weighted && weight != 1) continue;
        OpeningRequest request = request_of_seeds(round, {1, 2}, {weight, 1});
        request.evidence.blocks_digest = bytes32(6);
        const SumKey sum = open_afresh(key, request);
        const std::uint64_t total = weight + 1;
        std::vector<std::uint64_t> fields;
        for (const std::int64_t c : sum.coefficients()) {
          fields.push_back(static_cast<std::uint64_t>(c + static_cast<std::int64_t>(8 * total)));
        }
        CHECK_EQ(fields.size(), upload_keys * plan.degree());
        ByteWriter out;
        out.raw(round.id());
        out.raw(sum.manifest());
        out.u32(2);
        out.u64(total);
        CHECK(sum.blocks_digest() == bytes32(6));
        out.u8(1);
        out.raw(bytes32(6));
        out.raw(packed_bits(fields, bits_of(16 * total)));
        const Bytes bytes = sum.to_bytes();
        CHECK_EQ(bytes, envelope_of(8, out.bytes()));
        const SumKey again = SumKey::from_bytes(bytes, round);
        CHECK(again.to_bytes() == bytes);
        CHECK(again.exportable());
        CHECK(std::equal(sum.coefficients().begin(), sum.coefficients().end(),
                         again.coefficients().begin(), again.coefficients().end()));
        sum.save(folder / "sum.key");
        CHECK_EQ(mode_of(folder / "sum.key"), 0600u);
        CHECK(SumKey::load(folder / "sum.key", round).to_bytes() == bytes);
        put_contents(folder / "sum.key", contents_of(folder / "sum.key"), 0644);
        CHECK_THROWS(SumKey::load(folder / "sum.key", round), ParameterError);
        const Round other = make_round(plan, key, 10, 2);
        CHECK_THROWS_WITH(SumKey::from_bytes(bytes, other), KeyMismatchError,
                          short_hex(other.id()));
      }
    }
  }
}

TEST("sum keys with impossible counts, weights or coefficients are refused, at both edges") {
  const Plan plan = make_plan(10, 16, 1, 128, "n2048");  // W = 20
  const SecretKey key = make_key();
  scheme::RoundFields fields = fields_of({{10, 1.0}}, 2);
  fields.min_clients = 3;
  const Round round = make_round(plan, key, fields);
  const std::size_t n = plan.degree();
  /// One field of the wire, every other one the zero of this sum.
  const auto build = [&](std::uint32_t count, std::uint64_t total, std::size_t at,
                         std::uint64_t field) {
    std::vector<std::uint64_t> all(2 * n, 8 * total);
    all[at] = field;
    ByteWriter out;
    out.raw(round.id());
    out.raw(bytes32(1));
    out.u32(count);
    out.u64(total);
    out.u8(1);
    out.raw(bytes32(2));
    out.raw(packed_bits(all, std::min(bits_of(16 * total), 52u)));
    return SumKey::from_bytes(envelope_of(8, out.bytes()), round);
  };
  const auto zero = [&](std::uint32_t count, std::uint64_t total) {
    return build(count, total, 0, 8 * total).count();
  };
  CHECK_EQ(zero(3, 3), 3u);
  CHECK_EQ(zero(3, 20), 3u);
  CHECK_EQ(zero(20, 20), 20u);
  for (const auto& [count, total] : std::vector<std::pair<std::uint32_t, std::uint64_t>>{
           {2, 3}, {0, 1}, {3, 2}, {3, 21}, {21, 21}, {3, std::uint64_t{1} << 40}}) {
    CHECK_THROWS(zero(count, total), WireFormatError);
  }
  on_every_active_level([&] {
    for (const std::uint64_t total : {3u, 4u, 16u, 20u}) {
      const auto bound = static_cast<std::int64_t>(8 * total);
      for (const std::size_t at : {std::size_t{0}, n - 1, n, 2 * n - 1}) {
        CHECK_EQ(build(3, total, at, 0).coefficients()[at], -bound);
        CHECK_EQ(build(3, total, at, 16 * total).coefficients()[at], bound);
        for (const std::uint64_t beyond :
             {16 * total + 1, (std::uint64_t{1} << bits_of(16 * total)) - 1}) {
          CHECK_THROWS_WITH(build(3, total, at, beyond), WireFormatError, "bound");
        }
      }
    }
  });
}

TEST("a sum key without a key's worth of coefficients, or with one too many, is refused") {
  const Plan plan = make_plan(10, 16);
  const SecretKey key = make_key();
  const Round one = make_round(plan, key, fields_of({{10, 1.0}}, 1)),
              two = make_round(plan, key, fields_of({{10, 1.0}}, 2));
  Bytes payload = payload_of(open_afresh(key, request_of_seeds(one, {1, 2})).to_bytes());
  std::copy(two.id().begin(), two.id().end(), payload.begin());
  CHECK_THROWS_WITH(SumKey::from_bytes(envelope_of(8, payload), two), WireFormatError, "truncated");
  payload = payload_of(open_afresh(key, request_of_seeds(two, {1, 2})).to_bytes());
  std::copy(one.id().begin(), one.id().end(), payload.begin());
  CHECK_THROWS_WITH(SumKey::from_bytes(envelope_of(8, payload), one), WireFormatError, "follow");
}

TEST("a sum key takes no memory that its bytes do not justify") {
  const SecretKey key = make_key();
  const Round round = make_round(make_plan(10, 16), key, fields_of({{10, 1.0}}, 256));
  Bytes payload = payload_of(open_afresh(key, request_of_seeds(round, {1, 2})).to_bytes());
  const std::size_t whole = payload.size();
  payload.resize(150);
  const Bytes bytes = envelope_of(8, payload);
  const std::size_t before = allocated_bytes.load();
  CHECK_THROWS_WITH(SumKey::from_bytes(bytes, round), WireFormatError, "truncated");
  if (kCountsAllocations) CHECK(allocated_bytes.load() - before < 16 * 1024);
  CHECK(whole > 256 * 1024);
}

TEST("requests and sum keys of version 1 are refused by a sentence that names both versions") {
  const Plan plan = make_plan(10, 16);
  const SecretKey key = make_key();
  const Round round = make_round(plan, key, 10);
  const OpeningRequest request = request_of_seeds(round, {1, 2});
  for (const char* part : {"version 1 ", "version 2"}) {
    CHECK_THROWS_WITH(
        OpeningRequest::from_bytes(with_version(request.to_bytes(), kFormerVersion), round),
        WireFormatError, part);
    CHECK_THROWS_WITH(
        SumKey::from_bytes(with_version(open_afresh(key, request).to_bytes(), kFormerVersion),
                           round),
        WireFormatError, part);
  }
}

TEST("every byte of an opening request and of a sum key changed, and every truncation") {
  const Plan plan = make_plan(10, 16, 1, 128, "n2048");
  const SecretKey key = make_key();
  const Round round = make_round(plan, key, 10);
  const OpeningRequest request = request_of_seeds(round, {1, 2}, {2, 1});
  const auto read_request = [&](const Bytes& bytes) {
    return OpeningRequest::from_bytes(bytes, round).to_bytes();
  };
  const Bytes bytes = request.to_bytes();
  CHECK(read_request(bytes) == bytes);
  CHECK(OpeningRequest::from_bytes(bytes, round).manifest.digest() == request.manifest.digest());
  flip_every_byte(bytes, read_request, 80, 5);
  cut_everywhere(bytes, read_request, 7);

  const SumKey sum = open_sum(key, request, nullptr, true);
  const auto read_key = [&](const Bytes& in) { return SumKey::from_bytes(in, round).to_bytes(); };
  const DamageReport flips = flip_every_byte(sum.to_bytes(), read_key, 76 + 1 + 64);
  CHECK(flips.accepted > 500 && flips.refused > 500);
  cut_everywhere(sum.to_bytes(), read_key, 7);
}

TEST("manifests in bytes: counts and weights that cannot be are refused before any work") {
  const Plan plan = make_plan(10, 16, 1, 128, "n2048");
  const SecretKey key = make_key();
  const Round round = make_round(plan, key, 10);
  const Bytes good = request_of_seeds(round, {1, 2}, {19, 1}).to_bytes();
  const std::size_t count_at = 16 + 32, weight_at = count_at + 4;
  const std::size_t second_at =
      weight_at + 8 + scheme::head_bytes(round, scheme::SignatureKind::kNone);
  const auto with = [&](std::size_t at, std::uint64_t value, std::size_t bytes) {
    Bytes damaged = good;
    std::memcpy(damaged.data() + at, &value, bytes);
    repair_checksum(damaged);
    return OpeningRequest::from_bytes(damaged, round);
  };
  CHECK_EQ(with(weight_at, 19, 8).manifest.total_weight(), 20u);
  for (const std::uint64_t weight : {std::uint64_t{0}, std::uint64_t{20}, std::uint64_t{21},
                                     ~std::uint64_t{0}, std::uint64_t{1} << 63}) {
    CHECK_THROWS(with(weight_at, weight, 8), WireFormatError);
  }
  CHECK_THROWS(with(second_at, 2, 8), WireFormatError);
  CHECK_THROWS(with(second_at, ~std::uint64_t{18}, 8), WireFormatError);  // 19 + it wraps to 0
  for (const std::uint64_t count : {0u, 1u, 3u, 4u, 0x7fffffffu, 0xffffffffu}) {
    CHECK_THROWS(with(count_at, count, 4), WireFormatError);
  }
  // The same sealed key twice, under another nonce.
  Bytes twice = good;
  const std::size_t key_at = 8 + 1 + 8 + 16;
  std::memcpy(twice.data() + second_at + key_at, twice.data() + weight_at + key_at,
              scheme::kSealedKeyBytes);
  repair_checksum(twice);
  CHECK_THROWS_WITH(OpeningRequest::from_bytes(twice, round), RoundError, "twice");
}

}  // namespace
}  // namespace veilsum::test
