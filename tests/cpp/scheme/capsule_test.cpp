// Layer: tests (scheme). Capsules. Opening one gives the ephemeral key it was made with, and only
// if it was made honestly for this round; opening a sum gives the exact sum, also in the worst
// case: every key coefficient at +-21, the whole weight W on one capsule, and noise that a test
// which knows the secret lines up as badly as it can.
#include "scheme/capsule.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "check.h"
#include "isa/dispatch.h"
#include "ring/expander.h"
#include "support/active_level.h"
#include "support/big_integer.h"
#include "support/modulus.h"
#include "support/rounds.h"
#include "veilsum/errors.h"

namespace veilsum::test {
namespace {

using scheme::Capsule;
using scheme::CapsuleShape;
using scheme::EphemeralKey;
using scheme::Plan;
using scheme::Round;
using scheme::SecretKey;

/// Every capsule ring and every cut into lanes and ciphertexts that plans have.
std::vector<Plan> capsule_plans() {
  return {make_plan(10, 16),                        // (2048, 1), one ciphertext
          make_plan(10, 16, 0, 128, "n8192"),       // (2048, 1), several lanes or ciphertexts
          make_plan(500, 8, 0, 128, "n8192"),       // (2048, 1), fewer lanes
          make_plan(1 << 20, 8),                    // (4096, 2), the largest weight
          make_plan(1 << 10, 8, 10, 128, "n8192"),  // (4096, 2) under n8192
          make_plan(10, 16, 0, 192),                // (4096, 1)
          make_plan(1 << 20, 4, 0, 256),            // (8192, 2)
          make_plan(10, 16, 0, 256, "n16384q200")};
}

bool same(const EphemeralKey& a, const EphemeralKey& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), 8 * a.size()) == 0;
}

/// r as the stream of domain 4 gives it.
std::vector<std::int64_t> key_of(const Round& round, std::uint64_t n) {
  const ring::Expander expander("veilsum/1/capsule", round.id(), bytes32(n),
                                ring::KeySize::kAes256);
  std::vector<std::int8_t> narrow(round.plan().degree());
  isa::scalar_table()->sample_cbd(expander.key(),
                                  ring::stream_index(ring::Domain::kEphemeralKey, 0, 0),
                                  narrow.size(), narrow.data());
  return {narrow.begin(), narrow.end()};
}

TEST("a fresh capsule opens to its key, in every shape") {
  for (const Plan& plan : capsule_plans()) {
    const SecretKey key = make_key(plan);
    const Round round = make_round(plan, key, 10);
    for (std::uint64_t n = 1; n <= 2; ++n) {
      const Capsule capsule = scheme::make_capsule(round, seed32(n));
      CHECK_EQ(capsule.bytes.size(), plan.capsule().bytes);
      CHECK(scheme::capsule_well_formed(plan, capsule.bytes));
      const std::vector<std::int64_t> expected = key_of(round, n);
      CHECK(std::equal(expected.begin(), expected.end(), capsule.key.begin(), capsule.key.end()));
      CHECK(same(scheme::open_fresh_capsule(key, round, capsule.bytes, "x"), capsule.key));
      CHECK(same(scheme::open_summed_capsule(key, round, capsule.bytes, 1), capsule.key));
    }
  }
}

TEST("the same bytes on every level; other bytes for another seed or round") {
  for (const Plan& plan : {make_plan(10, 16), make_plan(1 << 10, 8, 10, 128, "n8192")}) {
    const SecretKey key = make_key(plan);
    const Round round = make_round(plan, key, 10), other = make_round(plan, key, 10, 2);
    const Capsule capsule = scheme::make_capsule(round, seed32(1));
    on_every_active_level([&] {
      const Capsule again = scheme::make_capsule(round, seed32(1));
      CHECK(again.bytes == capsule.bytes);
      CHECK(same(again.key, capsule.key));
      CHECK(same(scheme::open_fresh_capsule(key, round, capsule.bytes, "x"), capsule.key));
    });
    CHECK(scheme::make_capsule(round, seed32(2)).bytes != capsule.bytes);
    const Capsule elsewhere = scheme::make_capsule(other, seed32(1));
    CHECK(elsewhere.bytes != capsule.bytes);
    CHECK(!same(elsewhere.key, capsule.key));  // one seed in two rounds: two keys
  }
}

