// Layer: tests (scheme). Plans. DESIGN's inequality is derived here a second time, as fractions of
// unbounded integers, and every plan of a large grid of requests is held against it: B the smallest
// for its L, L with the fewest bits a value. Where the planner refuses, no digit may fit by this
// inequality either, and the remedy it names must work.
#include "scheme/plan.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "check.h"
#include "ring/primes.h"
#include "ring/sha256.h"
#include "support/big_integer.h"
#include "support/bytes.h"
#include "support/plans.h"
#include "support/random.h"
#include "veilsum/errors.h"

namespace veilsum::test {
namespace {

using scheme::Optimise;
using scheme::Plan;
using scheme::PlanRequest;

struct RingRow {
  const char* name;
  std::uint32_t degree, limbs;
};
constexpr RingRow kRings[] = {
    {"n2048", 2048, 1},    {"n4096", 4096, 2},    {"n8192", 8192, 4},
    {"n4096q48", 4096, 1}, {"n8192q96", 8192, 2}, {"n16384q192", 16384, 4},
};

const RingRow& ring_named(const std::string& name) {
  for (const RingRow& ring : kRings) {
    if (name == ring.name) return ring;
  }
  throw std::logic_error("no ring " + name);
}

/// log2 q that N may carry: the stricter of the two published tables, written out again.
std::uint32_t limit_of(std::uint32_t degree, std::uint64_t security) {
  const int column = degree == 2048 ? 0 : degree == 4096 ? 1 : degree == 8192 ? 2 : 3;
  constexpr std::uint32_t k128[] = {53, 106, 214, 430}, k192[] = {36, 73, 147, 297},
                          k256[] = {27, 56, 114, 230};
  return (security == 128 ? k128 : security == 192 ? k192 : k256)[column];
}

bool secure(const RingRow& ring, std::uint64_t security) {
  return 48 * ring.limbs <= limit_of(ring.degree, security);
}

std::uint64_t weight_of(const PlanRequest& request) {
  return request.clients << request.weight_bits;
}
std::uint64_t base_of(const PlanRequest& request) {
  return weight_of(request) * ((std::uint64_t{1} << request.value_bits) - 1) + 1;
}

/// A non-negative fraction.
struct Fraction {
  BigInteger numerator, denominator;
};

/// 2 noise + 1 = W (1 + 2 eps + 18 2^B / q) + 2 + 2 eps, with everything over q 2^scale.
const Fraction& needed_delta(std::uint32_t limbs, std::uint64_t weight, unsigned bits) {
  static std::map<std::tuple<std::uint32_t, std::uint64_t, unsigned>, Fraction> known;
  Fraction& out = known[{limbs, weight, bits}];
  if (out.denominator == BigInteger(0)) {
    BigInteger q(1);
    for (std::uint32_t i = 0; i < limbs; ++i) q = q * BigInteger(ring::kPrimes[i]);
    const unsigned scale = limbs == 1 ? 119 : 48 * limbs;
    BigInteger eps(limbs);  // over 2^(scale - B)
    if (limbs == 1) {
      const BigInteger delta = BigInteger::power_of_two(48) - q;
      eps = delta * BigInteger::power_of_two(44) +
            delta * delta * (BigInteger::power_of_two(23) + BigInteger(1));
    }
    eps = eps * BigInteger::power_of_two(bits);
    const BigInteger w(weight), one = BigInteger::power_of_two(scale);
    out.numerator = (w + BigInteger(2)) * q * one + BigInteger(2) * (w + BigInteger(1)) * eps * q +
                    BigInteger(18) * w * BigInteger::power_of_two(bits) * one;
    out.denominator = q * one;
  }
  return out;
}

/// floor(2^B / t^L) >= 2 noise + 1. The floor is an integer D, so this says that the smallest
/// integer above or at 2 noise + 1 times t^L is at most 2^B. Compared with a product for D.
bool decodes(std::uint32_t limbs, const PlanRequest& request, unsigned digits, unsigned bits) {
  const BigInteger power = BigInteger(base_of(request)).power(digits);
  if (BigInteger::power_of_two(bits) < power) return false;
  // D by long division: the bits of 2^B / t^L from the top.
  BigInteger rest = BigInteger::power_of_two(bits), quotient;
  for (unsigned bit = bits + 1; bit-- > 0;) {
    if (bit + power.bit_length() > bits + 1) continue;
    const BigInteger part = power * BigInteger::power_of_two(bit);
    if (rest >= part) {
      rest = rest - part;
      quotient = quotient + BigInteger::power_of_two(bit);
    }
  }
  const Fraction& needed = needed_delta(limbs, weight_of(request), bits);
  return quotient * needed.denominator >= needed.numerator;
}

/// The smallest B for L digits; 0 when there is none.
unsigned smallest_bits(std::uint32_t limbs, const PlanRequest& request, unsigned digits) {
  const unsigned length = BigInteger(base_of(request)).power(digits).bit_length();
  for (unsigned bits = length - 1; bits <= 48 * limbs - 2; ++bits) {
    if (decodes(limbs, request, digits, bits)) return bits;
  }
  return 0;
}

/// A ring that the request may use holds it with one digit at least.
bool admissible(const PlanRequest& request) {
  if (weight_of(request) > std::uint64_t{1} << 20) return false;
  return std::any_of(std::begin(kRings), std::end(kRings), [&](const RingRow& ring) {
    return (request.profile == "auto" || request.profile == ring.name) &&
           secure(ring, request.security) && smallest_bits(ring.limbs, request, 1) != 0;
  });
}

void check_bounds(const Plan& plan, const PlanRequest& request) {
  const RingRow& ring = ring_named(plan.profile());
  const std::uint64_t weight = weight_of(request);
  CHECK(request.profile == "auto" || request.profile == plan.profile());
  CHECK_EQ(plan.clients(), request.clients);
  CHECK_EQ(plan.value_bits(), request.value_bits);
  CHECK_EQ(plan.weight_bits(), request.weight_bits);
  CHECK_EQ(plan.security(), request.security);
  CHECK_EQ(plan.degree(), ring.degree);
  CHECK_EQ(plan.limbs(), ring.limbs);
  CHECK_EQ(plan.log2_modulus(), 48 * ring.limbs);
  CHECK(secure(ring, request.security));
  CHECK_EQ(plan.max_weight(), weight);
  CHECK_EQ(plan.levels(), (std::int64_t{1} << (request.value_bits - 1)) - 1);
  CHECK_EQ(plan.base(), base_of(request));

  // B is the smallest for its L, and no other L gives fewer bits a value, nor more digits the same.
  CHECK_EQ(plan.field_bits(), smallest_bits(ring.limbs, request, plan.digits()));
  CHECK(plan.field_bits() <= 48 * ring.limbs - 2);
  for (unsigned digits = 1;; ++digits) {
    const unsigned bits = smallest_bits(ring.limbs, request, digits);
    if (bits == 0) break;
    const unsigned theirs = bits * plan.digits(), ours = plan.field_bits() * digits;
    CHECK(theirs > ours || (theirs == ours && digits <= plan.digits()));
  }
  CHECK_EQ(plan.bits_per_value(), double(plan.field_bits()) / plan.digits());

  // Delta, and the noise that is away from half of it by at least one half.
  const Fraction& needed = needed_delta(ring.limbs, weight, plan.field_bits());
  const BigInteger power = BigInteger(plan.base()).power(plan.digits());
  const BigInteger delta(plan.delta().low64());
  CHECK(plan.delta().bit_length() <= 64);
  CHECK(BigInteger::power_of_two(plan.field_bits()) >= delta * power);
  CHECK(BigInteger::power_of_two(plan.field_bits()) < (delta + BigInteger(1)) * power);
  CHECK(delta * needed.denominator >= needed.numerator);
  const std::uint64_t noise = plan.noise_bound();
  CHECK(needed.numerator >= BigInteger(2 * noise + 1) * needed.denominator);
  CHECK(needed.numerator < BigInteger(2 * noise + 3) * needed.denominator);
  CHECK(2 * noise + 1 <= plan.delta().low64());

  // What kernels are made for is what the plan says.
  const isa::BlockView& view = plan.arithmetic().view();
  CHECK_EQ(view.limb_count, ring.limbs);
  CHECK_EQ(view.bits, plan.field_bits());
  CHECK_EQ(view.digit_count, plan.digits());
  CHECK(view.digit_count <= isa::kMaxDigits);
  CHECK(view.plane_count <= isa::kMaxPlanes);
  CHECK_EQ(plan.ring().degree(), ring.degree);
  CHECK_EQ(plan.ring().limbs(), ring.limbs);
}

/// The request that a HeadroomError tells the user to make instead.
std::optional<PlanRequest> remedy_in(const std::string& message, PlanRequest request) {
  if (message.find("profile at \"auto\"") != std::string::npos) request.profile = "auto";
  if (message.find("; leave profile at \"auto\"") != std::string::npos) return request;
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
              // It gives up no more than it must: no bits of a value, the fewest of the weights.
              CHECK_EQ(plan.clients(), clients);
              CHECK_EQ(plan.value_bits(), value_bits);
              CHECK(plan.max_weight() <= clients << weight_bits);
              CHECK(plan.weight_bits() == weight_bits || plan.max_weight() > 1u << 19);
              CHECK(remedy->profile == profile || !admissible([&] {
                      PlanRequest same = *remedy;
                      same.profile = profile;
                      return same;
                    }()));
            } catch (const ParameterError&) {
              ++insecure;
              CHECK(profile != "auto" && !secure(ring_named(profile), security));
            }
          }
        }
      }
    }
  }
  CHECK(plans > 500 && refused > 400 && insecure > 100);
}

