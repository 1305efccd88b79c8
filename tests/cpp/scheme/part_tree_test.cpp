// Layer: tests (scheme). The tree over sealed shares, against its definition by recursion: a tree
// of n leaves is the tree of the largest power of two below n beside the tree of the rest. Every
// number of members up to 40, and every member's path.
#include "scheme/part_tree.h"

#include <algorithm>
#include <cstdint>
#include <set>
#include <vector>

#include "check.h"
#include "ring/sha256.h"
#include "support/random.h"
#include "support/rounds.h"

namespace veilsum::test {
namespace {

constexpr std::size_t kEach = 21;
constexpr std::uint32_t kMost = 40;

Bytes parts_of(std::uint32_t count, std::size_t each = kEach) {
  Random random(5);  // the same first parts for every count
  Bytes out(count * each);
  for (std::uint8_t& byte : out) byte = static_cast<std::uint8_t>(random.next());
  return out;
}

ByteView part_of(const Bytes& parts, std::uint32_t k) {
  return ByteView(parts).subspan(k * kEach, kEach);
}

Digest leaf(std::uint32_t member, ByteView part) {
  const std::uint8_t number[] = {static_cast<std::uint8_t>(member), 0, 0, 0};
  return ring::labelled_hash("veilsum/2/sealed-share-leaf", {number, part});
}

/// The tree over members first ... last - 1; the path of `of`, if it is one of them, from its leaf
/// up.
Digest tree(const Bytes& parts, std::uint32_t first, std::uint32_t last, std::uint32_t of,
            std::vector<Digest>& path) {
  if (last - first == 1) return leaf(first, part_of(parts, first));
  std::uint32_t half = 1;
  while (2 * half < last - first) half *= 2;
  const std::uint32_t middle = first + half;
  const Digest left = tree(parts, first, middle, of, path);
  const Digest right = tree(parts, middle, last, of, path);
  if (of >= first && of < middle) path.push_back(right);
  if (of >= middle && of < last) path.push_back(left);
  return ring::labelled_hash("veilsum/2/sealed-share-node", {left, right});
}

TEST("root and paths are those of the definition, and every path leads to the root") {
  for (std::uint32_t count = 1; count <= kMost; ++count) {
    const Bytes parts = parts_of(count);
    for (std::uint32_t member = 0; member < count; ++member) {
      std::vector<Digest> expected;
      const Digest root = tree(parts, 0, count, member, expected);
      CHECK(scheme::part_root(parts, count) == root);
      const std::vector<Digest> path = scheme::part_path(parts, count, member);
      CHECK(path == expected);
      CHECK_EQ(scheme::part_path_length(count, member), path.size());
      CHECK(scheme::root_of_path(part_of(parts, member), path, count, member) == root);
    }
  }
}

TEST("a part, a path or a position that was changed leads to another root") {
  for (std::uint32_t count = 1; count <= kMost; ++count) {
    const Bytes parts = parts_of(count);
    const Digest root = scheme::part_root(parts, count);
    for (std::uint32_t member = 0; member < count; ++member) {
      const std::vector<Digest> path = scheme::part_path(parts, count, member);
      const auto leads = [&](ByteView part, const std::vector<Digest>& by, std::uint32_t as) {
        return scheme::root_of_path(part, by, count, as) == root;
      };
      CHECK(leads(part_of(parts, member), path, member));
      for (const std::size_t at : {std::size_t{0}, kEach / 2, kEach - 1}) {
        Bytes part(part_of(parts, member).begin(), part_of(parts, member).end());
        part[at] ^= static_cast<std::uint8_t>(1u << (at + member) % 8);
        CHECK(!leads(part, path, member));
        // And a whole tree over it has another root.
        Bytes all = parts;
        all[member * kEach + at] = part[at];
        CHECK(scheme::part_root(all, count) != root);
      }
      for (std::size_t at = 0; at < path.size(); ++at) {
        std::vector<Digest> damaged = path;
        damaged[at][(at + member) % 32] ^= 0x40;
        CHECK(!leads(part_of(parts, member), damaged, member));
        for (std::size_t other = 0; other < at; ++other) {
          damaged = path;
          std::swap(damaged[at], damaged[other]);
          CHECK(!leads(part_of(parts, member), damaged, member));
        }
      }
      for (std::uint32_t other = 0; other < count; ++other) {
        if (other == member) continue;
        // Another's part in this place, and this part in another's, wherever the path fits.
        CHECK(!leads(part_of(parts, other), path, member));
        if (scheme::part_path_length(count, other) == path.size()) {
          CHECK(!leads(part_of(parts, member), path, other));
        }
        const std::vector<Digest> theirs = scheme::part_path(parts, count, other);
        if (theirs.size() == path.size()) CHECK(!leads(part_of(parts, member), theirs, member));
      }
    }
  }
}

TEST("the root tells trees of different sizes apart, and the same bytes cut otherwise") {
  // Of how many members a path is, it does not say: that stands in the round.
  std::set<Digest> roots;
  for (std::uint32_t count = 1; count <= kMost; ++count) {
    roots.insert(scheme::part_root(parts_of(count), count));
  }
  CHECK_EQ(roots.size(), kMost);
  roots.clear();
  std::size_t cuts = 0;
  const Bytes parts = parts_of(1, 360);
  for (std::uint32_t count = 1; count <= kMost; ++count) {
    if (parts.size() % count != 0) continue;
    roots.insert(scheme::part_root(parts, count));
    ++cuts;
  }
  CHECK(cuts > 12);
  CHECK_EQ(roots.size(), cuts);
}

TEST("a node is no leaf: the two digests below the root are not taken for a part") {
  const Bytes parts = parts_of(2);
  const Digest left = leaf(0, part_of(parts, 0)), right = leaf(1, part_of(parts, 1));
  Bytes both(left.begin(), left.end());
  both.insert(both.end(), right.begin(), right.end());
  CHECK(scheme::part_root(both, 1) != scheme::part_root(parts, 2));
  CHECK(scheme::part_root(parts, 2) ==
        ring::labelled_hash("veilsum/2/sealed-share-node", {left, right}));
}

}  // namespace
}  // namespace veilsum::test
