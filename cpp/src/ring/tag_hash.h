// Layer: ring. The sum tag's hash and masks (DESIGN section 3, "Sum tag"): a one-time homomorphic
// MAC after Agrawal and Boneh (2009). It knows blocks of digits, a key and a field; not plans,
// rounds or uploads, nor how tags travel.
//
// Field. P = 2^50 - 27 where t is below it, else 2^61 - 1.
//
// Words. A word is the digits gp, gp + 1, ... (g of them, fewer where L ends) of one coefficient,
// w = d_gp + d_(gp+1) t + ..., with g the largest number for which t^g < P. A coefficient has
// ceil(L / g) words, p = 0, 1, .... Places that hold no value carry digit 0 and are hashed like
// others.
//
// Runs. A block of c coefficients has S = ceil(c / 2048) runs for each p: run (b, p, s) is word p
// of its coefficients 2048 s ... min(c, 2048 (s + 1)) - 1, and is number r = p S + s of the block.
// No run crosses blocks, so that blocks can be hashed in any order by any thread.
//
// Hash. For each evaluation e = 0, 1, with x_e its point and mu_(e,b,r) the runs' multipliers,
//   h_e = sum_(b, r) mu_(e,b,r) * sum_j w_(b,r,j) x_e^j   mod P,   j = 0, 1, ... inside the run.
// h is linear in the digits: sums of digits below t never carry, so with weights omega_k,
// h(sum_k omega_k m_k) = sum_k omega_k h(m_k).
//
// Keys. K = SHA-256("veilsum/2/tag-round", round id, group's tag key) is the round's tag key. Hash:
// AES-256 under SHA-256("veilsum/2/tag-hash", K): x_e is element e of stream (kTagPoint, 0, 0), and
// mu_(e,b,r) is element 2 r + e of stream (kTagMultiplier, 0, b). Mask of an upload: AES-256 under
// SHA-256("veilsum/2/tag-mask", client as LE32, nonce, K), elements e of stream (kTagMask, 0, 0).
// Element i is AES block i of its stream: two words of 64 bits of which the low 50 (or 61) bits
// count. It is the first of them if that is below P, else the second, less P if it is not below P
// (once in 2^90, or 2^122). So an element is uniform by rejection, without a branch, and no residue
// is likelier than (1 + 2^-44) / P.
//
// Forgery. Who knows neither K nor a client's h wins with a changed sum m' if h(m') - h(m) is the
// pair of differences that he shifted the tag by. Take m' != m. Words are below P, so some run's
// polynomial of differences is not zero; it has at most 2047 roots. If x_e is none of them, the
// run's multiplier makes h_e(m') - h_e(m) uniform whatever the other runs add: it is what he
// guessed with probability 1 / P. If x_e is one, count the evaluation as lost. An evaluation thus
// fails with probability at most 2047 / P + 1 / P = 2048 / P; two have points and multipliers that
// are independent:
//   (2048 / P)^2 (1 + 2^-44)^2 < 2^-77.99 a try (2^-99.99 for 2^61 - 1),
// for one changed digit as for changes in any number of runs, and for any length: more changed runs
// only make a common root less likely. AES counts as a random permutation; because an element,
// given all the others, is uniform but for a factor of 1 + 2^-80, no birthday term of the number of
// runs comes in. Below 2^-72 for any vector of up to 2^40 values, with room for 2^5 readers a
// round.
#pragma once

#include <array>
#include <cstdint>

#include "base/aligned_buffer.h"
#include "base/bytes.h"
#include "base/entropy.h"
#include "isa/kernels.h"
#include "ring/expander.h"

namespace veilsum::ring {

/// Integers modulo P. All operations are constant-time in their operands, which are below P.
class TagField {
 public:
  /// The field of the plans with base t.
  /// @throws ParameterError when t is below 2 or above 2^52
  explicit TagField(std::uint64_t base);

  std::uint64_t prime() const noexcept { return prime_; }
  /// g: digits in a word.
  std::uint32_t digits_per_word() const noexcept { return digits_per_word_; }

