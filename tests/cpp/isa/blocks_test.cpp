// Layer: tests (isa). encrypt_block, add_message and decrypt_block on every level, each against its
// definition in big integers: all limb and plane counts, lengths around the vector widths, the
// edges of rounding (error +-B W, message 0 and 2^P - 1) and arbitrary X, for which the division
// must still be exact.
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include "check.h"
#include "support/big_integer.h"
#include "support/bytes.h"
#include "support/levels.h"
#include "support/modulus.h"
#include "support/random.h"

namespace veilsum::test {
namespace {

using isa::KernelTable;
using Words = std::vector<std::uint64_t>;

std::vector<std::uint64_t> block_primes(std::size_t limbs) {
  return primes_below((std::uint64_t{1} << 50) - 1, limbs);
}

struct Shape {
  std::uint32_t limbs, planes;
};
constexpr Shape kShapes[] = {{1, 1}, {1, 2}, {2, 1},  {2, 3}, {3, 2},
                             {4, 4}, {4, 8}, {1, 64}, {4, 64}};

/// Planes and their factors for one shape, random with edges, or all at their largest.
struct Message {
  Message(Random& random, Shape its_shape, std::size_t its_n, bool extreme)
      : shape(its_shape),
        n(its_n),
        stride(n + 8 * random.below(3)),
        planes(shape.planes * stride),
        primes(block_primes(shape.limbs)),
        scale(shape.limbs),
        scale_shoup(shape.limbs) {
    if (shape.limbs == 1 && shape.planes == 2) primes[0] = test_primes()[2];
    for (std::size_t i = 0; i < shape.limbs; ++i) {
      const std::uint64_t q = primes[i];
      for (std::size_t p = 0; p < shape.planes; ++p) {
        scale[i].push_back(extreme ? q - 1 : random.edgy(q));
        scale_shoup[i].push_back(shoup(scale[i][p], q));
      }
      limbs.push_back({make_modulus(q), scale[i].data(), scale_shoup[i].data()});
    }
    for (std::size_t p = 0; p < shape.planes; ++p) {
      for (std::size_t j = 0; j < n; ++j) {
        planes[p * stride + j] = extreme ? isa::kResidueMask : random.edgy(isa::kResidueMask + 1);
      }
    }
    if (shape.limbs == 1 && shape.planes == 1) {
      // Here a level may rely on (m + 1) Delta <= q with Delta > 42, as a plan guarantees.
      const std::uint64_t q = primes[0];
      const std::uint64_t delta = extreme ? 43 : 43 + random.below(std::uint64_t{1} << 34);
      scale[0][0] = delta;
      scale_shoup[0][0] = shoup(delta, q);
      for (std::size_t j = 0; j < n; ++j) {
        planes[j] = extreme ? q / delta - 1 : random.edgy(q / delta);
      }
    }
  }

  /// c + sum_p plane_p * scale_p mod q, for coefficient j of limb i; c below 2^63.
  std::uint64_t added_to(std::uint64_t c, std::size_t i, std::size_t j) const {
    const std::uint64_t q = primes[i];
    for (std::size_t p = 0; p < shape.planes; ++p) {
      c = (c + multiply_mod(planes[p * stride + j], scale[i][p], q)) % q;
    }
    return c % q;
  }

