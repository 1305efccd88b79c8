// Layer: isa, scalar level. The negacyclic number-theoretic transform of Z_q[X] / (X^n + 1) and its
// inverse: Cooley-Tukey forward and Gentleman-Sande inverse with the powers of psi merged into the
// twiddles (Longa and Naehrig, CANS 2016, algorithms 1 and 2), lazy butterflies (Harvey, "Faster
// arithmetic for number-theoretic transforms", J. Symb. Comput. 2014) with 52-bit Shoup companions.
// Words of 52 bits hold 16 q, so sums are reduced only where the next butterfly would not fit:
// every sixth stage forward, where a butterfly adds 2q to the bound, every third stage backward,
// where it doubles it. Forward: [0, q) -> [0, q). Inverse: [0, 2q) -> [0, 8q), result times n.
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
  std::uint64_t bound = 1;  // words are below bound * q
  for (std::size_t m = 1, t = n / 2; m < n; m *= 2, t /= 2) {
    const bool reduces = bound + 2 > 2 * kLazyFactor;
    for (std::size_t i = 0; i < m; ++i) {
      const std::uint64_t w = view.roots[m + i];
      const std::uint64_t w_shoup = view.roots_shoup[m + i];
      std::uint64_t* x = a + 2 * i * t;
      std::uint64_t* y = x + t;
      for (std::size_t j = 0; j < t; ++j) {
        const std::uint64_t u = reduces ? reduce_lazy(x[j], view.modulus) : x[j];
        const std::uint64_t v = multiply_lazy(y[j], w, w_shoup, q);  // [0, 2q)
        x[j] = u + v;
        y[j] = u + two_q - v;
      }
    }
    bound = (reduces ? 2 : bound) + 2;
  }
  for (std::size_t block = 0; block < n; block += kStorageBlock) {
    std::uint64_t slot[kStorageBlock];
    for (std::size_t i = 0; i < kStorageBlock; ++i) {
      slot[i] = reduce(a[block + i], view.modulus);
    }
    for (std::size_t i = 0; i < kHalf; ++i) {
      a[block + i] = slot[2 * i];
      a[block + kHalf + i] = slot[2 * i + 1];
    }
  }
}

/// a: n words whose low 52 bits are in [0, 2q), slots in storage order -> coefficients times n,
/// lazy residues.
void ntt_inverse_lazy(std::uint64_t* a, const NttView& view) {
  const std::uint64_t q = view.modulus.q;
  const std::size_t n = view.n;
  for (std::size_t block = 0; block < n; block += kStorageBlock) {
    std::uint64_t slot[kStorageBlock];
    for (std::size_t i = 0; i < kHalf; ++i) {
      slot[2 * i] = a[block + i] & kWordMask;
      slot[2 * i + 1] = a[block + kHalf + i] & kWordMask;
    }
    for (std::size_t i = 0; i < kStorageBlock; ++i) a[block + i] = slot[i];
  }
  std::uint64_t bound = 2;  // words are below bound * q
  for (std::size_t m = n / 2, t = 1; m >= 1; m /= 2, t *= 2) {
    const bool reduces = bound == kLazyFactor;
    const std::uint64_t lift = bound * q;
    for (std::size_t i = 0; i < m; ++i) {
      const std::uint64_t w = view.inverse_roots[m + i];
      const std::uint64_t w_shoup = view.inverse_roots_shoup[m + i];
      std::uint64_t* x = a + 2 * i * t;
      std::uint64_t* y = x + t;
      for (std::size_t j = 0; j < t; ++j) {
        const std::uint64_t u = x[j];
        const std::uint64_t v = y[j];
        x[j] = reduces ? reduce_lazy(u + v, view.modulus) : u + v;
        y[j] = multiply_lazy(u + lift - v, w, w_shoup, q);  // below 2 bound q -> [0, 2q)
      }
    }
    bound = reduces ? 2 : 2 * bound;
  }
}

/// Asks for nothing ahead: a portable level has time to wait for memory.
void multiply_inverse(const MultiplyInverse& args) {
  const NttView& view = *args.view;
  multiply_slots(args.a, args.slots, args.companions, view.modulus, view.n, args.out);
  ntt_inverse_lazy(args.out, view);
}

}  // namespace veilsum::isa::scalar
