// Layer: tests (scheme). Which sum keys are bound to the blocks they decrypt, and which carry a
// tag: one rule for making, writing and reading them. What openings put in is opening_test.cpp's;
// that other blocks are refused, decrypt_test.cpp's and decrypt_file_test.cpp's.
#include "scheme/sum_key.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "check.h"
#include "support/committees.h"
#include "support/damage.h"
#include "support/envelopes.h"
#include "support/random.h"
#include "support/toy_engine.h"
#include "veilsum/errors.h"

namespace veilsum::test {
namespace {

using scheme::Round;
using scheme::SumKey;

constexpr std::uint16_t kSumKeyKind = 8;

/// A key holder's round, weighted if wanted; of a group if wanted.
Round holders_round(std::uint64_t weight_bits, bool tagged) {
  scheme::RoundFields fields = fields_of({{10, 1.0}});
  fields.roster = fake_roster(4);
  if (tagged) fields.group = fake_group();
  return make_round(make_plan(10, 16, weight_bits, 128, "n2048"), make_key(), fields);
}

/// A check whose values are at the edges of their field, or inside.
scheme::BlocksCheck check_of(std::uint64_t n) {
  Random random(n);
  return {Seed(bytes32(9)), ring::TagSum(ring::BlocksHash::field(),
                                         {random.edgy(ring::BlocksHash::field().prime()),
                                          random.edgy(ring::BlocksHash::field().prime())})};
}

enum class Bound { kNot, kDigest, kCheck, kBoth };

SumKey key_with(const Round& round, std::uint64_t total_weight, bool tag, Bound bound) {
  std::optional<ring::TagSum> sum;
  if (tag) sum.emplace(tag_of(round, 3));
  scheme::KeyCoefficients keys(round.plan().degree());
  for (std::size_t j = 0; j < keys.size(); ++j) keys[j] = static_cast<std::int64_t>(j % 17) - 8;
  std::optional<Digest> digest;
  if (bound == Bound::kDigest || bound == Bound::kBoth) digest = bytes32(2);
  std::optional<scheme::BlocksCheck> check;
  if (bound == Bound::kCheck || bound == Bound::kBoth) check = check_of(total_weight);
  return SumKey(round, bytes32(1), 2, total_weight, true, std::move(keys), std::move(sum), digest,
                std::move(check));
}

/// Whether a round's key may be bound so.
bool fits(const Round& round, Bound bound) {
  if (!scheme::names_blocks(round)) return bound == Bound::kNot;
  return bound == Bound::kDigest || (bound == Bound::kCheck && round.committee() == nullptr);
}

TEST("keys are bound to blocks wherever the native engine has no tag") {
  CHECK(scheme::names_blocks(holders_round(0, false)));
  CHECK(scheme::names_blocks(holders_round(2, false)));
  CHECK(!scheme::names_blocks(holders_round(0, true)));
  CHECK(scheme::names_blocks(make_committee_round({})));
  CHECK(!scheme::names_blocks(make_committee_round({4, 3, true})));
  // Of another engine, whose keys hold nothing of any upload and name their blocks themselves.
  CHECK(!scheme::names_blocks(make_toy_round(make_toy_key())));
}

TEST("a sum key has a tag, or is bound to blocks, just as its round asks, and is written so") {
  for (const Round& round : {holders_round(2, false), holders_round(0, true),
                             make_committee_round({}), make_committee_round({4, 3, true})}) {
    for (const std::uint64_t total : {2u, 3u}) {
      if (total != 2 && round.plan().weight_bits() == 0) continue;
      for (const bool tag : {false, true}) {
        for (const Bound bound : {Bound::kNot, Bound::kDigest, Bound::kCheck, Bound::kBoth}) {
          if (tag != round.tagged() || !fits(round, bound)) {
            CHECK_THROWS_WITH(key_with(round, total, tag, bound), ParameterError,
                              "just as its round asks");
            continue;
          }
          const SumKey key = key_with(round, total, tag, bound);
          const Bytes bytes = key.to_bytes();
          const Bytes payload = payload_of(bytes);
          ByteWriter first;
          first.raw(round.id());
          first.raw(bytes32(1));
          first.u32(2);
          first.u64(total);
          if (!tag && round.committee() == nullptr) first.u8(bound == Bound::kDigest ? 1 : 2);
          if (bound == Bound::kDigest) first.raw(bytes32(2));
          if (bound == Bound::kCheck) {
            first.raw(bytes32(9));
            const scheme::BlocksCheck check = check_of(total);
            for (const std::uint64_t value : check.value.values()) first.u64(value);
          }
          if (tag) {
            const ring::TagSum sum = tag_of(round, 3);
            for (const std::uint64_t value : sum.values()) first.u64(value);
          }
          // 16 W + 1 values a coefficient: six bits.
          CHECK_EQ(payload.size(), first.size() + 2048 / 8 * 6);
          CHECK(std::equal(first.bytes().begin(), first.bytes().end(), payload.begin()));
          const SumKey again = SumKey::from_bytes(bytes, round);
          CHECK(again.to_bytes() == bytes);
          CHECK_EQ(again.blocks_digest().has_value(), bound == Bound::kDigest);
          if (bound == Bound::kDigest) CHECK(*again.blocks_digest() == bytes32(2));
          CHECK_EQ(again.blocks_check() != nullptr, bound == Bound::kCheck);
          if (bound == Bound::kCheck) {
            CHECK(again.blocks_check()->value.equals(check_of(total).value));
            CHECK(std::equal(again.blocks_check()->key.span().begin(),
                             again.blocks_check()->key.span().end(), bytes32(9).begin()));
          }
          CHECK_EQ(again.tag() != nullptr, tag);
          if (tag) CHECK(again.tag()->values() == tag_of(round, 3).values());
        }
      }
    }
  }
}

TEST("a check beyond its field is none, at both edges; no other way of binding is known") {
  const Round round = holders_round(0, false);
  const Bytes good = key_with(round, 2, false, Bound::kCheck).to_bytes();
  const std::size_t binding_at = kHeaderBytes + 32 + 32 + 4 + 8;
  const std::uint64_t prime = ring::BlocksHash::field().prime();
  for (const std::size_t word : {std::size_t{0}, std::size_t{1}}) {
    for (const std::uint64_t value : {std::uint64_t{0}, prime - 1, prime, ~std::uint64_t{0}}) {
      Bytes damaged = good;
      std::memcpy(damaged.data() + binding_at + 1 + 32 + 8 * word, &value, 8);
      repair_checksum(damaged);
      if (value < prime) {
        CHECK_EQ(SumKey::from_bytes(damaged, round).blocks_check()->value.values()[word], value);
      } else {
        CHECK_THROWS(SumKey::from_bytes(damaged, round), WireFormatError);
      }
    }
  }
  for (unsigned binding = 0; binding < 256; ++binding) {
    Bytes damaged = good;
    damaged[binding_at] = static_cast<std::uint8_t>(binding);
    repair_checksum(damaged);
    if (binding == 2) {
      CHECK(SumKey::from_bytes(damaged, round).to_bytes() == good);
    } else if (binding == 1) {  // the values are too many then
      CHECK_THROWS_WITH(SumKey::from_bytes(damaged, round), WireFormatError, "follow");
    } else {
      CHECK_THROWS_WITH(SumKey::from_bytes(damaged, round), WireFormatError, "unknown");
    }
  }
}

TEST("a tag beyond its field is none, at both edges, in either word") {
  const Round round = make_committee_round({4, 3, true});
  const Bytes good = key_with(round, 2, true, Bound::kNot).to_bytes();
  const std::size_t tag_at = kHeaderBytes + 32 + 32 + 4 + 8;
  for (const std::size_t word : {std::size_t{0}, std::size_t{1}}) {
    for (const std::uint64_t value :
         {std::uint64_t{0}, ring::kTagPrime - 1, ring::kTagPrime, ~std::uint64_t{0}}) {
      Bytes damaged = good;
      std::memcpy(damaged.data() + tag_at + 8 * word, &value, 8);
      repair_checksum(damaged);
      if (value < ring::kTagPrime) {
        CHECK_EQ(SumKey::from_bytes(damaged, round).tag()->values()[word], value);
      } else {
        CHECK_THROWS(SumKey::from_bytes(damaged, round), WireFormatError);
      }
    }
  }
}

TEST("a key that names blocks where its sum has none, or does not where it has, is refused") {
  // Bytes of one round's key under the name of another's.
  const Round plain = holders_round(0, false), tagged = holders_round(0, true),
              shared = make_committee_round({});
  const auto renamed = [](const Bytes& object, const Round& round) {
    Bytes payload = payload_of(object);
    std::copy(round.id().begin(), round.id().end(), payload.begin());
    return envelope_of(kSumKeyKind, payload);
  };
  const Bytes of_plain = key_with(plain, 2, false, Bound::kCheck).to_bytes(),
              of_tagged = key_with(tagged, 2, true, Bound::kNot).to_bytes(),
              of_shared = key_with(shared, 2, false, Bound::kDigest).to_bytes();
  CHECK_THROWS(SumKey::from_bytes(renamed(of_plain, shared), shared), WireFormatError);
  CHECK_THROWS(SumKey::from_bytes(renamed(of_shared, plain), plain), WireFormatError);
  CHECK_THROWS(SumKey::from_bytes(renamed(of_plain, tagged), tagged), WireFormatError);
  CHECK_THROWS(SumKey::from_bytes(renamed(of_tagged, plain), plain), WireFormatError);
  for (const auto& [bytes, round] :
       {std::pair<Bytes, Round>{of_tagged, tagged}, std::pair<Bytes, Round>{of_shared, shared},
        std::pair<Bytes, Round>{of_plain, plain}}) {
    const auto read = [&](const Bytes& in) { return SumKey::from_bytes(in, round).to_bytes(); };
    CHECK(read(bytes) == bytes);
    flip_every_byte(bytes, read, 76 + 32, 7);
    cut_everywhere(bytes, read, 31);
  }
}

}  // namespace
}  // namespace veilsum::test
