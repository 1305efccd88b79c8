// Layer: tests (isa). The transforms on every level against their definition, for every n, and the
// inverse at the bounds its laziness rests on. What a level leaves above bit 52 of a lazy residue
// means nothing, and neither does what it finds there.
#include <algorithm>
#include <bit>
#include <cstdint>
#include <vector>

#include "check.h"
#include "support/guarded.h"
#include "support/levels.h"
#include "support/modulus.h"
#include "support/random.h"

namespace veilsum::test {
namespace {

using isa::KernelTable;

constexpr std::uint64_t kLow52 = (std::uint64_t{1} << 52) - 1;

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

TEST("this file's fast transform is evaluation at odd powers of psi") {
  const std::uint32_t n = 64;
  const std::uint64_t q = test_primes()[0];
  const Twiddles twiddles(n, q);
  Random random(1);
  const AlignedWords a = random_words(random, n, q);
  const AlignedWords slots = evaluate(a, twiddles.psi(), q);
  for (std::size_t k = 0; k < n; ++k) {
    const std::uint64_t x = power_mod(twiddles.psi(), 2 * reverse_bits(k, 6) + 1, q);
    std::uint64_t value = 0;
    for (std::size_t i = n; i-- > 0;) value = (multiply_mod(value, x, q) + a[i]) % q;
    CHECK_EQ(slots[storage_index(k)], value);
  }
}

TEST("forward: the definition, for every n") {
  for (const std::uint64_t q : test_primes()) {
    for (std::uint32_t n = 64; n <= 32768; n *= 2) {
      const Twiddles twiddles(n, q);
      Random random(n);
      // Small inputs too: a difference of lazy words is lifted by a multiple of q, so that zeros
      // grow fastest.
      std::vector<AlignedWords> inputs = {filled(n, q - 1), filled(n, 0), filled(n, 1)};
      for (const std::uint32_t unit : {0u, 1u, n / 2, n - 1}) {
        inputs.push_back(filled(n, 0));
        inputs.back()[unit] = unit % 2 == 0 ? 1 : q - 1;
      }
      for (std::uint32_t i = n <= 4096 ? 0 : 8; i < 10; ++i) {
        inputs.push_back(random_words(random, n, q));
      }
      if (n <= 256) {
        inputs.push_back(random_words(random, n, 2));
        for (std::size_t unit = 0; unit < n; unit += 1 + n / 40) {
          inputs.push_back(filled(n, 0));
          inputs.back()[unit] = q - 1;
        }
      }
      for (const AlignedWords& input : inputs) {
        const AlignedWords expected = evaluate(input, twiddles.psi(), q);
        on_every_level([&](const KernelTable& table) {
          AlignedWords a = input;
          table.ntt_forward(a.data(), twiddles.view());
          CHECK_EQ(a, expected);
        });
      }
    }
  }
}

TEST("forward: words that grow by nearly 2q in every layer on the way to the last slot") {
  // A butterfly's lower result is u + 2q - v, v the lazy product y w. With e the fraction of
  // w 2^52 / q, v is y w mod q itself when that is at least e y q / 2^52. So v shall be little
  // more, in every layer: backwards from the last slot, each part is made of the next (its low half
  // less its high half times w) with v for that product.
  for (const std::uint64_t q : test_primes()) {
    for (std::uint32_t n = 64; n <= 32768; n *= 2) {
      const Twiddles twiddles(n, q);
      for (const std::uint64_t last : {q - 1, q - 2, q / 2, std::uint64_t{0}}) {
        std::vector<std::uint64_t> part = {last};
        for (std::uint32_t groups = n / 2; groups >= 1; groups /= 2) {
          const std::uint64_t w = twiddles.view().roots[2 * groups - 1];
          const auto layer = static_cast<std::uint64_t>(std::countr_zero(groups));
          const std::uint64_t y = std::min<std::uint64_t>(16, 2 * layer + 1);  // at most y q
          const std::uint64_t rest = multiply_mod(w, (std::uint64_t{1} << 52) % q, q);  // e q
          const std::uint64_t v = rest / 16 * y + y + 1;
          const std::uint64_t high = multiply_mod(v % q, inverse_mod(w, q), q);
          for (std::uint64_t& low : part) low = (low + v) % q;
          part.resize(2 * part.size(), high);
        }
        AlignedWords input(n);
        for (std::uint32_t i = 0; i < n; ++i) input[i] = part[i];
        const AlignedWords expected = evaluate(input, twiddles.psi(), q);
        CHECK_EQ(expected[storage_index(n - 1)], last);
        on_every_level([&](const KernelTable& table) {
          AlignedWords a = input;
          table.ntt_forward(a.data(), twiddles.view());
          CHECK_EQ(a, expected);
        });
      }
    }
  }
}

/// Runs the inverse on slots below 2q, with and without bits above 52, on every level.
void check_inverse(const Twiddles& twiddles, const AlignedWords& slots) {
  const std::uint64_t q = twiddles.view().modulus.q;
  const std::size_t n = slots.size();
  AlignedWords expected(n);
  for (std::size_t i = 0; i < n; ++i) expected[i] = multiply_mod(slots[i] % q, n, q);
  Random random(n);
  for (const bool leftovers : {false, true}) {
    AlignedWords input = slots;
    for (std::size_t i = 0; leftovers && i < n; ++i) {
      input[i] |= random.edgy(std::uint64_t{1} << 12) << 52;
    }
    on_every_level([&](const KernelTable& table) {
      AlignedWords a = input;
      table.ntt_inverse_lazy(a.data(), twiddles.view());
      std::size_t too_large = 0;
      for (std::size_t i = 0; i < n; ++i) {
        const std::uint64_t lazy = a[i] & kLow52;
        too_large += lazy >= isa::kLazyFactor * q;
        a[i] = lazy % q;
      }
      CHECK_EQ(too_large, 0u);
      // The transform is one to one: what it takes to n times the slots is what was asked for.
      CHECK_EQ(evaluate(a, twiddles.psi(), q), expected);
    });
  }
}

TEST("inverse: n times what the forward transform undoes, for every n") {
  for (const std::uint64_t q : test_primes()) {
    for (std::uint32_t n = 64; n <= 32768; n *= 2) {
      const Twiddles twiddles(n, q);
      Random random(n + 1);
      for (std::uint32_t i = n <= 2048 ? 0 : 8; i < 10; ++i) {
        check_inverse(twiddles, random_words(random, n, i % 2 == 0 ? q : 2 * q));
      }
    }
  }
}

TEST("inverse: slots of 2q - 1 throughout, and against zeros at every distance") {
  for (const std::uint64_t q : test_primes()) {
    for (const std::uint32_t n : {64u, 128u, 256u, 512u, 2048u, 4096u}) {
      const Twiddles twiddles(n, q);
      // 15 2^45 - 1: eight of them end in 2^48 - 8, where a reduction by 2^48 = delta leaves most.
      const std::uint64_t tops[] = {
          2 * q - 1, 0, q, q - 1, (std::uint64_t{15} << 45) - 1, (std::uint64_t{1} << 48) - 1};
      for (const std::uint64_t top : tops) {
        check_inverse(twiddles, filled(n, top));
        if (n > 256 && top != tops[0]) continue;
        // Sums grow where equals meet, differences where a large word meets a zero: choose, by
        // bits of the slot's number, at which distances which of the two happens.
        for (std::size_t bit = 1; bit < n; bit *= 2) {
          for (const bool inverted : {false, true}) {
            AlignedWords slots(n);
            for (std::size_t k = 0; k < n; ++k) {
              slots[storage_index(k)] = ((k & bit) == 0) != inverted ? top : 0;
            }
            check_inverse(twiddles, slots);
          }
        }
      }
    }
  }
}

TEST("inverse: a single large slot, in every place") {
  const std::uint64_t q = test_primes()[2];
  for (const std::uint32_t n : {64u, 128u}) {
    const Twiddles twiddles(n, q);
    for (std::size_t k = 0; k < n; ++k) {
      AlignedWords one = filled(n, 0), hole = filled(n, 2 * q - 1);
      one[k] = 2 * q - 1;
      hole[k] = 0;
      check_inverse(twiddles, one);
      check_inverse(twiddles, hole);
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
      AlignedWords a = x, b = y, companions(n);
      table.ntt_forward(a.data(), twiddles.view());
      table.ntt_forward(b.data(), twiddles.view());
      for (std::size_t i = 0; i < n; ++i) companions[i] = shoup(b[i], q);
      table.multiply_slots(a.data(), b.data(), companions.data(), twiddles.view().modulus, n,
                           a.data());
      table.ntt_inverse_lazy(a.data(), twiddles.view());
      for (std::size_t i = 0; i < n; ++i) {
        CHECK((a[i] & kLow52) < isa::kLazyFactor * q);
        a[i] = (a[i] & kLow52) % q;
      }
      CHECK_EQ(a, expected);
    });
  }
}

/// A pad of one limb: the inverse of slots a o key, and what `ahead` names stays as it is.
void check_multiply_inverse(const Twiddles& twiddles, const AlignedWords& a,
                            const AlignedWords& key, const isa::Ahead& ahead) {
  const std::uint64_t q = twiddles.view().modulus.q;
  const std::size_t n = a.size();
  AlignedWords companions(n), expected(n);
  for (std::size_t i = 0; i < n; ++i) {
    companions[i] = shoup(key[i], q);
    expected[i] = multiply_mod(multiply_mod(a[i], key[i], q), n, q);
  }
  on_every_level([&](const KernelTable& table) {
    AlignedWords apart(n), same = a;
    for (AlignedWords* out : {&apart, &same}) {
      const AlignedWords& input = out == &same ? same : a;
      table.multiply_inverse(
          {input.data(), key.data(), companions.data(), &twiddles.view(), out->data(), ahead});
      for (std::size_t i = 0; i < n; ++i) {
        const std::uint64_t lazy = (*out)[i] & kLow52;
        CHECK(lazy < isa::kLazyFactor * q);
        (*out)[i] = lazy % q;
      }
      CHECK_EQ(evaluate(*out, twiddles.psi(), q), expected);
    }
  });
}

TEST("product and inverse in one: for every n, also in place, at the bounds of the product") {
  for (const std::uint64_t q : test_primes()) {
    for (std::uint32_t n = 64; n <= 32768; n *= 2) {
      const Twiddles twiddles(n, q);
      Random random(n + 3);
      const AlignedWords key = random_words(random, n, q);
      check_multiply_inverse(twiddles, random_words(random, n, q), key, {});
      check_multiply_inverse(twiddles, random_words(random, n, kLow52 + 1), key, {});
      if (n > 512) continue;
      check_multiply_inverse(twiddles, filled(n, kLow52), filled(n, q - 1), {});
      check_multiply_inverse(twiddles, filled(n, q - 1), filled(n, q - 1), {});
      for (std::size_t bit = 1; bit < n; bit *= 2) {
        AlignedWords slots(n);
        for (std::size_t k = 0; k < n; ++k) {
          slots[storage_index(k)] = (k & bit) == 0 ? kLow52 - random.below(8) : 0;
        }
        check_multiply_inverse(twiddles, slots, filled(n, q - 1 - random.below(8)), {});
      }
    }
  }
}

TEST("product and inverse in one: memory named ahead is not accessed") {
  const std::uint64_t q = test_primes()[0];
  for (const std::uint32_t n : {64u, 2048u, 8192u}) {
    const Twiddles twiddles(n, q);
    Random random(n + 4);
    const AlignedWords a = random_words(random, n, q), key = random_words(random, n, q);
    // What lies beyond the array is a page that nobody may touch.
    for (const std::size_t bytes : {std::size_t{1}, std::size_t{64}, std::size_t{100'000}}) {
      Guarded<std::uint8_t> memory(1, Border::kAbove);
      memory[0] = 0x5a;
      isa::Ahead ahead;
      ahead.read = memory.data();
      ahead.read_bytes = bytes;
      ahead.write = memory.data();
      ahead.write_bytes = bytes;
      check_multiply_inverse(twiddles, a, key, ahead);
      CHECK_EQ(memory[0], 0x5a);
    }
  }
}

TEST("products of slots: below 2q, right, also in place, for any first factor below 2^52") {
  Random random(8);
  for (const std::uint64_t q : test_primes()) {
    for (const std::size_t n : lengths_around_widths()) {
      for (const bool top : {false, true}) {
        const Border border = n % 16 == 0 ? Border::kAbove : Border::kBelow;
        Guarded<std::uint64_t> a(n, border), slots(n, border), companions(n, border);
        for (std::size_t j = 0; j < n; ++j) {
          a[j] = top ? kLow52 : random.edgy(kLow52 + 1);
          slots[j] = top ? q - 1 : random.edgy(q);
          companions[j] = shoup(slots[j], q);
        }
        on_every_level([&](const KernelTable& table) {
          Guarded<std::uint64_t> apart(n, border), same(a.copy(), border);
          for (Guarded<std::uint64_t>* out : {&apart, &same}) {
            table.multiply_slots(out == &same ? same.data() : a.data(), slots.data(),
                                 companions.data(), make_modulus(q), n, out->data());
            for (std::size_t j = 0; j < n; ++j) {
              const std::uint64_t product = (*out)[j] & kLow52;
              CHECK(product < 2 * q);
              CHECK_EQ(product % q, multiply_mod(a[j], slots[j], q));
            }
          }
        });
      }
    }
  }
}

}  // namespace
}  // namespace veilsum::test
