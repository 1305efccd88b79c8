// Layer: tests (base). Randomness of the operating system reaches every byte asked for, none beside
// them, and is never the same twice, not even across a fork.
#include "base/entropy.h"

#include <unistd.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <set>
#include <vector>

#include "base/bytes.h"
#include "check.h"
#include "support/child.h"

namespace veilsum::test {
namespace {

TEST("every byte is filled, for sizes beyond one system call") {
  // getrandom(2) may give fewer bytes than asked for from 257 on; 1 MiB takes several calls.
  std::vector<std::uint8_t> bytes(std::size_t{1} << 20, 0);
  os_entropy(bytes);
  // A run of 12 zero bytes somewhere has probability below 2^20 * 2^-96.
  std::size_t run = 0, longest = 0, ones = 0;
  for (const std::uint8_t byte : bytes) {
    run = byte == 0 ? run + 1 : 0;
    longest = run > longest ? run : longest;
    ones += static_cast<std::size_t>(std::popcount(byte));
  }
  CHECK(longest < 12);
  // 2^23 fair bits: standard deviation 2^11.5 / 2 = 1448; seven of them fail once in 4e11 runs.
  CHECK(std::abs(static_cast<double>(ones) - 0x1p22) < 7 * 1448.2);
}

TEST("exactly the bytes asked for") {
  for (std::size_t size = 0; size < 40; ++size) {
    bool touched[40] = {};
    for (int attempt = 0; attempt < 16; ++attempt) {
      std::uint8_t memory[42];
      std::memset(memory, 0, sizeof memory);
      os_entropy({memory + 1, size});
      CHECK_EQ(memory[0], 0);
      for (std::size_t i = 0; i < size; ++i) touched[i] = touched[i] || memory[1 + i] != 0;
      for (std::size_t i = 1 + size; i < sizeof memory; ++i) CHECK_EQ(memory[i], 0);
    }
    // A byte that is random stays zero sixteen times with probability 2^-128.
    for (std::size_t i = 0; i < size; ++i) CHECK(touched[i]);
  }
}

TEST("seeds differ") {
  std::set<std::vector<std::uint8_t>> seen;
  for (int i = 0; i < 1000; ++i) {
    const Seed seed = fresh_seed();
    seen.emplace(seed.span().begin(), seed.span().end());
  }
  CHECK_EQ(seen.size(), 1000u);
}

TEST("a fork does not repeat a seed") {
  int ends[2];
  CHECK_EQ(::pipe(ends), 0);
  const pid_t child = start_child([&] {
    const Seed seed = fresh_seed();
    return ::write(ends[1], seed.data(), 32) == 32 ? 0 : 1;
  });
  const Seed mine = fresh_seed();
  std::uint8_t theirs[32] = {};
  CHECK_EQ(::read(ends[0], theirs, sizeof theirs), 32);
  CHECK_EQ(wait_for(child).exit_status, 0);
  CHECK(std::memcmp(mine.data(), theirs, 32) != 0);
  ::close(ends[0]);
  ::close(ends[1]);
}

}  // namespace
}  // namespace veilsum::test
