// Layer: ring. See ring.h.
#include "ring/ring.h"

#include <bit>
#include <map>
#include <mutex>
#include <string>
#include <utility>

#include "isa/dispatch.h"
#include "ring/modular.h"
#include "ring/primes.h"
#include "veilsum/errors.h"

namespace veilsum::ring {
namespace {

constexpr std::size_t kTailWordsPerBlock = 48;

std::uint32_t reverse_bits(std::uint32_t value, std::uint32_t bits) noexcept {
  std::uint32_t out = 0;
  for (std::uint32_t i = 0; i < bits; ++i) out |= ((value >> i) & 1u) << (bits - 1 - i);
  return out;
}

/// Fills the register-order factors of the last three stages; see isa::NttView.
void fill_tail(std::uint32_t n, const std::uint64_t* roots, const std::uint64_t* companions,
               std::uint64_t* tail) noexcept {
  constexpr std::uint32_t kElements[3][8] = {
      {0, 1, 2, 3, 8, 9, 10, 11}, {0, 1, 4, 5, 8, 9, 12, 13}, {0, 2, 4, 6, 8, 10, 12, 14}};
  for (std::uint32_t block = 0; block < n / 16; ++block) {
    for (std::uint32_t stage = 0; stage < 3; ++stage) {
      const std::uint32_t span = 8u >> stage;  // elements in one group: 2t
      const std::uint32_t groups = n / span;
      for (std::uint32_t lane = 0; lane < 8; ++lane) {
        const std::uint32_t group = (16 * block + kElements[stage][lane]) / span;
        std::uint64_t* at = tail + block * kTailWordsPerBlock + stage * 16 + lane;
        at[0] = roots[groups + group];
        at[8] = companions[groups + group];
      }
    }
  }
}

}  // namespace

NttTables::NttTables(std::uint32_t n, std::uint64_t q) {
  if (!std::has_single_bit(n) || n < 64 || n > kMaxDegree) {
    throw ParameterError("ring degree " + std::to_string(n) +
                         " is not a power of two from 64 to 32768");
  }
  const std::uint64_t psi = primitive_root_of_unity(q, n);
  const std::uint64_t psi_inverse = inverse_mod(psi, q);
  const auto log_n = static_cast<std::uint32_t>(std::countr_zero(n));
  const std::size_t tail_words = n / 16 * kTailWordsPerBlock;
  words_ = AlignedBuffer<std::uint64_t>(4 * std::size_t{n} + 2 * tail_words);
  std::uint64_t* roots = words_.data();
  std::uint64_t* companions = roots + n;
  std::uint64_t* inverse = companions + n;
  std::uint64_t* inverse_companions = inverse + n;
  std::uint64_t* tail = inverse_companions + n;
  std::uint64_t* inverse_tail = tail + tail_words;

  std::uint64_t power = 1;
  std::uint64_t inverse_power = 1;
  for (std::uint32_t i = 0; i < n; ++i) {
    const std::uint32_t at = reverse_bits(i, log_n);
    roots[at] = power;
    companions[at] = shoup_companion(power, q);
    inverse[at] = inverse_power;
    inverse_companions[at] = shoup_companion(inverse_power, q);
    power = mul_mod(power, psi, q);
    inverse_power = mul_mod(inverse_power, psi_inverse, q);
  }
  fill_tail(n, roots, companions, tail);
  fill_tail(n, inverse, inverse_companions, inverse_tail);

  view_.modulus = make_modulus(q);
  view_.n = n;
  view_.log_n = log_n;
  view_.roots = roots;
  view_.roots_shoup = companions;
  view_.inverse_roots = inverse;
  view_.inverse_roots_shoup = inverse_companions;
  view_.tail = tail;
  view_.inverse_tail = inverse_tail;
  n_inverse_ = inverse_mod(n, q);
}

Ring::Ring(std::uint32_t n, std::uint32_t limbs) : n_(n) {
  if (limbs == 0 || limbs > kPrimes.size()) {
    throw ParameterError("a ring has 1 to 4 limbs, not " + std::to_string(limbs));
  }
  tables_.reserve(limbs);
  for (std::uint32_t limb = 0; limb < limbs; ++limb) tables_.emplace_back(n, kPrimes[limb]);
}

std::shared_ptr<const Ring> Ring::get(std::uint32_t n, std::uint32_t limbs) {
  // Immutable once made; the cache only saves making the same tables for every plan of a process.
  static std::mutex guard;
  static std::map<std::pair<std::uint32_t, std::uint32_t>, std::weak_ptr<const Ring>> cache;
  const std::lock_guard<std::mutex> lock(guard);
  std::weak_ptr<const Ring>& slot = cache[{n, limbs}];
  std::shared_ptr<const Ring> ring = slot.lock();
  if (!ring) {
    ring = std::make_shared<const Ring>(n, limbs);
    slot = ring;
  }
  return ring;
}

void small_to_slots_into(const Ring& ring, std::size_t limb,
                         std::span<const std::int64_t> coefficients, std::uint64_t* out) {
  const std::uint64_t q = ring.q(limb);
  for (std::size_t j = 0; j < ring.degree(); ++j) out[j] = residue_of(coefficients[j], q);
  isa::kernels().ntt_forward(out, ring.tables(limb).view());
}

SlotMultiplier::SlotMultiplier(const Ring& ring, std::span<const std::int64_t> coefficients)
    : n_(ring.degree()), slots_(ring.words()), companions_(ring.words()) {
  for (std::size_t limb = 0; limb < ring.limbs(); ++limb) {
    const std::uint64_t q = ring.q(limb);
    const std::uint64_t scale = ring.tables(limb).n_inverse();
    const std::uint64_t scale_companion = shoup_companion(scale, q);
    std::uint64_t* slots = slots_.data() + limb * n_;
    std::uint64_t* companions = companions_.data() + limb * n_;
    small_to_slots_into(ring, limb, coefficients, slots);
    for (std::size_t j = 0; j < n_; ++j) {
      slots[j] = reduce_once(mul_shoup_lazy(slots[j], scale, scale_companion, q), q);
      companions[j] = shoup_companion_secret(slots[j], q);
    }
  }
}

}  // namespace veilsum::ring
