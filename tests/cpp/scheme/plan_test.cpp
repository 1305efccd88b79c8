// Layer: tests (scheme). Plans. The bounds that make decryption exact are derived here a second
// time, in unbounded integers, and held against every plan of a large grid of requests; where the
// planner refuses, no ring may fit by these bounds either, and the remedy it names must work.
#include "scheme/plan.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>
#include <vector>

#include "check.h"
#include "ring/primes.h"
#include "ring/sha256.h"
#include "support/big_integer.h"
#include "support/envelopes.h"
#include "support/random.h"
#include "support/rounds.h"
#include "veilsum/errors.h"

namespace veilsum::test {
namespace {

using scheme::Optimise;
using scheme::Plan;
using scheme::PlanRequest;

constexpr std::uint64_t kBound = 21;

struct RingRow {
  const char* name;
  std::uint32_t degree, limbs;
};
constexpr RingRow kRings[] = {
    {"n2048", 2048, 1},    {"n4096", 4096, 2},     {"n8192", 8192, 4},
    {"n4096q50", 4096, 1}, {"n8192q100", 8192, 2}, {"n16384q200", 16384, 4},
};

const RingRow& ring_named(const std::string& name) {
  for (const RingRow& ring : kRings) {
    if (name == ring.name) return ring;
  }
  throw std::logic_error("no ring " + name);
}

/// log2 Q that N may carry, written out again from DESIGN.md section 3.
std::uint32_t limit_of(std::uint32_t degree, std::uint64_t security) {
  const int column = degree == 2048 ? 0 : degree == 4096 ? 1 : degree == 8192 ? 2 : 3;
  constexpr std::uint32_t k128[] = {53, 106, 214, 430}, k192[] = {36, 73, 147, 297},
                          k256[] = {27, 56, 114, 230};
  return (security == 128 ? k128 : security == 192 ? k192 : k256)[column];
}

const BigInteger& modulus_of(std::uint32_t limbs) {
  static const std::vector<BigInteger> all = [] {
    std::vector<BigInteger> out = {BigInteger(1)};
    for (const std::uint64_t p : ring::kPrimes) out.push_back(out.back() * BigInteger(p));
    return out;
  }();
  return all[limbs];
}

/// floor(Q / 2^bits) >= 2 * noise + 1, that is (2 * noise + 1) * 2^bits <= Q.
bool room_for(std::uint32_t limbs, unsigned bits, const BigInteger& noise) {
  return modulus_of(limbs) >=
         (BigInteger(2) * noise + BigInteger(1)) * BigInteger::power_of_two(bits);
}

/// Bits of the numbers 0 ... top.
unsigned bits_for(std::uint64_t top) {
  unsigned bits = 0;
  while (bits < 64 && top >> bits != 0) ++bits;
  return bits;
}

/// Noise of W fresh capsules, and of the top bits that wrap around 2^bits.
BigInteger capsule_noise(std::uint32_t degree, unsigned bits, std::uint64_t weight) {
  const BigInteger fresh(2 * std::uint64_t{degree} * kBound * kBound + kBound);
  return BigInteger(weight) * (fresh + BigInteger::power_of_two(bits));
}

bool capsule_fits(std::uint32_t degree, std::uint32_t limbs, unsigned lanes, std::uint64_t weight) {
  const unsigned bits = lanes * bits_for(2 * kBound * weight) + 1;
  return bits <= 48 && room_for(limbs, bits, capsule_noise(degree, bits, weight));
}

bool some_capsule_fits(std::uint64_t security, std::uint64_t weight) {
  const std::uint32_t degree = security == 128 ? 2048 : 4096;
  return capsule_fits(degree, 1, 1, weight) || capsule_fits(2 * degree, 2, 1, weight);
}

bool blocks_fit(const RingRow& ring, unsigned lanes, const PlanRequest& request) {
  const std::uint64_t weight = request.clients << request.weight_bits;
  const unsigned w = bits_for(weight * ((std::uint64_t{1} << request.value_bits) - 1));
  if (w > 48) return false;
  const unsigned per_plane = 48 / w;
  return (lanes + per_plane - 1) / per_plane <= 8 &&
         room_for(ring.limbs, lanes * w, BigInteger(kBound * weight));
}

bool secure(const RingRow& ring, std::uint64_t security) {
  return 50 * ring.limbs <= limit_of(ring.degree, security);
}

/// A ring that the request may use holds it with one lane at least.
bool admissible(const PlanRequest& request) {
  const std::uint64_t weight = request.clients << request.weight_bits;
  if (weight > std::uint64_t{1} << 20 || !some_capsule_fits(request.security, weight)) return false;
  for (const RingRow& ring : kRings) {
    if (request.profile != "auto" && request.profile != ring.name) continue;
    if (secure(ring, request.security) && blocks_fit(ring, 1, request)) return true;
  }
  return false;
}

void check_bounds(const Plan& plan, const PlanRequest& request) {
  const RingRow& ring = ring_named(plan.profile());
  const std::uint64_t weight = request.clients << request.weight_bits;
  CHECK(request.profile == "auto" || request.profile == plan.profile());
  CHECK_EQ(plan.clients(), request.clients);
  CHECK_EQ(plan.value_bits(), request.value_bits);
  CHECK_EQ(plan.weight_bits(), request.weight_bits);
  CHECK_EQ(plan.security(), request.security);
  CHECK_EQ(plan.degree(), ring.degree);
  CHECK_EQ(plan.limbs(), ring.limbs);
  CHECK_EQ(plan.log2_modulus(), 50 * ring.limbs);
  CHECK(secure(ring, request.security));
  CHECK_EQ(plan.max_weight(), weight);
  CHECK_EQ(plan.noise_bound(), kBound * weight);
  CHECK_EQ(plan.levels(), (std::int64_t{1} << (request.value_bits - 1)) - 1);

  // Lanes: wide enough for the largest sum, no wider; as many as the bound allows, no more.
  const std::uint64_t largest = weight * ((std::uint64_t{1} << request.value_bits) - 1);
  CHECK_EQ(plan.lane_bits(), bits_for(largest));
  CHECK(blocks_fit(ring, plan.lanes(), request));
  CHECK(!blocks_fit(ring, plan.lanes() + 1, request));
  CHECK_EQ(plan.lanes_per_plane(), std::min(plan.lanes(), 48 / plan.lane_bits()));
  CHECK_EQ(plan.codeword().planes(),
           (plan.lanes() + plan.lanes_per_plane() - 1) / plan.lanes_per_plane());
  BigInteger delta;
  for (unsigned i = 4; i-- > 0;) {
    delta = delta * BigInteger::power_of_two(52) + BigInteger(plan.codeword().delta().word52(i));
  }
  CHECK_EQ(delta, modulus_of(ring.limbs).shifted_right(plan.lanes() * plan.lane_bits()));
  CHECK(delta >= BigInteger(2 * kBound * weight + 1));

  // The capsule: the small ring where it fits, and as many lanes as fit, up to one ciphertext.
  const scheme::CapsuleShape& shape = plan.capsule();
  const std::uint32_t small = request.security == 128 ? 2048 : 4096;
  const bool fits_small = capsule_fits(small, 1, 1, weight);
  CHECK_EQ(shape.degree, fits_small ? small : 2 * small);
  CHECK_EQ(shape.limbs, fits_small ? 1u : 2u);
  CHECK(50 * shape.limbs <= limit_of(shape.degree, request.security));
  CHECK_EQ(shape.lane_bits, bits_for(2 * kBound * weight));
  CHECK_EQ(shape.message_bits, shape.lanes * shape.lane_bits + 1);
  CHECK(capsule_fits(shape.degree, shape.limbs, shape.lanes, weight));
  const std::uint32_t wanted = std::max(1u, ring.degree / shape.degree);
  CHECK(shape.lanes <= wanted);
  CHECK(shape.lanes == wanted || !capsule_fits(shape.degree, shape.limbs, shape.lanes + 1, weight));
  const std::uint32_t held = shape.degree * shape.lanes;
  CHECK(shape.ciphertexts * held >= ring.degree);
  CHECK((shape.ciphertexts - 1) * held < ring.degree);
  CHECK_EQ(shape.bytes, std::size_t{2} * shape.ciphertexts * shape.limbs * shape.degree * 50 / 8);
  CHECK(shape.ciphertexts <= 256);  // a stream's sub field has eight bits
}

/// The request that a HeadroomError tells the user to make instead.
std::optional<PlanRequest> remedy_in(const std::string& message, PlanRequest request) {
  request.profile = "auto";
  if (message.find("leave profile at \"auto\"") != std::string::npos) return request;
  const std::size_t at = message.find("nearest plan that fits: ");
  if (at == std::string::npos) return std::nullopt;
  unsigned clients = 0, value_bits = 0, weight_bits = 0;
  const int found = std::sscanf(message.c_str() + at,
                                "nearest plan that fits: %u clients at %u bits with %u-bit weights",
                                &clients, &value_bits, &weight_bits);
  if (found < 2) return std::nullopt;
  request.clients = clients;
  request.value_bits = value_bits;
  request.weight_bits = weight_bits;
  return request;
}

/// Holds the rings, so that a grid of plans does not make their tables over and over.
std::vector<std::shared_ptr<const ring::Ring>> keep_rings() {
  std::vector<std::shared_ptr<const ring::Ring>> out;
  for (const RingRow& row : kRings) out.push_back(ring::Ring::get(row.degree, row.limbs));
  return out;
}

TEST("a grid of requests: bounds hold where there is a plan, and only there; remedies work") {
  const auto rings = keep_rings();
  Random random(1);
  std::size_t plans = 0, refused = 0, insecure = 0;
  for (const std::uint64_t clients :
       {2u, 3u, 7u, 8u, 10u, 100u, 1000u, 1024u, 24937u, 32768u, (1u << 20) - 1, 1u << 20}) {
    for (std::uint64_t value_bits = 2; value_bits <= 32; ++value_bits) {
      for (const std::uint64_t weight_bits : {0u, 1u, 5u, 10u, 19u, 20u}) {
        for (const std::uint64_t security : {128u, 192u, 256u}) {
          // Of the profiles, "auto" always and one named ring, a different one every time.
          for (const std::string& profile :
               {std::string("auto"), std::string(kRings[random.below(6)].name)}) {
            if (random.below(2) != 0) continue;
            PlanRequest request = request_of(clients, value_bits, weight_bits, security, profile);
            request.optimise = random.below(2) == 0 ? Optimise::kSpeed : Optimise::kSize;
            try {
              const Plan plan(request);
              ++plans;
              CHECK(admissible(request));
              check_bounds(plan, request);
            } catch (const HeadroomError& error) {
              ++refused;
              CHECK(!admissible(request));
              const auto remedy = remedy_in(error.what(), request);
              if (!remedy) {
                CHECK_EQ(std::string(error.what()), "a message that names a plan");
                continue;
              }
              const Plan plan(*remedy);
              CHECK(plan.max_weight() <= clients << weight_bits);
              CHECK(plan.value_bits() <= value_bits);
            } catch (const ParameterError&) {
              ++insecure;
              CHECK(profile != "auto" && !secure(ring_named(profile), security));
            }
          }
        }
      }
    }
  }
  CHECK(plans > 400 && refused > 400 && insecure > 100);
}

TEST("DESIGN's example: 16 bits, 10 clients") {
  const Plan plan = make_plan(10, 16);
  CHECK_EQ(plan.profile(), "n2048");
  CHECK_EQ(plan.lane_bits(), 20u);
  CHECK_EQ(plan.lanes(), 2u);
  CHECK_EQ(plan.bits_per_value(), 25.0);
  CHECK_EQ(plan.max_weight(), 10u);
  CHECK_EQ(plan.noise_bound(), 210u);
  CHECK_EQ(plan.capsule().degree, 2048u);
  CHECK_EQ(plan.capsule().limbs, 1u);
  CHECK_EQ(plan.capsule().bytes, 25600u);
  CHECK_EQ(plan.block_capacity(), 4096u);
  const std::string text = plan.explain();
  for (const char* part : {"10 clients", "16-bit", "n2048", "3.125 bytes", "0.78 x fp32",
                           "1.56 x bf16", "25600 bytes", "failure probability 0", "log2 q <= 53"}) {
    if (text.find(part) == std::string::npos) CHECK_EQ(text, std::string("... ") + part);
  }
}

TEST("speed takes n2048, size takes n8192") {
  PlanRequest request = request_of(10, 16);
  CHECK_EQ(Plan(request).profile(), "n2048");
  request.optimise = Optimise::kSize;
  const Plan small(request);
  CHECK_EQ(small.profile(), "n8192");
  CHECK_EQ(small.lanes(), 9u);
  CHECK(small.bits_per_value() < 22.3);
  // Size is what it says, over the whole range: no other ring gives fewer bits a value.
  const auto rings = keep_rings();
  for (const std::uint64_t security : {128u, 192u, 256u}) {
    for (std::uint64_t value_bits = 2; value_bits <= 32; value_bits += 3) {
      for (const std::uint64_t clients : {2u, 50u, 3000u}) {
        request = request_of(clients, value_bits, 0, security);
        request.optimise = Optimise::kSize;
        const double best = Plan(request).bits_per_value();
        for (const RingRow& ring : kRings) {
          request.profile = ring.name;
          if (secure(ring, security) && admissible(request)) {
            CHECK(Plan(request).bits_per_value() >= best);
          }
        }
      }
    }
  }
}

TEST("at 192 and 256 bits the degree doubles for the same modulus") {
  for (const std::uint64_t security : {192u, 256u}) {
    CHECK_EQ(make_plan(10, 16, 0, security).profile(), "n4096q50");
    CHECK_THROWS_WITH(make_plan(10, 16, 0, security, "n2048"), ParameterError, "auto");
    CHECK_THROWS(make_plan(10, 16, 0, security, "n4096"), ParameterError);
    CHECK_THROWS(make_plan(10, 16, 0, security, "n8192"), ParameterError);
    CHECK_EQ(make_plan(10, 16, 0, security, "n8192q100").degree(), 8192u);
    CHECK_EQ(make_plan(10, 16, 0, security, "n16384q200").degree(), 16384u);
  }
  CHECK_EQ(make_plan(10, 16, 0, 128, "n4096q50").degree(), 4096u);  // by name also at 128 bits
}

TEST("both edges of every argument") {
  for (const std::uint64_t clients : {0ull, 1ull, (1ull << 20) + 1, ~0ull}) {
    CHECK_THROWS_WITH(make_plan(clients, 8), ParameterError, "clients = ");
  }
  CHECK_EQ(make_plan(2, 8).clients(), 2u);
  CHECK_EQ(make_plan(1 << 20, 8).clients(), 1u << 20);
  for (const std::uint64_t bits : {0ull, 1ull, 33ull, ~0ull}) {
    CHECK_THROWS_WITH(make_plan(10, bits), ParameterError, "value_bits = ");
  }
  CHECK_EQ(make_plan(10, 2).levels(), 1);
  CHECK_EQ(make_plan(10, 32).levels(), (std::int64_t{1} << 31) - 1);
  for (const std::uint64_t bits : {21ull, 64ull, 256ull, ~0ull}) {
    CHECK_THROWS_WITH(make_plan(2, 8, bits), ParameterError, "weight_bits = ");
  }
  CHECK_EQ(make_plan(2, 8, 19).max_weight(), 1u << 20);
  CHECK_THROWS_WITH(make_plan(2, 8, 20), HeadroomError, "total weight");
  for (const std::uint64_t security : {0ull, 1ull, 127ull, 129ull, 384ull, 1ull << 32 | 128}) {
    CHECK_THROWS_WITH(make_plan(10, 16, 0, security), ParameterError, "security = ");
  }
  CHECK_THROWS_WITH(make_plan(10, 16, 0, 128, "n1024"), ParameterError, "n16384q200");
  CHECK_THROWS(make_plan(10, 16, 0, 128, ""), ParameterError);
  CHECK_THROWS(make_plan(10, 16, 0, 128, "N2048"), ParameterError);
}

TEST("a refusal says what was asked, why not, and what would fit") {
  CHECK_THROWS_WITH(make_plan(1 << 20, 32), HeadroomError, "1048576 clients at 32 bits");
  CHECK_THROWS_WITH(make_plan(1 << 20, 32), HeadroomError, "a lane needs 52 bits");
  CHECK_THROWS_WITH(make_plan(1 << 20, 32), HeadroomError,
                    "nearest plan that fits: 1048576 clients at 28 bits");
  CHECK_THROWS_WITH(make_plan(1 << 20, 32, 20), HeadroomError, "nearest plan that fits");
  CHECK_THROWS_WITH(make_plan(1000, 24, 5, 128, "n2048"), HeadroomError, "\"auto\"");
}

TEST("blocks: every size gets a multiple of eight coefficients, at most N, and bytes to match") {
  for (const Plan& plan : plans_of_every_ring()) {
    const std::uint64_t capacity = plan.block_capacity();
    CHECK_EQ(capacity, std::uint64_t{plan.degree()} * plan.lanes());
    CHECK_EQ(plan.block_coefficients(capacity), plan.degree());
    CHECK_EQ(plan.block_count(0), 0u);
    CHECK_EQ(plan.payload_bytes(0), 0u);
    for (std::uint64_t values = 1; values <= capacity; values += 1 + values / 5) {
      const std::uint32_t coefficients = plan.block_coefficients(values);
      CHECK_EQ(coefficients % 8, 0u);
      CHECK(coefficients <= plan.degree());
      CHECK(std::uint64_t{coefficients} * plan.lanes() >= values);
      CHECK(std::uint64_t{coefficients - 8} * plan.lanes() < values);
      CHECK_EQ(plan.block_bytes(values), std::size_t{coefficients} * 50 / 8 * plan.limbs());
    }
    for (const std::uint64_t values : {std::uint64_t{1}, capacity - 1, capacity, capacity + 1,
                                       3 * capacity, 3 * capacity + 9, std::uint64_t{1} << 40}) {
      std::uint64_t expected = values / capacity * plan.block_bytes(capacity);
      if (values % capacity != 0) expected += plan.block_bytes(values % capacity);
      CHECK_EQ(plan.payload_bytes(values), expected);
      CHECK_EQ(plan.block_count(values), (values + capacity - 1) / capacity);
    }
  }
}

Bytes fields_of(const Plan& plan) {
  ByteWriter out;
  plan.write_fields(out);
  return out.take();
}

Plan read_back(const Bytes& fields) {
  ByteReader in(fields, "plan");
  Plan plan = Plan::read_fields(in);
  in.finish();
  return plan;
}

TEST("fields: as the wire format lays them out") {
  PlanRequest request = request_of(300, 12, 3, 192, "n8192q100");
  request.optimise = Optimise::kSize;
  const Plan plan(request);
  const Bytes expected = {1,
                          4,
                          12,
                          3,
                          44,
                          1,
                          0,
                          0,
                          192,
                          0,
                          1,
                          static_cast<std::uint8_t>(plan.lanes()),
                          static_cast<std::uint8_t>(plan.lane_bits()),
                          static_cast<std::uint8_t>(plan.capsule().lanes),
                          0,
                          0};
  CHECK_EQ(fields_of(plan), expected);
  CHECK_EQ(expected.size(), Plan::kFieldBytes);
  CHECK(plan.id() == ring::labelled_hash("veilsum/1/plan", {expected}));
}

TEST("fields are read back to the same plan") {
  for (const Plan& plan : plans_of_every_ring()) {
    const Plan again = read_back(fields_of(plan));
    CHECK(again == plan);
    CHECK(again.id() == plan.id());
    CHECK_EQ(again.profile(), plan.profile());
    CHECK_EQ(again.lanes(), plan.lanes());
    CHECK_EQ(again.explain(), plan.explain());
  }
  CHECK(!(make_plan(10, 16) == make_plan(11, 16)));
}

TEST("every change of one byte is refused or another plan, written back the same") {
  const auto rings = keep_rings();
  for (const Plan& plan : {make_plan(10, 16), make_plan(5, 8, 3, 192, "n4096q50")}) {
    const Bytes fields = fields_of(plan);
    std::size_t accepted = 0;
    for (std::size_t at = 0; at < fields.size(); ++at) {
      for (unsigned value = 0; value < 256; ++value) {
        if (fields[at] == value) continue;
        Bytes damaged = fields;
        damaged[at] = static_cast<std::uint8_t>(value);
        try {
          const Plan other = read_back(damaged);
          ++accepted;
          CHECK_EQ(fields_of(other), damaged);
          CHECK(!(other == plan));
        } catch (const WireFormatError&) {
        }
      }
    }
    CHECK(accepted > 0 && accepted < 40);  // a few more clients, another optimise
    for (std::size_t size = 0; size < fields.size(); ++size) {
      CHECK_THROWS(read_back(Bytes(fields.begin(), fields.begin() + static_cast<long>(size))),
                   WireFormatError);
    }
  }
}

}  // namespace
}  // namespace veilsum::test
