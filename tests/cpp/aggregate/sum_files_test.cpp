// Layer: tests (aggregate). Sums from files to a file: the bytes of the sum in memory, in every
// ring; every damage refused with nothing written; interrupted anywhere and continued it gives the
// same bytes; more files than a process may hold open.
#include "aggregate/sum_files.h"

#include <sys/resource.h>

#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>

#include "aggregate/aggregate.h"
#include "check.h"
#include "scheme/aggregate_file.h"
#include "scheme/blocks_digest.h"
#include "support/active_level.h"
#include "support/child.h"
#include "support/committees.h"
#include "support/envelopes.h"
#include "support/rounds.h"
#include "support/signatures.h"
#include "support/temporary_folder.h"
#include "veilsum/errors.h"

namespace veilsum::test {
namespace {

using aggregate::Aggregate;
using aggregate::FileSumOptions;
using aggregate::sum_files;
using aggregate::weighted_sum;
using scheme::AggregateFile;
using scheme::Plan;
using scheme::Round;
using scheme::SecretKey;
using scheme::Spans;
using scheme::Upload;

std::string text_of(const Bytes& bytes) { return {bytes.begin(), bytes.end()}; }

/// Uploads in memory and in files.
struct Stage {
  Round round;
  FakeVerifier verifier;
  std::vector<Upload> uploads;
  std::vector<std::string> paths;
  TemporaryFolder folder;

