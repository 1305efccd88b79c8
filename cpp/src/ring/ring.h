// Layer: ring. R_q = Z_q[X] / (X^N + 1) for a product q of up to four primes: moduli, transform
// tables and the conversions between small polynomials, coefficients and slots. Knows nothing of
// keys or plans. Polynomials are one contiguous buffer [limb][n].
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/aligned_buffer.h"
#include "isa/kernels.h"

namespace veilsum::ring {

/// Twiddle factors of one (n, q); owns what an isa::NttView points to.
class NttTables {
 public:
  /// @param n power of two, 64 ... 32768
  /// @param q prime of kPrimes' shape, 1 mod 2n
  /// @throws ParameterError when n or q do not fit together
  NttTables(std::uint32_t n, std::uint64_t q);

  const isa::NttView& view() const noexcept { return view_; }
  std::uint64_t n_inverse() const noexcept { return n_inverse_; }

 private:
  isa::NttView view_{};
  std::uint64_t n_inverse_ = 0;
  AlignedBuffer<std::uint64_t> words_;
};

/// One ring, immutable after construction; shared by everything made from it.
class Ring {
 public:
  /// The ring of degree n over the first `limbs` primes of kPrimes. Rings are cached while in use.
  /// @throws ParameterError for a degree or limb count that no profile uses
  static std::shared_ptr<const Ring> get(std::uint32_t n, std::uint32_t limbs);

  Ring(std::uint32_t n, std::uint32_t limbs);

  std::uint32_t degree() const noexcept { return n_; }
  std::uint32_t limbs() const noexcept { return static_cast<std::uint32_t>(tables_.size()); }
  std::size_t words() const noexcept { return std::size_t{n_} * tables_.size(); }
  const NttTables& tables(std::size_t limb) const noexcept { return tables_[limb]; }
  const isa::Modulus& modulus(std::size_t limb) const noexcept {
    return tables_[limb].view().modulus;
  }
  std::uint64_t q(std::size_t limb) const noexcept { return modulus(limb).q; }

 private:
  std::uint32_t n_;
  std::vector<NttTables> tables_;
};

/// A secret multiplier in slot form, prepared so that
///   ntt_inverse_lazy(a o slots) = coefficients of a * p, with n^-1 already inside.
/// Slots in storage order, [limb][n], each < q, with Shoup companions.
class SlotMultiplier {
 public:
  /// @param coefficients n signed values, |v| < q; constant-time in them
  SlotMultiplier(const Ring& ring, std::span<const std::int64_t> coefficients);

  const std::uint64_t* slots(std::size_t limb) const noexcept { return slots_.data() + limb * n_; }
  const std::uint64_t* companions(std::size_t limb) const noexcept {
    return companions_.data() + limb * n_;
  }

 private:
  std::uint32_t n_;
  SecretBuffer<std::uint64_t> slots_;
  SecretBuffer<std::uint64_t> companions_;
};

/// Slots (storage order, < q) of a small signed polynomial, one limb. Constant-time.
void small_to_slots_into(const Ring& ring, std::size_t limb,
                         std::span<const std::int64_t> coefficients, std::uint64_t* out);

}  // namespace veilsum::ring
