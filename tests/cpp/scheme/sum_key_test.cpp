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

SumKey key_with(const Round& round, std::uint64_t total_weight, bool tag, bool blocks) {
  std::optional<ring::TagSum> sum;
  if (tag) sum.emplace(tag_of(round, 3));
  scheme::KeyCoefficients keys(round.plan().degree());
  for (std::size_t j = 0; j < keys.size(); ++j) keys[j] = static_cast<std::int64_t>(j % 17) - 8;
  return SumKey(round, bytes32(1), 2, total_weight, true, std::move(keys), std::move(sum),
                blocks ? std::optional(bytes32(2)) : std::nullopt);
}

TEST("blocks are named by a committee's key without tags, and by that of a weighted sum") {
  struct Case {
    Round round;
    bool unit, weighted;  // whether blocks are named
  };
  const Case cases[] = {
      {holders_round(0, false), false, true},
      {holders_round(2, false), false, true},
      {holders_round(0, true), false, false},
      {make_committee_round({}), true, true},
      {make_committee_round({4, 3, true}), false, false},
      {make_toy_round(make_toy_key()), false, false},  // whose keys hold nothing of any upload
  };
  for (const Case& c : cases) {
    CHECK_EQ(scheme::names_blocks(c.round, true), c.unit);
    CHECK_EQ(scheme::names_blocks(c.round, false), c.weighted);
  }
}

TEST("a sum key has a tag, or names the blocks, just as its round asks, and is written so") {
  for (const Round& round : {holders_round(2, false), holders_round(0, true),
                             make_committee_round({}), make_committee_round({4, 3, true})}) {
    for (const std::uint64_t total : {2u, 3u}) {
      if (total != 2 && round.plan().weight_bits() == 0) continue;
      const bool names = scheme::names_blocks(round, total == 2);
      for (const bool tag : {false, true}) {
        for (const bool blocks : {false, true}) {
          if (tag == round.tagged() && blocks == names) {
            const SumKey key = key_with(round, total, tag, blocks);
            const Bytes bytes = key.to_bytes();
            const Bytes payload = payload_of(bytes);
            ByteWriter first;
            first.raw(round.id());
            first.raw(bytes32(1));
            first.u32(2);
            first.u64(total);
            if (blocks) first.raw(bytes32(2));
            if (tag) {
              const ring::TagSum sum = tag_of(round, 3);
              for (const std::uint64_t value : sum.values()) first.u64(value);
            }
            // 16 W + 1 values a coefficient: six bits.
            CHECK_EQ(payload.size(), first.size() + 2048 / 8 * 6);
            CHECK(std::equal(first.bytes().begin(), first.bytes().end(), payload.begin()));
            const SumKey again = SumKey::from_bytes(bytes, round);
            CHECK(again.to_bytes() == bytes);
            CHECK_EQ(again.blocks_digest().has_value(), blocks);
            if (blocks) CHECK(*again.blocks_digest() == bytes32(2));
            CHECK_EQ(again.tag() != nullptr, tag);
            if (tag) CHECK(again.tag()->values() == tag_of(round, 3).values());
          } else {
            CHECK_THROWS_WITH(key_with(round, total, tag, blocks), ParameterError,
                              "just as its round asks");
          }
        }
      }
    }
  }
}

TEST("a tag beyond its field is none, at both edges, in either word") {
  const Round round = make_committee_round({4, 3, true});
  const Bytes good = key_with(round, 2, true, false).to_bytes();
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
  const Bytes of_plain = key_with(plain, 2, false, false).to_bytes(),
              of_tagged = key_with(tagged, 2, true, false).to_bytes(),
              of_shared = key_with(shared, 2, false, true).to_bytes();
  CHECK_THROWS_WITH(SumKey::from_bytes(renamed(of_plain, shared), shared), WireFormatError,
                    "truncated");
  CHECK_THROWS_WITH(SumKey::from_bytes(renamed(of_shared, plain), plain), WireFormatError,
                    "follow");
  CHECK_THROWS(SumKey::from_bytes(renamed(of_plain, tagged), tagged), WireFormatError);
  CHECK_THROWS_WITH(SumKey::from_bytes(renamed(of_tagged, plain), plain), WireFormatError,
                    "follow");
  for (const auto& [bytes, round] :
       {std::pair<Bytes, Round>{of_tagged, tagged}, std::pair<Bytes, Round>{of_shared, shared}}) {
    const auto read = [&](const Bytes& in) { return SumKey::from_bytes(in, round).to_bytes(); };
    CHECK(read(bytes) == bytes);
    flip_every_byte(bytes, read, 76 + 32, 7);
    cut_everywhere(bytes, read, 31);
  }
}

}  // namespace
}  // namespace veilsum::test
