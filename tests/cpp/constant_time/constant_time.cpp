// Tests: no branch and no address depends on a secret. Secrets are marked as uninitialised memory
// and the code runs under valgrind's memcheck, which follows such bits through every instruction
// and reports a jump or an address that depends on one (the method of Langley's ctgrind). What has
// been made public on purpose is marked as initialised again, at the places named here; that
// decryption says whether a sum holds is made public in published.supp. Valgrind knows no AVX-512,
// so the levels are scalar and avx2; every program run covers one of them.
//
//   constant_time scalar|avx2         valgrind must find nothing
//   constant_time --leak              valgrind must find something: a table look-up by a secret
#include <valgrind/memcheck.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "cipher/decrypt.h"
#include "cipher/encrypt.h"
#include "cipher/sum_tag.h"
#include "isa/aes_key.h"
#include "isa/dispatch.h"
#include "ring/block_arithmetic.h"
#include "ring/expander.h"
#include "ring/fields.h"
#include "ring/prime_field.h"
#include "ring/ring.h"
#include "ring/shamir.h"
#include "ring/tag_hash.h"
#include "scheme/challenge.h"
#include "scheme/combine.h"
#include "scheme/opening.h"
#include "support/identities.h"
#include "support/plans.h"
#include "support/random.h"

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

/// 32 bytes that differ for every n.
std::array<std::uint8_t, 32> bytes32(std::uint64_t n) {
  Random random(n);
  std::array<std::uint8_t, 32> out;
  for (std::uint8_t& byte : out) byte = static_cast<std::uint8_t>(random.next());
  return out;
}

Seed hidden_seed(std::uint64_t n) {
  Seed seed(bytes32(n));
  hide(seed.data(), 32);
  return seed;
}

isa::AesKey hidden_key(std::size_t bytes) {
  std::array<std::uint8_t, 32> raw = bytes32(bytes);
  hide(raw.data(), raw.size());
  isa::AesKey key;
  isa::aes_expand_key(raw.data(), bytes, key);
  return key;
}

/// Secret words below `end`.
std::vector<std::uint64_t> hidden_words(std::size_t count, std::uint64_t end) {
  Random random(end);
  std::vector<std::uint64_t> words(count);
  for (std::uint64_t& word : words) word = random.edgy(end);
  hide(words.data(), count * sizeof words[0]);
  return words;
}