TEST("DESIGN's table of plans") {
  struct Row {
    std::uint64_t clients, value_bits;
    const char *asked, *profile;
    std::uint32_t digits, field_bits;
    std::uint64_t delta, noise;
  };
  for (const Row& row :
       {Row{10, 16, "auto", "n2048", 2, 43, 20, 8}, Row{10, 16, "n4096", "n4096", 4, 81, 13, 5},
        Row{10, 16, "n8192", "n8192", 9, 178, 17, 5}, Row{10, 8, "auto", "n2048", 3, 38, 16, 5},
        Row{4, 8, "auto", "n2048", 4, 44, 16, 4}, Row{8, 6, "auto", "n2048", 4, 40, 16, 4},
        Row{3, 4, "auto", "n2048", 7, 42, 10, 2}}) {
    const Plan plan = make_plan(row.clients, row.value_bits, 0, 128, row.asked);
    CHECK_EQ(plan.profile(), row.profile);
    CHECK_EQ(plan.digits(), row.digits);
    CHECK_EQ(plan.field_bits(), row.field_bits);
    CHECK_EQ(plan.delta().low64(), row.delta);
    CHECK_EQ(plan.noise_bound(), row.noise);
    check_bounds(plan, request_of(row.clients, row.value_bits, 0, 128, row.asked));
  }
}

