// Layer: tests (scheme). Manifests, openings and sum keys: the rules of DESIGN.md section 3 (2 and
// 3) each broken in turn, the exact sum key, and its bytes.
#include "scheme/opening.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

#include "check.h"
#include "ring/sha256.h"
#include "scheme/ledger.h"
#include "support/active_level.h"
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

UploadHead head_of(const Round& round, std::uint64_t n) {
  UploadHead head;
  head.capsule = scheme::make_capsule(round, seed32(n)).bytes;
  return head;
}

Manifest manifest_of(const Round& round, const std::vector<std::uint64_t>& seeds,
                     const std::vector<std::uint64_t>& weights = {},
                     const scheme::SignatureVerifier* verifier = nullptr) {
  Manifest manifest(round);
  for (std::size_t k = 0; k < seeds.size(); ++k) {
    manifest.add(head_of(round, seeds[k]), weights.empty() ? 1 : weights[k], verifier);
  }
  return manifest;
}

OpeningRequest request_for(Manifest manifest) {
  std::vector<ByteView> capsules;
  std::vector<std::uint64_t> weights;
  for (const scheme::ManifestEntry& entry : manifest.entries()) {
    capsules.emplace_back(entry.head.capsule);
    weights.push_back(entry.weight);
  }
  Bytes sum = scheme::sum_capsules(manifest.round().plan(), capsules, weights);
  return {std::move(manifest), std::move(sum)};
}

OpeningRequest request_of_seeds(const Round& round, const std::vector<std::uint64_t>& seeds,
                                const std::vector<std::uint64_t>& weights = {}) {
  return request_for(manifest_of(round, seeds, weights));
}

