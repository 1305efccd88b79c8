// Layer: tests (ring). Names of streams never collide, keys derive from label, context and seed as
// the wire format says, and key schedules are wiped.
#include "ring/expander.h"

#include <cstdint>
#include <cstring>
#include <set>
#include <string>
#include <vector>

#include "check.h"
#include "isa/aes_key.h"
#include "ring/sha256.h"
#include "support/random.h"

namespace veilsum::test {
namespace {

using ring::Domain;
using ring::Expander;
using ring::KeySize;
using ring::stream_index;

static_assert(stream_index(Domain::kMatrix, 0, 0) == 0x0100000000000000);
static_assert(stream_index(Domain::kMatrix, 3, 5) == 0x0103000000000005);
static_assert(stream_index(Domain::kUploadKey, 255, 0xffffffffffff) == 0x04ffffffffffffff);

TEST("the domains have the numbers of the wire format") {
  CHECK_EQ(static_cast<int>(Domain::kMatrix), 1);
  CHECK_EQ(static_cast<int>(Domain::kBlockErrors), 2);
  CHECK_EQ(static_cast<int>(Domain::kRounding), 3);
  CHECK_EQ(static_cast<int>(Domain::kUploadKey), 4);
  CHECK_EQ(static_cast<int>(Domain::kTagPoint), 5);
  CHECK_EQ(static_cast<int>(Domain::kTagMultiplier), 6);
  CHECK_EQ(static_cast<int>(Domain::kTagMask), 7);
}

TEST("no two streams share a name") {
  std::set<std::uint64_t> names;
  std::size_t made = 0;
  for (int domain = 1; domain <= 7; ++domain) {
    for (const std::uint64_t sub : {0u, 1u, 3u, 8u, 255u}) {
      for (const std::uint64_t block :
           {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{1} << 20,
            (std::uint64_t{1} << 40) - 1, (std::uint64_t{1} << 48) - 1}) {
        names.insert(stream_index(static_cast<Domain>(domain), sub, block));
        ++made;
      }
    }
  }
  CHECK_EQ(names.size(), made);
}

TEST("a key is the start of SHA-256(label, context, seed)") {
  Random random(1);
  std::vector<std::uint8_t> context(32), seed(32);
  for (std::uint8_t& byte : context) byte = static_cast<std::uint8_t>(random.next());
  for (std::uint8_t& byte : seed) byte = static_cast<std::uint8_t>(random.next());
  for (const KeySize size : {KeySize::kAes128, KeySize::kAes256}) {
    const Expander expander("veilsum/2/test", context, seed, size);
    const Digest digest = ring::labelled_hash("veilsum/2/test", {context, seed});
    isa::AesKey expected;
    isa::aes_expand_key(digest.data(), static_cast<std::size_t>(size), expected);
    CHECK_EQ(expander.key().rounds, size == KeySize::kAes128 ? 10u : 14u);
    CHECK_EQ(expander.key().rounds, expected.rounds);
    CHECK(std::memcmp(expander.key().bytes, expected.bytes, sizeof expected.bytes) == 0);
    CHECK(std::memcmp(expander.key().bytes, digest.data(), static_cast<std::size_t>(size)) == 0);
  }
}

TEST("label, context and seed each make another key") {
  const std::vector<std::uint8_t> a(32, 1), b(32, 2);
  const Expander base("veilsum/2/x", a, a, KeySize::kAes256);
  const Expander label("veilsum/2/y", a, a, KeySize::kAes256);
  const Expander context("veilsum/2/x", b, a, KeySize::kAes256);
  const Expander seed("veilsum/2/x", a, b, KeySize::kAes256);
  std::set<std::string> keys;
  for (const Expander* expander : {&base, &label, &context, &seed}) {
    keys.emplace(reinterpret_cast<const char*>(expander->key().bytes), 32);
  }
  CHECK_EQ(keys.size(), 4u);
}

TEST("a key schedule is wiped") {
  alignas(Expander) std::uint8_t memory[sizeof(Expander)];
  const std::vector<std::uint8_t> seed(32, 9);
  Expander* expander = new (memory) Expander("veilsum/2/test", {}, seed, KeySize::kAes256);
  std::size_t before = 0, after = 0;
  for (std::size_t i = 0; i < 240; ++i) before += memory[i] != 0;
  expander->~Expander();
  for (std::size_t i = 0; i < 240; ++i) after += memory[i] != 0;
  CHECK(before > 200);
  CHECK_EQ(after, 0u);
}

}  // namespace
}  // namespace veilsum::test
