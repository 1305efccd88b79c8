// Layer: tests (cipher). The sum tag in encryption and decryption: the hash is that of the digits
// by their definition, however an upload is made; a sum leaves only with the right tag, and nothing
// is left of one that does not hold.
#include "cipher/sum_tag.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#include "check.h"
#include "cipher/decrypt_file.h"
#include "cipher/encrypt_file.h"
#include "cipher/pad_store.h"
#include "scheme/aggregate_file.h"
#include "scheme/blocks_digest.h"
#include "support/active_level.h"
#include "support/envelopes.h"
#include "support/tampering.h"
#include "support/temporary_folder.h"
#include "support/value_files.h"
#include "veilsum/errors.h"

namespace veilsum::test {
namespace {

using cipher::DecryptOptions;
using cipher::EncryptOptions;
using cipher::TagCheck;
using cipher::Tagging;
using cipher::TagKey;
using ring::TagSum;
using scheme::Plan;
using scheme::Round;
using scheme::SecretKey;
using scheme::Upload;

static_assert(!std::is_copy_constructible_v<TagKey> && !std::is_copy_assignable_v<TagKey>);

constexpr double kLong = 600;

TagKey key_for(const Round& round, std::uint64_t n = 1) { return TagKey(round, bytes32(900 + n)); }

bool same(const TagSum& a, const TagSum& b) { return a.values() == b.values(); }

std::vector<scheme::Segment> uneven(std::uint64_t size) {
  return {{size / 3, 1e-3}, {0, 5.0}, {size - size / 3, 0.75}};
}

std::vector<Plan> plans() {
  std::vector<Plan> out = plans_of_every_ring();
  out.push_back(make_plan(2, 2));                       // fourteen digits
  out.push_back(make_plan(2, 2, 0, 128, "n8192"));      // 64 digits
  out.push_back(make_plan(1000, 20, 8, 128, "n4096"));  // digits of 38 bits
  out.push_back(make_plan(2, 32));                      // encrypted narrow, summed wide
  out.push_back(make_plan(100, 32, 13));                // a digit above 2^50: the larger prime
  return out;
}

/// h of the digits of these levels (sums of values, offset by `weight` times the plan's levels),
/// placed as the wire format says: value v of a block is digit v / c of coefficient v mod c.
TagSum hash_by_hand(const TagKey& key, const std::vector<std::int64_t>& levels,
                    std::uint64_t weight) {
  const Round& round = key.round();
  const Plan& plan = round.plan();
  TagSum sum(key.field());
  for (std::uint64_t block = 0; block < round.value_blocks(); ++block) {
    const std::uint64_t c = round.block_coefficients(block), values = round.block_values(block);
    std::vector<std::uint64_t> rows(c * plan.digits(), 0);
    for (std::uint64_t v = 0; v < values; ++v) {
      rows[v] = static_cast<std::uint64_t>(levels[block * plan.block_capacity() + v] +
                                           static_cast<std::int64_t>(weight) * plan.levels());
    }
    key.hash().add_block(block, {nullptr, rows.data(), c}, c, sum);
  }
  return sum;
}

Upload encrypt(const Round& round, const std::vector<cipher::Piece>& pieces, EncryptOptions options,
               Tagging& tag, std::uint64_t n) {
  options.tag = &tag;
  return cipher::encrypt_with_seeds(round, pieces, options, kSealer, seeds_of(n));
}

Bytes copy_of(ByteView view) { return {view.begin(), view.end()}; }

/// A sum of uploads with weights, and the sum of their hashes.
struct TaggedSum {
  Round round;
  TagKey key;
  std::vector<Upload> uploads;
  std::vector<std::int64_t> sums;
  std::uint64_t total_weight = 0;
  TagSum expected;
  std::optional<HandMadeSum> made;