TEST("the sum key is exactly the weighted sum of the ephemeral keys, in every ring") {
  for (const Plan& plan : plans_of_every_ring()) {
    const SecretKey key = make_key(plan);
    const Round round = make_round(plan, key, 50);
    const bool weighted = plan.weight_bits() != 0;
    const std::vector<std::uint64_t> seeds = {1, 2, 3};
    const std::vector<std::uint64_t> weights =
        weighted ? std::vector<std::uint64_t>{plan.max_weight() - 3, 1, 2}
                 : std::vector<std::uint64_t>{1, 1, 1};
    std::vector<std::int64_t> expected(plan.degree(), 0);
    for (std::size_t k = 0; k < seeds.size(); ++k) {
      const scheme::Capsule capsule = scheme::make_capsule(round, seed32(seeds[k]));
      for (std::size_t j = 0; j < expected.size(); ++j) {
        expected[j] += static_cast<std::int64_t>(weights[k]) * capsule.key[j];
      }
    }
    const OpeningRequest request = request_of_seeds(round, seeds, weights);
    on_every_active_level([&] {
      const SumKey sum = scheme::open_sum(key, request, nullptr, false);
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

TEST("a manifest takes every upload once, weights of at least 1, up to W in all") {
  const Plan unit = make_plan(3, 16), weighted = make_plan(3, 16, 2);  // W = 12
  const SecretKey key = make_key(unit);
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
  const SecretKey key = make_key(plan);
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
  const SecretKey key = make_key(plan);
  scheme::RoundFields fields = fields_of({{10, 1.0}});
  fields.roster = fake_roster(3);
  const Round round = make_round(plan, key, fields);
  const FakeVerifier verifier;
  Manifest manifest(round);
  manifest.add(make_signed_upload(round, 1, 0).head(), 1, &verifier);
  CHECK_THROWS_WITH(manifest.add(make_signed_upload(round, 2, 0).head(), 1, &verifier), RoundError,
                    "the first upload stands");
  // Another client's name on the same capsule.
  CHECK_THROWS_WITH(manifest.add(make_signed_upload(round, 1, 1).head(), 1, &verifier), RoundError,
                    "counts once");
  manifest.add(make_signed_upload(round, 2, 1).head(), 1, &verifier);
  CHECK_EQ(manifest.entries().size(), 2u);
}

TEST("the manifest's digest names the sum: any order, but nothing else") {
  const Plan plan = make_plan(10, 16, 3);
  const SecretKey key = make_key(plan);
  const Round round = make_round(plan, key, 10), other = make_round(plan, key, 10, 2);
  const Digest digest = manifest_of(round, {1, 2, 3}, {1, 2, 3}).digest();
  CHECK(manifest_of(round, {3, 1, 2}, {3, 1, 2}).digest() == digest);
  CHECK(manifest_of(round, {1, 2, 3}, {1, 3, 2}).digest() != digest);
  CHECK(manifest_of(round, {1, 2}, {1, 2}).digest() != digest);
  CHECK(manifest_of(round, {1, 2, 4}, {1, 2, 3}).digest() != digest);
  CHECK(manifest_of(other, {1, 2, 3}, {1, 2, 3}).digest() != digest);
  // As the wire format says: round id, then capsule digests in order, each with its weight.
  std::vector<std::pair<Digest, std::uint64_t>> entries;
  for (std::uint64_t n = 1; n <= 3; ++n) {
    entries.emplace_back(head_of(round, n).capsule_digest(), n);
  }
  std::sort(entries.begin(), entries.end());
  ByteWriter out;
  out.raw(round.id());
  for (const auto& [capsule, weight] : entries) {
    out.raw(capsule);
    out.u64(weight);
  }
  CHECK(digest == ring::labelled_hash("veilsum/1/manifest", {out.bytes()}));
}

TEST("too few uploads are not opened") {
  const Plan plan = make_plan(10, 16);
  const SecretKey key = make_key(plan);
  scheme::RoundFields fields = fields_of({{10, 1.0}});
  fields.min_clients = 3;
  const Round round = make_round(plan, key, fields);
  CHECK_THROWS_WITH(scheme::open_sum(key, request_of_seeds(round, {1, 2}), nullptr, false),
                    RoundError, "at least 3");
  scheme::open_sum(key, request_of_seeds(round, {1, 2, 3}), nullptr, false);
  const Round pair = make_round(plan, key, 10);
  CHECK_THROWS(scheme::open_sum(key, request_of_seeds(pair, {1}), nullptr, false), RoundError);
  CHECK_THROWS(scheme::open_sum(key, request_of_seeds(pair, {}), nullptr, false), RoundError);
  // Nothing of what was refused was recorded as opened.
  scheme::open_sum(key, request_of_seeds(pair, {1, 2}), nullptr, false);
}

TEST("the wrong authority is told so before anything else") {
  const Plan plan = make_plan(10, 16);
  const SecretKey key = make_key(plan, 1), stranger = make_key(plan, 2);
  const Round round = make_round(plan, key, 10);
  CHECK_THROWS_WITH(scheme::open_sum(stranger, request_of_seeds(round, {1, 2}), nullptr, false),
                    KeyMismatchError, short_hex(stranger.id()));
}

TEST("an aggregator that lies about the capsule sum is refused") {
  const Plan plan = make_plan(10, 16, 2);
  const SecretKey key = make_key(plan);
  const Round round = make_round(plan, key, 10);
  const OpeningRequest honest = request_of_seeds(round, {1, 2, 3});
  const auto refused = [&](OpeningRequest request) {
    CHECK_THROWS_WITH(scheme::open_sum(key, request, nullptr, false), RoundError,
                      "nothing was opened");
  };
  OpeningRequest lie = honest;
  lie.capsule_sum = honest.manifest.entries()[0].head.capsule.bytes();  // one client's alone
  refused(lie);
  lie.capsule_sum = request_of_seeds(round, {1, 2}).capsule_sum;  // one left out
  refused(lie);
  lie.capsule_sum = request_of_seeds(round, {1, 2, 3}, {2, 1, 1}).capsule_sum;  // other weights
  refused(lie);
  for (const std::size_t at : {std::size_t{0}, honest.capsule_sum.size() - 1}) {
    lie.capsule_sum = honest.capsule_sum;
    lie.capsule_sum[at] ^= 1;
    refused(lie);
  }
  lie.capsule_sum = Bytes(honest.capsule_sum.size());
  refused(lie);
  lie.capsule_sum.clear();
  refused(lie);
  scheme::open_sum(key, honest, nullptr, false);  // the lies used nothing up
}

TEST("a capsule in the manifest that was not made for this round is refused by name") {
  const Plan plan = make_plan(10, 16);
  const SecretKey key = make_key(plan);
  const Round round = make_round(plan, key, 10), other = make_round(plan, key, 10, 2);
  Manifest manifest(round);
  manifest.add(head_of(round, 1), 1, nullptr);
  const UploadHead foreign = head_of(other, 2);
  manifest.add(foreign, 1, nullptr);
  CHECK_THROWS_WITH(scheme::open_sum(key, request_for(manifest), nullptr, false), RoundError,
                    foreign.name());
}

TEST("signatures are checked again by the authority") {
  const Plan plan = make_plan(10, 16);
  const SecretKey key = make_key(plan);
  scheme::RoundFields fields = fields_of({{10, 1.0}});
  fields.roster = fake_roster(3);
  const Round round = make_round(plan, key, fields);
  const FakeVerifier verifier;
  /// Accepts everything, as an aggregator that invents clients would have it.
  class Gullible final : public scheme::SignatureVerifier {
    bool verify(const scheme::VerificationKey&, const scheme::Signature&, ByteView) const override {
      return true;
    }
  };
  const Gullible gullible;
  Manifest manifest(round);
  manifest.add(make_signed_upload(round, 1, 0).head(), 1, &verifier);
  UploadHead forged = make_signed_upload(round, 2, 1).head();
  forged.signature->signature[0] ^= 1;
  manifest.add(forged, 1, &gullible);
  const OpeningRequest request = request_for(manifest);
  CHECK_THROWS_WITH(scheme::open_sum(key, request, &verifier, false), RoundError,
                    "signature of client 1");
  CHECK_THROWS(scheme::open_sum(key, request, nullptr, false), ParameterError);
  Manifest good(round);
  good.add(make_signed_upload(round, 1, 0).head(), 1, &verifier);
  good.add(make_signed_upload(round, 2, 1).head(), 1, &verifier);
  CHECK_EQ(scheme::open_sum(key, request_for(good), &verifier, false).count(), 2u);
}

TEST("a round is opened for one set of uploads only; the same set again is fine") {
  const Plan plan = make_plan(10, 16);
  SecretKey key = make_key(plan);
  const Round round = make_round(plan, key, 10), other = make_round(plan, key, 10, 2);
  const SumKey first = scheme::open_sum(key, request_of_seeds(round, {1, 2, 3}), nullptr, false);
  const SumKey again = scheme::open_sum(key, request_of_seeds(round, {3, 2, 1}), nullptr, false);
  CHECK(first.manifest() == again.manifest());
  CHECK(std::equal(first.coefficients().begin(), first.coefficients().end(),
                   again.coefficients().begin()));
  CHECK_THROWS_WITH(scheme::open_sum(key, request_of_seeds(round, {1, 2}), nullptr, false),
                    RoundError, "opened before");
  CHECK_THROWS(scheme::open_sum(key, request_of_seeds(round, {1, 2, 3, 4}), nullptr, false),
               RoundError);
  scheme::open_sum(key, request_of_seeds(other, {1, 2}), nullptr, false);
  // Over a restart.
  const TemporaryFolder folder;
  key.save(folder / "key");
  const SecretKey restarted = SecretKey::load(folder / "key");
  CHECK_THROWS(scheme::open_sum(restarted, request_of_seeds(round, {1, 2}), nullptr, false),
               RoundError);
  scheme::open_sum(restarted, request_of_seeds(round, {2, 1, 3}), nullptr, false);
}

TEST("an opening that cannot be recorded yields no key") {
  const Plan plan = make_plan(10, 16);
  SecretKey key = make_key(plan);
  const Round round = make_round(plan, key, 10);
  const TemporaryFolder folder;
  const std::string place = folder / "mount";
  std::filesystem::create_directory(place);
  key.save(place + "/key");
  std::filesystem::remove_all(place);
  CHECK_THROWS(scheme::open_sum(key, request_of_seeds(round, {1, 2}), nullptr, false),
               std::system_error);
}

TEST("the key of a weighted sum leaves only when that was asked for") {
  const Plan plan = make_plan(10, 16, 2, 128, "n2048");
  const SecretKey key = make_key(plan);
  const TemporaryFolder folder;
  const Round weighted = make_round(plan, key, 10), unit = make_round(plan, key, 10, 2);
  const OpeningRequest request = request_of_seeds(weighted, {1, 2}, {2, 1});
  const SumKey kept = scheme::open_sum(key, request, nullptr, false);
  CHECK(!kept.exportable());
  CHECK_THROWS_WITH(kept.to_bytes(), RoundError, "export=True");
  CHECK_THROWS(kept.save(folder / "sum.key"), RoundError);
  CHECK(folder.names().empty());
  const SumKey exported = scheme::open_sum(key, request, nullptr, true);
  CHECK(exported.exportable());
  CHECK_EQ(exported.to_bytes().size(), 16 + 32 + 32 + 4 + 8 + 4 * 2048u + 4);
  CHECK(scheme::open_sum(key, request_of_seeds(unit, {1, 2}), nullptr, false).exportable());
}

TEST("a plan of unit weights is never opened weighted, even if the aggregator built it so") {
  const Plan unit = make_plan(10, 16);
  const SecretKey key = make_key(unit);
  const Round round = make_round(unit, key, 10);
  // A manifest with a weight of 2 can only come from bytes.
  ByteWriter out;
  out.raw(round.id());
  out.u32(2);
  std::vector<Bytes> capsules = {head_of(round, 1).capsule.bytes(),
                                 head_of(round, 2).capsule.bytes()};
  for (std::size_t k = 0; k < 2; ++k) {
    out.u64(k + 1);
    out.u8(0);
    out.u64(0);
    out.raw(capsules[k]);
  }
  const std::vector<ByteView> views(capsules.begin(), capsules.end());
  const std::uint64_t weights[] = {1, 2};
  out.raw(scheme::sum_capsules(unit, views, weights));
  const OpeningRequest request = OpeningRequest::from_bytes(envelope_of(7, out.bytes()), round);
  CHECK_THROWS_WITH(scheme::open_sum(key, request, nullptr, true), RoundError, "unit weights");
}

TEST("sum keys go to bytes, to private files, and back") {
  const TemporaryFolder folder;
  for (const Plan& plan : plans_of_every_ring()) {
    const SecretKey key = make_key(plan);
    const Round round = make_round(plan, key, 10);
    const SumKey sum = scheme::open_sum(key, request_of_seeds(round, {1, 2}), nullptr, false);
    ByteWriter out;
    out.raw(round.id());
    out.raw(sum.manifest());
    out.u32(2);
    out.u64(2);
    for (const std::int64_t coefficient : sum.coefficients()) {
      out.u32(static_cast<std::uint32_t>(coefficient));
    }
    const Bytes bytes = sum.to_bytes();
    CHECK_EQ(bytes, envelope_of(8, out.bytes()));
    const SumKey again = SumKey::from_bytes(bytes, round);
    CHECK(again.to_bytes() == bytes);
    CHECK(std::equal(sum.coefficients().begin(), sum.coefficients().end(),
                     again.coefficients().begin()));
    sum.save(folder / "sum.key");
    CHECK_EQ(mode_of(folder / "sum.key"), 0600u);
    CHECK(SumKey::load(folder / "sum.key", round).to_bytes() == bytes);
    put_contents(folder / "sum.key", contents_of(folder / "sum.key"), 0644);
    CHECK_THROWS(SumKey::load(folder / "sum.key", round), ParameterError);
    const Round other = make_round(plan, key, 10, 2);
    CHECK_THROWS_WITH(SumKey::from_bytes(bytes, other), KeyMismatchError, short_hex(other.id()));
  }
}

TEST("sum keys with impossible counts, weights or coefficients are refused, at both edges") {
  const Plan plan = make_plan(10, 16, 1, 128, "n2048");  // W = 20
  const SecretKey key = make_key(plan);
  scheme::RoundFields fields = fields_of({{10, 1.0}});
  fields.min_clients = 3;
  const Round round = make_round(plan, key, fields);
  const auto build = [&](std::uint32_t count, std::uint64_t total, std::int32_t coefficient) {
    ByteWriter out;
    out.raw(round.id());
    out.raw(bytes32(1));
    out.u32(count);
    out.u64(total);
    for (std::uint32_t j = 0; j < plan.degree(); ++j) {
      out.u32(j == plan.degree() - 1 ? static_cast<std::uint32_t>(coefficient) : 0u);
    }
    return SumKey::from_bytes(envelope_of(8, out.bytes()), round);
  };
  CHECK_EQ(build(3, 3, 63).total_weight(), 3u);
  CHECK_EQ(build(3, 20, -420).count(), 3u);
  build(20, 20, 420);
  CHECK_THROWS(build(2, 3, 0), WireFormatError);
  CHECK_THROWS(build(0, 0, 0), WireFormatError);
  CHECK_THROWS(build(3, 2, 0), WireFormatError);
  CHECK_THROWS(build(3, 21, 0), WireFormatError);
  CHECK_THROWS(build(21, 21, 0), WireFormatError);
  CHECK_THROWS(build(3, ~std::uint64_t{0}, 0), WireFormatError);
  for (const std::int32_t beyond : {64, -64, 2147483647, -2147483647 - 1}) {
    CHECK_THROWS_WITH(build(3, 3, beyond), WireFormatError, "bound");
  }
}

TEST("every byte of an opening request and of a sum key changed, and every truncation") {
  const Plan plan = make_plan(10, 16, 1, 128, "n2048");
  const SecretKey key = make_key(plan);
  const Round round = make_round(plan, key, 10);
  const OpeningRequest request = request_of_seeds(round, {1, 2}, {2, 1});
  const auto read_request = [&](const Bytes& bytes) {
    return OpeningRequest::from_bytes(bytes, round).to_bytes();
  };
  const Bytes bytes = request.to_bytes();
  CHECK(read_request(bytes) == bytes);
  CHECK(OpeningRequest::from_bytes(bytes, round).manifest.digest() == request.manifest.digest());
  flip_every_byte(bytes, read_request, 64, 13);
  cut_everywhere(bytes, read_request, 61);

  const SumKey sum = scheme::open_sum(key, request, nullptr, true);
  const auto read_key = [&](const Bytes& in) { return SumKey::from_bytes(in, round).to_bytes(); };
  const DamageReport flips = flip_every_byte(sum.to_bytes(), read_key, 76 + 64);
  CHECK(flips.accepted > 500 && flips.refused > 4000);
  cut_everywhere(sum.to_bytes(), read_key);
}

TEST("manifests in bytes: counts and weights that cannot be are refused before any work") {
  const Plan plan = make_plan(10, 16, 1, 128, "n2048");
  const SecretKey key = make_key(plan);
  const Round round = make_round(plan, key, 10);
  const Bytes good = request_of_seeds(round, {1, 2}, {19, 1}).to_bytes();
  const std::size_t count_at = 16 + 32, weight_at = count_at + 4;
  const std::size_t second_at = weight_at + 8 + 9 + plan.capsule().bytes;
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
  // The same capsule twice.
  Bytes twice = good;
  std::memcpy(twice.data() + second_at + 17, twice.data() + weight_at + 17, plan.capsule().bytes);
  repair_checksum(twice);
  CHECK_THROWS_WITH(OpeningRequest::from_bytes(twice, round), RoundError, "twice");
}

}  // namespace
}  // namespace veilsum::test
