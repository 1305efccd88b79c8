// Layer: scheme. The aggregate as the key holder sees it, and its opening. For the native engine a
// request is the manifest: who contributed with which weight, their sealed keys and signatures. A
// cipher that has to see the blocks gets them beside it.
#pragma once

#include <memory>
#include <vector>

#include "scheme/keys.h"
#include "scheme/manifest.h"
#include "scheme/sealed_key.h"
#include "scheme/sum_key.h"

namespace veilsum::scheme {

/// What a request has of the blocks, for ciphers that open blocks and not sealed keys.
struct Evidence {
  enum class Kind : std::uint8_t {
    kNone = 0,
    kAggregate = 1,  ///< the aggregate's blocks, where the round trusts its aggregator
    kUploads = 2,    ///< those of each upload, in the manifest's order: the key holder sums them
  };
  Kind kind = Kind::kNone;
  /// Of the aggregate's blocks: where there is anything to show, and where names_blocks() says so.
  Digest blocks_digest{};
  std::vector<SharedBlocks> blocks;
};

/// What an aggregator sends to the key holder.
struct OpeningRequest {
  Manifest manifest;
  Evidence evidence = {};

  Bytes to_bytes() const;
  /// Signatures are not checked here but by open_sum().
  static OpeningRequest from_bytes(ByteView bytes, const Round& round);
};

/// Checks that a key was opened for the sum of this manifest.
/// @throws KeyMismatchError
void check_sum_key(const SumKey& key, const Manifest& manifest);

/// Opens a sum of the native engine: all of rule 2. Checks the key, the number of uploads, every
/// signature, every sealed key and the ledger, in that order, before anything is revealed. Without
/// a tag the key is bound to the blocks, and they are part of what the ledger has: by the digest
/// that the request names, which is its word alone.
/// @param allow_export let a key of a weighted sum be serialised (rule 3)
/// @throws KeyMismatchError, RoundError, ParameterError
SumKey open_sum(const SecretKey& secret, const OpeningRequest& request, const Opener& opener,
                const SignatureVerifier* verifier, bool allow_export);

/// The same where the key holder has the blocks in hand: without a tag the key is bound to them by
/// their keyed hash (blocks_check.h), which costs a tenth of their digest.
/// @param blocks hashes them; not asked where there is a tag
/// @throws as above, and what `blocks` throws; nothing was opened then
SumKey open_sum(const SecretKey& secret, const Manifest& manifest, const HashBlocks& blocks,
                const Opener& opener, const SignatureVerifier* verifier, bool allow_export);

/// Makes the body of a sum key from blocks; supplied by the caller, for engines that live
/// elsewhere.
class BlockOpener {
 public:
  virtual ~BlockOpener() = default;
  /// @param secret the secret key
  /// @param blocks of the aggregate; who keeps a view of them keeps them too
  virtual SecretBuffer<std::uint8_t> open(ByteView secret, const SharedBlocks& blocks) const = 0;
};

/// Opens a sum of another engine by the same rules, and checks that the blocks are the sum of the
/// uploads. What the cipher makes for one aggregate is made once: the same again gives the same
/// bytes, and when they are gone, nothing.
/// @throws as above
SumKey open_sum(const SecretKey& secret, const OpeningRequest& request, const BlockOpener& opener,
                const SignatureVerifier* verifier, int threads);

}  // namespace veilsum::scheme
