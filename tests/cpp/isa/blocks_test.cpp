// Layer: tests (isa). Blocks on every level against their definitions in unbounded integers:
// encryption (at once and by way of a pad), decryption and the noise check, at lengths around the
// vector widths, at the edges of residues, lazy residues, digits and noise, and where `round` and
// `lift` change value. Arrays border on forbidden pages.
#include <algorithm>
#include <bit>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "check.h"
#include "support/big_integer.h"
#include "support/block_oracle.h"
#include "support/bytes.h"
#include "support/guarded.h"
#include "support/levels.h"
#include "support/modulus.h"
#include "support/random.h"

namespace veilsum::test {
namespace {

using isa::KernelTable;
using Words = std::vector<std::uint64_t>;
using Digits = std::vector<std::uint32_t>;

constexpr std::uint64_t kPrimeTop = std::uint64_t{1} << isa::kPrimeBits;

Border some_border(Random& random) {
  return random.below(2) == 0 ? Border::kAbove : Border::kBelow;
}

/// A lazy residue of x: up to kLazyFactor - 1 times q more, and anything above bit 52.
std::uint64_t lazy(Random& random, std::uint64_t x, std::uint64_t q) {
  const std::uint64_t more = random.edgy(isa::kLazyFactor);
  return (x + more * q) | random.edgy(std::uint64_t{1} << 12) << kWordBits;
}

/// Largest digit of an update: below t, in 32 bits.
std::uint32_t top_digit(const Shape& shape) {
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(shape.base - 1, 0xffffffffu));
}

/// Everything that one block is made of, and what must come out.
class Encryption {
 public:
  enum class Kind { kRandom, kExtreme, kZeros };

  Encryption(const BlockOracle& its_oracle, Random& random, std::size_t its_n, Kind kind)
      : oracle(its_oracle),
        n(its_n),
        pad_stride(n + 8 * random.below(3)),
        digit_stride(n + 8 * random.below(3)),
        key(random_key(random, n % 16 == 0 ? 32 : 16)),
        index(random.next()),
        border(some_border(random)),
        pads((oracle.limbs() - 1) * pad_stride + n, border),
        digits((oracle.shape.digits - 1) * digit_stride + n, border),
        has_digits(kind != Kind::kZeros) {
    const std::uint32_t top = top_digit(oracle.shape);
    const Bytes stream = keystream(key, index, 2 * n);
    std::vector<BigInteger> fields;
    std::vector<Words> u(oracle.limbs());
    for (std::size_t j = 0; j < n; ++j) {
      Words message(oracle.shape.digits, 0);
      for (std::size_t d = 0; has_digits && d < message.size(); ++d) {
        message[d] = kind == Kind::kExtreme ? top : random.edgy(std::uint64_t{top} + 1);
        digits[d * digit_stride + j] = static_cast<std::uint32_t>(message[d]);
      }
      const BigInteger lifted = oracle.lift(oracle.message(message) * oracle.delta);
      const int error = std::popcount(stream[2 * j]) - std::popcount(stream[2 * j + 1]);
      Words sum;
      for (std::size_t i = 0; i < oracle.limbs(); ++i) {
        const std::uint64_t q = oracle.primes[i];
        const std::uint64_t residue = kind == Kind::kExtreme ? q - 1 : random.edgy(q);
        pads[i * pad_stride + j] = kind == Kind::kExtreme
                                       ? (residue + (isa::kLazyFactor - 1) * q) | ~(kWord - 1)
                                       : lazy(random, residue, q);
        u[i].push_back((residue + q + static_cast<std::uint64_t>(error)) % q);
        sum.push_back((u[i][j] + lifted.mod(q)) % q);
      }
      fields.push_back(oracle.round(sum));
    }
    block = oracle.pack(fields);
    for (const Words& row : u) {
      const Bytes bytes = pack_bits(row, isa::kPrimeBits);
      pad.insert(pad.end(), bytes.begin(), bytes.end());
    }
  }

  isa::EncryptBlock encrypt_args(std::uint8_t* out) const {
    return {&oracle.view(),
            pads.data(),
            pad_stride,
            has_digits ? digits.data() : nullptr,
            digit_stride,
            &key,
            index,
            n,
            out};
  }
  isa::MakePad pad_args(std::uint8_t* out) const {
    return {&oracle.view(), pads.data(), pad_stride, &key, index, n, out};
  }
  isa::EncryptFromPad from_pad_args(const std::uint8_t* ready, std::uint8_t* out) const {
    isa::Ahead ahead;  // any memory: a kernel asks for it and leaves it as it is
    ahead.read = pads.data();
    ahead.read_bytes = n * sizeof(std::uint64_t);
    return {&oracle.view(), ready, has_digits ? digits.data() : nullptr, digit_stride, n, out,
            ahead};
  }