TEST("a capsule of another round is refused, and the one who sent it is named") {
  const Plan plan = make_plan(10, 16);
  const SecretKey key = make_key(plan);
  const Round round = make_round(plan, key, 10), other = make_round(plan, key, 10, 2);
  const Capsule capsule = scheme::make_capsule(other, seed32(1));
  CHECK_THROWS_WITH(scheme::open_fresh_capsule(key, round, capsule.bytes, "client 7"), RoundError,
                    "client 7");
  CHECK_THROWS_WITH(scheme::open_fresh_capsule(key, round, capsule.bytes, "client 7"), RoundError,
                    "nothing was opened");
}

TEST("every single-bit change sampled is refused") {
  for (const Plan& plan : {make_plan(10, 16), make_plan(10, 16, 0, 128, "n8192")}) {
    const SecretKey key = make_key(plan);
    const Round round = make_round(plan, key, 10);
    Bytes capsule = scheme::make_capsule(round, seed32(1)).bytes;
    const std::size_t half = capsule.size() / 2;
    const auto refused = [&](std::size_t bit) {
      const auto flip = static_cast<std::uint8_t>(1u << (bit % 8));
      capsule[bit / 8] ^= flip;
      // Residues that are no residues are stopped before opening; all others must be here.
      if (scheme::capsule_well_formed(plan, capsule)) {
        CHECK_THROWS(scheme::open_fresh_capsule(key, round, capsule, "x"), RoundError);
      }
      capsule[bit / 8] ^= flip;
    };
    for (std::size_t bit = 0; bit < 100; ++bit) {  // the first coefficients, the seam, the end
      refused(bit);
      refused(8 * half + bit);
      refused(8 * capsule.size() - 1 - bit);
    }
    Random random(1);
    for (int i = 0; i < 300; ++i) refused(random.below(8 * capsule.size()));
    scheme::open_fresh_capsule(key, round, capsule, "x");
  }
}

/// A ciphertext given coefficient by coefficient, c[polynomial][limb][j], packed.
using Residues = std::vector<std::uint64_t>;

std::vector<Residues> unpack_all(const Plan& plan, const Bytes& capsule) {
  const CapsuleShape& shape = plan.capsule();
  const std::size_t row = shape.degree / 8 * 50;
  std::vector<Residues> rows;
  for (std::size_t i = 0; i * row < capsule.size(); ++i) {
    AlignedWords words(shape.degree);
    CHECK(isa::scalar_table()->unpack(capsule.data() + i * row, shape.degree,
                                      plan.capsule_ring().q(i % shape.limbs), words.data()));
    rows.emplace_back(words.begin(), words.end());
  }
  return rows;
}

Bytes pack_all(const Plan& plan, const std::vector<Residues>& rows) {
  const CapsuleShape& shape = plan.capsule();
  const std::size_t row = shape.degree / 8 * 50;
  Bytes out(rows.size() * row);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    isa::scalar_table()->pack(rows[i].data(), shape.degree, out.data() + i * row);
  }
  return out;
}

