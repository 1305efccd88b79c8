// Layer: tests (scheme). A round's id changes with everything that must agree between its parties;
// its fields have edges on both sides; its blocks of values and check blocks lie one after the
// other without a gap; its bytes are read back whole or refused.
#include "scheme/round.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "check.h"
#include "ring/expander.h"
#include "ring/sha256.h"
#include "support/committees.h"
#include "support/damage.h"
#include "support/envelopes.h"
#include "support/rounds.h"
#include "support/signatures.h"
#include "support/toy_engine.h"
#include "veilsum/errors.h"

namespace veilsum::test {
namespace {

using scheme::Round;
using scheme::RoundFields;

RoundFields rich_fields() {
  RoundFields fields = fields_of({{100, 1.0}, {0, 2.0}, {33, 0.25}});
  fields.layout = "{\"names\":[\"a\",\"b\",\"c\"]}";
  fields.min_clients = 3;
  fields.roster = mixed_roster(5);
  fields.upload_keys = 2;
  return fields;
}

bool same_key(const isa::AesKey& a, const isa::AesKey& b) {
  return a.rounds == b.rounds && std::memcmp(a.bytes, b.bytes, sizeof a.bytes) == 0;
}

TEST("the id is the hash of the payload, which lies as the wire format says") {
  const scheme::Plan plan = make_plan(10, 16);
  const scheme::SecretKey key = make_key();
  const RoundFields fields = rich_fields();
  const Round round(plan, key.public_key(), fields, bytes32(5));
  ByteWriter out;
  plan.write_fields(out);
  out.raw(bytes32(5));
  out.u8(0);  // the aggregator is not trusted
  out.u32(3);
  out.u32(2);
  out.u32(3);
  for (const scheme::Segment& segment : fields.segments) {
    out.u64(segment.count);
    out.f64(segment.limit);
  }
  out.u32(static_cast<std::uint32_t>(fields.layout.size()));
  out.text(fields.layout);
  out.u32(5);
  for (const scheme::PublicIdentity& entry : fields.roster) out.raw(entry.fields());
  out.u8(1);  // one key holder
  out.raw(payload_of(key.public_key().to_bytes()));
  out.u8(0);  // names no reader
  out.u8(0);  // and stands in no training
  CHECK_EQ(round.to_bytes(), envelope_of(4, out.bytes()));
  CHECK(round.id() == ring::labelled_hash("veilsum/2/round", {out.bytes()}));
  const ring::Expander matrix("veilsum/2/matrix", {}, bytes32(5), ring::KeySize::kAes128);
  CHECK(same_key(round.matrix_key(), matrix.key()));
}

TEST("the id changes with every field, and only with them") {
  const scheme::Plan plan = make_plan(10, 16);
  const scheme::SecretKey key = make_key(1), other_key = make_key(2);
  const RoundFields base = rich_fields();
  std::set<Digest> ids;
  std::size_t made = 0;
  const auto add = [&](const Round& round) {
    ids.insert(round.id());
    ++made;
  };
  const auto with = [&](auto change) {
    RoundFields fields = base;
    change(fields);
    add(Round(plan, key.public_key(), fields, bytes32(1)));
  };
  with([](RoundFields&) {});
  add(Round(plan, key.public_key(), base, bytes32(2)));
  auto seed = bytes32(1);
  seed[31] ^= 0x80;
  add(Round(plan, key.public_key(), base, seed));
  add(Round(plan, other_key.public_key(), base, bytes32(1)));
  RoundFields other = base;
  other.upload_keys = 0;
  const scheme::SecretKey toy = make_toy_key(), joint = make_toy_key(1, {toy.id()});
  add(Round(toy_cipher(), toy.public_key(), other, bytes32(1)));
  add(Round(toy_cipher(), joint.public_key(), other, bytes32(1)));  // the parts too
  other.trust_aggregator = true;
  add(Round(toy_cipher(), toy.public_key(), other, bytes32(1)));
  add(Round(make_plan(11, 16), key.public_key(), base, bytes32(1)));
  add(Round(make_plan(10, 15), key.public_key(), base, bytes32(1)));
  add(Round(make_plan(10, 16, 1), key.public_key(), base, bytes32(1)));
  add(Round(make_plan(10, 16, 0, 128, "n8192"), key.public_key(), base, bytes32(1)));
  scheme::PlanRequest small = request_of(10, 16, 0, 128, "n2048");
  small.optimise = scheme::Optimise::kSize;
  add(Round(scheme::Plan(small), key.public_key(), base, bytes32(1)));
  with([](RoundFields& f) { ++f.segments[0].count; });
  with([](RoundFields& f) { ++f.segments[1].count; });
  with([](RoundFields& f) { f.segments[2].limit = std::nextafter(0.25, 1.0); });
  with([](RoundFields& f) { f.segments[1].limit = 3.0; });  // of an empty segment
  with([](RoundFields& f) { std::swap(f.segments[0], f.segments[2]); });
  with([](RoundFields& f) { f.segments.push_back({0, 1.0}); });
  with([](RoundFields& f) { f.segments.erase(f.segments.begin() + 1); });
  with([](RoundFields& f) { f.segments = {{133, 1.0}}; });
  with([](RoundFields& f) { f.layout.back() = ']'; });
  with([](RoundFields& f) { f.layout.clear(); });
  with([](RoundFields& f) { f.layout.push_back('\0'); });
  with([](RoundFields& f) { f.upload_keys = 1; });
  with([](RoundFields& f) { f.upload_keys = 256; });
  with([](RoundFields& f) { f.min_clients = 2; });
  with([](RoundFields& f) { f.min_clients = 5; });
  with([](RoundFields& f) { f.roster.clear(); });
  with([](RoundFields& f) { f.roster.pop_back(); });
  with([](RoundFields& f) { f.roster[4] = fake_identity(8000); });
  with([](RoundFields& f) {
    Bytes bytes(f.roster[4].fields().begin(), f.roster[4].fields().end());
    bytes[33 + 1152] ^= 1;  // the seed of its KEM key
    f.roster[4] = scheme::PublicIdentity(bytes);
  });
  with([](RoundFields& f) {
    f.roster[4] = fake_identity(9004, scheme::SignatureKind::kPostQuantum);
  });
  with([](RoundFields& f) { std::swap(f.roster[0], f.roster[1]); });
  CHECK_EQ(ids.size(), made);
  with([](RoundFields&) {});
  CHECK_EQ(ids.size() + 1, made);  // the same fields: the same id
  // A fresh round draws its own seed.
  add(Round(plan, key.public_key(), base));
  add(Round(plan, key.public_key(), base));
  CHECK_EQ(ids.size() + 1, made);
}

TEST("what a round says about its vector") {
  const scheme::Plan plan = make_plan(10, 16);
  const scheme::SecretKey key = make_key();
  const std::uint64_t capacity = plan.block_capacity();
  const Round round =
      make_round(plan, key, fields_of({{0, 1.0}, {5, 1.0}, {0, 1.0}, {capacity, 2.0}, {0, 1.0}}));
  CHECK_EQ(round.size(), capacity + 5);
  CHECK_EQ(round.starts(), (std::vector<std::uint64_t>{0, 0, 5, 5, capacity + 5, capacity + 5}));
  CHECK_EQ(round.value_blocks(), 2u);
  CHECK_EQ(round.upload_keys(), 1u);
  CHECK_EQ(round.block_values(0), capacity);
  CHECK_EQ(round.block_values(1), 5u);
  CHECK_EQ(round.payload_bytes(),
           plan.block_bytes(capacity) + plan.block_bytes(5) + plan.full_block_bytes());
  CHECK_EQ(round.segment_of(0), 1u);
  CHECK_EQ(round.segment_of(4), 1u);
  CHECK_EQ(round.segment_of(5), 3u);
  CHECK_EQ(round.segment_of(capacity + 4), 3u);
  CHECK_EQ(round.min_clients(), 2u);
  CHECK(!round.has_roster());
}

TEST("both edges of every field") {
  const scheme::Plan plan = make_plan(10, 16);
  const scheme::SecretKey key = make_key();
  const auto make = [&](auto change) {
    RoundFields fields = rich_fields();
    change(fields);
    return Round(plan, key.public_key(), fields, bytes32(1));
  };
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  for (const double limit : {0.0, -0.0, -1.0, kInfinity, -kInfinity, std::nan(""), 1e-300, 1e300,
                             std::numeric_limits<double>::denorm_min()}) {
    CHECK_THROWS_WITH(make([&](RoundFields& f) { f.segments[2].limit = limit; }), ParameterError,
                      "segment 2");
  }
  make([](RoundFields& f) { f.segments[2].limit = 1e-290; });
  make([](RoundFields& f) { f.segments[2].limit = 1e290; });

  constexpr std::uint64_t kMost = std::uint64_t{1} << 40;
  for (const std::uint64_t count : {kMost + 1, ~std::uint64_t{0}, std::uint64_t{1} << 63}) {
    CHECK_THROWS_WITH(make([&](RoundFields& f) { f.segments = {{1, 1.0}, {count, 1.0}}; }),
                      ParameterError, "2^40");
  }
  CHECK_THROWS(make([&](RoundFields& f) { f.segments = {{kMost, 1.0}, {1, 1.0}}; }),
               ParameterError);
  // Counts that wrap around 2^64 when added.
  CHECK_THROWS(make([](RoundFields& f) {
                 f.segments = {{std::uint64_t{1} << 63, 1.0}, {std::uint64_t{1} << 63, 1.0}};
               }),
               ParameterError);
  CHECK_EQ(make([&](RoundFields& f) {
             f.segments = {{kMost - 1, 1.0}, {1, 1.0}};
             f.upload_keys = 0;
           }).size(),
           kMost);
  CHECK_THROWS_WITH(make([](RoundFields& f) { f.segments.clear(); }), ParameterError, "0 values");
  CHECK_THROWS(make([](RoundFields& f) { f.segments = {{0, 1.0}}; }), ParameterError);

  for (const std::uint64_t clients : {0ull, 1ull, 11ull, (1ull << 32) + 3}) {
    CHECK_THROWS_WITH(make([&](RoundFields& f) { f.min_clients = clients; }), ParameterError,
                      "min_clients");
  }
  make([](RoundFields& f) {
    f.min_clients = 10;
    f.roster.clear();
  });
  CHECK_THROWS_WITH(make([](RoundFields& f) { f.roster = fake_roster(11); }), ParameterError, "11");
  CHECK_EQ(make([](RoundFields& f) { f.roster = fake_roster(10); }).roster().size(), 10u);
  CHECK_THROWS_WITH(make([](RoundFields& f) { f.roster = fake_roster(2); }), ParameterError,
                    "fewer than min_clients");
  CHECK_EQ(make([](RoundFields& f) { f.roster = fake_roster(3); }).roster().size(), 3u);
  CHECK_THROWS_WITH(make([](RoundFields& f) { f.roster[3] = f.roster[0]; }), ParameterError,
                    "clients 0 and 3 of the roster have the same Ed25519 key");
}

TEST("value blocks, then a check block under each key, in any number and with a short last block") {
  const scheme::SecretKey key = make_key();
  for (const scheme::Plan& plan : plans_of_every_ring()) {
    const std::uint64_t capacity = plan.block_capacity();
    for (const std::uint64_t keys : {1u, 2u, 3u, 7u, 8u, 256u}) {
      for (const std::uint64_t size : {std::uint64_t{1}, std::uint64_t{9}, capacity - 1, capacity,
                                       capacity + 1, 8 * capacity, 13 * capacity + 5}) {
        const Round round = make_round(plan, key, fields_of({{size, 1.0}}, keys));
        CHECK_EQ(round.value_blocks(), (size + capacity - 1) / capacity);
        CHECK_EQ(round.check_blocks(), keys);
        CHECK_EQ(round.blocks(), round.value_blocks() + keys);
        std::uint64_t values = 0, bytes = 0;
        std::set<std::uint64_t> checked;
        for (std::uint64_t block = 0; block < round.blocks(); ++block) {
          CHECK_EQ(round.block_offset(block), bytes);
          const std::uint64_t mine = round.block_values(block);
          const std::uint64_t coefficients = round.block_coefficients(block);
          if (block < round.value_blocks()) {
            CHECK_EQ(mine, std::min(capacity, size - values));
            // Eights of coefficients, as few as hold the values.
            CHECK_EQ(coefficients % 8, 0u);
            CHECK(coefficients * plan.digits() >= mine);
            CHECK((coefficients - 8) * plan.digits() < mine);
            CHECK_EQ(plan.block_bytes(mine), coefficients / 8 * plan.field_bits());
          } else {
            CHECK_EQ(mine, 0u);
            CHECK_EQ(coefficients, plan.degree());
            CHECK(checked.insert(block % keys).second);
          }
          values += mine;
          bytes += coefficients / 8 * plan.field_bits();
        }
        CHECK_EQ(values, size);
        CHECK_EQ(checked.size(), keys);
        CHECK_EQ(round.block_offset(round.blocks()), bytes);
        CHECK_EQ(round.payload_bytes(), bytes);
        CHECK_EQ(plan.payload_bytes(size) + keys * plan.full_block_bytes(), bytes);
      }
    }
  }
}

TEST("the default number of keys: one for short vectors, eight for long ones") {
  const scheme::Plan plan = make_plan(10, 16);
  const scheme::SecretKey key = make_key();
  const auto keys_for = [&](std::uint64_t size) {
    CHECK_EQ(make_round(plan, key, size).upload_keys(), plan.default_upload_keys(size));
    return make_round(plan, key, size).upload_keys();
  };
  const std::uint64_t capacity = plan.block_capacity();
  CHECK_EQ(keys_for(1), 1u);
  CHECK_EQ(keys_for(1023 * capacity), 1u);
  CHECK_EQ(keys_for(1023 * capacity + 1), 8u);
  CHECK_EQ(keys_for(100'000 * capacity), 8u);
  CHECK_THROWS_WITH(make_round(plan, key, fields_of({{5, 1.0}}, 257)), ParameterError,
                    "upload_keys = 257 is outside 1 ... 256");
  CHECK_EQ(make_round(plan, key, fields_of({{5, 1.0}}, 256)).upload_keys(), 256u);
  CHECK_THROWS(make_round(plan, key, fields_of({{5, 1.0}}, ~std::uint64_t{0})), ParameterError);
}

TEST("a key serves 2^34 coefficients and not one block more; by default there are keys enough") {
  const scheme::SecretKey key = make_key();
  std::size_t met = 0;
  for (const scheme::Plan& plan : plans_of_every_ring()) {
    const std::uint64_t blocks_a_key = (std::uint64_t{1} << 34) / plan.degree();
    for (const std::uint64_t keys : {1u, 3u, 8u, 16u}) {
      // Each key also serves a check block.
      const std::uint64_t most = keys * (blocks_a_key - 1) * plan.block_capacity();
      if (most >= scheme::kMaxValues) continue;
      ++met;
      CHECK_EQ(make_round(plan, key, fields_of({{most, 1.0}}, keys)).upload_keys(), keys);
      const std::uint64_t enough = plan.default_upload_keys(most + 1);
      CHECK(enough > keys && enough <= keys + 8 && enough <= scheme::kMaxUploadKeys);
      CHECK_THROWS_WITH(make_round(plan, key, fields_of({{most + 1, 1.0}}, keys)), HeadroomError,
                        "this vector needs " + std::to_string(enough));
      CHECK_EQ(make_round(plan, key, most + 1).upload_keys(), enough);
    }
    // The largest vector of all has a default.
    const Round largest = make_round(plan, key, scheme::kMaxValues);
    CHECK((largest.value_blocks() + largest.upload_keys() - 1) / largest.upload_keys() + 1 <=
          blocks_a_key);
  }
  CHECK(met >= 6);
}

TEST("rounds go to bytes and back") {
  for (const scheme::Plan& plan : plans_of_every_ring()) {
    const scheme::SecretKey key = make_key();
    RoundFields fields = rich_fields();
    fields.roster = fake_roster(3);
    fields.layout = std::string("binary\0layout\xff", 14);
    const Round round = make_round(plan, key, fields);
    const Round again = Round::from_bytes(round.to_bytes());
    CHECK(again.id() == round.id());
    CHECK(again.to_bytes() == round.to_bytes());
    CHECK(again.plan() == plan);
    CHECK(again.seed() == round.seed());
    CHECK(again.layout() == fields.layout);
    CHECK(again.roster() == fields.roster);
    CHECK_EQ(again.min_clients(), 3u);
    CHECK_EQ(again.size(), round.size());
    CHECK_EQ(again.upload_keys(), 2u);
    CHECK(again.public_key().to_bytes() == key.public_key().to_bytes());
    CHECK(same_key(again.matrix_key(), round.matrix_key()));
  }
}

TEST("numbers of keys that no round has are refused in bytes too, and rounds of version 1") {
  const scheme::Plan plan = make_plan(10, 16);
  const Bytes good = make_round(plan, make_key(), rich_fields()).to_bytes();
  const std::size_t keys_at = 16 + 16 + 32 + 1 + 4;
  CHECK_EQ(good[keys_at], 2);
  const auto with = [&](std::uint32_t keys) {
    Bytes damaged = good;
    std::memcpy(damaged.data() + keys_at, &keys, 4);
    repair_checksum(damaged);
    return Round::from_bytes(damaged).upload_keys();
  };
  CHECK_EQ(with(1), 1u);
  CHECK_EQ(with(256), 256u);
  CHECK_THROWS_WITH(with(0), WireFormatError, "at least one upload key");
  for (const std::uint32_t keys : {257u, 0x10000u, ~0u}) {
    CHECK_THROWS_WITH(with(keys), WireFormatError, "upload_keys = " + std::to_string(keys));
  }
  const Bytes former = with_version(good, kFormerVersion);
  CHECK_THROWS_WITH(Round::from_bytes(former), WireFormatError, "version 1 ");
  CHECK_THROWS_WITH(Round::from_bytes(former), WireFormatError, "version 2");
}

TEST("a vector that is too long for its keys is refused in bytes as such") {
  const scheme::Plan plan = make_plan(10, 16);
  const std::uint64_t most = ((std::uint64_t{1} << 34) / plan.degree() - 1) * plan.block_capacity();
  const Round round = make_round(plan, make_key(), fields_of({{most, 1.0}}, 1));
  Bytes bytes = round.to_bytes();
  const std::size_t count_at = 16 + 16 + 32 + 1 + 4 + 4 + 4;
  const std::uint64_t longer = most + 1;
  CHECK(std::memcmp(bytes.data() + count_at, &most, 8) == 0);
  CHECK(Round::from_bytes(bytes).id() == round.id());
  std::memcpy(bytes.data() + count_at, &longer, 8);
  repair_checksum(bytes);
  CHECK_THROWS_WITH(Round::from_bytes(bytes), WireFormatError, "2^34");
}

TEST("a round has one engine: that of its plan, and its key must be of it") {
  const scheme::Plan plan = make_plan(10, 16);
  const scheme::SecretKey native = make_key(), toy = make_toy_key();
  CHECK_THROWS_WITH(Round(plan, toy.public_key(), fields_of({{5, 1.0}})), RoundError,
                    "of engine 'plain', the plan of engine 'native'");
  CHECK_THROWS_WITH(Round(toy_cipher(), native.public_key(), fields_of({{5, 1.0}})), RoundError,
                    "of engine 'native', the plan of engine 'plain'");
  const scheme::PublicKey openfhe(scheme::Engine::kOpenFhe, Bytes(40), {});
  CHECK_THROWS_WITH(Round(toy_cipher(), openfhe, fields_of({{5, 1.0}})), RoundError, "openfhe");
  CHECK_THROWS_WITH(
      Round(std::shared_ptr<const scheme::Cipher>(), native.public_key(), fields_of({{5, 1.0}})),
      ParameterError, "needs a plan");
  // Of either engine, from a shared plan.
  const Round round(std::make_shared<const scheme::Plan>(plan), native.public_key(),
                    fields_of({{5, 1.0}}));
  CHECK(round.plan() == plan);
  CHECK(&round.plan() == &round.cipher());
  const Round other = make_toy_round(toy);
  CHECK_THROWS_WITH(other.plan(), RoundError, "engine 'plain'");
  CHECK_THROWS_WITH(other.block_coefficients(0), RoundError, "engine 'plain'");
  CHECK(other.cipher() == *toy_cipher());
  CHECK(other.shared_cipher().get() == &other.cipher());
}

TEST("the aggregator is trusted only where the key holder must sum the uploads itself") {
  const scheme::SecretKey toy = make_toy_key();
  RoundFields fields = rich_fields();
  fields.trust_aggregator = true;
  CHECK_THROWS_WITH(make_round(make_plan(10, 16), make_key(), fields), ParameterError,
                    "trust_aggregator");
  fields.upload_keys = 0;
  const Round trusting = make_toy_round({}, toy, fields);
  CHECK(trusting.trust_aggregator());
  fields.trust_aggregator = false;
  const Round checking = make_toy_round({}, toy, fields);
  CHECK(!checking.trust_aggregator());
  CHECK(trusting.id() != checking.id());
  // Of the native engine it cannot come from bytes either, nor can any other flag.
  const std::size_t flag_at = 16 + 16 + 32;
  const ToyReader reader;
  for (int flag = 0; flag < 256; ++flag) {
    Bytes native = make_round(make_plan(10, 16), make_key(), rich_fields()).to_bytes(),
          other = checking.to_bytes();
    native[flag_at] = other[flag_at] = static_cast<std::uint8_t>(flag);
    repair_checksum(native);
    repair_checksum(other);
    if (flag == 0) {
      CHECK(Round::from_bytes(native).to_bytes() == native);
    } else {
      CHECK_THROWS_WITH(Round::from_bytes(native), WireFormatError,
                        flag == 1 ? "trust_aggregator" : "neither 0 nor 1");
    }
    if (flag < 2) {
      CHECK(Round::from_bytes(other, &reader).id() == (flag == 0 ? checking.id() : trusting.id()));
    } else {
      CHECK_THROWS_WITH(Round::from_bytes(other, &reader), WireFormatError, "neither 0 nor 1");
    }
  }
}

TEST("rounds of another engine: their bytes, and who reads them") {
  ToyShape shape;
  shape.weight_bits = 2;
  const scheme::SecretKey first = make_toy_key(1), joint = make_toy_key(2, {first.id()});
  for (const bool trusted : {false, true}) {
    RoundFields fields = rich_fields();
    fields.upload_keys = 0;
    fields.trust_aggregator = trusted;
    const Round round = make_toy_round(shape, joint, fields);
    ByteWriter out;
    out.raw(toy_fields(shape).fields);
    out.raw(round.seed());
    out.u8(trusted ? 1 : 0);
    out.u32(3);
    out.u32(0);
    out.u32(3);
    for (const scheme::Segment& segment : fields.segments) {
      out.u64(segment.count);
      out.f64(segment.limit);
    }
    out.u32(static_cast<std::uint32_t>(fields.layout.size()));
    out.text(fields.layout);
    out.u32(5);
    for (const scheme::PublicIdentity& entry : fields.roster) out.raw(entry.fields());
    out.u8(1);  // one key holder
    out.u8(255);
    out.u8(1);
    out.raw(first.id());
    out.u32(50);
    out.raw(joint.public_key().body());
    out.u8(0);  // names no reader
    out.u8(0);  // and stands in no training
    const Bytes bytes = round.to_bytes();
    CHECK_EQ(bytes, envelope_of(4, out.bytes()));
    CHECK(round.id() == ring::labelled_hash("veilsum/2/round", {out.bytes()}));
    CHECK_THROWS_WITH(Round::from_bytes(bytes), WireFormatError,
                      "its engine, plain, is not available");
    const ToyReader reader;
    const Round again = Round::from_bytes(bytes, &reader);
    CHECK(again.id() == round.id());
    CHECK(again.to_bytes() == bytes);
    CHECK(again.cipher() == round.cipher());
    CHECK_EQ(again.upload_keys(), 0u);
    CHECK(again.public_key().parts() == joint.public_key().parts());
    const auto read = [&](const Bytes& damaged) {
      const Round other = Round::from_bytes(damaged, &reader);
      CHECK(other.id() != round.id());
      return other.to_bytes();
    };
    const DamageReport flips = flip_every_byte(bytes, read, bytes.size());
    CHECK(flips.accepted > 100 && flips.refused > 100);
    cut_everywhere(bytes, read);
    // Upload keys are the native engine's.
    Bytes keyed = bytes;
    keyed[16 + 16 + 32 + 1 + 4] = 1;
    repair_checksum(keyed);
    CHECK_THROWS_WITH(Round::from_bytes(keyed, &reader), WireFormatError, "has no upload keys");
  }
  // A reader is not asked about the native engine's.
  class NoReader final : public scheme::CipherReader {
    std::shared_ptr<const scheme::Cipher> read(ByteView) const override {
      CHECK(false);
      return nullptr;
    }
  };
  const NoReader none;
  const Round native = make_round(make_plan(10, 16), make_key(), 10);
  CHECK(Round::from_bytes(native.to_bytes(), &none).id() == native.id());
  CHECK_THROWS(Round::from_bytes(envelope_of(4, {}), &none), WireFormatError);
}

TEST("what a reader of plans may do: refuse, be missing its engine, or be wrong") {
  const Bytes bytes = make_toy_round(make_toy_key()).to_bytes();
  class Scripted final : public scheme::CipherReader {
   public:
    std::function<std::shared_ptr<const scheme::Cipher>(ByteView)> body;
    std::shared_ptr<const scheme::Cipher> read(ByteView fields) const override {
      return body(fields);
    }
  };
  Scripted reader;
  const auto read = [&](auto body) {
    reader.body = body;
    return Round::from_bytes(bytes, &reader).id();
  };
  using Made = std::shared_ptr<const scheme::Cipher>;
  CHECK_THROWS_WITH(read([](ByteView) -> Made { throw ParameterError("too many"); }),
                    WireFormatError, "round: too many");
  CHECK_THROWS_WITH(read([](ByteView) -> Made { throw HeadroomError("no plan"); }), WireFormatError,
                    "round: no plan");
  CHECK_THROWS_WITH(read([](ByteView) -> Made { throw WireFormatError("its own words"); }),
                    WireFormatError, "its own words");
  CHECK_THROWS_WITH(read([](ByteView) -> Made { throw BackendUnavailableError("install it"); }),
                    BackendUnavailableError, "install it");
  CHECK_THROWS_WITH(read([](ByteView) -> Made { return nullptr; }), WireFormatError, "another one");
  ToyShape shape;
  shape.clients = 11;
  CHECK_THROWS_WITH(read([&](ByteView) -> Made { return toy_cipher(shape); }), WireFormatError,
                    "another one");
  CHECK_THROWS_WITH(read([&](ByteView) -> Made {
                      return std::make_shared<const scheme::Plan>(make_plan(10, 16));
                    }),
                    WireFormatError, "another one");
  const ToyReader good;
  CHECK(read([&](ByteView fields) -> Made {
          CHECK_EQ(fields.size(), 16u);
          return good.read(fields);
        }) == make_toy_round(make_toy_key()).id());
}

TEST("counts of segments, layout bytes and roster entries beyond the bytes are refused") {
  const scheme::Plan plan = make_plan(10, 16);
  const scheme::SecretKey key = make_key();
  const Bytes good = make_round(plan, key, rich_fields()).to_bytes();
  const std::size_t segments_at = 16 + 16 + 32 + 1 + 4 + 4, layout_at = segments_at + 4 + 3 * 16,
                    roster_at = layout_at + 4 + rich_fields().layout.size();
  CHECK_EQ(good[segments_at], 3);
  CHECK_EQ(good[layout_at], rich_fields().layout.size());
  CHECK_EQ(good[roster_at], 5);
  for (const std::size_t at : {segments_at, layout_at, roster_at}) {
    for (const std::uint32_t count : {0xffffffffu, 0x80000000u, 0x10000000u, 0x08000001u,
                                      static_cast<std::uint32_t>(good.size())}) {
      Bytes damaged = good;
      std::memcpy(damaged.data() + at, &count, 4);
      repair_checksum(damaged);
      CHECK_THROWS(Round::from_bytes(damaged), WireFormatError);
    }
  }
}

TEST("damaged bytes are refused, or are a round with another id") {
  const scheme::Plan plan = make_plan(10, 16);
  const scheme::SecretKey key = make_key();
  const Round round = make_round(plan, key, rich_fields());
  const auto read = [&](const Bytes& bytes) {
    const Round other = Round::from_bytes(bytes);
    CHECK(other.id() != round.id());
    return other.to_bytes();
  };
  // Everything up to the public key bit by bit; the key sampled.
  const std::size_t fields = round.to_bytes().size() - 20 - scheme::kPublicKeyBytes;
  const DamageReport flips = flip_every_byte(round.to_bytes(), read, fields, 97);
  CHECK(flips.accepted > 100 && flips.refused > 100);
  cut_everywhere(round.to_bytes(), read, 97);
}

/// Rounds of every authority and reader that there is, all with a roster of three.
std::vector<Round> rounds_of_every_authority() {
  const scheme::Plan plan = make_plan(10, 16);
  RoundFields fields = fields_of({{100, 1.0}, {33, 0.25}}, 2);
  fields.layout = "{}";
  fields.roster = mixed_roster(3);
  const scheme::Committee clients(fields.roster, 2), others = make_committee(5, 3, true);
  std::vector<Round> rounds;
  for (const bool steps : {false, true}) {
    if (steps) fields.step = step_of(3);
    fields.group.reset();
    fields.reader.reset();
    rounds.push_back(Round(plan, make_key().public_key(), fields, bytes32(1)));
    fields.reader = fake_identity(6000, scheme::SignatureKind::kPostQuantum);
    rounds.push_back(Round(plan, clients, fields, bytes32(1)));
    rounds.push_back(Round(plan, others, fields, bytes32(1)));
    fields.reader.reset();
    fields.group = fake_group();
    rounds.push_back(Round(plan, make_key().public_key(), fields, bytes32(1)));
    rounds.push_back(Round(plan, clients, fields, bytes32(1)));
    rounds.push_back(Round(plan, others, fields, bytes32(1)));
  }
  return rounds;
}

TEST("rounds of every authority and reader go to bytes and back, as the wire format says") {
  std::set<Digest> ids;
  for (const Round& round : rounds_of_every_authority()) {
    ids.insert(round.id());
    ByteWriter out;
    round.cipher().write_fields(out);
    out.raw(round.seed());
    out.u8(0);
    out.u32(2);
    out.u32(2);
    out.u32(2);
    for (const scheme::Segment& segment : round.segments()) {
      out.u64(segment.count);
      out.f64(segment.limit);
    }
    out.u32(2);
    out.text("{}");
    out.u32(3);
    for (const scheme::PublicIdentity& client : round.roster()) out.raw(client.fields());
    const scheme::Committee* committee = round.committee();
    if (committee == nullptr) {
      out.u8(1);
      out.raw(payload_of(round.public_key().to_bytes()));
    } else {
      out.u8(2);
      out.u32(committee->threshold());
      const bool listed = committee->size() != 3;
      out.u32(listed ? committee->size() : 0);
      for (const scheme::PublicIdentity& member : committee->members()) {
        if (listed) out.raw(member.fields());
      }
    }
    out.u8(round.group() ? 1 : round.reader() ? 2 : 0);
    if (round.group()) {
      out.raw(round.group()->tag_key);
      out.raw(round.group()->reading_key);
    }
    if (round.reader()) out.raw(round.reader()->fields());
    out.u8(round.step() ? 1 : 0);
    if (round.step()) {
      out.raw(round.step()->training);
      out.u64(3);
      out.u8(6);
      out.text("update");
      out.raw(round.step()->history);
    }
    const Bytes bytes = round.to_bytes();
    CHECK_EQ(bytes, envelope_of(4, out.bytes()));
    CHECK(round.id() == ring::labelled_hash("veilsum/2/round", {out.bytes()}));
    const Round again = Round::from_bytes(bytes);
    CHECK(again.id() == round.id());
    CHECK(again.to_bytes() == bytes);
    CHECK(again.group() == round.group());
    CHECK(again.reader() == round.reader());
    CHECK(again.step() == round.step());
    CHECK_EQ(again.committee() == nullptr, committee == nullptr);
    if (committee != nullptr) CHECK(*again.committee() == *committee);
    // A tag is in place of check blocks.
    CHECK_EQ(round.tagged(), round.group().has_value());
    CHECK_EQ(round.check_blocks(), round.tagged() ? 0u : 2u);
  }
  CHECK_EQ(ids.size(), 12u);
}

TEST("the id changes with everything about authority, reader and step") {
  const scheme::Plan plan = make_plan(10, 16);
  RoundFields base = fields_of({{100, 1.0}});
  base.roster = fake_roster(3);
  base.step = step_of(3);
  RoundFields grouped = base, served = base;
  grouped.group = fake_group();
  served.reader = fake_identity(6000);
  std::set<Digest> ids;
  std::size_t made = 0;
  const auto add = [&](scheme::Authority authority, const RoundFields& fields, auto change) {
    RoundFields other = fields;
    change(other);
    ids.insert(Round(plan, std::move(authority), other, bytes32(1)).id());
    ++made;
  };
  const auto nothing = [](RoundFields&) {};
  add(make_key().public_key(), base, nothing);
  add(make_key().public_key(), grouped, nothing);
  add(make_committee(4, 3), grouped, nothing);
  add(make_committee(4, 4), grouped, nothing);
  add(make_committee(5, 3), grouped, nothing);
  add(make_committee(4, 3, true), grouped, nothing);
  add(scheme::Committee(base.roster, 2), grouped, nothing);
  add(scheme::Committee({base.roster[1], base.roster[0], base.roster[2]}, 2), grouped, nothing);
  add(make_committee(4, 3), grouped, [](RoundFields& f) { f.group->tag_key[31] ^= 1; });
  add(make_committee(4, 3), grouped, [](RoundFields& f) { f.group = fake_group(2); });
  add(make_committee(4, 3), served, nothing);
  add(make_committee(4, 3), served, [](RoundFields& f) { f.reader = fake_identity(6001); });
  add(make_committee(4, 3), grouped, [](RoundFields& f) { f.step.reset(); });
  add(make_committee(4, 3), grouped, [](RoundFields& f) { f.step->training[0] ^= 1; });
  add(make_committee(4, 3), grouped, [](RoundFields& f) { ++f.step->step; });
  add(make_committee(4, 3), grouped, [](RoundFields& f) { f.step->purpose = "updatf"; });
  add(make_committee(4, 3), grouped, [](RoundFields& f) { f.step->purpose = "updat"; });
  add(make_committee(4, 3), grouped, [](RoundFields& f) { f.step->history[31] ^= 1; });
  CHECK_EQ(ids.size(), made);
}

TEST("authorities, readers, rosters, weights and engines that do not go together") {
  const scheme::Plan plan = make_plan(10, 16), weighted = make_plan(10, 16, 1);
  RoundFields base = fields_of({{100, 1.0}});
  base.roster = fake_roster(3);
  const scheme::PublicKey holder = make_key().public_key();
  const scheme::Committee committee = make_committee(4, 3);
  // Everything that may and may not be, each with everything else.
  for (int bits = 0; bits < 32; ++bits) {
    const bool shared = (bits & 1) != 0, roster = (bits & 2) != 0, group = (bits & 4) != 0,
               reader = (bits & 8) != 0, weights = (bits & 16) != 0;
    RoundFields fields = base;
    if (!roster) fields.roster.clear();
    if (group) fields.group = fake_group();
    if (reader) fields.reader = fake_identity(6000);
    const auto make = [&] {
      return Round(weights ? weighted : plan,
                   shared ? scheme::Authority(committee) : scheme::Authority(holder), fields,
                   bytes32(1));
    };
    std::string why;
    if (shared && !roster) {
      why = "a committee opens rounds with a roster only";
    } else if (group && !roster) {
      why = "a group is the clients of a roster";
    } else if (shared && group == reader) {
      why = "sealed to one reader";
    } else if (!shared && reader) {
      why = "reader= is for rounds of a committee";
    } else if ((shared || group) && weights) {
      why = "sum with equal weights only";
    }
    if (why.empty()) {
      CHECK(Round::from_bytes(make().to_bytes()).id() == make().id());
    } else {
      CHECK_THROWS_WITH(make(), RoundError, why);
    }
  }
  // Other engines have neither.
  RoundFields served = base, grouped = base;
  served.reader = fake_identity(6000);
  grouped.group = fake_group();
  const scheme::SecretKey toy = make_toy_key();
  CHECK_THROWS_WITH(Round(toy_cipher(), committee, served), RoundError, "use the native engine");
  CHECK_THROWS_WITH(Round(toy_cipher(), committee, grouped), RoundError, "use the native engine");
  CHECK_THROWS_WITH(Round(toy_cipher(), toy.public_key(), grouped), RoundError,
                    "use the native engine");
  CHECK(Round(toy_cipher(), toy.public_key(), base).committee() == nullptr);
  // Who asks the wrong authority is told the other.
  const Round round(plan, committee, served);
  CHECK_THROWS_WITH(round.public_key(), RoundError, "committee of 4 members");
}

TEST("a group's reading key that anybody could read with is refused, made or read") {
  const scheme::Plan plan = make_plan(10, 16);
  RoundFields fields = fields_of({{100, 1.0}});
  fields.roster = fake_roster(3);
  fields.group = fake_group();
  const Round good(plan, make_committee(4, 3), fields, bytes32(1));
  Bytes bytes = good.to_bytes();
  const auto at = std::search(bytes.begin(), bytes.end(), fields.group->reading_key.begin(),
                              fields.group->reading_key.end());
  CHECK(at != bytes.end());
  const auto refused = [&](std::size_t from, std::size_t count, std::uint8_t fill) {
    RoundFields weak = fields;
    std::fill_n(weak.group->reading_key.begin() + static_cast<std::ptrdiff_t>(from), count, fill);
    CHECK_THROWS_WITH(Round(plan, make_committee(4, 3), weak), ParameterError,
                      "the group's reading key");
    CHECK_THROWS_WITH(Round(plan, make_key().public_key(), weak), ParameterError,
                      "the group's reading key");
    Bytes damaged = bytes;
    std::copy(weak.group->reading_key.begin(), weak.group->reading_key.end(),
              damaged.begin() + (at - bytes.begin()));
    repair_checksum(damaged);
    CHECK_THROWS_WITH(Round::from_bytes(damaged), WireFormatError, "the group's reading key");
  };
  refused(0, 1152, 0);      // coefficients that are all 0
  refused(3, 3, 0xff);      // a coefficient of 4095
  refused(1184, 32, 0);     // a point of low order
  refused(1184, 32, 0xff);  // no coordinate below p
}

TEST("purposes: 1 to 64 characters of printable ASCII without spaces") {
  const scheme::Plan plan = make_plan(10, 16);
  const auto make = [&](const std::string& purpose) {
    RoundFields fields = fields_of({{100, 1.0}});
    fields.step = step_of(1);
    fields.step->purpose = purpose;
    return Round(plan, make_key().public_key(), fields, bytes32(1));
  };
  for (const std::string& purpose :
       {std::string("u"), std::string("!~"), std::string(64, 'p'), std::string("a/b:c")}) {
    const Round round = make(purpose);
    CHECK(Round::from_bytes(round.to_bytes()).step()->purpose == purpose);
  }
  const Bytes good = make("p").to_bytes();
  const std::size_t purpose_at = good.size() - kTrailerBytes - 32 - 1;
  for (const std::string& purpose :
       {std::string(), std::string(65, 'p'), std::string("a b"), std::string(" "),
        std::string("\t"), std::string(1, '\0'), std::string("\x7f"), std::string("\xc3\xa9")}) {
    CHECK_THROWS_WITH(make(purpose), ParameterError, "a step's purpose has 1 ... 64");
    Bytes payload = payload_of(good);
    const auto place = payload.begin() + static_cast<std::ptrdiff_t>(purpose_at - kHeaderBytes);
    *(place - 1) = static_cast<std::uint8_t>(purpose.size());
    payload.insert(payload.erase(place), purpose.begin(), purpose.end());
    CHECK_THROWS_WITH(Round::from_bytes(envelope_of(4, payload)), WireFormatError,
                      "a step's purpose has 1 ... 64");
  }
}

TEST("authorities and readers in bytes: unknown kinds, and committees that are none") {
  const scheme::Plan plan = make_plan(10, 16);
  RoundFields fields = fields_of({{100, 1.0}});
  fields.roster = fake_roster(3);
  fields.reader = fake_identity(6000);
  const scheme::Committee clients(fields.roster, 2);
  const Round round(plan, clients, fields, bytes32(1));
  const Bytes good = payload_of(round.to_bytes());
  const std::size_t each = fields.roster[0].fields().size();
  // authority (1), threshold (4), count (4), reader (1), identity, step (1)
  const std::size_t authority = good.size() - 1 - each - 1 - 4 - 4 - 1;
  CHECK_EQ(good[authority], 2);
  const auto with = [&](std::size_t at, std::uint32_t value, std::size_t bytes) {
    Bytes payload = good;
    std::memcpy(payload.data() + at, &value, bytes);
    return Round::from_bytes(envelope_of(4, payload)).committee()->threshold();
  };
  CHECK_EQ(with(authority, 2, 1), 2u);
  CHECK_EQ(with(authority + 1, 3, 4), 3u);
  for (const std::uint32_t kind : {0u, 3u, 255u}) {
    CHECK_THROWS_WITH(with(authority, kind, 1), WireFormatError, "authorities of kind");
  }
  for (const std::uint32_t threshold : {0u, 1u, 4u, 0x80000002u, ~0u}) {
    CHECK_THROWS_WITH(with(authority + 1, threshold, 4), WireFormatError, "threshold");
  }
  for (const std::uint32_t count : {1000u, ~0u}) {
    CHECK_THROWS_WITH(with(authority + 5, count, 4), WireFormatError, "more identities than bytes");
  }
  for (const std::uint32_t kind : {3u, 255u}) {
    CHECK_THROWS_WITH(with(authority + 9, kind, 1), WireFormatError, "readers of kind");
  }
  for (const std::uint32_t flag : {2u, 255u}) {
    CHECK_THROWS_WITH(with(good.size() - 1, flag, 1), WireFormatError, "neither 0 nor 1");
  }
  // The clients listed again as members: one round, one id.
  Bytes listed = good;
  const std::uint32_t three = 3;
  std::memcpy(listed.data() + authority + 5, &three, 4);
  Bytes members;
  for (const scheme::PublicIdentity& client : fields.roster) {
    members.insert(members.end(), client.fields().begin(), client.fields().end());
  }
  listed.insert(listed.begin() + static_cast<std::ptrdiff_t>(authority + 9), members.begin(),
                members.end());
  CHECK_THROWS_WITH(Round::from_bytes(envelope_of(4, listed)), WireFormatError, "listed again");
  // In another order they are another committee.
  std::swap_ranges(listed.begin() + static_cast<std::ptrdiff_t>(authority + 9),
                   listed.begin() + static_cast<std::ptrdiff_t>(authority + 9 + each),
                   listed.begin() + static_cast<std::ptrdiff_t>(authority + 9 + each));
  const Round other = Round::from_bytes(envelope_of(4, listed));
  CHECK(other.id() != round.id());
  CHECK_EQ(other.committee()->size(), 3u);
  // Two members with one key.
  std::copy_n(listed.begin() + static_cast<std::ptrdiff_t>(authority + 9),
              static_cast<std::ptrdiff_t>(each),
              listed.begin() + static_cast<std::ptrdiff_t>(authority + 9 + each));
  CHECK_THROWS_WITH(Round::from_bytes(envelope_of(4, listed)), WireFormatError,
                    "members 0 and 1 of the committee");
  for (const Round& each_round : rounds_of_every_authority()) {
    const auto read = [&](const Bytes& damaged) {
      const Round read_round = Round::from_bytes(damaged);
      CHECK(read_round.id() != each_round.id());
      return read_round.to_bytes();
    };
    flip_every_byte(each_round.to_bytes(), read, 16, 41);
    cut_everywhere(each_round.to_bytes(), read, 211);
  }
}

}  // namespace
}  // namespace veilsum::test
