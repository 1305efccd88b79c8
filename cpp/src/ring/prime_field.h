// Layer: ring. GF(p) for an odd prime p of at most 61 bits: the field in which upload keys and sum
// tags are shared among members. Knows nothing of sharings. Secret elements are added, subtracted
// and multiplied by public elements, and never multiplied with each other: so a product is one
// Shoup multiplication (Harvey 2014) and a sum of products one pass over rows, with no division and
// no branch or index that depends on a secret.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/aligned_buffer.h"
#include "base/bytes.h"
#include "isa/kernels.h"
#include "ring/modular.h"

namespace veilsum::ring {

/// Largest total weight W of a sum and largest number n of members.
inline constexpr std::uint64_t kMaxTotalWeight = std::uint64_t{1} << 20;
inline constexpr std::uint32_t kMaxMembers = std::uint32_t{1} << 10;

/// The smallest prime above max(32 W, n): sums of W coefficients of [-8, 8] keep their sign in it,
/// with a margin of two, and every member has a point of its own other than 0. Below 2^26.
/// @param total_weight W, 1 ... kMaxTotalWeight
/// @param members n, 1 ... kMaxMembers
/// @throws ParameterError
std::uint64_t sharing_prime(std::uint64_t total_weight, std::uint32_t members);

/// Moduli of the sum tag: the largest prime below 2^50, and the largest that PrimeField takes.
inline constexpr std::uint64_t kTagPrime = (std::uint64_t{1} << 50) - 27;
inline constexpr std::uint64_t kWideTagPrime = (std::uint64_t{1} << 61) - 1;

/// The field. Elements are words in [0, p).
class PrimeField {
 public:
  /// A public element w with floor(w 2^64 / p).
  struct Factor {
    std::uint64_t value;
    std::uint64_t companion;
  };

  /// @param p an odd prime, at most kWideTagPrime
  /// @throws ParameterError
  explicit PrimeField(std::uint64_t p);

  std::uint64_t modulus() const noexcept { return p_; }
  /// Bits of a packed element: ceil(log2 p).
  std::uint32_t bits() const noexcept { return static_cast<std::uint32_t>(std::bit_width(p_)); }
  /// p < 2^27: a sum of kMaxMembers products of two elements is below 2^64.
  bool narrow() const noexcept { return p_ < kNarrowEnd; }

  /// Any word -> [0, p). With m = floor(2^64 / p), floor(x m / 2^64) is the quotient or one less,
  /// for x (2^64 / p - m) / 2^64 < 1. Constant-time.
  std::uint64_t reduce(std::uint64_t x) const noexcept {
    return reduce_once(x - high_product(x, reciprocal_) * p_, p_);
  }
  /// Elements -> [0, p). Constant-time.
  std::uint64_t add(std::uint64_t a, std::uint64_t b) const noexcept {
    return reduce_once(a + b, p_);
  }
  std::uint64_t subtract(std::uint64_t a, std::uint64_t b) const noexcept {
    return reduce_once(a + p_ - b, p_);
  }
  /// x w for any word x -> [0, p). Constant-time in x.
  std::uint64_t multiply(std::uint64_t x, const Factor& w) const noexcept {
    return reduce_once(x * w.value - high_product(x, w.companion) * p_, p_);
  }
  /// |v| < p -> [0, p). Constant-time.
  std::uint64_t from_signed(std::int64_t v) const noexcept { return residue_of(v, p_); }
  /// An element -> the congruent number in (-p/2, p/2). Constant-time.
  std::int64_t centred(std::uint64_t x) const noexcept {
    return static_cast<std::int64_t>(x - (p_ & sign_mask((p_ - 1) / 2 - x)));
  }

  /// Elements that are public, or errors of dishonest members: not constant-time.
  Factor factor(std::uint64_t w) const noexcept {
    return {w, static_cast<std::uint64_t>((static_cast<uint128>(w) << 64) / p_)};
  }
  std::uint64_t multiply_public(std::uint64_t a, std::uint64_t b) const noexcept {
    return narrow() ? reduce(a * b) : mul_mod(a, b, p_);
  }
  /// a^(p - 2), a not 0.
  std::uint64_t inverse_public(std::uint64_t a) const noexcept;

 private:
  static constexpr std::uint64_t kNarrowEnd = std::uint64_t{1} << 27;
  static std::uint64_t high_product(std::uint64_t a, std::uint64_t b) noexcept {
    return static_cast<std::uint64_t>((static_cast<uint128>(a) * b) >> 64);
  }

  std::uint64_t p_;
  std::uint64_t reciprocal_;  ///< floor(2^64 / p)
};

/// out[j] = sum_i weights[i] rows[i][j] mod p, j < columns. Constant-time in the rows.
/// @param weights public elements, at most kMaxMembers
/// @param rows as many as weights, elements; apart from `out`
void combine_rows(const PrimeField& field, std::span<const std::uint64_t> weights,
                  std::span<const std::uint64_t* const> rows, std::size_t columns,
                  std::uint64_t* out);
/// The same over rows of half the size, for narrow fields only.
void combine_rows(const PrimeField& field, std::span<const std::uint64_t> weights,
                  std::span<const std::uint32_t* const> rows, std::size_t columns,
                  std::uint64_t* out);

/// sum[j] = (sum[j] + more[j]) mod p; elements, of equal number. Constant-time.
void add_inplace(const PrimeField& field, std::span<std::uint64_t> sum,
                 std::span<const std::uint64_t> more);

/// Uniform elements, exact by rejection. Words are 4 bytes in a narrow field, otherwise 8: word j
/// of the keystream of (key, index) makes element j, as word mod p; when it is not below the
/// largest multiple of p that a word can hold, element j takes the next unused word from words
/// count, count + 1, ... (rejecting again as needed; extra words are handed out in increasing j).
///
/// The keystream may be secret. Only comparisons with that multiple steer the program: they show
/// where a word was thrown away, which is independent of the elements, for an accepted word is
/// uniform modulo p whatever was rejected. All else is constant-time.
SecretBuffer<std::uint64_t> uniform_elements(const PrimeField& field, const isa::AesKey& key,
                                             std::uint64_t index, std::size_t count);
/// The same into `out`, narrow fields only. @param out room for `count` rounded up to four words
void uniform_elements_into(const PrimeField& field, const isa::AesKey& key, std::uint64_t index,
                           std::size_t count, std::uint32_t* out);

/// Bytes of `count` packed elements: fields of bits() bits.
/// @param count a multiple of eight
/// @throws ParameterError for another count, and in fields of more than 52 bits, whose few elements
///   travel as words of 8 bytes
std::size_t packed_bytes(const PrimeField& field, std::size_t count);
/// Constant-time. @param out packed_bytes(field, elements.size()) bytes @throws as packed_bytes
void pack_elements(const PrimeField& field, std::span<const std::uint64_t> elements,
                   std::uint8_t* out);
/// Back. Constant-time, but for whether it throws.
/// @param packed packed_bytes(field, out.size()) bytes, from anyone
/// @throws WireFormatError for another length, and when a field holds p or more
/// @throws ParameterError as packed_bytes
void unpack_elements(const PrimeField& field, ByteView packed, std::span<std::uint64_t> out);

/// Elements -> signed numbers in (-p/2, p/2). Constant-time.
SecretBuffer<std::int64_t> centred(const PrimeField& field,
                                   std::span<const std::uint64_t> elements);
/// Whether all |values| <= bound; values and bound below 2^62. Constant-time: one verdict for all.
bool all_within(std::span<const std::int64_t> values, std::uint64_t bound) noexcept;

}  // namespace veilsum::ring
