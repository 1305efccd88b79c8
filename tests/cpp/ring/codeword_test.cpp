// Layer: tests (ring). Messages in coefficients: Delta * m + noise is built in unbounded integers,
// and decoding must give m for every noise up to floor((Delta - 1) / 2), at that edge on both
// sides, in every ring, for every cut into planes and on every level; one step beyond, it must not.
#include "ring/codeword.h"

#include <array>
#include <cstdint>
#include <vector>

#include "check.h"
#include "ring/primes.h"
#include "support/big_integer.h"
#include "support/levels.h"
#include "support/modulus.h"
#include "support/random.h"
#include "veilsum/errors.h"

namespace veilsum::test {
namespace {

using ring::Codeword;
using ring::Ring;

struct Shape {
  std::uint32_t degree;
  std::uint32_t limbs;
  unsigned message_bits;
  unsigned plane_bits;
};

// Every ring of a plan, and the cuts that plans use and that sit at the edges.
const std::vector<Shape> kShapes = {
    {2048, 1, 40, 40},   {2048, 1, 48, 48},   {2048, 1, 1, 1},    {2048, 1, 8, 1},
    {2048, 1, 27, 27},   {2048, 1, 42, 21},   {4096, 1, 45, 45},  {4096, 1, 48, 16},
    {4096, 2, 80, 40},   {4096, 2, 98, 48},   {4096, 2, 96, 48},  {4096, 2, 48, 48},
    {4096, 2, 98, 14},   {8192, 2, 90, 45},   {8192, 2, 33, 33},  {8192, 4, 180, 40},
    {8192, 4, 198, 48},  {8192, 4, 192, 48},  {8192, 4, 192, 24}, {8192, 4, 8, 1},
    {16384, 4, 188, 47}, {16384, 4, 198, 33},
};

/// A signed number as (magnitude, sign).
struct Noise {
  BigInteger magnitude;
  bool negative;
};

struct Message {
  std::vector<std::uint64_t> digits;  // one a plane
};

/// Bits of plane p: all planes but the last are full.
unsigned bits_of_plane(const Shape& shape, unsigned plane) {
  const unsigned left = shape.message_bits - plane * shape.plane_bits;
  return left < shape.plane_bits ? left : shape.plane_bits;
}

std::vector<Message> messages(const Shape& shape, Random& random) {
  const unsigned planes = (shape.message_bits + shape.plane_bits - 1) / shape.plane_bits;
  const auto top = [&](unsigned plane) {
    return (std::uint64_t{1} << bits_of_plane(shape, plane)) - 1;
  };
  std::vector<Message> out;
  Message zero{std::vector<std::uint64_t>(planes, 0)}, full = zero;
  for (unsigned plane = 0; plane < planes; ++plane) full.digits[plane] = top(plane);
  out.push_back(zero);
  out.push_back(full);
  for (unsigned plane = 0; plane < planes; ++plane) {
    for (const std::uint64_t digit : {std::uint64_t{1} & top(plane), top(plane)}) {
      Message one = zero, rest = full;
      one.digits[plane] = digit;
      rest.digits[plane] = top(plane) - digit;
      out.push_back(one);
      out.push_back(rest);
    }
  }
  for (int i = 0; i < 8; ++i) {
    Message any = zero;
    for (unsigned plane = 0; plane < planes; ++plane) {
      any.digits[plane] = random.edgy(top(plane) + 1);
    }
    out.push_back(any);
  }
  return out;
}

BigInteger modulus_of(std::uint32_t limbs) {
  BigInteger q(1);
  for (std::uint32_t limb = 0; limb < limbs; ++limb) q = q * BigInteger(ring::kPrimes[limb]);
  return q;
}

BigInteger value_of(const Message& message, const Shape& shape) {
  BigInteger value;
  for (std::size_t plane = message.digits.size(); plane-- > 0;) {
    value = value * BigInteger::power_of_two(shape.plane_bits) + BigInteger(message.digits[plane]);
  }
  return value;
}

/// (Delta * m + e) mod q_limb
std::uint64_t residue(const BigInteger& scaled, const Noise& noise, std::uint64_t q) {
  const std::uint64_t e = noise.magnitude.mod(q);
  return (scaled.mod(q) + (noise.negative ? q - e : e)) % q;
}

struct Coefficient {
  Message message;
  BigInteger scaled;
  Noise noise;
};

std::vector<Coefficient> coefficients_of(const Shape& shape, const std::vector<Noise>& noises,
                                         const BigInteger& delta, Random& random) {
  std::vector<Coefficient> out;
  for (const Message& message : messages(shape, random)) {
    const BigInteger scaled = delta * value_of(message, shape);
    for (const Noise& noise : noises) out.push_back({message, scaled, noise});
  }
  while (out.size() % 8 != 0) out.push_back(out.front());
  return out;
}

/// Decodes coefficients given by their residues; planes [plane][coefficient].
std::vector<std::vector<std::uint64_t>> decode(const isa::KernelTable& table,
                                               const Codeword& codeword, const Shape& shape,
                                               const std::vector<Coefficient>& in) {
  const std::size_t n = in.size();
  AlignedWords pads(n * shape.limbs), planes(n * codeword.planes());
  std::vector<std::uint8_t> packed(n / 8 * 50 * shape.limbs);
  Random random(n);
  for (std::uint32_t limb = 0; limb < shape.limbs; ++limb) {
    const std::uint64_t q = ring::kPrimes[limb];
    AlignedWords row(n);
    for (std::size_t j = 0; j < n; ++j) {
      // A lazy pad, which decoding takes off again.
      pads[limb * n + j] = random.edgy(2 * q);
      row[j] = (residue(in[j].scaled, in[j].noise, q) + pads[limb * n + j]) % q;
    }
    isa::scalar_table()->pack(row.data(), n, packed.data() + limb * (n / 8 * 50));
  }
  isa::DecryptBlock args{};
  args.packed = packed.data();
  args.pads = pads.data();
  args.pad_stride = n;
  args.decode = &codeword.decode_view();
  args.coefficients = n;
  args.planes = planes.data();
  args.plane_stride = n;
  table.decrypt_block(args);
  std::vector<std::vector<std::uint64_t>> out(codeword.planes());
  for (std::size_t p = 0; p < out.size(); ++p) {
    for (std::size_t j = 0; j < n; ++j) out[p].push_back(planes[p * n + j]);
  }
  return out;
}

TEST("Delta is floor(Q / 2^bits)") {
  for (const Shape& shape : kShapes) {
    const auto ring = Ring::get(shape.degree, shape.limbs);
    const Codeword codeword(*ring, shape.message_bits, shape.plane_bits);
    const BigInteger delta = modulus_of(shape.limbs).shifted_right(shape.message_bits);
    BigInteger found;
    for (unsigned i = 4; i-- > 0;) {
      found = found * BigInteger::power_of_two(52) + BigInteger(codeword.delta().word52(i));
    }
    CHECK_EQ(found, delta);
    CHECK_EQ(codeword.planes(), (shape.message_bits + shape.plane_bits - 1) / shape.plane_bits);
  }
}

TEST("decoding is exact up to noise floor((Delta - 1) / 2), in every ring") {
  Random random(1);
  for (const Shape& shape : kShapes) {
    const auto ring = Ring::get(shape.degree, shape.limbs);
    const Codeword codeword(*ring, shape.message_bits, shape.plane_bits);
    const BigInteger delta = modulus_of(shape.limbs).shifted_right(shape.message_bits);
    const BigInteger edge = (delta - BigInteger(1)).shifted_right(1);
    std::vector<Noise> noises = {{BigInteger(0), false}, {edge, false}, {edge, true}};
    for (const BigInteger& inside : {BigInteger(1), edge.shifted_right(1), edge.shifted_right(7)}) {
      if (inside < edge) {
        noises.push_back({inside, false});
        noises.push_back({inside, true});
        noises.push_back({edge - inside, false});
        noises.push_back({edge - inside, true});
      }
    }
    const std::vector<Coefficient> in = coefficients_of(shape, noises, delta, random);
    on_every_level([&](const isa::KernelTable& table) {
      const auto planes = decode(table, codeword, shape, in);
      std::size_t wrong = 0;
      for (std::size_t j = 0; j < in.size(); ++j) {
        for (std::size_t p = 0; p < planes.size(); ++p) {
          wrong += planes[p][j] != in[j].message.digits[p];
        }
      }
      CHECK_EQ(wrong, 0u);
      if (wrong != 0) {
        std::fprintf(stderr, "  ... limbs %u, %u bits in planes of %u\n", shape.limbs,
                     shape.message_bits, shape.plane_bits);
      }
    });
  }
}

TEST("the bound is tight: one more rounds up to the next message") {
  for (const Shape& shape : kShapes) {
    const auto ring = Ring::get(shape.degree, shape.limbs);
    const Codeword codeword(*ring, shape.message_bits, shape.plane_bits);
    const BigInteger delta = modulus_of(shape.limbs).shifted_right(shape.message_bits);
    const BigInteger beyond = (delta - BigInteger(1)).shifted_right(1) + BigInteger(1);
    Message zero{std::vector<std::uint64_t>(codeword.planes(), 0)};
    const std::vector<Coefficient> in(8, {zero, BigInteger(0), {beyond, false}});
    on_every_level([&](const isa::KernelTable& table) {
      CHECK_EQ(decode(table, codeword, shape, in)[0][0], 1u);
    });
  }
}

TEST("encoding adds Delta * m modulo every prime") {
  Random random(2);
  const isa::AesKey key = random_key(random, 32);
  for (const Shape& shape : kShapes) {
    const auto ring = Ring::get(shape.degree, shape.limbs);
    const Codeword codeword(*ring, shape.message_bits, shape.plane_bits);
    const BigInteger delta = modulus_of(shape.limbs).shifted_right(shape.message_bits);
    const std::vector<Coefficient> in =
        coefficients_of(shape, {{BigInteger(0), false}}, delta, random);
    const std::size_t n = in.size();
    std::vector<std::int8_t> error(n);
    isa::scalar_table()->sample_cbd(key, 77, n, error.data());
    AlignedWords pads(n * shape.limbs), planes(n * codeword.planes());
    for (std::size_t p = 0; p < codeword.planes(); ++p) {
      for (std::size_t j = 0; j < n; ++j) planes[p * n + j] = in[j].message.digits[p];
    }
    for (std::uint32_t limb = 0; limb < shape.limbs; ++limb) {
      for (std::size_t j = 0; j < n; ++j) {
        pads[limb * n + j] = random.edgy(2 * ring::kPrimes[limb]);
      }
    }
    on_every_level([&](const isa::KernelTable& table) {
      std::vector<std::uint8_t> packed(n / 8 * 50 * shape.limbs);
      isa::EncryptBlock args{};
      args.pads = pads.data();
      args.pad_stride = n;
      args.planes = planes.data();
      args.plane_stride = n;
      args.plane_count = codeword.planes();
      args.limb_count = shape.limbs;
      args.limbs = codeword.limb_views();
      args.error_key = &key;
      args.error_index = 77;
      args.coefficients = n;
      args.out = packed.data();
      table.encrypt_block(args);
      std::size_t wrong = 0;
      for (std::uint32_t limb = 0; limb < shape.limbs; ++limb) {
        const std::uint64_t q = ring::kPrimes[limb];
        AlignedWords row(n);
        CHECK(isa::scalar_table()->unpack(packed.data() + limb * (n / 8 * 50), n, q, row.data()));
        for (std::size_t j = 0; j < n; ++j) {
          const Noise noise = {BigInteger(static_cast<std::uint64_t>(std::abs(error[j]))),
                               error[j] < 0};
          wrong += row[j] != (residue(in[j].scaled, noise, q) + pads[limb * n + j] % q) % q;
        }
      }
      CHECK_EQ(wrong, 0u);
    });
  }
}

TEST("messages that do not fit are refused") {
  const auto one = Ring::get(2048, 1);
  const auto four = Ring::get(8192, 4);
  CHECK_THROWS(Codeword(*one, 49, 48), ParameterError);
  CHECK_THROWS(Codeword(*one, 50, 48), ParameterError);
  CHECK_THROWS(Codeword(*four, 199, 48), ParameterError);
  CHECK_THROWS(Codeword(*one, 40, 0), ParameterError);
  CHECK_THROWS(Codeword(*one, 40, 49), ParameterError);
  CHECK_THROWS(Codeword(*one, 0, 40), ParameterError);
  CHECK_THROWS(Codeword(*one, 9, 1), ParameterError);      // nine planes
  CHECK_THROWS(Codeword(*four, 193, 24), ParameterError);  // nine planes
}

}  // namespace
}  // namespace veilsum::test