  TaggedSum(const Round& of, const SecretKey& secret, std::vector<std::uint64_t> weights)
      : round(of), key(key_for(of)), sums(of.size(), 0), expected(key.field()) {
    std::vector<const Upload*> pointers;
    pointers.reserve(weights.size());
    for (std::size_t k = 0; k < weights.size(); ++k) {
      const Update update = random_update(round, k);
      Tagging tag{key, {}};
      uploads.push_back(encrypt(round, pieces_of(update), {}, tag, k + 1));
      const Quantised levels = quantise(round, update);
      for (std::size_t v = 0; v < sums.size(); ++v) {
        sums[v] += static_cast<std::int64_t>(weights[k]) * levels.values[v];
      }
      expected.add_weighted(tag.hash.value(), weights[k]);
      total_weight += weights[k];
    }
    for (const Upload& upload : uploads) pointers.push_back(&upload);
    made.emplace(sum_by_hand(secret, round, pointers, weights));
  }
  TagCheck check() const { return {key, expected}; }
};

template <typename T>
std::vector<T> decrypt(const TaggedSum& sum, ByteView blocks, const TagCheck* tag,
                       DecryptOptions options = {}) {
  std::vector<T> out(sum.round.size(), T{7});
  options.type = sizeof(T) == 8 ? ElementType::kFloat64 : ElementType::kFloat32;
  options.tag = tag;
  try {
    // Bound to whatever blocks there are: it is the tag that is looked at.
    cipher::decrypt(rebound(sum.made->key, blocks), sum.made->manifest, blocks, options,
                    out.data());
  } catch (const TamperedSumError&) {
    for (const T value : out) CHECK(value == T{0});
    throw;
  }
  return out;
}

TEST("the hash is that of the digits: plans, sizes, types, weights, rounding, threads, levels") {
  std::uint64_t upload_keys = 0;
  for (const Plan& plan : plans()) {
    const SecretKey secret = make_key();
    const std::uint64_t capacity = plan.block_capacity();
    for (const std::uint64_t size :
         {std::uint64_t{1}, std::uint64_t{8} * plan.digits() + 1, capacity, 2 * capacity + 45}) {
      if (size > 300'000) continue;
      const Round round = make_round(plan, secret, fields_of(uneven(size), upload_keys++ % 3));
      const TagKey key = key_for(round);
      for (std::uint64_t n = 0; n < 2; ++n) {
        const Update update = random_update(round, n);
        EncryptOptions options;
        options.weight = n == 0 ? 1.0 : -0.7;
        const Upload plain =
            cipher::encrypt_with_seeds(round, pieces_of(update), options, kSealer, seeds_of(n));
        const TagSum expected =
            hash_by_hand(key, quantise(round, update, options.weight).values, 1);
        on_every_active_level([&] {
          for (const int threads : {1, 2, 5}) {
            options.threads = threads;
            Tagging tag{key, {}};
            const Upload upload = encrypt(round, pieces_of(update), options, tag, n);
            CHECK(tag.hash && same(*tag.hash, expected));
            CHECK(copy_of(upload.blocks()) == copy_of(plain.blocks()));
            CHECK(upload.head().part == plain.head().part);
          }
        });
      }
    }
  }
}

TEST("rounding at random: one hash for any number of threads, and the sum's is theirs") {
  const SecretKey secret = make_key();
  for (const Plan& plan : {make_plan(10, 16), make_plan(10, 16, 4, 128, "n4096")}) {
    const Round round = make_round(plan, secret, fields_of(uneven(3 * plan.block_capacity()), 2));
    const TagKey key = key_for(round);
    const Update update = random_update(round, 1);
    EncryptOptions options;
    options.rounding = cipher::Rounding::kStochastic;
    std::optional<TagSum> first;
    TagSum expected(key.field());
    std::vector<Upload> uploads;
    for (const int threads : {1, 4}) {
      options.threads = threads;
      Tagging tag{key, {}};
      uploads.push_back(encrypt(round, pieces_of(update), options, tag, 1));
      if (!first) first = tag.hash;
      CHECK(same(*tag.hash, *first));
    }
    Tagging other{key, {}};
    uploads[1] = encrypt(round, pieces_of(update), options, other, 2);
    CHECK(!same(*other.hash, *first));
    expected.add(*first);
    expected.add(*other.hash);
    const HandMadeSum sum = sum_by_hand(secret, round, {&uploads[0], &uploads[1]}, {1, 1});
    const TagCheck check{key, expected};
    DecryptOptions how;
    how.tag = &check;
    std::vector<float> out(round.size());
    cipher::decrypt(sum.key, sum.manifest, sum.blocks, how, out.data());
  }
}

TEST("pads made ahead, none or some or all: the same hash") {
  const Plan plan = make_plan(10, 16);
  const Round round = make_round(plan, make_key(), fields_of(uneven(9 * plan.block_capacity()), 2));
  const TagKey key = key_for(round);
  const Update update = random_update(round, 3);
  const TagSum expected = hash_by_hand(key, quantise(round, update).values, 1);
  on_every_active_level([&] {
    for (const std::uint64_t blocks : {1u, 4u, 11u}) {
      cipher::PadStore store(round, {cipher::first_pad_bytes(round, blocks), 1, 1});
      CHECK(store.wait(kLong));
      for (int again = 0; again < 2; ++again) {  // the second upload has no pads
        Tagging tag{key, {}};
        EncryptOptions options;
        options.tag = &tag;
        (void)cipher::encrypt(round, pieces_of(update), options, kSealer, store);
        CHECK(tag.hash && same(*tag.hash, expected));
      }
    }
  });
}

TEST("the hash is there when the key is sealed, and not after a failure before that") {
  struct Looking final : scheme::Sealer {
    explicit Looking(const Tagging& its_tag) : tag(its_tag) {}
    Bytes seal(ByteView key, ByteView info, ByteView seed) const override {
      CHECK(tag.hash.has_value());
      ++calls;
      return kSealer.seal(key, info, seed);
    }
    const Tagging& tag;
    mutable int calls = 0;
  };
  const Round round = make_round(make_plan(10, 16), make_key(), 5000);
  const TagKey key = key_for(round);
  const Update update = random_update(round, 1);
  Update bad = random_update(round, 1);
  set_value(bad[0], 4321, std::nan(""));
  const TemporaryFolder folder;
  Tagging tag{key, {}};
  const Looking sealer(tag);
  EncryptOptions options;
  options.tag = &tag;
  (void)cipher::encrypt(round, pieces_of(update), options, sealer);
  const TagSum hash = *tag.hash;
  CHECK_THROWS(cipher::encrypt(round, pieces_of(bad), options, sealer), ParameterError);
  CHECK(!tag.hash);
  const std::vector<cipher::FilePiece> good = write_update(folder / "in", update);
  cipher::encrypt_file(round, good, folder / "out", options, sealer, false, {});
  CHECK(same(*tag.hash, hash));
  const std::vector<cipher::FilePiece> worse = write_update(folder / "bad", bad);
  CHECK_THROWS(cipher::encrypt_file(round, worse, folder / "out2", options, sealer, false, {}),
               ParameterError);
  CHECK(!tag.hash);
  CHECK_EQ(sealer.calls, 2);
}

TEST("tags are hashes and masks: what the clients' masks take off the sum of tags") {
  const Plan plan = make_plan(10, 16, 4);
  const TaggedSum sum(make_round(plan, make_key(), 3000), make_key(), {1, 3, 9});
  TagSum tags(sum.key.field());
  const std::uint64_t weights[] = {1, 3, 9};
  for (std::uint32_t k = 0; k < 3; ++k) {
    const scheme::Nonce& nonce = sum.uploads[k].head().nonce;
    Tagging tag{sum.key, {}};
    (void)encrypt(sum.round, pieces_of(random_update(sum.round, k)), {}, tag, k + 1);
    tags.add_weighted(sum.key.tag(*tag.hash, k, nonce), weights[k]);
    CHECK(!same(sum.key.mask(k, nonce), sum.key.mask(k + 1, nonce)));
    CHECK(!same(sum.key.mask(k, nonce), sum.key.mask(k, nonce_of(k + 77))));
  }
  CHECK(!same(tags, sum.expected));
  for (std::uint32_t k = 0; k < 3; ++k) {
    TagSum mask(sum.key.field());
    mask.add_weighted(sum.key.mask(k, sum.uploads[k].head().nonce), weights[k]);
    tags.subtract(mask);
  }
  CHECK(same(tags, sum.expected));
}

TEST("a sum with the right tag gives the numbers that it gives without") {
  for (const Plan& plan : plans()) {
    const SecretKey secret = make_key();
    const std::uint64_t size = std::min<std::uint64_t>(plan.block_capacity() + 77, 60'000);
    std::vector<std::uint64_t> weights = {1, 1};
    if (plan.weight_bits() != 0) weights = {plan.max_weight() - 3, 1, 2};
    const TaggedSum sum(make_round(plan, secret, fields_of(uneven(size), 2)), secret, weights);
    CHECK(same(sum.expected, hash_by_hand(sum.key, sum.sums, sum.total_weight)));
    const TagCheck check = sum.check();
    const std::vector<double> plain = decrypt<double>(sum, sum.made->blocks, nullptr);
    const std::vector<float> narrow = decrypt<float>(sum, sum.made->blocks, nullptr);
    on_every_active_level([&] {
      for (const int threads : {1, 3}) {
        DecryptOptions options;
        options.threads = threads;
        CHECK(decrypt<double>(sum, sum.made->blocks, &check, options) == plain);
        CHECK(decrypt<float>(sum, sum.made->blocks, &check, options) == narrow);
      }
    });
    for (std::size_t e = 0; e < 2; ++e) {
      TagSum::Values values = sum.expected.values();
      values[e] = values[e] == 0 ? 1 : values[e] - 1;
      const TagCheck wrong{sum.key, TagSum(sum.key.field(), values)};
      CHECK_THROWS_WITH(decrypt<float>(sum, sum.made->blocks, &wrong), TamperedSumError,
                        "no value is given out");
    }
    const TagKey other_group = key_for(sum.round, 2);
    const TagCheck wrong{other_group, sum.expected};
    CHECK_THROWS(decrypt<float>(sum, sum.made->blocks, &wrong), TamperedSumError);
  }
}

TEST("changes of one coefficient, in range or not, in values or in padding: one refusal") {
  const Plan plan = make_plan(10, 16);
  const SecretKey secret = make_key();
  const TaggedSum sum(make_round(plan, secret, fields_of({{9 * 4096 + 77, 1.0}}, 2)), secret,
                      {1, 1});
  const Round& round = sum.round;
  Tamperer tamperer(sum.made->key);
  const TagCheck check = sum.check();
  std::string text;
  const auto refused = [&](auto change) {
    Bytes blocks = sum.made->blocks;
    change(blocks.data());
    int calls = 0;
    try {
      DecryptOptions options;
      options.progress = [&](std::uint64_t, std::uint64_t) { ++calls; };
      (void)decrypt<float>(sum, blocks, &check, options);
      CHECK(false);
    } catch (const TamperedSumError& error) {
      if (text.empty()) text = error.what();
      CHECK_EQ(text, std::string(error.what()));
      CHECK_EQ(calls, 1);  // whatever was changed, it was worked through
    }
  };
  const std::uint64_t last = round.value_blocks() - 1;
  // The last block has 77 values in 40 coefficients of two digits: three places have no value.
  CHECK_EQ(round.block_coefficients(last), 40u);
  CHECK_EQ(round.block_values(last), 77u);
  for (const std::uint64_t block : {std::uint64_t{0}, std::uint64_t{5}, last}) {
    for (const std::size_t at : {std::size_t{0}, std::size_t{39}}) {
      refused([&](std::uint8_t* b) { tamperer.set(b, block, at, tamperer.limit()); });
      refused([&](std::uint8_t* b) { tamperer.set(b, block, at, tamperer.limit() - 1); });
      refused([&](std::uint8_t* b) { tamperer.set(b, block, at, 0); });
      refused([&](std::uint8_t* b) { tamperer.set(b, block, at, tamperer.delta()); });
    }
  }
  // Digit 1 of coefficient 39 of the last block has no value, so no number would change.
  const std::int64_t low = sum.sums[last * 4096 + 39] + 2 * plan.levels();
  refused([&](std::uint8_t* b) {
    tamperer.set(
        b, last, 39,
        (static_cast<std::uint64_t>(low) + plan.base()) * tamperer.delta() + tamperer.delta() / 2);
  });
  Bytes unchanged = sum.made->blocks;
  tamperer.set(unchanged.data(), last, 39, static_cast<std::uint64_t>(low) * tamperer.delta());
  CHECK(unchanged != sum.made->blocks);  // the largest noise, the same digits
  (void)decrypt<float>(sum, unchanged, &check);
  // Out of range and a wrong sum of tags say the same as a wrong sum of tags alone.
  const TagCheck wrong{sum.key, TagSum(sum.key.field())};
  CHECK_THROWS_WITH(decrypt<float>(sum, sum.made->blocks, &wrong), TamperedSumError, text);
}

TEST("a tagged sum is worked through before it is refused; whoever stops it keeps no number") {
  const Plan plan = make_plan(2, 2);
  const SecretKey secret = make_key();
  const std::uint64_t portion = (std::uint64_t{1} << 24) / plan.block_capacity();
  const TaggedSum sum(make_round(plan, secret, (portion + 3) * plan.block_capacity()), secret,
                      {1, 1});
  Tamperer tamperer(sum.made->key);
  const TagCheck check = sum.check();
  Bytes blocks = sum.made->blocks;
  tamperer.set(blocks.data(), 0, 0, tamperer.limit());  // no digit string of this plan
  int calls = 0;
  DecryptOptions options;
  options.progress = [&](std::uint64_t, std::uint64_t) { ++calls; };
  CHECK_THROWS(decrypt<float>(sum, blocks, &check, options), TamperedSumError);
  CHECK_EQ(calls, 2);
  calls = 0;
  CHECK_THROWS(decrypt<float>(sum, blocks, nullptr, options), TamperedSumError);
  CHECK_EQ(calls, 0);
  std::vector<float> out(sum.round.size(), 7.0f);
  options.tag = &check;
  options.progress = [](std::uint64_t, std::uint64_t) { throw std::runtime_error("stop"); };
  CHECK_THROWS(
      cipher::decrypt(sum.made->key, sum.made->manifest, sum.made->blocks, options, out.data()),
      std::runtime_error);
  CHECK(std::all_of(out.begin(), out.end(), [](float value) { return value == 0; }));
}

TEST("keys and tags that do not fit are refused before anything is done or used up") {
  const Plan plan = make_plan(10, 16);
  const SecretKey secret = make_key();
  const Round round = make_round(plan, secret, 3000), other = make_round(plan, secret, 3000, 2);
  CHECK_THROWS_WITH(TagKey(round, ByteView(bytes32(1)).first(31)), ParameterError, "32 bytes");
  const TagKey foreign = key_for(other);
  const Update update = random_update(round, 1);
  Tagging tag{foreign, {}};
  EncryptOptions options;
  options.tag = &tag;
  CHECK_THROWS_WITH(cipher::encrypt(round, pieces_of(update), options, kSealer), RoundError,
                    "tag key");
  cipher::PadStore store(round, {cipher::all_pad_bytes(round), 1, 1});
  CHECK(store.wait(kLong));
  CHECK_THROWS(cipher::encrypt(round, pieces_of(update), options, kSealer, store), RoundError);
  CHECK_EQ(store.ready_bytes(), cipher::all_pad_bytes(round));
  const TemporaryFolder folder;
  const std::vector<cipher::FilePiece> pieces = write_update(folder / "in", update);
  CHECK_THROWS(cipher::encrypt_file(round, pieces, folder / "out", options, kSealer, true, {}),
               RoundError);
  CHECK_EQ(folder.names().size(), 1u);
  CHECK(!(foreign.fingerprint() == key_for(round).fingerprint()));
  CHECK(!(key_for(round, 2).fingerprint() == key_for(round).fingerprint()));
  CHECK(key_for(round).fingerprint() == key_for(round).fingerprint());

  const TaggedSum sum(round, secret, {1, 1});
  const TagCheck of_other{foreign, sum.expected};
  CHECK_THROWS_WITH(decrypt<float>(sum, sum.made->blocks, &of_other), RoundError, "tag key");
  const TagCheck of_plan{sum.key, TagSum(ring::TagField(std::uint64_t{1} << 51))};
  CHECK_THROWS_WITH(decrypt<float>(sum, sum.made->blocks, &of_plan), ParameterError,
                    "another plan");
  CHECK_THROWS(sum.key.tag(of_plan.expected, 0, {}), ParameterError);
}

// --- from file to file
// ----------------------------------------------------------------------------

struct Stopped : std::runtime_error {
  Stopped() : std::runtime_error("stopped") {}
};

TEST("from file to file: the hash of encryption in memory") {
  std::uint64_t upload_keys = 1;
  for (const Plan& plan : plans_of_every_ring()) {
    const std::uint64_t a_span = scheme::Spans(make_round(plan, make_key(), 1)).values_per_span();
    for (const std::uint64_t size : {std::uint64_t{5}, a_span + plan.block_capacity() + 1}) {
      const Round round =
          make_round(plan, make_key(), fields_of(uneven(size), upload_keys++ % 4 + 1));
      const TagKey key = key_for(round);
      const Update update = random_update(round, 4);
      Tagging memory{key, {}};
      EncryptOptions options;
      options.weight = 0.7;
      (void)encrypt(round, pieces_of(update), options, memory, 1);
      const TemporaryFolder folder;
      const std::vector<cipher::FilePiece> pieces = write_update(folder / "in", update);
      for (const int threads : {1, 3}) {
        for (const bool resume : {false, true}) {
          Tagging file{key, {}};
          options.threads = threads;
          options.tag = &file;
          cipher::encrypt_file(round, pieces, folder / "out", options, kSealer, resume, {});
          CHECK(file.hash && same(*file.hash, *memory.hash));
        }
      }
    }
  }
}

/// A round of many spans and portions.
struct Large {
  Plan plan = make_plan(10, 16);
  SecretKey secret = make_key();
  Round round = make_round(plan, secret, fields_of({{9'000'000, 1.0}, {8'500'001, 0.5}}));
  TagKey key = key_for(round);
  std::vector<Tensor> update = random_update(round, 9, {ElementType::kFloat32});
  TemporaryFolder folder;
  std::vector<cipher::FilePiece> pieces = write_update(folder / "in", update);
  TagSum expected = hash_by_hand(key, quantise(round, update).values, 1);

  /// Stops after `portions`; the hash when it came to its end before.
  std::optional<TagSum> run(int portions, const TagKey* with) {
    int left = portions;
    std::optional<Tagging> tag;
    EncryptOptions options;
    if (with != nullptr) options.tag = &tag.emplace(Tagging{*with, {}});
    options.progress = [&](std::uint64_t, std::uint64_t) {
      if (left-- == 0) throw Stopped();
    };
    try {
      cipher::encrypt_file(round, pieces, folder / "out", options, kSealer, true, {});
    } catch (const Stopped&) {
      CHECK(!tag || !tag->hash);
      return std::nullopt;
    }
    return tag ? tag->hash : std::nullopt;
  }
};

TEST("interrupted after any portion and continued: the same hash; the journal keeps what it was") {
  Large large;
  std::optional<TagSum> hash;
  int stops = 0;
  for (int portions = 0; !(hash = large.run(portions, &large.key)); ++portions) {
    ++stops;
    CHECK_EQ(mode_of(large.folder / "out.journal"), 0600u);
  }
  CHECK(stops >= 2);
  CHECK(same(*hash, large.expected));
  CHECK_EQ(large.folder.names().size(), 2u);
}

TEST("a journal goes on with its own tag key or none, as it began") {
  Large large;
  const TagKey other = key_for(large.round, 2);
  CHECK(!large.run(0, &large.key));
  CHECK_THROWS_WITH(large.run(1000, &other), ParameterError, "tag key");
  CHECK_THROWS_WITH(large.run(1000, nullptr), ParameterError, "tag key");
  // A portion that is made again is hashed again, and counted once.
  std::string part = contents_of(large.folder / "out.part");
  part[100'000] ^= 1;
  put_contents(large.folder / "out.part", part);
  const std::optional<TagSum> hash = large.run(1000, &large.key);
  CHECK(hash && same(*hash, large.expected));
  CHECK(!large.run(0, nullptr));
  CHECK_THROWS_WITH(large.run(1000, &large.key), ParameterError, "tag key");
}

std::string aggregate_text(const scheme::Manifest& manifest, const Bytes& blocks) {
  Bytes text = scheme::write_aggregate_head(manifest);
  text.insert(text.end(), blocks.begin(), blocks.end());
  text.resize(text.size() + kTrailerBytes);
  repair_checksum(text);
  return {text.begin(), text.end()};
}

void decrypt_to_file(const TaggedSum& sum, const TemporaryFolder& folder, const TagCheck* tag,
                     bool resume, DecryptOptions options = {}) {
  options.tag = tag;
  const std::vector<cipher::FileTarget> targets = {{0, ElementType::kFloat32, sum.round.size()}};
  const scheme::AggregateFile total(folder / "total", sum.round);
  cipher::decrypt_file(sum.made->key, total, folder / "out", {}, targets, 4 * sum.round.size(),
                       options, resume);
}

TEST("decryption from file to file: numbers with the right tag, no file without") {
  std::uint64_t upload_keys = 0;
  for (const Plan& plan : plans_of_every_ring()) {
    const SecretKey secret = make_key();
    const TaggedSum sum(
        make_round(plan, secret, fields_of({{plan.block_capacity() + 77, 1.0}}, ++upload_keys)),
        secret, {1, 1});
    const TagCheck check = sum.check();
    const TagKey other_group = key_for(sum.round, 2);
    TagSum off = sum.expected;
    off.add(TagSum(sum.key.field(), {0, 1}));
    const TagCheck wrong_tag{sum.key, off}, wrong_key{other_group, sum.expected};
    const std::vector<float> expected = decrypt<float>(sum, sum.made->blocks, nullptr);
    const TemporaryFolder folder;
    put_contents(folder / "total", aggregate_text(sum.made->manifest, sum.made->blocks));
    Bytes changed = sum.made->blocks;  // every bit of one coefficient of the second block
    const BlockFields fields(sum.round, 1);
    Field field = fields.read(changed.data(), 5);
    for (std::uint64_t& word : field) word ^= kFieldWordMask;
    fields.write(changed.data(), 5, field);
    for (const bool resume : {false, true}) {
      DecryptOptions options;
      options.threads = resume ? 3 : 1;
      put_contents(folder / "out", "old");
      for (const TagCheck* wrong : {&wrong_tag, &wrong_key}) {
        CHECK_THROWS_WITH(decrypt_to_file(sum, folder, wrong, resume, options), TamperedSumError,
                          "no value is given out");
        CHECK_EQ(contents_of(folder / "out"), "old");
        CHECK_EQ(folder.names().size(), 2u);
      }
      put_contents(folder / "total", aggregate_text(sum.made->manifest, changed));
      CHECK_THROWS_WITH(decrypt_to_file(sum, folder, &check, resume, options), TamperedSumError,
                        "no value is given out");
      CHECK_EQ(contents_of(folder / "out"), "old");
      CHECK_EQ(folder.names().size(), 2u);
      put_contents(folder / "total", aggregate_text(sum.made->manifest, sum.made->blocks));
      decrypt_to_file(sum, folder, &check, resume, options);
      const std::string found = contents_of(folder / "out");
      CHECK_EQ(found.size(), 4 * expected.size());
      CHECK(std::memcmp(found.data(), expected.data(), found.size()) == 0);
      CHECK_EQ(folder.names().size(), 2u);
    }
  }
}

TEST("a damaged file with a tag is told so; a foreign tag key leaves no trace") {
  const Plan plan = make_plan(10, 16);
  const SecretKey secret = make_key();
  const TaggedSum sum(make_round(plan, secret, 5000), secret, {1, 1});
  const TagCheck check = sum.check();
  const TemporaryFolder folder;
  std::string text = aggregate_text(sum.made->manifest, sum.made->blocks);
  text[text.size() - kTrailerBytes - sum.made->blocks.size() + 5] ^= 4;
  put_contents(folder / "total", text);
  CHECK_THROWS_WITH(decrypt_to_file(sum, folder, &check, false), WireFormatError, "checksum");
  const TagKey foreign = key_for(make_round(plan, secret, 5000, 2));
  const TagCheck other{foreign, sum.expected};
  CHECK_THROWS_WITH(decrypt_to_file(sum, folder, &other, true), RoundError, "tag key");
  CHECK_EQ(folder.names().size(), 1u);
}

TEST("decryption interrupted after any portion: the tag is checked over all of them") {
  const Plan plan = make_plan(10, 16);
  const SecretKey secret = make_key();
  const std::uint64_t a_span = scheme::Spans(make_round(plan, secret, 1)).values_per_span();
  const TaggedSum sum(make_round(plan, secret, 40 * a_span + 5), secret, {1, 1});
  const std::vector<float> expected = decrypt<float>(sum, sum.made->blocks, nullptr);
  const TagCheck check = sum.check();
  const TagKey other_group = key_for(sum.round, 2);
  TagSum off = sum.expected;
  off.add(TagSum(sum.key.field(), {1, 0}));
  const TagCheck wrong_tag{sum.key, off}, wrong_key{other_group, sum.expected};
  const TemporaryFolder folder;
  DecryptOptions options;
  options.threads = 2;
  /// True when it came to its end.
  const auto run = [&](const TagCheck* tag, int portions) {
    DecryptOptions stopping = options;
    stopping.progress = [&](std::uint64_t, std::uint64_t) {
      if (portions-- == 0) throw Stopped();
    };
    try {
      decrypt_to_file(sum, folder, tag, true, stopping);
    } catch (const Stopped&) {
      CHECK_EQ(mode_of(folder / "out.journal"), 0600u);
      CHECK_EQ(mode_of(folder / "out.part"), 0600u);
      return false;
    }
    return true;
  };
  put_contents(folder / "total", aggregate_text(sum.made->manifest, sum.made->blocks));
  int portions = 0;
  while (!run(&check, portions)) ++portions;
  CHECK(portions >= 2);
  const std::string found = contents_of(folder / "out");
  CHECK(std::memcmp(found.data(), expected.data(), found.size()) == 0);
  CHECK_EQ(folder.names().size(), 2u);

  put_contents(folder / "out", "old");
  CHECK(!run(&check, 1));
  CHECK_THROWS_WITH(run(&wrong_key, 1000), ParameterError, "tag key");
  CHECK_THROWS_WITH(run(nullptr, 1000), ParameterError, "tag key");
  CHECK_THROWS(run(&wrong_tag, 1000), TamperedSumError);
  CHECK_EQ(contents_of(folder / "out"), "old");
  CHECK_EQ(folder.names().size(), 2u);

  // Refused in the first portion, which is not told: no later run takes that portion for good.
  Tamperer tamperer(sum.made->key);
  Bytes blocks = sum.made->blocks;
  tamperer.set(blocks.data(), 1, 0, tamperer.limit());
  put_contents(folder / "total", aggregate_text(sum.made->manifest, blocks));
  CHECK(!run(&check, 1));
  CHECK_THROWS(run(&check, 1000), TamperedSumError);
  CHECK_EQ(contents_of(folder / "out"), "old");
  CHECK_EQ(folder.names().size(), 2u);
}

}  // namespace
}  // namespace veilsum::test
