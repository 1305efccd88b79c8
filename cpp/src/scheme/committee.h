// Layer: scheme. Who can open a sum: one key holder, or a committee of n members of which t must
// agree. A committee is a list of public identities: nothing is generated for it, and the next
// round may have another. Clients may be its members.
#pragma once

#include <cstdint>
#include <memory>
#include <variant>
#include <vector>

#include "scheme/keys.h"
#include "scheme/public_identity.h"

namespace veilsum::scheme {

inline constexpr std::uint64_t kMostMembers = 1024;

/// Immutable; copies share the contents.
class Committee {
 public:
  /// @param members 2 ... kMostMembers, without a key in common
  /// @param threshold t with n < 2t <= 2n: two sets of t members have one in common, so that honest
  ///        members never certify two sets of uploads for one round
  /// @throws ParameterError
  Committee(std::vector<PublicIdentity> members, std::uint64_t threshold);

  const std::vector<PublicIdentity>& members() const noexcept { return contents_->members; }
  std::uint32_t size() const noexcept { return static_cast<std::uint32_t>(members().size()); }
  std::uint32_t threshold() const noexcept { return contents_->threshold; }
  /// Names it: a hash over threshold and members, in order.
  const Digest& id() const noexcept { return contents_->id; }

  friend bool operator==(const Committee& a, const Committee& b) { return a.id() == b.id(); }

 private:
  struct Contents {
    std::vector<PublicIdentity> members;
    std::uint32_t threshold = 0;
    Digest id{};
  };
  std::shared_ptr<const Contents> contents_;
};

/// One key holder, or a committee.
using Authority = std::variant<PublicKey, Committee>;

}  // namespace veilsum::scheme
