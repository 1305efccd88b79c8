// Layer: scheme. See committee.h.
#include "scheme/committee.h"

#include <utility>

#include "base/shown.h"
#include "ring/sha256.h"
#include "veilsum/errors.h"

namespace veilsum::scheme {

Committee::Committee(std::vector<PublicIdentity> members, std::uint64_t threshold) {
  const std::size_t n = members.size();
  if (n < 2 || n > kMostMembers) {
    throw ParameterError("a committee has 2 ... " + std::to_string(kMostMembers) +
                         " members, not " + std::to_string(n) +
                         "; one key holder is made by keygen()");
  }
  if (threshold > n || 2 * threshold <= n) {
    throw ParameterError("threshold = " + shown(threshold) + " is outside " +
                         std::to_string(n / 2 + 1) + " ... " + std::to_string(n) + " for " +
                         std::to_string(n) +
                         " members: with half of them or fewer, two sets of uploads could be "
                         "opened for one round");
  }
  check_distinct(members, "member", "committee");
  ByteWriter out(4 + n * PublicIdentity::kMostBytes);
  out.u32(static_cast<std::uint32_t>(threshold));
  for (const PublicIdentity& member : members) out.raw(member.fields());
  const Digest id = ring::labelled_hash("veilsum/2/committee-id", {out.bytes()});
  contents_ = std::make_shared<const Contents>(
      Contents{std::move(members), static_cast<std::uint32_t>(threshold), id});
}

}  // namespace veilsum::scheme