TEST("DESIGN's example explains itself: 16 bits, 10 clients") {
  const Plan plan = make_plan(10, 16);
  CHECK_EQ(plan.base(), 655351u);
  CHECK_EQ(plan.bits_per_value(), 21.5);
  CHECK_EQ(plan.max_weight(), 10u);
  CHECK_EQ(plan.block_capacity(), 4096u);
  const std::string text = plan.explain();
  for (const char* part :
       {"10 clients", "16-bit", "n2048", "log2 q = 48", "2 values a coefficient", "base 655351",
        "21.5 bits", "2.688 bytes", "0.67 x fp32", "1.34 x bf16", "43 bits", "|noise| <= 8.32",
        "up to 9.50 is rounded away", "failure probability 0", "log2 q <= 53"}) {
    if (text.find(part) == std::string::npos) CHECK_EQ(text, std::string("... ") + part);
  }
}

TEST("speed takes n2048 at 128 bits, and n4096 where more clients leave n2048 one digit") {
  for (const auto& [clients, value_bits] : {std::pair{10u, 16u},
                                            {2u, 16u},
                                            {10u, 8u},
                                            {4u, 8u},
                                            {8u, 6u},
                                            {3u, 4u},
                                            {10u, 32u},
                                            {20u, 8u}}) {
    CHECK_EQ(make_plan(clients, value_bits).profile(), "n2048");
  }
  const Plan many = make_plan(1000, 16);
  CHECK_EQ(many.profile(), "n4096");
  CHECK(many.digits() >= 2);
  CHECK_EQ(make_plan(1000, 16, 0, 128, "n2048").digits(), 1u);
  // Never a ring with more primes that holds no more digits than a smaller one.
  for (const std::uint64_t security : {128u, 192u, 256u}) {
    for (std::uint64_t value_bits = 2; value_bits <= 32; value_bits += 3) {
      for (const std::uint64_t clients : {2u, 50u, 3000u, 1u << 20}) {
        PlanRequest request = request_of(clients, value_bits, 0, security);
        const Plan chosen(request);
        for (const RingRow& ring : kRings) {
          request.profile = ring.name;
          if (ring.limbs >= chosen.limbs() || !secure(ring, security) || !admissible(request)) {
            continue;
          }
          CHECK(Plan(request).digits() < chosen.digits());
        }
      }
    }
  }
}

