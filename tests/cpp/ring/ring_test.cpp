// Layer: tests (ring). Twiddle tables against tables written from the definition, the transform
// over them against evaluation, and secret multipliers against schoolbook negacyclic products, on
// every instruction set level.
#include "ring/ring.h"

#include <cstdint>
#include <thread>
#include <vector>

#include "check.h"
#include "isa/dispatch.h"
#include "ring/primes.h"
#include "support/active_level.h"
#include "support/levels.h"
#include "support/modulus.h"
#include "support/random.h"
#include "veilsum/errors.h"

namespace veilsum::test {
namespace {

using ring::NttTables;
using ring::Ring;
using ring::SlotMultiplier;

bool same(const std::uint64_t* a, const std::uint64_t* b, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    if (a[i] != b[i]) return false;
  }
  return true;
}

TEST("twiddle tables: every table of every ring, from the definition") {
  for (const std::uint64_t q : ring::kPrimes) {
    for (std::uint32_t n = 64; n <= ring::kMaxDegree; n *= 2) {
      const NttTables tables(n, q);
      const Twiddles expected(n, q);
      const isa::NttView &a = tables.view(), &b = expected.view();
      CHECK_EQ(a.n, n);
      CHECK_EQ(std::uint64_t{1} << a.log_n, n);
      CHECK_EQ(a.modulus.q, q);
      CHECK(same(a.roots, b.roots, n));
      CHECK(same(a.roots_shoup, b.roots_shoup, n));
      CHECK(same(a.inverse_roots, b.inverse_roots, n));
      CHECK(same(a.inverse_roots_shoup, b.inverse_roots_shoup, n));
      CHECK(same(a.tail, b.tail, n / 16 * 48));
      CHECK(same(a.inverse_tail, b.inverse_tail, n / 16 * 48));
      CHECK_EQ(reinterpret_cast<std::uintptr_t>(a.tail) % 64, 0u);
      CHECK_EQ(reinterpret_cast<std::uintptr_t>(a.inverse_tail) % 64, 0u);
      CHECK_EQ(multiply_mod(tables.n_inverse(), n, q), 1u);
    }
  }
}

TEST("the transform over these tables evaluates at odd powers of psi") {
  for (const std::uint64_t q : ring::kPrimes) {
    for (std::uint32_t n = 64; n <= ring::kMaxDegree; n *= 4) {
      const NttTables tables(n, q);
      Random random(n);
      AlignedWords input(n);
      for (std::size_t i = 0; i < n; ++i) input[i] = random.edgy(q);
      const AlignedWords expected = evaluate(input, ring::primitive_root_of_unity(q, n), q);
      on_every_level([&](const isa::KernelTable& table) {
        AlignedWords slots = input;
        table.ntt_forward(slots.data(), tables.view());
        CHECK(slots == expected);
      });
    }
  }
}

TEST("tables survive being moved") {
  std::vector<NttTables> all;
  for (const std::uint64_t q : ring::kPrimes) all.emplace_back(64, q);  // reallocates, so moves
  const Twiddles expected(64, ring::kPrimes[0]);
  CHECK(same(all[0].view().roots, expected.view().roots, 64));
}

TEST("degrees and moduli that do not fit are refused") {
  for (const std::uint32_t n : {0u, 1u, 32u, 63u, 65u, 96u, 2047u, 65536u, 1u << 31}) {
    CHECK_THROWS(NttTables(n, ring::kPrimes[0]), ParameterError);
    CHECK_THROWS(Ring(n, 1), ParameterError);
  }
  CHECK_THROWS(NttTables(2048, ring::kPrimes[0] + 2), ParameterError);
  for (const std::uint32_t limbs : {0u, 5u, 1u << 31}) {
    CHECK_THROWS(Ring(2048, limbs), ParameterError);
    CHECK_THROWS(Ring::get(2048, limbs), ParameterError);
  }
}

TEST("a ring is made once while it is in use, also from several threads") {
  const auto first = Ring::get(4096, 2);
  CHECK_EQ(first->degree(), 4096u);
  CHECK_EQ(first->limbs(), 2u);
  CHECK_EQ(first->words(), 8192u);
  CHECK_EQ(first->q(1), ring::kPrimes[1]);
  CHECK(Ring::get(4096, 2) == first);
  CHECK(Ring::get(4096, 1) != first);
  std::vector<std::shared_ptr<const Ring>> seen(4);
  std::vector<std::thread> threads;
  for (auto& mine : seen) threads.emplace_back([&mine] { mine = Ring::get(1024, 2); });
  for (std::thread& thread : threads) thread.join();
  for (const auto& ring : seen) CHECK(ring == seen[0]);
}

/// Negacyclic product of x (residues) and v (signed), from the definition.
std::vector<std::uint64_t> naive_product(const std::vector<std::uint64_t>& x,
                                         const std::vector<std::int64_t>& v, std::uint64_t q) {
  const std::size_t n = x.size();
  std::vector<std::uint64_t> out(n, 0);
  for (std::size_t j = 0; j < n; ++j) {
    const std::uint64_t factor = v[j] >= 0 ? static_cast<std::uint64_t>(v[j]) % q
                                           : (q - static_cast<std::uint64_t>(-v[j]) % q) % q;
    if (factor == 0) continue;
    for (std::size_t i = 0; i < n; ++i) {
      const std::uint64_t product = multiply_mod(x[i], factor, q);
      std::uint64_t& target = out[(i + j) % n];
      target = (target + (i + j < n ? product : q - product)) % q;
    }
  }
  return out;
}

/// n slots of any values below 2^52 become n lazy coefficients, by the active level.
void multiply_lazy(const Ring& ring, const SlotMultiplier& multiplier, std::size_t limb,
                   const std::uint64_t* slots, std::uint64_t* out) {
  const isa::KernelTable& kernels = isa::kernels();
  kernels.multiply_slots(slots, multiplier.slots(limb), multiplier.companions(limb),
                         ring.modulus(limb), ring.degree(), out);
  kernels.ntt_inverse_lazy(out, ring.tables(limb).view());
}

/// Multiplies x by v with a SlotMultiplier over all limbs and compares with the definition.
void check_product(const Ring& ring, const std::vector<std::int64_t>& v, std::uint64_t seed) {
  const std::size_t n = ring.degree();
  std::vector<std::vector<std::uint64_t>> x(ring.limbs()), expected(ring.limbs());
  Random random(seed);
  for (std::size_t limb = 0; limb < ring.limbs(); ++limb) {
    for (std::size_t i = 0; i < n; ++i) x[limb].push_back(random.edgy(ring.q(limb)));
    expected[limb] = naive_product(x[limb], v, ring.q(limb));
  }
  on_every_active_level([&] {
    const SlotMultiplier multiplier(ring, v);
    for (std::size_t limb = 0; limb < ring.limbs(); ++limb) {
      const std::uint64_t q = ring.q(limb);
      for (std::size_t j = 0; j < n; ++j) {
        CHECK(multiplier.slots(limb)[j] < q);
        CHECK_EQ(multiplier.companions(limb)[j], shoup(multiplier.slots(limb)[j], q));
      }
      AlignedWords slots(n), product(n);
      for (std::size_t i = 0; i < n; ++i) slots[i] = x[limb][i];
      isa::kernels().ntt_forward(slots.data(), ring.tables(limb).view());
      // Slots may be any value below 2^52: add multiples of q to some.
      for (std::size_t i = 0; i < n; i += 3) slots[i] += 2 * q;
      multiply_lazy(ring, multiplier, limb, slots.data(), product.data());
      std::size_t wrong = 0;
      for (std::size_t i = 0; i < n; ++i) {
        const std::uint64_t lazy = product[i] & ((std::uint64_t{1} << 52) - 1);
        wrong += lazy >= isa::kLazyFactor * q || lazy % q != expected[limb][i];
      }
      CHECK_EQ(wrong, 0u);
    }
  });
}

TEST("a secret multiplier gives the negacyclic product") {
  Random random(5);
  for (const std::uint32_t n : {64u, 128u}) {
    const Ring ring(n, 4);
    const auto small = [&] { return static_cast<std::int64_t>(random.below(17)) - 8; };
    for (int repeat = 0; repeat < 3; ++repeat) {
      std::vector<std::int64_t> v(n);
      for (std::int64_t& value : v) value = small();
      check_product(ring, v, random.next());
    }
    check_product(ring, std::vector<std::int64_t>(n, 8), 1);
    check_product(ring, std::vector<std::int64_t>(n, -8), 2);
    check_product(ring, std::vector<std::int64_t>(n, 0), 3);
    std::vector<std::int64_t> unit(n, 0);
    unit[n - 1] = -1;  // multiplication by -X^(n-1) = X^-1
    check_product(ring, unit, 4);
    // Sum keys reach 8 * 2^20; the contract goes up to q - 1.
    std::vector<std::int64_t> large(n);
    for (std::size_t j = 0; j < n; ++j) {
      const std::int64_t edges[] = {8 << 20, -(8 << 20),
                                    static_cast<std::int64_t>(ring::kPrimes[3]) - 1,
                                    1 - static_cast<std::int64_t>(ring::kPrimes[3])};
      large[j] = edges[random.below(4)];
    }
    check_product(ring, large, 5);
  }
}

TEST("the same at the degree of the default ring") {
  const Ring ring(2048, 1);
  Random random(6);
  std::vector<std::int64_t> v(2048);
  for (std::int64_t& value : v) value = static_cast<std::int64_t>(random.below(17)) - 8;
  check_product(ring, v, 6);
}

TEST("slots of a small polynomial, on every level") {
  for (const std::uint32_t n : {64u, 1024u}) {
    const Ring ring(n, 4);
    Random random(7);
    std::vector<std::int64_t> v(n);
    for (std::int64_t& value : v) value = static_cast<std::int64_t>(random.below(17)) - 8;
    for (std::size_t limb = 0; limb < 4; ++limb) {
      const std::uint64_t q = ring.q(limb);
      AlignedWords residues(n);
      for (std::size_t j = 0; j < n; ++j) residues[j] = (q + static_cast<std::uint64_t>(v[j])) % q;
      const AlignedWords expected = evaluate(residues, ring::primitive_root_of_unity(q, n), q);
      on_every_active_level([&] {
        AlignedWords slots(n);
        ring::small_to_slots_into(ring, limb, v, slots.data());
        CHECK_EQ(slots, expected);
      });
    }
  }
}

}  // namespace
}  // namespace veilsum::test
