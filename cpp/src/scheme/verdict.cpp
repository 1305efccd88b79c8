// Layer: scheme. See verdict.h.
#include "scheme/verdict.h"

#include <algorithm>
#include <iterator>
#include <optional>
#include <string>

#include "ring/reed_solomon.h"
#include "scheme/wire.h"
#include "veilsum/errors.h"

namespace veilsum::scheme {
namespace {

using Numbers = std::vector<std::uint32_t>;

/// Vectors of some members over both fields, side by side.
class SideBySide {
 public:
  SideBySide(const ShareLayout& layout, std::size_t columns, std::size_t tag_columns,
             std::size_t rows)
      : layout_(layout), keys_(rows * columns), tags_(rows * tag_columns) {}

  void add(std::uint32_t member, std::span<const std::uint64_t> keys,
           std::span<const std::uint64_t> tag) {
    std::ranges::copy(keys, keys_.begin() + members_.size() * keys.size());
    std::ranges::copy(tag, tags_.begin() + members_.size() * tag.size());
    members_.push_back(member);
  }
  const Numbers& members() const noexcept { return members_; }
  std::size_t checks() const noexcept { return members_.size() - layout_.keys().threshold(); }

  /// @param f below checks()
  ring::DistanceVerdict distance(std::size_t f) const {
    std::vector<ring::Part> parts{{layout_.keys(), {members_, keys_.span()}}};
    if (layout_.tags()) parts.push_back({*layout_.tags(), {members_, tags_.span()}});
    return ring::distance_from_code(parts, static_cast<std::uint32_t>(f));
  }