TEST("crafted ciphertexts that would show the secret key are refused") {
  const Plan plan = make_plan(10, 16);
  const SecretKey key = make_key(plan);
  const Round round = make_round(plan, key, 10);
  const std::uint64_t q = plan.capsule_ring().q(0);
  const std::uint64_t delta = plan.capsule_codeword().delta().low64();
  const std::size_t n = plan.capsule().degree;
  // c1 = Delta (a constant), c0 = 21 Delta everywhere: decrypts to the digits s_j + 21.
  std::vector<Residues> probe = {Residues(n, multiply_mod(21, delta, q)), Residues(n, 0)};
  probe[1][0] = delta;
  const Bytes crafted = pack_all(plan, probe);
  CHECK(scheme::capsule_well_formed(plan, crafted));
  // The probe is a real one: without the check it opens to the secret key itself.
  const ring::Expander expander("veilsum/1/secret-key", {}, bytes32(1), ring::KeySize::kAes256);
  std::vector<std::int8_t> s(n);
  isa::scalar_table()->sample_cbd(expander.key(),
                                  ring::stream_index(ring::Domain::kSecretKey, 0, 0), n, s.data());
  const EphemeralKey shown = scheme::open_summed_capsule(key, round, crafted, 1);
  for (std::size_t j = 0; j < n; ++j) CHECK_EQ(shown[j], s[j]);
  CHECK_THROWS(scheme::open_fresh_capsule(key, round, crafted, "x"), RoundError);

  CHECK_THROWS(scheme::open_fresh_capsule(key, round, Bytes(plan.capsule().bytes), "x"),
               RoundError);
  // An honest capsule moved by one, by half of Delta, or by a multiple of Delta (a reaction
  // attack).
  const std::vector<Residues> honest =
      unpack_all(plan, scheme::make_capsule(round, seed32(1)).bytes);
  for (const std::uint64_t shift : {std::uint64_t{1}, q - 1, delta / 2, delta, q - delta}) {
    for (const std::size_t j : {std::size_t{0}, std::size_t{300}, n - 1}) {
      for (const std::size_t polynomial : {0u, 1u}) {
        std::vector<Residues> moved = honest;
        moved[polynomial][j] = (moved[polynomial][j] + shift) % q;
        CHECK_THROWS(scheme::open_fresh_capsule(key, round, pack_all(plan, moved), "x"),
                     RoundError);
      }
    }
  }
  // Twice an honest capsule, and the sum of two: no fresh capsules either.
  const Bytes one = pack_all(plan, honest), two = scheme::make_capsule(round, seed32(2)).bytes;
  const ByteView pair[] = {one, two};
  const std::uint64_t both[] = {1, 1}, twice[] = {2, 0};
  CHECK_THROWS(scheme::open_fresh_capsule(key, round, scheme::sum_capsules(plan, pair, both), "x"),
               RoundError);
  CHECK_THROWS(scheme::open_fresh_capsule(key, round,
                                          scheme::sum_capsules(plan, {pair, 1}, {twice, 1}), "x"),
               RoundError);
}

TEST("another authority's key opens nothing") {
  const Plan plan = make_plan(10, 16);
  const SecretKey key = make_key(plan, 1), stranger = make_key(plan, 2);
  const Round round = make_round(plan, key, 10);
  const Capsule capsule = scheme::make_capsule(round, seed32(1));
  CHECK_THROWS(scheme::open_fresh_capsule(stranger, round, capsule.bytes, "x"), RoundError);
}

TEST("sums with weights up to W open to the exact sum") {
  for (const Plan& plan : capsule_plans()) {
    const SecretKey key = make_key(plan);
    const Round round = make_round(plan, key, 10);
    const std::uint64_t weight = plan.max_weight();
    constexpr std::size_t kCapsules = 4;
    std::vector<Capsule> capsules;
    for (std::uint64_t n = 0; n < kCapsules; ++n) {
      capsules.push_back(scheme::make_capsule(round, seed32(n)));
    }
    // All the weight on one; spread unevenly; spread evenly; and the least.
    const std::vector<std::vector<std::uint64_t>> cases = {
        {weight - 3, 1, 1, 1},
        {weight / 2, weight - weight / 2 - 2, 1, 1},
        {weight / 4, weight / 4, weight / 4, weight / 4},
        {1, 1, 1, 1},
    };
    for (const std::vector<std::uint64_t>& weights : cases) {
      std::vector<ByteView> views;
      std::uint64_t total = 0;
      std::vector<std::int64_t> expected(plan.degree(), 0);
      for (std::size_t k = 0; k < kCapsules; ++k) {
        views.emplace_back(capsules[k].bytes);
        total += weights[k];
        for (std::size_t j = 0; j < expected.size(); ++j) {
          expected[j] += static_cast<std::int64_t>(weights[k]) * capsules[k].key[j];
        }
      }
      const Bytes sum = scheme::sum_capsules(plan, views, weights);
      const EphemeralKey opened = scheme::open_summed_capsule(key, round, sum, total);
      CHECK(std::equal(opened.begin(), opened.end(), expected.begin(), expected.end()));
    }
  }
}

