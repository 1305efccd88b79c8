// Layer: tests (codec). Decryption from file to file: the numbers of decryption in memory, rounded
// to every type, interrupted and continued; conversions against their definition.
#include "codec/decrypt_file.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>

#include "check.h"
#include "scheme/wire.h"
#include "support/active_level.h"
#include "support/temporary_folder.h"
#include "support/value_files.h"
#include "veilsum/errors.h"

namespace veilsum::test {
namespace {

using codec::DecryptOptions;
using codec::FileTarget;
using scheme::Plan;
using scheme::Round;
using scheme::SecretKey;

template <typename From>
std::uint16_t converted(From value, ElementType type, ElementType to) {
  std::uint16_t out = 0;
  codec::convert_values(&value, type, 1, to, &out);
  return out;
}

TEST("float16: every value, every midpoint between two, and their neighbours") {
  for (std::uint32_t bits = 0; bits < 0x7c00; ++bits) {
    const auto low = static_cast<std::uint16_t>(bits);
    const double value = half_to_double(low);
    const double next =
        bits == 0x7bff ? 65536.0 : half_to_double(static_cast<std::uint16_t>(bits + 1));
    const double middle = (value + next) / 2;
    const std::uint16_t even = (bits & 1) == 0 ? low : static_cast<std::uint16_t>(bits + 1);
    const auto up = static_cast<std::uint16_t>(bits + 1);  // 0x7c00, infinity, at the end
    const auto half = [](double x) {
      return converted(x, ElementType::kFloat64, ElementType::kFloat16);
    };
    CHECK_EQ(half(value), low);
    CHECK_EQ(half(middle), even);
    CHECK_EQ(half(std::nextafter(middle, 0.0)), low);
    CHECK_EQ(half(std::nextafter(middle, 1e9)), up);
    CHECK_EQ(half(-middle), static_cast<std::uint16_t>(even | 0x8000));
    CHECK_EQ(converted(static_cast<float>(middle), ElementType::kFloat32, ElementType::kFloat16),
             even);
  }
  CHECK_EQ(converted(1e300, ElementType::kFloat64, ElementType::kFloat16), 0x7c00);
  CHECK_EQ(converted(-0.0, ElementType::kFloat64, ElementType::kFloat16), 0x8000);
}

TEST("bfloat16: values and midpoints") {
  for (std::uint32_t bits = 0; bits < 0x7f7f; ++bits) {
    const auto low = static_cast<std::uint16_t>(bits);
    const double value = bfloat16_to_double(low);
    const double next = bfloat16_to_double(static_cast<std::uint16_t>(bits + 1));
    const auto middle = static_cast<float>((value + next) / 2);
    const std::uint16_t even = (bits & 1) == 0 ? low : static_cast<std::uint16_t>(bits + 1);
    const auto brain = [](float x) {
      return converted(x, ElementType::kFloat32, ElementType::kBfloat16);
    };
    CHECK_EQ(brain(static_cast<float>(value)), low);
    CHECK_EQ(brain(middle), even);
    CHECK_EQ(brain(std::nextafter(middle, 0.0f)), low);
    CHECK_EQ(brain(-middle), static_cast<std::uint16_t>(even | 0x8000));
  }
}

/// A sum of two uploads in a file, with its key.
struct Sum {
  Round round;
  TemporaryFolder folder;
  std::vector<scheme::Upload> uploads;
  scheme::Manifest manifest;
  Bytes blocks;
  std::optional<scheme::SumKey> key;

