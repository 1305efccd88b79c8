// Layer: base. Randomness from the operating system. There is no user-space generator state, so a
// fork or a snapshot of the process cannot repeat a key.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "base/wipe.h"

namespace veilsum {

/// A 32-byte secret seed, wiped when it goes out of scope.
class Seed {
 public:
  Seed() = default;
  explicit Seed(const std::array<std::uint8_t, 32>& bytes) : bytes_(bytes) {}
  Seed(const Seed&) = default;
  Seed& operator=(const Seed&) = default;
  ~Seed() { secure_wipe(bytes_.data(), bytes_.size()); }

  std::uint8_t* data() noexcept { return bytes_.data(); }
  const std::uint8_t* data() const noexcept { return bytes_.data(); }
  std::span<const std::uint8_t> span() const noexcept { return bytes_; }

 private:
  std::array<std::uint8_t, 32> bytes_{};
};

/// Fills `out` from getrandom(2) (or /dev/urandom where that call does not exist).
/// @throws BackendUnavailableError when the operating system gives no randomness
void os_entropy(std::span<std::uint8_t> out);

/// A fresh seed from os_entropy().
Seed fresh_seed();

}  // namespace veilsum
