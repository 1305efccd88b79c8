// Layer: tests. Running a check on every ISA level of this machine, and keys, keystreams and
// lengths for the kernels.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <vector>

#include "check.h"
#include "isa/aes_key.h"
#include "isa/dispatch.h"
#include "support/bytes.h"
#include "support/random.h"

namespace veilsum::test {

/// Calls body(table) for every level present; says which one failed.
template <class Body>
void on_every_level(Body body) {
  for (const isa::KernelTable* table : isa::levels_present()) {
    const std::size_t before = failed_checks().load();
    body(*table);
    if (failed_checks().load() != before) {
      std::fprintf(stderr, "  ... on level %s\n", table->level);
    }
  }
}

inline isa::AesKey random_key(Random& random, std::size_t bytes) {
  std::uint8_t raw[32];
  for (std::uint8_t& byte : raw) byte = static_cast<std::uint8_t>(random.next());
  isa::AesKey key;
  isa::aes_expand_key(raw, bytes, key);
  return key;
}

/// The first `bytes` bytes of the keystream of (key, index), by the scalar level, which aes_test
/// compares with FIPS 197.
inline Bytes keystream(const isa::AesKey& key, std::uint64_t index, std::size_t bytes) {
  Bytes stream((bytes + 15) / 16 * 16);
  isa::scalar_table()->aes_ctr(key, index, 0, stream.data(), stream.size() / 16);
  stream.resize(bytes);
  return stream;
}

/// Lengths around the vector widths and the kernels' chunks, multiples of eight.
inline std::vector<std::size_t> lengths_around_widths() {
  std::vector<std::size_t> all;
  for (std::size_t n = 8; n <= 136; n += 8) all.push_back(n);
  all.insert(all.end(), {248, 256, 264, 504, 512, 520, 1016, 1024, 1032, 2048});
  return all;
}

}  // namespace veilsum::test
