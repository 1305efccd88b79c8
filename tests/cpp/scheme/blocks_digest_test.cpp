// Layer: tests (scheme). Spans cover a round's blocks without gap or overlap and begin on a digest
// piece; hashing in pieces of any length gives the digest of an upload.
#include "scheme/blocks_digest.h"

#include <vector>

#include "check.h"
#include "support/rounds.h"

namespace veilsum::test {
namespace {

using scheme::Plan;
using scheme::Round;
using scheme::Spans;

TEST("spans of every ring") {
  for (const Plan& plan : plans_of_every_ring()) {
    const scheme::SecretKey key = make_key(plan);
    for (const std::uint64_t size :
         {std::uint64_t{1}, plan.block_capacity(), 300 * plan.block_capacity() + 17}) {
      const Round round = make_round(plan, key, size);
      const Spans spans(round);
      std::uint64_t blocks = 0, bytes = 0;
      for (std::uint64_t span = 0; span < spans.count(); ++span) {
        CHECK_EQ(spans.first_block(span), blocks);
        CHECK_EQ(spans.offset(span), bytes);
        CHECK_EQ(spans.offset(span) % scheme::kDigestPiece, 0u);
        CHECK_EQ(spans.first_value(span), blocks * plan.block_capacity());
        CHECK_EQ(spans.bytes_of(spans.first_block(span), spans.blocks(span)), spans.bytes(span));
        blocks += spans.blocks(span);
        bytes += spans.bytes(span);
        CHECK_EQ(spans.end_value(span), std::min(blocks * plan.block_capacity(), size));
      }
      CHECK_EQ(blocks, round.blocks());
      CHECK_EQ(bytes, round.payload_bytes());
    }
  }
}

TEST("pieces of any length hash to the upload's digest") {
  const Plan plan = make_plan(10, 16);
  const scheme::SecretKey key = make_key(plan);
  const Round round = make_round(plan, key, 12 * plan.block_capacity() + 5);  // 2.3 pieces
  const scheme::Upload upload = make_upload(round, 3);
  const ByteView blocks = upload.blocks();
  for (const std::size_t part : {1u, 63u, 64u, 4096u, 65535u, 65536u, 65537u, 1u << 20}) {
    Bytes digests(32 * scheme::digest_pieces(blocks.size()));
    scheme::PieceHasher hasher(digests);
    for (std::size_t at = 0; at < blocks.size(); at += part) {
      hasher.update(blocks.subspan(at, std::min(part, blocks.size() - at)));
    }
    hasher.finish();
    scheme::BlocksDigest digest;
    digest.append(ByteView(digests).first(32));
    digest.append(ByteView(digests).subspan(32));
    CHECK(digest.finish() == upload.blocks_digest(1));
  }
}

}  // namespace
}  // namespace veilsum::test