TEST("size takes n8192, and over the whole range no other ring gives fewer bits a value") {
  PlanRequest request = request_of(10, 16);
  request.optimise = Optimise::kSize;
  CHECK_EQ(Plan(request).profile(), "n8192");
  CHECK(Plan(request).bits_per_value() < 19.8);
  const auto rings = keep_rings();
  for (const std::uint64_t security : {128u, 192u, 256u}) {
    for (std::uint64_t value_bits = 2; value_bits <= 32; value_bits += 3) {
      for (const std::uint64_t clients : {2u, 50u, 3000u}) {
        request = request_of(clients, value_bits, 0, security);
        request.optimise = Optimise::kSize;
        const Plan best(request);
        for (const RingRow& ring : kRings) {
          request.profile = ring.name;
          if (!secure(ring, security) || !admissible(request)) continue;
          const Plan other(request);
          CHECK(other.field_bits() * best.digits() >= best.field_bits() * other.digits());
        }
      }
    }
  }
}

TEST("at 192 and 256 bits the degree doubles for the same modulus") {
  for (const std::uint64_t security : {192u, 256u}) {
    CHECK_EQ(make_plan(10, 16, 0, security).profile(), "n4096q48");
    CHECK_THROWS_WITH(make_plan(10, 16, 0, security, "n2048"), ParameterError, "auto");
    CHECK_THROWS_WITH(make_plan(10, 16, 0, security, "n4096"), ParameterError, "96 modulus bits");
    CHECK_THROWS(make_plan(10, 16, 0, security, "n8192"), ParameterError);
    CHECK_EQ(make_plan(10, 16, 0, security, "n8192q96").degree(), 8192u);
    CHECK_EQ(make_plan(10, 16, 0, security, "n16384q192").degree(), 16384u);
  }
  // By name also at 128 bits, where they hold what the smaller degree holds.
  const Plan large = make_plan(10, 16, 0, 128, "n4096q48"), small = make_plan(10, 16);
  CHECK_EQ(large.degree(), 4096u);
  CHECK_EQ(large.digits(), small.digits());
  CHECK_EQ(large.field_bits(), small.field_bits());
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
  CHECK_THROWS_WITH(make_plan(10, 16, 0, 128, "n1024"), ParameterError, "n16384q192");
  CHECK_THROWS(make_plan(10, 16, 0, 128, ""), ParameterError);
  CHECK_THROWS(make_plan(10, 16, 0, 128, "N2048"), ParameterError);
}

TEST("every number of clients and bits has a plan, up to the largest") {
  for (const std::uint64_t security : {128u, 192u, 256u}) {
    const Plan plan = make_plan(1 << 20, 32, 0, security);
    CHECK_EQ(plan.base(), (std::uint64_t{1} << 52) - (1u << 20) + 1);
    CHECK(2 * plan.noise_bound() + 1 <= plan.delta().low64());
  }
}

