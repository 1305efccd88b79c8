// Layer: tests (ring). The keyed hash of packed blocks against its definition, in integers that are
// reduced at every step, on every level: blocks of every length around a step and a run, wherever
// they lie in memory; and that every bit and every place counts.
#include "ring/blocks_hash.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <vector>

#include "check.h"
#include "isa/dispatch.h"
#include "ring/expander.h"
#include "ring/modular.h"
#include "support/active_level.h"
#include "support/guarded.h"
#include "support/random.h"
#include "veilsum/errors.h"

namespace veilsum::test {
namespace {

using ring::BlocksHash;
using ring::TagSum;

constexpr std::uint64_t kP = isa::kTagPrime50;

Seed seed_of(std::uint8_t fill) {
  std::array<std::uint8_t, 32> bytes;
  bytes.fill(fill);
  return Seed(bytes);
}

/// By the wire format: one AES block an element, the first of its two words that is below P.
std::uint64_t element(const ring::Expander& key, ring::Domain domain, std::uint64_t block,
                      std::uint64_t number) {
  std::uint64_t words[2];
  isa::kernels().aes_ctr(key.key(), ring::stream_index(domain, 0, block), number,
                         reinterpret_cast<std::uint8_t*>(words), 1);
  constexpr std::uint64_t kMask = (std::uint64_t{1} << 50) - 1;
  const std::uint64_t first = words[0] & kMask, second = words[1] & kMask;
  return first < kP ? first : second % kP;
}

TagSum::Values defined(const Seed& seed, const std::vector<Bytes>& blocks) {
  const ring::Expander key("veilsum/2/tag-hash", {}, seed.span(), ring::KeySize::kAes256);
  TagSum::Values out{};
  for (std::size_t e = 0; e < out.size(); ++e) {
    const std::uint64_t point = element(key, ring::Domain::kTagPoint, 0, e);
    for (std::size_t b = 0; b < blocks.size(); ++b) {
      // Runs: whole groups of 48 bytes by 2048 words of six, then what is left, with zeros.
      const Bytes& bytes = blocks[b];
      const std::size_t whole = bytes.size() / 48 * 48;
      std::vector<Bytes> runs;
      for (std::size_t at = 0; at < whole; at += 2048 * 6) {
        const std::size_t end = std::min(whole, at + 2048 * 6);
        runs.emplace_back(bytes.begin() + static_cast<std::ptrdiff_t>(at),
                          bytes.begin() + static_cast<std::ptrdiff_t>(end));
      }
      if (whole != bytes.size()) {
        runs.emplace_back(bytes.begin() + static_cast<std::ptrdiff_t>(whole), bytes.end());
        runs.back().resize(48, 0);
      }
      for (std::size_t r = 0; r < runs.size(); ++r) {
        std::uint64_t value = 0;  // Horner's rule
        for (std::size_t j = runs[r].size() / 6; j-- > 0;) {
          std::uint64_t word = 0;
          for (std::size_t i = 6; i-- > 0;) word = word << 8 | runs[r][6 * j + i];
          value = (ring::mul_mod(value, point, kP) + word) % kP;
        }
        const std::uint64_t multiplier = element(key, ring::Domain::kTagMultiplier, b, 2 * r + e);
        out[e] = (out[e] + ring::mul_mod(value, multiplier, kP)) % kP;
      }
    }
  }
  return out;
}

TagSum hash_of(const BlocksHash& hash, const std::vector<Bytes>& blocks) {
  TagSum sum(BlocksHash::field());
  for (std::size_t b = blocks.size(); b-- > 0;) hash.add_block(b, blocks[b], sum);
  return sum;
}

Bytes random_bytes(std::size_t size, std::uint64_t seed) {
  Random random(seed);
  Bytes out(size);
  for (std::uint8_t& byte : out) byte = static_cast<std::uint8_t>(random.edgy(256));
  return out;
}

TEST("the hash is its definition, on every level, for blocks of every kind of length") {
  std::vector<Bytes> blocks;
  std::uint64_t n = 0;
  for (const std::size_t size : {0u, 1u, 5u, 6u, 47u, 48u, 49u, 96u, 1535u, 1536u, 1584u, 11008u,
                                 12287u, 12288u, 12289u, 12336u, 24576u, 40001u}) {
    blocks.push_back(random_bytes(size, ++n));
  }
  // The largest words everywhere: what the kernels' sums are sized for.
  blocks.emplace_back(12288 + 48, 0xff);
  for (const std::uint8_t fill : {std::uint8_t{1}, std::uint8_t{2}}) {
    const TagSum::Values expected = defined(seed_of(fill), blocks);
    on_every_active_level(
        [&] { CHECK(hash_of(BlocksHash(seed_of(fill)), blocks).values() == expected); });
  }
}

TEST("where the bytes lie is the same, and nothing beyond them is read") {
  const BlocksHash hash(seed_of(3));
  for (const std::size_t size : {std::size_t{7}, std::size_t{48}, std::size_t{11008}}) {
    const Bytes bytes = random_bytes(size, size);
    const TagSum::Values expected = hash_of(hash, {bytes}).values();
    on_every_active_level([&] {
      for (std::size_t shift = 0; shift < 9; ++shift) {
        Bytes shifted(shift, 0xaa);
        shifted.insert(shifted.end(), bytes.begin(), bytes.end());
        TagSum sum(BlocksHash::field());
        hash.add_block(0, ByteView(shifted).subspan(shift), sum);
        CHECK(sum.values() == expected);
      }
      for (const Border border : {Border::kAbove, Border::kBelow}) {
        const Guarded<std::uint8_t> guarded(bytes, border);
        TagSum sum(BlocksHash::field());
        hash.add_block(0, {guarded.data(), size}, sum);
        CHECK(sum.values() == expected);
      }
    });
  }
}

TEST("every bit changes both values; so do another key, another number, another order") {
  const std::vector<Bytes> blocks = {random_bytes(11008, 1), random_bytes(11008, 2),
                                     random_bytes(77, 3)};
  const BlocksHash hash(seed_of(4));
  const TagSum before = hash_of(hash, blocks);
  const auto differs = [&](const TagSum& after) {
    for (std::size_t e = 0; e < 2; ++e) CHECK(after.values()[e] != before.values()[e]);
  };
  Random random(5);
  for (int i = 0; i < 200; ++i) {
    std::vector<Bytes> other = blocks;
    Bytes& one = other[random.below(other.size())];
    one[random.below(one.size())] ^= static_cast<std::uint8_t>(1u << random.below(8));
    differs(hash_of(hash, other));
  }
  differs(hash_of(BlocksHash(seed_of(5)), blocks));
  differs(hash_of(hash, {blocks[1], blocks[0], blocks[2]}));
  TagSum moved(BlocksHash::field());
  for (std::size_t b = 0; b < blocks.size(); ++b) hash.add_block(b + 1, blocks[b], moved);
  differs(moved);
  // Whole runs that change places within a block.
  std::vector<Bytes> swapped = blocks;
  swapped[0] = random_bytes(24576, 6);
  const TagSum two_runs = hash_of(hash, swapped);
  std::swap_ranges(swapped[0].begin(), swapped[0].begin() + 12288, swapped[0].begin() + 12288);
  CHECK(!hash_of(hash, swapped).equals(two_runs));
}

TEST("numbers out of range and sums of another field are refused") {
  const BlocksHash hash(seed_of(6));
  TagSum sum(BlocksHash::field());
  const Bytes most(std::size_t{1} << 20, 1);
  hash.add_block((std::uint64_t{1} << 48) - 1, most, sum);
  CHECK_THROWS(hash.add_block(std::uint64_t{1} << 48, ByteView(most).first(32), sum),
               ParameterError);
  const Bytes more((std::size_t{1} << 20) + 1, 1);
  CHECK_THROWS(hash.add_block(0, more, sum), ParameterError);
  TagSum wide(ring::TagField(std::uint64_t{1} << 51));
  CHECK_THROWS(hash.add_block(0, ByteView(most).first(32), wide), ParameterError);
}

}  // namespace
}  // namespace veilsum::test
