// Layer: scheme. What the rules know of an engine. An engine is a cipher: it makes keys, encrypts
// blocks and decrypts them. Rounds, manifests, signatures, ledgers and envelopes are the same for
// all engines, and all that they ask of a plan's cipher is here: its numbers, the size of its
// blocks, and how blocks are added. What an engine's keys and blocks mean is not known here.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/bytes.h"

namespace veilsum::scheme {

/// The number of an engine: the first byte of a plan's fields, on the wire and in Python.
enum class Engine : std::uint8_t { kNative = 1, kOpenFhe = 2, kPlain = 255 };

/// What messages call it: "native", "openfhe", ..., or "number 7".
std::string engine_name(Engine engine);

/// Largest total weight any plan may hold; kernels and int64 sums are sized for it.
inline constexpr std::uint64_t kMaxTotalWeight = 1u << 20;

/// Sources that `Cipher::sum_into` takes at once: their current lines and the output fit the
/// second-level cache.
inline constexpr std::size_t kMostSources = 64;

/// A plan as the rules see it. Immutable once made.
class Cipher : public std::enable_shared_from_this<Cipher> {
 public:
  /// Bytes of the fields of every engine's plan.
  static constexpr std::size_t kFieldBytes = 16;

  virtual ~Cipher() = default;

  virtual Engine engine() const noexcept = 0;
  /// The most uploads of a sum.
  virtual std::uint32_t clients() const noexcept = 0;
  /// 0: unit weights only.
  virtual std::uint32_t weight_bits() const noexcept = 0;
  /// W: the largest sum of integer weights.
  virtual std::uint64_t max_weight() const noexcept = 0;
  /// Hash of the fields: names the plan.
  virtual const Digest& id() const noexcept = 0;
  /// kFieldBytes, beginning with the engine's number.
  virtual void write_fields(ByteWriter& out) const = 0;

  /// Bytes of the cipher's part of an upload's head.
  virtual std::size_t part_bytes() const noexcept = 0;
  /// Whether that part is the digest of the blocks: for ciphers that have no part of their own, so
  /// that something names the upload.
  virtual bool part_is_blocks_digest() const noexcept = 0;
  /// How many upload keys a vector of `values` values has when nobody says, and as many check
  /// blocks; engines without upload keys have 0.
  virtual std::uint64_t default_upload_keys(std::uint64_t values) const noexcept = 0;
  /// @throws ParameterError, HeadroomError when a round cannot have so many
  virtual void check_upload_keys(std::uint64_t values, std::uint64_t keys) const = 0;

  /// Values in a full block.
  virtual std::uint64_t block_capacity() const noexcept = 0;
  /// Bytes of a block of `values` values.
  virtual std::size_t block_bytes(std::uint64_t values) const noexcept = 0;

  /// out = sum_k weights[k] * sources[k] for one block of `bytes` bytes: kMostSources at most.
  /// @param weights empty: all one
  /// @param out may be one of the sources
  virtual void sum_into(std::span<const std::uint8_t* const> sources,
                        std::span<const std::uint64_t> weights, std::size_t bytes,
                        std::uint8_t* out) const = 0;
  /// out -= weight * source for one block of `bytes` bytes.
  virtual void subtract_into(const std::uint8_t* source, std::uint64_t weight, std::size_t bytes,
                             std::uint8_t* out) const = 0;
  /// About how long adding one block takes, in nanoseconds.
  virtual double sum_ns() const noexcept = 0;

  std::uint64_t block_count(std::uint64_t values) const noexcept {
    return (values + block_capacity() - 1) / block_capacity();
  }
  /// Bytes of all blocks of `values` values; check blocks are not among them.
  std::uint64_t payload_bytes(std::uint64_t values) const noexcept {
    const std::uint64_t rest = values % block_capacity();
    return values / block_capacity() * full_block_bytes() + (rest == 0 ? 0 : block_bytes(rest));
  }
  std::size_t full_block_bytes() const noexcept { return block_bytes(block_capacity()); }

  friend bool operator==(const Cipher& a, const Cipher& b) noexcept { return a.id() == b.id(); }

 protected:
  Cipher() = default;
  Cipher(const Cipher&) = default;
  Cipher& operator=(const Cipher&) = default;
  Cipher(Cipher&&) = default;
  Cipher& operator=(Cipher&&) = default;
};

/// Everything about an engine whose blocks are rows of 64-bit words, each row modulo a number of
/// its own; unchecked.
struct ResidueFields {
  Engine engine = Engine::kPlain;
  Bytes fields;  ///< kFieldBytes, the engine's number first
  std::uint64_t clients = 0;
  std::uint64_t weight_bits = 0;
  std::uint64_t max_weight = 0;
  std::uint64_t block_values = 0;     ///< values in a block
  std::vector<std::uint64_t> moduli;  ///< of the rows of a block; 0 for 2^64
  std::uint64_t row_words = 0;
};

/// An engine that lives elsewhere. Words are added modulo their row's number, and whatever a word
/// holds is taken modulo it first, so every string of the right length is a block.
class ResidueCipher final : public Cipher {
 public:
  /// @throws ParameterError for numbers out of range
  explicit ResidueCipher(ResidueFields fields);

  Engine engine() const noexcept override { return fields_.engine; }
  std::uint32_t clients() const noexcept override {
    return static_cast<std::uint32_t>(fields_.clients);
  }
  std::uint32_t weight_bits() const noexcept override {
    return static_cast<std::uint32_t>(fields_.weight_bits);
  }
  std::uint64_t max_weight() const noexcept override { return fields_.max_weight; }
  const Digest& id() const noexcept override { return id_; }
  void write_fields(ByteWriter& out) const override { out.raw(fields_.fields); }
  std::size_t part_bytes() const noexcept override { return sizeof(Digest); }
  bool part_is_blocks_digest() const noexcept override { return true; }
  std::uint64_t default_upload_keys(std::uint64_t) const noexcept override { return 0; }
  void check_upload_keys(std::uint64_t values, std::uint64_t keys) const override;
  std::uint64_t block_capacity() const noexcept override { return fields_.block_values; }
  std::size_t block_bytes(std::uint64_t values) const noexcept override;
  void sum_into(std::span<const std::uint8_t* const> sources,
                std::span<const std::uint64_t> weights, std::size_t bytes,
                std::uint8_t* out) const override;
  void subtract_into(const std::uint8_t* source, std::uint64_t weight, std::size_t bytes,
                     std::uint8_t* out) const override;
  double sum_ns() const noexcept override;

 private:
  ResidueFields fields_;
  Digest id_{};
};

}  // namespace veilsum::scheme
