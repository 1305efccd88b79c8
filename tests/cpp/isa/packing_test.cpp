// Layer: tests (isa). Rows of packed fields on every level: the bit layout at every width, and sums
// of blocks modulo 2^B with carries from row to row, against sums of unbounded integers. Arrays
// border on forbidden pages.
#include <cstdint>
#include <memory>
#include <vector>

#include "check.h"
#include "support/block_oracle.h"
#include "support/bytes.h"
#include "support/guarded.h"
#include "support/levels.h"
#include "support/random.h"

namespace veilsum::test {
namespace {

using isa::KernelTable;
using Words = std::vector<std::uint64_t>;

Words random_words(Random& random, std::size_t n, std::uint64_t bound) {
  Words words(n);
  for (std::uint64_t& word : words) word = random.edgy(bound);
  return words;
}

Bytes random_bytes(Random& random, std::size_t size) {
  Bytes bytes(size);
  for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(random.next());
  return bytes;
}

TEST("pack and unpack: the layout, for every width and length, and not a byte beyond") {
  Random random(21);
  for (unsigned bits = 1; bits <= kWordBits; ++bits) {
    const isa::FieldTable table = make_field_table(bits);
    for (const std::size_t n : lengths_around_widths()) {
      for (const Border border : {Border::kAbove, Border::kBelow}) {
        const std::uint64_t end = std::uint64_t{1} << bits;
        const Guarded<std::uint64_t> words(
            n % 3 == 0 ? Words(n, end - 1) : random_words(random, n, end), border);
        const Guarded<std::uint8_t> packed(pack_bits(words.copy(), bits), border);
        const Guarded<std::uint8_t> any(random_bytes(random, packed.size()), border);
        const Words unpacked = unpack_bits(any.data(), n, bits);
        on_every_level([&](const KernelTable& kernels) {
          Guarded<std::uint8_t> out(packed.size(), border);
          out.fill(0xa5);
          kernels.pack_fields(words.data(), n, table, out.data());
          CHECK(out.copy() == packed.copy());
          Guarded<std::uint64_t> back(n, border);
          back.fill(~std::uint64_t{0});
          kernels.unpack_fields(packed.data(), n, table, back.data());
          CHECK(back.copy() == words.copy());
          kernels.unpack_fields(any.data(), n, table, back.data());
          CHECK(back.copy() == unpacked);
        });
      }
    }
  }
}

TEST("pack: each bit of each field goes to its own place") {
  for (unsigned bits = 1; bits <= kWordBits; ++bits) {
    const isa::FieldTable table = make_field_table(bits);
    for (std::size_t i = 0; i < 16; ++i) {
      for (unsigned bit = 0; bit < bits; ++bit) {
        Words words(16, 0);
        words[i] = std::uint64_t{1} << bit;
        const Bytes expected = pack_bits(words, bits);
        on_every_level([&](const KernelTable& kernels) {
          Bytes out(expected.size(), 0xff);
          kernels.pack_fields(words.data(), 16, table, out.data());
          CHECK(out == expected);
          Words back(16, 1);
          kernels.unpack_fields(out.data(), 16, table, back.data());
          CHECK(back == words);
        });
      }
    }
  }
}

// --- sums ----------------------------------------------------------------------------------------

/// What is summed: packed blocks, and weights or none.
struct Sum {
  std::vector<Bytes> blocks;
  Words weights;  // empty: null
  bool subtract = false;

