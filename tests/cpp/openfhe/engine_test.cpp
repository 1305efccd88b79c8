// Layer: tests (openfhe). The CKKS engine: a round of two parties from keys to values, the same
// residues on the wire and back, typed refusals of malformed ones, and errors that cross out of
// parallel work, OpenFHE's own among them.
#include "openfhe/engine.h"

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstdint>
#include <string>
#include <vector>

#include "check.h"
#include "support/random.h"
#include "veilsum/errors.h"

namespace veilsum::test {
namespace {

using openfhe::Blocks;
using openfhe::Context;
using openfhe::KeyPair;
using openfhe::Shape;

constexpr std::size_t kBlocks = 3;
constexpr double kScaleBits = 48;

/// The smallest ring that OpenFHE takes for 128 bits of security.
const Context& context() {
  static const Context made({4096, 128, false, 0, 60, static_cast<std::uint32_t>(kScaleBits)});
  return made;
}

/// A first party's keys, and a second's, whose public key is joint.
struct Parties {
  KeyPair first = context().keygen();
  KeyPair second = context().next_party(first.public_key);
};

const Parties& parties() {
  static const Parties made;
  return made;
}

std::vector<double> values_of(std::uint64_t n) {
  Random random(n);
  std::vector<double> out(kBlocks * context().slots());
  for (double& value : out) value = static_cast<double>(random.next() >> 11) * 0x1p-52 - 1.0;
  return out;
}

Blocks encrypted(std::uint64_t n, int threads = 1) {
  return context().encrypt(parties().second.public_key, values_of(n), threads);
}

std::vector<std::uint64_t> residues_of(const Blocks& blocks, int threads = 1) {
  std::vector<std::uint64_t> out(blocks.count() * context().residues(blocks.shape()));
  context().write(blocks, 0, blocks.count(), out, threads);
  return out;
}

std::vector<std::complex<double>> decrypted(const Blocks& blocks, int threads) {
  const Blocks shares =
      context().add_shares({context().share(parties().first.secret, blocks, threads),
                            context().share(parties().second.secret, blocks, threads)},
                           threads);
  std::vector<std::complex<double>> out(blocks.count() * context().slots());
  context().decrypt(blocks, shares, out, threads);
  return out;
}

TEST("two parties: values, sums and weighted sums come back within the noise of the shares") {
  // A slot is a sum of all N coefficients, each with the noise of two shares, over the scale. That
  // of encryption (some 2^12 a coefficient) is a small part of it. Ten deviations, in both parts of
  // 6,144 slots and six decryptions, fail once in 10^18.
  const double degree = static_cast<double>(context().ring_degree());
  const double deviation =
      context().flooding_deviation() * std::sqrt(2.0 * degree) / std::exp2(kScaleBits);
  const double allowed = 10 * deviation;
  CHECK(allowed < 1e-4);
  const std::vector<double> a = values_of(1), b = values_of(2);
  for (int threads = 1; threads <= 3; ++threads) {
    const Blocks first = encrypted(1, threads), second = encrypted(2, threads);
    CHECK_EQ(first.count(), kBlocks);
    const auto plain = decrypted(context().sum({first, second}, {}, threads), threads);
    const Blocks weighted = context().sum({first, second}, {0.25, 0.75}, threads);
    CHECK(weighted.shape().rescaled);
    const auto mean = decrypted(weighted, threads);
    double worst = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
      worst = std::max(worst, std::abs(plain[i] - (a[i] + b[i])));
      worst = std::max(worst, std::abs(mean[i] - (0.25 * a[i] + 0.75 * b[i])));
    }
    CHECK(worst < allowed);
    CHECK(worst > 0);
  }
}

TEST("one party's share alone decrypts nothing") {
  const Blocks blocks = encrypted(1);
  std::vector<std::complex<double>> out(kBlocks * context().slots());
  const std::vector<double> a = values_of(1);
  try {
    context().decrypt(blocks, context().share(parties().first.secret, blocks, 1), out, 1);
  } catch (const VeilsumError&) {
    return;  // noise too large for OpenFHE's decoder
  }
  std::size_t near = 0;
  for (std::size_t i = 0; i < a.size(); ++i) near += std::abs(out[i] - a[i]) < 1e-2;
  CHECK(near < a.size() / 100);
}

TEST("residues to the wire and back, whatever the threads, and of part of the blocks") {
  const Blocks full = encrypted(1);
  const Blocks rescaled = context().sum({full, full}, {0.5, 0.5}, 1);
  const Blocks share = context().share(parties().first.secret, full, 1);
  for (const Blocks& blocks : {full, rescaled, share}) {
    const std::vector<std::uint64_t> residues = residues_of(blocks);
    for (int threads = 1; threads <= 3; ++threads) {
      CHECK(residues_of(blocks, threads) == residues);
      const Blocks again =
          context().read(parties().second.public_key, residues, blocks.shape(), threads);
      CHECK(residues_of(again, threads) == residues);
    }
    const std::size_t each = context().residues(blocks.shape());
    std::vector<std::uint64_t> last(each);
    context().write(blocks, kBlocks - 1, 1, last, 1);
    CHECK(std::equal(last.begin(), last.end(), residues.end() - static_cast<std::ptrdiff_t>(each)));
  }
}

TEST("a residue that is not below its prime is refused, from whichever block and thread") {
  const Blocks blocks = encrypted(1);
  const std::vector<std::uint64_t> good = residues_of(blocks);
  const std::size_t degree = context().ring_degree();
  const std::vector<std::uint64_t> primes = context().moduli();
  const std::size_t each = context().residues(blocks.shape());
  for (int threads = 1; threads <= 3; ++threads) {
    for (std::size_t block = 0; block < kBlocks; ++block) {
      for (std::size_t prime = 0; prime < primes.size(); ++prime) {
        for (const std::uint64_t value : {primes[prime] - 1, primes[prime], ~std::uint64_t{0}}) {
          std::vector<std::uint64_t> residues = good;
          residues[block * each + (prime + 1) * degree - 1] = value;
          const auto read = [&] {
            return context().read(parties().second.public_key, residues, {}, threads);
          };
          if (value < primes[prime]) {
            CHECK(residues_of(read()) == residues);
          } else {
            CHECK_THROWS_WITH(read(), WireFormatError, "not below");
          }
        }
      }
    }
    // The error went by; the next call works.
    CHECK(residues_of(context().read(parties().second.public_key, good, {}, threads)) == good);
  }
}

TEST("lengths that are no whole blocks or keys are refused") {
  const auto& key = parties().second.public_key;
  const std::vector<std::uint64_t> good = residues_of(encrypted(1));
  const std::span<const std::uint64_t> all(good);
  CHECK_THROWS_WITH(context().read(key, all.first(all.size() - 1), {}, 2), WireFormatError,
                    "not whole blocks");
  CHECK_EQ(context().read(key, {}, {}, 2).count(), 0u);
  const std::vector<std::uint64_t> public_key = context().write(key);
  const std::vector<std::uint64_t> secret = context().write(parties().first.secret);
  for (const std::size_t less : {std::size_t{1}, secret.size()}) {
    CHECK_THROWS_WITH(
        context().read_public(std::span(public_key).first(public_key.size() - less), "tag"),
        WireFormatError, "public key has");
    CHECK_THROWS_WITH(context().read_secret(std::span(secret).first(secret.size() - less), "tag"),
                      WireFormatError, "secret key has");
  }
  CHECK(context().write(context().read_public(public_key, "tag")) == public_key);
  CHECK(context().write(context().read_secret(secret, "tag")) == secret);
  CHECK_EQ(context().read_public(public_key, "tag").tag(), "tag");
}

TEST("what OpenFHE throws inside of parallel work comes out as a VeilsumError with its words") {
  const Context other({8192, 128, false, 0, 60, 48});
  const KeyPair strange = other.keygen();
  for (int threads = 1; threads <= 3; ++threads) {
    CHECK_THROWS_WITH(context().encrypt(strange.public_key, values_of(1), threads), VeilsumError,
                      "OpenFHE could not encrypt a block");
    CHECK_EQ(encrypted(1, threads).count(), kBlocks);
  }
}

TEST("arguments that do not fit each other") {
  const Blocks blocks = encrypted(1);
  const Blocks share = context().share(parties().first.secret, blocks, 1);
  CHECK_THROWS(context().encrypt(parties().second.public_key, std::vector<double>(7), 1),
               ParameterError);
  CHECK_THROWS(context().sum({}, {}, 1), ParameterError);
  CHECK_THROWS(context().sum({blocks}, {1.0, 2.0}, 1), ParameterError);
  CHECK_THROWS(context().sum({blocks, share}, {}, 1), ParameterError);
  CHECK_THROWS(context().add_shares({blocks}, 1), ParameterError);
  CHECK_THROWS(context().join({blocks, share}), ParameterError);
  std::vector<std::complex<double>> out(7);
  CHECK_THROWS(context().decrypt(blocks, share, out, 1), ParameterError);
  CHECK_THROWS(Context({4096, 100, false, 0, 60, 48}), ParameterError);
  CHECK_THROWS(Context({4096, 128, true, 0, 60, 59}), ParameterError);  // too small for flooding
}

}  // namespace
}  // namespace veilsum::test
