// Layer: tests (aggregate). Sums of an engine whose uploads are named by their blocks: every way to
// a sum gives the integers' sum, in the same bytes; blocks that were altered on the way are refused
// although nobody signed them, and taken back exactly; the key holder is shown the uploads.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "aggregate/accumulator.h"
#include "aggregate/aggregate.h"
#include "aggregate/sum_files.h"
#include "check.h"
#include "scheme/aggregate_file.h"
#include "support/damage.h"
#include "support/envelopes.h"
#include "support/signatures.h"
#include "support/temporary_folder.h"
#include "support/toy_engine.h"
#include "veilsum/errors.h"

namespace veilsum::test {
namespace {

using aggregate::Accumulator;
using aggregate::Aggregate;
using aggregate::FileSumOptions;
using aggregate::sum_files;
using aggregate::weighted_sum;
using scheme::Round;
using scheme::SecretKey;
using scheme::Upload;
using Kind = scheme::Evidence::Kind;

Bytes copy_of(ByteView view) { return {view.begin(), view.end()}; }

std::string text_of(const Bytes& bytes) { return {bytes.begin(), bytes.end()}; }

std::vector<const Upload*> pointers_to(std::span<const Upload> uploads) {
  std::vector<const Upload*> out;
  for (const Upload& upload : uploads) out.push_back(&upload);
  return out;
}

std::vector<ByteView> blocks_of(std::span<const Upload> uploads) {
  std::vector<ByteView> out;
  for (const Upload& upload : uploads) out.push_back(upload.blocks());
  return out;
}

/// A round with uploads, in memory and in files, signed where there is a roster.
struct Stage {
  ToyShape shape;
  SecretKey key = make_toy_key();
  Round round;
  FakeVerifier verifier;
  std::vector<Upload> uploads;
  std::vector<std::string> paths;
  TemporaryFolder folder;

