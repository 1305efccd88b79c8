// Layer: cipher. From summed blocks and their sum key back to numbers.
#pragma once

#include <cstdint>

#include "cipher/encrypt.h"
#include "scheme/opening.h"

namespace veilsum::cipher {

struct DecryptOptions {
  bool average = true;                                 ///< divide by the total weight
  isa::ElementType type = isa::ElementType::kFloat32;  ///< kFloat32 or kFloat64
  int threads = 0;
  Progress progress;
};

/// What decrypt() refuses before it looks at a block.
/// @throws KeyMismatchError, ParameterError
void check_decryption(const scheme::SumKey& key, const scheme::Manifest& manifest,
                      const DecryptOptions& options);

/// Decrypts the blocks of a sum into `out`, round().size() elements of options.type. The check
/// blocks come first: no number leaves before the key has been found right under every upload key.
/// A value is (digit - total_weight * L) * (limit / L), divided by the total weight for a mean,
/// computed in double and rounded once, or in float as isa::Dequantise says.
/// @throws KeyMismatchError when `key` is not the key of the sum that `manifest` names
/// @throws TamperedSumError when the blocks cannot be the key's sum: `out` is then zeros
void decrypt(const scheme::SumKey& key, const scheme::Manifest& manifest, ByteView blocks,
             const DecryptOptions& options, void* out);

}  // namespace veilsum::cipher
