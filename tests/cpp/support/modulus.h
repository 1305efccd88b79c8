// Layer: tests. Primes, modular arithmetic with the compiler's 128-bit division, and twiddle
// tables, all written from the definitions and apart from cpp/src/ring, which builds the real ones.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <vector>

#include "isa/kernels.h"

namespace veilsum::test {

__extension__ typedef unsigned __int128 Uint128;

/// Words on a 64-byte boundary, as the kernels get them.
class AlignedWords {
 public:
  explicit AlignedWords(std::size_t size) : size_(size) {
    const std::size_t bytes = (size * sizeof(std::uint64_t) + 63) / 64 * 64;
    data_ = static_cast<std::uint64_t*>(std::aligned_alloc(64, bytes == 0 ? 64 : bytes));
    if (data_ == nullptr) throw std::bad_alloc();
    for (std::size_t i = 0; i < bytes / sizeof(std::uint64_t); ++i) data_[i] = 0;
  }
  AlignedWords(const AlignedWords& other) : AlignedWords(other.size_) {
    for (std::size_t i = 0; i < size_; ++i) data_[i] = other.data_[i];
  }
  AlignedWords& operator=(const AlignedWords&) = delete;
  ~AlignedWords() { std::free(data_); }

  std::uint64_t* data() { return data_; }
  const std::uint64_t* data() const { return data_; }
  std::size_t size() const { return size_; }
  std::uint64_t& operator[](std::size_t i) { return data_[i]; }
  std::uint64_t operator[](std::size_t i) const { return data_[i]; }
  const std::uint64_t* begin() const { return data_; }
  const std::uint64_t* end() const { return data_ + size_; }
  bool operator==(const AlignedWords& other) const {
    if (size_ != other.size_) return false;
    for (std::size_t i = 0; i < size_; ++i) {
      if (data_[i] != other.data_[i]) return false;
    }
    return true;
  }

