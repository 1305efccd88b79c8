// Layer: tests. Running a check on every ISA level of this machine, and keys for the kernels.
#pragma once

#include <cstdio>
#include <vector>

#include "check.h"
#include "isa/aes_key.h"
#include "isa/dispatch.h"
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

/// `count` 64-bit words of the keystream of (key, index), by the scalar level.
inline std::vector<std::uint64_t> keystream_words(const isa::AesKey& key, std::uint64_t index,
                                                  std::size_t count) {
  std::vector<std::uint64_t> words((count + 1) / 2 * 2);
  isa::scalar_table()->aes_ctr(key, index, 0, reinterpret_cast<std::uint8_t*>(words.data()),
                               words.size() / 2);
  words.resize(count);
  return words;
}

}  // namespace veilsum::test
