// Layer: tests (openfhe). The CKKS cipher in one prime and in two: sums of two parties' blocks from
// keys to values, noise as wide as asked for, typed refusals of malformed residues, and errors that
// cross out of parallel work, OpenFHE's own among them.
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

using openfhe::Context;
using openfhe::ContextRequest;
using Words = std::vector<std::uint64_t>;
__extension__ typedef unsigned __int128 Uint128;

constexpr std::size_t kBlocks = 3;
const double kDeviation = std::exp2(31);

/// A context, a first party's secret key, a second's, and the joint public key.
struct Setting {
  explicit Setting(const ContextRequest& given)
      : request(given),
        context(given),
        first(context.polynomial()),
        second(context.polynomial()),
        joint(2 * context.polynomial()) {
    Words earlier(joint.size());
    context.keygen({}, first, earlier);
    context.keygen(earlier, second, joint);
  }

  std::vector<double> values(std::uint64_t n) const {
    Random random(n);
    std::vector<double> out(kBlocks * context.slots());
    for (double& value : out) value = 2 * random.unit() - 1;
    return out;
  }
  Words encrypt(const std::vector<double>& values, int threads = 1) const {
    Words out(values.size() / context.slots() * 2 * context.polynomial());
    context.encrypt(joint, values, out, threads);
    return out;
  }
  Words share(const Words& secret, const Words& blocks, int threads = 1) const {
    Words out(blocks.size() / 2);
    context.share(secret, blocks, kDeviation, out, threads);
    return out;
  }
  /// sum_k weights[k] * terms[k], residue by residue.
  Words sum(const std::vector<Words>& terms, const std::vector<std::uint64_t>& weights) const {
    const Words primes = context.moduli();
    Words out(terms.front().size());
    for (std::size_t i = 0; i < out.size(); ++i) {
      const std::uint64_t prime = primes[i / context.ring_degree() % primes.size()];
      Uint128 total = 0;
      for (std::size_t k = 0; k < terms.size(); ++k) {
        total += static_cast<Uint128>(terms[k][i]) * weights[k];
      }
      out[i] = static_cast<std::uint64_t>(total % prime);
    }
    return out;
  }
  std::vector<std::complex<double>> decrypt(const Words& blocks, const Words& shares,
                                            int threads = 1) const {
    std::vector<std::complex<double>> out(kBlocks * context.slots());
    context.decrypt(blocks, shares, out, threads);
    return out;
  }
  /// Eight deviations of a value when both parties flood.
  double allowed() const {
    const double slot = std::sqrt(static_cast<double>(context.slots()));
    return 8 * std::sqrt(2.0) * kDeviation * slot / std::exp2(request.scale_bits);
  }

  ContextRequest request;
  Context context;
  Words first, second, joint;
};

/// The smallest ring for one prime of 60 bits, and two primes.
const std::vector<Setting>& settings() {
  static const std::vector<Setting> made = [] {
    std::vector<Setting> all;
    all.emplace_back(ContextRequest{4096, 128, 1, 60, 55});
    all.emplace_back(ContextRequest{8192, 128, 2, 60, 59});
    return all;
  }();
  return made;
}

TEST("two parties: sums with integer weights come back within the noise of the shares") {
  for (const Setting& s : settings()) {
    const std::vector<double> a = s.values(1), b = s.values(2);
    for (int threads = 1; threads <= 3; ++threads) {
      const Words sum = s.sum({s.encrypt(a, threads), s.encrypt(b, threads)}, {3, 5});
      const Words share =
          s.sum({s.share(s.first, sum, threads), s.share(s.second, sum, threads)}, {1, 1});
      const auto slots = s.decrypt(sum, share, threads);
      double worst = 0;
      for (std::size_t i = 0; i < a.size(); ++i) {
        worst = std::max(worst, std::abs(slots[i].real() - (3 * a[i] + 5 * b[i])));
        worst = std::max(worst, std::abs(slots[i].imag()));
      }
      CHECK(worst < s.allowed());
      CHECK(worst > s.allowed() / 4);  // three deviations of 8, in 12,288 samples and more
    }
  }
}

TEST("whoever decrypts gets the same values, on any number of threads") {
  const Setting& s = settings().front();
  const Words blocks = s.encrypt(s.values(1));
  const Words share = s.sum({s.share(s.first, blocks), s.share(s.second, blocks)}, {1, 1});
  CHECK(s.decrypt(blocks, share, 1) == s.decrypt(blocks, share, 3));
}

TEST("the largest sum that a plan fills half of the prime with") {
  // 15 * 2^55 is 15/16 of 2^59: values that are all the limit make one coefficient of just that.
  const Setting& s = settings().front();
  for (const double limit : {1.0, -1.0}) {
    const Words one = s.encrypt(std::vector<double>(kBlocks * s.context.slots(), limit));
    const Words sum = s.sum({one}, {15});
    const Words share = s.sum({s.share(s.first, sum), s.share(s.second, sum)}, {1, 1});
    double worst = 0;
    for (const auto& slot : s.decrypt(sum, share)) {
      worst = std::max(worst, std::abs(slot - 15 * limit));
    }
    CHECK(worst < 2 * s.allowed());
  }
}