  Stage(const Round& of, std::size_t count) : round(of) {
    for (std::size_t k = 0; k < count; ++k) {
      uploads.push_back(round.has_roster()
                            ? make_signed_upload(round, k + 1, static_cast<std::uint32_t>(k))
                            : make_upload(round, k + 1));
      paths.push_back(folder / ("upload-" + std::to_string(k)));
      uploads.back().save(paths.back());
    }
  }
  Bytes expected(const std::vector<std::uint64_t>& weights = {}) {
    std::vector<const Upload*> all;
    for (const Upload& upload : uploads) all.push_back(&upload);
    return weighted_sum(round, all, weights, &verifier, 1).to_bytes();
  }
  void sum(const FileSumOptions& options = {}, const std::vector<std::uint64_t>& weights = {}) {
    sum_files(round, paths, weights, &verifier, folder / "total", options);
  }
  std::string total() const { return contents_of(folder / "total"); }
};

Round round_of(const Plan& plan, const SecretKey& key, std::uint64_t size, std::size_t roster = 0,
               std::uint64_t upload_keys = 0) {
  scheme::RoundFields fields = fields_of({{size, 1.0}}, upload_keys);
  if (roster != 0) fields.roster = fake_roster(roster);
  return make_round(plan, key, fields);
}

TEST("the bytes of the sum in memory, in every ring, weighted and not, on every level") {
  for (const Plan& plan : plans_of_every_ring()) {
    const SecretKey key = make_key();
    for (const std::size_t roster : {0u, 3u}) {
      Stage stage(round_of(plan, key, 9 * plan.block_capacity() + 100, roster, roster + 2), 3);
      std::vector<std::uint64_t> weights = {1, 1, 1};
      if (plan.weight_bits() != 0) weights = {1, plan.max_weight() - 3, 2};
      const std::string expected = text_of(stage.expected(weights));
      on_every_active_level([&] {
        for (const int threads : {1, 3}) {
          FileSumOptions options;
          options.threads = threads;
          options.resume = threads == 3;
          stage.sum(options, weights);
          CHECK(stage.total() == expected);
        }
      });
      const AggregateFile file(stage.folder / "total", stage.round);
      file.verify(2);
      CHECK(file.manifest().digest() ==
            Aggregate::from_bytes(stage.expected(weights), stage.round).manifest().digest());
      CHECK_EQ(stage.folder.names().size(), 4u);
    }
  }
}

TEST("as many uploads as take several batches, with few files open at a time") {
  const Plan plan = make_plan(300, 8);
  const SecretKey key = make_key();
  for (const std::size_t count : {15u, 16u, 17u, 33u, 200u}) {
    Stage stage(make_round(plan, key, 3 * plan.block_capacity()), count);
    const std::string expected = text_of(stage.expected());
    const Ending ending = run_child([&] {
      const rlimit limit{160, 160};
      if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) return 2;
      FileSumOptions options;
      options.threads = 2;
      stage.sum(options);
      return 0;
    });
    CHECK_EQ(ending.exit_status, 0);
    CHECK(stage.total() == expected);
  }
}

TEST("several batches over whole spans and a last part of one, signed and not") {
  const Plan plan = make_plan(40, 16);
  const SecretKey key = make_key();
  for (const std::size_t roster : {0u, 5u}) {
    // Forty threads keep one signed upload each, a single one all of them.
    const std::size_t count = roster != 0 ? roster : 18;
    const std::uint64_t a_span = Spans(make_round(plan, key, 1)).blocks_per_span();
    const std::uint64_t blocks = roster != 0 ? 2 * a_span + 77 : a_span + 5;
    Stage stage(round_of(plan, key, blocks * plan.block_capacity() - 9, roster, 3), count);
    const std::string expected = text_of(stage.expected());
    FileSumOptions options;
    for (const int threads : {1, 2, 40}) {
      options.threads = threads;
      stage.sum(options);
      CHECK(stage.total() == expected);
    }
    if (roster == 0) continue;
    const Bytes good = stage.uploads[3].to_bytes();
    const std::size_t head =
        scheme::upload_head_bytes(stage.round, scheme::SignatureKind::kEd25519);
    for (const std::size_t place :
         {std::size_t{0}, Spans(stage.round).bytes_per_span(), good.size() - head - 5}) {
      Bytes bytes = good;
      bytes[head + place] ^= 1;
      repair_checksum(bytes);
      put_contents(stage.paths[3], text_of(bytes));
      for (const int threads : {1, 40}) {
        options.threads = threads;
        CHECK_THROWS(stage.sum(options), VeilsumError);
        CHECK(stage.total() == expected);
        CHECK_EQ(stage.folder.names().size(), 6u);
      }
    }
  }
}

TEST("any damage is refused, names the file, and leaves the old output") {
  const Plan plan = make_plan(10, 16);
  const SecretKey key = make_key();
  for (const std::size_t roster : {0u, 3u}) {
    Stage stage(round_of(plan, key, 200 * plan.block_capacity(), roster, 2), 3);
    put_contents(stage.folder / "total", "old");
    const Bytes good = stage.uploads[1].to_bytes();
    const std::size_t head = scheme::upload_head_bytes(
        stage.round, roster != 0 ? scheme::SignatureKind::kEd25519 : scheme::SignatureKind::kNone);
    const auto refused = [&](const Bytes& bytes, const char* how) {
      put_contents(stage.paths[1], text_of(bytes));
      for (const bool resume : {false, true}) {
        FileSumOptions options;
        options.resume = resume;
        try {
          stage.sum(options);
          CHECK_EQ(how, "refused");
        } catch (const VeilsumError& error) {
          CHECK(std::string(error.what()).find("upload-1") != std::string::npos);
        }
        CHECK_EQ(stage.total(), "old");
        CHECK_EQ(stage.folder.names().size(), 4u);
      }
    };
    Random random(roster);
    for (int i = 0; i < 12; ++i) {
      Bytes bytes = good;
      bytes[random.below(bytes.size())] ^= static_cast<std::uint8_t>(1u << random.below(8));
      refused(bytes, "one bit");
    }
    Bytes bytes = with_version(good, kFormerVersion);
    refused(bytes, "version 1");
    if (roster != 0) {
      bytes = good;
      bytes[head + good.size() / 2] ^= 1;
      repair_checksum(bytes);
      refused(bytes, "blocks that were not signed");
    }
    for (const std::size_t length : {std::size_t{0}, std::size_t{15}, std::size_t{47}, head,
                                     good.size() / 2, good.size() - 1}) {
      refused(Bytes(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(length)), "truncated");
    }
    bytes = good;
    bytes.push_back(0);
    refused(bytes, "padded");
    refused(stage.uploads[0].to_bytes(), "the same upload twice");
    put_contents(stage.paths[1], text_of(good));
    stage.sum();
    CHECK(stage.total() == text_of(stage.expected()));
  }
}

TEST("interrupted after any portion, the next run gives the same bytes") {
  const Plan plan = make_plan(10, 16);
  const SecretKey key = make_key();
  for (const std::size_t roster : {0u, 2u}) {
    const std::uint64_t a_span = Spans(make_round(plan, key, 1)).values_per_span();
    Stage stage(round_of(plan, key, 40 * a_span + 1, roster, 1), 2);  // 41 spans
    const std::string expected = text_of(stage.expected());
    int runs = 0;
    for (bool done = false; !done; ++runs) {
      int left = runs;
      FileSumOptions options;
      options.resume = true;
      options.threads = 1 + runs % 2;
      options.progress = [&](std::uint64_t, std::uint64_t) {
        if (left-- == 0) throw std::runtime_error("stopped");
      };
      try {
        stage.sum(options);
        done = true;
      } catch (const std::runtime_error& error) {
        if (std::string(error.what()) != "stopped") throw;
        CHECK(stage.total().empty());
      }
      if (runs == 1 && !done) {  // a portion that is damaged meanwhile is made again
        std::string part = contents_of(stage.folder / "total.part");
        part[part.size() / 10] ^= 1;
        put_contents(stage.folder / "total.part", part);
      }
    }
    CHECK_EQ(runs, 4);
    CHECK(stage.total() == expected);
    CHECK_EQ(stage.folder.names().size(), 3u);
  }
}

TEST("a journal is not continued with other uploads") {
  const Plan plan = make_plan(10, 16);
  const SecretKey key = make_key();
  const std::uint64_t a_span = Spans(make_round(plan, key, 1)).values_per_span();
  Stage stage(make_round(plan, key, 17 * a_span), 3);
  FileSumOptions options;
  options.resume = true;
  options.progress = [](std::uint64_t, std::uint64_t) { throw std::runtime_error("stopped"); };
  CHECK_THROWS(stage.sum(options), std::runtime_error);
  options.progress = {};
  const auto other_paths = [&](std::vector<std::string> paths) {
    sum_files(stage.round, paths, {}, nullptr, stage.folder / "total", options);
  };
  CHECK_THROWS_WITH(other_paths({stage.paths[0], stage.paths[2]}), ParameterError,
                    "cannot continue");
  CHECK_THROWS_WITH(other_paths({stage.paths[1], stage.paths[0], stage.paths[2]}), ParameterError,
                    "cannot continue");
  stage.uploads[2].save(stage.paths[2]);  // the same bytes in another file
  CHECK_THROWS_WITH(other_paths(stage.paths), ParameterError, "changed since");
}

TEST("too few, too many weights, no verifier") {
  const Plan plan = make_plan(10, 16);
  const SecretKey key = make_key();
  Stage stage(make_round(plan, key, 20), 2);
  CHECK_THROWS(sum_files(stage.round, {stage.paths[0]}, {}, nullptr, stage.folder / "x", {}),
               RoundError);
  CHECK_THROWS(sum_files(stage.round, {}, {}, nullptr, stage.folder / "x", {}), RoundError);
  CHECK_THROWS(stage.sum({}, {1}), ParameterError);
  CHECK_THROWS(stage.sum({}, {1, 2}), HeadroomError);
  Stage signed_stage(round_of(plan, key, 20, 2), 2);
  CHECK_THROWS(
      sum_files(signed_stage.round, signed_stage.paths, {}, nullptr, signed_stage.folder / "x", {}),
      ParameterError);
  CHECK_EQ(stage.folder.names().size(), 2u);
}

TEST("uploads to a committee: from files and in memory the same bytes, sealed shares and all") {
  for (const bool tagged : {false, true}) {  // with tags no blocks are hashed
    CommitteeShape shape{3, 2, tagged, true};
    shape.size = 9 * make_plan(10, 16).block_capacity() + 100;
    Stage stage(make_committee_round(shape), 3);
    const std::string expected = text_of(stage.expected());
    for (const bool resume : {false, true}) {
      FileSumOptions options;
      options.threads = resume ? 3 : 1;
      options.resume = resume;
      stage.sum(options);
      CHECK(stage.total() == expected);
    }
    const AggregateFile file(stage.folder / "total", stage.round);
    file.verify(2);
    CHECK(file.manifest().has_shares());
    for (std::size_t k = 0; k < 3; ++k) {
      CHECK(*file.manifest().entries()[k].head.shares == *stage.uploads[k].head().shares);
    }
    // A share, or a block, that was changed, its checksum right.
    const std::string good = contents_of(stage.paths[1]);
    const std::size_t head =
        scheme::upload_head_bytes(stage.round, stage.uploads[1].head().signed_by());
    for (const std::size_t at : {head - 9, head - 4000, head + 5}) {
      Bytes bad(good.begin(), good.end());
      bad[at] ^= 1;
      repair_checksum(bad);
      put_contents(stage.paths[1], text_of(bad));
      if (tagged && at > head) {
        stage.sum();  // the tag is what finds it
        CHECK(stage.total() != expected);
        continue;
      }
      put_contents(stage.folder / "total", "old");
      CHECK_THROWS(stage.sum(), VeilsumError);
      CHECK_EQ(stage.total(), "old");
    }
  }
}

}  // namespace
}  // namespace veilsum::test
