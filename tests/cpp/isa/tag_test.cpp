// Layer: tests (isa). One run of the sum tag's hash on every level against its definition, reduced
// at every step: both primes, narrow and wide digits, extremes, and memory that ends where the
// arguments do.
#include <vector>

#include "check.h"
#include "support/guarded.h"
#include "support/levels.h"
#include "support/random.h"

namespace veilsum::test {
namespace {

__extension__ typedef unsigned __int128 Uint128;
using isa::kTagPrime50;
using isa::kTagPrime61;
using isa::TagPowers;
using isa::TagRun;

std::uint64_t multiply(std::uint64_t a, std::uint64_t b, std::uint64_t p) {
  return static_cast<std::uint64_t>(static_cast<Uint128>(a) * b % p);
}

/// What a table says is the power of word j: of the point's own in a table of powers.
std::uint64_t factor(const TagPowers& powers, std::size_t j, std::uint64_t p) {
  return multiply(powers.power[j % isa::kTagStep], powers.step[j / isa::kTagStep], p);
}

void set_power(TagPowers& powers, std::size_t j, std::uint64_t power) {
  powers.power[j] = power;
  powers.low[j] = static_cast<double>(power & 0x1ffffff);
  powers.high[j] = static_cast<double>(power >> 25);
}

/// `digits` digits in base t; all of them the largest where `largest`.
struct Case {
  std::uint64_t prime;
  std::uint64_t t;
  std::uint32_t digits;
  bool wide;
};

template <typename Digit>
void compare(const isa::KernelTable& table, const Case& shape, std::size_t count,
             const std::vector<TagPowers>& powers, const std::vector<Digit>& digits,
             std::size_t stride) {
  std::vector<std::uint64_t> scale(1, 1);
  while (scale.size() < shape.digits) scale.push_back(scale.back() * shape.t);
  std::uint64_t expected[2] = {0, 0};
  for (std::size_t j = 0; j < count; ++j) {
    std::uint64_t word = 0;
    for (std::uint32_t i = 0; i < shape.digits; ++i) word += digits[i * stride + j] * scale[i];
    for (std::size_t e = 0; e < 2; ++e) {
      const std::uint64_t product =
          multiply(word % shape.prime, factor(powers[e], j, shape.prime), shape.prime);
      expected[e] = (expected[e] + product) % shape.prime;
    }
  }
  const Guarded<Digit> rows(digits, Border::kAbove);
  TagRun args{};
  if constexpr (sizeof(Digit) == 4) {
    args.narrow = rows.data();
  } else {
    args.wide = rows.data();
  }
  args.stride = stride;
  args.base = shape.t;
  args.digit_count = shape.digits;
  args.scale = scale.data();
  args.count = count;
  args.prime = shape.prime;
  args.powers = powers.data();
  std::uint64_t out[2];
  table.tag_run(args, out);
  CHECK_EQ(out[0], expected[0]);
  CHECK_EQ(out[1], expected[1]);
}

/// Random and edge digits, then every digit and every power the largest there is.
template <typename Digit>
void compare_all(const isa::KernelTable& table, const Case& shape, std::size_t count,
                 Random& random) {
  const std::size_t stride = count + 8 * random.below(3);
  // A run's last row may end with its last coefficient.
  std::vector<Digit> digits((shape.digits - 1) * stride + count);
  std::vector<TagPowers> powers(2);
  for (const bool largest : {false, true}) {
    for (Digit& digit : digits) {
      digit = static_cast<Digit>(largest ? shape.t - 1 : random.edgy(shape.t));
    }
    for (TagPowers& each : powers) {
      for (std::size_t j = 0; j < isa::kTagStep; ++j) {
        set_power(each, j, largest ? shape.prime - 1 : random.edgy(shape.prime));
      }
      for (std::uint64_t& step : each.step) {
        step = largest ? shape.prime - 1 : random.edgy(shape.prime);
      }
    }
    compare(table, shape, count, powers, digits, stride);
  }
}

// Every word is below P: t^digits is the largest power of t that is, or less.
constexpr Case kCases[] = {
    {kTagPrime50, 655351, 2, false},
    {kTagPrime50, 655351, 2, true},
    {kTagPrime50, 655351, 1, false},
    {kTagPrime50, 2551, 3, false},
    {kTagPrime50, 2551, 4, false},
    {kTagPrime50, 46, 7, false},
    {kTagPrime50, 3, 31, false},
    {kTagPrime50, 2, 49, false},
    {kTagPrime50, 2, 49, true},
    {kTagPrime50, 2048, 4, false},            // t^2 = 2^22: a piece of two digits ends there (avx2)
    {kTagPrime50, 2049, 4, false},            // and here no longer
    {kTagPrime50, 1u << 22, 2, false},        // the largest digit that is not cut
    {kTagPrime50, (1u << 22) + 1, 2, false},  // the smallest that is
    {kTagPrime50, (1u << 22) + 1, 2, true},
    {kTagPrime50, 33554431, 2, false},    // t = 2^25 - 1: words just below 2^50
    {kTagPrime50, 1ull << 32, 1, false},  // the largest narrow digits
    {kTagPrime50, (1ull << 32) + 1, 1, true},
    {kTagPrime50, kTagPrime50, 1, true},  // words of P - 1
    {kTagPrime61, kTagPrime50, 1, true},
    {kTagPrime61, 1ull << 52, 1, true},  // the largest words there are
    {kTagPrime61, 1ull << 32, 1, false},
    {kTagPrime50, 1ull << 45, 1, false},  // a client's digits where t has more than 32 bits
    {kTagPrime61, 1ull << 51, 1, false},
};

TEST("a run of packed words equals its definition, at any place, and reads nothing beyond") {
  on_every_level([](const isa::KernelTable& table) {
    Random random(2);
    constexpr std::uint64_t kEnd = std::uint64_t{1} << 48;
    const std::uint64_t one = 1;
    for (const std::size_t count : lengths_around_widths()) {
      if (count % 8 != 0 || count > isa::kTagRun) continue;
      for (const bool largest : {false, true}) {
        std::vector<TagPowers> powers(2);
        for (TagPowers& each : powers) {
          for (std::size_t j = 0; j < isa::kTagStep; ++j) {
            set_power(each, j, largest ? kTagPrime50 - 1 : random.edgy(kTagPrime50));
          }
          for (std::uint64_t& step : each.step) {
            step = largest ? kTagPrime50 - 1 : random.edgy(kTagPrime50);
          }
        }
        std::vector<std::uint8_t> bytes(6 * count);
        std::uint64_t expected[2] = {0, 0};
        for (std::size_t j = 0; j < count; ++j) {
          const std::uint64_t word = largest ? kEnd - 1 : random.edgy(kEnd);
          for (std::size_t i = 0; i < 6; ++i) {
            bytes[6 * j + i] = static_cast<std::uint8_t>(word >> (8 * i));
          }
          for (std::size_t e = 0; e < 2; ++e) {
            const std::uint64_t product =
                multiply(word, factor(powers[e], j, kTagPrime50), kTagPrime50);
            expected[e] = (expected[e] + product) % kTagPrime50;
          }
        }
        for (const Border border : {Border::kAbove, Border::kBelow}) {
          const Guarded<std::uint8_t> guarded(bytes, border);
          TagRun args{};
          args.packed = reinterpret_cast<const isa::PackedWord*>(guarded.data());
          args.base = kEnd;
          args.digit_count = 1;
          args.scale = &one;
          args.count = count;
          args.prime = kTagPrime50;
          args.powers = powers.data();
          std::uint64_t out[2];
          table.tag_run(args, out);
          CHECK_EQ(out[0], expected[0]);
          CHECK_EQ(out[1], expected[1]);
        }
      }
    }
  });
}

TEST("a run equals its definition at every length around the steps") {
  on_every_level([](const isa::KernelTable& table) {
    Random random(1);
    for (const Case& shape : kCases) {
      for (const std::size_t count : lengths_around_widths()) {
        if (shape.wide) {
          compare_all<std::uint64_t>(table, shape, count, random);
        } else {
          compare_all<std::uint32_t>(table, shape, count, random);
        }
      }
    }
  });
}

TEST("digits of zero, and no digits, hash to zero") {
  on_every_level([](const isa::KernelTable& table) {
    std::vector<TagPowers> powers(2);
    for (TagPowers& each : powers) {
      for (std::size_t j = 0; j < isa::kTagStep; ++j) set_power(each, j, kTagPrime50 - 1);
      for (std::uint64_t& step : each.step) step = kTagPrime50 - 1;
    }
    for (const std::size_t count : {0u, 8u, 256u, 2048u}) {
      compare(table, kCases[0], count, powers, std::vector<std::uint32_t>(2 * count, 0), count);
    }
  });
}

}  // namespace
}  // namespace veilsum::test
