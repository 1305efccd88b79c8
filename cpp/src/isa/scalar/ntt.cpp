// Layer: isa, scalar level. The negacyclic number-theoretic transform of Z_q[X] / (X^n + 1) and its
// inverse: Cooley-Tukey forward and Gentleman-Sande inverse with the powers of psi merged into the
// twiddles (Longa and Naehrig, CANS 2016, algorithms 1 and 2), lazy butterflies (Harvey, "Faster
// arithmetic for number-theoretic transforms", J. Symb. Comput. 2014) with 52-bit Shoup companions.
// Forward: [0, q) -> [0, q), values below 4q in between. Inverse: [0, 2q) -> [0, 2q), always below
// 2q between stages, result times n. 4q < 2^52, so every product meets the companions' range.
// Slot k of the bit-reversed order is the value at psi^(2 bitreverse(k) + 1); the storage order
// moves, in each 16 slots, the even ones before the odd ones, which is what vector levels find in
// registers. Constant time: the data flow depends on n alone.
#include <cstddef>
#include <cstdint>

#include "isa/scalar/kernels_internal.h"

namespace veilsum::isa::scalar {
namespace {

constexpr std::size_t kStorageBlock = 16;
constexpr std::size_t kHalf = kStorageBlock / 2;

}  // namespace

/// a: n words in [0, q), coefficients -> slots in storage order, in [0, q).
void ntt_forward(std::uint64_t* a, const NttView& view) {
  const std::uint64_t q = view.modulus.q;
  const std::uint64_t two_q = 2 * q;
  const std::size_t n = view.n;
  for (std::size_t m = 1, t = n / 2; m < n; m *= 2, t /= 2) {
    for (std::size_t i = 0; i < m; ++i) {
      const std::uint64_t w = view.roots[m + i];
      const std::uint64_t w_shoup = view.roots_shoup[m + i];
      std::uint64_t* x = a + 2 * i * t;
      std::uint64_t* y = x + t;
      for (std::size_t j = 0; j < t; ++j) {
        const std::uint64_t u = subtract_if_above(x[j], two_q);      // [0, 4q) -> [0, 2q)
        const std::uint64_t v = multiply_lazy(y[j], w, w_shoup, q);  // [0, 4q) -> [0, 2q)
        x[j] = u + v;                                                // [0, 4q)
        y[j] = u + two_q - v;                                        // (0, 4q)
      }
    }
  }
  for (std::size_t block = 0; block < n; block += kStorageBlock) {
    std::uint64_t slot[kStorageBlock];
    for (std::size_t i = 0; i < kStorageBlock; ++i) {
      slot[i] = subtract_if_above(subtract_if_above(a[block + i], two_q), q);
    }
    for (std::size_t i = 0; i < kHalf; ++i) {
      a[block + i] = slot[2 * i];
      a[block + kHalf + i] = slot[2 * i + 1];
    }
  }
}

/// a: n words in [0, 2q), slots in storage order -> coefficients times n, in [0, 2q).
void ntt_inverse_lazy(std::uint64_t* a, const NttView& view) {
  const std::uint64_t q = view.modulus.q;
  const std::uint64_t two_q = 2 * q;
  const std::size_t n = view.n;
  for (std::size_t block = 0; block < n; block += kStorageBlock) {
    std::uint64_t slot[kStorageBlock];
    for (std::size_t i = 0; i < kHalf; ++i) {
      slot[2 * i] = a[block + i];
      slot[2 * i + 1] = a[block + kHalf + i];
    }
    for (std::size_t i = 0; i < kStorageBlock; ++i) a[block + i] = slot[i];
  }
  for (std::size_t m = n / 2, t = 1; m >= 1; m /= 2, t *= 2) {
    for (std::size_t i = 0; i < m; ++i) {
      const std::uint64_t w = view.inverse_roots[m + i];
      const std::uint64_t w_shoup = view.inverse_roots_shoup[m + i];
      std::uint64_t* x = a + 2 * i * t;
      std::uint64_t* y = x + t;
      for (std::size_t j = 0; j < t; ++j) {
        const std::uint64_t u = x[j];
        const std::uint64_t v = y[j];
        x[j] = subtract_if_above(u + v, two_q);              // [0, 4q) -> [0, 2q)
        y[j] = multiply_lazy(u + two_q - v, w, w_shoup, q);  // (0, 4q) -> [0, 2q)
      }
    }
  }
}

}  // namespace veilsum::isa::scalar