template <typename T>
void require_hidden(const std::vector<T>& data, const char* what) {
  require_hidden(data.data(), data.size() * sizeof(T), what);
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

/// Transforms and products of secret polynomials, and the multiplier of a secret key.
void run_transforms(Steps& steps) {
  const isa::KernelTable& kernels = isa::kernels();
  for (const std::uint32_t n : {64u, 128u, 512u, 1024u}) {  // even and odd numbers of layers
    const ring::Ring ring(n, 4);
    std::vector<std::int64_t> coefficients(n);
    for (std::uint32_t j = 0; j < n; ++j) coefficients[j] = static_cast<std::int64_t>(j % 17) - 8;
    hide(coefficients.data(), n * sizeof coefficients[0]);
    const ring::SlotMultiplier key(ring, coefficients);
    for (std::size_t limb = 0; limb < 4; ++limb) {
      require_hidden(key.slots(limb), n * sizeof(std::uint64_t), "a slot of the key");
      require_hidden(key.companions(limb), n * sizeof(std::uint64_t), "a companion");
      AlignedBuffer<std::uint64_t> a(n);
      const std::vector<std::uint64_t> words = hidden_words(n, ring.q(limb));
      std::memcpy(a.data(), words.data(), n * sizeof words[0]);
      kernels.ntt_forward(a.data(), ring.tables(limb).view());
      kernels.multiply_slots(a.data(), key.slots(limb), key.companions(limb), ring.modulus(limb), n,
                             a.data());
      kernels.ntt_inverse_lazy(a.data(), ring.tables(limb).view());
      require_hidden(a.data(), n * sizeof(std::uint64_t), "a coefficient");
      std::memcpy(a.data(), words.data(), n * sizeof words[0]);
      kernels.multiply_inverse({a.data(),
                                key.slots(limb),
                                key.companions(limb),
                                &ring.tables(limb).view(),
                                a.data(),
                                {}});
      require_hidden(a.data(), n * sizeof(std::uint64_t), "a coefficient of a pad");
    }
    steps.done("transforms and products: n = " + std::to_string(n));
  }
}

/// Packing of secret fields of every width, and reading them back.
void run_packing(Steps& steps) {
  constexpr std::size_t kFields = 136;
  for (std::uint32_t bits = 1; bits <= 52; ++bits) {
    const isa::FieldTable& table = ring::field_table(bits);
    const std::vector<std::uint64_t> words = hidden_words(kFields, std::uint64_t{1} << bits);
    std::vector<std::uint8_t> packed(kFields / 8 * bits);
    isa::kernels().pack_fields(words.data(), kFields, table, packed.data());
    std::vector<std::uint64_t> back(kFields);
    isa::kernels().unpack_fields(packed.data(), kFields, table, back.data());
    require_hidden(packed, "a packed field");
    require_hidden(&back[kFields - 1], 1, "an unpacked field");
  }
  steps.done("packing");
}

/// Digits, pads and errors of blocks, and the way back, for one shape of block.
void run_block(Steps& steps, std::uint32_t limbs, std::uint32_t bits, std::uint64_t base,
               std::uint32_t digits) {
  constexpr std::size_t kCoefficients = 264 + 8;
  const ring::BlockArithmetic arithmetic(*ring::Ring::get(512, limbs), bits, base, digits);
  const isa::BlockView& view = arithmetic.view();
  const isa::KernelTable& kernels = isa::kernels();
  const isa::AesKey key = hidden_key(32);
  std::vector<std::uint64_t> pads;
  for (std::uint32_t limb = 0; limb < limbs; ++limb) {
    const auto row = hidden_words(kCoefficients, isa::kLazyFactor * view.modulus[limb].q);
    pads.insert(pads.end(), row.begin(), row.end());
  }
  const std::vector<std::uint64_t> words =
      hidden_words(digits * kCoefficients, base < 1ull << 32 ? base : 1ull << 32);
  const std::vector<std::uint32_t> message(words.begin(), words.end());
  std::vector<std::uint8_t> block(kCoefficients / 8 * bits), pad(kCoefficients * 6 * limbs);
  for (const std::uint32_t* some : {message.data(), static_cast<const std::uint32_t*>(nullptr)}) {
    kernels.encrypt_block({&view, pads.data(), kCoefficients, some, kCoefficients, &key, 5,
                           kCoefficients, block.data()});
    require_hidden(block, "a block");
    kernels.make_pad({&view, pads.data(), kCoefficients, &key, 5, kCoefficients, pad.data()});
    require_hidden(pad, "a pad");
    kernels.encrypt_from_pad(
        {&view, pad.data(), some, kCoefficients, kCoefficients, block.data(), {}});
    require_hidden(block, "a block made from a pad");
  }
  const std::string name = std::to_string(limbs) + " limb(s), B = " + std::to_string(bits) +
                           ", t = " + std::to_string(base);
  steps.done("encryption of a block: " + name);

  reveal(block.data(), block.size());
  std::vector<std::uint32_t> narrow(words.size());
  std::vector<std::uint64_t> wide(words.size());
  const bool fits = base <= std::uint64_t{1} << 32;
  bool verdict = kernels.decrypt_block(
      {&view,
       block.data(),
       pads.data(),
       kCoefficients,
       kCoefficients,
       {fits ? narrow.data() : nullptr, fits ? nullptr : wide.data(), kCoefficients}});
  reveal(&verdict, sizeof verdict);  // whether a sum holds is published
  require_hidden(fits ? static_cast<const void*>(narrow.data()) : wide.data(), 1, "a digit");
  verdict =
      kernels.noise_in_bounds({&view, block.data(), pads.data(), kCoefficients, kCoefficients, 8});
  reveal(&verdict, sizeof verdict);
  steps.done("decryption of a block: " + name);
}

void run_blocks(Steps& steps) {
  constexpr std::uint64_t kOne = 1;
  run_block(steps, 1, 43, 655351, 2);
  run_block(steps, 1, 42, 46, 7);
  run_block(steps, 1, 20, 7, 6);
  run_block(steps, 1, 46, (kOne << 40) + 1, 1);
  run_block(steps, 2, 81, 655351, 4);
  run_block(steps, 2, 52, 7, 10);
  run_block(steps, 2, 94, (kOne << 45) + 1, 2);
  run_block(steps, 4, 178, 655351, 9);
  run_block(steps, 4, 190, 3, 96);
  run_block(steps, 4, 190, (kOne << 32) + 1, 5);
  run_block(steps, 4, 190, kOne << 52, 3);
}

/// Hashes of secret digits under a secret key, and masks: both primes, digits joined, cut and
/// alone.
void run_tags(Steps& steps) {
  constexpr std::uint64_t kOne = 1;
  constexpr std::size_t kCoefficients = 2048 + 264;  // two runs
  const std::array<std::uint8_t, 32> bytes = bytes32(4);
  hide(bytes.data(), bytes.size());
  const Seed group(bytes);
  const Seed key = ring::tag_round_key(bytes32(5), group.span());
  require_hidden(key.data(), 32, "a round's tag key");
  const std::pair<std::uint64_t, std::uint32_t> codes[] = {
      {655351, 2}, {46, 7}, {2551, 3}, {kOne << 32, 2}, {kOne << 45, 2}, {kOne << 51, 2}};
  for (const auto& [base, digits] : codes) {
    const ring::TagHash hash(base, digits, key);
    const std::vector<std::uint64_t> wide = hidden_words(digits * kCoefficients, base);
    const std::vector<std::uint32_t> narrow(wide.begin(), wide.end());
    ring::TagSum sum(hash.field());
    hash.add_block(0, {nullptr, wide.data(), kCoefficients}, kCoefficients, sum);
    hash.add_block(1, {narrow.data(), nullptr, kCoefficients}, kCoefficients, sum);
    require_hidden(sum.values().data(), sizeof sum.values(), "a hash");
    const ring::TagSum mask = ring::tag_mask(hash.field(), key, 1, {});
    require_hidden(mask.values().data(), sizeof mask.values(), "a mask");
    ring::TagSum tag(hash.field());
    tag.add(sum);
    tag.add_weighted(mask, 3);
    tag.subtract(sum);
    bool same = tag.equals(mask);
    reveal(&same, sizeof same);  // whether a sum holds is published
    steps.done("sum tag: t = " + std::to_string(base));
  }
}

/// Quantising of secret values of every type, nearest and stochastic, clipped or not, in double and
/// in float; and the way back.
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
  std::vector<std::uint32_t> digits(kCount);
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
    for (const bool in_float : {false, true}) {
      if (in_float && type == isa::ElementType::kFloat64) continue;
      for (const bool stochastic : {false, true}) {
        for (const double weight : {1.0, 0.3}) {
          isa::Quantise args{};
          args.values = values;
          args.type = type;
          args.in_float = in_float;
          args.count = kCount;
          args.weight = weight;
          args.limit = 1.0;
          args.inverse_step = 32767.0;
          args.levels = 32767;
          args.random = stochastic ? words.data() : nullptr;
          args.digits = digits.data();
          const isa::QuantiseResult result = isa::kernels().quantise(args);
          require_hidden(&digits[kCount - 1], 1, "a digit");
          reveal(&result, sizeof result);  // the clip count is published, and so is a refusal
        }
      }
    }
  }
  steps.done("quantising");

  const std::vector<std::uint64_t> wide(digits.begin(), digits.end());
  for (const bool is_wide : {false, true}) {
    for (const bool in_float : {false, true}) {
      if (is_wide && in_float) continue;
      for (const isa::ElementType type : {isa::ElementType::kFloat32, isa::ElementType::kFloat64}) {
        if (in_float && type == isa::ElementType::kFloat64) continue;
        std::vector<double> out(kCount);
        isa::Dequantise args{};
        args.narrow = is_wide ? nullptr : digits.data();
        args.wide = is_wide ? wide.data() : nullptr;
        args.in_float = in_float;
        args.count = kCount;
        args.offset = 32767;
        args.scale = 0.37;
        args.type = type;
        args.out = out.data();
        isa::kernels().dequantise(args);
        require_hidden(out.data(), sizeof(float), "a value");
      }
    }
  }
  steps.done("dequantising");
}