  std::uint64_t add(std::uint64_t a, std::uint64_t b) const noexcept;
  std::uint64_t subtract(std::uint64_t a, std::uint64_t b) const noexcept;
  std::uint64_t multiply(std::uint64_t a, std::uint64_t b) const noexcept;
  /// The element that an AES block of 16 bytes stands for.
  std::uint64_t element(const std::uint8_t block[16]) const noexcept;

  friend bool operator==(const TagField& a, const TagField& b) noexcept {
    return a.prime_ == b.prime_;
  }

 private:
  std::uint64_t prime_;
  std::uint32_t bits_;
  std::uint32_t digits_per_word_;
};

/// Two field elements, one an evaluation: a hash, a mask, a tag or a sum of such. A client's hash
/// is secret, so the values are wiped at the end.
class TagSum {
 public:
  using Values = std::array<std::uint64_t, isa::kTagEvaluations>;

  /// Zero, the hash of digits 0.
  explicit TagSum(const TagField& field) noexcept : field_(field) {}
  /// Values from outside, which are no secret then: the check is a branch.
  /// @throws ParameterError when a value is not below P
  TagSum(const TagField& field, const Values& values);
  TagSum(const TagSum&) = default;
  TagSum& operator=(const TagSum&) = default;
  ~TagSum();

  const Values& values() const noexcept { return values_; }
  const TagField& field() const noexcept { return field_; }

  /// @throws ParameterError when the fields differ (add, subtract, add_weighted)
  void add(const TagSum& other);
  void subtract(const TagSum& other);
  /// Adds weight * other.
  /// @param weight below P
  void add_weighted(const TagSum& other, std::uint64_t weight);
  /// Equality, in constant time.
  bool equals(const TagSum& other) const noexcept;

 private:
  friend class TagHash;
  friend TagSum tag_mask(const TagField& field, const Seed& round_key, std::uint32_t client,
                         const std::array<std::uint8_t, 16>& nonce);
  TagField field_;
  Values values_{};
};

/// K of one round.
/// @param group_tag_key 32 bytes
Seed tag_round_key(const Digest& round_id, ByteView group_tag_key);

/// The mask of one upload: tag = hash + mask.
/// @param nonce 16 bytes, the upload's
TagSum tag_mask(const TagField& field, const Seed& round_key, std::uint32_t client,
                const std::array<std::uint8_t, 16>& nonce);

/// Rows of a block's digits, below t: digit d of coefficient i at [d * stride + i] of the one
/// pointer that is set. What encryption and decryption hold in hand.
struct ConstDigitRows {
  const std::uint32_t* narrow;
  const std::uint64_t* wide;
  std::size_t stride;
};

/// The hash of one round, for plans of L digits in base t. Immutable: threads may share it, each
/// with a TagSum of its own, and add these up in any order.
class TagHash {
 public:
  /// @param digits L, 1 ... isa::kMaxDigits
  /// @throws ParameterError when base or digits are out of range
  TagHash(std::uint64_t base, std::uint32_t digits, const Seed& round_key);

  const TagField& field() const noexcept { return field_; }
  /// ceil(L / g).
  std::uint32_t words_per_coefficient() const noexcept { return words_; }

  /// Adds the runs of one block to `sum`.
  /// @param block its number, below 2^48; each block of a vector is added once
  /// @param coefficients c: a multiple of eight, at most 2^15
  /// @throws ParameterError when a number is out of range or `sum` is of another field
  void add_block(std::uint64_t block, const ConstDigitRows& rows, std::size_t coefficients,
                 TagSum& sum) const;

 protected:
  /// Adds runs of packed words, of a hash of t = 2^48 and one digit, and a last run of eight words
  /// that lie elsewhere.
  /// @param words a multiple of eight
  /// @param last null where there is no such run
  void add_packed(std::uint64_t block, const isa::PackedWord* packed, std::size_t words,
                  const isa::PackedWord* last, TagSum& sum) const;

 private:
  TagField field_;
  std::uint64_t base_;
  std::uint32_t digits_;
  std::uint32_t words_;
  Expander key_;
  SecretBuffer<isa::TagPowers> powers_;
  std::array<std::uint64_t, isa::kMaxDigits> scale_{};  ///< t^i, i < g
};

}  // namespace veilsum::ring
