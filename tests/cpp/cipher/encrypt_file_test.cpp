// Layer: tests (cipher). Encryption from file to file: the bytes of encryption in memory, in every
// ring, on every level, with any number of threads; interrupted anywhere and continued it gives the
// same bytes; and it is never continued on other data.
#include "cipher/encrypt_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <filesystem>
#include <limits>
#include <optional>
#include <stdexcept>
#include <string>

#include "check.h"
#include "scheme/blocks_digest.h"
#include "scheme/journal.h"
#include "scheme/portions.h"
#include "support/active_level.h"
#include "support/ledgers.h"
#include "support/rounds.h"
#include "support/signatures.h"
#include "support/temporary_folder.h"
#include "support/value_files.h"
#include "veilsum/errors.h"

namespace veilsum::test {
namespace {

using cipher::EncryptOptions;
using cipher::FilePiece;
using cipher::FileSigner;
using scheme::Plan;
using scheme::Round;
using scheme::SecretKey;

std::string text_of(const Bytes& bytes) { return {bytes.begin(), bytes.end()}; }

const std::vector<ElementType> kAllTypes = {ElementType::kFloat32, ElementType::kFloat64,
                                            ElementType::kFloat16, ElementType::kBfloat16};

/// Segments that begin and end in the middle of digits, blocks and spans, and one without values.
scheme::RoundFields uneven(std::uint64_t size) {
  return fields_of({{size / 3 + 1, 1.0}, {7, 0.5}, {0, 1.0}, {size / 2, 2.0}, {1, 1e-3}});
}

struct Stopped : std::runtime_error {
  Stopped() : std::runtime_error("stopped") {}
};

TEST("the bytes are those of encryption in memory: rings, levels, threads, rounding, signature") {
  std::uint64_t upload_keys = 1;
  for (const Plan& plan : plans_of_every_ring()) {
    const SecretKey key = make_key();
    for (const bool roster : {false, true}) {
      scheme::RoundFields wanted = uneven(5 * plan.block_capacity());
      wanted.upload_keys = upload_keys++ % 4 + 1;
      if (roster) wanted.roster = mixed_roster(3);  // client 1 signs with two keys
      const Round round = make_round(plan, key, wanted);
      const std::vector<Tensor> update = random_update(round, 5, kAllTypes);
      EncryptOptions options;
      options.weight = 0.7;
      if (roster) options.client = 1;
      options.rounding = roster ? cipher::Rounding::kStochastic : cipher::Rounding::kNearest;
      scheme::Upload upload =
          cipher::encrypt_with_seeds(round, pieces_of(update), options, kSealer, seeds_of(40));
      if (roster) sign(round, upload, 1);
      std::optional<FileSigner> signer;
      if (roster) {
        signer = FileSigner{
            1, [&](ByteView payload) { return fake_signature(round.roster()[1], payload); }};
      }
      const TemporaryFolder folder;
      const std::vector<FilePiece> pieces = write_update(folder / "in", update);
      on_every_active_level([&] {
        for (const int threads : {1, 3}) {
          for (const bool resume : {false, true}) {
            options.threads = threads;
            const cipher::FileUpload made = cipher::encrypt_file_with_seeds(
                round, pieces, folder / "out", options, kSealer, resume, signer, seeds_of(40));
            CHECK(contents_of(folder / "out") == text_of(upload.to_bytes()));
            CHECK_EQ(made.bytes, upload.wire_bytes());
            CHECK_EQ(made.clipped, upload.head().clipped);
            CHECK(made.digest == upload.head().digest());
            CHECK_EQ(folder.names().size(), 2u);
          }
        }
      });
    }
  }
}

TEST("spans, steps and keys that do not divide each other: the bytes are those of memory") {
  const Plan plan = make_plan(10, 16);
  const SecretKey key = make_key();
  const std::uint64_t a_span = scheme::Spans(make_round(plan, key, 1)).values_per_span();
  for (const std::uint64_t upload_keys : {1u, 3u, 8u}) {
    for (const std::uint64_t size : {a_span, a_span + 1, 2 * a_span - 4096 * 3 + 5}) {
      scheme::RoundFields fields = uneven(size);
      fields.segments = {{7, 1.0}, {size - 7, 0.5}};
      fields.upload_keys = upload_keys;
      fields.roster = fake_roster(2);
      const Round round = make_round(plan, key, fields);
      const std::vector<Tensor> update = random_update(round, 6, {ElementType::kFloat16});
      EncryptOptions in_memory;
      in_memory.client = 0;
      scheme::Upload upload =
          cipher::encrypt_with_seeds(round, pieces_of(update), in_memory, kSealer, seeds_of(50));
      sign(round, upload, 0);
      const std::optional<FileSigner> signer = FileSigner{
          0, [&](ByteView payload) { return fake_signature(round.roster()[0], payload); }};
      const TemporaryFolder folder;
      const std::vector<FilePiece> pieces = write_update(folder / "in", update);
      for (const bool told : {false, true}) {
        EncryptOptions options;
        options.threads = 2;
        std::uint64_t done = 0;
        if (told) {
          options.progress = [&](std::uint64_t so_far, std::uint64_t total) {
            CHECK(so_far > done && total == size);
            done = so_far;
          };
        }
        cipher::encrypt_file_with_seeds(round, pieces, folder / "out", options, kSealer, false,
                                        signer, seeds_of(50));
        CHECK(contents_of(folder / "out") == text_of(upload.to_bytes()));
        if (told) CHECK_EQ(done, size);
      }
    }
  }
}

TEST("a sealer that fails leaves no file; a journal that was kept goes on to the same upload") {
  class Failing final : public scheme::Sealer {
    Bytes seal(ByteView, ByteView, ByteView) const override {
      throw std::runtime_error("no sealing today");
    }
  };
  const Plan plan = make_plan(10, 16);
  const SecretKey key = make_key();
  const Round round = make_round(plan, key, 5000);
  const std::vector<Tensor> update = random_update(round, 1, {ElementType::kFloat32});
  const scheme::Upload upload =
      cipher::encrypt_with_seeds(round, pieces_of(update), {}, kSealer, seeds_of(1));
  const TemporaryFolder folder;
  const std::vector<FilePiece> pieces = write_update(folder / "in", update);
  CHECK_THROWS_WITH(cipher::encrypt_file_with_seeds(round, pieces, folder / "out", {}, Failing(),
                                                    false, {}, seeds_of(1)),
                    std::runtime_error, "no sealing");
  CHECK_EQ(folder.names().size(), 1u);
  CHECK_THROWS_WITH(cipher::encrypt_file_with_seeds(round, pieces, folder / "out", {}, Failing(),
                                                    true, {}, seeds_of(1)),
                    std::runtime_error, "no sealing");
  CHECK_EQ(folder.names().size(), 3u);
  cipher::encrypt_file(round, pieces, folder / "out", {}, kSealer, true, {});
  CHECK(contents_of(folder / "out") == text_of(upload.to_bytes()));
  CHECK_EQ(folder.names().size(), 2u);
}

/// A round of many spans and portions.
struct Large {
  Plan plan = make_plan(10, 16);
  SecretKey key = make_key();
  Round round = make_round(plan, key, fields_of({{9'000'000, 1.0}, {8'500'001, 0.5}}));
  std::vector<Tensor> update = random_update(round, 9, {ElementType::kFloat32});
  TemporaryFolder folder;
  std::vector<FilePiece> pieces = write_update(folder / "in", update);
  EncryptOptions options;
  std::string expected =
      text_of(cipher::encrypt_with_seeds(round, pieces_of(update), options, kSealer, seeds_of(70))
                  .to_bytes());

