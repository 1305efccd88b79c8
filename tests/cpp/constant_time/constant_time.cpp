// Tests: no branch and no address depends on a secret. Secrets are marked as uninitialised memory
// and the code runs under valgrind's memcheck, which follows such bits through every instruction
// and reports a jump or an address that depends on one (the method of Langley's ctgrind). What has
// been made public on purpose is marked as initialised again, at the places named here. Valgrind
// knows no AVX-512, so the levels are scalar and avx2; every program run covers one of them.
//
//   constant_time scalar|avx2         valgrind must find nothing
//   constant_time --leak              valgrind must find something: a table look-up by a secret
#include <valgrind/memcheck.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "codec/decrypt.h"
#include "codec/encrypt.h"
#include "isa/aes_key.h"
#include "isa/dispatch.h"
#include "ring/expander.h"
#include "scheme/capsule.h"
#include "support/rounds.h"

namespace veilsum::test {
namespace {

void hide(const void* data, std::size_t bytes) { (void)VALGRIND_MAKE_MEM_UNDEFINED(data, bytes); }
void reveal(const void* data, std::size_t bytes) { (void)VALGRIND_MAKE_MEM_DEFINED(data, bytes); }

/// True when memcheck still takes every byte for secret: nothing on the way lost the mark, by a
/// copy through an instruction that it does not follow, or because the secret did not enter.
bool all_hidden(const void* data, std::size_t bytes) {
  std::vector<std::uint8_t> marks(bytes);
  if (VALGRIND_GET_VBITS(data, marks.data(), bytes) != 1) return false;
  for (const std::uint8_t mark : marks) {
    if (mark == 0) return false;
  }
  return true;
}

void require_hidden(const void* data, std::size_t bytes, const char* what) {
  if (all_hidden(data, bytes)) return;
  std::printf("%s is not marked as secret, so this run shows nothing\n", what);
  std::exit(2);
}

unsigned errors_so_far() { return VALGRIND_COUNT_ERRORS; }

/// Says after each step whether it was clean.
class Steps {
 public:
  void done(const std::string& name) {
    const unsigned now = errors_so_far();
    std::printf("%s %s\n", now == before_ ? "clean " : "LEAKS ", name.c_str());
    before_ = now;
  }

