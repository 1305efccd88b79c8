// Layer: tests (scheme). Sealed seeds: what they are bound to, byte by byte; the keys that a seed
// expands to, from the wire format; and what a sealer may give. What opening refuses is in
// opening_test.cpp.
#include "scheme/sealed_key.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <set>
#include <string>
#include <vector>

#include "check.h"
#include "isa/aes_key.h"
#include "isa/dispatch.h"
#include "ring/sha256.h"
#include "scheme/key_shares.h"
#include "scheme/part_tree.h"
#include "support/active_level.h"
#include "support/committees.h"
#include "support/rounds.h"
#include "veilsum/errors.h"

namespace veilsum::test {
namespace {

using scheme::CipherPart;
using scheme::kSealedKeyBytes;
using scheme::Nonce;
using scheme::Plan;
using scheme::Round;
using scheme::SecretKey;
using scheme::UploadHead;

Bytes copy_of(ByteView view) { return {view.begin(), view.end()}; }

Round round_with(const Plan& plan, const SecretKey& key, std::uint64_t upload_keys,
                 std::uint64_t n = 1) {
  return make_round(plan, key, fields_of({{100, 1.0}}, upload_keys), n);
}

TEST("the context: label, round id, client, nonce, key id") {
  const Plan plan = make_plan(10, 16);
  const SecretKey key = make_key();
  const Round round = round_with(plan, key, 2);
  ByteWriter out;
  out.text("veilsum/2/sealed-key");
  out.raw(round.id());
  out.u32(7);
  out.raw(nonce_of(3));
  out.raw(key.id());
  CHECK_EQ(scheme::sealing_info(round, 7, nonce_of(3)), out.bytes());
  const Nonce nonce = nonce_of(3);
  std::set<Bytes> infos = {scheme::sealing_info(round, 7, nonce),
                           scheme::sealing_info(round, 8, nonce),
                           scheme::sealing_info(round, scheme::kNoClient, nonce),
                           scheme::sealing_info(round, 7, nonce_of(4)),
                           scheme::sealing_info(round_with(plan, key, 2, 2), 7, nonce),
                           scheme::sealing_info(round_with(plan, key, 3), 7, nonce),
                           scheme::sealing_info(round_with(plan, make_key(2), 2), 7, nonce)};
  CHECK_EQ(infos.size(), 7u);
}

TEST("sealing hands over key, context and seed, and names the upload by what comes back") {
  class Recorder final : public scheme::Sealer {
   public:
    Bytes seal(ByteView key, ByteView info, ByteView seed) const override {
      seen = {copy_of(key), copy_of(info), copy_of(seed)};
      return sealed;
    }
    mutable std::vector<Bytes> seen;
    Bytes sealed = Bytes(kSealedKeyBytes, 7);
  };
  const SecretKey key = make_key();
  const Round round = round_with(make_plan(10, 16), key, 1);
  Recorder recorder;
  UploadHead head;
  head.nonce = nonce_of(1);
  const auto seal = [&] {
    scheme::seal_secrets(round, scheme::kNoClient, seed32(5), nullptr, recorder, head);
  };
  seal();
  const CipherPart sealed = head.part;
  CHECK(head.shares == nullptr);
  CHECK(recorder.seen ==
        std::vector<Bytes>({copy_of(key.public_key().body()),
                            scheme::sealing_info(round, scheme::kNoClient, nonce_of(1)),
                            copy_of(seed32(5).span())}));
  CHECK(sealed.bytes() == recorder.sealed);
  CHECK(sealed.digest() == ring::labelled_hash("veilsum/2/cipher-part", {recorder.sealed}));
  for (const std::size_t bytes :
       {std::size_t{0}, kSealedKeyBytes - 1, kSealedKeyBytes + 1, std::size_t{4000}}) {
    recorder.sealed = Bytes(bytes, 7);
    CHECK_THROWS_WITH(seal(), ParameterError, "has 1168 bytes, not " + std::to_string(bytes));
  }
}

TEST("the toy sealing behaves as sealing must: one key, one context, no byte changed") {
  const SecretKey key = make_key(1), other = make_key(2);
  const Bytes info = {1, 2, 3}, longer = {1, 2, 3, 0};
  const ByteView to = key.public_key().body();
  for (const bool randomised : {false, true}) {
    const ToySealer sealer(randomised);
    const Bytes sealed = sealer.seal(to, info, seed32(9).span());
    CHECK_EQ(sealed.size(), kSealedKeyBytes);
    Seed found;
    CHECK(kOpener.open(key.secret(), info, sealed, {found.data(), 32}));
    CHECK(copy_of(found.span()) == copy_of(seed32(9).span()));
    CHECK(!kOpener.open(other.secret(), info, sealed, {found.data(), 32}));
    CHECK(!kOpener.open(key.secret(), longer, sealed, {found.data(), 32}));
    Bytes damaged = sealed;
    for (std::size_t at = 0; at < sealed.size(); ++at) {
      damaged[at] ^= static_cast<std::uint8_t>(1u << at % 8);
      CHECK(!kOpener.open(key.secret(), info, damaged, {found.data(), 32}));
      damaged[at] = sealed[at];
    }
    CHECK_EQ(sealer.seal(to, info, seed32(9).span()) == sealed, !randomised);
  }
}

/// Small values by their definition: bits counted in two bytes of the keystream.
std::vector<std::int64_t> keys_by_hand(const Round& round, const Seed& seed) {
  const Digest key_bytes = ring::labelled_hash("veilsum/2/upload", {round.id(), seed.span()});
  isa::AesKey key;
  isa::aes_expand_key(key_bytes.data(), key_bytes.size(), key);
  const std::size_t n = round.plan().degree();
  std::vector<std::int64_t> out;
  for (std::uint64_t i = 0; i < round.upload_keys(); ++i) {
    Bytes stream(2 * n);
    isa::scalar_table()->aes_ctr(key, std::uint64_t{4} << 56 | i, 0, stream.data(),
                                 stream.size() / 16);
    for (std::size_t j = 0; j < n; ++j) {
      out.push_back(std::popcount(stream[2 * j]) - std::popcount(stream[2 * j + 1]));
    }
  }
  return out;
}

TEST("a seed expands to kappa keys of small values, from stream 4, on every level") {
  for (const Plan& plan : plans_of_every_ring()) {
    const SecretKey holder = make_key();
    for (const std::uint64_t upload_keys : {1u, 2u, 5u}) {
      const Round round = round_with(plan, holder, upload_keys);
      const std::vector<std::int64_t> expected = keys_by_hand(round, seed32(3));
      on_every_active_level([&] {
        const scheme::KeyCoefficients keys = scheme::expand_keys(round, seed32(3));
        CHECK(std::equal(keys.begin(), keys.end(), expected.begin(), expected.end()));
      });
      const auto [least, most] = std::minmax_element(expected.begin(), expected.end());
      CHECK(*least >= -8 && *most <= 8);
    }
  }
}

TEST("keys of one upload, of two seeds and of two rounds are unrelated") {
  const Plan plan = make_plan(10, 16);
  const SecretKey holder = make_key();
  const Round round = round_with(plan, holder, 3), other = round_with(plan, holder, 3, 2);
  const std::size_t n = plan.degree();
  std::vector<std::vector<std::int64_t>> keys;
  for (const auto& made :
       {scheme::expand_keys(round, seed32(1)), scheme::expand_keys(round, seed32(2)),
        scheme::expand_keys(other, seed32(1))}) {
    for (std::size_t i = 0; i < 3; ++i) {
      keys.emplace_back(made.begin() + i * n, made.begin() + (i + 1) * n);
    }
  }
  // Two independent values agree with probability 0.14 (the sum of C(16, k)^2 / 2^32): in 287 of
  // 2048 places, deviation 16. A fifth of them is 8 deviations away. Squares: variance 4 each, the
  // fourth moment 46, so the mean of 2048 is within 4 +- 0.12, of which six are allowed.
  for (std::size_t a = 0; a < keys.size(); ++a) {
    double squares = 0;
    for (const std::int64_t value : keys[a]) squares += static_cast<double>(value * value);
    CHECK(std::abs(squares / static_cast<double>(n) - 4) < 0.72);
    for (std::size_t b = 0; b < a; ++b) {
      std::size_t equal = 0;
      for (std::size_t j = 0; j < n; ++j) equal += keys[a][j] == keys[b][j];
      CHECK(equal < n / 5);
    }
  }
}

TEST("the context of a share: label, round id, client, nonce, member and the member's id") {
  const Round round = make_committee_round({}), other = make_committee_round({}, 2);
  const Nonce nonce = nonce_of(3);
  ByteWriter out;
  out.text("veilsum/2/sealed-share");
  out.raw(round.id());
  out.u32(1);
  out.raw(nonce);
  out.u32(2);
  out.raw(round.committee()->members()[2].id());
  CHECK_EQ(scheme::sealing_info(round, 1, nonce, 2), out.bytes());
  const std::set<Bytes> infos = {
      scheme::sealing_info(round, 1, nonce, 2), scheme::sealing_info(round, 0, nonce, 2),
      scheme::sealing_info(round, 1, nonce_of(4), 2), scheme::sealing_info(round, 1, nonce, 3),
      scheme::sealing_info(other, 1, nonce, 2)};
  CHECK_EQ(infos.size(), 5u);
  CHECK_THROWS_WITH(scheme::sealing_info(round, 1, nonce), RoundError, "committee of 4 members");
}

TEST("to a committee, each member's share is sealed to it in its own context, under one root") {
  class Recorder final : public scheme::Sealer {
   public:
    Bytes seal(ByteView key, ByteView info, ByteView secret) const override {
      seen.push_back({copy_of(key), copy_of(info), copy_of(secret)});
      return Bytes(scheme::kSealBytes + secret.size() + wrong,
                   static_cast<std::uint8_t>(seen.size()));
    }
    mutable std::vector<std::vector<Bytes>> seen;
    std::size_t wrong = 0;
  };
  for (const bool tagged : {false, true}) {
    const Round round = make_committee_round({4, 3, tagged, true});
    const ring::TagSum tag = tagged ? tag_of(round, 5) : ring::TagSum(scheme::tag_field(round));
    const auto dealt = scheme::deal_shares(round, seed32(5), tagged ? &tag : nullptr);
    Recorder recorder;
    UploadHead head;
    head.nonce = nonce_of(5);
    const auto seal = [&] {
      scheme::seal_secrets(round, 3, seed32(5), tagged ? &tag : nullptr, recorder, head);
    };
    seal();
    CHECK_EQ(recorder.seen.size(), 4u);
    Bytes all;
    for (std::uint32_t member = 0; member < 4; ++member) {
      CHECK(recorder.seen[member] ==
            std::vector<Bytes>({copy_of(round.committee()->members()[member].kem_key()),
                                scheme::sealing_info(round, 3, nonce_of(5), member),
                                copy_of(dealt[member].span())}));
      all.resize(all.size() + scheme::sealed_share_bytes(round),
                 static_cast<std::uint8_t>(member + 1));
    }
    CHECK(*head.shares == all);
    CHECK(head.part.bytes() == copy_of(scheme::part_root(all, 4)));
    recorder.wrong = 1;
    CHECK_THROWS_WITH(seal(), ParameterError, "a sealed key of this round has");
  }
}

TEST("secrets are sealed for a client of the roster, or for nobody where there is none") {
  const SecretKey key = make_key();
  const Plan plan = make_plan(10, 16);
  scheme::RoundFields fields = fields_of({{10, 1.0}});
  const Round open = make_round(plan, key, fields);
  fields.roster = fake_roster(3);
  const Round closed = make_round(plan, key, fields);
  fields.group = fake_group();
  const Round tagged = make_round(plan, key, fields);
  const ring::TagSum tag = tag_of(tagged, 1);
  const auto seal = [&](const Round& round, std::uint32_t client, const ring::TagSum* with) {
    UploadHead head;
    scheme::seal_secrets(round, client, seed32(1), with, kSealer, head);
    return head.part.bytes().size();
  };
  CHECK_EQ(seal(open, scheme::kNoClient, nullptr), kSealedKeyBytes);
  CHECK_EQ(seal(closed, 2, nullptr), kSealedKeyBytes);
  CHECK_EQ(seal(tagged, 2, &tag), kSealedKeyBytes + 16);
  for (const std::uint32_t client : {0u, 2u}) {
    CHECK_THROWS_WITH(seal(open, client, nullptr), RoundError, "has no roster");
  }
  for (const std::uint32_t client : {3u, scheme::kNoClient}) {
    CHECK_THROWS_WITH(seal(closed, client, nullptr), RoundError, "made by one of its clients");
  }
  CHECK_THROWS_WITH(seal(closed, 1, &tag), RoundError, "has no tags");
  CHECK_THROWS_WITH(seal(tagged, 1, nullptr), RoundError, "has tags");
}

}  // namespace
}  // namespace veilsum::test
