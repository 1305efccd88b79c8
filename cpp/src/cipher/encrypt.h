// Layer: cipher. From a vector of floating-point values to an upload: quantise to digits, encrypt
// block by block, in parallel. The values are read where they lie.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "cipher/prepared.h"
#include "cipher/sum_tag.h"
#include "isa/kernels.h"
#include "scheme/sealed_key.h"
#include "scheme/upload.h"

namespace veilsum::cipher {

/// One segment's values where they lie, or a part of them; aligned to its element type.
struct Piece {
  const void* values = nullptr;
  isa::ElementType type = isa::ElementType::kFloat32;
  std::uint64_t count = 0;
  std::uint64_t first = 0;  ///< place of values[0] in its segment
};

/// Whether element `at` of a piece is neither NaN nor infinite.
bool is_finite(const Piece& piece, std::uint64_t at);

enum class Rounding : std::uint8_t {
  kNearest,     ///< ties to even; deterministic
  kStochastic,  ///< unbiased: floor(x + u), u uniform in [0, 1) with 32 bits
};
enum class OnClip : std::uint8_t { kCount, kError };

/// Called from the calling thread between portions; throwing cancels the work.
using Progress = std::function<void(std::uint64_t done_values, std::uint64_t total_values)>;

struct EncryptOptions {
  double weight = 1.0;  ///< every value is multiplied by it before clipping; finite
  Rounding rounding = Rounding::kNearest;
  OnClip on_clip = OnClip::kCount;
  int threads = 0;
  Progress progress;
  /// Who uploads: an index in the round's roster, or kNoClient where it has none.
  std::uint32_t client = scheme::kNoClient;
  Tagging* tag = nullptr;  ///< hash the digits, too; must outlive the call
};

class PadStore;

/// Seals an upload's secrets once its blocks are made: with its tag, where the round has any.
/// @param options whose tagging holds the upload's hash
/// @param head with its nonce; its part is set
void seal_with_tag(const scheme::Round& round, const EncryptOptions& options, std::uint32_t client,
                   const UploadSeeds& seeds, const scheme::Sealer& sealer,
                   scheme::UploadHead& head);

/// Encrypts `pieces`, one for each segment of the round, in order, and then seals the upload's
/// seed.
/// @throws ParameterError when the pieces do not match the segments, for a NaN or an infinity
///         (naming the first index; nothing is returned), for a weight that is not finite, and for
///         clipped values with OnClip::kError
/// @throws RoundError when the tag key is of another round
scheme::Upload encrypt(const scheme::Round& round, std::span<const Piece> pieces,
                       const EncryptOptions& options, const scheme::Sealer& sealer);
/// The same from an upload of `pads`: blocks that are prepared only take their message in, the
/// others are made here. With the same seeds, the same bytes.
/// @throws RoundError when the store is of another round, or of another process
/// @throws ParameterError also when the store is closed
scheme::Upload encrypt(const scheme::Round& round, std::span<const Piece> pieces,
                       const EncryptOptions& options, const scheme::Sealer& sealer, PadStore& pads);
/// The same from one upload, whose round it is. The upload is consumed, also when this throws: its
/// pads are wiped then.
/// @throws RoundError when it was consumed before
scheme::Upload encrypt(PreparedUpload& prepared, std::span<const Piece> pieces,
                       const EncryptOptions& options, const scheme::Sealer& sealer);
/// The same with given seeds. Reusing seeds breaks the secrecy of both uploads: tests only.
scheme::Upload encrypt_with_seeds(const scheme::Round& round, std::span<const Piece> pieces,
                                  const EncryptOptions& options, const scheme::Sealer& sealer,
                                  const UploadSeeds& seeds);

}  // namespace veilsum::cipher
