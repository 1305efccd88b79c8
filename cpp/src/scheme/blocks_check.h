// Layer: scheme. What binds a sum key to the blocks that it was opened for, where there is no tag:
// a keyed hash of them (ring/blocks_hash.h), made by the key holder that has the blocks in hand.
// The hash's key is the key holder's own secret and travels in the sum key alone, so whoever can
// make blocks with a given hash holds the sum key anyway. A key holder that is shown a request and
// no blocks binds the key to the digest that the request names (blocks_digest.h).
#pragma once

#include <cstdint>
#include <functional>

#include "base/bytes.h"
#include "base/entropy.h"
#include "ring/blocks_hash.h"
#include "scheme/round.h"

namespace veilsum::scheme {

/// A hash's key and the value that the blocks must have under it. Both are secret; wiped when
/// freed.
struct BlocksCheck {
  Seed key;
  ring::TagSum value;

  /// Names the key of the hash, as a tag key's does: journals tell by it whose hashes they hold.
  Digest fingerprint() const;
};

/// The hash's key of one opening: of the secret key, the round and the manifest, so that opening
/// the same sum again gives the same sum key, and no two sums share one.
Seed blocks_check_key(ByteView secret, const Digest& round_id, const Digest& manifest);

/// The hash of the blocks of one sum, wherever they lie; check blocks are hashed too.
/// @throws WireFormatError when they are damaged
using HashBlocks = std::function<ring::TagSum(const ring::BlocksHash& hash)>;

/// Adds the blocks [first, first + count), packed in `packed`, to `sum`.
void add_blocks(const ring::BlocksHash& hash, const Round& round, std::uint64_t first,
                std::uint64_t count, ByteView packed, ring::TagSum& sum);

/// Of blocks in memory.
/// @param blocks all of the round's, packed; must outlive the function that is returned
HashBlocks hash_of_memory(const Round& round, ByteView blocks, int threads);

}  // namespace veilsum::scheme
