// Layer: scheme. A plan: what a round may hold (clients, bits, weights) turned into checked
// parameters (ring, digits, the width of a field). Immutable once made; everything else refers to
// one. It knows blocks of values and check blocks, not how many of them a round has, nor keys.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "base/bytes.h"
#include "ring/block_arithmetic.h"
#include "ring/ring.h"
#include "ring/wide_integer.h"
#include "scheme/cipher.h"

namespace veilsum::scheme {

/// Hard bound of a coefficient of an error or an upload key: CBD of width 8.
inline constexpr std::uint64_t kErrorBound = isa::kCbdWidth;
/// Coefficients that one upload key may serve; see docs/wire-format.md.
inline constexpr std::uint64_t kMaxKeyCoefficients = std::uint64_t{1} << 34;
inline constexpr std::uint64_t kMaxUploadKeys = 256;

/// What sealing adds: an encapsulation (1088 of ML-KEM-768, 32 of X25519) and a tag.
inline constexpr std::size_t kSealBytes = 1088 + 32 + 16;
/// Bytes of a sealed seed.
inline constexpr std::size_t kSealedKeyBytes = kSealBytes + 32;

enum class Optimise : std::uint8_t { kSpeed = 0, kSize = 1 };

/// What a user asks for; unchecked.
struct PlanRequest {
  std::uint64_t clients = 0;
  std::uint64_t value_bits = 16;
  std::uint64_t weight_bits = 0;  ///< 0: unit weights only; k: integer weights, W = clients * 2^k
  std::uint64_t security = 128;   ///< 128, 192 or 256
  Optimise optimise = Optimise::kSpeed;
  std::string profile = "auto";  ///< a ring's name, or "auto"
};

/// Checked parameters of the native engine. Copies share the tables.
class Plan final : public Cipher {
 public:
  /// @throws ParameterError for a request outside the documented ranges
  /// @throws HeadroomError when no admissible ring holds it, naming the nearest plan that does
  explicit Plan(const PlanRequest& request);

  Engine engine() const noexcept override { return Engine::kNative; }
  std::uint32_t clients() const noexcept override { return clients_; }
  std::uint32_t value_bits() const noexcept { return value_bits_; }
  std::uint32_t weight_bits() const noexcept override { return weight_bits_; }
  std::uint32_t security() const noexcept { return security_; }
  Optimise optimise() const noexcept { return optimise_; }
  /// Name of the ring: "n2048", "n4096", "n8192", or with the modulus, "n4096q48".
  const std::string& profile() const noexcept { return profile_; }

  std::uint32_t degree() const noexcept { return ring_->degree(); }
  std::uint32_t limbs() const noexcept { return ring_->limbs(); }
  std::uint32_t log2_modulus() const noexcept { return isa::kPrimeBits * limbs(); }
  /// L: values in a coefficient.
  std::uint32_t digits() const noexcept { return view().digit_count; }
  /// t = W (2^value_bits - 1) + 1: no sum of values reaches it.
  std::uint64_t base() const noexcept { return base_; }
  /// B: bits of a coefficient that travel.
  std::uint32_t field_bits() const noexcept { return view().bits; }
  /// Delta = floor(2^B / t^L), at least 2 noise + 1.
  const ring::WideInteger& delta() const noexcept { return arithmetic_->delta(); }
  std::uint64_t max_weight() const noexcept override { return max_weight_; }
  /// Hard bound of |sum - Delta m|, in units of a field; see noise_bound.h.
  std::uint64_t noise_bound() const noexcept { return noise_bound_; }
  /// 2^(value_bits - 1) - 1: quantised values lie in [-levels, levels].
  std::int64_t levels() const noexcept { return (std::int64_t{1} << (value_bits_ - 1)) - 1; }

  const ring::Ring& ring() const noexcept { return *ring_; }
  const ring::BlockArithmetic& arithmetic() const noexcept { return *arithmetic_; }

  std::uint64_t block_capacity() const noexcept override {
    return std::uint64_t{degree()} * digits();
  }
  /// Coefficients that travel for a block of `values` values: a multiple of eight, at most N.
  std::uint32_t block_coefficients(std::uint64_t values) const noexcept;
  /// Packed; a check block has as many as a full one.
  std::size_t block_bytes(std::uint64_t values) const noexcept override;

  /// A sealed seed.
  std::size_t part_bytes() const noexcept override { return kSealedKeyBytes; }
  bool part_is_blocks_digest() const noexcept override { return false; }
  /// 8 where that is worth it (the public polynomials are then expanded for one block in eight), 1
  /// for short vectors, more where a key would serve more than kMaxKeyCoefficients.
  std::uint64_t default_upload_keys(std::uint64_t values) const noexcept override;
  void check_upload_keys(std::uint64_t values, std::uint64_t keys) const override;

  void sum_into(std::span<const std::uint8_t* const> sources,
                std::span<const std::uint64_t> weights, std::size_t bytes,
                std::uint8_t* out) const override;
  void subtract_into(const std::uint8_t* source, std::uint64_t weight, std::size_t bytes,
                     std::uint8_t* out) const override;
  double sum_ns() const noexcept override;

  /// B / L: ciphertext bits that a value costs in a full block.
  double bits_per_value() const noexcept;
  const Digest& id() const noexcept override { return id_; }
  /// Several lines for people: what the plan holds, what it costs, why it is safe.
  std::string explain() const;

  void write_fields(ByteWriter& out) const override;
  /// @throws WireFormatError when the fields do not name a plan this version would make
  static Plan read_fields(ByteReader& in);

 private:
  const isa::BlockView& view() const noexcept { return arithmetic_->view(); }
  /// One call of the kernel; `subtract`: all sources but the first are taken from it.
  void run_sum(std::span<const std::uint8_t* const> sources, std::span<const std::uint64_t> weights,
               bool subtract, std::size_t bytes, std::uint8_t* out) const;

  std::uint32_t clients_ = 0;
  std::uint32_t value_bits_ = 0;
  std::uint32_t weight_bits_ = 0;
  std::uint32_t security_ = 0;
  Optimise optimise_ = Optimise::kSpeed;
  std::string profile_;
  std::uint64_t base_ = 0;
  std::uint64_t max_weight_ = 0;
  std::uint64_t noise_bound_ = 0;
  std::shared_ptr<const ring::Ring> ring_;
  std::shared_ptr<const ring::BlockArithmetic> arithmetic_;
  Digest id_{};
};

}  // namespace veilsum::scheme