 private:
  const ShareLayout& layout_;
  Numbers members_;
  ring::Elements keys_;
  ring::Elements tags_;
};

/// What one upload's combinations show.
struct UploadFindings {
  bool convicted = false;
  Numbers departing;    ///< members that the client is a suspect with
  bool placed = false;  ///< whether those are the only members who can depart
};

UploadFindings judge_upload(const ShareLayout& layout, std::span<const std::uint32_t> members,
                            std::span<const std::vector<Combinations>> combinations,
                            std::size_t entry, std::size_t f) {
  const std::size_t t = layout.keys().threshold();
  Numbers closed;
  for (std::size_t k = 0; k < members.size(); ++k) {
    if (!combinations[k][entry].opened) closed.push_back(members[k]);
  }
  const bool may_convict = members.size() > t + f;
  if (may_convict && closed.size() > f) return {true, {}, false};
  if (members.size() - closed.size() <= t) return {false, closed, false};  // any t shares fit

  SideBySide words(layout, layout.masks(), layout.tags() ? ShareLayout::kTagMasks : 0,
                   members.size() - closed.size());
  for (std::size_t k = 0; k < members.size(); ++k) {
    const Combinations& one = combinations[k][entry];
    if (one.opened) words.add(members[k], one.keys.span(), one.tag.span());
  }
  ring::DistanceVerdict found = words.distance(words.checks() / 2);
  if (found.distance == ring::Distance::kWithin) {
    Numbers departing = std::move(found.differing);
    departing.insert(departing.end(), closed.begin(), closed.end());
    std::ranges::sort(departing);
    // Within the radius no other sharing is as near.
    if (may_convict && departing.size() > f) return {true, {}, false};
    return {false, std::move(departing), true};
  }
  // closed.size() <= f, and f - closed.size() is below checks() for members.size() - t > f.
  if (may_convict && words.distance(f - closed.size()).distance == ring::Distance::kFarther) {
    return {true, {}, false};
  }
  return {false, Numbers(members.begin(), members.end()), false};
}

std::string listed(const Numbers& numbers, const std::string& what) {
  std::string out = what + (numbers.size() > 1 ? "s " : " ");
  for (std::size_t k = 0; k < numbers.size(); ++k) {
    if (k != 0) out += k + 1 == numbers.size() ? " and " : ", ";
    out += std::to_string(numbers[k]);
  }
  return out;
}

}  // namespace

std::uint32_t assumed_dishonest(const Committee& committee) noexcept {
  const std::uint32_t n = committee.size(), t = committee.threshold();
  return std::max({1u, 2 * t - n - 1, (n - t) / 2});  // n < 2t
}

Findings judge(const ShareLayout& layout, std::span<const std::uint32_t> clients,
               std::span<const std::uint32_t> members,
               std::span<const std::vector<Combinations>> combinations, std::uint32_t f) {
  Findings out;
  Numbers order(members.begin(), members.end());
  std::ranges::sort(order);
  bool placed = order.size() > layout.keys().threshold();
  Numbers departing;
  for (std::size_t entry = 0; entry < clients.size(); ++entry) {
    UploadFindings found = judge_upload(layout, members, combinations, entry, f);
    if (found.convicted) out.clients.push_back(clients[entry]);
    std::ranges::sort(found.departing);
    for (const std::uint32_t member : found.departing) {
      out.suspects.emplace_back(clients[entry], member);
    }
    placed = placed && found.placed;
    departing.insert(departing.end(), found.departing.begin(), found.departing.end());
  }
  if (!placed) return out;
  std::ranges::sort(departing);
  std::ranges::set_difference(order, departing, std::back_inserter(out.fitting));
  return out;
}

MemberFindings judge_members(const ShareLayout& layout, std::span<const std::uint32_t> fitting,
                             const OpenedAnswers& answers, std::uint32_t f) {
  MemberFindings out;
  out.convicted = answers.unreadable;  // signed and sealed by the member, to this reader
  std::vector<std::size_t> used;
  for (std::size_t k = 0; k < answers.members.size(); ++k) {
    if (std::ranges::find(fitting, answers.members[k]) != fitting.end()) used.push_back(k);
  }
  const std::size_t t = layout.keys().threshold();
  if (used.size() > t) {
    SideBySide words(layout, layout.columns(), layout.tags() ? isa::kTagEvaluations : 0,
                     used.size());
    for (const std::size_t k : used) {
      words.add(answers.members[k], answers.shares[k].keys.span(), answers.shares[k].tag.span());
    }
    const ring::DistanceVerdict found = words.distance(words.checks() / 2);
    const bool within = found.distance == ring::Distance::kWithin;
    out.seen = within && found.differing.empty() ? AnswersSeen::kFit : AnswersSeen::kDoubted;
    // At least t + f on one codeword: t honest ones among them.
    if (within && used.size() - found.differing.size() >= t + f) {
      out.convicted.insert(out.convicted.end(), found.differing.begin(), found.differing.end());
    }
  }
  std::ranges::sort(out.convicted);
  return out;
}

Verdict::Verdict(const Certificate& certificate, std::vector<ChallengeAnswer> words,
                 const SignatureVerifier& verifier)
    : certificate_(certificate) {
  const Round& round = certificate_.round();
  const ShareLayout layout(round);
  Numbers clients;
  for (const ManifestEntry* entry : by_client(certificate_.manifest())) {
    check_signature(round, entry->head, &verifier);
    clients.push_back(client_of(entry->head));
  }
  for (ChallengeAnswer& word : words) {
    word.check(certificate_, verifier);
    const auto same = [&](const ChallengeAnswer& one) { return one.member == word.member; };
    if (std::ranges::none_of(words_, same)) words_.push_back(std::move(word));
  }
  std::ranges::sort(words_, {}, &ChallengeAnswer::member);
  Numbers members;
  std::vector<std::vector<Combinations>> combinations;
  for (const ChallengeAnswer& word : words_) {
    members.push_back(word.member);
    combinations.push_back(word.combinations(layout));
  }
  findings_ = judge(layout, clients, members, combinations, assumed_dishonest(committee_of(round)));
}

void Verdict::look_at(const std::vector<Answer>& answers, const Opener& reader,
                      const SignatureVerifier& verifier) {
  const Round& round = certificate_.round();
  members_ = judge_members(ShareLayout(round), findings_.fitting,
                           open_answers(certificate_, answers, reader, verifier),
                           assumed_dishonest(committee_of(round)));
}

std::string Verdict::sentence() const {
  const Committee& committee = committee_of(certificate_.round());
  const std::string assumed = std::to_string(assumed_dishonest(committee));
  std::string out;
  const auto say = [&](const std::string& text) { out += (out.empty() ? "" : " ") + text; };
  if (!findings_.clients.empty()) {
    say("Convicted: " + listed(findings_.clients, "client") +
        ", whose shares are none of a sharing, whichever " + assumed + " member(s) lie.");
  }
  if (!members_.convicted.empty()) {
    say("Convicted: " + listed(members_.convicted, "member") +
        ", whose answer is not the sum of the shares that fit every upload.");
  }
  for (std::size_t k = 0; k < findings_.suspects.size();) {
    const std::uint32_t client = findings_.suspects[k].first;
    Numbers members;
    for (; k < findings_.suspects.size() && findings_.suspects[k].first == client; ++k) {
      members.push_back(findings_.suspects[k].second);
    }
    say("Client " + std::to_string(client) + " dealt bad shares, or " + listed(members, "member") +
        (members.size() > 1 ? " say so wrongly" : " says so wrongly") + ": which, cannot be told.");
  }
  if (members_.seen == AnswersSeen::kDoubted && members_.convicted.empty()) {
    say("The answers are not shares of one sum, and whose is wrong cannot be told.");
  }
  if (!out.empty()) return out;
  if (words_.size() <= committee.threshold()) {
    return "Nobody is named: the challenges were opened by " + std::to_string(words_.size()) +
           " member(s), and only more than " + std::to_string(committee.threshold()) +
           " can contradict each other.";
  }
  return "Nobody is named: every upload's shares fit" +
         std::string(members_.seen == AnswersSeen::kFit ? ", and so do the answers" : "") +
         ". A wrong key, tag or block that is consistently shared cannot be told from a change by "
         "the aggregator.";
}

Bytes Verdict::to_bytes() const {
  const Bytes certificate = certificate_.to_bytes();
  ByteWriter length(8), out(8);
  length.u64(certificate.size());
  out.u32(static_cast<std::uint32_t>(words_.size()));
  for (const ChallengeAnswer& word : words_) {
    write_word(out, word.member, word.signature);
    out.raw(word.words);
  }
  return seal(ObjectKind::kVerdict, {length.bytes(), certificate, out.bytes()});
}

Verdict Verdict::from_bytes(ByteView bytes, const Round& round, const SignatureVerifier& verifier) {
  ByteReader in(open_envelope(bytes, ObjectKind::kVerdict), "verdict");
  const Certificate certificate = Certificate::from_bytes(in.raw(in.u64()), round, verifier);
  const std::size_t size =
      certificate.manifest().entries().size() * combinations_bytes(ShareLayout(round));
  const std::uint32_t count = in.u32();
  if (count > committee_of(round).size()) in.fail("more members opened challenges than there are");
  std::vector<ChallengeAnswer> words;
  for (std::uint32_t k = 0; k < count; ++k) {
    auto [member, signature] = read_word(in, round);
    if (!words.empty() && member <= words.back().member) in.fail("members are not in order");
    const ByteView said = in.raw(size);
    words.push_back({round.id(), member, certificate.sum(), Bytes(said.begin(), said.end()),
                     std::move(signature)});
  }
  in.finish();
  return Verdict(certificate, std::move(words), verifier);
}

}  // namespace veilsum::scheme
