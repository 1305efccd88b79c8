// Layer: tests (scheme). Spans cover a round's blocks without gap or overlap and begin on a digest
// piece; hashing them one by one gives the digest of an upload.
#include "scheme/blocks_digest.h"

#include <algorithm>

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

TEST("the pieces of runs of any number of pieces make the upload's digest") {
  const Plan plan = make_plan(10, 16);
  const scheme::SecretKey key = make_key(plan);
  const Round round = make_round(plan, key, 150 * plan.block_capacity() + 5);  // 29.4 pieces
  const scheme::Upload upload = make_upload(round, 3);
  const ByteView blocks = upload.blocks();
  for (const std::size_t pieces : {1u, 2u, 7u, 16u, 25u, 29u, 30u, 100u}) {
    const std::size_t run = pieces * scheme::kDigestPiece;
    scheme::BlocksDigest digest;
    for (std::size_t at = 0; at < blocks.size(); at += run) {
      digest.append(scheme::piece_digests(blocks.subspan(at, std::min(run, blocks.size() - at))));
    }
    CHECK(digest.finish() == upload.blocks_digest(1));
  }
  CHECK(scheme::piece_digests({}).empty());
}

}  // namespace
}  // namespace veilsum::test
