// Layer: tests (scheme). A round's id changes with everything that must agree between its parties;
// its fields have edges on both sides; its bytes are read back whole or refused.
#include "scheme/round.h"

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "check.h"
#include "ring/expander.h"
#include "ring/sha256.h"
#include "support/damage.h"
#include "support/envelopes.h"
#include "support/rounds.h"
#include "support/signatures.h"
#include "veilsum/errors.h"

namespace veilsum::test {
namespace {

using scheme::Round;
using scheme::RoundFields;

RoundFields rich_fields() {
  RoundFields fields = fields_of({{100, 1.0}, {0, 2.0}, {33, 0.25}});
  fields.layout = "{\"names\":[\"a\",\"b\",\"c\"]}";
  fields.min_clients = 3;
  fields.roster = fake_roster(5);
  return fields;
}

bool same_key(const isa::AesKey& a, const isa::AesKey& b) {
  return a.rounds == b.rounds && std::memcmp(a.bytes, b.bytes, sizeof a.bytes) == 0;
}

TEST("the id is the hash of the payload, which lies as the wire format says") {
  const scheme::Plan plan = make_plan(10, 16);
  const scheme::SecretKey key = make_key(plan);
  const RoundFields fields = rich_fields();
  const Round round(plan, key.public_key(), fields, bytes32(5));
  ByteWriter out;
  plan.write_fields(out);
  out.raw(bytes32(5));
  out.u32(3);
  out.u32(3);
  for (const scheme::Segment& segment : fields.segments) {
    out.u64(segment.count);
    out.f64(segment.limit);
  }
  out.u32(static_cast<std::uint32_t>(fields.layout.size()));
  out.text(fields.layout);
  out.u32(5);
  for (const scheme::VerificationKey& entry : fields.roster) out.raw(entry);
  out.raw(payload_of(key.public_key().to_bytes()));
  CHECK_EQ(round.to_bytes(), envelope_of(4, out.bytes()));
  CHECK(round.id() == ring::labelled_hash("veilsum/1/round", {out.bytes()}));
  const ring::Expander matrix("veilsum/1/matrix", {}, bytes32(5), ring::KeySize::kAes128);
  CHECK(same_key(round.matrix_key(), matrix.key()));
}

TEST("the id changes with every field, and only with them") {
  const scheme::Plan plan = make_plan(10, 16);
  const scheme::SecretKey key = make_key(plan, 1), other_key = make_key(plan, 2);
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
  with([](RoundFields& f) { f.min_clients = 2; });
  with([](RoundFields& f) { f.min_clients = 5; });
  with([](RoundFields& f) { f.roster.clear(); });
  with([](RoundFields& f) { f.roster.pop_back(); });
  with([](RoundFields& f) { f.roster[4][0] ^= 1; });
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
  const scheme::SecretKey key = make_key(plan);
  const std::uint64_t capacity = plan.block_capacity();
  const Round round =
      make_round(plan, key, fields_of({{0, 1.0}, {5, 1.0}, {0, 1.0}, {capacity, 2.0}, {0, 1.0}}));
  CHECK_EQ(round.size(), capacity + 5);
  CHECK_EQ(round.starts(), (std::vector<std::uint64_t>{0, 0, 5, 5, capacity + 5, capacity + 5}));
  CHECK_EQ(round.blocks(), 2u);
  CHECK_EQ(round.block_values(0), capacity);
  CHECK_EQ(round.block_values(1), 5u);
  CHECK_EQ(round.payload_bytes(), plan.block_bytes(capacity) + plan.block_bytes(5));
  CHECK_EQ(round.segment_of(0), 1u);
  CHECK_EQ(round.segment_of(4), 1u);
  CHECK_EQ(round.segment_of(5), 3u);
  CHECK_EQ(round.segment_of(capacity + 4), 3u);
  CHECK_EQ(round.min_clients(), 2u);
  CHECK(!round.has_roster());
}

TEST("both edges of every field") {
  const scheme::Plan plan = make_plan(10, 16);
  const scheme::SecretKey key = make_key(plan);
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
  CHECK_EQ(make([&](RoundFields& f) { f.segments = {{kMost - 1, 1.0}, {1, 1.0}}; }).size(), kMost);
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
                    "twice");
}

TEST("a key of another capsule ring is refused") {
  const scheme::Plan plan = make_plan(10, 16), heavy = make_plan(1 << 20, 8),
                     strong = make_plan(10, 16, 0, 192);
  CHECK_THROWS_WITH(make_round(heavy, make_key(plan), 10), KeyMismatchError, "keygen(plan)");
  CHECK_THROWS(make_round(plan, make_key(heavy), 10), KeyMismatchError);
  CHECK_THROWS(make_round(plan, make_key(strong), 10), KeyMismatchError);
  CHECK_THROWS(make_round(strong, make_key(plan), 10), KeyMismatchError);
}

TEST("rounds go to bytes and back") {
  for (const scheme::Plan& plan : plans_of_every_ring()) {
    const scheme::SecretKey key = make_key(plan);
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
    CHECK(again.public_key().id() == key.id());
    CHECK(same_key(again.matrix_key(), round.matrix_key()));
  }
}

TEST("counts of segments, layout bytes and roster entries beyond the bytes are refused") {
  const scheme::Plan plan = make_plan(10, 16);
  const scheme::SecretKey key = make_key(plan);
  const Bytes good = make_round(plan, key, rich_fields()).to_bytes();
  const std::size_t segments_at = 16 + 16 + 32 + 4, layout_at = segments_at + 4 + 3 * 16,
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
  const scheme::SecretKey key = make_key(plan);
  const Round round = make_round(plan, key, rich_fields());
  const auto read = [&](const Bytes& bytes) {
    const Round other = Round::from_bytes(bytes);
    CHECK(other.id() != round.id());
    return other.to_bytes();
  };
  // Everything up to the key's seed bit by bit; the key's residues sampled.
  const std::size_t fields = round.to_bytes().size() - 20 - 2048 / 8 * 50 - 32;
  const DamageReport flips = flip_every_byte(round.to_bytes(), read, fields, 499);
  CHECK(flips.accepted > 100 && flips.refused > 100);
  cut_everywhere(round.to_bytes(), read, 499);
}

}  // namespace
}  // namespace veilsum::test