/// Shares of secret keys and tags; their sums, packing and combinations; and the way back. With the
/// first modulus one word in 128 is rejected; published.supp excuses the comparison that finds it.
void run_sharing(Steps& steps) {
  for (const std::uint64_t p : {ring::sharing_prime(ring::kMaxTotalWeight, 7), ring::kTagPrime}) {
    constexpr std::size_t kColumns = 520;
    const ring::Shamir scheme(ring::PrimeField(p), 7, 5);
    const ring::PrimeField& field = scheme.field();
    std::vector<std::int64_t> secret(kColumns);
    for (std::size_t j = 0; j < kColumns; ++j) secret[j] = static_cast<std::int64_t>(j % 17) - 8;
    hide(secret.data(), kColumns * sizeof secret[0]);
    ring::Elements shares = ring::share_signed(scheme, secret, hidden_key(32), 1);
    const ring::Elements more = ring::share(scheme, hidden_words(kColumns, p), hidden_key(32), 2);
    ring::add_inplace(field, shares.span(), more.span());
    require_hidden(shares.data(), shares.size() * sizeof shares[0], "a share");
    std::vector<std::uint8_t> packed(ring::packed_bytes(field, kColumns));
    ring::pack_elements(field, shares.span().first(kColumns), packed.data());
    require_hidden(packed, "a packed share");
    const ring::Elements combined =
        ring::combine_challenge(field, Digest{}, shares.span().first(kColumns));
    require_hidden(combined.data(), combined.size() * sizeof combined[0], "a combination");

    const std::vector<std::uint32_t> members{6, 1, 2, 0, 4};
    std::vector<std::uint64_t> words;
    for (const std::uint32_t k : members) {
      words.insert(words.end(), shares.begin() + k * kColumns, shares.begin() + (k + 1) * kColumns);
    }
    const ring::Elements sum = ring::reconstruct(scheme, {members, words});
    const auto numbers = ring::centred(field, sum.span());
    require_hidden(numbers.data(), numbers.size() * sizeof numbers[0], "a coefficient of a sum");
    bool verdict = ring::all_within(numbers.span(), 16);
    require_hidden(&verdict, sizeof verdict, "the verdict on a sum");
    reveal(&verdict, sizeof verdict);  // whether a sum holds is published
    steps.done("sharing, sums of shares, interpolation: p = " + std::to_string(p));
  }
}