  Stage(const ToyShape& its_shape, std::uint64_t size, std::size_t count, std::size_t roster = 0)
      : shape(its_shape), round(make(size, roster)), uploads(make_toy_uploads(round, count)) {
    for (std::size_t k = 0; k < count; ++k) {
      if (roster != 0) sign(round, uploads[k], static_cast<std::uint32_t>(k));
      paths.push_back(folder / ("upload-" + std::to_string(k)));
      uploads[k].save(paths[k]);
    }
  }
  Round make(std::uint64_t size, std::size_t roster) {
    scheme::RoundFields fields = fields_of({{size, 1.0}});
    fields.roster = fake_roster(roster);
    return make_toy_round(shape, key, fields);
  }
  Aggregate sum(std::size_t count, const std::vector<std::uint64_t>& weights = {}) {
    return weighted_sum(round, pointers_to(std::span(uploads).first(count)), weights, &verifier, 1);
  }
  /// In integers.
  Bytes expected(std::size_t count, std::vector<std::uint64_t> weights = {}) {
    if (weights.empty()) weights.assign(count, 1);
    return toy_sum(round, toy_moduli()[shape.moduli], shape.row_words,
                   blocks_of(std::span(uploads).first(count)), weights);
  }
};

/// Three spans and some, of blocks of 160 bytes.
constexpr std::uint64_t kSpans = 3 * 2048 * 7 + 50;

TEST("every way to a sum gives that of the integers, in the same bytes") {
  for (const std::size_t roster : {0u, 8u}) {
    ToyShape shape;
    shape.weight_bits = 10;
    for (const std::uint64_t size : {std::uint64_t{1}, std::uint64_t{100}, kSpans}) {
      Stage stage(shape, size, 5, roster);
      for (const std::vector<std::uint64_t>& weights :
           {std::vector<std::uint64_t>{1, 1, 1, 1, 1},
            std::vector<std::uint64_t>{3, 1, 10 * 1024 - 20, 9, 7}}) {  // the maximum
        const Aggregate total = stage.sum(5, weights);
        CHECK(copy_of(total.blocks()) == stage.expected(5, weights));
        const Bytes bytes = total.to_bytes();
        CHECK_EQ(total.wire_bytes(), bytes.size());
        for (const int threads : {1, 3}) {
          Accumulator accumulator(stage.round, &stage.verifier);
          for (std::size_t k = 0; k < 5; ++k) {
            switch (k % 3) {
              case 0:
                accumulator.add(stage.uploads[k], weights[k], threads);
                break;
              case 1:
                accumulator.add_file(stage.paths[k], weights[k], threads);
                break;
              default: {
                const Bytes pieces = stage.uploads[k].to_bytes();
                const auto incoming = accumulator.receive(pieces.size(), stage.folder.path());
                incoming->write(pieces.size() / 2, ByteView(pieces).subspan(pieces.size() / 2));
                incoming->write(0, ByteView(pieces).first(pieces.size() / 2));
                incoming->finish(weights[k], threads);
              }
            }
          }
          CHECK(accumulator.finish().to_bytes() == bytes);
          FileSumOptions options;
          options.threads = threads;
          sum_files(stage.round, stage.paths, weights, &stage.verifier, stage.folder / "total",
                    options);
          CHECK(contents_of(stage.folder / "total") == text_of(bytes));
        }
      }
    }
  }
}

TEST("more uploads than are added at once, by way of files and in memory") {
  ToyShape shape;
  shape.clients = 300;
  shape.weight_bits = 3;
  Stage stage(shape, 500, 131);
  std::vector<std::uint64_t> weights;
  for (std::uint64_t k = 0; k < 131; ++k) weights.push_back(1 + k * k % 8);
  const Aggregate total = stage.sum(131, weights);
  CHECK(copy_of(total.blocks()) == stage.expected(131, weights));
  sum_files(stage.round, stage.paths, weights, nullptr, stage.folder / "total", {});
  CHECK(contents_of(stage.folder / "total") == text_of(total.to_bytes()));
  CHECK_EQ(total.manifest().entries().size(), 131u);
}

TEST("blocks altered on the way are refused although nobody signed them, and taken back") {
  for (const std::size_t roster : {0u, 4u}) {
    for (const std::uint64_t size : {std::uint64_t{30}, kSpans}) {
      ToyShape shape;
      shape.weight_bits = 4;
      Stage stage(shape, size, 3, roster);
      const std::vector<std::uint64_t> weights = {5, 11};
      const Bytes expected = stage.sum(2, weights).to_bytes();
      const Bytes good = stage.uploads[2].to_bytes();
      const std::size_t head =
          scheme::upload_head_bytes(stage.round, roster != 0 ? scheme::SignatureKind::kEd25519
                                                             : scheme::SignatureKind::kNone);
      const auto word_at = [&](const Bytes& bytes, std::size_t at) {
        std::uint64_t word = 0;
        std::memcpy(&word, bytes.data() + at, 8);
        return word;
      };
      std::vector<Bytes> altered;
      for (const std::size_t at :
           {head, head + (good.size() - head) / 2, good.size() - 5, good.size() - 12}) {
        altered.push_back(good);
        altered.back()[at] ^= 1;
      }
      // The same residue, written as another word: row 1 of a block is modulo 2.
      altered.push_back(good);
      const std::size_t row = head + std::size_t{8} * shape.row_words;
      const std::uint64_t same = word_at(good, row) ^ 2;
      std::memcpy(altered.back().data() + row, &same, 8);
      // Another upload's blocks, and the head's digest changed instead.
      altered.push_back(good);
      std::copy(stage.uploads[0].blocks().begin(), stage.uploads[0].blocks().end(),
                altered.back().begin() + static_cast<std::ptrdiff_t>(head));
      altered.push_back(good);
      altered.back()[head - 8 - 1] ^= 0x80;
      for (Bytes& bytes : altered) {
        repair_checksum(bytes);
        const std::string path = stage.folder / "altered";
        put_contents(path, text_of(bytes));
        for (const std::size_t before : {std::size_t{0}, std::size_t{1}, std::size_t{2}}) {
          Accumulator accumulator(stage.round, &stage.verifier);
          const auto refuse = [&] {
            const std::uint64_t count = accumulator.count();
            CHECK_THROWS(accumulator.add_file(path, 7, 2), RoundError);
            const auto incoming = accumulator.receive(bytes.size(), stage.folder.path());
            incoming->write(0, bytes);
            CHECK_THROWS(incoming->finish(7, 2), RoundError);
            const Upload read = Upload::from_bytes(bytes, stage.round);
            CHECK_THROWS(accumulator.add(read, 7, 1), RoundError);
            CHECK_EQ(accumulator.count(), count);
          };
          for (std::size_t k = 0; k < 2; ++k) {
            if (k == before) refuse();
            accumulator.add(stage.uploads[k], weights[k], 1);
          }
          if (before == 2) refuse();
          CHECK(accumulator.finish().to_bytes() == expected);
        }
        const Upload read = Upload::from_bytes(bytes, stage.round);
        const std::vector<const Upload*> uploads = {&stage.uploads[0], &read};
        CHECK_THROWS(weighted_sum(stage.round, uploads, {}, &stage.verifier, 1), RoundError);
        put_contents(stage.folder / "total", "old");
        for (const bool resume : {false, true}) {
          FileSumOptions options;
          options.resume = resume;
          CHECK_THROWS_WITH(sum_files(stage.round, {stage.paths[0], path, stage.paths[1]}, {},
                                      &stage.verifier, stage.folder / "total", options),
                            RoundError, "altered: ");
        }
        CHECK_EQ(contents_of(stage.folder / "total"), "old");
      }
      // Whole, it still counts afterwards.
      Accumulator accumulator(stage.round, &stage.verifier);
      CHECK_THROWS(accumulator.add_file(stage.folder / "altered", 1, 1), RoundError);
      accumulator.add_file(stage.paths[2], 1, 1);
      accumulator.add(stage.uploads[0], 2, 1);
      CHECK(copy_of(accumulator.finish().blocks()) ==
            toy_sum(stage.round, toy_moduli()[0], shape.row_words,
                    {stage.uploads[2].blocks(), stage.uploads[0].blocks()}, {1, 2}));
    }
  }
}

TEST("a checksum that is wrong is told as damage, and taken back too") {
  Stage stage({}, kSpans, 3);
  Bytes bytes = stage.uploads[2].to_bytes();
  bytes[bytes.size() - 5] ^= 1;
  put_contents(stage.folder / "damaged", text_of(bytes));
  Accumulator accumulator(stage.round, nullptr);
  accumulator.add(stage.uploads[0], 1, 1);
  CHECK_THROWS_WITH(accumulator.add_file(stage.folder / "damaged", 1, 2), WireFormatError,
                    "checksum");
  accumulator.add(stage.uploads[1], 1, 1);
  CHECK(accumulator.finish().to_bytes() == stage.sum(2).to_bytes());
}

TEST("a sum of files that is interrupted anywhere continues to the same bytes") {
  struct Stop {};
  ToyShape shape;
  shape.row_words = 16;  // blocks of 512 bytes: spans of 64 KiB
  Stage stage(shape, 60 * 128 * 7, 3);
  const std::string expected = text_of(stage.sum(3).to_bytes());
  for (const int stop_at : {1, 2, 3}) {
    FileSumOptions options;
    options.threads = 2;
    options.resume = true;
    int calls = 0;
    options.progress = [&](std::uint64_t, std::uint64_t) {
      if (++calls == stop_at) throw Stop();
    };
    CHECK_THROWS(sum_files(stage.round, stage.paths, {}, nullptr, stage.folder / "total", options),
                 Stop);
    options.progress = nullptr;
    sum_files(stage.round, stage.paths, {}, nullptr, stage.folder / "total", options);
    CHECK(contents_of(stage.folder / "total") == expected);
  }
}

TEST("an upload counts once, also with another nonce or clip count; another round's never") {
  Stage stage({}, 30, 3);
  Accumulator accumulator(stage.round, nullptr);
  accumulator.add(stage.uploads[0], 1, 1);
  const Upload twin = Upload::of_blocks(stage.round, 3, stage.uploads[0].blocks());
  CHECK(twin.head().nonce != stage.uploads[0].head().nonce);
  CHECK_THROWS_WITH(accumulator.add(twin, 1, 1), RoundError, "counts once");
  const Round other = make_toy_round(stage.key, 30, 2);
  CHECK_THROWS_WITH(accumulator.add(make_toy_upload(other, 2), 1, 1), RoundError,
                    short_hex(other.id()));
  CHECK_THROWS_WITH(accumulator.add(stage.uploads[1], 2, 1), HeadroomError, "unit weights");
  CHECK_THROWS_WITH(accumulator.finish(), RoundError, "at least 2");
  accumulator.add(stage.uploads[1], 1, 1);
  CHECK_EQ(accumulator.finish().manifest().entries().size(), 2u);
}

TEST("uploads of another engine's size are told apart before anything is read") {
  Stage stage({}, 30, 1);
  const scheme::Plan plan = make_plan(10, 16);
  const Round native = make_round(plan, make_key(), 30);
  Accumulator accumulator(stage.round, nullptr);
  CHECK_THROWS(accumulator.receive(make_upload(native, 1).wire_bytes(), stage.folder.path()),
               WireFormatError);
  CHECK_THROWS(
      Accumulator(native, nullptr).receive(stage.uploads[0].wire_bytes(), stage.folder.path()),
      WireFormatError);
  make_upload(native, 1).save(stage.folder / "native");
  CHECK_THROWS_WITH(accumulator.add_file(stage.folder / "native", 1, 1), RoundError,
                    short_hex(native.id()));
}

TEST("an aggregate's bytes, in memory and in a file, and what is left when they are damaged") {
  for (const std::size_t roster : {0u, 3u}) {
    Stage stage({}, 100, 3, roster);
    const Aggregate total = stage.sum(3);
    ByteWriter out;
    out.raw(stage.round.id());
    out.u32(3);
    for (const Upload& upload : stage.uploads) {
      out.u64(1);
      scheme::write_head(out, upload.head());
    }
    out.u64(stage.round.payload_bytes());
    out.raw(stage.expected(3));
    const Bytes bytes = total.to_bytes();
    CHECK_EQ(bytes, envelope_of(6, out.bytes()));
    const Aggregate again = Aggregate::from_bytes(bytes, stage.round);
    CHECK(again.to_bytes() == bytes);
    CHECK(again.blocks_digest(1) == total.blocks_digest(2));
    total.save(stage.folder / "total");
    const scheme::AggregateFile file(stage.folder / "total", stage.round);
    file.verify(2);
    CHECK(file.manifest().digest() == total.manifest().digest());
    CHECK_EQ(file.wire_bytes(), bytes.size());
    CHECK_EQ(file.blocks_offset(), bytes.size() - 4 - stage.round.payload_bytes());
    const auto read = [&](const Bytes& damaged) {
      return Aggregate::from_bytes(damaged, stage.round).to_bytes();
    };
    flip_every_byte(bytes, read, 200, 7);
    cut_everywhere(bytes, read, 13);
  }
}

TEST("the key holder is shown the uploads, in the order of the sum, and nothing less") {
  Stage stage({}, 30, 4);
  const Aggregate total = stage.sum(3);
  const std::vector<const Upload*> all = pointers_to(stage.uploads);
  const auto request_of = [&](const std::vector<const Upload*>& uploads) {
    return total.opening_request(uploads, 1);
  };
  CHECK_THROWS_WITH(request_of({}), RoundError, "pass them, in the order of the sum");
  CHECK_THROWS_WITH(request_of({all[0], all[1]}), RoundError, "2 uploads are not the 3");
  CHECK_THROWS_WITH(request_of({all[0], all[1], all[2], all[3]}), RoundError, "in its order");
  CHECK_THROWS_WITH(request_of({all[0], all[2], all[1]}), RoundError, "in its order");
  CHECK_THROWS_WITH(request_of({all[0], all[1], all[3]}), RoundError, "in its order");
  CHECK_THROWS_WITH(request_of({all[0], all[1], all[1]}), RoundError, "in its order");
  const Round other = make_toy_round(stage.key, 30, 2);
  const Upload elsewhere = Upload::of_blocks(other, 0, stage.uploads[2].blocks());
  CHECK_THROWS_WITH(request_of({all[0], all[1], &elsewhere}), RoundError, "in its order");

  const scheme::OpeningRequest request = request_of({all[0], all[1], all[2]});
  CHECK(request.evidence.kind == Kind::kUploads);
  CHECK(request.evidence.blocks_digest == total.blocks_digest(1));
  CHECK_EQ(request.evidence.blocks.size(), 3u);
  // What is shown is what the uploads have, not a copy of it.
  CHECK(request.evidence.blocks[1]->data() == stage.uploads[1].blocks().data());
  const ToyBlockOpener opener;
  const scheme::OpeningRequest arrived =
      scheme::OpeningRequest::from_bytes(request.to_bytes(), stage.round);
  const scheme::SumKey key = scheme::open_sum(stage.key, arrived, opener, nullptr, 2);
  CHECK(copy_of(key.body()) == ToyBlockOpener::body(stage.key.secret(), total.blocks(), 1));
  scheme::check_sum_key(key, total.manifest());
  // Without evidence it is still a request: of a kind that this key holder refuses.
  CHECK(total.opening_request(1).evidence.kind == Kind::kNone);
  CHECK_THROWS_WITH(scheme::open_sum(stage.key, total.opening_request(1), opener, nullptr, 1),
                    RoundError, "without the uploads");
}

TEST("uploads whose blocks are not those of the sum are shown in vain") {
  Stage stage({}, 30, 3);
  const Aggregate total = stage.sum(3);
  // An upload that says it is the third, with other blocks: as it may come from bytes.
  Bytes bytes = stage.uploads[2].to_bytes();
  bytes[bytes.size() - 5] ^= 1;
  repair_checksum(bytes);
  const Upload altered = Upload::from_bytes(bytes, stage.round);
  const std::vector<const Upload*> uploads = {&stage.uploads[0], &stage.uploads[1], &altered};
  const ToyBlockOpener opener;
  CHECK_THROWS_WITH(
      scheme::open_sum(stage.key, total.opening_request(uploads, 1), opener, nullptr, 1),
      RoundError, "not the ones its head names");
  // An aggregate whose blocks are another sum's.
  Bytes falsified = total.to_bytes();
  falsified[falsified.size() - 5] ^= 1;
  repair_checksum(falsified);
  const Aggregate lie = Aggregate::from_bytes(falsified, stage.round);
  CHECK_THROWS_WITH(scheme::open_sum(stage.key, lie.opening_request(pointers_to(stage.uploads), 1),
                                     opener, nullptr, 1),
                    RoundError, "not the sum of its uploads");
  CHECK_EQ(opener.calls.load(), 0);
}

TEST(
    "a round that trusts its aggregator shows the aggregate, or the uploads where they are given") {
  const SecretKey key = make_toy_key();
  scheme::RoundFields fields = fields_of({{30, 1.0}});
  fields.trust_aggregator = true;
  const Round round = make_toy_round({}, key, fields);
  const std::vector<Upload> uploads = make_toy_uploads(round, 3);
  const Aggregate total = weighted_sum(round, pointers_to(uploads), {}, nullptr, 1);
  const scheme::OpeningRequest shown = total.opening_request({}, 1),
                               whole = total.opening_request(pointers_to(uploads), 1);
  CHECK(shown.evidence.kind == Kind::kAggregate);
  CHECK(whole.evidence.kind == Kind::kUploads);
  CHECK_EQ(shown.evidence.blocks.size(), 1u);
  CHECK(shown.evidence.blocks[0]->data() == total.blocks().data());
  const ToyBlockOpener opener;
  const scheme::SumKey first = scheme::open_sum(key, shown, opener, nullptr, 1);
  const scheme::SumKey second = scheme::open_sum(key, whole, opener, nullptr, 1);
  CHECK(copy_of(first.body()) == copy_of(second.body()));
  CHECK_EQ(opener.calls.load(), 1);
}

TEST("the native engine's key holder takes no uploads") {
  const SecretKey key = make_key();
  const Round round = make_round(make_plan(10, 16), key, 10);
  const Upload one = make_upload(round, 1), two = make_upload(round, 2);
  const std::vector<const Upload*> uploads = {&one, &two};
  const Aggregate total = weighted_sum(round, uploads, {}, nullptr, 1);
  CHECK_THROWS_WITH(total.opening_request(uploads, 1), ParameterError, "takes no uploads");
  CHECK_THROWS_WITH(total.opening_request({}, 1), ParameterError, "takes no uploads");
  CHECK(total.opening_request(1).evidence.kind == Kind::kNone);
}

}  // namespace
}  // namespace veilsum::test
