// Layer: scheme. See blocks_check.h.
#include "scheme/blocks_check.h"

#include <algorithm>
#include <mutex>
#include <string>

#include "base/parallel.h"
#include "base/wipe.h"
#include "ring/sha256.h"
#include "veilsum/errors.h"

namespace veilsum::scheme {

Digest BlocksCheck::fingerprint() const {
  return ring::labelled_hash("veilsum/2/blocks-check-fingerprint", {key.span()});
}

Seed blocks_check_key(ByteView secret, const Digest& round_id, const Digest& manifest) {
  Digest digest = ring::labelled_hash("veilsum/2/blocks-check-key", {round_id, manifest, secret});
  const Seed key(digest);
  secure_wipe(digest.data(), digest.size());
  return key;
}

void add_blocks(const ring::BlocksHash& hash, const Round& round, std::uint64_t first,
                std::uint64_t count, ByteView packed, ring::TagSum& sum) {
  std::size_t at = 0;
  for (std::uint64_t block = first; block < first + count; ++block) {
    const std::size_t bytes = round.block_bytes(block);
    hash.add_block(block, packed.subspan(at, bytes), sum);
    at += bytes;
  }
}

HashBlocks hash_of_memory(const Round& round, ByteView blocks, int threads) {
  return [round, blocks, threads](const ring::BlocksHash& hash) {
    if (blocks.size() != round.payload_bytes()) {
      throw ParameterError("the blocks at hand have " + std::to_string(blocks.size()) +
                           " bytes, those of this round " + std::to_string(round.payload_bytes()));
    }
    constexpr double kUsPerByte = 6e-5;
    constexpr std::uint64_t kTogether = 64;
    const double work_us = static_cast<double>(blocks.size()) * kUsPerByte;
    ring::TagSum total(ring::BlocksHash::field());
    std::mutex guard;
    parallel_for(
        static_cast<std::size_t>((round.blocks() + kTogether - 1) / kTogether),
        worthwhile_threads(threads, work_us), [] { return 0; },
        [&](std::size_t item, int) {
          ring::TagSum sum(ring::BlocksHash::field());
          const std::uint64_t first = item * kTogether;
          const std::uint64_t count = std::min(kTogether, round.blocks() - first);
          add_blocks(hash, round, first, count,
                     blocks.subspan(static_cast<std::size_t>(round.block_offset(first))), sum);
          const std::lock_guard<std::mutex> lock(guard);
          total.add(sum);
        });
    return total;
  };
}

}  // namespace veilsum::scheme
