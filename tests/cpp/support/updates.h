// Layer: tests. Updates of floating-point values of every element type, and what the cipher layer
// must make of them, written from the wire format: weight, clip, quantise, sum, and back, in double
// or, where the wire format says so, in float.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include "cipher/decrypt.h"
#include "cipher/element.h"
#include "cipher/encrypt.h"
#include "scheme/blocks_digest.h"
#include "support/rounds.h"

namespace veilsum::test {

using isa::ElementType;

/// One tensor: its bytes, aligned for any element type.
struct Tensor {
  ElementType type = ElementType::kFloat32;
  std::uint64_t count = 0;
  AlignedBuffer<std::uint8_t> bytes;

  cipher::Piece piece() const { return {bytes.data(), type, count}; }
};

inline double half_to_double(std::uint16_t bits) {
  const int exponent = bits >> 10 & 31;
  const double mantissa = bits & 1023;
  const double magnitude =
      exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
  return (bits & 0x8000) != 0 ? -magnitude : magnitude;
}

inline double bfloat16_to_double(std::uint16_t bits) {
  const std::uint32_t wide = std::uint32_t{bits} << 16;
  float value;
  std::memcpy(&value, &wide, sizeof value);
  return static_cast<double>(value);
}

/// Value `at`, as the double it stands for.
inline double value_at(const Tensor& tensor, std::uint64_t at) {
  const std::uint8_t* place = tensor.bytes.data() + at * cipher::element_bytes(tensor.type);
  if (tensor.type == ElementType::kFloat64) {
    double value;
    std::memcpy(&value, place, sizeof value);
    return value;
  }
  if (tensor.type == ElementType::kFloat32) {
    float value;
    std::memcpy(&value, place, sizeof value);
    return static_cast<double>(value);
  }
  std::uint16_t bits;
  std::memcpy(&bits, place, sizeof bits);
  return tensor.type == ElementType::kFloat16 ? half_to_double(bits) : bfloat16_to_double(bits);
}

/// Sets value `at` to (about) `value`; the 16-bit types truncate the mantissa.
inline void set_value(Tensor& tensor, std::uint64_t at, double value) {
  std::uint8_t* place = tensor.bytes.data() + at * cipher::element_bytes(tensor.type);
  if (tensor.type == ElementType::kFloat64) {
    std::memcpy(place, &value, sizeof value);
    return;
  }
  const auto narrow = static_cast<float>(value);
  std::uint32_t wide;
  std::memcpy(&wide, &narrow, sizeof wide);
  if (tensor.type == ElementType::kFloat32) {
    std::memcpy(place, &wide, sizeof wide);
    return;
  }
  auto bits = static_cast<std::uint16_t>(wide >> 16);  // bfloat16
  if (tensor.type == ElementType::kFloat16) {
    int exponent = 0;
    const double fraction = std::frexp(std::fabs(value), &exponent);  // in [1/2, 1)
    std::uint16_t magnitude = 0;
    if (std::isnan(value)) {
      magnitude = 0x7e01;
    } else if (std::isinf(value) || exponent > 16) {
      magnitude = 0x7c00;
    } else if (value != 0 && exponent >= -13) {
      magnitude = static_cast<std::uint16_t>((exponent + 14) << 10 |
                                             (static_cast<int>(std::ldexp(fraction, 11)) & 1023));
    } else {
      magnitude = static_cast<std::uint16_t>(std::ldexp(std::fabs(value), 24));
    }
    bits = static_cast<std::uint16_t>(magnitude | (std::signbit(value) ? 0x8000 : 0));
  }
  std::memcpy(place, &bits, sizeof bits);
}

/// Values up to 1.25 times the limit in size, with the edges strewn in: zero of both signs, the
/// limit, ties between two levels, and tiny numbers.
inline Tensor random_tensor(Random& random, ElementType type, const scheme::Segment& segment,
                            std::int64_t levels) {
  Tensor tensor{type, segment.count,
                AlignedBuffer<std::uint8_t>(segment.count * cipher::element_bytes(type))};
  const double step = segment.limit / static_cast<double>(levels);
  for (std::uint64_t at = 0; at < segment.count; ++at) {
    double value = (2 * random.unit() - 1) * 1.25 * segment.limit;
    switch (random.below(8)) {
      case 0: {
        const double edges[] = {0.0,       -0.0,  segment.limit,     -segment.limit, step / 2,
                                -step / 2, 1e-30, 3 * segment.limit, step * 1.5};
        value = edges[random.below(9)];
        break;
      }
      case 1:
        value = (static_cast<double>(random.below(static_cast<std::uint64_t>(levels) + 1)) + 0.5) *
                step;
        break;
      default:
        break;
    }
    set_value(tensor, at, value);
  }
  return tensor;
}

using Update = std::vector<Tensor>;

/// Segment i gets element type (i + n) mod 4.
inline Update random_update(const scheme::Round& round, std::uint64_t n) {
  Random random(n * 1000 + round.size());
  Update update;
  for (const scheme::Segment& segment : round.segments()) {
    const auto type = static_cast<ElementType>((update.size() + n) % 4);
    update.push_back(random_tensor(random, type, segment, round.plan().levels()));
  }
  return update;
}

inline std::vector<cipher::Piece> pieces_of(const Update& update) {
  std::vector<cipher::Piece> pieces;
  for (const Tensor& tensor : update) pieces.push_back(tensor.piece());
  return pieces;
}

struct Quantised {
  std::vector<std::int64_t> values;
  std::uint64_t clipped = 0;
};

/// Factors that float arithmetic is allowed for.
inline bool fits_float(double x) { return x >= 0x1p-60 && x <= 0x1p60; }

/// One value to a level in [-levels, levels]; Real is double or float. `word` is the stochastic
/// word, or null for rounding to nearest.
template <typename Real>
std::int64_t quantise_one(double value, double weight, double limit, std::int64_t levels,
                          const std::uint32_t* word, std::uint64_t& clipped) {
  const auto bound = static_cast<Real>(limit);
  Real y = static_cast<Real>(weight) * static_cast<Real>(value);
  clipped += std::fabs(y) > bound;
  y = y > bound ? bound : y < -bound ? -bound : y;
  const Real t = y * static_cast<Real>(static_cast<double>(levels) / limit);
  Real rounded = std::nearbyint(t);
  if (word != nullptr) {
    rounded = std::floor(t);
    if constexpr (sizeof(Real) == sizeof(double)) {
      rounded = std::floor(t + std::ldexp(static_cast<double>(*word), -32));
    } else if (std::ldexp(static_cast<Real>(*word >> 8), -24) < t - rounded) {
      rounded += 1;
    }
  }
  const auto level = static_cast<std::int64_t>(rounded);
  return level > levels ? levels : level < -levels ? -levels : level;
}

/// x^ of every value; `words` holds the stochastic word of every value, or nothing.
inline Quantised quantise(const scheme::Round& round, const Update& update, double weight,
                          const std::vector<std::uint32_t>& words) {
  Quantised out;
  const std::int64_t levels = round.plan().levels();
  std::uint64_t v = 0;
  for (std::size_t i = 0; i < update.size(); ++i) {
    const double limit = round.segments()[i].limit;
    const bool narrow = update[i].type != ElementType::kFloat64 &&
                        round.plan().value_bits() <= 16 && fits_float(std::fabs(weight)) &&
                        fits_float(limit) && fits_float(static_cast<double>(levels) / limit);
    for (std::uint64_t at = 0; at < update[i].count; ++at, ++v) {
      const double value = value_at(update[i], at);
      const std::uint32_t* const word = words.empty() ? nullptr : &words[v];
      out.values.push_back(
          narrow ? quantise_one<float>(value, weight, limit, levels, word, out.clipped)
                 : quantise_one<double>(value, weight, limit, levels, word, out.clipped));
    }
  }
  return out;
}

inline Quantised quantise(const scheme::Round& round, const Update& update, double weight = 1.0) {
  return quantise(round, update, weight, {});
}

inline cipher::UploadSeeds seeds_of(std::uint64_t n) {
  return {seed32(3 * n), seed32(3 * n + 1), nonce_of(3 * n + 2)};
}

/// A sum made by hand: uploads, their weights, blocks added field by field, and its key.
struct HandMadeSum {
  scheme::Manifest manifest;
  Bytes blocks;
  scheme::SumKey key;
};

inline HandMadeSum sum_by_hand(const scheme::SecretKey& secret, const scheme::Round& round,
                               const std::vector<const scheme::Upload*>& uploads,
                               const std::vector<std::uint64_t>& weights) {
  scheme::Manifest manifest(round);
  std::vector<ByteView> blocks;
  for (std::size_t k = 0; k < uploads.size(); ++k) {
    manifest.add(uploads[k]->head(), weights[k], nullptr);
    blocks.push_back(uploads[k]->blocks());
  }
  Bytes sum = sum_of_blocks(round, blocks, weights);
  scheme::SumKey key = open_afresh(secret, manifest, sum);
  return {std::move(manifest), std::move(sum), std::move(key)};
}

/// A key of the same sum with these coefficients, which names the blocks that it is given.
inline scheme::SumKey key_of_blocks(const scheme::SumKey& key, scheme::KeyCoefficients coefficients,
                                    ByteView blocks) {
  std::optional<ring::TagSum> tag;
  if (key.tag() != nullptr) tag.emplace(*key.tag());
  std::optional<Digest> digest;
  if (scheme::names_blocks(key.round())) digest = scheme::digest_of_blocks(blocks, 1);
  return {key.round(),      key.manifest(),          key.count(),    key.total_weight(),
          key.exportable(), std::move(coefficients), std::move(tag), digest};
}

/// The same key, bound to other blocks: then it is not the binding that refuses them.
inline scheme::SumKey rebound(const scheme::SumKey& key, ByteView blocks) {
  scheme::KeyCoefficients coefficients(key.coefficients().size());
  std::copy(key.coefficients().begin(), key.coefficients().end(), coefficients.begin());
  return key_of_blocks(key, std::move(coefficients), blocks);
}

/// (sum of levels) * scale as decryption computes it: in double and rounded once, or for float32,
/// where digits are below 2^24, in float with the scale in two parts.
template <typename T>
T value_of(const scheme::Round& round, std::int64_t sum, double scale) {
  if (sizeof(T) == sizeof(double) || round.plan().base() > std::uint64_t{1} << 24 ||
      !fits_float(scale)) {
    return static_cast<T>(static_cast<double>(sum) * scale);
  }
  const auto high = static_cast<float>(scale);
  const auto low = static_cast<float>(scale - static_cast<double>(high));
  const auto v = static_cast<float>(sum);
  return static_cast<T>(std::fma(v, high, v * low));
}

/// How many of the decrypted values differ from (sum of levels) * limit / L [/ total weight].
template <typename T>
std::size_t count_wrong(const scheme::Round& round, const std::vector<T>& found,
                        const std::vector<std::int64_t>& sums, std::uint64_t divide_by) {
  std::size_t wrong = 0;
  std::size_t v = 0;
  for (const scheme::Segment& segment : round.segments()) {
    const double step = segment.limit / static_cast<double>(round.plan().levels());
    const double scale = divide_by == 0 ? step : step / static_cast<double>(divide_by);
    for (std::uint64_t at = 0; at < segment.count; ++at, ++v) {
      const T expected = value_of<T>(round, sums[v], scale);
      wrong += std::memcmp(&found[v], &expected, sizeof(T)) != 0;
    }
  }
  return wrong;
}

}  // namespace veilsum::test