TEST("a refusal says what was asked, why not, and what would fit") {
  CHECK_THROWS_WITH(make_plan(1 << 20, 32, 20), HeadroomError,
                    "1048576 clients at 32 bits with 20-bit weights");
  CHECK_THROWS_WITH(make_plan(1 << 20, 32, 20), HeadroomError,
                    "total weight 1099511627776 is above 1048576");
  CHECK_THROWS_WITH(make_plan(1 << 20, 32, 20), HeadroomError,
                    "nearest plan that fits: 1048576 clients at 32 bits");
  CHECK_THROWS_WITH(make_plan(10, 16, 17), HeadroomError,
                    "nearest plan that fits: 10 clients at 16 bits with 16-bit weights");
  CHECK_THROWS_WITH(make_plan(1 << 20, 32, 1, 128, "n2048"), HeadroomError,
                    "with profile at \"auto\"");
  CHECK_THROWS_WITH(make_plan(1000, 24, 5, 128, "n2048"), HeadroomError, "profile n2048");
  CHECK_THROWS_WITH(make_plan(1000, 24, 5, 128, "n2048"), HeadroomError, "base 536870880001");
  CHECK_THROWS_WITH(make_plan(1000, 24, 5, 128, "n2048"), HeadroomError,
                    "leave profile at \"auto\"");
}

TEST("blocks: every size gets a multiple of eight coefficients, at most N, and bytes to match") {
  for (const Plan& plan : plans_of_every_ring()) {
    const std::uint64_t capacity = plan.block_capacity();
    CHECK_EQ(capacity, std::uint64_t{plan.degree()} * plan.digits());
    CHECK_EQ(plan.block_coefficients(capacity), plan.degree());
    CHECK_EQ(plan.full_block_bytes(), std::size_t{plan.degree()} / 8 * plan.field_bits());
    CHECK_EQ(plan.block_count(0), 0u);
    CHECK_EQ(plan.payload_bytes(0), 0u);
    for (std::uint64_t values = 1; values <= capacity; values += 1 + values / 5) {
      const std::uint32_t coefficients = plan.block_coefficients(values);
      CHECK_EQ(coefficients % 8, 0u);
      CHECK(coefficients <= plan.degree());
      CHECK(std::uint64_t{coefficients} * plan.digits() >= values);
      CHECK(std::uint64_t{coefficients - 8} * plan.digits() < values);
      CHECK_EQ(plan.block_bytes(values), std::size_t{coefficients} / 8 * plan.field_bits());
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
  PlanRequest request = request_of(300, 12, 3, 192, "n8192q96");
  request.optimise = Optimise::kSize;
  const Plan plan(request);
  const auto byte = [](std::uint32_t value) { return static_cast<std::uint8_t>(value); };
  const Bytes expected = {
      1, 4, 12, 3, 44, 1, 0, 0, 192, 0, 1, byte(plan.digits()), byte(plan.field_bits()), 0, 0, 0};
  CHECK_EQ(fields_of(plan), expected);
  CHECK_EQ(expected.size(), Plan::kFieldBytes);
  CHECK(plan.id() == ring::labelled_hash("veilsum/2/plan", {expected}));
}

TEST("fields are read back to the same plan") {
  for (const Plan& plan : plans_of_every_ring()) {
    const Plan again = read_back(fields_of(plan));
    CHECK(again == plan);
    CHECK(again.id() == plan.id());
    CHECK_EQ(again.profile(), plan.profile());
    CHECK_EQ(again.digits(), plan.digits());
    CHECK_EQ(again.field_bits(), plan.field_bits());
    CHECK(again.delta() == plan.delta());
    CHECK_EQ(again.noise_bound(), plan.noise_bound());
    CHECK_EQ(again.explain(), plan.explain());
  }
  CHECK(!(make_plan(10, 16) == make_plan(11, 16)));
}

TEST("every change of one byte is refused or another plan, written back the same") {
  const auto rings = keep_rings();
  for (const Plan& plan : {make_plan(10, 16), make_plan(5, 8, 3, 192, "n4096q48")}) {
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
