// Layer: scheme. See plan.h. The planner tries every ring that the security table admits and keeps
// the cheapest. Bounds and comparisons are integers, so a plan that exists can never fail to
// decrypt and every machine makes the same one.
#include "scheme/plan.h"

#include <algorithm>
#include <bit>
#include <cstdio>
#include <optional>
#include <vector>

#include "base/shown.h"
#include "isa/dispatch.h"
#include "ring/sha256.h"
#include "scheme/noise_bound.h"
#include "scheme/security_table.h"
#include "veilsum/errors.h"

namespace veilsum::scheme {
namespace {

constexpr std::uint32_t kMinValueBits = 2;
constexpr std::uint32_t kMaxValueBits = 32;
constexpr std::uint32_t kMaxWeightBits = 20;
constexpr auto kNativeEngine = static_cast<std::uint8_t>(Engine::kNative);

struct RingChoice {
  const char* name;
  std::uint32_t degree;
  std::uint32_t limbs;
};
// The order is part of the wire format (ring number = index).
constexpr RingChoice kRings[] = {
    {"n2048", 2048, 1},    {"n4096", 4096, 2},    {"n8192", 8192, 4},
    {"n4096q48", 4096, 1}, {"n8192q96", 8192, 2}, {"n16384q192", 16384, 4},
};
/// Rings before this one have the smallest degree for their modulus at 128 bits.
constexpr std::uint32_t kFirstLargerDegree = 3;

bool secure(std::uint32_t degree, std::uint32_t limbs, std::uint32_t security) {
  return isa::kPrimeBits * limbs <= max_log2_modulus(degree, security);
}

/// t: sums of W values below 2^value_bits stay below it. At most 2^52.
std::uint64_t base_for(std::uint64_t max_weight, std::uint64_t value_bits) {
  return max_weight * ((std::uint64_t{1} << value_bits) - 1) + 1;
}

/// How a coefficient is divided: L digits, B bits.
struct Shape {
  std::uint32_t digits = 0;
  std::uint32_t field_bits = 0;

  /// Fewer bits a value.
  bool smaller_than(const Shape& other) const {
    return field_bits * other.digits < other.field_bits * digits;
  }
};

/// The shape for a ring of so many primes: for every L the smallest B with floor(2^B / t^L) >= 2
/// noise + 1, of those the fewest bits a value, then the larger L. L stays below kMaxDigits and
/// kMaxPlanes' bound by itself: t >= 7, and L log2 t < 190 while a plane holds more than 24 bits.
/// @return no digits when not one fits
Shape best_shape(std::uint32_t limbs, std::uint64_t max_weight, std::uint64_t base) {
  const std::uint32_t widest = isa::kPrimeBits * limbs - 2;
  // 2^B >= smallest_delta(B) t^L is the same condition, and its first factor does not depend on L.
  std::vector<std::uint64_t> smallest_delta(widest + 1, 0);
  const auto decodes = [&](std::uint32_t bits, const ring::WideInteger& power) {
    std::uint64_t& delta = smallest_delta[bits];
    if (delta == 0) delta = NoiseBound(limbs, max_weight, bits).smallest_delta();
    return !(ring::WideInteger::power_of_two(bits) < power.times(delta));
  };
  Shape best;
  ring::WideInteger power(1);  // t^L
  for (std::uint32_t digits = 1; digits <= isa::kMaxDigits; ++digits) {
    power = power.times(base);
    // Any B that decodes has 2^B > W t^L.
    std::uint32_t bits = power.times(max_weight).bit_length();
    while (bits <= widest && !decodes(bits, power)) ++bits;
    if (bits > widest) break;  // nor will more digits fit
    const Shape shape{digits, bits};
    if (best.digits == 0 || !best.smaller_than(shape)) best = shape;
  }
  return best;
}

struct Candidate {
  const RingChoice* ring;
  Shape shape;