 private:
  unsigned before_ = errors_so_far();
};

Seed hidden_seed(std::uint64_t n) {
  Seed seed = seed32(n);
  hide(seed.data(), 32);
  return seed;
}

/// AES key schedule, keystreams, samples and SHA-256 of secret keys.
void run_streams(Steps& steps) {
  const isa::KernelTable& kernels = isa::kernels();
  for (const std::size_t bytes : {16u, 32u}) {
    std::uint8_t raw[32];
    std::memcpy(raw, bytes32(bytes).data(), sizeof raw);
    hide(raw, sizeof raw);
    isa::AesKey key;
    isa::aes_expand_key(raw, bytes, key);
    std::vector<std::uint8_t> stream(16 * 37);
    kernels.aes_ctr(key, 5, 0, stream.data(), 37);
    kernels.aes_encrypt_blocks(key, stream.data(), stream.data(), 37);
    std::vector<std::int8_t> samples(2048 + 8);
    kernels.sample_cbd(key, 7, samples.size(), samples.data());
    require_hidden(stream.data(), stream.size(), "a keystream");
    require_hidden(samples.data(), samples.size(), "a sample");
    steps.done("AES-" + std::to_string(8 * bytes) + " key schedule, keystream, CBD samples");
  }
  const Seed seed = hidden_seed(3);
  const ring::Expander expander("label", ByteView(), seed.span(), ring::KeySize::kAes256);
  steps.done("SHA-256 of a seed");
}

/// Quantising of secret values of every type, nearest and stochastic, clipped or not.
void run_quantise(Steps& steps) {
  constexpr std::size_t kCount = 83;
  std::vector<double> doubles;
  std::vector<float> floats;
  std::vector<std::uint16_t> halves, brains;
  for (std::size_t i = 0; i < kCount; ++i) {
    doubles.push_back((static_cast<double>(i) - 40) / 32);
    floats.push_back(static_cast<float>(doubles.back()));
    halves.push_back(static_cast<std::uint16_t>(0x3000 + 37 * i));
    brains.push_back(static_cast<std::uint16_t>(0x3e00 + 5 * i));
  }
  std::vector<std::uint32_t> words(kCount, 0x9e3779b9u);
  std::vector<std::uint64_t> plane(kCount);
  hide(doubles.data(), kCount * sizeof(double));
  hide(floats.data(), kCount * sizeof(float));
  hide(halves.data(), kCount * sizeof(std::uint16_t));
  hide(brains.data(), kCount * sizeof(std::uint16_t));
  hide(words.data(), kCount * sizeof(std::uint32_t));
  const std::pair<isa::ElementType, const void*> inputs[] = {
      {isa::ElementType::kFloat32, floats.data()},
      {isa::ElementType::kFloat64, doubles.data()},
      {isa::ElementType::kFloat16, halves.data()},
      {isa::ElementType::kBfloat16, brains.data()}};
  for (const auto& [type, values] : inputs) {
    for (const bool stochastic : {false, true}) {
      for (const double weight : {1.0, 0.3}) {
        isa::Quantise args{};
        args.values = values;
        args.type = type;
        args.count = kCount;
        args.weight = weight;
        args.limit = 1.0;
        args.inverse_step = 32767.0;
        args.levels = 32767;
        args.random = stochastic ? words.data() : nullptr;
        args.overwrite = true;
        args.plane = plane.data();
        const isa::QuantiseResult result = isa::kernels().quantise(args);
        require_hidden(&plane[kCount - 1], 1, "a digit");
        reveal(&result, sizeof result);  // the clip count is published, and so is a refusal
      }
    }
  }
  steps.done("quantising");
}

/// One plan: key generation, encryption, opening, decryption.
void run_plan(Steps& steps, const scheme::Plan& plan) {
  const std::string name = "N = " + std::to_string(plan.degree()) + ", " +
                           std::to_string(plan.limbs()) + " limb(s), " +
                           std::to_string(plan.security()) + " bits";
  const scheme::SecretKey public_side = make_key(plan);
  const scheme::SecretKey secret(ring::Ring::get(plan.capsule().degree, plan.capsule().limbs),
                                 hidden_seed(1), bytes32(~1ull));
  steps.done("key generation: " + name);

  const std::uint64_t size = plan.block_capacity() + 29;
  const scheme::Round round = make_round(plan, public_side, size);
  std::vector<float> values(size);
  for (std::size_t i = 0; i < size; ++i) values[i] = static_cast<float>(i % 97) / 97.0f;
  const codec::Piece piece{values.data(), isa::ElementType::kFloat32, size};
  codec::EncryptOptions options;
  options.threads = 1;
  options.rounding = codec::Rounding::kStochastic;
  codec::UploadSeeds seeds{hidden_seed(11), hidden_seed(12), hidden_seed(13)};
  const scheme::Upload upload =
      codec::encrypt_with_seeds(round, std::span(&piece, 1), options, seeds);
  steps.done("encryption: " + name);

  // From here on the upload is public.
  require_hidden(upload.head().capsule.bytes().data(), upload.head().capsule.size(), "the capsule");
  require_hidden(upload.blocks().data(), upload.blocks().size(), "a block");
  Bytes capsule = upload.head().capsule.bytes();
  reveal(capsule.data(), capsule.size());
  reveal(upload.blocks().data(), upload.blocks().size());
  reveal(&secret.id(), sizeof secret.id());
  const scheme::EphemeralKey r = scheme::open_summed_capsule(secret, round, capsule, 1);
  steps.done("opening a capsule: " + name);

  require_hidden(r.data(), r.size() * sizeof(std::int64_t), "the opened key");
  scheme::Manifest manifest(round);
  scheme::UploadHead head;
  head.clipped = 0;
  head.capsule = capsule;
  manifest.add(std::move(head), 1, nullptr);
  scheme::EphemeralKey for_key(r.size());
  std::memcpy(for_key.data(), r.data(), r.size() * sizeof(std::int64_t));
  const scheme::SumKey sum_key(round, manifest.digest(), 1, 1, true, std::move(for_key));
  std::vector<float> out(size);
  codec::DecryptOptions how;
  how.threads = 1;
  codec::decrypt(sum_key, manifest, upload.blocks(), how, out.data());
  steps.done("decryption: " + name);

  require_hidden(out.data(), out.size() * sizeof(float), "a decrypted value");

  // And what was computed on uninitialised memory is right.
  reveal(out.data(), out.size() * sizeof(float));
  for (std::size_t i = 0; i < size; ++i) {
    if (out[i] - values[i] > 2e-2f || values[i] - out[i] > 2e-2f) {
      std::printf("value %zu came back as %g instead of %g\n", i, static_cast<double>(out[i]),
                  static_cast<double>(values[i]));
      std::exit(2);
    }
  }
}

/// What the tool must find, or the test shows nothing.
int leak() {
  static const std::uint8_t table[256] = {1, 2, 3};
  const Seed seed = hidden_seed(1);
  volatile std::uint8_t sink = table[seed.data()[0]];
  (void)sink;
  return 0;
}

int run(const char* level) {
  if (RUNNING_ON_VALGRIND == 0) {
    std::fprintf(stderr, "this program shows something under valgrind only\n");
    return 2;
  }
  if (std::strcmp(level, "--leak") == 0) return leak();
  isa::set_active_level_for_tests(level);
  Steps steps;
  run_streams(steps);
  run_quantise(steps);
  for (const scheme::Plan& plan : plans_of_every_ring()) run_plan(steps, plan);
  return 0;
}

}  // namespace
}  // namespace veilsum::test

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  return veilsum::test::run(argv[1]);
}