TEST("one party's share alone decrypts nothing") {
  for (const Setting& s : settings()) {
    const std::vector<double> a = s.values(1);
    const Words blocks = s.encrypt(a);
    const auto slots = s.decrypt(blocks, s.share(s.first, blocks));
    std::size_t near = 0;
    for (std::size_t i = 0; i < a.size(); ++i) near += std::abs(slots[i] - a[i]) < 1e-2;
    CHECK(near < a.size() / 100);
  }
}

TEST("a residue that is not below its prime is refused wherever it enters") {
  for (const Setting& s : settings()) {
    const Words good = s.encrypt(s.values(1));
    const Words share = s.share(s.first, good);
    const Words primes = s.context.moduli();
    const std::size_t degree = s.context.ring_degree(), poly = s.context.polynomial();
    for (int threads = 1; threads <= 3; ++threads) {
      for (std::size_t block = 0; block < kBlocks; ++block) {
        for (std::size_t p = 0; p < primes.size(); ++p) {
          const std::size_t last = (p + 1) * degree - 1;
          for (const std::uint64_t value : {primes[p], ~std::uint64_t{0}}) {
            Words c0 = good, c1 = good, wrong = share;
            c0[block * 2 * poly + last] = value;
            c1[block * 2 * poly + poly + last] = value;
            wrong[block * poly + last] = value;
            CHECK_THROWS_WITH(s.decrypt(c0, share, threads), WireFormatError, "not below");
            CHECK_THROWS_WITH(s.decrypt(good, wrong, threads), WireFormatError, "not below");
            CHECK_THROWS_WITH(s.share(s.first, c1, threads), WireFormatError, "not below");
          }
        }
      }
      CHECK_EQ(s.decrypt(good, share, threads).size(), kBlocks * s.context.slots());
    }
    Words key = s.joint, secret = s.first;
    key.back() = primes.back();
    secret.back() = primes.back();
    Words out(2 * poly), half(poly);
    CHECK_THROWS_WITH(s.context.encrypt(key, std::vector<double>(s.context.slots()), out, 1),
                      WireFormatError, "not below");
    CHECK_THROWS_WITH(s.context.keygen(key, half, out), WireFormatError, "not below");
    CHECK_THROWS_WITH(s.share(secret, good), WireFormatError, "not below");
    CHECK_THROWS_WITH(s.context.public_bytes(key, "tag"), WireFormatError, "not below");
  }
}

TEST("what OpenFHE throws inside of parallel work comes out as a VeilsumError with its words") {
  const Setting& s = settings().front();
  std::vector<double> values = s.values(1);
  values[s.context.slots() + 7] = 1e300;
  for (int threads = 1; threads <= 3; ++threads) {
    CHECK_THROWS_WITH(s.encrypt(values, threads), VeilsumError,
                      "OpenFHE could not encrypt a block");
    CHECK(!s.encrypt(s.values(1), threads).empty());
  }
}

TEST("arguments that do not fit each other") {
  const Setting& s = settings().front();
  const Words blocks = s.encrypt(s.values(1));
  Words share = s.share(s.first, blocks);
  Words out(blocks.size());
  CHECK_THROWS(s.context.encrypt(s.joint, std::vector<double>(7), out, 1), ParameterError);
  CHECK_THROWS(s.context.encrypt(s.first, s.values(1), out, 1), ParameterError);
  CHECK_THROWS(s.context.keygen({}, out, out), ParameterError);
  CHECK_THROWS(s.context.block_bytes(blocks, "tag"), ParameterError);
  for (const double deviation : {0.0, -1.0, std::exp2(57), std::nan("")}) {
    CHECK_THROWS(s.context.share(s.first, blocks, deviation, share, 1), ParameterError);
  }
  share.pop_back();
  CHECK_THROWS(s.decrypt(blocks, share), ParameterError);
  CHECK_THROWS(Context({4096, 100, 1, 60, 55}), ParameterError);
  CHECK_THROWS(Context({4096, 128, 3, 60, 55}), ParameterError);
  CHECK_THROWS_WITH(Context({2048, 128, 1, 54, 40}), ParameterError, "OpenFHE refuses");
  CHECK_THROWS_WITH(Context({4096, 128, 2, 60, 59}), ParameterError, "OpenFHE refuses");
}

TEST("blocks and keys in OpenFHE's own format name the key pair") {
  const Setting& s = settings().front();
  const Words blocks = s.encrypt(s.values(1));
  const std::string tag(32, 'a');
  const Words block(blocks.begin(), blocks.begin() + 2 * s.context.polynomial());
  CHECK(s.context.block_bytes(block, tag).find(tag) != std::string::npos);
  CHECK(s.context.public_bytes(s.joint, tag).find(tag) != std::string::npos);
}

}  // namespace
}  // namespace veilsum::test