 private:
  std::uint64_t* data_ = nullptr;
  std::size_t size_;
};

inline std::uint64_t multiply_mod(std::uint64_t a, std::uint64_t b, std::uint64_t q) {
  return static_cast<std::uint64_t>(static_cast<Uint128>(a) * b % q);
}

inline std::uint64_t power_mod(std::uint64_t base, std::uint64_t exponent, std::uint64_t q) {
  std::uint64_t result = 1;
  for (; exponent != 0; exponent >>= 1, base = multiply_mod(base, base, q)) {
    if ((exponent & 1) != 0) result = multiply_mod(result, base, q);
  }
  return result;
}

inline std::uint64_t inverse_mod(std::uint64_t a, std::uint64_t prime) {
  return power_mod(a % prime, prime - 2, prime);
}

inline std::uint64_t shoup(std::uint64_t w, std::uint64_t q) {
  return static_cast<std::uint64_t>((static_cast<Uint128>(w) << 52) / q);
}

/// Miller-Rabin with the bases that settle every number below 2^64.
inline bool is_prime(std::uint64_t p) {
  constexpr std::uint64_t kBases[] = {2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37};
  for (const std::uint64_t base : kBases) {
    if (p % base == 0) return p == base;
  }
  std::uint64_t odd = p - 1;
  int twos = 0;
  for (; (odd & 1) == 0; odd >>= 1) ++twos;
  for (const std::uint64_t base : kBases) {
    std::uint64_t x = power_mod(base, odd, p);
    if (x == 1 || x == p - 1) continue;
    bool composite = true;
    for (int i = 1; i < twos && composite; ++i) {
      x = multiply_mod(x, x, p);
      composite = x != p - 1;
    }
    if (composite) return false;
  }
  return true;
}

/// The largest `count` primes at most `top` that are 1 mod 2^16 (so they carry n up to 32768).
inline std::vector<std::uint64_t> primes_below(std::uint64_t top, std::size_t count) {
  std::vector<std::uint64_t> primes;
  for (std::uint64_t p = (top - 1) / 65536 * 65536 + 1; primes.size() < count; p -= 65536) {
    if (p <= top && is_prime(p)) primes.push_back(p);
  }
  return primes;
}

/// The two largest of Veilsum's rings, and the smallest that kernels take, with the largest delta.
inline std::vector<std::uint64_t> test_primes() {
  constexpr std::uint64_t kTop = std::uint64_t{1} << isa::kPrimeBits;
  std::vector<std::uint64_t> primes = primes_below(kTop - 1, 2);
  std::uint64_t smallest = kTop - (1u << 24) + 1;
  while (!is_prime(smallest)) smallest += 65536;
  primes.push_back(smallest);
  return primes;
}

inline isa::Modulus make_modulus(std::uint64_t q) {
  return {q, (std::uint64_t{1} << isa::kPrimeBits) - q};
}

inline std::size_t reverse_bits(std::size_t x, unsigned bits) {
  std::size_t result = 0;
  for (unsigned i = 0; i < bits; ++i) result |= ((x >> i) & 1) << (bits - 1 - i);
  return result;
}

/// Where slot k lies in storage: in each sixteen the even slots, then the odd ones.
inline std::size_t storage_index(std::size_t slot) {
  return slot / 16 * 16 + slot % 2 * 8 + slot % 16 / 2;
}

/// The transform by its definition, in O(n log n): the coefficients of a(X) modulo X^m - c are
/// split into those modulo X^(m/2) - s and X^(m/2) + s, s^2 = c, down to values. Slot k, at its
/// place in storage, is a(psi^(2 reverse_bits(k) + 1)).
inline AlignedWords evaluate(const AlignedWords& a, std::uint64_t psi, std::uint64_t q) {
  const std::size_t n = a.size();
  unsigned log_n = 0;
  while ((std::size_t{1} << log_n) < n) ++log_n;
  AlignedWords work = a;
  // A part of m coefficients is taken modulo X^m - psi^e; the whole has e = n, as psi^n = -1. The
  // square roots of psi^e are psi^(e/2) and its negative, psi^(e/2 + n).
  std::vector<std::size_t> exponents = {n};
  for (std::size_t m = n; m > 1; m /= 2) {
    std::vector<std::size_t> halves;
    for (std::size_t part = 0; part < exponents.size(); ++part) {
      const std::uint64_t root = power_mod(psi, exponents[part] / 2, q);
      for (std::size_t i = 0; i < m / 2; ++i) {
        const std::uint64_t low = work[part * m + i];
        const std::uint64_t high = multiply_mod(work[part * m + m / 2 + i], root, q);
        work[part * m + i] = (low + high) % q;
        work[part * m + m / 2 + i] = (low + q - high) % q;
      }
      halves.insert(halves.end(), {exponents[part] / 2, exponents[part] / 2 + n});
    }
    exponents = halves;
  }
  AlignedWords slots(n);
  for (std::size_t k = 0; k < n; ++k) {
    // Value k was taken at psi^exponents[k]; find the slot with that power.
    slots[storage_index(reverse_bits((exponents[k] - 1) / 2, log_n))] = work[k];
  }
  return slots;
}

/// Twiddles of (n, q) and a view of them; psi is some primitive 2n-th root of one.
class Twiddles {
 public:
  Twiddles(std::uint32_t n, std::uint64_t q)
      : roots_(n),
        roots_shoup_(n),
        inverse_(n),
        inverse_shoup_(n),
        tail_(n / 16 * 48),
        inverse_tail_(n / 16 * 48) {
    for (std::uint64_t g = 2; psi_ == 0; ++g) {
      const std::uint64_t r = power_mod(g, (q - 1) / (2 * std::uint64_t{n}), q);
      if (power_mod(r, n, q) == q - 1) psi_ = r;
    }
    unsigned log_n = 0;
    while ((std::uint32_t{1} << log_n) < n) ++log_n;
    for (std::size_t k = 0; k < n; ++k) {
      roots_[k] = power_mod(psi_, reverse_bits(k, log_n), q);
      inverse_[k] = inverse_mod(roots_[k], q);
      roots_shoup_[k] = shoup(roots_[k], q);
      inverse_shoup_[k] = shoup(inverse_[k], q);
    }
    fill_tail(tail_, roots_, roots_shoup_, n);
    fill_tail(inverse_tail_, inverse_, inverse_shoup_, n);
    view_ = {make_modulus(q),
             n,
             log_n,
             roots_.data(),
             roots_shoup_.data(),
             inverse_.data(),
             inverse_shoup_.data(),
             tail_.data(),
             inverse_tail_.data()};
  }

  const isa::NttView& view() const { return view_; }
  std::uint64_t psi() const { return psi_; }

 private:
  static void fill_tail(AlignedWords& tail, const AlignedWords& factors,
                        const AlignedWords& companions, std::size_t n) {
    constexpr std::size_t kElement[3][8] = {
        {0, 1, 2, 3, 8, 9, 10, 11}, {0, 1, 4, 5, 8, 9, 12, 13}, {0, 2, 4, 6, 8, 10, 12, 14}};
    constexpr std::size_t kDistance[3] = {4, 2, 1};
    for (std::size_t block = 0; block < n / 16; ++block) {
      for (std::size_t stage = 0; stage < 3; ++stage) {
        const std::size_t pair = 2 * kDistance[stage];
        for (std::size_t lane = 0; lane < 8; ++lane) {
          const std::size_t root = n / pair + (16 * block + kElement[stage][lane]) / pair;
          tail[48 * block + 16 * stage + lane] = factors[root];
          tail[48 * block + 16 * stage + 8 + lane] = companions[root];
        }
      }
    }
  }

  std::uint64_t psi_ = 0;
  AlignedWords roots_, roots_shoup_, inverse_, inverse_shoup_, tail_, inverse_tail_;
  isa::NttView view_{};
};

}  // namespace veilsum::test
