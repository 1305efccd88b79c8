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

/// Everything that Spans says, against the blocks one by one.
void check_spans(const Round& round) {
  const Plan& plan = round.plan();
  const Spans spans(round);
  const std::size_t full = plan.full_block_bytes();
  CHECK_EQ(spans.block_bytes(), full);
  // The fewest full blocks that are whole pieces.
  CHECK_EQ(spans.bytes_per_span() % scheme::kDigestPiece, 0u);
  for (std::uint64_t fewer = 1; fewer < spans.blocks_per_span(); ++fewer) {
    CHECK(fewer * full % scheme::kDigestPiece != 0);
  }
  std::uint64_t blocks = 0, bytes = 0;
  std::size_t most = 0;
  for (std::uint64_t span = 0; span < spans.count(); ++span) {
    CHECK_EQ(spans.first_block(span), blocks);
    CHECK_EQ(spans.offset(span), bytes);
    CHECK_EQ(spans.offset(span) % scheme::kDigestPiece, 0u);
    CHECK_EQ(spans.first_value(span), blocks * plan.block_capacity());
    CHECK_EQ(spans.bytes_of(spans.first_block(span), spans.blocks(span)), spans.bytes(span));
    std::size_t place = 0;
    for (std::uint64_t i = 0; i < spans.blocks(span); ++i) {
      const std::uint64_t block = blocks + i;
      CHECK_EQ(spans.span_of(block), span);
      CHECK_EQ(spans.offset_of(block), round.block_offset(block));
      CHECK_EQ(spans.place_of(block), place);
      CHECK_EQ(spans.values_before(block), std::min(block * plan.block_capacity(), round.size()));
      place += spans.bytes_of(block, 1);
    }
    CHECK_EQ(place, spans.bytes(span));
    const bool last = span + 1 == spans.count();
    if (!last) CHECK_EQ(spans.blocks(span), spans.blocks_per_span());
    blocks += spans.blocks(span);
    bytes += spans.bytes(span);
    most = std::max(most, spans.bytes(span));
    CHECK_EQ(spans.bytes_of_spans(0, span + 1), bytes);
    CHECK_EQ(spans.bytes_of_spans(span, 1), spans.bytes(span));
    CHECK_EQ(spans.end_value(span),
             last ? round.size() : std::min(blocks * plan.block_capacity(), round.size()));
    // Values in every span, and the check blocks all in the last one.
    CHECK(spans.end_value(span) > spans.first_value(span));
    if (last) CHECK(spans.first_block(span) < round.value_blocks());
  }
  CHECK_EQ(blocks, round.blocks());
  CHECK_EQ(bytes, round.payload_bytes());
  CHECK_EQ(spans.most_bytes(), most);
}

TEST("spans of every ring, for any number of keys; the last one has the check blocks") {
  const scheme::SecretKey key = make_key();
  for (const Plan& plan : plans_of_every_ring()) {
    const std::uint64_t capacity = plan.block_capacity();
    const std::uint64_t a_span = Spans(make_round(plan, key, 1)).values_per_span();
    CHECK_EQ(a_span % capacity, 0u);
    for (const std::uint64_t keys : {1u, 2u, 3u, 7u, 8u, 256u}) {
      for (const std::uint64_t size : {std::uint64_t{1}, capacity, a_span - 1, a_span, a_span + 1,
                                       2 * a_span, 300 * capacity + 17}) {
        check_spans(make_round(plan, key, fields_of({{size, 1.0}}, keys)));
      }
    }
  }
}

TEST("the pieces of runs of any number of pieces make the upload's digest") {
  const Plan plan = make_plan(10, 16);
  const scheme::SecretKey key = make_key();
  // A short last block before the check blocks: pieces end in the middle of blocks.
  const Round round = make_round(plan, key, fields_of({{150 * plan.block_capacity() + 5, 1.0}}, 3));
  const scheme::Upload upload = make_upload(round, 3);
  const ByteView blocks = upload.blocks();
  CHECK(blocks.size() > 25 * scheme::kDigestPiece && blocks.size() % scheme::kDigestPiece != 0);
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

TEST("span after span gives the upload's digest, for odd numbers of keys too") {
  const scheme::SecretKey key = make_key();
  for (const std::uint64_t keys : {1u, 5u, 8u}) {
    const Plan plan = make_plan(10, 16);
    const std::uint64_t a_span = Spans(make_round(plan, key, 1)).values_per_span();
    for (const std::uint64_t size : {a_span, a_span + 1, 2 * a_span + a_span / 3}) {
      const Round round = make_round(plan, key, fields_of({{size, 1.0}}, keys));
      const scheme::Upload upload = make_upload(round, keys);
      const Spans spans(round);
      scheme::BlocksDigest digest;
      for (std::uint64_t span = 0; span < spans.count(); ++span) {
        digest.append(scheme::piece_digests(upload.blocks().subspan(
            static_cast<std::size_t>(spans.offset(span)), spans.bytes(span))));
      }
      CHECK(digest.finish() == upload.blocks_digest(2));
    }
  }
}

}  // namespace
}  // namespace veilsum::test