  const BlockOracle& oracle;
  std::size_t n, pad_stride, digit_stride;
  isa::AesKey key;
  std::uint64_t index;
  Border border;
  Guarded<std::uint64_t> pads;
  Guarded<std::uint32_t> digits;
  bool has_digits;
  Bytes block, pad;  // expected
};

void check_encryption(const Encryption& e) {
  on_every_level([&](const KernelTable& kernels) {
    Guarded<std::uint8_t> out(e.block.size(), e.border), pad(e.pad.size(), e.border);
    out.fill(0xa5);
    kernels.encrypt_block(e.encrypt_args(out.data()));
    CHECK(out.copy() == e.block);
    pad.fill(0x5a);
    kernels.make_pad(e.pad_args(pad.data()));
    CHECK(pad.copy() == e.pad);
    out.fill(0xa5);
    kernels.encrypt_from_pad(e.from_pad_args(pad.data(), out.data()));
    CHECK(out.copy() == e.block);
    CHECK(pad.copy() == e.pad);
  });
}

std::string name_of(const Shape& shape) {
  return std::to_string(shape.limbs) + " limbs, B = " + std::to_string(shape.bits) +
         ", t = " + std::to_string(shape.base) + ", L = " + std::to_string(shape.digits);
}

/// Runs `body` for a shape, and says of which shape a failure was.
template <typename Body>
void on_shape(const Shape& shape, Body body) {
  const std::size_t before = failed_checks().load();
  body(BlockOracle(shape));
  if (failed_checks().load() != before) {
    std::fprintf(stderr, "  ... with %s\n", name_of(shape).c_str());
  }
}

TEST("encryption: every shape, random and at its extremes, also by way of a pad") {
  Random random(41);
  for (const Shape& shape : shapes()) {
    on_shape(shape, [&](const BlockOracle& oracle) {
      using Kind = Encryption::Kind;
      for (std::size_t n = 8; n <= 80; n += 8) {
        check_encryption(Encryption(oracle, random, n, Kind::kRandom));
        if (n % 24 == 0) check_encryption(Encryption(oracle, random, n, Kind::kExtreme));
        if (n % 32 == 0) check_encryption(Encryption(oracle, random, n, Kind::kZeros));
      }
    });
  }
}

TEST("encryption: lengths around the kernels' chunks") {
  Random random(42);
  for (const Shape& shape : {shapes()[0], shapes()[1], shapes()[2], Shape{1, 20, 7, 6}}) {
    on_shape(shape, [&](const BlockOracle& oracle) {
      for (const std::size_t n : lengths_around_widths()) {
        check_encryption(Encryption(oracle, random, n, Encryption::Kind::kRandom));
      }
    });
  }
}

/// Calls body(shape) for every width of field of every ring, with a few or many digits.
template <typename Body>
void for_each_width(Body body) {
  constexpr std::uint64_t kBases[] = {2, 7, 655351, 1021};
  for (const std::uint32_t limbs : {1u, 2u, 4u}) {
    for (std::uint32_t bits = 8; bits <= 48 * limbs - 2; ++bits) {
      const std::uint64_t base = bits < 24 ? 7 : kBases[bits % 4];
      const auto fit = static_cast<std::uint32_t>(bits / std::bit_width(base));
      body(Shape{limbs, bits, base, std::min(fit, isa::kMaxDigits)});
    }
  }
}

TEST("encryption: every width of field") {
  Random random(56);
  for_each_width([&](const Shape& shape) {
    on_shape(shape, [&](const BlockOracle& oracle) {
      check_encryption(Encryption(oracle, random, 24, Encryption::Kind::kRandom));
      check_encryption(Encryption(oracle, random, 40, Encryption::Kind::kExtreme));
    });
  });
}

TEST("encryption: any prime that kernels take, up to the largest delta") {
  Random random(43);
  const std::uint64_t smallest = test_primes().back();
  CHECK(kPrimeTop - smallest > (1u << 24) - (1u << 22));
  for (const Shape& shape : {shapes()[0], Shape{1, 46, 1u << 23, 2}, Shape{1, 20, 7, 6}}) {
    const BlockOracle oracle(shape, {smallest});
    for (std::size_t n = 8; n <= 264; n += 32) {
      for (const auto kind : {Encryption::Kind::kRandom, Encryption::Kind::kExtreme}) {
        check_encryption(Encryption(oracle, random, n, kind));
      }
    }
  }
}

// --- where round and lift change -----------------------------------------------------------------

/// Collects coefficients, a residue per limb and a message each, and compares the fields that
/// encrypt_from_pad makes of them.
class Fields {
 public:
  Fields(const BlockOracle& oracle, bool with_digits)
      : oracle_(oracle), u_(oracle.limbs()), digits_(with_digits ? oracle.shape.digits : 0) {}

