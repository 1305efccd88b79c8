// Layer: scheme. See blocks_digest.h.
#include "scheme/blocks_digest.h"

#include <string_view>

#include "base/parallel.h"
#include "isa/dispatch.h"

namespace veilsum::scheme {

void BlocksDigest::restart() noexcept {
  hash_.restart();
  constexpr std::string_view kLabel = "veilsum/2/blocks-digest";
  hash_.update({reinterpret_cast<const std::uint8_t*>(kLabel.data()), kLabel.size()});
}

Bytes piece_digests(ByteView bytes) {
  Bytes digests(32 * digest_pieces(bytes.size()));
  ring::sha256_pieces_into(bytes, kDigestPiece, digests.data());
  return digests;
}

Digest digest_of_blocks(ByteView blocks, int threads) {
  const std::size_t pieces = digest_pieces(blocks.size());
  Bytes digests(32 * pieces);
  constexpr std::size_t kTogether = isa::kHashLanes;
  constexpr double kUsPerByte = 3e-4;  // of hashing pieces side by side
  const double work_us = static_cast<double>(blocks.size()) * kUsPerByte;
  parallel_for((pieces + kTogether - 1) / kTogether, worthwhile_threads(threads, work_us),
               [] { return 0; },
               [&](std::size_t run, int) {
                 const std::size_t from = run * kTogether * kDigestPiece;
                 const std::size_t bytes = std::min(kTogether * kDigestPiece, blocks.size() - from);
                 ring::sha256_pieces_into(blocks.subspan(from, bytes), kDigestPiece,
                                          digests.data() + 32 * run * kTogether);
               });
  BlocksDigest hash;
  hash.append(digests);
  return hash.finish();
}

}  // namespace veilsum::scheme
