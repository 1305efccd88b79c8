// Layer: scheme. The hash tree over an upload's sealed shares, one leaf a member. Its root is what
// the client signs, so the aggregator can show each member its own share alone, with a path.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/bytes.h"

namespace veilsum::scheme {

/// @param parts of `count` members, one after the other, all of one size
/// @param count at least 1
Digest part_root(ByteView parts, std::uint32_t count);

/// The digests beside the way from a member's leaf up to the root.
/// @param member below `count`
std::vector<Digest> part_path(ByteView parts, std::uint32_t count, std::uint32_t member);

/// Number of digests in that path.
std::size_t part_path_length(std::uint32_t count, std::uint32_t member) noexcept;

/// The root that a part and its path lead to.
/// @param path part_path_length(count, member) digests
Digest root_of_path(ByteView part, std::span<const Digest> path, std::uint32_t count,
                    std::uint32_t member);

}  // namespace veilsum::scheme