  Shape shape;
  std::size_t n, stride;
  AlignedWords planes;
  std::vector<std::uint64_t> primes;
  std::vector<Words> scale, scale_shoup;
  std::vector<isa::LimbView> limbs;
};

/// Calls body(message, extreme) for every shape, with lengths around the vector widths.
template <typename Body>
void for_each_message(Random& random, Body body) {
  std::vector<std::size_t> lengths;
  for (std::size_t n = 8; n <= 80; n += 8) lengths.push_back(n);
  lengths.insert(lengths.end(), {248, 256, 264, 512, 2048});
  for (const Shape shape : kShapes) {
    for (const std::size_t n : lengths) {
      for (const bool extreme : {false, true}) body(Message(random, shape, n, extreme), extreme);
    }
  }
}

std::size_t row_bytes(std::size_t n) { return n / isa::kGroup * isa::kGroupBytes; }

/// Residues of a packed row, which must be below q.
Words unpacked(const std::uint8_t* row, std::size_t n, std::uint64_t q) {
  Words c(n);
  CHECK(isa::scalar_table()->unpack(row, n, q, c.data()));
  return c;
}

TEST("encrypt_block: pad + error + scaled planes, in every limb") {
  Random random(41);
  for_each_message(random, [&](const Message& message, bool extreme) {
    const std::size_t n = message.n;
    const std::uint32_t limbs = message.shape.limbs;
    const std::size_t pad_stride = n + 8 * random.below(3);
    AlignedWords pads(limbs * pad_stride);
    const isa::AesKey key = random_key(random, n % 16 == 0 ? 32 : 16);
    const std::uint64_t index = random.next();
    const Words words = keystream_words(key, index, n);
    std::vector<Words> expected(limbs, Words(n));
    for (std::size_t i = 0; i < limbs; ++i) {
      const std::uint64_t q = message.primes[i];
      for (std::size_t j = 0; j < n; ++j) {
        std::uint64_t& pad = pads[i * pad_stride + j];
        pad = extreme ? 2 * q - 1 : random.edgy(2 * q);
        const int error =
            std::popcount(words[j] & 0x1fffff) - std::popcount((words[j] >> 21) & 0x1fffff);
        expected[i][j] = message.added_to(pad + q + static_cast<std::uint64_t>(error), i, j);
      }
    }
    on_every_level([&](const KernelTable& table) {
      Bytes out(limbs * row_bytes(n));
      isa::EncryptBlock args{};
      args.pads = pads.data();
      args.pad_stride = pad_stride;
      args.planes = message.planes.data();
      args.plane_stride = message.stride;
      args.plane_count = message.shape.planes;
      args.limb_count = limbs;
      args.limbs = message.limbs.data();
      args.error_key = &key;
      args.error_index = index;
      args.coefficients = n;
      args.out = out.data();
      table.encrypt_block(args);
      for (std::size_t i = 0; i < limbs; ++i) {
        CHECK(unpacked(out.data() + i * row_bytes(n), n, message.primes[i]) == expected[i]);
      }
    });
  });
}

TEST("add_message: residues + scaled planes, in place, in every limb, and not a byte beyond") {
  constexpr std::size_t kGuard = 64;
  constexpr std::uint8_t kMark = 0xa5;
  Random random(42);
  for_each_message(random, [&](const Message& message, bool extreme) {
    const std::size_t n = message.n, row = row_bytes(n);
    const std::uint32_t limbs = message.shape.limbs;
    Bytes before(kGuard + limbs * row + kGuard, kMark);
    std::vector<Words> expected(limbs, Words(n));
    for (std::size_t i = 0; i < limbs; ++i) {
      const std::uint64_t q = message.primes[i];
      Words residues(n);
      for (std::size_t j = 0; j < n; ++j) {
        residues[j] = extreme ? q - 1 : random.edgy(q);
        expected[i][j] = message.added_to(residues[j], i, j);
      }
      isa::scalar_table()->pack(residues.data(), n, before.data() + kGuard + i * row);
    }
    on_every_level([&](const KernelTable& table) {
      Bytes bytes = before;
      isa::AddMessage args{};
      args.planes = message.planes.data();
      args.plane_stride = message.stride;
      args.plane_count = message.shape.planes;
      args.limb_count = limbs;
      args.limbs = message.limbs.data();
      args.coefficients = n;
      args.packed = bytes.data() + kGuard;
      table.add_message(args);
      for (std::size_t i = 0; i < limbs; ++i) {
        CHECK(unpacked(bytes.data() + kGuard + i * row, n, message.primes[i]) == expected[i]);
      }
      for (std::size_t k = 0; k < kGuard; ++k) {
        CHECK_EQ(bytes[k], kMark);
        CHECK_EQ(bytes[bytes.size() - 1 - k], kMark);
      }
    });
  });
}

TEST("add_message completes what encrypt_block made of zeros") {
  Random random(43);
  for_each_message(random, [&](const Message& message, bool) {
    const std::size_t n = message.n;
    const std::uint32_t limbs = message.shape.limbs;
    AlignedWords pads(limbs * n), zeros(n);
    for (std::size_t i = 0; i < limbs; ++i) {
      for (std::size_t j = 0; j < n; ++j) pads[i * n + j] = random.edgy(2 * message.primes[i]);
    }
    const isa::AesKey key = random_key(random, 32);
    on_every_level([&](const KernelTable& table) {
      Bytes whole(limbs * row_bytes(n)), parts(whole.size());
      isa::EncryptBlock args{};
      args.pads = pads.data();
      args.pad_stride = n;
      args.planes = message.planes.data();
      args.plane_stride = message.stride;
      args.plane_count = message.shape.planes;
      args.limb_count = limbs;
      args.limbs = message.limbs.data();
      args.error_key = &key;
      args.error_index = 5;
      args.coefficients = n;
      args.out = whole.data();
      table.encrypt_block(args);
      args.planes = zeros.data();
      args.plane_count = 1;
      args.out = parts.data();
      table.encrypt_block(args);
      isa::AddMessage add{};
      add.planes = message.planes.data();
      add.plane_stride = message.stride;
      add.plane_count = message.shape.planes;
      add.limb_count = limbs;
      add.limbs = message.limbs.data();
      add.coefficients = n;
      add.packed = parts.data();
      table.add_message(add);
      CHECK(whole == parts);
    });
  });
}

/// {floor(a / b), a mod b} for a, b below 2^255, bit by bit on words in place.
std::pair<BigInteger, BigInteger> divide(const BigInteger& a, const BigInteger& b) {
  constexpr std::size_t kWords = 4;
  using Number = std::array<std::uint64_t, kWords>;
  const auto words = [](const BigInteger& x) {
    Number number;
    for (unsigned i = 0; i < kWords; ++i) number[i] = x.shifted_right(64 * i).low64();
    return number;
  };
  const auto from_words = [](const Number& number) {
    BigInteger x;
    for (std::size_t i = kWords; i-- > 0;) x = x * BigInteger::power_of_two(64) + number[i];
    return x;
  };
  const Number dividend = words(a), divisor = words(b);
  Number quotient{}, remainder{};
  for (unsigned bit = a.bit_length(); bit-- > 0;) {
    std::uint64_t carry = (dividend[bit / 64] >> (bit % 64)) & 1;
    for (std::uint64_t& word : remainder) {
      const std::uint64_t top = word >> 63;
      word = word << 1 | carry;
      carry = top;
    }
    if (!std::lexicographical_compare(remainder.rbegin(), remainder.rend(), divisor.rbegin(),
                                      divisor.rend())) {
      std::uint64_t borrow = 0;
      for (std::size_t i = 0; i < kWords; ++i) {
        const Uint128 difference = static_cast<Uint128>(remainder[i]) - divisor[i] - borrow;
        remainder[i] = static_cast<std::uint64_t>(difference);
        borrow = static_cast<std::uint64_t>(difference >> 64) & 1;
      }
      quotient[bit / 64] |= std::uint64_t{1} << (bit % 64);
    }
  }
  return {from_words(quotient), from_words(remainder)};
}
BigInteger operator/(const BigInteger& a, const BigInteger& b) { return divide(a, b).first; }
BigInteger operator%(const BigInteger& a, const BigInteger& b) { return divide(a, b).second; }

/// Bits [first, first + count) of x, count <= 63.
std::uint64_t field(const BigInteger& x, std::size_t first, std::size_t count) {
  const std::uint64_t mask = (std::uint64_t{1} << count) - 1;
  return x.shifted_right(static_cast<unsigned>(first)).low64() & mask;
}

/// Nearest double: the top 62 bits, the last of them sticky.
double to_double(const BigInteger& x) {
  constexpr unsigned kTop = 62;
  const unsigned length = x.bit_length();
  if (length <= kTop) return static_cast<double>(x.low64());
  const BigInteger top = x.shifted_right(length - kTop);
  const bool exact = top * BigInteger::power_of_two(length - kTop) == x;
  return std::ldexp(static_cast<double>(top.low64() | static_cast<std::uint64_t>(!exact)),
                    static_cast<int>(length - kTop));
}

BigInteger two_to(std::size_t exponent) {
  return BigInteger::power_of_two(static_cast<unsigned>(exponent));
}

/// A plan's numbers, reduced to what decoding depends on.
struct Code {
  std::size_t limbs;
  std::size_t lane_bits;
  std::size_t lanes;
  std::uint64_t total_weight;
};

/// Decode constants of a code, in big integers.
struct Decoder {
  explicit Decoder(const Code& code) : primes(block_primes(code.limbs)), modulus(1) {
    const std::size_t lanes_per_plane = std::min(code.lanes, std::size_t{48} / code.lane_bits);
    plane_bits = lanes_per_plane * code.lane_bits;
    const std::size_t planes = (code.lanes + lanes_per_plane - 1) / lanes_per_plane;
    message_bits = code.lanes * code.lane_bits;
    view.limb_count = static_cast<std::uint32_t>(code.limbs);
    view.plane_count = static_cast<std::uint32_t>(planes);
    view.words = code.limbs <= 2 ? view.limb_count : 4;
    for (std::size_t i = 0; i < code.limbs; ++i) {
      view.modulus[i] = make_modulus(primes[i]);
      store(modulus, view.prefix[i]);
      for (std::size_t j = 0; j < i; ++j) {
        view.garner[i][j] = inverse_mod(primes[j], primes[i]);
        view.garner_shoup[i][j] = shoup(view.garner[i][j], primes[i]);
      }
      modulus = modulus * BigInteger(primes[i]);
    }
    delta = modulus / two_to(message_bits);
    half = delta / BigInteger(2);
    store(modulus, view.modulus_words);
    store(half, view.half_delta);
    for (std::size_t p = 0; p < planes; ++p) {
      divisors.push_back(delta * two_to(plane_bits * p));
      store(divisors[p], view.divisor[p]);
      view.divisor_reciprocal[p] = 1.0 / to_double(divisors[p]);
    }
  }