  /// round(u + lift(Delta m)) is `expected`.
  void add(const Words& u, const Words& message, BigInteger expected) {
    for (std::size_t i = 0; i < u.size(); ++i) u_[i].push_back(u[i]);
    for (std::size_t d = 0; d < digits_.size(); ++d) {
      digits_[d].push_back(static_cast<std::uint32_t>(message[d]));
    }
    expected_.push_back(std::move(expected));
    if (expected_.size() == kBlock) check();
  }

  ~Fields() {
    if (expected_.empty()) return;
    const BigInteger last = oracle_.round(std::vector<std::uint64_t>(oracle_.limbs(), 0));
    while (expected_.size() % isa::kGroup != 0) {  // u = 0, m = 0
      for (Words& row : u_) row.push_back(0);
      for (Digits& row : digits_) row.push_back(0);
      expected_.push_back(last);
    }
    check();
  }
  Fields(const Fields&) = delete;
  Fields& operator=(const Fields&) = delete;

 private:
  static constexpr std::size_t kBlock = 4096;

  void check() {
    const std::size_t n = expected_.size();
    Bytes pad;
    Digits digits;
    for (Words& row : u_) {
      const isa::FieldTable& table = *oracle_.view().residue_fields;
      pad.resize(pad.size() + n * 6);
      isa::scalar_table()->pack_fields(row.data(), n, table, pad.data() + pad.size() - n * 6);
      row.clear();
    }
    for (Digits& row : digits_) {
      digits.insert(digits.end(), row.begin(), row.end());
      row.clear();
    }
    on_every_level([&](const KernelTable& kernels) {
      Bytes out(oracle_.block_bytes(n));
      kernels.encrypt_from_pad({&oracle_.view(),
                                pad.data(),
                                digits.empty() ? nullptr : digits.data(),
                                n,
                                n,
                                out.data(),
                                {}});
      std::size_t at = 0;
      for (unsigned w = 0; w < oracle_.view().words; ++w) {
        const isa::FieldTable& table = *oracle_.view().fields[w];
        Words row(n);
        isa::scalar_table()->unpack_fields(out.data() + at, n, table, row.data());
        at += n / 8 * table.bits;
        for (std::size_t j = 0; j < n; ++j) {
          CHECK_EQ(row[j], expected_[j].shifted_right(kWordBits * w).low64() & table.mask);
        }
      }
    });
    expected_.clear();
  }

