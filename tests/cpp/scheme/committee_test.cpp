// Layer: tests (scheme). Committees: how many members, every threshold, no key twice, and what
// names one.
#include "scheme/committee.h"

#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "check.h"
#include "ring/sha256.h"
#include "support/identities.h"
#include "veilsum/errors.h"

namespace veilsum::test {
namespace {

using scheme::Committee;
using scheme::PublicIdentity;

std::vector<PublicIdentity> members_of(std::uint64_t count) {
  std::vector<PublicIdentity> members;
  for (std::uint64_t k = 0; k < count; ++k) members.push_back(fake_identity(k));
  return members;
}

TEST("two to 1024 members") {
  for (const std::uint64_t count : {0u, 1u, 1025u}) {
    CHECK_THROWS_WITH(Committee(members_of(count), count), ParameterError,
                      "2 ... 1024 members, not " + std::to_string(count));
  }
  for (const std::uint64_t count : {2u, 1024u}) {
    const Committee committee(members_of(count), count);
    CHECK_EQ(committee.size(), count);
    CHECK_EQ(committee.threshold(), count);
    CHECK(committee.members() == members_of(count));
  }
}

TEST("thresholds t with n < 2t <= 2n and no others, for every n up to 12") {
  for (std::uint64_t n = 2; n <= 12; ++n) {
    const std::vector<PublicIdentity> members = members_of(n);
    std::size_t held = 0;
    for (std::uint64_t t = 0; t <= 2 * n + 2; ++t) {
      if (t > n || 2 * t <= n) {
        CHECK_THROWS_WITH(Committee(members, t), ParameterError,
                          "threshold = " + std::to_string(t) + " is outside " +
                              std::to_string(n / 2 + 1) + " ... " + std::to_string(n));
        continue;
      }
      ++held;
      CHECK_EQ(Committee(members, t).threshold(), t);
      // Why: any two sets of t have a member in common.
      CHECK(2 * t - n >= 1);
    }
    CHECK_EQ(held, n - n / 2);
    // Numbers of which half the bits would fit, or whose double would.
    for (const std::uint64_t t :
         {~std::uint64_t{0}, std::uint64_t{1} << 63, (std::uint64_t{1} << 63) + n,
          (std::uint64_t{1} << 32) + n, (std::uint64_t{1} << 31) + n}) {
      CHECK_THROWS_WITH(Committee(members, t), ParameterError, "threshold");
    }
  }
}

TEST("no two members have a key in common, be it one of several") {
  std::vector<PublicIdentity> members = members_of(5);
  members[3] = members[0];
  CHECK_THROWS_WITH(Committee(members, 3), ParameterError,
                    "members 0 and 3 of the committee have the same");
  // Signature keys of its own, but another's KEM key; and the other way round.
  for (const bool kem : {true, false}) {
    Bytes fields = identity_fields(50);
    const Bytes other = identity_fields(1);
    for (std::size_t at = 1; at < fields.size(); ++at) {
      if ((at >= 33) == kem) fields[at] = other[at];
    }
    members = members_of(5);
    members[4] = PublicIdentity(fields);
    CHECK_THROWS_WITH(Committee(members, 3), ParameterError, "members 1 and 4 of the committee");
  }
  CHECK_EQ(Committee(members_of(5), 3).size(), 5u);
}

TEST("the id is a hash over threshold and members, in order, and nothing else") {
  const std::vector<PublicIdentity> members = {
      fake_identity(1), fake_identity(2, scheme::SignatureKind::kPostQuantum), fake_identity(3)};
  ByteWriter out;
  out.u32(2);
  for (const PublicIdentity& member : members) out.raw(member.fields());
  const Committee committee(members, 2);
  CHECK(committee.id() == ring::labelled_hash("veilsum/2/committee-id", {out.bytes()}));

  const auto with = [&](auto change) {
    std::vector<PublicIdentity> others = members;
    change(others);
    return Committee(others, 2);
  };
  std::set<Digest> ids = {committee.id()};
  for (const Committee& other :
       {Committee(members, 3), with([](auto& m) { std::swap(m[0], m[1]); }),
        with([](auto& m) { m.pop_back(); }),
        Committee({members[0], members[1], members[2], fake_identity(4)}, 3),
        with([](auto& m) { m[1] = fake_identity(2); }),
        with([](auto& m) { m[2] = fake_identity(4); })}) {
    CHECK(!(other == committee));
    ids.insert(other.id());
  }
  CHECK_EQ(ids.size(), 7u);
  CHECK(Committee(members, 2) == committee);
  const Committee copy = committee;  // NOLINT(performance-unnecessary-copy-initialization)
  CHECK(copy == committee);
  CHECK(copy.members().data() == committee.members().data());
}

}  // namespace
}  // namespace veilsum::test