/// The seed's way to the key holder, which is not the core's: sealed bytes here say nothing.
class NoSealer final : public scheme::Sealer {
 public:
  Bytes seal(ByteView, ByteView, ByteView) const override {
    return Bytes(scheme::kSealedKeyBytes, 7);
  }
};
class KnowingOpener final : public scheme::Opener {
 public:
  bool open(ByteView, ByteView, ByteView, std::span<std::uint8_t> secret) const override {
    const Seed seed = hidden_seed(11);
    std::copy(seed.span().begin(), seed.span().end(), secret.begin());
    return true;
  }
};

/// Seals nothing: what is sealed is looked at, and handed out again by what opens it.
class SeeingSealer final : public scheme::Sealer {
 public:
  /// @param bytes of the keys' shares, which come first and of which every one is secret
  explicit SeeingSealer(std::size_t bytes) : keys_(bytes) {}

  Bytes seal(ByteView, ByteView, ByteView secret) const override {
    require_hidden(secret.data(), keys_, "a sealed share or answer");
    Bytes out(scheme::kSealBytes + secret.size());
    std::memcpy(out.data(), secret.data(), secret.size());
    reveal(out.data(), out.size());  // sealed, which is not the core's doing
    return out;
  }

 private:
  std::size_t keys_;
};
class SeeingOpener final : public scheme::Opener {
 public:
  bool open(ByteView, ByteView, ByteView sealed, std::span<std::uint8_t> secret) const override {
    std::memcpy(secret.data(), sealed.data(), secret.size());
    hide(secret.data(), secret.size());
    return true;
  }
};
class TrustingVerifier final : public scheme::SignatureVerifier {
  bool verify(const scheme::PublicIdentity&, const scheme::Signature&, ByteView) const override {
    return true;
  }
};

