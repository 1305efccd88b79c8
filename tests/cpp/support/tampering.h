// Layer: tests. Sums changed on purpose, by an exact amount: one coefficient of a block set to what
// its pad is, and so much more. Of plans of one limb, whose `round` is a line.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cipher/pads.h"
#include "scheme/opening.h"
#include "support/block_fields.h"

namespace veilsum::test {

/// `round` of the wire format for one limb, of a lazy residue.
inline std::uint64_t rounded_pad(const scheme::Plan& plan, std::uint64_t pad) {
  const std::uint64_t q = plan.ring().q(0), delta = (std::uint64_t{1} << 48) - q;
  const std::uint64_t u = (pad & kFieldWordMask) % q;
  const unsigned bits = plan.field_bits();
  const std::uint64_t sum = u + ((u >> 21) * delta >> 27) + (std::uint64_t{1} << (47 - bits));
  return sum >> (48 - bits) & ((std::uint64_t{1} << bits) - 1);
}

/// Who knows the pads of a sum and so what each of its fields decrypts to.
class Tamperer {
 public:
  explicit Tamperer(const scheme::SumKey& key)
      : round_(key.round()), keys_(round_, key.coefficients()), maker_(round_) {}

  /// Delta of the plan, Delta t^L - the first number that is out of range - and what is added
  /// before dividing.
  std::uint64_t delta() const { return limit() / power(); }
  std::uint64_t limit() const {
    return (std::uint64_t{1} << round_.plan().field_bits()) / power() * power();
  }

  /// Makes the field decrypt to `x` in [0, 2^B): m = floor(x / Delta), out of range from limit()
  /// on.
  void set(std::uint8_t* blocks, std::uint64_t block, std::size_t at, std::uint64_t x) {
    set_noise(blocks, block, at,
              static_cast<std::int64_t>(x) - static_cast<std::int64_t>(delta() / 2));
  }
  /// Makes the field differ from the pad by `noise`.
  void set_noise(std::uint8_t* blocks, std::uint64_t block, std::size_t at, std::int64_t noise) {
    const scheme::Plan& plan = round_.plan();
    const std::uint64_t pad = rounded_pad(plan, maker_.make(round_, keys_, block)[at]);
    const std::uint64_t field = pad + static_cast<std::uint64_t>(noise);
    BlockFields(round_, block)
        .write(blocks, at, {field & ((std::uint64_t{1} << plan.field_bits()) - 1)});
  }

 private:
  std::uint64_t power() const {
    std::uint64_t out = 1;
    for (std::uint32_t d = 0; d < round_.plan().digits(); ++d) out *= round_.plan().base();
    return out;
  }

  scheme::Round round_;
  cipher::BlockKeys keys_;
  cipher::PadMaker maker_;
};

}  // namespace veilsum::test