  static void store(const BigInteger& x, std::uint64_t words[isa::kMaxLimbs]) {
    for (std::size_t i = 0; i < isa::kMaxLimbs; ++i) words[i] = field(x, 52 * i, 52);
  }

  /// What decrypt_block must return for X.
  Words digits(const BigInteger& x) const {
    BigInteger rest = (x + half) % modulus;
    Words result(divisors.size());
    for (std::size_t p = divisors.size(); p-- > 0;) {
      const auto [digit, remainder] = divide(rest, divisors[p]);
      result[p] = digit.low64();
      rest = remainder;
    }
    return result;
  }

  std::vector<std::uint64_t> primes;
  BigInteger modulus, delta, half;
  std::size_t plane_bits = 0, message_bits = 0;
  std::vector<BigInteger> divisors;
  isa::DecodeView view{};
};

/// Decrypts ciphertexts of the given X under random lazy pads and compares every digit.
void check_decrypt(const Decoder& decoder, std::vector<BigInteger> xs, Random& random) {
  while (xs.size() % isa::kGroup != 0) xs.push_back(xs[xs.size() - 1]);
  const std::size_t n = xs.size(), limbs = decoder.primes.size();
  const std::size_t planes = decoder.divisors.size();
  const std::size_t pad_stride = n + 8, plane_stride = n + 16;
  AlignedWords pads(limbs * pad_stride);
  const std::size_t row = n / isa::kGroup * isa::kGroupBytes;
  Bytes packed(limbs * row);
  for (std::size_t i = 0; i < limbs; ++i) {
    const std::uint64_t q = decoder.primes[i];
    Words c(n);
    for (std::size_t j = 0; j < n; ++j) {
      pads[i * pad_stride + j] = random.edgy(2 * q);
      const std::uint64_t x = xs[j].mod(q);
      c[j] = (x + pads[i * pad_stride + j]) % q;
    }
    isa::scalar_table()->pack(c.data(), n, packed.data() + i * row);
  }
  std::vector<Words> expected;
  for (const BigInteger& x : xs) expected.push_back(decoder.digits(x));
  on_every_level([&](const KernelTable& table) {
    AlignedWords out(planes * plane_stride);
    isa::DecryptBlock args{};
    args.packed = packed.data();
    args.pads = pads.data();
    args.pad_stride = pad_stride;
    args.decode = &decoder.view;
    args.coefficients = n;
    args.planes = out.data();
    args.plane_stride = plane_stride;
    table.decrypt_block(args);
    for (std::size_t j = 0; j < n; ++j) {
      for (std::size_t p = 0; p < planes; ++p) {
        CHECK_EQ(out[p * plane_stride + j], expected[j][p]);
      }
    }
  });
}

/// Codes from roomy to as tight as the planner allows (Delta just above 2 B W).
std::vector<Code> codes() {
  return {{1, 20, 2, 10},  {1, 20, 1, 10}, {1, 2, 21, 2},    {1, 40, 1, 1},     {1, 2, 22, 1},
          {1, 34, 1, 600}, {2, 20, 4, 10}, {2, 33, 2, 5000}, {2, 48, 1, 65536}, {2, 5, 18, 4},
          {2, 2, 46, 1},   {3, 20, 7, 10}, {3, 47, 2, 1000}, {4, 20, 9, 10},    {4, 48, 3, 65536},
          {4, 3, 64, 1},   {4, 19, 10, 3}, {4, 25, 7, 1000}, {4, 48, 4, 1},     {4, 48, 1, 1}};
}

TEST("decrypt_block: message and error at the edges of correct rounding") {
  constexpr std::uint64_t kErrorBound = 21;
  Random random(42);
  for (const Code& code : codes()) {
    const Decoder decoder(code);
    const BigInteger bound(kErrorBound * code.total_weight);
    // The planner's condition; a code here that breaks it is a mistake in the list above.
    const bool correct_code = bound + bound < decoder.delta;
    const BigInteger top = two_to(decoder.message_bits) - BigInteger(1);
    std::vector<BigInteger> messages = {BigInteger(0), BigInteger(1), top, top - BigInteger(1)};
    for (std::size_t p = 1; p * decoder.plane_bits < decoder.message_bits; ++p) {
      const BigInteger edge = two_to(p * decoder.plane_bits);
      messages.push_back(edge);
      messages.push_back(edge - BigInteger(1));
    }
    for (int i = 0; i < 40; ++i) {
      BigInteger m(random.next() >> 2);
      for (int k = 0; k < 3; ++k) m = m * two_to(64) + BigInteger(random.next());
      messages.push_back(m % two_to(decoder.message_bits));
    }
    CHECK(correct_code);
    std::vector<BigInteger> xs;
    std::size_t wrong = 0;
    for (const BigInteger& m : messages) {
      const BigInteger base = m * decoder.delta;
      for (const BigInteger& e : {BigInteger(0), BigInteger(1), bound - BigInteger(1), bound}) {
        xs.push_back((base + e) % decoder.modulus);
        xs.push_back((base + decoder.modulus - e) % decoder.modulus);
        for (const BigInteger* x : {&xs[xs.size() - 2], &xs[xs.size() - 1]}) {
          const Words digits = decoder.digits(*x);
          for (std::size_t p = 0; p < digits.size(); ++p) {
            const std::size_t first = p * decoder.plane_bits;
            const std::size_t bits = std::min(decoder.plane_bits, decoder.message_bits - first);
            wrong += digits[p] != field(m, first, bits);
          }
        }
      }
    }
    CHECK_EQ(wrong, 0u);
    check_decrypt(decoder, xs, random);
  }
}

TEST("decrypt_block: any X at all, also in the unused gap below Q") {
  Random random(43);
  for (const Code& code : codes()) {
    const Decoder decoder(code);
    const BigInteger one(1), last = decoder.modulus - one;
    std::vector<BigInteger> xs = {BigInteger(0),
                                  one,
                                  last,
                                  decoder.half,
                                  decoder.half - one,
                                  decoder.half + one,
                                  decoder.modulus - decoder.half,
                                  decoder.modulus - decoder.half - one,
                                  (decoder.modulus - decoder.half + one) % decoder.modulus};
    // Both sides of multiples of every divisor: where an estimate is one off.
    for (const BigInteger& divisor : decoder.divisors) {
      const BigInteger multiples = decoder.modulus / divisor;
      for (int i = 0; i < 60; ++i) {
        BigInteger k(random.next());
        k = i == 0 ? multiples : k % (multiples + one);
        const BigInteger x = k * divisor + decoder.modulus - decoder.half;
        xs.push_back(x % decoder.modulus);
        xs.push_back((x + one) % decoder.modulus);
        xs.push_back((x + decoder.modulus - one) % decoder.modulus);
      }
    }
    for (int i = 0; i < 400; ++i) {
      BigInteger x(random.next() >> 2);
      for (int k = 0; k < 3; ++k) x = x * two_to(64) + BigInteger(random.next());
      xs.push_back(x % decoder.modulus);
    }
    check_decrypt(decoder, xs, random);
  }
}

TEST("decrypt_block: every small length") {
  Random random(44);
  for (const Code& code : {codes()[0], codes()[6], codes()[13]}) {
    const Decoder decoder(code);
    for (std::size_t n = 8; n <= 80; n += 8) {
      std::vector<BigInteger> xs;
      for (std::size_t j = 0; j < n; ++j) {
        xs.push_back(BigInteger(random.next()) * BigInteger(random.next()) % decoder.modulus);
      }
      check_decrypt(decoder, xs, random);
    }
  }
}

}  // namespace
}  // namespace veilsum::test
