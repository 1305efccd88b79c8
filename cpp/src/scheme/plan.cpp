// Layer: scheme. See plan.h. The planner tries every ring that the security table admits and keeps
// the cheapest; all bounds are integers, so a plan that exists can never fail to decrypt.
#include "scheme/plan.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdio>
#include <limits>
#include <optional>
#include <vector>

#include "ring/sha256.h"
#include "scheme/security_table.h"
#include "veilsum/errors.h"

namespace veilsum::scheme {
namespace {

constexpr std::uint32_t kMaxLaneBits = 48;
constexpr std::uint32_t kMaxPlaneBits = 48;
constexpr std::uint32_t kPrimeBits = 50;
constexpr std::uint32_t kMinValueBits = 2;
constexpr std::uint32_t kMaxValueBits = 32;
constexpr std::uint8_t kNativeEngine = 1;

struct RingChoice {
  const char* name;
  std::uint32_t degree;
  std::uint32_t limbs;
};
// The order is part of the wire format (ring number = index).
constexpr RingChoice kRings[] = {
    {"n2048", 2048, 1},    {"n4096", 4096, 2},     {"n8192", 8192, 4},
    {"n4096q50", 4096, 1}, {"n8192q100", 8192, 2}, {"n16384q200", 16384, 4},
};

bool secure(std::uint32_t degree, std::uint32_t limbs, std::uint32_t security) {
  return kPrimeBits * limbs <= max_log2_modulus(degree, security);
}

/// ceil(log2(x)) for x >= 1.
std::uint32_t ceil_log2(std::uint64_t x) {
  return static_cast<std::uint32_t>(std::bit_width(x - 1));
}

std::uint32_t lane_bits_for(std::uint64_t max_weight, std::uint64_t value_bits) {
  return ceil_log2(max_weight * ((std::uint64_t{1} << value_bits) - 1) + 1);
}

/// Delta = floor(Q / 2^bits) is at least 2 * noise + 1, so that rounding never errs.
bool decodes(std::uint32_t limbs, std::uint32_t bits, std::uint64_t noise) {
  const ring::WideInteger q = ring::ring_modulus(limbs);
  if (bits + 2 > q.bit_length()) return false;
  return !(q.shifted_right(bits) < ring::WideInteger(noise).times(2).plus(1));
}

/// Most lanes of `lane_bits` that a ring holds under the noise bound; 0 when none.
std::uint32_t max_lanes(std::uint32_t limbs, std::uint32_t lane_bits, std::uint64_t noise) {
  if (lane_bits > kMaxLaneBits) return 0;
  const std::uint32_t per_plane = kMaxPlaneBits / lane_bits;
  std::uint32_t lanes = 0;
  while ((lanes + 1 + per_plane - 1) / per_plane <= isa::kMaxPlanes &&
         decodes(limbs, (lanes + 1) * lane_bits, noise)) {
    ++lanes;
  }
  return lanes;
}

std::optional<CapsuleShape> capsule_for(std::uint32_t degree, std::uint32_t security,
                                        std::uint64_t max_weight) {
  // Small capsule first; the larger one where the weights leave the small one no room.
  const RingChoice choices[] = {{"", security == 128 ? 2048u : 4096u, 1},
                                {"", security == 128 ? 4096u : 8192u, 2}};
  for (const RingChoice& choice : choices) {
    if (!secure(choice.degree, choice.limbs, security)) continue;
    CapsuleShape shape;
    shape.degree = choice.degree;
    shape.limbs = choice.limbs;
    shape.lane_bits = ceil_log2(2 * kErrorBound * max_weight + 1);
    // One fresh encryption: |e u + e0 - e1 s| <= 2 N 21^2 + 21.
    const std::uint64_t fresh =
        2 * std::uint64_t{choice.degree} * kErrorBound * kErrorBound + kErrorBound;
    const std::uint32_t wanted = std::max(1u, degree / choice.degree);
    for (std::uint32_t lanes = 1; lanes <= wanted; ++lanes) {
      const std::uint32_t bits = lanes * shape.lane_bits + 1;
      if (bits > kMaxPlaneBits) break;
      // The top bit only counts modulo 2: each wrap adds Q - Delta 2^bits < 2^bits of noise.
      const std::uint64_t each = fresh + (std::uint64_t{1} << bits);
      // A product beyond 64 bits needs more than 43 message bits, which leave Delta 56 at most.
      if (max_weight > std::numeric_limits<std::uint64_t>::max() / each) break;
      const std::uint64_t noise = max_weight * each;
      if (!decodes(choice.limbs, bits, noise)) break;
      shape.lanes = lanes;
      shape.message_bits = bits;
    }
    if (shape.lanes == 0) continue;
    const std::uint32_t held = shape.degree * shape.lanes;
    shape.ciphertexts = (degree + held - 1) / held;
    shape.bytes = std::size_t{shape.ciphertexts} * 2 * shape.limbs * shape.degree / isa::kGroup *
                  isa::kGroupBytes;
    return shape;
  }
  return std::nullopt;
}

struct Candidate {
  const RingChoice* ring;
  std::uint32_t number;
  std::uint32_t lanes;
  CapsuleShape capsule;