/// A committee's round, from seeds to the sum key: dealing, writing and reading shares, their sums,
/// answers, and what combines them. Whether a share is one and whether a sum holds are published.
void run_committee(Steps& steps, bool tagged, std::uint64_t clients) {
  constexpr std::uint32_t kMembers = 5, kThreshold = 3;
  const scheme::Plan plan = make_plan(clients, 8, 0, 128, "n2048");
  scheme::RoundFields fields;
  fields.segments = {{10, 1.0}};
  fields.upload_keys = 2;
  for (std::uint64_t k = 0; k < 3; ++k) fields.roster.push_back(fake_identity(k));
  if (tagged) {
    scheme::GroupCommitment group;
    const scheme::PublicIdentity reader = fake_identity(20);
    std::copy(reader.kem_key().begin(), reader.kem_key().end(), group.reading_key.begin());
    fields.group = group;
  } else {
    fields.reader = fake_identity(20);
  }
  std::vector<scheme::PublicIdentity> members;
  for (std::uint64_t k = 0; k < kMembers; ++k) members.push_back(fake_identity(10 + k));
  const scheme::Round round(plan, scheme::Committee(members, kThreshold), std::move(fields),
                            bytes32(78));
  const std::string name =
      std::string(tagged ? "with" : "without") + " tags, " + std::to_string(clients) + " clients";

  const TrustingVerifier trusting;
  const scheme::ShareLayout layout(round);
  const SeeingSealer sealer(ring::packed_bytes(layout.keys().field(), layout.columns()));
  const SeeingOpener opener;
  const std::optional<Digest> blocks = tagged ? std::nullopt : std::optional(bytes32(5));
  const Seed tag_key = hidden_seed(30);
  scheme::Manifest manifest(round);
  for (std::uint32_t client = 0; client < 3; ++client) {
    scheme::UploadHead head;
    head.nonce[0] = static_cast<std::uint8_t>(client);
    std::optional<ring::TagSum> tag;
    if (tagged) tag.emplace(ring::tag_mask(scheme::tag_field(round), tag_key, client, head.nonce));
    scheme::seal_secrets(round, client, hidden_seed(40 + client), tag ? &*tag : nullptr, sealer,
                         head);
    head.signature = {client, blocks, scheme::Signature(Bytes(64))};
    manifest.add(std::move(head), 1, &trusting);
  }
  steps.done("dealing and writing shares: " + name);

  const std::vector<std::uint32_t> asked = {4, 0, 2};
  std::vector<Bytes> sealed;
  std::vector<scheme::Endorsement> endorsements;
  const Digest sum = scheme::SumName{manifest.digest(), blocks}.digest(round);
  for (const std::uint32_t member : asked) {
    const scheme::OpenedShares opened =
        scheme::open_shares(scheme::MemberRequest(manifest, blocks, member), opener);
    if (!opened.bad.empty()) {
      std::printf("a share that was dealt is said to be none\n");
      std::exit(2);
    }
    require_hidden(opened.sum.keys.data(), opened.sum.keys.size() * 8, "a share of a sum");
    require_hidden(opened.sum.masks.data(), opened.sum.masks.size() * 8, "a mask's share");
    if (tagged) require_hidden(opened.sum.tag.data(), 16, "a share of a tag");
    sealed.push_back(scheme::seal_answer(round, sum, member, opened.sum, sealer));
    endorsements.push_back({round.id(), member, sum, scheme::Signature(Bytes(64))});
    const Bytes words =
        scheme::open_challenges(scheme::MemberRequest(manifest, blocks, member), opener);
    require_hidden(words.data() + 1, scheme::combinations_bytes(layout) - 1, "a combination");
  }
  steps.done("reading and summing shares, writing answers, opening challenges: " + name);

  const scheme::Certificate certificate(manifest, blocks, endorsements, trusting);
  std::vector<scheme::Answer> given;
  for (std::size_t k = 0; k < asked.size(); ++k) {
    given.push_back({round.id(), asked[k], sum, sealed[k], scheme::Signature(Bytes(64))});
  }
  const scheme::Combined combined = scheme::combine(certificate, given, opener, trusting);
  steps.done("combining answers: " + name);
  const scheme::KeyCoefficients& found = combined.keys.at(0).coefficients();
  require_hidden(found.data(), found.size() * sizeof(std::int64_t), "a combined sum key");

  // And what was computed on uninitialised memory is right.
  std::vector<std::int64_t> expected(found.size());
  for (std::uint64_t client = 0; client < 3; ++client) {
    const scheme::KeyCoefficients keys = scheme::expand_keys(round, Seed(bytes32(40 + client)));
    for (std::size_t j = 0; j < expected.size(); ++j) expected[j] += keys[j];
  }
  reveal(found.data(), found.size() * sizeof(std::int64_t));
  if (!std::equal(expected.begin(), expected.end(), found.begin())) {
    std::printf("the combined key is not the sum of the uploads' keys\n");
    std::exit(2);
  }
}

