// Layer: cipher. From summed blocks and their sum key back to numbers.
#pragma once

#include <cstdint>
#include <optional>

#include "cipher/encrypt.h"
#include "scheme/opening.h"

namespace veilsum::cipher {

struct DecryptOptions {
  bool average = true;                                 ///< divide by the total weight
  isa::ElementType type = isa::ElementType::kFloat32;  ///< kFloat32 or kFloat64
  int threads = 0;
  Progress progress;
  /// The sum's tag, which must hold before any number leaves; must outlive the call. Null: the sum
  /// has none.
  const TagCheck* tag = nullptr;
};

/// What decrypt() refuses before it looks at a block.
/// @throws KeyMismatchError, ParameterError
/// @throws RoundError when the tag key is of another round
void check_decryption(const scheme::SumKey& key, const scheme::Manifest& manifest,
                      const DecryptOptions& options);

/// Refuses other blocks than the key names, where it names any.
/// @param found the digest of the blocks at hand
/// @throws TamperedSumError
void check_blocks_of(const scheme::SumKey& key, const Digest& found);

/// What must be known of all of a sum before a number of it leaves: the hash of its digits, where
/// it has a tag, and that of its blocks, where its key has a check. Parts of a sum are added up in
/// any order.
class SumHashes {
 public:
  SumHashes(const scheme::SumKey& key, const DecryptOptions& options);

  /// Null where the sum has none.
  ring::TagSum* digits() noexcept { return digits_ ? &*digits_ : nullptr; }
  ring::TagSum* blocks() noexcept { return blocks_ ? &*blocks_ : nullptr; }
  const ring::TagSum* digits() const noexcept { return digits_ ? &*digits_ : nullptr; }
  const ring::TagSum* blocks() const noexcept { return blocks_ ? &*blocks_ : nullptr; }
  /// Whether there is any. Then all of a sum is worked through before it is refused, so that how
  /// long it took says nothing of where it was found wrong.
  bool any() const noexcept { return digits_ || blocks_; }
  void add(const SumHashes& part);
  /// Whether those of the whole sum are what they must be.
  bool hold(const scheme::SumKey& key, const DecryptOptions& options) const noexcept;

 private:
  std::optional<ring::TagSum> digits_;
  std::optional<ring::TagSum> blocks_;
};

/// The one refusal of a sum that does not hold, whatever shows it: a check block, a value out of
/// range or the tag.
/// @throws TamperedSumError
[[noreturn]] void refuse_sum();

/// Decrypts the blocks of a sum into `out`, round().size() elements of options.type. Check blocks,
/// where the round has them, come first: no number leaves before the key has been found right under
/// every upload key. With a tag, or a key that has a check of its blocks, `out` is a place to work
/// in until that was found right: nobody may look at it before this returns. How far the work goes
/// says nothing then: a sum that does not hold is refused at the end.
/// A value is (digit - total_weight * L) * (limit / L), divided by the total weight for a mean,
/// computed in double and rounded once, or in float as isa::Dequantise says.
/// @throws KeyMismatchError, RoundError, ParameterError as check_decryption()
/// @throws TamperedSumError when the blocks are not the sum that the key opens
/// After these and what `progress` throws `out` is zeros, or as it was before.
void decrypt(const scheme::SumKey& key, const scheme::Manifest& manifest, ByteView blocks,
             const DecryptOptions& options, void* out);

}  // namespace veilsum::cipher