  double bits_per_value() const { return double(kPrimeBits) * ring->limbs / lanes; }
  /// Relative work a value: per residue, a transform of log2 N stages plus about as much again
  /// for the pseudorandom bytes, the error and the packing; several limbs add the division of
  /// multi-word numbers when decrypting.
  double cost_per_value() const {
    const double per_residue = std::bit_width(ring->degree) - 1 + 11;
    const double multiword = ring->limbs > 1 ? 1.3 : 1.0;
    return double(ring->limbs) / lanes * per_residue * multiword;
  }
};

std::vector<Candidate> candidates(std::uint64_t max_weight, std::uint64_t value_bits,
                                  std::uint32_t security, const std::string& profile) {
  std::vector<Candidate> found;
  const std::uint32_t lane_bits = lane_bits_for(max_weight, value_bits);
  std::uint32_t number = 0;
  for (const RingChoice& ring : kRings) {
    const std::uint32_t this_number = number++;
    if (profile != "auto" && profile != ring.name) continue;
    if (!secure(ring.degree, ring.limbs, security)) continue;
    // At 128 bits the larger degrees for the same modulus only cost; taken when asked for by name.
    if (profile == "auto" && security == 128 && this_number >= 3) continue;
    const std::uint32_t lanes = max_lanes(ring.limbs, lane_bits, kErrorBound * max_weight);
    const auto capsule = capsule_for(ring.degree, security, max_weight);
    if (lanes == 0 || !capsule) continue;
    found.push_back({&ring, this_number, lanes, *capsule});
  }
  return found;
}

void check_range(const char* name, std::uint64_t value, std::uint64_t low, std::uint64_t high) {
  if (value < low || value > high) {
    throw ParameterError(std::string(name) + " = " + std::to_string(value) + " is outside " +
                         std::to_string(low) + " ... " + std::to_string(high));
  }
}

std::string describe(const PlanRequest& request) {
  std::string text = std::to_string(request.clients) + " clients at " +
                     std::to_string(request.value_bits) + " bits";
  if (request.weight_bits != 0) {
    text += " with " + std::to_string(request.weight_bits) + "-bit weights";
  }
  return text;
}

/// The remedy a HeadroomError names: fewest changes to the request that make it fit.
std::string nearest_plan(PlanRequest request) {
  const auto fits = [](const PlanRequest& r) {
    const std::uint64_t weight = r.clients << r.weight_bits;
    return weight <= kMaxTotalWeight &&
           !candidates(weight, r.value_bits, static_cast<std::uint32_t>(r.security), r.profile)
                .empty();
  };
  PlanRequest any_ring = request;
  any_ring.profile = "auto";
  if (request.profile != "auto" && fits(any_ring)) return "leave profile at \"auto\"";
  request.profile = "auto";
  for (PlanRequest r = request; r.value_bits > kMinValueBits;) {
    --r.value_bits;
    if (fits(r)) return "nearest plan that fits: " + describe(r);
  }
  for (PlanRequest r = request; r.weight_bits > 0;) {
    --r.weight_bits;
    if (fits(r)) return "nearest plan that fits: " + describe(r);
  }
  // No single change is enough. Unit weights at the fewest bits hold any number of clients.
  PlanRequest r = request;
  while (r.weight_bits > 0) {
    --r.weight_bits;
    for (r.value_bits = request.value_bits; r.value_bits > kMinValueBits;) {
      --r.value_bits;
      if (fits(r)) return "nearest plan that fits: " + describe(r);
    }
  }
  return "no plan at this security level fits";
}

std::string format(const char* pattern, double value) {
  char buffer[64];
  std::snprintf(buffer, sizeof buffer, pattern, value);
  return buffer;
}

}  // namespace

Plan::Plan(const PlanRequest& request) {
  check_range("clients", request.clients, 2, kMaxTotalWeight);
  check_range("value_bits", request.value_bits, kMinValueBits, kMaxValueBits);
  check_range("weight_bits", request.weight_bits, 0, 20);
  if (request.security != 128 && request.security != 192 && request.security != 256) {
    throw ParameterError("security = " + std::to_string(request.security) +
                         " is not a level the published tables have; use 128, 192 or 256");
  }
  security_ = static_cast<std::uint32_t>(request.security);
  if (request.profile != "auto") {
    const auto* named = std::find_if(std::begin(kRings), std::end(kRings), [&](const auto& ring) {
      return request.profile == ring.name;
    });
    if (named == std::end(kRings)) {
      std::string names = "\"auto\"";
      for (const RingChoice& ring : kRings) names += std::string(", \"") + ring.name + "\"";
      throw ParameterError("profile \"" + request.profile + "\" is unknown; use one of " + names);
    }
    if (!secure(named->degree, named->limbs, security_)) {
      throw ParameterError("profile " + request.profile + " carries " +
                           std::to_string(kPrimeBits * named->limbs) +
                           " modulus bits, but N = " + std::to_string(named->degree) + " admits " +
                           std::to_string(max_log2_modulus(named->degree, security_)) + " at " +
                           std::to_string(security_) + "-bit security; use profile=\"auto\"");
    }
  }
  const std::uint64_t max_weight = request.clients << request.weight_bits;
  std::vector<Candidate> found;
  if (max_weight <= kMaxTotalWeight) {
    found = candidates(max_weight, request.value_bits, security_, request.profile);
  }
  if (found.empty()) {
    const std::string load =
        max_weight > kMaxTotalWeight
            ? "total weight " + std::to_string(max_weight) + " is above " +
                  std::to_string(kMaxTotalWeight)
            : "a lane needs " + std::to_string(lane_bits_for(max_weight, request.value_bits)) +
                  " bits";
    throw HeadroomError("no ring holds the sum of " + describe(request) + " at " +
                        std::to_string(security_) + "-bit security (" + load + "); " +
                        nearest_plan(request));
  }
  const bool by_size = request.optimise == Optimise::kSize;
  const Candidate& best = *std::min_element(
      found.begin(), found.end(), [by_size](const Candidate& a, const Candidate& b) {
        return by_size ? a.bits_per_value() < b.bits_per_value()
                       : a.cost_per_value() < b.cost_per_value();
      });

  clients_ = static_cast<std::uint32_t>(request.clients);
  value_bits_ = static_cast<std::uint32_t>(request.value_bits);
  weight_bits_ = static_cast<std::uint32_t>(request.weight_bits);
  optimise_ = request.optimise;
  profile_ = best.ring->name;
  max_weight_ = max_weight;
  lanes_ = best.lanes;
  lane_bits_ = lane_bits_for(max_weight, value_bits_);
  lanes_per_plane_ = std::min(lanes_, kMaxPlaneBits / lane_bits_);
  capsule_ = best.capsule;
  ring_ = ring::Ring::get(best.ring->degree, best.ring->limbs);
  codeword_ = std::make_shared<const ring::Codeword>(*ring_, lanes_ * lane_bits_,
                                                     lanes_per_plane_ * lane_bits_);
  capsule_ring_ = ring::Ring::get(capsule_.degree, capsule_.limbs);
  capsule_codeword_ = std::make_shared<const ring::Codeword>(*capsule_ring_, capsule_.message_bits,
                                                             capsule_.message_bits);
  ByteWriter fields;
  write_fields(fields);
  id_ = ring::labelled_hash("veilsum/1/plan", {fields.bytes()});
}

std::uint64_t Plan::block_count(std::uint64_t values) const noexcept {
  return (values + block_capacity() - 1) / block_capacity();
}

std::uint32_t Plan::block_coefficients(std::uint64_t values) const noexcept {
  const std::uint64_t needed = (values + lanes_ - 1) / lanes_;
  const std::uint64_t rounded = (needed + isa::kGroup - 1) / isa::kGroup * isa::kGroup;
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(rounded, degree()));
}

