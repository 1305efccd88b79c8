// Layer: tests (cipher). Encryption's manners: fresh secrets every time, numbers that are none
// refused by name, clipping counted or refused, wrong pieces refused, progress told and
// cancellation obeyed; the same bytes from encrypting a few blocks at a time.
#include "cipher/encrypt.h"

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
#include "cipher/block_encryptor.h"
#include "cipher/decrypt.h"
#include "support/active_level.h"
#include "support/tampering.h"
#include "support/updates.h"
#include "veilsum/errors.h"

namespace veilsum::test {
namespace {

using cipher::EncryptOptions;
using cipher::OnClip;
using cipher::Piece;
using cipher::Rounding;
using scheme::Plan;
using scheme::Round;
using scheme::SecretKey;
using scheme::Upload;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
const double kNan = std::nan("");

struct World {
  Plan plan = make_plan(10, 16);
  SecretKey key = make_key();
  Round round(std::vector<scheme::Segment> segments) const {
    return make_round(plan, key, fields_of(std::move(segments)));
  }
};

TEST("encrypting the same twice gives unrelated ciphertexts") {
  const World world;
  const Round round = world.round({{5000, 1.0}});
  const Update update = random_update(round, 1);
  const Upload a = cipher::encrypt(round, pieces_of(update), {}, kSealer);
  const Upload b = cipher::encrypt(round, pieces_of(update), {}, kSealer);
  const auto equal_share = [](ByteView x, ByteView y) {
    std::size_t equal = 0;
    for (std::size_t i = 0; i < x.size(); ++i) equal += x[i] == y[i];
    return static_cast<double>(equal) / static_cast<double>(x.size());
  };
  // Random bytes agree in one of 256 places: 24,000 bytes of blocks, deviation 0.0004, and 1168 of
  // the sealed key, 0.0018; ten of them allowed.
  CHECK(equal_share(a.blocks(), b.blocks()) < 1.0 / 256 + 0.005);
  CHECK(equal_share(a.head().part.bytes(), b.head().part.bytes()) < 1.0 / 256 + 0.018);
  CHECK(a.head().nonce != b.head().nonce);
}

TEST("every seed matters, each for its own part") {
  const World world;
  const Round round = world.round({{5000, 1.0}});
  const Update update = random_update(round, 1);
  EncryptOptions options;
  options.rounding = Rounding::kStochastic;
  const auto make = [&](std::uint64_t key, std::uint64_t rounding, std::uint64_t nonce) {
    return cipher::encrypt_with_seeds(round, pieces_of(update), options, kSealer,
                                      {seed32(key), seed32(rounding), nonce_of(nonce)});
  };
  const Upload base = make(1, 2, 3), other_key = make(9, 2, 3), other_rounding = make(1, 9, 3),
               other_nonce = make(1, 2, 9), again = make(1, 2, 3);
  const auto same_blocks = [&](const Upload& upload) {
    return std::equal(base.blocks().begin(), base.blocks().end(), upload.blocks().begin());
  };
  CHECK(same_blocks(again) && base.head().part == again.head().part);
  CHECK(!same_blocks(other_key) && !(base.head().part == other_key.head().part));
  CHECK(!same_blocks(other_rounding) && base.head().part == other_rounding.head().part);
  CHECK(same_blocks(other_nonce) && !(base.head().part == other_nonce.head().part));
  CHECK(other_nonce.head().nonce == nonce_of(9));
}

TEST(
    "an upload's seed is sealed once, with everything encrypted before; a sealer that fails ends "
    "it") {
  struct Broken : std::runtime_error {
    Broken() : std::runtime_error("broken") {}
  };
  class Failing final : public scheme::Sealer {
    Bytes seal(ByteView, ByteView, ByteView) const override { throw Broken(); }
  };
  class Short final : public scheme::Sealer {
    Bytes seal(ByteView, ByteView, ByteView) const override { return Bytes(10); }
  };
  const World world;
  const Round round = world.round({{100, 1.0}});
  const Update update = random_update(round, 1);
  const ToySealer sealer(true);
  const Upload upload = cipher::encrypt(round, pieces_of(update), {}, sealer);
  CHECK_EQ(sealer.calls.load(), 1);
  Seed seed;
  CHECK(kOpener.open(world.key.secret(),
                     scheme::sealing_info(round, scheme::kNoClient, upload.head().nonce),
                     upload.head().part.bytes(), {seed.data(), 32}));
  CHECK_THROWS(cipher::encrypt(round, pieces_of(update), {}, Failing()), Broken);
  CHECK_THROWS_WITH(cipher::encrypt(round, pieces_of(update), {}, Short()), ParameterError,
                    "1168 bytes");
  // Nothing is sealed for an update that is refused.
  Update bad = random_update(round, 1);
  set_value(bad[0], 50, kNan);
  CHECK_THROWS(cipher::encrypt(round, pieces_of(bad), {}, sealer), ParameterError);
  CHECK_EQ(sealer.calls.load(), 1);
}

TEST("blocks encrypted a few at a time, by any thread, in any order, are those of the whole") {
  const SecretKey key = make_key();
  for (const Plan& plan : {make_plan(10, 16), make_plan(10, 16, 4, 128, "n4096")}) {
    for (const std::uint64_t upload_keys : {1u, 2u, 3u, 8u}) {
      const std::uint64_t capacity = plan.block_capacity();
      const Round round = make_round(
          plan, key,
          fields_of({{3 * capacity, 0.5}, {0, 1.0}, {2 * capacity + 9, 2.0}}, upload_keys));
      const Update update = random_update(round, 1);
      for (const Rounding rounding : {Rounding::kNearest, Rounding::kStochastic}) {
        EncryptOptions options;
        options.rounding = rounding;
        const Upload whole =
            cipher::encrypt_with_seeds(round, pieces_of(update), options, kSealer, seeds_of(3));
        const cipher::UploadSecrets secrets(round, seeds_of(3));
        for (std::uint64_t step = 1; step <= round.blocks(); step += 1 + step / 3) {
          cipher::BlockEncryptor encryptor(round, secrets, options);
          cipher::BlockEncryptor::Scratch one(encryptor), two(encryptor);
          Bytes blocks(static_cast<std::size_t>(round.payload_bytes()));
          // From the last step to the first, with two scratches in turn.
          for (std::uint64_t steps = (round.blocks() + step - 1) / step; steps-- > 0;) {
            const std::uint64_t first = steps * step;
            CHECK(encryptor.encrypt(first, std::min(step, round.blocks() - first),
                                    pieces_of(update), steps % 2 == 0 ? one : two,
                                    blocks.data() + round.block_offset(first)));
          }
          CHECK(std::equal(blocks.begin(), blocks.end(), whole.blocks().begin(),
                           whole.blocks().end()));
          CHECK_EQ(encryptor.clipped(), whole.head().clipped);
        }
      }
    }
  }
}

/// The message of the ParameterError that encrypting throws.
std::string refusal(const Round& round, const Update& update, const EncryptOptions& options = {}) {
  try {
    cipher::encrypt(round, pieces_of(update), options, kSealer);
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
  CHECK_EQ(cipher::encrypt(round, pieces_of(update), options, kSealer).head().clipped, 1u);
  options.weight = 1e-10;
  const Upload fine = cipher::encrypt(round, pieces_of(update), options, kSealer);
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
  CHECK_EQ(cipher::encrypt(round, pieces_of(update), strict, kSealer).head().clipped, 0u);
  set_value(update[0], 99, std::nextafter(0.5, 1.0));
  set_value(update[1], 0, -1e300);
  CHECK_EQ(cipher::encrypt(round, pieces_of(update), {}, kSealer).head().clipped, 2u);
  CHECK(contains(refusal(round, update, strict), "2 of 150 values"));
  // The limit is applied to the weighted value.
  EncryptOptions halved = strict;
  halved.weight = 0.5;
  set_value(update[1], 0, -4.0);
  CHECK_EQ(cipher::encrypt(round, pieces_of(update), halved, kSealer).head().clipped, 0u);
  // Counted over all blocks and threads.
  const Round large = world.round({{20'000, 1.0}});
  const std::vector<float> beyond(20'000, 1.5f);
  const Piece piece = {beyond.data(), ElementType::kFloat32, 20'000};
  for (int threads = 1; threads <= 4; ++threads) {
    EncryptOptions options;
    options.threads = threads;
    CHECK_EQ(cipher::encrypt(large, {&piece, 1}, options, kSealer).head().clipped, 20'000u);
  }
}

TEST("pieces that are not the round's are refused") {
  const World world;
  const Round round = world.round({{10, 1.0}, {0, 1.0}, {5, 1.0}});
  const std::vector<double> values(16, 0.0);
  const auto with = [&](std::vector<Piece> pieces) { cipher::encrypt(round, pieces, {}, kSealer); };
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
  const Upload upload = cipher::encrypt(round, pieces_of(update), options, kSealer);
  CHECK(calls == std::vector<Call>({{9000, 9000}}));
  const Upload other = cipher::encrypt(round, pieces_of(update), {}, kSealer);
  const HandMadeSum sum = sum_by_hand(world.key, round, {&upload, &other}, {1, 1});
  cipher::DecryptOptions back;
  back.threads = 3;
  back.progress = options.progress;
  std::vector<float> out(9000);
  calls.clear();
  cipher::decrypt(sum.key, sum.manifest, sum.blocks, back, out.data());
  CHECK(calls == std::vector<Call>({{9000, 9000}}));
}

struct Cancelled : std::runtime_error {
  Cancelled() : std::runtime_error("cancelled") {}
};

TEST("progress: long work in portions, the same bytes, and an exception in it cancels") {
  const Plan plan = make_plan(2, 2);  // fourteen values a coefficient: the least work a value
  const SecretKey key = make_key();
  constexpr std::uint64_t kKeys = 3;
  // Groups of blocks that have one polynomial are not divided.
  const std::uint64_t group = kKeys * plan.block_capacity();
  const std::uint64_t portion = (std::uint64_t{1} << 24) / group * group;
  const std::uint64_t size = portion + 12'345;
  const Round round = make_round(plan, key, fields_of({{size, 1.0}}, kKeys));
  AlignedBuffer<std::uint16_t> values(size, Initialise::kZero);
  for (std::uint64_t v = 0; v < size; v += 3) values[v] = 0x3f80;  // bfloat16 1.0
  const Piece piece = {values.data(), ElementType::kBfloat16, size};
  std::vector<Call> calls;
  EncryptOptions options;
  options.threads = 2;
  options.progress = [&](std::uint64_t done, std::uint64_t total) {
    calls.push_back({done, total});
  };
  const Upload upload =
      cipher::encrypt_with_seeds(round, {&piece, 1}, options, kSealer, seeds_of(1));
  CHECK(calls == std::vector<Call>({{portion, size}, {size, size}}));
  {
    const Upload silent = cipher::encrypt_with_seeds(round, {&piece, 1}, {}, kSealer, seeds_of(1));
    CHECK(std::equal(silent.blocks().begin(), silent.blocks().end(), upload.blocks().begin()));
  }

  int times = 0;
  options.progress = [&](std::uint64_t, std::uint64_t) {
    ++times;
    throw Cancelled();
  };
  CHECK_THROWS(cipher::encrypt(round, {&piece, 1}, options, kSealer), Cancelled);
  CHECK_EQ(times, 1);

  // Not finite in the last portion: refused, although earlier portions were reported.
  values[size - 1] = 0x7fc0;
  calls.clear();
  options.progress = [&](std::uint64_t done, std::uint64_t total) {
    calls.push_back({done, total});
  };
  CHECK_THROWS_WITH(cipher::encrypt(round, {&piece, 1}, options, kSealer), ParameterError,
                    "value " + std::to_string(size - 1));
  CHECK(calls == std::vector<Call>({{portion, size}}));
  values[size - 1] = 0;

  const Upload again = cipher::encrypt_with_seeds(round, {&piece, 1}, {}, kSealer, seeds_of(2));
  const HandMadeSum sum = sum_by_hand(key, round, {&upload, &again}, {1, 1});
  cipher::DecryptOptions back;
  back.threads = 2;
  calls.clear();
  back.progress = [&](std::uint64_t done, std::uint64_t total) { calls.push_back({done, total}); };
  std::vector<float> out(size);
  cipher::decrypt(sum.key, sum.manifest, sum.blocks, back, out.data());
  CHECK(calls == std::vector<Call>({{portion, size}, {size, size}}));
  std::size_t wrong = 0;
  for (std::uint64_t v = 0; v < size; ++v) wrong += out[v] != (v % 3 == 0 ? 1.0f : 0.0f);
  CHECK_EQ(wrong, 0u);
  // One field out of range in the last portion: what earlier ones decrypted is wiped too.
  HandMadeSum tampered = sum_by_hand(key, round, {&upload, &again}, {1, 1});
  Tamperer tamperer(tampered.key);
  tamperer.set(tampered.blocks.data(), round.value_blocks() - 1, 0, tamperer.limit());
  calls.clear();
  const scheme::SumKey named = rebound(tampered.key, tampered.blocks);
  CHECK_THROWS(cipher::decrypt(named, tampered.manifest, tampered.blocks, back, out.data()),
               TamperedSumError);
  CHECK(calls == std::vector<Call>({{portion, size}}));
  CHECK(std::all_of(out.begin(), out.end(), [](float value) { return value == 0; }));
  back.progress = [](std::uint64_t, std::uint64_t) { throw Cancelled(); };
  CHECK_THROWS(cipher::decrypt(sum.key, sum.manifest, sum.blocks, back, out.data()), Cancelled);
}

}  // namespace
}  // namespace veilsum::test