/// One plan: encryption, opening, decryption, of an update whose seeds are secret.
void run_plan(Steps& steps, const scheme::Plan& plan) {
  const std::string name = "N = " + std::to_string(plan.degree()) + ", " +
                           std::to_string(plan.limbs()) + " limb(s), " +
                           std::to_string(plan.security()) + " bits";
  const scheme::PublicKey public_key(Bytes(scheme::kPublicKeyBytes, 3));
  Bytes secret_bytes(scheme::kSecretKeyBytes, 5);
  hide(secret_bytes.data(), secret_bytes.size());
  const scheme::SecretKey secret(secret_bytes, public_key);

  scheme::RoundFields fields;
  const std::uint64_t size = plan.block_capacity() + 29;
  fields.segments = {{size, 1.0}};
  fields.upload_keys = 2;
  const scheme::Round round(plan, public_key, std::move(fields), bytes32(77));
  std::vector<float> values(size);
  for (std::size_t i = 0; i < size; ++i) values[i] = static_cast<float>(i % 97) / 97.0f;
  const cipher::Piece piece{values.data(), isa::ElementType::kFloat32, size};
  cipher::EncryptOptions options;
  options.threads = 1;
  options.rounding = cipher::Rounding::kStochastic;
  const std::array<std::uint8_t, 32> group_key = bytes32(13);
  hide(group_key.data(), group_key.size());
  const cipher::TagKey tag_key(round, group_key);
  cipher::Tagging tag{tag_key, {}};
  options.tag = &tag;
  const cipher::UploadSeeds seeds{hidden_seed(11), hidden_seed(12), {}};
  const scheme::Upload upload =
      cipher::encrypt_with_seeds(round, std::span(&piece, 1), options, NoSealer(), seeds);
  require_hidden(tag.hash->values().data(), sizeof tag.hash->values(), "an upload's hash");
  const ring::TagSum its_tag = tag_key.tag(*tag.hash, 1, {});
  require_hidden(its_tag.values().data(), sizeof its_tag.values(), "an upload's tag");
  steps.done("encryption with a tag: " + name);

  // From here on the upload is public.
  require_hidden(upload.blocks().data(), upload.blocks().size(), "a block");
  reveal(upload.blocks().data(), upload.blocks().size());
  Bytes blocks(upload.blocks().begin(), upload.blocks().end());

  // A sum of two, the fewest that may be opened: the upload, and the upload under another name.
  scheme::Manifest manifest(round);
  for (std::uint8_t which = 1; which <= 2; ++which) {
    scheme::UploadHead head;
    head.nonce[0] = which;
    head.part = scheme::CipherPart(Bytes(scheme::kSealedKeyBytes, which));
    manifest.add(std::move(head), 1, nullptr);
  }
  const std::uint8_t* const sources[] = {upload.blocks().data(), upload.blocks().data()};
  for (std::uint64_t block = 0; block < round.blocks(); ++block) {
    const std::uint64_t at = round.block_offset(block);
    const std::uint8_t* const both[] = {sources[0] + at, sources[1] + at};
    isa::kernels().sum_fields({&plan.arithmetic().view(), both, nullptr, 2, false,
                               round.block_coefficients(block), blocks.data() + at});
  }
  const scheme::SumKey sum_key = scheme::open_sum(
      secret, manifest, scheme::hash_of_memory(round, blocks, 1), KnowingOpener(), nullptr, false);
  require_hidden(sum_key.coefficients().data(),
                 sum_key.coefficients().size() * sizeof(std::int64_t), "the sum key");
  const scheme::BlocksCheck& bound = *sum_key.blocks_check();
  require_hidden(bound.key.data(), bound.key.span().size(), "the key of the blocks' hash");
  require_hidden(bound.value.values().data(), sizeof bound.value.values(), "the blocks' hash");
  steps.done("opening: " + name);

  std::vector<float> out(size);
  cipher::DecryptOptions how;
  how.threads = 1;
  cipher::TagCheck check{tag_key, *tag.hash};
  check.expected.add(*tag.hash);
  how.tag = &check;
  cipher::decrypt(sum_key, manifest, blocks, how, out.data());
  steps.done("decryption with a tag and a hash of the blocks: " + name);

  require_hidden(out.data(), out.size() * sizeof(float), "a decrypted value");

  // And what was computed on uninitialised memory is right: the mean of the update and itself.
  reveal(out.data(), out.size() * sizeof(float));
  const float step = 1.01f / static_cast<float>(plan.levels());
  for (std::size_t i = 0; i < size; ++i) {
    if (out[i] - values[i] > step || values[i] - out[i] > step) {
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
  run_transforms(steps);
  run_packing(steps);
  run_blocks(steps);
  run_tags(steps);
  run_quantise(steps);
  run_sharing(steps);
  run_committee(steps, false, 10);
  run_committee(steps, true, 10);
  run_committee(steps, true, 4);  // whose masks leave places in the last eight
  for (const scheme::Plan& plan : plans_of_every_ring()) run_plan(steps, plan);
  return 0;
}

}  // namespace
}  // namespace veilsum::test

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  return veilsum::test::run(argv[1]);
}