TEST("many seeds at full weight, until keys with coefficients at both ends have been met") {
  const Plan plan = make_plan(1 << 20, 8);
  const SecretKey key = make_key(plan);
  const Round round = make_round(plan, key, 10);
  std::int64_t lowest = 0, highest = 0;
  for (std::uint64_t n = 0; n < 40; ++n) {
    const Capsule capsule = scheme::make_capsule(round, seed32(1000 + n));
    lowest = std::min(lowest, *std::min_element(capsule.key.begin(), capsule.key.end()));
    highest = std::max(highest, *std::max_element(capsule.key.begin(), capsule.key.end()));
    const ByteView views[] = {capsule.bytes};
    const std::uint64_t weights[] = {plan.max_weight()};
    const EphemeralKey opened = scheme::open_summed_capsule(
        key, round, scheme::sum_capsules(plan, views, weights), plan.max_weight());
    std::size_t wrong = 0;
    for (std::size_t j = 0; j < opened.size(); ++j) {
      wrong += opened[j] != static_cast<std::int64_t>(plan.max_weight()) * capsule.key[j];
    }
    CHECK_EQ(wrong, 0u);
  }
  CHECK(lowest <= -13 && highest >= 13);  // four standard deviations; 160 thousand draws
}

/// The worst honest-looking ciphertext number t for one coefficient: digits all `digit`, top bits
/// all set, and u, e0, e1 in {-21, 21} chosen against the secret so that the noise in coefficient
/// `target` is as large as it gets.
std::vector<Residues> worst_ciphertext(const Plan& plan, const SecretKey& key, std::uint64_t n,
                                       std::uint64_t digit, std::size_t target, bool positive) {
  const CapsuleShape& shape = plan.capsule();
  const ring::Ring& ring = plan.capsule_ring();
  const std::size_t degree = shape.degree;
  const auto small = [&](ring::Domain domain) {
    const ring::Expander expander("veilsum/1/secret-key", {}, bytes32(n), ring::KeySize::kAes256);
    std::vector<std::int8_t> narrow(degree);
    isa::scalar_table()->sample_cbd(expander.key(), ring::stream_index(domain, 0, 0), degree,
                                    narrow.data());
    return std::vector<std::int64_t>(narrow.begin(), narrow.end());
  };
  // Coefficient `target` of v * x is sum_i v_i x_(target - i), with a minus sign when that wraps.
  const auto against = [&](const std::vector<std::int64_t>& v) {
    std::vector<std::int64_t> x(degree);
    for (std::size_t i = 0; i < degree; ++i) {
      const bool wraps = i > target;
      const std::int64_t sign = (v[i] < 0) == (wraps != positive) ? 1 : -1;
      x[(target + degree - i) % degree] = 21 * sign;
    }
    return x;
  };
  const std::vector<std::int64_t> u = against(small(ring::Domain::kKeyError));
  const std::vector<std::int64_t> e1 = against(small(ring::Domain::kSecretKey));
  const std::int64_t e0 = positive ? 21 : -21;

  BigInteger message = BigInteger::power_of_two(shape.message_bits - 1);
  for (std::uint32_t lane = 0; lane < shape.lanes; ++lane) {
    message = message + BigInteger(digit) * BigInteger::power_of_two(lane * shape.lane_bits);
  }
  BigInteger modulus(1), delta;
  for (std::uint32_t limb = 0; limb < shape.limbs; ++limb) {
    modulus = modulus * BigInteger(ring.q(limb));
  }
  delta = modulus.shifted_right(shape.message_bits);
  const BigInteger scaled = delta * message;

  std::vector<Residues> rows(2 * shape.limbs);
  for (std::uint32_t limb = 0; limb < shape.limbs; ++limb) {
    const std::uint64_t q = ring.q(limb);
    // u as residues times the key's polynomials: PublicKey holds them as multipliers.
    AlignedWords u_slots(degree);
    ring::small_to_slots_into(ring, limb, u, u_slots.data());
    for (const bool first : {true, false}) {
      AlignedWords product(degree);
      const ring::SlotMultiplier& factor = first ? key.public_key().b() : key.public_key().a();
      factor.multiply_into_lazy(ring, limb, u_slots.data(), product.data());
      Residues row(degree);
      for (std::size_t j = 0; j < degree; ++j) {
        const std::int64_t error = first ? e0 : e1[j];
        row[j] = (product[j] + (static_cast<std::uint64_t>(error + 21) + q - 21) +
                  (first ? scaled.mod(q) : 0)) %
                 q;
      }
      rows[(first ? 0 : shape.limbs) + limb] = std::move(row);
    }
  }
  return rows;
}