std::size_t Plan::block_bytes(std::uint64_t values) const noexcept {
  return std::size_t{block_coefficients(values)} / isa::kGroup * isa::kGroupBytes * limbs();
}

std::uint64_t Plan::payload_bytes(std::uint64_t values) const noexcept {
  const std::uint64_t full = values / block_capacity();
  return full * block_bytes(block_capacity()) + block_bytes(values % block_capacity());
}

double Plan::bits_per_value() const noexcept {
  return static_cast<double>(log2_modulus()) / lanes_;
}

std::string Plan::explain() const {
  const double bits = bits_per_value();
  std::string text;
  text += "Veilsum plan " + short_hex(id_) + " (engine native)\n";
  text += "  holds      " + std::to_string(clients_) + " clients, " + std::to_string(value_bits_) +
          "-bit values, ";
  text += weight_bits_ == 0 ? std::string("unit weights (clients apply their own)")
                            : "integer weights up to a total of " + std::to_string(max_weight_);
  text += "\n  ring       " + profile_ + ": N = " + std::to_string(degree()) +
          ", log2 q = " + std::to_string(log2_modulus()) + " (" + std::to_string(limbs()) +
          (limbs() == 1 ? " prime" : " primes") + ")\n";
  text += "  security   " + std::to_string(security_) + " bits: the table admits log2 q <= " +
          std::to_string(max_log2_modulus(degree(), security_)) + " at this N\n";
  text += "  lanes      " + std::to_string(lanes_) + " values a coefficient, " +
          std::to_string(lane_bits_) + " bits each (no carry between lanes)\n";
  text += "  size       " + format("%.4g", bits) + " bits = " + format("%.4g", bits / 8) +
          " bytes a value: " + format("%.2f", bits / 32) + " x fp32, " + format("%.2f", bits / 16) +
          " x bf16\n";
  text += "  capsule    " + std::to_string(capsule_.bytes) +
          " bytes an upload, whatever the model's size\n";
  text += "  exactness  |noise| <= " + std::to_string(noise_bound()) + ", rounding margin " +
          "at least as large: decryption failure probability 0";
  return text;
}