  std::uint64_t weight(std::size_t k) const { return weights.empty() ? 1 : weights[k]; }
};

/// The definition, modulo 2^B.
Bytes expected_sum(const BlockOracle& oracle, const Sum& sum) {
  const std::size_t n = sum.blocks[0].size() * 8 / oracle.shape.bits;
  std::vector<BigInteger> total(n);
  for (std::size_t k = 0; k < sum.blocks.size(); ++k) {
    const std::vector<BigInteger> fields = oracle.unpack(sum.blocks[k]);
    for (std::size_t j = 0; j < n; ++j) {
      const BigInteger term = (fields[j] * BigInteger(sum.weight(k))).low_bits(oracle.shape.bits);
      total[j] = sum.subtract && k > 0 ? total[j] + oracle.two_b - term : total[j] + term;
      total[j] = total[j].low_bits(oracle.shape.bits);
    }
  }
  return oracle.pack(total);
}

/// Runs the kernel with `out` apart from the sources, then with `out` as each of the sources.
void check_sum(const BlockOracle& oracle, const Sum& sum, const Bytes& expected, Border border,
               bool as_source = true) {
  const std::size_t count = sum.blocks.size();
  on_every_level([&](const KernelTable& kernels) {
    for (std::size_t target = 0; target <= (as_source ? count : 0); ++target) {
      std::vector<std::unique_ptr<Guarded<std::uint8_t>>> blocks;
      std::vector<const std::uint8_t*> sources;
      for (const Bytes& block : sum.blocks) {
        blocks.push_back(std::make_unique<Guarded<std::uint8_t>>(block, border));
        sources.push_back(blocks.back()->data());
      }
      Guarded<std::uint8_t> apart(expected.size(), border);
      apart.fill(0xa5);
      Guarded<std::uint8_t>& out = target == 0 ? apart : *blocks[target - 1];
      isa::SumFields args{};
      args.view = &oracle.view();
      args.sources = sources.data();
      args.weights = sum.weights.empty() ? nullptr : sum.weights.data();
      args.source_count = static_cast<std::uint32_t>(count);
      args.subtract = sum.subtract;
      args.coefficients = expected.size() * 8 / oracle.shape.bits;
      args.out = out.data();
      kernels.sum_fields(args);
      CHECK(out.copy() == expected);
      for (std::size_t k = 0; k < count; ++k) {  // sources stay as they were
        if (k + 1 != target) CHECK(blocks[k]->copy() == sum.blocks[k]);
      }
    }
  });
}

Bytes random_block(const BlockOracle& oracle, Random& random, std::size_t n) {
  std::vector<BigInteger> fields(n);
  for (BigInteger& field : fields) field = oracle.random_field(random);
  return oracle.pack(fields);
}

TEST("sum: a few sources, with and without weights, added and subtracted, also in place") {
  Random random(22);
  for (const Shape& shape : shapes()) {
    const BlockOracle oracle(shape);
    for (std::size_t n = 8; n <= 72; n += 8) {
      const std::size_t count = 1 + random.below(5);
      const bool subtract = random.below(2) == 1;
      Sum sum;
      sum.subtract = subtract;
      for (std::size_t k = 0; k < count; ++k) sum.blocks.push_back(random_block(oracle, random, n));
      const Border border = random.below(2) == 0 ? Border::kAbove : Border::kBelow;
      check_sum(oracle, sum, expected_sum(oracle, sum), border);
      for (std::size_t k = 0; k < count; ++k) {
        sum.weights.push_back(subtract && k == 0 ? 1 : random.edgy((1u << 20) / count));
      }
      check_sum(oracle, sum, expected_sum(oracle, sum), border);
    }
  }
}

TEST("sum: lengths around the kernels' chunks") {
  Random random(23);
  for (const Shape& shape : {shapes()[0], shapes()[1], shapes()[2], Shape{1, 8, 7, 2}}) {
    const BlockOracle oracle(shape);
    for (const std::size_t n : lengths_around_widths()) {
      Sum sum;
      for (int k = 0; k < 2; ++k) sum.blocks.push_back(random_block(oracle, random, n));
      if (n % 16 == 0) sum.weights = {1, random.below(1u << 19)};
      sum.subtract = n % 32 == 0;
      check_sum(oracle, sum, expected_sum(oracle, sum), Border::kAbove);
    }
  }
}

TEST("sum: every width of a last row, with carries and borrows through all rows") {
  Random random(24);
  constexpr std::size_t kCoefficients = 24;
  for (const unsigned limbs : {1u, 2u, 4u}) {
    for (unsigned bits = 8; bits <= 48 * limbs - 2; ++bits) {
      const BlockOracle oracle({limbs, bits, 2, 1});
      const BigInteger top = oracle.two_b - BigInteger(1);
      std::vector<BigInteger> ones(kCoefficients, BigInteger(1)), tops(kCoefficients, top);
      std::vector<BigInteger> mixed;
      for (std::size_t j = 0; j < kCoefficients; ++j) {  // 2^(8 j): a borrow from there down
        mixed.push_back(BigInteger::power_of_two(static_cast<unsigned>(8 * j)).low_bits(bits));
      }
      const Bytes zero = oracle.pack(std::vector<BigInteger>(kCoefficients));
      const Bytes one = oracle.pack(ones), all = oracle.pack(tops), some = oracle.pack(mixed);
      const std::vector<Sum> sums = {{{all, one}, {}, false},
                                     {{zero, one}, {}, true},
                                     {{zero, one, one}, {}, true},
                                     {{some, one}, {}, true},
                                     {{all, all}, {}, false},
                                     {{zero, all}, {}, true},
                                     {{all, one}, {1, 1u << 19}, true},
                                     {{all, one}, {1u << 19, 1u << 19}, false},
                                     {{zero, all}, {1, (1u << 20) - 1}, true},
                                     {{zero, all, one}, {1, 0, (1u << 20) - 1}, true}};
      for (const Sum& sum : sums) {
        check_sum(oracle, sum, expected_sum(oracle, sum), Border::kAbove, false);
      }
    }
  }
}

TEST("sum: the bounds, 4096 sources and weights of sum 2^20") {
  constexpr std::size_t kCoefficients = 72, kMany = 4096;
  constexpr std::uint64_t kAll = 1u << 20;
  Random random(25);
  for (const Shape& shape : {shapes()[0], shapes()[1], shapes()[2], Shape{1, 46, 2, 1},
                             Shape{4, 190, 3, 96}, Shape{4, 156, 1000, 15}, Shape{1, 8, 7, 2}}) {
    const BlockOracle oracle(shape);
    const std::size_t bytes = oracle.block_bytes(kCoefficients);
    for (const Bytes& block : {Bytes(bytes, 0xff), random_bytes(random, bytes)}) {
      // Equal sources sum to one source times the sum of the weights.
      const auto times = [&](std::uint64_t factor) {
        return expected_sum(oracle, {{block}, {factor}, false});
      };
      const auto minus = [&](std::uint64_t factor) {
        return expected_sum(oracle, {{block, block}, {1, factor}, true});
      };
      const auto check_many = [&](const Words& weights, bool subtract, const Bytes& expected) {
        const std::size_t count = weights.empty() ? kMany : weights.size();
        const std::vector<const std::uint8_t*> sources(count, block.data());
        on_every_level([&](const KernelTable& kernels) {
          Bytes out(bytes);
          isa::SumFields args{};
          args.view = &oracle.view();
          args.sources = sources.data();
          args.weights = weights.empty() ? nullptr : weights.data();
          args.source_count = static_cast<std::uint32_t>(count);
          args.subtract = subtract;
          args.coefficients = kCoefficients;
          args.out = out.data();
          kernels.sum_fields(args);
          CHECK(out == expected);
        });
      };
      check_many({}, false, times(kMany));
      check_many({}, true, minus(kMany - 1));
      check_many(Words(kMany, kAll / kMany), false, times(kAll));
      check_many({kAll}, false, times(kAll));
      check_many({kAll / 2, kAll / 2}, false, times(kAll));
      check_many({0, kAll}, false, times(kAll));
      check_many({0}, false, times(0));
      check_many({1, kAll - 1}, true, minus(kAll - 1));
      Words spread(kMany, (kAll - 1) / kMany);
      spread[0] = 1;
      check_many(spread, true, minus((kAll - 1) / kMany * (kMany - 1)));
    }
  }
}

TEST("sum, then subtract what was added: the first block again") {
  Random random(26);
  for (const Shape& shape : shapes()) {
    const BlockOracle oracle(shape);
    const Bytes a = random_block(oracle, random, 40), b = random_block(oracle, random, 40);
    on_every_level([&](const KernelTable& kernels) {
      Bytes sum = a;
      const std::uint8_t* sources[2] = {sum.data(), b.data()};
      const std::uint64_t weights[2] = {1, 77'777};
      isa::SumFields args{&oracle.view(), sources, weights, 2, false, 40, sum.data()};
      kernels.sum_fields(args);
      CHECK(sum != a);
      args.subtract = true;
      kernels.sum_fields(args);
      CHECK(sum == a);
    });
  }
}

}  // namespace
}  // namespace veilsum::test