TEST("the worst case: all digits at an end, full weight, noise lined up against the key") {
  for (const Plan& plan : capsule_plans()) {
    const SecretKey key = make_key(plan, 3);
    const Round round = make_round(plan, key, 10);
    const std::uint64_t weight = plan.max_weight();
    for (const std::int64_t r : {-21, 21}) {
      for (const bool positive : {false, true}) {
        const std::vector<Residues> one = worst_ciphertext(
            plan, key, 3, static_cast<std::uint64_t>(r + 21), plan.capsule().degree / 3, positive);
        std::vector<Residues> rows;
        for (std::uint32_t t = 0; t < plan.capsule().ciphertexts; ++t) {
          rows.insert(rows.end(), one.begin(), one.end());
        }
        const Bytes capsule = pack_all(plan, rows);
        const ByteView views[] = {capsule};
        const std::uint64_t weights[] = {weight};
        const EphemeralKey opened = scheme::open_summed_capsule(
            key, round, scheme::sum_capsules(plan, views, weights), weight);
        std::size_t wrong = 0;
        for (const std::int64_t coefficient : opened) {
          wrong += coefficient != r * static_cast<std::int64_t>(weight);
        }
        CHECK_EQ(wrong, 0u);
      }
    }
  }
}

TEST("adding capsules is adding residues, in any number") {
  const Plan plan = make_plan(4000, 8);
  const SecretKey key = make_key(plan);
  const Round round = make_round(plan, key, 10);
  const std::uint64_t q = plan.capsule_ring().q(0);
  const Bytes a = scheme::make_capsule(round, seed32(1)).bytes;
  const Bytes b = scheme::make_capsule(round, seed32(2)).bytes;
  const std::vector<Residues> rows_a = unpack_all(plan, a), rows_b = unpack_all(plan, b);
  for (const std::size_t count : {1u, 2u, 1023u, 1024u, 1025u, 2049u}) {  // around a batch
    std::vector<ByteView> views;
    for (std::size_t k = 0; k < count; ++k) views.emplace_back(k % 2 == 0 ? a : b);
    const std::vector<std::uint64_t> weights(count, 1);
    const std::vector<Residues> sum = unpack_all(plan, scheme::sum_capsules(plan, views, weights));
    std::size_t wrong = 0;
    for (std::size_t row = 0; row < sum.size(); ++row) {
      const std::uint64_t modulus = plan.capsule_ring().q(row % plan.capsule().limbs);
      for (std::size_t j = 0; j < sum[row].size(); ++j) {
        const std::uint64_t expected = (multiply_mod((count + 1) / 2, rows_a[row][j], modulus) +
                                        multiply_mod(count / 2, rows_b[row][j], modulus)) %
                                       modulus;
        wrong += sum[row][j] != expected;
      }
    }
    CHECK_EQ(wrong, 0u);
  }
  // A residue that is none is found, in whichever capsule.
  std::vector<Residues> bad = rows_b;
  bad[1][plan.capsule().degree - 1] = q;
  const Bytes spoiled = pack_all(plan, bad);
  CHECK(!scheme::capsule_well_formed(plan, spoiled));
  const ByteView views[] = {a, spoiled};
  const std::uint64_t weights[] = {1, 1};
  CHECK_THROWS(scheme::sum_capsules(plan, views, weights), WireFormatError);
}

TEST("well-formed means the right length and every residue below its prime") {
  for (const Plan& plan : capsule_plans()) {
    const CapsuleShape& shape = plan.capsule();
    CHECK(scheme::capsule_well_formed(plan, Bytes(shape.bytes)));
    CHECK(!scheme::capsule_well_formed(plan, Bytes(shape.bytes - 1)));
    CHECK(!scheme::capsule_well_formed(plan, Bytes(shape.bytes + 1)));
    CHECK(!scheme::capsule_well_formed(plan, Bytes{}));
    std::vector<Residues> rows(2 * shape.limbs * shape.ciphertexts, Residues(shape.degree, 0));
    for (std::size_t row = 0; row < rows.size(); ++row) {
      const std::uint64_t q = plan.capsule_ring().q(row % shape.limbs);
      for (const std::size_t j : {std::size_t{0}, std::size_t{shape.degree} - 1}) {
        rows[row][j] = q - 1;
        CHECK(scheme::capsule_well_formed(plan, pack_all(plan, rows)));
        rows[row][j] = q;
        CHECK(!scheme::capsule_well_formed(plan, pack_all(plan, rows)));
        rows[row][j] = 0;
      }
    }
  }
}

}  // namespace
}  // namespace veilsum::test
