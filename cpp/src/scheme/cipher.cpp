// Layer: scheme. See cipher.h.
#include "scheme/cipher.h"

#include <cstring>

#include "base/shown.h"
#include "ring/modular.h"
#include "ring/sha256.h"
#include "veilsum/errors.h"

namespace veilsum::scheme {
namespace {

/// Far more than any engine has; what is read from bytes is held against it.
constexpr std::uint64_t kMostRows = 256;
constexpr std::uint64_t kMostRowWords = std::uint64_t{1} << 20;

/// Numbers modulo q, which may be 0 for 2^64. Public values: timing tells nothing.
class Residues {
 public:
  explicit Residues(std::uint64_t q) : q_(q) {}

  std::uint64_t add(std::uint64_t a, std::uint64_t b) const noexcept {  // both reduced
    const std::uint64_t sum = a + b;
    return q_ != 0 && (sum < a || sum >= q_) ? sum - q_ : sum;
  }
  std::uint64_t negate(std::uint64_t a) const noexcept { return a == 0 ? 0 : q_ - a; }
  std::uint64_t reduce(std::uint64_t a) const noexcept { return q_ == 0 || a < q_ ? a : a % q_; }
  std::uint64_t times(std::uint64_t a, std::uint64_t weight) const noexcept {
    if (weight == 1) return a;
    const ring::uint128 product = static_cast<ring::uint128>(a) * weight;
    return q_ == 0 ? static_cast<std::uint64_t>(product) : static_cast<std::uint64_t>(product % q_);
  }

 private:
  std::uint64_t q_;
};

std::uint64_t load(const std::uint8_t* at) {
  std::uint64_t word = 0;
  std::memcpy(&word, at, sizeof word);
  return word;
}

void store(std::uint8_t* at, std::uint64_t word) { std::memcpy(at, &word, sizeof word); }

}  // namespace

std::string engine_name(Engine engine) {
  switch (engine) {
    case Engine::kNative:
      return "native";
    case Engine::kOpenFhe:
      return "openfhe";
    case Engine::kPlain:
      return "plain";
  }
  return "number " + std::to_string(static_cast<unsigned>(engine));
}

ResidueCipher::ResidueCipher(ResidueFields fields) : fields_(std::move(fields)) {
  if (fields_.engine == Engine::kNative) {
    throw ParameterError("the native engine's blocks are not residues");
  }
  if (fields_.fields.size() != kFieldBytes ||
      fields_.fields[0] != static_cast<std::uint8_t>(fields_.engine)) {
    throw ParameterError("a plan's fields are 16 bytes that begin with the engine's number");
  }
  if (fields_.clients < 2 || fields_.clients > kMaxTotalWeight || fields_.weight_bits > 20 ||
      fields_.max_weight < fields_.clients || fields_.max_weight > kMaxTotalWeight) {
    throw ParameterError("clients = " + shown(fields_.clients) +
                         ", weight_bits = " + shown(fields_.weight_bits) +
                         ", max_weight = " + shown(fields_.max_weight) +
                         " are outside 2 ... 2^20, 0 ... 20 and clients ... 2^20");
  }
  if (fields_.block_values == 0 || fields_.block_values > (kMostRows * kMostRowWords) ||
      fields_.row_words == 0 || fields_.row_words > kMostRowWords || fields_.moduli.empty() ||
      fields_.moduli.size() > kMostRows) {
    throw ParameterError("a block has from 1 to 256 rows of 1 to 2^20 words");
  }
  id_ = ring::labelled_hash("veilsum/2/plan", {fields_.fields});
}

void ResidueCipher::check_upload_keys(std::uint64_t /*values*/, std::uint64_t keys) const {
  if (keys != 0) {
    throw ParameterError("upload_keys = " + shown(keys) + ": engine " +
                         engine_name(fields_.engine) + " has no upload keys");
  }
}

std::size_t ResidueCipher::block_bytes(std::uint64_t /*values*/) const noexcept {
  return fields_.moduli.size() * static_cast<std::size_t>(fields_.row_words) * 8;
}

void ResidueCipher::sum_into(std::span<const std::uint8_t* const> sources,
                             std::span<const std::uint64_t> weights, std::size_t /*bytes*/,
                             std::uint8_t* out) const {
  const std::size_t row_bytes = static_cast<std::size_t>(fields_.row_words) * 8;
  for (std::size_t row = 0; row < fields_.moduli.size(); ++row) {
    const Residues residues(fields_.moduli[row]);
    for (std::size_t at = row * row_bytes; at < (row + 1) * row_bytes; at += 8) {
      std::uint64_t sum = 0;
      for (std::size_t k = 0; k < sources.size(); ++k) {
        const std::uint64_t word = residues.reduce(load(sources[k] + at));
        sum = residues.add(sum, residues.times(word, weights.empty() ? 1 : weights[k]));
      }
      store(out + at, sum);
    }
  }
}

void ResidueCipher::subtract_into(const std::uint8_t* source, std::uint64_t weight,
                                  std::size_t /*bytes*/, std::uint8_t* out) const {
  const std::size_t row_bytes = static_cast<std::size_t>(fields_.row_words) * 8;
  for (std::size_t row = 0; row < fields_.moduli.size(); ++row) {
    const Residues residues(fields_.moduli[row]);
    for (std::size_t at = row * row_bytes; at < (row + 1) * row_bytes; at += 8) {
      const std::uint64_t word = residues.times(residues.reduce(load(source + at)), weight);
      store(out + at, residues.add(residues.reduce(load(out + at)), residues.negate(word)));
    }
  }
}

double ResidueCipher::sum_ns() const noexcept {
  constexpr double kNsPerWord = 1;
  return static_cast<double>(fields_.moduli.size() * fields_.row_words) * kNsPerWord;
}

}  // namespace veilsum::scheme
