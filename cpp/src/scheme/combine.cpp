// Layer: scheme. See combine.h.
#include "scheme/combine.h"

#include <algorithm>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "ring/reed_solomon.h"
#include "veilsum/errors.h"

namespace veilsum::scheme {
namespace {

/// Answers side by side: what decoding takes.
struct Words {
  std::vector<std::uint32_t> members;
  ring::Elements keys;
  ring::Elements tags;
};

Words side_by_side(const ShareLayout& layout, std::vector<std::uint32_t> members,
                   const std::vector<KeyShare>& shares) {
  Words out{std::move(members), ring::Elements(shares.size() * layout.columns()),
            ring::Elements(layout.tags() ? shares.size() * isa::kTagEvaluations : 0)};
  for (std::size_t k = 0; k < shares.size(); ++k) {
    std::copy(shares[k].keys.begin(), shares[k].keys.end(),
              out.keys.begin() + k * layout.columns());
    std::copy(shares[k].tag.begin(), shares[k].tag.end(),
              out.tags.begin() + k * isa::kTagEvaluations);
  }
  return out;
}

Words subset(const ShareLayout& layout, const Words& all, const std::vector<std::uint32_t>& at) {
  Words out{{},
            ring::Elements(at.size() * layout.columns()),
            ring::Elements(layout.tags() ? at.size() * isa::kTagEvaluations : 0)};
  for (std::size_t k = 0; k < at.size(); ++k) {
    out.members.push_back(all.members[at[k]]);
    const auto* keys = all.keys.begin() + at[k] * layout.columns();
    std::copy(keys, keys + layout.columns(), out.keys.begin() + k * layout.columns());
    if (!layout.tags()) continue;
    const auto* tags = all.tags.begin() + at[k] * isa::kTagEvaluations;
    std::copy(tags, tags + isa::kTagEvaluations, out.tags.begin() + k * isa::kTagEvaluations);
  }
  return out;
}

std::optional<SumKey> key_from(const Certificate& certificate, const ShareLayout& layout,
                               const ring::Elements& keys, const ring::Elements& tags) {
  const Round& round = certificate.round();
  const Manifest& manifest = certificate.manifest();
  KeyCoefficients sum = ring::centred(layout.keys().field(), keys.span());
  if (!ring::all_within(sum.span(), kErrorBound * manifest.total_weight())) return std::nullopt;
  std::optional<ring::TagSum> tag;
  if (layout.tags()) {
    tag.emplace(tag_field(round), ring::TagSum::Values{tags[0], tags[1]});
  }
  return SumKey(round, manifest.digest(), manifest.entries().size(), manifest.total_weight(), true,
                std::move(sum), std::move(tag), certificate.blocks());
}

std::string names_of(const std::vector<std::uint32_t>& members) {
  std::string out;
  for (const std::uint32_t member : members) {
    out += (out.empty() ? "" : ", ") + std::to_string(member);
  }
  return out;
}

/// Members of the committee whose answers are not there.
std::vector<std::uint32_t> missing(const Committee& committee,
                                   const std::vector<std::uint32_t>& there) {
  std::vector<std::uint32_t> out;
  for (std::uint32_t member = 0; member < committee.size(); ++member) {
    if (std::find(there.begin(), there.end(), member) == there.end()) out.push_back(member);
  }
  return out;
}

}  // namespace

OpenedAnswers open_answers(const Certificate& certificate, const std::vector<Answer>& answers,
                           const Opener& reader, const SignatureVerifier& verifier) {
  const Round& round = certificate.round();
  const ShareLayout layout(round);
  OpenedAnswers out;
  std::set<std::uint32_t> seen;
  for (const Answer& answer : answers) {
    answer.check(certificate, verifier);
    if (!seen.insert(answer.member).second) continue;
    SecretBuffer<std::uint8_t> plain(layout.answer_bytes());
    try {
      if (reader.open({}, answer_info(round, answer.sum, answer.member), answer.sealed,
                      plain.span())) {
        out.shares.push_back(read_answer(layout, plain.span()));
        out.members.push_back(answer.member);
        continue;
      }
    } catch (const WireFormatError&) {  // signed and sealed by the member, but no share
    }
    out.unreadable.push_back(answer.member);
  }
  return out;
}

Combined combine(const Certificate& certificate, const std::vector<Answer>& answers,
                 const Opener& reader, const SignatureVerifier& verifier, bool every) {
  const Round& round = certificate.round();
  const Committee& committee = committee_of(round);
  const ShareLayout layout(round);
  const OpenedAnswers opened = open_answers(certificate, answers, reader, verifier);
  const std::vector<std::uint32_t>& members = opened.members;
  if (members.size() < committee.threshold()) {
    throw RoundError("opening takes the answers of " + std::to_string(committee.threshold()) +
                     " of " + std::to_string(committee.size()) + " members; " +
                     std::to_string(members.size()) + " are there, those of members " +
                     names_of(missing(committee, members)) + " are missing or cannot be read");
  }

  const Words all = side_by_side(layout, members, opened.shares);
  Combined out;
  const auto take = [&](std::optional<SumKey> key, std::vector<std::uint32_t> wrong) {
    if (!key) return;
    wrong.insert(wrong.end(), opened.unreadable.begin(), opened.unreadable.end());
    std::sort(wrong.begin(), wrong.end());
    wrong.erase(std::unique(wrong.begin(), wrong.end()), wrong.end());
    out.keys.push_back(*std::move(key));
    out.wrong.push_back(std::move(wrong));
  };
  const ring::Decoded keys = ring::decode(layout.keys(), {all.members, all.keys.span()});
  std::optional<ring::Decoded> tags;
  if (layout.tags()) tags = ring::decode(*layout.tags(), {all.members, all.tags.span()});
  if (keys.secret && (!tags || tags->secret)) {
    std::vector<std::uint32_t> wrong = keys.wrong;
    if (tags) wrong.insert(wrong.end(), tags->wrong.begin(), tags->wrong.end());
    const ring::Elements none;
    take(key_from(certificate, layout, *keys.secret, tags ? *tags->secret : none),
         std::move(wrong));
  }
  if (out.keys.empty() || every) {
    for (const std::vector<std::uint32_t>& at :
         ring::trial_subsets(static_cast<std::uint32_t>(members.size()), committee.threshold())) {
      const Words some = subset(layout, all, at);
      const ring::Elements secret =
          ring::reconstruct(layout.keys(), {some.members, some.keys.span()});
      ring::Elements tag;
      if (layout.tags()) {
        tag = ring::reconstruct(*layout.tags(), {some.members, some.tags.span()});
      }
      take(key_from(certificate, layout, secret, tag), {});  // gives a key, not names
    }
  }
  if (out.keys.empty()) {
    throw TamperedSumError(
        "the members' answers are not shares of a sum of upload keys: a member or a client "
        "deviates; no value is given out");
  }
  return out;
}

}  // namespace veilsum::scheme
