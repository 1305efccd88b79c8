// Layer: isa. AES key expansion, shared by every level: it runs once per key, so one portable
// constant-time version (scalar/aes.cpp) serves all of them. Knows nothing of what a key is for.
#pragma once

#include <cstddef>
#include <cstdint>

#include "isa/kernels.h"

namespace veilsum::isa {

/// FIPS 197 key expansion, encryption direction. Constant time in `key`.
/// `key` holds `key_bytes` bytes: 16 (AES-128, 10 rounds) or 32 (AES-256, 14 rounds). The unused
/// end of `out.bytes` is zeroed. `out` is secret: its owner wipes it.
/// @throws ParameterError when key_bytes is neither 16 nor 32.
void aes_expand_key(const std::uint8_t* key, std::size_t key_bytes, AesKey& out);

}  // namespace veilsum::isa
