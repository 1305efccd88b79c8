// Layer: tests. A small deterministic generator, so that a failing case can be repeated.
#pragma once

#include <cstdint>

namespace veilsum::test {

/// splitmix64 (Steele, Lea, Flood 2014): one 64-bit state, any seed is good.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}

  std::uint64_t next() {
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  /// Below `bound` (bias irrelevant here).
  std::uint64_t below(std::uint64_t bound) { return next() % bound; }
  /// Below `bound`; every fourth draw is one of the edges 0, 1, bound - 2, bound - 1.
  std::uint64_t edgy(std::uint64_t bound) {
    const std::uint64_t r = next();
    if ((r & 3) != 0) return (r >> 2) % bound;
    const std::uint64_t edges[4] = {0, 1 % bound, bound - (bound > 1 ? 2 : 1), bound - 1};
    return edges[(r >> 2) & 3];
  }
  /// In [0, 1).
  double unit() { return static_cast<double>(next() >> 11) * 0x1p-53; }

 private:
  std::uint64_t state_;
};

}  // namespace veilsum::test
