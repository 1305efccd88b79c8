// Layer: scheme. See part_tree.h. A level's nodes are joined in pairs; one that is left over at the
// end goes up as it is.
#include "scheme/part_tree.h"

#include "ring/sha256.h"

namespace veilsum::scheme {
namespace {

Digest leaf(std::uint32_t member, ByteView part) {
  ByteWriter number(4);
  number.u32(member);
  return ring::labelled_hash("veilsum/2/sealed-share-leaf", {number.bytes(), part});
}

Digest joined(const Digest& left, const Digest& right) {
  return ring::labelled_hash("veilsum/2/sealed-share-node", {left, right});
}

std::vector<Digest> leaves(ByteView parts, std::uint32_t count) {
  const std::size_t each = parts.size() / count;
  std::vector<Digest> level(count);
  for (std::uint32_t k = 0; k < count; ++k) level[k] = leaf(k, parts.subspan(k * each, each));
  return level;
}

void go_up(std::vector<Digest>& level) {
  const std::size_t pairs = level.size() / 2;
  for (std::size_t k = 0; k < pairs; ++k) level[k] = joined(level[2 * k], level[2 * k + 1]);
  if (level.size() % 2 != 0) level[pairs] = level.back();
  level.resize((level.size() + 1) / 2);
}

}  // namespace

Digest part_root(ByteView parts, std::uint32_t count) {
  std::vector<Digest> level = leaves(parts, count);
  while (level.size() > 1) go_up(level);
  return level.front();
}

std::vector<Digest> part_path(ByteView parts, std::uint32_t count, std::uint32_t member) {
  std::vector<Digest> level = leaves(parts, count);
  std::vector<Digest> path;
  for (std::size_t at = member; level.size() > 1; at /= 2) {
    const std::size_t beside = at ^ 1;
    if (beside < level.size()) path.push_back(level[beside]);
    go_up(level);
  }
  return path;
}

std::size_t part_path_length(std::uint32_t count, std::uint32_t member) noexcept {
  std::size_t length = 0;
  std::uint32_t at = member;
  for (std::uint32_t width = count; width > 1; width = (width + 1) / 2, at /= 2) {
    if ((at ^ 1) < width) ++length;
  }
  return length;
}

Digest root_of_path(ByteView part, std::span<const Digest> path, std::uint32_t count,
                    std::uint32_t member) {
  Digest node = leaf(member, part);
  std::size_t used = 0;
  std::uint32_t at = member;
  for (std::uint32_t width = count; width > 1; width = (width + 1) / 2, at /= 2) {
    if ((at ^ 1) >= width) continue;
    const Digest& beside = path[used++];
    node = at % 2 == 0 ? joined(node, beside) : joined(beside, node);
  }
  return node;
}

}  // namespace veilsum::scheme
