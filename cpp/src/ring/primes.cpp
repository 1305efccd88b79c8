// Layer: ring. See primes.h.
#include "ring/primes.h"

#include "ring/modular.h"
#include "veilsum/errors.h"

namespace veilsum::ring {

bool is_prime(std::uint64_t n) noexcept {
  if (n < 2) return false;
  constexpr std::uint64_t kBases[] = {2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37};
  for (const std::uint64_t base : kBases) {
    if (n % base == 0) return n == base;
  }
  std::uint64_t odd = n - 1;
  int twos = 0;
  for (; (odd & 1) == 0; odd >>= 1) ++twos;
  for (const std::uint64_t base : kBases) {
    std::uint64_t x = pow_mod(base, odd, n);
    if (x == 1 || x == n - 1) continue;
    bool composite = true;
    for (int i = 1; i < twos && composite; ++i) {
      x = mul_mod(x, x, n);
      composite = x != n - 1;
    }
    if (composite) return false;
  }
  return true;
}

std::uint64_t primitive_root_of_unity(std::uint64_t q, std::uint32_t n) {
  if ((q - 1) % (2ull * n) != 0) {
    throw ParameterError("no root of unity of order 2n: q is not 1 modulo 2n");
  }
  for (std::uint64_t g = 2; g < q; ++g) {
    const std::uint64_t root = pow_mod(g, (q - 1) / (2ull * n), q);
    if (pow_mod(root, n, q) == q - 1) return root;
  }
  throw ParameterError("no root of unity of order 2n: q is not prime");
}

}  // namespace veilsum::ring
