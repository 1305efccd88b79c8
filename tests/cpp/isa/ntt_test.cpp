// Layer: tests (isa). The transforms on every level, against their definition (evaluation at odd
// powers of psi, O(n^2)), against schoolbook negacyclic products, and against the scalar level.
// Lazy results are compared as residues: levels may differ by q inside [0, 2q).
#include <vector>

#include "check.h"
#include "support/levels.h"
#include "support/modulus.h"
#include "support/random.h"

namespace veilsum::test {
namespace {

using isa::KernelTable;

AlignedWords random_words(Random& random, std::size_t n, std::uint64_t bound) {
  AlignedWords words(n);
  for (std::size_t i = 0; i < n; ++i) words[i] = random.edgy(bound);
  return words;
}

AlignedWords filled(std::size_t n, std::uint64_t value) {
  AlignedWords words(n);
  for (std::size_t i = 0; i < n; ++i) words[i] = value;
  return words;
}

/// Slot k, by definition, at its place in storage.
AlignedWords evaluate(const AlignedWords& a, const Twiddles& twiddles) {
  const isa::NttView& view = twiddles.view();
  const std::uint64_t q = view.modulus.q;
  AlignedWords slots(a.size());
  for (std::size_t k = 0; k < a.size(); ++k) {
    const std::uint64_t x = power_mod(twiddles.psi(), 2 * reverse_bits(k, view.log_n) + 1, q);
    std::uint64_t value = 0;
    for (std::size_t i = a.size(); i-- > 0;) value = (multiply_mod(value, x, q) + a[i]) % q;
    slots[storage_index(k)] = value;
  }
  return slots;
}

TEST("forward: the definition, for small n") {
  for (const std::uint64_t q : test_primes()) {
    for (const std::uint32_t n : {64u, 128u, 256u}) {
      const Twiddles twiddles(n, q);
      Random random(n);
      std::vector<AlignedWords> inputs = {filled(n, 0), filled(n, 1), filled(n, q - 1),
                                          random_words(random, n, q)};
      for (const std::size_t unit : {std::size_t{0}, std::size_t{1}, std::size_t{n} - 1}) {
        inputs.push_back(filled(n, 0));
        inputs.back()[unit] = q - 1;
      }
      for (const AlignedWords& input : inputs) {
        const AlignedWords expected = evaluate(input, twiddles);
        on_every_level([&](const KernelTable& table) {
          AlignedWords a = input;
          table.ntt_forward(a.data(), twiddles.view());
          CHECK_EQ(a, expected);
        });
      }
    }
  }
}

TEST("forward, product of slots, inverse: n times the negacyclic product") {
  for (const std::uint64_t q : test_primes()) {
    const std::uint32_t n = 128;
    const Twiddles twiddles(n, q);
    Random random(7);
    const AlignedWords x = random_words(random, n, q), y = random_words(random, n, q);
    AlignedWords expected(n);
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t j = 0; j < n; ++j) {
        const std::uint64_t product = multiply_mod(multiply_mod(x[i], y[j], q), n, q);
        std::uint64_t& target = expected[(i + j) % n];
        target = (target + (i + j < n ? product : q - product)) % q;
      }
    }
    on_every_level([&](const KernelTable& table) {
      AlignedWords a = x, b = y;
      table.ntt_forward(a.data(), twiddles.view());
      table.ntt_forward(b.data(), twiddles.view());
      for (std::size_t i = 0; i < n; ++i) a[i] = multiply_mod(a[i], b[i], q);
      table.ntt_inverse_lazy(a.data(), twiddles.view());
      for (std::size_t i = 0; i < n; ++i) {
        CHECK(a[i] < 2 * q);
        a[i] %= q;
      }
      CHECK_EQ(a, expected);
    });
  }
}

TEST("every n: all levels agree, and the inverse undoes the forward transform") {
  for (const std::uint64_t q : test_primes()) {
    for (std::uint32_t n = 64; n <= 32768; n *= 2) {
      const Twiddles twiddles(n, q);
      Random random(n + 1);
      for (const AlignedWords& input :
           {random_words(random, n, q), filled(n, q - 1), filled(n, 1)}) {
        AlignedWords expected = input;
        isa::scalar_table()->ntt_forward(expected.data(), twiddles.view());
        on_every_level([&](const KernelTable& table) {
          AlignedWords a = input;
          table.ntt_forward(a.data(), twiddles.view());
          CHECK_EQ(a, expected);
          table.ntt_inverse_lazy(a.data(), twiddles.view());
          std::size_t wrong = 0;
          for (std::size_t i = 0; i < n; ++i) {
            wrong += a[i] >= 2 * q || a[i] % q != multiply_mod(input[i], n, q);
          }
          CHECK_EQ(wrong, 0u);
        });
      }
    }
  }
}

TEST("inverse: lazy inputs up to 2q - 1") {
  for (const std::uint64_t q : test_primes()) {
    for (const std::uint32_t n : {64u, 2048u}) {
      const Twiddles twiddles(n, q);
      Random random(n + 2);
      for (const AlignedWords& input :
           {random_words(random, n, 2 * q), filled(n, 2 * q - 1), filled(n, q)}) {
        AlignedWords canonical(n);
        for (std::size_t i = 0; i < n; ++i) canonical[i] = input[i] % q;
        isa::scalar_table()->ntt_inverse_lazy(canonical.data(), twiddles.view());
        on_every_level([&](const KernelTable& table) {
          AlignedWords a = input;
          table.ntt_inverse_lazy(a.data(), twiddles.view());
          std::size_t wrong = 0;
          for (std::size_t i = 0; i < n; ++i) {
            wrong += a[i] >= 2 * q || a[i] % q != canonical[i] % q;
          }
          CHECK_EQ(wrong, 0u);
        });
      }
    }
  }
}

}  // namespace
}  // namespace veilsum::test