void Plan::write_fields(ByteWriter& out) const {
  std::uint8_t number = 0;
  while (profile_ != kRings[number].name) ++number;
  out.u8(kNativeEngine);
  out.u8(number);
  out.u8(static_cast<std::uint8_t>(value_bits_));
  out.u8(static_cast<std::uint8_t>(weight_bits_));
  out.u32(clients_);
  out.u16(static_cast<std::uint16_t>(security_));
  out.u8(static_cast<std::uint8_t>(optimise_));
  out.u8(static_cast<std::uint8_t>(lanes_));
  out.u8(static_cast<std::uint8_t>(lane_bits_));
  out.u8(static_cast<std::uint8_t>(capsule_.lanes));
  out.u16(0);
}

Plan Plan::read_fields(ByteReader& in) {
  const std::uint8_t engine = in.u8();
  const std::uint8_t number = in.u8();
  PlanRequest request;
  request.value_bits = in.u8();
  request.weight_bits = in.u8();
  request.clients = in.u32();
  request.security = in.u16();
  const std::uint8_t optimise = in.u8();
  const std::uint8_t lanes = in.u8();
  const std::uint8_t lane_bits = in.u8();
  const std::uint8_t capsule_lanes = in.u8();
  const std::uint16_t reserved = in.u16();
  if (engine != kNativeEngine) in.fail("engine number " + std::to_string(engine) + " is unknown");
  if (number >= std::size(kRings)) in.fail("ring number " + std::to_string(number) + " is unknown");
  if (optimise > 1) in.fail("optimise = " + std::to_string(optimise) + " is unknown");
  if (reserved != 0) in.fail("reserved plan bytes are not zero");
  request.optimise = static_cast<Optimise>(optimise);
  request.profile = kRings[number].name;
  std::optional<Plan> plan;
  try {
    plan.emplace(request);
  } catch (const VeilsumError& error) {
    in.fail(std::string("the plan is not admissible: ") + error.what());
  }
  if (plan->lanes_ != lanes || plan->lane_bits_ != lane_bits ||
      plan->capsule_.lanes != capsule_lanes) {
    in.fail("the plan's lanes are not the ones its bounds give");
  }
  return *std::move(plan);
}

}  // namespace veilsum::scheme