  Sum(const Round& of, const SecretKey& secret) : round(of), manifest(of) {
    for (std::uint64_t k = 1; k < 3; ++k) {
      const std::vector<Tensor> update = random_update(round, k, {ElementType::kFloat32});
      codec::UploadSeeds seeds{seed32(10 * k), seed32(10 * k + 1), seed32(10 * k + 2)};
      uploads.push_back(codec::encrypt_with_seeds(round, pieces_of(update), {}, seeds));
      manifest.add(uploads.back().head(), 1, nullptr);
    }
    blocks = sum_of_blocks(round, {uploads[0].blocks(), uploads[1].blocks()}, {1, 1});
    const Bytes capsules = scheme::sum_capsules(
        round.plan(), std::vector<ByteView>{uploads[0].head().capsule, uploads[1].head().capsule},
        std::vector<std::uint64_t>{1, 1});
    key.emplace(scheme::open_sum(secret, {manifest, capsules}, nullptr, false));
    Bytes text = scheme::write_aggregate_head(manifest, capsules);
    text.insert(text.end(), blocks.begin(), blocks.end());
    ByteWriter crc;
    crc.u32(isa::kernels().crc32c(0, text.data(), text.size()));
    text.insert(text.end(), crc.bytes().begin(), crc.bytes().end());
    put_contents(folder / "total", {text.begin(), text.end()});
  }
};

const std::string kPrefix = "the file's header";

TEST("the numbers of decryption in memory, placed and rounded as asked") {
  for (const Plan& plan : plans_of_every_ring()) {
    const SecretKey key = make_key(plan);
    const Round round = make_round(
        plan, key,
        fields_of({{2 * plan.block_capacity() + 3, 1.0}, {5, 2.0}, {0, 1.0}, {999, 0.1}}));
    const Sum sum(round, key);
    for (const ElementType type : {ElementType::kFloat32, ElementType::kFloat64}) {
      DecryptOptions options;
      options.type = type;
      options.average = type == ElementType::kFloat64;
      Bytes flat(round.size() * codec::element_bytes(type));
      codec::decrypt(*sum.key, sum.manifest, sum.blocks, options, flat.data());
      for (const ElementType to : {ElementType::kFloat32, ElementType::kFloat64,
                                   ElementType::kFloat16, ElementType::kBfloat16}) {
        // Segments in reverse order in the file.
        std::vector<FileTarget> targets(round.segments().size());
        std::uint64_t at = kPrefix.size();
        std::string expected = kPrefix;
        for (std::size_t i = targets.size(); i-- > 0;) {
          targets[i] = {at, to, round.segments()[i].count};
          Bytes bytes(targets[i].count * codec::element_bytes(to));
          codec::convert_values(flat.data() + round.starts()[i] * codec::element_bytes(type), type,
                                targets[i].count, to, bytes.data());
          expected.append(bytes.begin(), bytes.end());
          at += bytes.size();
        }
        const scheme::AggregateFile total(sum.folder / "total", round);
        for (const bool resume : {false, true}) {
          options.threads = resume ? 3 : 1;
          codec::decrypt_file(
              *sum.key, total, sum.folder / "out",
              {reinterpret_cast<const std::uint8_t*>(kPrefix.data()), kPrefix.size()}, targets, at,
              options, resume);
          CHECK(contents_of(sum.folder / "out") == expected);
          CHECK_EQ(sum.folder.names().size(), 2u);
        }
      }
    }
  }
}

TEST("interrupted and continued; damaged or exchanged sums refused") {
  const Plan plan = make_plan(10, 16);
  const SecretKey key = make_key(plan);
  const Round round = make_round(plan, key, 20 * 128 * plan.block_capacity());
  const Sum sum(round, key);
  const std::vector<FileTarget> targets = {{0, ElementType::kFloat32, round.size()}};
  DecryptOptions options;
  Bytes expected(round.size() * 4);
  codec::decrypt(*sum.key, sum.manifest, sum.blocks, options, expected.data());
  const auto run = [&](bool resume) {
    const scheme::AggregateFile total(sum.folder / "total", round);
    codec::decrypt_file(*sum.key, total, sum.folder / "out", {}, targets, expected.size(), options,
                        resume);
  };
  options.progress = [](std::uint64_t, std::uint64_t) { throw std::runtime_error("stopped"); };
  CHECK_THROWS(run(true), std::runtime_error);
  options.progress = {};
  CHECK_THROWS_WITH(run(false), ParameterError, "--resume");
  options.average = false;
  CHECK_THROWS_WITH(run(true), ParameterError, "average");
  options.average = true;
  run(true);
  CHECK(contents_of(sum.folder / "out") == std::string(expected.begin(), expected.end()));
  CHECK_EQ(sum.folder.names().size(), 2u);

  put_contents(sum.folder / "out", "old");
  const std::string good = contents_of(sum.folder / "total");
  Random random(3);
  for (int i = 0; i < 12; ++i) {
    std::string bad = good;
    bad[random.below(bad.size())] ^= static_cast<char>(1u << random.below(8));
    put_contents(sum.folder / "total", bad);
    CHECK_THROWS(run(i % 2 == 0), VeilsumError);
    put_contents(sum.folder / "total", good.substr(0, random.below(good.size())));
    CHECK_THROWS(run(i % 2 == 0), VeilsumError);
  }
  CHECK_EQ(contents_of(sum.folder / "out"), "old");
  CHECK_EQ(sum.folder.names().size(), 2u);
}

}  // namespace
}  // namespace veilsum::test
