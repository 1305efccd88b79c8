// Layer: tests (codec). Encryption's manners: fresh secrets every time, numbers that are none
// refused by name, clipping counted or refused, wrong pieces refused, progress told and
// cancellation obeyed; and decryption's refusal of keys that belong to another sum.
#include "codec/encrypt.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "check.h"
#include "codec/decrypt.h"
#include "support/active_level.h"
#include "support/updates.h"
#include "veilsum/errors.h"

namespace veilsum::test {
namespace {

using codec::EncryptOptions;
using codec::OnClip;
using codec::Piece;
using codec::Rounding;
using scheme::Plan;
using scheme::Round;
using scheme::SecretKey;
using scheme::Upload;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
const double kNan = std::nan("");

struct World {
  Plan plan = make_plan(10, 16);
  SecretKey key = make_key(plan);
  Round round(std::vector<scheme::Segment> segments) const {
    return make_round(plan, key, fields_of(std::move(segments)));
  }
};

TEST("encrypting the same twice gives unrelated ciphertexts") {
  const World world;
  const Round round = world.round({{5000, 1.0}});
  const Update update = random_update(round, 1);
  const Upload a = codec::encrypt(round, pieces_of(update), {});
  const Upload b = codec::encrypt(round, pieces_of(update), {});
  const auto equal_share = [](ByteView x, ByteView y) {
    std::size_t equal = 0;
    for (std::size_t i = 0; i < x.size(); ++i) equal += x[i] == y[i];
    return static_cast<double>(equal) / static_cast<double>(x.size());
  };
  // Random bytes agree in one of 256 places: 15,625 bytes, deviation 0.0005, ten of them allowed.
  CHECK(equal_share(a.blocks(), b.blocks()) < 1.0 / 256 + 0.005);
  CHECK(equal_share(a.head().capsule, b.head().capsule) < 1.0 / 256 + 0.005);
}

TEST("every secret seed matters, each for its own part") {
  const World world;
  const Round round = world.round({{5000, 1.0}});
  const Update update = random_update(round, 1);
  EncryptOptions options;
  options.rounding = Rounding::kStochastic;
  const auto make = [&](std::uint64_t capsule, std::uint64_t errors, std::uint64_t rounding) {
    return codec::encrypt_with_seeds(round, pieces_of(update), options,
                                     {seed32(capsule), seed32(errors), seed32(rounding)});
  };
  const Upload base = make(1, 2, 3), other_capsule = make(9, 2, 3), other_errors = make(1, 9, 3),
               other_rounding = make(1, 2, 9), again = make(1, 2, 3);
  const auto same_blocks = [&](const Upload& upload) {
    return std::equal(base.blocks().begin(), base.blocks().end(), upload.blocks().begin());
  };
  CHECK(same_blocks(again) && base.head().capsule == again.head().capsule);
  CHECK(!same_blocks(other_capsule) && base.head().capsule != other_capsule.head().capsule);
  CHECK(!same_blocks(other_errors) && base.head().capsule == other_errors.head().capsule);
  CHECK(!same_blocks(other_rounding) && base.head().capsule == other_rounding.head().capsule);
}

/// The message of the ParameterError that encrypting throws.
std::string refusal(const Round& round, const Update& update, const EncryptOptions& options = {}) {
  try {
    codec::encrypt(round, pieces_of(update), options);
  } catch (const ParameterError& error) {
    return error.what();
  }
  return "nothing was refused";
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST("a NaN or an infinity: the first is named, by its place in the vector and in its tensor") {
  const World world;
  const std::uint64_t capacity = world.plan.block_capacity();
  const Round round =
      world.round({{10, 1.0}, {0, 1.0}, {capacity, 1.0}, {0, 1.0}, {2 * capacity, 1.0}, {7, 1.0}});
  for (const int threads : {1, 2, 4}) {
    for (const double bad : {kNan, kInfinity, -kInfinity}) {
      for (std::uint64_t n = 0; n < 4; ++n) {  // every element type in every tensor
        EncryptOptions options;
        options.threads = threads;
        Update update = random_update(round, n);
        set_value(update[4], 2 * capacity - 1, bad);
        std::string text = refusal(round, update, options);
        CHECK(contains(text, "value " + std::to_string(3 * capacity + 9) + " "));
        CHECK(contains(text, "tensor 4"));
        set_value(update[2], 5, bad);
        text = refusal(round, update, options);
        CHECK(contains(text, "value 15 (value 5 of tensor 2)"));
        set_value(update[5], 6, kNan);
        set_value(update[0], 9, bad);
        text = refusal(round, update, options);
        CHECK(contains(text, "value 9 (value 9 of tensor 0)"));
        CHECK(contains(text, "nothing was encrypted"));
      }
    }
  }
}

TEST("every place of a small vector, on every level") {
  const World world;
  const Round round = world.round({{21, 1.0}, {20, 1.0}});
  on_every_active_level([&] {
    for (std::uint64_t n = 0; n < 4; ++n) {
      for (std::uint64_t v = 0; v < 41; ++v) {
        Update update = random_update(round, n);
        set_value(update[v / 21], v < 21 ? v : v - 21, v % 2 == 0 ? kNan : -kInfinity);
        CHECK(contains(refusal(round, update), "value " + std::to_string(v) + " ("));
      }
    }
  });
}

TEST("largest numbers, tiny numbers and NaNs of every pattern are told apart") {
  const World world;
  const Round round = world.round({{3, 1.0}});
  for (std::uint32_t bits = 0; bits < 0x10000; bits += 17) {
    for (const ElementType type : {ElementType::kFloat16, ElementType::kBfloat16}) {
      Update update;
      update.push_back({type, 3, AlignedBuffer<std::uint8_t>(6, Initialise::kZero)});
      const auto pattern = static_cast<std::uint16_t>(bits);
      std::memcpy(update[0].bytes.data() + 4, &pattern, 2);
      const std::uint32_t exponent = type == ElementType::kFloat16 ? 0x7c00 : 0x7f80;
      const bool finite = (bits & exponent) != exponent;
      CHECK_EQ(refusal(round, update) == "nothing was refused", finite);
    }
  }
}

TEST("a finite value whose product with the weight overflows is beyond the limit, no more") {
  const World world;
  const Round round = world.round({{9, 1.0}});
  Update update;
  update.push_back({ElementType::kFloat64, 9, AlignedBuffer<std::uint8_t>(72, Initialise::kZero)});
  set_value(update[0], 4, 1e300);
  EncryptOptions options;
  options.weight = 1e10;
  CHECK_EQ(codec::encrypt(round, pieces_of(update), options).head().clipped, 1u);
  options.weight = 1e-10;
  const Upload fine = codec::encrypt(round, pieces_of(update), options);
  CHECK_EQ(fine.head().clipped, 1u);
  for (const double weight : {kNan, kInfinity, -kInfinity}) {
    options.weight = weight;
    CHECK(contains(refusal(round, update, options), "not finite"));
  }
}

TEST("clipping: exactly at the limit is inside; beyond is counted, or refused") {
  const World world;
  const Round round = world.round({{100, 0.5}, {50, 2.0}});
  Update update;
  for (const scheme::Segment& segment : round.segments()) {
    update.push_back({ElementType::kFloat64, segment.count,
                      AlignedBuffer<std::uint8_t>(8 * segment.count, Initialise::kZero)});
  }
  set_value(update[0], 3, 0.5);
  set_value(update[0], 4, -0.5);
  set_value(update[1], 49, 2.0);
  EncryptOptions strict;
  strict.on_clip = OnClip::kError;
  CHECK_EQ(codec::encrypt(round, pieces_of(update), strict).head().clipped, 0u);
  set_value(update[0], 99, std::nextafter(0.5, 1.0));
  set_value(update[1], 0, -1e300);
  CHECK_EQ(codec::encrypt(round, pieces_of(update), {}).head().clipped, 2u);
  CHECK(contains(refusal(round, update, strict), "2 of 150 values"));
  // The limit is applied to the weighted value.
  EncryptOptions halved = strict;
  halved.weight = 0.5;
  set_value(update[1], 0, -4.0);
  CHECK_EQ(codec::encrypt(round, pieces_of(update), halved).head().clipped, 0u);
  // Counted over all blocks and threads.
  const Round large = world.round({{20'000, 1.0}});
  const std::vector<float> beyond(20'000, 1.5f);
  const Piece piece = {beyond.data(), ElementType::kFloat32, 20'000};
  for (int threads = 1; threads <= 4; ++threads) {
    EncryptOptions options;
    options.threads = threads;
    CHECK_EQ(codec::encrypt(large, {&piece, 1}, options).head().clipped, 20'000u);
  }
}

TEST("pieces that are not the round's are refused") {
  const World world;
  const Round round = world.round({{10, 1.0}, {0, 1.0}, {5, 1.0}});
  const std::vector<double> values(16, 0.0);
  const auto with = [&](std::vector<Piece> pieces) { codec::encrypt(round, pieces, {}); };
  const Piece ten = {values.data(), ElementType::kFloat64, 10},
              none = {nullptr, ElementType::kFloat32, 0},
              five = {values.data(), ElementType::kFloat32, 5};
  with({ten, none, five});
  CHECK_THROWS_WITH(with({ten, five}), ParameterError, "has 2 tensors");
  CHECK_THROWS_WITH(with({}), ParameterError, "has 0 tensors");
  CHECK_THROWS(with({ten, none, five, none}), ParameterError);
  CHECK_THROWS_WITH(with({ten, five, none}), ParameterError, "tensor 1");
  CHECK_THROWS_WITH(with({{values.data(), ElementType::kFloat64, 9}, none, five}), ParameterError,
                    "tensor 0 of the update has 9 values");
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(values.data());
  CHECK_THROWS_WITH(with({{bytes + 4, ElementType::kFloat64, 10}, none, five}), ParameterError,
                    "aligned");
  CHECK_THROWS_WITH(with({ten, none, {bytes + 2, ElementType::kFloat32, 5}}), ParameterError,
                    "aligned");
  CHECK_THROWS(with({ten, none, {bytes + 1, ElementType::kFloat16, 5}}), ParameterError);
  with({{bytes + 8, ElementType::kFloat64, 10}, none, {bytes + 2, ElementType::kBfloat16, 5}});
}

struct Call {
  std::uint64_t done, total;
  bool operator==(const Call&) const = default;
};

TEST("progress: told in the calling thread; small work in one step") {
  const World world;
  const Round round = world.round({{9000, 1.0}});
  const Update update = random_update(round, 1);
  const std::thread::id caller = std::this_thread::get_id();
  std::vector<Call> calls;
  EncryptOptions options;
  options.threads = 3;
  options.progress = [&](std::uint64_t done, std::uint64_t total) {
    CHECK(std::this_thread::get_id() == caller);
    calls.push_back({done, total});
  };
  const Upload upload = codec::encrypt(round, pieces_of(update), options);
  CHECK(calls == std::vector<Call>({{9000, 9000}}));
  const Upload other = codec::encrypt(round, pieces_of(update), {});
  const HandMadeSum sum = sum_by_hand(world.key, round, {&upload, &other}, {1, 1});
  codec::DecryptOptions back;
  back.threads = 3;
  back.progress = options.progress;
  std::vector<float> out(9000);
  calls.clear();
  codec::decrypt(sum.key, sum.manifest, sum.blocks, back, out.data());
  CHECK(calls == std::vector<Call>({{9000, 9000}}));
}

struct Cancelled : std::runtime_error {
  Cancelled() : std::runtime_error("cancelled") {}
};

TEST("progress: long work in portions, the same bytes, and an exception in it cancels") {
  const Plan plan = make_plan(2, 2);  // fourteen values a coefficient: the least work a value
  const SecretKey key = make_key(plan);
  const std::uint64_t portion =
      (std::uint64_t{1} << 24) / plan.block_capacity() * plan.block_capacity();
  const std::uint64_t size = portion + 12'345;
  const Round round = make_round(plan, key, size);
  AlignedBuffer<std::uint16_t> values(size, Initialise::kZero);
  for (std::uint64_t v = 0; v < size; v += 3) values[v] = 0x3f80;  // bfloat16 1.0
  const Piece piece = {values.data(), ElementType::kBfloat16, size};
  std::vector<Call> calls;
  EncryptOptions options;
  options.threads = 2;
  options.progress = [&](std::uint64_t done, std::uint64_t total) {
    calls.push_back({done, total});
  };
  const Upload upload = codec::encrypt_with_seeds(round, {&piece, 1}, options, seeds_of(1));
  CHECK(calls == std::vector<Call>({{portion, size}, {size, size}}));

  int times = 0;
  options.progress = [&](std::uint64_t, std::uint64_t) {
    ++times;
    throw Cancelled();
  };
  CHECK_THROWS(codec::encrypt(round, {&piece, 1}, options), Cancelled);
  CHECK_EQ(times, 1);

  // Not finite in the last portion: refused, although earlier portions were reported.
  values[size - 1] = 0x7fc0;
  calls.clear();
  options.progress = [&](std::uint64_t done, std::uint64_t total) {
    calls.push_back({done, total});
  };
  CHECK_THROWS_WITH(codec::encrypt(round, {&piece, 1}, options), ParameterError,
                    "value " + std::to_string(size - 1));
  CHECK(calls == std::vector<Call>({{portion, size}}));
  values[size - 1] = 0;

  const Upload again = codec::encrypt_with_seeds(round, {&piece, 1}, {}, seeds_of(2));
  const HandMadeSum sum = sum_by_hand(key, round, {&upload, &again}, {1, 1});
  codec::DecryptOptions back;
  back.threads = 2;
  calls.clear();
  back.progress = [&](std::uint64_t done, std::uint64_t total) { calls.push_back({done, total}); };
  std::vector<float> out(size);
  codec::decrypt(sum.key, sum.manifest, sum.blocks, back, out.data());
  CHECK(calls == std::vector<Call>({{portion, size}, {size, size}}));
  std::size_t wrong = 0;
  for (std::uint64_t v = 0; v < size; ++v) wrong += out[v] != (v % 3 == 0 ? 1.0f : 0.0f);
  CHECK_EQ(wrong, 0u);
  back.progress = [](std::uint64_t, std::uint64_t) { throw Cancelled(); };
  CHECK_THROWS(codec::decrypt(sum.key, sum.manifest, sum.blocks, back, out.data()), Cancelled);
}

TEST("keys of other sums decrypt nothing") {
  const World world;
  const Round round = world.round({{100, 1.0}});
  const Round other_round = make_round(world.plan, world.key, fields_of({{100, 1.0}}), 2);
  const Update update = random_update(round, 1);
  std::vector<Upload> uploads;
  for (std::uint64_t n = 0; n < 3; ++n) {
    uploads.push_back(codec::encrypt_with_seeds(round, pieces_of(update), {}, seeds_of(n)));
  }
  const Upload foreign_a =
      codec::encrypt_with_seeds(other_round, pieces_of(update), {}, seeds_of(1));
  const Upload foreign_b =
      codec::encrypt_with_seeds(other_round, pieces_of(update), {}, seeds_of(2));
  const HandMadeSum pair = sum_by_hand(world.key, round, {&uploads[0], &uploads[1]}, {1, 1});
  const SecretKey twin = make_key(world.plan);  // a second ledger, as a thief would have it
  const HandMadeSum all =
      sum_by_hand(twin, round, {&uploads[0], &uploads[1], &uploads[2]}, {1, 1, 1});
  const HandMadeSum foreign = sum_by_hand(world.key, other_round, {&foreign_a, &foreign_b}, {1, 1});
  std::vector<double> out(100, 7.0);
  codec::DecryptOptions options;
  options.type = ElementType::kFloat64;
  const auto decrypt = [&](const HandMadeSum& key_of, const HandMadeSum& sum) {
    codec::decrypt(key_of.key, sum.manifest, sum.blocks, options, out.data());
  };
  CHECK_THROWS_WITH(decrypt(foreign, pair), KeyMismatchError, short_hex(other_round.id()));
  CHECK_THROWS_WITH(decrypt(all, pair), KeyMismatchError, "another set of uploads");
  CHECK_THROWS(decrypt(pair, all), KeyMismatchError);
  for (const double value : out) CHECK_EQ(value, 7.0);  // untouched
  for (const ElementType type : {ElementType::kFloat16, ElementType::kBfloat16}) {
    options.type = type;
    CHECK_THROWS_WITH(decrypt(pair, pair), ParameterError, "float32 or float64");
  }
  options.type = ElementType::kFloat64;
  decrypt(pair, pair);
}

}  // namespace
}  // namespace veilsum::test