  const BlockOracle& oracle_;
  std::vector<Words> u_;
  std::vector<Digits> digits_;
  std::vector<BigInteger> expected_;
};

/// One limb: the least u that rounds to `field` or above, by bisection (0 < field < 2^B).
std::uint64_t first_of(const BlockOracle& oracle, std::uint64_t field) {
  std::uint64_t low = 0, high = oracle.primes[0];
  // The very last u may round to 2^B, that is 0; it counts as above.
  const auto is_below = [&](std::uint64_t u) {
    const std::uint64_t rounded = oracle.round_one(u);
    return rounded < field && !(rounded == 0 && u > oracle.primes[0] / 2);
  };
  while (low < high) {
    const std::uint64_t middle = low + (high - low) / 2;
    if (is_below(middle)) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

TEST("round, one limb: both sides of every step, for fields of up to 16 bits") {
  for (const unsigned bits : {8u, 9u, 12u, 15u, 16u}) {
    on_shape({1, bits, 2, 1}, [&](const BlockOracle& oracle) {
      Fields fields(oracle, false);
      const std::uint64_t end = std::uint64_t{1} << bits;
      for (std::uint64_t field = 1; field <= end; ++field) {
        const std::uint64_t first = first_of(oracle, field);
        CHECK_EQ(oracle.round_one(first), field % end);
        CHECK_EQ(oracle.round_one(first - 1), field - 1);
        for (const std::uint64_t u : {first - 2, first - 1, first, first + 1}) {
          fields.add({u}, {}, BigInteger(oracle.round_one(u)));
        }
      }
    });
  }
}

TEST("round, one limb: both sides of random steps and of the outermost, for every width") {
  Random random(44);
  for (unsigned bits = 8; bits <= 46; ++bits) {
    on_shape({1, bits, 2, 1}, [&](const BlockOracle& oracle) {
      Fields fields(oracle, false);
      const std::uint64_t q = oracle.primes[0], end = std::uint64_t{1} << bits;
      const auto add = [&](std::uint64_t u) { fields.add({u}, {}, oracle.round({u})); };
      for (std::uint64_t u = 0; u < 10; ++u) {
        add(u);
        add(q - 1 - u);
      }
      for (int i = 0; i < 2000; ++i) {
        const std::uint64_t first = first_of(oracle, 1 + random.edgy(end - 1));
        add(first - 1);
        add(first);
        add(random.edgy(q));
      }
    });
  }
}

TEST("round, one limb: every step of the stretch, ((u >> 21) delta) >> 27") {
  on_shape({1, 46, 2, 1}, [&](const BlockOracle& oracle) {
    Fields fields(oracle, false);
    const std::uint64_t q = oracle.primes[0], delta = kPrimeTop - q;
    for (std::uint64_t step = 1; step <= delta; ++step) {
      // The least u with a stretch of `step`, and two to either side: fields hold every fourth.
      const std::uint64_t u = ((step << 27) + delta - 1) / delta << 21;
      for (std::uint64_t near = u - 2; near < u + 2 && near < q; ++near) {
        fields.add({near}, {}, BigInteger(oracle.round_one(near)));
      }
    }
  });
}

/// Adds a message to residues that together are `u`, so that lift's exact value decides on which
/// side of a step of round the sum falls.
void add_at(const BlockOracle& oracle, Fields& fields, const BigInteger& u, const Words& message) {
  const BigInteger lifted = oracle.lift(oracle.message(message) * oracle.delta);
  Words residues, sum;
  for (const std::uint64_t q : oracle.primes) {
    sum.push_back(u.mod(q));
    residues.push_back((sum.back() + q - lifted.mod(q)) % q);
  }
  fields.add(residues, message, oracle.round(sum));
}

TEST("lift, one limb: every message of small plans, to the last unit") {
  for (const Shape& shape : {Shape{1, 16, 7, 4}, Shape{1, 20, 4, 7}, Shape{1, 26, 50, 2},
                             Shape{1, 27, 9, 3}, Shape{1, 30, 3, 7}, Shape{1, 46, 130, 2}}) {
    on_shape(shape, [&](const BlockOracle& oracle) {
      Fields fields(oracle, true);
      Random random(45);
      const std::uint64_t step = first_of(oracle, std::uint64_t{1} << (shape.bits - 1));
      for (std::uint64_t m = 0; m < oracle.messages.low64(); ++m) {
        const Words message = oracle.digits_of(BigInteger(m));
        add_at(oracle, fields, BigInteger(step - 1), message);
        add_at(oracle, fields, BigInteger(step), message);
      }
    });
  }
}

TEST("lift, one limb: every step of ((x >> (B - 27)) delta) >> 27 at the widest field") {
  on_shape({1, 46, std::uint64_t{1} << 23, 2}, [&](const BlockOracle& oracle) {
    CHECK_EQ(oracle.delta, BigInteger(1));
    Fields fields(oracle, true);
    const std::uint64_t q = oracle.primes[0], delta = kPrimeTop - q;
    const std::uint64_t half = first_of(oracle, std::uint64_t{1} << 45);
    for (std::uint64_t step = 1; step <= delta; ++step) {
      const std::uint64_t x = ((step << 27) + delta - 1) / delta << 19;
      for (const std::uint64_t near : {x - 1, x}) {
        if (near >> 46 != 0) continue;
        const std::uint64_t lifted = oracle.lift_one(near);
        for (const std::uint64_t u : {half - 1, half}) {
          fields.add({(u + q - lifted % q) % q}, {near & 0x7fffff, near >> 23},
                     BigInteger(oracle.round_one(u)));
        }
      }
    }
  });
}

/// Digits of an update: all zero, all largest, or random with edges.
Words update_digits(Random& random, const Shape& shape) {
  Words digits(shape.digits);
  const std::uint64_t kind = random.below(6), top = top_digit(shape);
  for (std::uint64_t& digit : digits) {
    digit = kind == 0 ? 0 : kind == 1 ? top : random.edgy(top + 1);
  }
  return digits;
}

/// Fields at whose lower edge round is tried: the outermost, those next to a word's end, others.
std::vector<BigInteger> edge_fields(const BlockOracle& oracle, Random& random, int more) {
  const BigInteger one(1);
  std::vector<BigInteger> all = {BigInteger(0), one, one + one, oracle.two_b - one,
                                 oracle.two_b.shifted_right(1)};
  for (unsigned bit = kWordBits; bit < oracle.shape.bits; bit += kWordBits) {
    all.push_back(BigInteger::power_of_two(bit));
    all.push_back(BigInteger::power_of_two(bit) - one);
    all.push_back(BigInteger::power_of_two(bit) + one);
  }
  for (int i = 0; i < more; ++i) all.push_back(oracle.random_field(random));
  return all;
}

TEST("round and lift, several limbs: around steps, to the last unit") {
  Random random(46);
  for (const Shape& shape : shapes()) {
    if (shape.limbs == 1) continue;
    on_shape(shape, [&](const BlockOracle& oracle) {
      Fields plain(oracle, false), lifted(oracle, true);
      std::size_t changes = 0;
      for (const BigInteger& field : edge_fields(oracle, random, 50)) {
        // Fractions are cut off, so the step lies within limbs + 1 units of its ideal place.
        BigInteger u = oracle.boundary(field) + oracle.q - BigInteger(5);
        BigInteger before = oracle.round(oracle.residues(u));
        for (int offset = -5; offset <= 5; ++offset, u = u + BigInteger(1)) {
          const BigInteger rounded = oracle.round(oracle.residues(u));
          changes += rounded != before;
          before = rounded;
          plain.add(oracle.residues(u), {}, rounded);
          add_at(oracle, lifted, u, update_digits(random, shape));
        }
      }
      CHECK(changes >= 50);  // the steps were met
    });
  }
}

TEST("round, several limbs: 0, q - 1 and edges of single residues") {
  Random random(47);
  for (const unsigned limbs : {2u, 4u}) {
    for (const unsigned bits : {8u, 51u, 52u, 53u, 94u, 103u, 104u, 105u, 155u, 156u, 157u, 190u}) {
      if (bits > 48 * limbs - 2) continue;
      on_shape({limbs, bits, 2, 1}, [&](const BlockOracle& oracle) {
        Fields fields(oracle, false);
        for (int i = 0; i < 400; ++i) {
          Words u;
          for (const std::uint64_t q : oracle.primes) {
            u.push_back(i == 0 ? 0 : i == 1 ? q - 1 : random.edgy(q));
          }
          fields.add(u, {}, oracle.round(u));
          const BigInteger near(static_cast<std::uint64_t>(i / 4));
          const Words close = oracle.residues(i % 2 == 0 ? near : oracle.q - near - BigInteger(1));
          fields.add(close, {}, oracle.round(close));
        }
      });
    }
  }
}

// --- decryption ----------------------------------------------------------------------------------

/// Blocks whose field minus round(pad) is given, under lazy pads at the edges of round and others.
struct Masked {
  Masked(const BlockOracle& oracle, Random& random, const std::vector<BigInteger>& differences)
      : n(differences.size()),
        stride(n + 8 * random.below(3)),
        border(some_border(random)),
        pads((oracle.limbs() - 1) * stride + n, border),
        packed(oracle.block_bytes(n), border) {
    std::vector<BigInteger> fields;
    const std::vector<BigInteger> edges = edge_fields(oracle, random, 3);
    for (std::size_t j = 0; j < n; ++j) {
      Words residues;
      if (random.below(2) == 0) {
        const BigInteger at = oracle.boundary(edges[random.below(edges.size())]);
        residues = oracle.residues(at + oracle.q + random.below(5) - BigInteger(2));
      } else {
        for (const std::uint64_t q : oracle.primes) residues.push_back(random.edgy(q));
      }
      for (std::size_t i = 0; i < residues.size(); ++i) {
        pads[i * stride + j] = j % 7 == 0 ? (oracle.primes[i] * isa::kLazyFactor - 1) | ~(kWord - 1)
                                          : lazy(random, residues[i], oracle.primes[i]);
        if (j % 7 == 0) residues[i] = oracle.primes[i] - 1;
      }
      fields.push_back((differences[j] + oracle.round(residues)).low_bits(oracle.shape.bits));
    }
    const Bytes bytes = oracle.pack(fields);
    std::copy(bytes.begin(), bytes.end(), packed.data());
  }

  std::size_t n, stride;
  Border border;
  Guarded<std::uint64_t> pads;
  Guarded<std::uint8_t> packed;
};

/// x = (difference + half_delta) mod 2^B, for every coefficient.
void check_decryption(const BlockOracle& oracle, Random& random,
                      const std::vector<BigInteger>& xs) {
  std::vector<BigInteger> differences;
  bool in_range = true;
  for (const BigInteger& x : xs) {
    differences.push_back((x + oracle.two_b - oracle.half_delta).low_bits(oracle.shape.bits));
    in_range = in_range && x < oracle.limit;
  }
  const Masked masked(oracle, random, differences);
  const std::size_t n = xs.size(), count = oracle.shape.digits;
  const std::size_t stride = n + 8 * random.below(3), size = (count - 1) * stride + n;
  std::vector<Words> expected;
  for (const BigInteger& x : xs) expected.push_back(oracle.digits_of(x / oracle.delta));
  on_every_level([&](const KernelTable& kernels) {
    for (const bool is_narrow : {true, false}) {
      if (is_narrow && oracle.shape.base > std::uint64_t{1} << 32) continue;
      Guarded<std::uint32_t> narrow(is_narrow ? size : 0, masked.border);
      Guarded<std::uint64_t> wide(is_narrow ? 0 : size, masked.border);
      narrow.fill(0xa5a5a5a5);
      wide.fill(0xa5a5a5a5);
      const isa::DigitRows rows{is_narrow ? narrow.data() : nullptr,
                                is_narrow ? nullptr : wide.data(), stride};
      CHECK_EQ(kernels.decrypt_block({&oracle.view(), masked.packed.data(), masked.pads.data(),
                                      masked.stride, n, rows}),
               in_range);
      for (std::size_t d = 0; d < count; ++d) {
        for (std::size_t j = 0; in_range && j < n; ++j) {
          const std::uint64_t digit = is_narrow ? narrow[d * stride + j] : wide[d * stride + j];
          CHECK_EQ(digit, expected[j][d]);
        }
        for (std::size_t j = d * stride + n; d + 1 < count && j < (d + 1) * stride; ++j) {
          CHECK_EQ(is_narrow ? narrow[j] : wide[j], 0xa5a5a5a5u);  // between rows
        }
      }
    }
  });
}

/// Differences are within +-bound, or one is not.
void check_noise(const BlockOracle& oracle, Random& random,
                 const std::vector<BigInteger>& differences, std::uint64_t bound) {
  bool expected = true;
  for (const BigInteger& x : differences) {
    const BigInteger limit(bound);
    expected = expected && (limit >= x || x + limit >= oracle.two_b);
  }
  const Masked masked(oracle, random, differences);
  on_every_level([&](const KernelTable& kernels) {
    CHECK_EQ(kernels.noise_in_bounds({&oracle.view(), masked.packed.data(), masked.pads.data(),
                                      masked.stride, masked.n, bound}),
             expected);
  });
}

/// Messages at the edges of digits and planes, and random ones.
std::vector<BigInteger> messages_of(const BlockOracle& oracle, Random& random, int more) {
  const BigInteger one(1), base(oracle.shape.base);
  std::vector<BigInteger> all = {BigInteger(0), oracle.messages - one};
  for (unsigned d = 0; d < oracle.shape.digits; ++d) {
    const BigInteger power = base.power(d);
    all.push_back(power);
    all.push_back(power - one);
    all.push_back(oracle.messages - power);
    all.push_back(oracle.messages - power - one);
  }
  for (int i = 0; i < more; ++i) {
    Words digits(oracle.shape.digits);
    for (std::uint64_t& digit : digits) digit = random.edgy(oracle.shape.base);
    all.push_back(oracle.message(digits));
  }
  std::erase_if(all, [&](const BigInteger& m) { return m >= oracle.messages; });
  return all;
}

TEST("decryption: messages at the edges of digits and planes, noise at the edges of Delta") {
  Random random(48);
  for (const Shape& shape : shapes()) {
    on_shape(shape, [&](const BlockOracle& oracle) {
      std::vector<BigInteger> xs;
      for (const BigInteger& m : messages_of(oracle, random, 40)) {
        const BigInteger first = m * oracle.delta, last = first + oracle.delta - BigInteger(1);
        xs.insert(xs.end(), {first, first + oracle.half_delta, last});
      }
      while (xs.size() % isa::kGroup != 0) xs.push_back(BigInteger(0));
      check_decryption(oracle, random, xs);
    });
  }
}

/// Messages in which all digits from `first` up are large and all below are 0, and one less.
void add_multiples(const BlockOracle& oracle, Random& random, std::uint32_t first, int count,
                   std::vector<BigInteger>& xs) {
  const Shape& shape = oracle.shape;
  const BigInteger divisor = oracle.delta * BigInteger(shape.base).power(first);
  for (int i = 0; i < count; ++i) {
    Words digits(shape.digits - first);
    for (std::uint64_t& digit : digits) {
      digit = shape.base - 1 - random.below(shape.base / (i % 2 == 0 ? 8 : 128) + 1);
    }
    const BigInteger multiple = oracle.message(digits) * divisor;
    xs.push_back(multiple);
    xs.push_back(multiple + divisor - BigInteger(1));
  }
}

TEST("decryption: large quotients, at multiples of every divisor and just below") {
  // A division by an estimate in floating point errs there first, and most where the quotient has
  // as many bits as a double.
  Random random(55);
  for (const Shape& shape : shapes()) {
    on_shape(shape, [&](const BlockOracle& oracle) {
      std::vector<BigInteger> xs;
      for (std::uint32_t plane = 0; plane < oracle.view().plane_count; ++plane) {
        add_multiples(oracle, random, oracle.view().digits_per_plane * plane, 200, xs);
      }
      const int each = 4 + 400 / static_cast<int>(shape.digits * shape.digits);
      for (std::uint32_t d = 1; d < shape.digits; ++d) add_multiples(oracle, random, d, each, xs);
      while (xs.size() % isa::kGroup != 0) xs.push_back(BigInteger(0));
      check_decryption(oracle, random, xs);
    });
  }
}

TEST("decryption: many bases, with Delta of plans") {
  // Reciprocals are exact enough by a margin that depends on base and Delta: try many of both.
  Random random(58);
  for (int i = 0; i < 900; ++i) {
    const std::uint32_t limbs = i % 3 == 0 ? 1 : i % 3 == 1 ? 2 : 4;
    const auto base_bits = static_cast<std::uint32_t>(2 + random.below(limbs == 1 ? 20 : 33));
    const std::uint64_t base = 2 + random.below((std::uint64_t{1} << base_bits) - 1);
    const BigInteger wanted(2 + random.below(i % 2 == 0 ? 40 : 1000));  // about Delta
    const std::uint32_t most = 48 * limbs - 2;
    std::uint32_t digits = 1;
    while (digits < 24 && (wanted * BigInteger(base).power(digits + 1)).bit_length() <= most) {
      ++digits;
    }
    const Shape shape{limbs, (wanted * BigInteger(base).power(digits)).bit_length(), base, digits};
    if (shape.bits < 8) continue;
    on_shape(shape, [&](const BlockOracle& oracle) {
      std::vector<BigInteger> xs;
      for (std::uint32_t d = 0; d < digits; ++d) {
        add_multiples(oracle, random, d, 1 + 32 / static_cast<int>(digits), xs);
      }
      xs.push_back(oracle.limit - BigInteger(1));
      while (xs.size() % isa::kGroup != 0) xs.push_back(BigInteger(0));
      check_decryption(oracle, random, xs);
    });
  }
}

TEST("decryption: every small length") {
  Random random(49);
  for (const Shape& shape : shapes()) {
    on_shape(shape, [&](const BlockOracle& oracle) {
      for (std::size_t n = 8; n <= 80; n += 8) {
        std::vector<BigInteger> xs = messages_of(oracle, random, static_cast<int>(n));
        xs.erase(xs.begin(), xs.end() - static_cast<std::ptrdiff_t>(n));
        for (BigInteger& x : xs) x = x * oracle.delta + oracle.half_delta;
        check_decryption(oracle, random, xs);
      }
    });
  }
}

TEST("decryption: limit - 1 is in range, limit and all above are not, in any place") {
  Random random(50);
  for (const Shape& shape : shapes()) {
    on_shape(shape, [&](const BlockOracle& oracle) {
      constexpr std::size_t kCoefficients = 40;
      const BigInteger one(1);
      std::vector<BigInteger> outside = {oracle.limit, oracle.limit + one, oracle.two_b - one};
      for (int i = 0; i < 5; ++i) {
        const BigInteger gap = oracle.two_b - oracle.limit;
        if (gap.is_zero()) break;
        const BigInteger any = oracle.random_field(random);
        outside.push_back(oracle.limit + any - any / gap * gap);
      }
      std::erase_if(outside, [&](const BigInteger& x) { return x >= oracle.two_b; });
      const std::vector<BigInteger> inside(kCoefficients, oracle.limit - one);
      check_decryption(oracle, random, inside);
      for (std::size_t place = 0; place < kCoefficients; ++place) {
        if (outside.empty()) break;
        std::vector<BigInteger> xs = inside;
        xs[place] = outside[place % outside.size()];
        check_decryption(oracle, random, xs);
      }
      for (const BigInteger& x : outside) {
        check_decryption(oracle, random, std::vector<BigInteger>(kCoefficients, x));
      }
    });
  }
}

TEST("decryption: every width of field") {
  Random random(57);
  for_each_width([&](const Shape& shape) {
    on_shape(shape, [&](const BlockOracle& oracle) {
      std::vector<BigInteger> xs = messages_of(oracle, random, 40);
      xs.erase(xs.begin(), xs.end() - 40);
      for (BigInteger& x : xs) x = x * oracle.delta + oracle.half_delta;
      check_decryption(oracle, random, xs);
      xs[17] = oracle.two_b - BigInteger(1);
      check_decryption(oracle, random, xs);
      check_noise(oracle, random, std::vector<BigInteger>(24, BigInteger(3)), 3);
      check_noise(oracle, random, std::vector<BigInteger>(24, oracle.two_b - BigInteger(4)), 3);
    });
  });
}

TEST("decryption: any bytes at all under any pads") {
  Random random(51);
  for (const Shape& shape : shapes()) {
    on_shape(shape, [&](const BlockOracle& oracle) {
      for (int repeat = 0; repeat < 30; ++repeat) {
        std::vector<BigInteger> xs(8);
        for (BigInteger& x : xs) x = oracle.random_field(random);
        check_decryption(oracle, random, xs);
      }
    });
  }
}

TEST("decryption: the sum of encryptions gives the sum of messages") {
  Random random(52);
  constexpr std::size_t kCoefficients = 264;
  // Noise of ten uploads stays below Delta / 2 in these.
  for (const Shape& shape : {shapes()[0], shapes()[1], shapes()[2], shapes()[3]}) {
    on_shape(shape, [&](const BlockOracle& oracle) {
      const std::uint32_t top = static_cast<std::uint32_t>((oracle.shape.base - 1) / 10);
      Guarded<std::uint64_t> pads(oracle.limbs() * kCoefficients, Border::kAbove);
      Words total_pad(pads.size(), 0);
      Words total(shape.digits * kCoefficients, 0);
      std::vector<Bytes> blocks;
      std::vector<const std::uint8_t*> sources;
      for (int client = 0; client < 10; ++client) {
        for (std::size_t i = 0; i < pads.size(); ++i) {
          const std::uint64_t q = oracle.primes[i / kCoefficients];
          pads[i] = random.edgy(q);
          total_pad[i] = (total_pad[i] + pads[i]) % q;
        }
        Digits digits(total.size());
        for (std::size_t i = 0; i < digits.size(); ++i) {
          digits[i] = static_cast<std::uint32_t>(random.edgy(std::uint64_t{top} + 1));
          total[i] += digits[i];
        }
        const isa::AesKey key = random_key(random, 32);
        blocks.emplace_back(oracle.block_bytes(kCoefficients));
        isa::kernels().encrypt_block({&oracle.view(), pads.data(), kCoefficients, digits.data(),
                                      kCoefficients, &key, 3, kCoefficients, blocks.back().data()});
      }
      for (const Bytes& block : blocks) sources.push_back(block.data());
      on_every_level([&](const KernelTable& kernels) {
        Bytes sum(blocks[0].size());
        kernels.sum_fields(
            {&oracle.view(), sources.data(), nullptr, 10, false, kCoefficients, sum.data()});
        Digits out(total.size());
        CHECK(kernels.decrypt_block({&oracle.view(),
                                     sum.data(),
                                     total_pad.data(),
                                     kCoefficients,
                                     kCoefficients,
                                     {out.data(), nullptr, kCoefficients}}));
        CHECK_EQ(Words(out.begin(), out.end()), total);
      });
    });
  }
}

// --- the noise of check blocks -------------------------------------------------------------------

TEST("noise: within +-bound in every place, not at +-(bound + 1) in any") {
  Random random(53);
  for (const Shape& shape : shapes()) {
    on_shape(shape, [&](const BlockOracle& oracle) {
      constexpr std::size_t kCoefficients = 40;
      for (const std::uint64_t bound : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{8},
                                        std::uint64_t{1} << 20, (std::uint64_t{1} << 40) - 1}) {
        if (BigInteger(4 * bound + 8) >= oracle.two_b) continue;
        const BigInteger within[] = {BigInteger(bound), (oracle.two_b - bound).low_bits(shape.bits),
                                     BigInteger(0), BigInteger(random.below(bound + 1))};
        const BigInteger beyond[] = {BigInteger(bound + 1), oracle.two_b - BigInteger(bound + 1)};
        std::vector<BigInteger> noise(kCoefficients);
        for (std::size_t j = 0; j < kCoefficients; ++j) noise[j] = within[random.below(4)];
        for (std::size_t j = 0; j < 4; ++j) {
          check_noise(oracle, random, std::vector<BigInteger>(8 * (j + 1), within[j]), bound);
        }
        check_noise(oracle, random, noise, bound);
        for (std::size_t place = 0; place < kCoefficients; ++place) {
          std::vector<BigInteger> bad = noise;
          bad[place] = beyond[place % 2];
          check_noise(oracle, random, bad, bound);
        }
      }
    });
  }
}

TEST("noise: any single bit of the field, and its negative") {
  Random random(54);
  for (const Shape& shape : shapes()) {
    on_shape(shape, [&](const BlockOracle& oracle) {
      for (unsigned bit = 0; bit < shape.bits; ++bit) {
        const BigInteger noise = BigInteger::power_of_two(bit);
        std::vector<BigInteger> one(16), negative(16);
        one[random.below(16)] = noise;
        negative[random.below(16)] = oracle.two_b - noise;
        const std::uint64_t bound = shape.bits > 10 ? 37 : 5;
        check_noise(oracle, random, one, bound);
        check_noise(oracle, random, negative, bound);
      }
    });
  }
}

}  // namespace
}  // namespace veilsum::test
