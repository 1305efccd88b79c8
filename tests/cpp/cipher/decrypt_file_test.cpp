// Layer: tests (cipher). Decryption from file to file: the numbers of decryption in memory, rounded
// to every type, interrupted and continued; sums that were altered leave no file; conversions
// against their definition.
#include "cipher/decrypt_file.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>

#include "check.h"
#include "scheme/blocks_digest.h"
#include "support/child.h"
#include "support/envelopes.h"
#include "support/ledgers.h"
#include "support/tampering.h"
#include "support/temporary_folder.h"
#include "support/value_files.h"
#include "veilsum/errors.h"

namespace veilsum::test {
namespace {

using cipher::DecryptOptions;
using cipher::FileTarget;
using scheme::Plan;
using scheme::Round;
using scheme::SecretKey;

template <typename From>
std::uint16_t converted(From value, ElementType type, ElementType to) {
  std::uint16_t out = 0;
  cipher::convert_values(&value, type, 1, to, &out);
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

/// The bytes of an aggregate, its checksum right.
std::string aggregate_text(const scheme::Manifest& manifest, const Bytes& blocks) {
  Bytes text = scheme::write_aggregate_head(manifest);
  text.insert(text.end(), blocks.begin(), blocks.end());
  text.resize(text.size() + kTrailerBytes);
  repair_checksum(text);
  return {text.begin(), text.end()};
}

/// A sum of two uploads in a file, with its key.
struct Sum {
  Round round;
  TemporaryFolder folder;
  std::vector<scheme::Upload> uploads;
  HandMadeSum made;

  Sum(const Round& of, const SecretKey& secret)
      : round(of), uploads(encrypted(of)), made(sum_by_hand(secret, of, pointers(), {1, 1})) {
    put(made.blocks);
  }
  void put(const Bytes& blocks) const {
    put_contents(folder / "total", aggregate_text(made.manifest, blocks));
  }
  const scheme::SumKey& key() const { return made.key; }

  static std::vector<scheme::Upload> encrypted(const Round& round) {
    std::vector<scheme::Upload> out;
    for (std::uint64_t k = 1; k < 3; ++k) {
      const std::vector<Tensor> update = random_update(round, k, {ElementType::kFloat32});
      out.push_back(
          cipher::encrypt_with_seeds(round, pieces_of(update), {}, kSealer, seeds_of(10 * k)));
    }
    return out;
  }
  std::vector<const scheme::Upload*> pointers() const { return {&uploads[0], &uploads[1]}; }
};

const std::string kPrefix = "the file's header";

TEST("the numbers of decryption in memory, placed and rounded as asked") {
  std::uint64_t upload_keys = 0;
  for (const Plan& plan : plans_of_every_ring()) {
    const SecretKey key = make_key();
    const Round round =
        make_round(plan, key,
                   fields_of({{2 * plan.block_capacity() + 3, 1.0}, {5, 2.0}, {0, 1.0}, {999, 0.1}},
                             ++upload_keys));
    const Sum sum(round, key);
    for (const ElementType type : {ElementType::kFloat32, ElementType::kFloat64}) {
      DecryptOptions options;
      options.type = type;
      options.average = type == ElementType::kFloat64;
      Bytes flat(round.size() * cipher::element_bytes(type));
      cipher::decrypt(sum.key(), sum.made.manifest, sum.made.blocks, options, flat.data());
      for (const ElementType to : {ElementType::kFloat32, ElementType::kFloat64,
                                   ElementType::kFloat16, ElementType::kBfloat16}) {
        // Segments in reverse order in the file.
        std::vector<FileTarget> targets(round.segments().size());
        std::uint64_t at = kPrefix.size();
        std::string expected = kPrefix;
        for (std::size_t i = targets.size(); i-- > 0;) {
          targets[i] = {at, to, round.segments()[i].count};
          Bytes bytes(targets[i].count * cipher::element_bytes(to));
          cipher::convert_values(flat.data() + round.starts()[i] * cipher::element_bytes(type),
                                 type, targets[i].count, to, bytes.data());
          expected.append(bytes.begin(), bytes.end());
          at += bytes.size();
        }
        const scheme::AggregateFile total(sum.folder / "total", round);
        for (const bool resume : {false, true}) {
          options.threads = resume ? 3 : 1;
          cipher::decrypt_file(
              sum.key(), total, sum.folder / "out",
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
  const SecretKey key = make_key();
  const std::uint64_t a_span = scheme::Spans(make_round(plan, key, 1)).values_per_span();
  const Round round = make_round(plan, key, 17 * a_span);
  const Sum sum(round, key);
  const std::vector<FileTarget> targets = {{0, ElementType::kFloat32, round.size()}};
  DecryptOptions options;
  Bytes expected(round.size() * 4);
  cipher::decrypt(sum.key(), sum.made.manifest, sum.made.blocks, options, expected.data());
  const auto run = [&](bool resume) {
    const scheme::AggregateFile total(sum.folder / "total", round);
    cipher::decrypt_file(sum.key(), total, sum.folder / "out", {}, targets, expected.size(),
                         options, resume);
  };
  options.progress = [](std::uint64_t, std::uint64_t) { throw std::runtime_error("stopped"); };
  CHECK_THROWS(run(true), std::runtime_error);
  options.progress = {};
  CHECK_THROWS_WITH(run(false), ParameterError, "--resume");
  options.average = false;
  CHECK_THROWS_WITH(run(true), ParameterError, "average");
  options.average = true;
  // Numbers of the journal that its bytes do not bear out take no memory.
  const std::string journal = contents_of(sum.folder / "out.journal");
  for (const std::uint64_t count : {std::uint64_t{0xffffffff}, std::uint64_t{3}}) {
    const std::string record = number_bytes(0, 8) + number_bytes(count, 4) + std::string(16, 'a');
    put_contents(sum.folder / "out.journal", with_record(journal, record));
    const Ending ending = run_child([&] {
      if (!limit_memory(std::uint64_t{3} << 30)) return 1;
      try {
        run(true);
      } catch (const ParameterError& error) {
        return std::string(error.what()).find("is damaged") != std::string::npos ? 7 : 2;
      }
      return 3;
    });
    CHECK_EQ(ending.exit_status, 7);
  }
  put_contents(sum.folder / "out.journal", with_record(journal, "short"));
  CHECK_THROWS_WITH(run(true), ParameterError, "is damaged");
  put_contents(sum.folder / "out.journal", journal);
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

/// decrypt_file() of one tensor to "out".
void decrypt_to_file(const Sum& sum, const scheme::SumKey& key, bool resume,
                     const DecryptOptions& options = {}) {
  const std::vector<FileTarget> targets = {{0, ElementType::kFloat32, sum.round.size()}};
  const scheme::AggregateFile total(sum.folder / "total", sum.round);
  cipher::decrypt_file(key, total, sum.folder / "out", {}, targets, 4 * sum.round.size(), options,
                       resume);
}

TEST("a sum that was altered, its checksum right, leaves the output as it was, absent or old") {
  const Plan plan = make_plan(10, 16);
  const SecretKey key = make_key();
  for (const std::uint64_t upload_keys : {1u, 3u}) {
    // Several blocks in a step, a short last one, and the check blocks in the same span.
    const Sum sum(
        make_round(plan, key, fields_of({{20 * plan.block_capacity() + 77, 1.0}}, upload_keys)),
        key);
    const Round& round = sum.round;
    Tamperer tamperer(sum.key());
    std::vector<Bytes> altered;
    const auto alter = [&](auto change) {
      altered.push_back(sum.made.blocks);
      change(altered.back().data());
    };
    for (std::uint64_t block = 0; block < round.value_blocks(); block += 10) {
      alter([&](std::uint8_t* blocks) { tamperer.set(blocks, block, 7, tamperer.limit()); });
    }
    for (std::uint64_t block = round.value_blocks(); block < round.blocks(); ++block) {
      const auto beyond = static_cast<std::int64_t>(plan.noise_bound()) + 1;
      alter([&](std::uint8_t* blocks) { tamperer.set_noise(blocks, block, 2047, beyond); });
    }
    altered.emplace_back(sum.uploads[0].blocks().begin(), sum.uploads[0].blocks().end());
    for (const bool old : {false, true}) {
      if (old) put_contents(sum.folder / "out", "old");
      for (const Bytes& blocks : altered) {
        sum.put(blocks);
        const scheme::SumKey named = rebound(sum.key(), blocks);  // it is not that which refuses
        for (const bool resume : {false, true}) {
          DecryptOptions options;
          options.threads = resume ? 1 : 3;
          int calls = 0;
          options.progress = [&](std::uint64_t, std::uint64_t) { ++calls; };
          CHECK_THROWS_WITH(decrypt_to_file(sum, named, resume, options), TamperedSumError,
                            "no value is given out");
          CHECK_EQ(calls, 0);
          CHECK_EQ(contents_of(sum.folder / "out"), old ? "old" : "");
          CHECK_EQ(sum.folder.names().size(), old ? 2u : 1u);  // no journal, no unfinished file
        }
      }
    }
    // A key that is wrong by one.
    sum.put(sum.made.blocks);
    for (std::uint64_t i = 0; i < upload_keys; ++i) {
      scheme::KeyCoefficients wrong(sum.key().coefficients().size());
      std::copy(sum.key().coefficients().begin(), sum.key().coefficients().end(), wrong.begin());
      std::int64_t& coefficient = wrong[i * plan.degree() + 5];
      coefficient += coefficient > 0 ? -1 : 1;
      const scheme::SumKey other = key_of_blocks(sum.key(), std::move(wrong), sum.made.blocks);
      CHECK_THROWS(decrypt_to_file(sum, other, false), TamperedSumError);
      CHECK_EQ(contents_of(sum.folder / "out"), "old");
    }
    decrypt_to_file(sum, sum.key(), false);
    CHECK_EQ(contents_of(sum.folder / "out").size(), 4 * round.size());
  }
}

TEST("a value out of range in a late portion: what earlier portions wrote goes too") {
  const Plan plan = make_plan(2, 2);
  const SecretKey key = make_key();
  const std::uint64_t a_span = scheme::Spans(make_round(plan, key, 1)).values_per_span();
  const Sum sum(make_round(plan, key, 17 * a_span + 5), key);
  Tamperer tamperer(sum.key());
  Bytes blocks = sum.made.blocks;
  tamperer.set(blocks.data(), sum.round.value_blocks() - 1, 0, tamperer.limit());
  sum.put(blocks);
  for (const bool resume : {false, true}) {
    DecryptOptions options;
    options.threads = 2;
    int calls = 0;
    options.progress = [&](std::uint64_t, std::uint64_t) { ++calls; };
    const scheme::SumKey named = rebound(sum.key(), blocks);
    CHECK_THROWS(decrypt_to_file(sum, named, resume, options), TamperedSumError);
    CHECK_EQ(calls, 1);  // a portion was done
    CHECK_EQ(sum.folder.names().size(), 1u);
    // The key's own check decides at the end, for all of it.
    CHECK_THROWS(decrypt_to_file(sum, sum.key(), resume, options), TamperedSumError);
    CHECK_EQ(calls, 3);
    CHECK_EQ(sum.folder.names().size(), 1u);
  }
}

TEST("a file that is damaged is told so, not that somebody altered the sum") {
  const Plan plan = make_plan(10, 16);
  const SecretKey key = make_key();
  const Sum sum(make_round(plan, key, fields_of({{5000, 1.0}}, 2)), key);
  const std::string good = contents_of(sum.folder / "total");
  const std::size_t blocks_at = good.size() - kTrailerBytes - sum.made.blocks.size();
  // In the high bits of a check block's first field, of a value block's, and in the manifest.
  const std::uint64_t check_block = sum.round.block_offset(sum.round.value_blocks());
  for (const std::size_t at : {static_cast<std::size_t>(blocks_at + check_block + 5), blocks_at + 5,
                               std::size_t{60}, good.size() - 1}) {
    std::string bad = good;
    bad[at] ^= 4;
    put_contents(sum.folder / "total", bad);
    CHECK_THROWS_WITH(decrypt_to_file(sum, sum.key(), false), WireFormatError, "checksum");
  }
  put_contents(sum.folder / "total", good);
  decrypt_to_file(sum, sum.key(), false);
}

TEST("an aggregate of version 1 is refused by a sentence that names both versions") {
  const Plan plan = make_plan(10, 16);
  const SecretKey key = make_key();
  const Sum sum(make_round(plan, key, 50), key);
  std::string former = contents_of(sum.folder / "total");
  former[4] = kFormerVersion;  // the checksum need not be right: another version has its own
  put_contents(sum.folder / "total", former);
  for (const char* part : {"version 1 ", "version 2"}) {
    CHECK_THROWS_WITH(scheme::AggregateFile(sum.folder / "total", sum.round), WireFormatError,
                      part);
  }
}

TEST("a sum's key decrypts the file with the blocks that it was opened for, and no other") {
  const Plan plan = make_plan(10, 16, 2, 128, "n2048");
  const SecretKey key = make_key();
  const Round round = make_round(plan, key, fields_of({{20 * plan.block_capacity() + 77, 1.0}}, 2));
  Sum sum(round, key);
  for (const int which : {0, 1, 2, 3}) {  // plain or weighted, bound by a check or a digest
    const HandMadeSum weighted =
        sum_by_hand(key, round, sum.pointers(), {which < 2 ? std::uint64_t{1} : 3, 1});
    std::optional<scheme::SumKey> named;
    if (which % 2 == 1) named.emplace(rebound(weighted.key, weighted.blocks));
    const scheme::SumKey& bound = named ? *named : weighted.key;
    const auto put = [&](const Bytes& blocks) {
      put_contents(sum.folder / "total", aggregate_text(weighted.manifest, blocks));
    };
    Tamperer tamperer(weighted.key);
    for (const bool resume : {false, true}) {
      put(weighted.blocks);
      decrypt_to_file(sum, bound, resume);
      const std::string right = contents_of(sum.folder / "out");
      CHECK_EQ(right.size(), 4 * round.size());
      std::vector<float> flat(static_cast<std::size_t>(round.size()));
      cipher::decrypt(weighted.key, weighted.manifest, weighted.blocks, {}, flat.data());
      CHECK(std::memcmp(flat.data(), right.data(), right.size()) == 0);
      // Numbers in range that nothing else finds; and every other bit, first and last.
      std::vector<Bytes> altered(4, weighted.blocks);
      tamperer.set(altered[0].data(), 0, 5, tamperer.delta() / 2);
      tamperer.set(altered[1].data(), 20, 3, tamperer.delta() / 2);
      altered[2].front() ^= 1;
      altered[3].back() ^= 128;
      for (const Bytes& blocks : altered) {
        put(blocks);
        CHECK_THROWS_WITH(decrypt_to_file(sum, bound, resume), TamperedSumError,
                          "no value is given out");
        CHECK(contents_of(sum.folder / "out") == right);
        CHECK_EQ(sum.folder.names().size(), 2u);  // no journal, no unfinished file
      }
      // Damage is told as damage.
      std::string damaged = aggregate_text(weighted.manifest, weighted.blocks);
      damaged[damaged.size() - 900] ^= 1;
      put_contents(sum.folder / "total", damaged);
      CHECK_THROWS_WITH(decrypt_to_file(sum, bound, resume), WireFormatError, "checksum");
    }
  }
}

TEST("a run that goes on with other blocks than its key names is refused like a new one") {
  const Plan plan = make_plan(10, 16, 2, 128, "n2048");
  const SecretKey key = make_key();
  const std::uint64_t a_span = scheme::Spans(make_round(plan, key, 1)).values_per_span();
  const Round round = make_round(plan, key, fields_of({{40 * a_span + 1, 1.0}}));
  Sum sum(round, key);
  const HandMadeSum made = sum_by_hand(key, round, sum.pointers(), {3, 1});
  const scheme::SumKey named = rebound(made.key, made.blocks);
  for (const scheme::SumKey* bound : {&made.key, &named}) {
    put_contents(sum.folder / "total", aggregate_text(made.manifest, made.blocks));
    DecryptOptions options;
    options.threads = 1;
    options.progress = [](std::uint64_t, std::uint64_t) { throw std::runtime_error("stopped"); };
    CHECK_THROWS(decrypt_to_file(sum, *bound, true, options), std::runtime_error);
    Bytes other = made.blocks;
    other[other.size() / 2] ^= 1;
    put_contents(sum.folder / "total", aggregate_text(made.manifest, other));
    CHECK_THROWS(decrypt_to_file(sum, *bound, true), VeilsumError);
    CHECK_EQ(contents_of(sum.folder / "out"), "");
    for (const std::string& name : sum.folder.names()) {
      if (name != "total") std::filesystem::remove(sum.folder / name);
    }
  }
}

TEST("a run goes on under the sum key that it began with, and no other") {
  const Plan plan = make_plan(10, 16);
  const SecretKey key = make_key();
  const std::uint64_t a_span = scheme::Spans(make_round(plan, key, 1)).values_per_span();
  const Round round = make_round(plan, key, 40 * a_span + 1);
  const Sum sum(round, key);
  scheme::BlocksCheck check = *sum.made.key.blocks_check();
  check.key.data()[0] ^= 1;
  scheme::KeyCoefficients coefficients(sum.made.key.coefficients().size());
  std::copy(sum.made.key.coefficients().begin(), sum.made.key.coefficients().end(),
            coefficients.begin());
  const scheme::SumKey other(round, sum.made.key.manifest(), sum.made.key.count(),
                             sum.made.key.total_weight(), true, std::move(coefficients),
                             std::nullopt, std::nullopt, check);
  const scheme::SumKey named = rebound(sum.made.key, sum.made.blocks);
  DecryptOptions options;
  options.threads = 1;
  options.progress = [](std::uint64_t, std::uint64_t) { throw std::runtime_error("stopped"); };
  CHECK_THROWS(decrypt_to_file(sum, sum.made.key, true, options), std::runtime_error);
  for (const scheme::SumKey* wrong : {&other, &named}) {
    CHECK_THROWS_WITH(decrypt_to_file(sum, *wrong, true), ParameterError, "sum key are other ones");
  }
  decrypt_to_file(sum, sum.made.key, true);
  CHECK(!contents_of(sum.folder / "out").empty());
}

TEST("a run that goes on adds up what the earlier one hashed, and misses nothing") {
  const Plan plan = make_plan(10, 16);
  const SecretKey key = make_key();
  const std::uint64_t a_span = scheme::Spans(make_round(plan, key, 1)).values_per_span();
  const Round round = make_round(plan, key, 40 * a_span + 1);
  const Sum sum(round, key);
  DecryptOptions options;
  options.threads = 1;
  int calls = 0;
  options.progress = [&](std::uint64_t, std::uint64_t) {
    if (++calls == 2) throw std::runtime_error("stopped");
  };
  CHECK_THROWS(decrypt_to_file(sum, sum.key(), true, options), std::runtime_error);
  CHECK(!contents_of(sum.folder / "out.journal").empty());
  options.progress = {};
  decrypt_to_file(sum, sum.key(), true, options);
  std::vector<float> flat(static_cast<std::size_t>(round.size()));
  cipher::decrypt(sum.key(), sum.made.manifest, sum.made.blocks, {}, flat.data());
  const std::string out = contents_of(sum.folder / "out");
  CHECK_EQ(out.size(), 4 * flat.size());
  CHECK(std::memcmp(flat.data(), out.data(), out.size()) == 0);
}

}  // namespace
}  // namespace veilsum::test