  /// Relative work for one coefficient, counted in layers of the number-theoretic transform, which
  /// passes once over every residue. Beside its log2 N layers a residue costs about as much as
  /// seven for the public polynomial, the product, the error, and packing; and as much as five for
  /// each prime of the ring: lifting, rounding and dividing take all words of a number, of which
  /// there are as many as primes. (Estimated by counting instructions of the vector kernels' loops,
  /// averaged over encryption and decryption; a layer has about three a residue.)
  std::uint64_t work() const {
    const auto layers = static_cast<std::uint32_t>(std::bit_width(ring->degree)) - 1;
    return std::uint64_t{ring->limbs} * (layers + 7 + 5 * ring->limbs);
  }
  bool faster_than(const Candidate& other) const {
    return work() * other.shape.digits < other.work() * shape.digits;
  }
};

std::vector<Candidate> candidates(std::uint64_t max_weight, std::uint64_t value_bits,
                                  std::uint32_t security, const std::string& profile) {
  std::vector<Candidate> found;
  const std::uint64_t base = base_for(max_weight, value_bits);
  for (std::uint32_t number = 0; number < std::size(kRings); ++number) {
    const RingChoice& ring = kRings[number];
    if (profile != "auto" && profile != ring.name) continue;
    if (!secure(ring.degree, ring.limbs, security)) continue;
    // At 128 bits the larger degrees for the same modulus only cost; taken when asked for by name.
    if (profile == "auto" && security == 128 && number >= kFirstLargerDegree) continue;
    const Shape shape = best_shape(ring.limbs, max_weight, base);
    if (shape.digits != 0) found.push_back({&ring, shape});
  }
  return found;
}

void check_range(const char* name, std::uint64_t value, std::uint64_t low, std::uint64_t high) {
  if (value < low || value > high) {
    throw ParameterError(std::string(name) + " = " + shown(value) + " is outside " +
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

/// The remedy a HeadroomError names. At every security level some ring holds a digit of the largest
/// base, 2^52, with the largest noise: so a request can only have too much weight or ask by name
/// for a ring that is too small.
std::string nearest_plan(PlanRequest request) {
  if (request.clients << request.weight_bits <= kMaxTotalWeight) {
    return "leave profile at \"auto\"";
  }
  while (request.clients << request.weight_bits > kMaxTotalWeight) --request.weight_bits;
  const bool too_small = candidates(request.clients << request.weight_bits, request.value_bits,
                                    static_cast<std::uint32_t>(request.security), request.profile)
                             .empty();
  return "nearest plan that fits: " + describe(request) +
         (too_small ? ", with profile at \"auto\"" : "");
}

std::string format(const char* pattern, double value) {
  char buffer[64];
  std::snprintf(buffer, sizeof buffer, pattern, value);
  return buffer;
}

/// 831 -> "8.31".
std::string hundredths(std::uint64_t value) {
  const std::string part = std::to_string(value % 100);
  return std::to_string(value / 100) + (part.size() == 1 ? ".0" : ".") + part;
}

}  // namespace

Plan::Plan(const PlanRequest& request) {
  check_range("clients", request.clients, 2, kMaxTotalWeight);
  check_range("value_bits", request.value_bits, kMinValueBits, kMaxValueBits);
  check_range("weight_bits", request.weight_bits, 0, kMaxWeightBits);
  if (request.security != 128 && request.security != 192 && request.security != 256) {
    throw ParameterError("security = " + shown(request.security) +
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
      throw ParameterError("profile " + shown(request.profile) + " is unknown; use one of " +
                           names);
    }
    if (!secure(named->degree, named->limbs, security_)) {
      throw ParameterError("profile " + request.profile + " carries " +
                           std::to_string(isa::kPrimeBits * named->limbs) +
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
    const bool too_heavy = max_weight > kMaxTotalWeight;
    throw HeadroomError((too_heavy ? std::string("no plan holds")
                                   : "profile " + request.profile + " does not hold") +
                        " the sum of " + describe(request) + " at " + std::to_string(security_) +
                        "-bit security (" +
                        (too_heavy ? "total weight " + std::to_string(max_weight) + " is above " +
                                         std::to_string(kMaxTotalWeight)
                                   : "one digit in base " +
                                         std::to_string(base_for(max_weight, request.value_bits)) +
                                         " and its noise need more bits than the ring has") +
                        "); " + nearest_plan(request));
  }
  const Candidate& best =
      *std::min_element(found.begin(), found.end(), [&](const Candidate& a, const Candidate& b) {
        return request.optimise == Optimise::kSize ? a.shape.smaller_than(b.shape)
                                                   : a.faster_than(b);
      });

  clients_ = static_cast<std::uint32_t>(request.clients);
  value_bits_ = static_cast<std::uint32_t>(request.value_bits);
  weight_bits_ = static_cast<std::uint32_t>(request.weight_bits);
  optimise_ = request.optimise;
  profile_ = best.ring->name;
  max_weight_ = max_weight;
  base_ = base_for(max_weight, request.value_bits);
  noise_bound_ = NoiseBound(best.ring->limbs, max_weight, best.shape.field_bits).floor();
  ring_ = ring::Ring::get(best.ring->degree, best.ring->limbs);
  arithmetic_ = std::make_shared<const ring::BlockArithmetic>(*ring_, best.shape.field_bits, base_,
                                                              best.shape.digits);
  ByteWriter fields;
  write_fields(fields);
  id_ = ring::labelled_hash("veilsum/2/plan", {fields.bytes()});
}

std::uint32_t Plan::block_coefficients(std::uint64_t values) const noexcept {
  const std::uint64_t needed = (values + digits() - 1) / digits();
  const std::uint64_t rounded = (needed + isa::kGroup - 1) / isa::kGroup * isa::kGroup;
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(rounded, degree()));
}

std::size_t Plan::block_bytes(std::uint64_t values) const noexcept {
  return std::size_t{block_coefficients(values)} / isa::kGroup * field_bits();
}

namespace {

/// Coefficients that the busiest of `keys` keys serves: of value blocks and its check block.
std::uint64_t key_coefficients(const Plan& plan, std::uint64_t values, std::uint64_t keys) {
  return ((plan.block_count(values) + keys - 1) / keys + 1) * plan.degree();
}

/// Value blocks from which on eight keys are the default. The expander then runs for one block in
/// eight, a tenth of encryption and decryption; seven more check blocks are below 1 % of the bytes.
constexpr std::uint64_t kManyKeysFrom = 1024;
constexpr std::uint64_t kManyKeys = 8;

}  // namespace

std::uint64_t Plan::default_upload_keys(std::uint64_t values) const noexcept {
  std::uint64_t keys = block_count(values) >= kManyKeysFrom ? kManyKeys : 1;
  while (key_coefficients(*this, values, keys) > kMaxKeyCoefficients) keys += kManyKeys;
  return keys;
}

void Plan::check_upload_keys(std::uint64_t values, std::uint64_t keys) const {
  if (keys == 0 || keys > kMaxUploadKeys) {
    throw ParameterError("upload_keys = " + shown(keys) + " is outside 1 ... " +
                         std::to_string(kMaxUploadKeys));
  }
  if (key_coefficients(*this, values, keys) > kMaxKeyCoefficients) {
    throw HeadroomError("with upload_keys = " + std::to_string(keys) +
                        " a key would serve more than 2^34 coefficients; this vector needs " +
                        std::to_string(default_upload_keys(values)));
  }
}

void Plan::sum_into(std::span<const std::uint8_t* const> sources,
                    std::span<const std::uint64_t> weights, std::size_t bytes,
                    std::uint8_t* out) const {
  run_sum(sources, weights, false, bytes, out);
}

void Plan::subtract_into(const std::uint8_t* source, std::uint64_t weight, std::size_t bytes,
                         std::uint8_t* out) const {
  const std::uint8_t* const sources[] = {out, source};
  const std::uint64_t weights[] = {1, weight};
  run_sum(sources, weights, true, bytes, out);
}

void Plan::run_sum(std::span<const std::uint8_t* const> sources,
                   std::span<const std::uint64_t> weights, bool subtract, std::size_t bytes,
                   std::uint8_t* out) const {
  isa::SumFields args{};
  args.view = &view();
  args.sources = sources.data();
  args.weights = weights.empty() ? nullptr : weights.data();
  args.source_count = static_cast<std::uint32_t>(sources.size());
  args.subtract = subtract;
  args.coefficients = static_cast<std::uint32_t>(bytes / field_bits() * isa::kGroup);
  args.out = out;
  isa::kernels().sum_fields(args);
}

double Plan::sum_ns() const noexcept {
  constexpr double kOfEncryption = 1.0 / 8;
  return static_cast<double>(ring().words()) * isa::nanoseconds_per_residue() * kOfEncryption;
}

double Plan::bits_per_value() const noexcept {
  return static_cast<double>(field_bits()) / digits();
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
  text += "  digits     " + std::to_string(digits()) + " values a coefficient, in base " +
          std::to_string(base_) + " (no sum reaches it, so none carries)\n";
  text += "  size       " + format("%.4g", bits) + " bits = " + format("%.4g", bits / 8) +
          " bytes a value: " + format("%.2f", bits / 32) + " x fp32, " + format("%.2f", bits / 16) +
          " x bf16; a coefficient travels in " + std::to_string(field_bits()) + " bits\n";
  const NoiseBound noise(limbs(), max_weight_, field_bits());
  const std::uint64_t tolerated = 50 * (delta().low64() - 1);  // (Delta - 1) / 2, in hundredths
  text += "  exactness  |noise| <= " + hundredths(noise.hundredths()) + ", and up to " +
          hundredths(tolerated) + " is rounded away: decryption failure probability 0";
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
  out.u8(static_cast<std::uint8_t>(digits()));
  out.u8(static_cast<std::uint8_t>(field_bits()));
  out.u8(0);
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
  const std::uint8_t digits = in.u8();
  const std::uint8_t field_bits = in.u8();
  const std::uint8_t reserved_byte = in.u8();
  const std::uint16_t reserved = in.u16();
  if (engine != kNativeEngine) in.fail("engine number " + std::to_string(engine) + " is unknown");
  if (number >= std::size(kRings)) in.fail("ring number " + std::to_string(number) + " is unknown");
  if (optimise > 1) in.fail("optimise = " + std::to_string(optimise) + " is unknown");
  if (reserved_byte != 0 || reserved != 0) in.fail("reserved plan bytes are not zero");
  request.optimise = static_cast<Optimise>(optimise);
  request.profile = kRings[number].name;
  std::optional<Plan> plan;
  try {
    plan.emplace(request);
  } catch (const VeilsumError& error) {
    in.fail(std::string("the plan is not admissible: ") + error.what());
  }
  if (plan->digits() != digits || plan->field_bits() != field_bits) {
    in.fail("the plan's digits and field bits are not the ones its bounds give");
  }
  return *std::move(plan);
}

}  // namespace veilsum::scheme