  /// Stops after `portions`; false when it came to its end before.
  bool run_and_stop(int portions, std::uint64_t seeds) {
    int left = portions;
    EncryptOptions stopping = options;
    stopping.progress = [&](std::uint64_t, std::uint64_t) {
      if (left-- == 0) throw Stopped();
    };
    try {
      cipher::encrypt_file_with_seeds(round, pieces, folder / "out", stopping, kSealer, true, {},
                                      seeds_of(seeds));
    } catch (const Stopped&) {
      return true;
    }
    return false;
  }
};

TEST(
    "interrupted after any portion, the next run goes on with the first seeds and gives the same "
    "bytes") {
  Large large;
  int stops = 0;
  // Fresh seeds each time: those of the journal must win.
  for (int run = 0; large.run_and_stop(0 + (run > 0 ? run : 0), 70 + 10 * run); ++run) {
    ++stops;
    CHECK(contents_of(large.folder / "out").empty());
    CHECK_EQ(mode_of(large.folder / "out.journal"), 0600u);
    CHECK_EQ(mode_of(large.folder / "out.part"), 0600u);
  }
  CHECK(stops >= 1);
  CHECK(contents_of(large.folder / "out") == large.expected);
  CHECK_EQ(large.folder.names().size(), 2u);
}

TEST("a damaged or missing unfinished file is made again from the same data") {
  for (const bool missing : {false, true}) {
    Large large;
    CHECK(large.run_and_stop(0, 70));
    if (missing) {
      CHECK(std::remove((large.folder / "out.part").c_str()) == 0);
    } else {
      std::string part = contents_of(large.folder / "out.part");
      part[100'000] ^= 1;
      put_contents(large.folder / "out.part", part);
    }
    CHECK(!large.run_and_stop(1000, 99));
    CHECK(contents_of(large.folder / "out") == large.expected);
  }
}

TEST("other data are never encrypted with the seeds of a journal") {
  Large large;
  CHECK(large.run_and_stop(0, 70));
  const std::string journal = contents_of(large.folder / "out.journal");
  const std::string part = contents_of(large.folder / "out.part");
  // Another file, or the same one with another time: refused by its identity.
  const std::vector<FilePiece> original = large.pieces;
  std::string input = contents_of(large.folder / "in");
  put_contents(large.folder / "other", input);
  for (FilePiece& piece : large.pieces) {
    piece.file = std::make_shared<const InputFile>(large.folder / "other");
  }
  CHECK_THROWS_WITH(large.run_and_stop(1000, 99), ParameterError, "another file");
  // The same identity, other bytes, and the finished spans lost: refused by the digest.
  large.pieces = original;
  std::string broken = part;
  broken[100'000] ^= 1;
  put_contents(large.folder / "out.part", broken);
  struct stat status{};
  CHECK(::stat((large.folder / "in").c_str(), &status) == 0);
  {
    std::FILE* file = std::fopen((large.folder / "in").c_str(), "r+b");
    const auto at = static_cast<long>(large.pieces[0].offset);
    std::fseek(file, at, SEEK_SET);
    const float other = 0.25f;
    std::fwrite(&other, sizeof other, 1, file);
    std::fclose(file);
  }
  const timespec times[2] = {status.st_atim, status.st_mtim};
  CHECK(::utimensat(AT_FDCWD, (large.folder / "in").c_str(), times, 0) == 0);
  CHECK_THROWS_WITH(large.run_and_stop(1000, 99), ParameterError, "give both away");
  // Nothing was written over, and the journal stands.
  CHECK(contents_of(large.folder / "out.part") == broken);
  CHECK(contents_of(large.folder / "out.journal") == journal);
  CHECK(contents_of(large.folder / "out").empty());
}

TEST("a journal copied to another name gives no second upload under its seeds") {
  Large large;
  CHECK(large.run_and_stop(0, 70));
  for (const std::string end : {".journal", ".part"}) {
    std::filesystem::copy_file(large.folder / "out" + end, large.folder / "second" + end);
  }
  CHECK(!large.run_and_stop(1000, 99));
  CHECK(contents_of(large.folder / "out") == large.expected);
  // The input edited where the first run had not been yet, and its time put back.
  struct stat status{};
  CHECK(::stat((large.folder / "in").c_str(), &status) == 0);
  ::usleep(20'000);
  {
    std::FILE* file = std::fopen((large.folder / "in").c_str(), "r+b");
    std::fseek(file, -4, SEEK_END);
    const float other = 0.25f;
    std::fwrite(&other, sizeof other, 1, file);
    std::fclose(file);
  }
  const timespec times[2] = {status.st_atim, status.st_mtim};
  CHECK(::utimensat(AT_FDCWD, (large.folder / "in").c_str(), times, 0) == 0);
  for (const bool reopened : {false, true}) {
    if (reopened) {
      for (FilePiece& piece : large.pieces) {
        piece.file = std::make_shared<const InputFile>(large.folder / "in");
      }
    }
    const auto encrypt = [&](const std::string& name) {
      cipher::encrypt_file(large.round, large.pieces, large.folder / name, {}, kSealer, true, {});
    };
    CHECK_THROWS_WITH(encrypt("second"), ParameterError, "moved or copied");
    CHECK(contents_of(large.folder / "second").empty());
  }
}

TEST("an input that was edited and given its time back does not continue a journal") {
  Large large;
  CHECK(large.run_and_stop(0, 70));
  struct stat status{};
  CHECK(::stat((large.folder / "in").c_str(), &status) == 0);
  ::usleep(20'000);
  const std::string input = contents_of(large.folder / "in");
  put_contents(large.folder / "in", input);  // not even other bytes
  const timespec times[2] = {status.st_atim, status.st_mtim};
  CHECK(::utimensat(AT_FDCWD, (large.folder / "in").c_str(), times, 0) == 0);
  for (FilePiece& piece : large.pieces) {
    piece.file = std::make_shared<const InputFile>(large.folder / "in");
  }
  CHECK_THROWS_WITH(large.run_and_stop(1000, 99), ParameterError, "changed since");
}

TEST("a journal that tells of what cannot be is refused, clip counts above all") {
  Large large;
  CHECK(large.run_and_stop(0, 70));
  const std::string path = large.folder / "out.journal";
  const std::string good = contents_of(path);
  // The run left three records: its facts and secret, what it began, what it finished.
  std::vector<std::string> records;
  for (std::size_t at = 8; at < good.size();) {
    std::uint32_t length = 0;
    std::memcpy(&length, good.data() + at, 4);
    records.push_back(good.substr(at + 8, length));
    at += 12 + length;
  }
  CHECK_EQ(records.size(), 3u);
  CHECK_EQ(records[2][0], 'D');
  std::uint32_t spans = 0;
  std::memcpy(&spans, records[2].data() + 9, 4);
  const std::uint64_t values = spans * scheme::Spans(large.round).values_per_span();
  CHECK(values < large.round.size());
  const auto with = [&](const std::string& begun, const std::string& done) {
    std::string out = "VSJRNL2\n";
    for (const std::string& record : {records[0], begun, done}) {
      if (!record.empty()) out = with_record(out, record);
    }
    return out;
  };
  CHECK(with(records[1], records[2]) == good);
  const std::string without_count = records[2].substr(0, records[2].size() - 8);
  const std::string rest = records[2].substr(13);
  const auto refused = [&](const std::string& text) {
    put_contents(path, text);
    CHECK_THROWS_WITH(large.run_and_stop(1000, 99), ParameterError, "is damaged");
    CHECK(contents_of(path) == text);
  };
  refused(with(records[1], without_count + number_bytes(values + 1, 8)));
  refused(with(records[1], without_count + number_bytes(~std::uint64_t{0}, 8)));
  refused(with(records[1], without_count));
  refused(with(records[1], records[2] + "x"));
  refused(with(records[1], "D" + number_bytes(0, 8) + number_bytes(0xffffffffu, 4) + rest));
  refused(with(records[1], "D" + number_bytes(~std::uint64_t{0}, 8) + records[2].substr(9)));
  refused(with(records[1],
               "D" + number_bytes(scheme::Spans(large.round).count(), 8) + records[2].substr(9)));
  refused(with(records[1], "E" + records[2].substr(1)));
  refused(with("B" + number_bytes(0, 8) + number_bytes(0xffffffffu, 4), records[2]));
  // Finished, but never begun: not believed, and made again.
  put_contents(path, with("", without_count + number_bytes(values, 8)));
  CHECK(!large.run_and_stop(1000, 99));
  CHECK(contents_of(large.folder / "out") == large.expected);
}

TEST("another round, weight, rounding or signer does not continue a journal") {
  Large large;
  CHECK(large.run_and_stop(0, 70));
  EncryptOptions other = large.options;
  other.weight = 2;
  const auto run = [&](const Round& round, const EncryptOptions& options) {
    cipher::encrypt_file(round, large.pieces, large.folder / "out", options, kSealer, true, {});
  };
  CHECK_THROWS_WITH(run(large.round, other), ParameterError, "weight");
  other = large.options;
  other.rounding = cipher::Rounding::kStochastic;
  CHECK_THROWS_WITH(run(large.round, other), ParameterError, "rounding");
  const Round second =
      make_round(large.plan, large.key, fields_of({{9'000'000, 1.0}, {8'500'001, 0.5}}), 2);
  CHECK_THROWS_WITH(run(second, large.options), ParameterError, "another round");
  CHECK_THROWS_WITH(cipher::encrypt_file(large.round, large.pieces, large.folder / "out",
                                         large.options, kSealer, false, {}),
                    ParameterError, "--resume");
}

TEST("the first value that is not finite is named, whatever thread meets it, and nothing is left") {
  Large large;
  const float bad = std::numeric_limits<float>::quiet_NaN();
  const std::uint64_t places[] = {17'000'000, 8'999'999, 40};
  for (const std::uint64_t place : places) {  // each before those that are there already
    const std::size_t tensor = place < 9'000'000 ? 0 : 1;
    const std::uint64_t in_tensor = place - (tensor == 0 ? 0 : 9'000'000);
    std::memcpy(large.update[tensor].bytes.data() + 4 * in_tensor, &bad, sizeof bad);
    large.pieces = write_update(large.folder / "in", large.update);
    for (const bool resume : {false, true}) {
      std::uint64_t found = 0;
      try {
        cipher::encrypt_file(large.round, large.pieces, large.folder / "out", large.options,
                             kSealer, resume, {});
      } catch (const cipher::NotFiniteError& error) {
        found = error.index;
      }
      CHECK_EQ(found, place);
      CHECK_EQ(large.folder.names().size(), 1u);
    }
  }
}

TEST("sources that do not fit are refused before anything is written") {
  const Plan plan = make_plan(10, 16);
  const SecretKey key = make_key();
  const Round round = make_round(plan, key, 100);
  const TemporaryFolder folder;
  const std::vector<Tensor> update = random_update(round, 1, {ElementType::kFloat32});
  std::vector<FilePiece> pieces = write_update(folder / "in", update);
  const auto run = [&] {
    cipher::encrypt_file(round, pieces, folder / "out", {}, kSealer, true, {});
  };
  pieces[0].count = 99;
  CHECK_THROWS(run(), ParameterError);
  pieces[0].count = 100;
  pieces[0].offset += 1;
  CHECK_THROWS(run(), WireFormatError);
  pieces[0].offset = ~std::uint64_t{0} - 3;
  CHECK_THROWS(run(), WireFormatError);
  pieces.clear();
  CHECK_THROWS(run(), ParameterError);
  CHECK_EQ(folder.names().size(), 1u);
}

}  // namespace
}  // namespace veilsum::test
