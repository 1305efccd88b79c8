// Layer: tests (scheme). Challenges and verdicts: combinations are shares of the masked combination
// of the keys; for every small n, t and f a client is convicted just where its sharing is farther
// than f members from every other and n - t > f, and an honest one never by f liars; a member just
// where t + f others agree; what does not hold is refused.
#include "scheme/verdict.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "check.h"
#include "support/active_level.h"
#include "support/committees.h"
#include "support/envelopes.h"
#include "support/random.h"
#include "veilsum/errors.h"

namespace veilsum::test {
namespace {

using scheme::Certificate;
using scheme::ChallengeAnswer;
using scheme::Combinations;
using scheme::Findings;
using scheme::KeyShare;
using scheme::Manifest;
using scheme::MemberFindings;
using scheme::Round;
using scheme::ShareLayout;
using scheme::Verdict;

using Members = std::vector<std::uint32_t>;
using Pairs = std::vector<std::pair<std::uint32_t, std::uint32_t>>;

const Members kClients = {2, 0, 3};

Members everyone(std::uint32_t n) {
  Members out(n);
  std::iota(out.begin(), out.end(), 0u);
  return out;
}
Members of_bits(std::uint32_t bits) {
  Members out;
  for (std::uint32_t k = 0; bits >> k != 0; ++k) {
    if ((bits >> k & 1) != 0) out.push_back(k);
  }
  return out;
}

/// All members' combinations of one honest upload: any sharing of random values.
std::vector<std::vector<Combinations>> honest(const ShareLayout& layout, Random& random) {
  const auto rows = [&](const ring::Shamir& scheme, std::size_t columns) {
    ring::Elements coefficients(scheme.threshold() * columns);
    for (std::uint64_t& word : coefficients.span()) word = random.below(scheme.field().modulus());
    return ring::evaluate(scheme, coefficients.span());
  };
  const std::size_t columns = layout.masks(), wide = ShareLayout::kTagMasks;
  const ring::Elements keys = rows(layout.keys(), columns);
  ring::Elements tags;
  if (layout.tags()) tags = rows(*layout.tags(), wide);
  std::vector<std::vector<Combinations>> out;
  for (std::uint32_t k = 0; k < layout.keys().members(); ++k) {
    Combinations one{true, ring::Elements(columns), ring::Elements(layout.tags() ? wide : 0)};
    std::copy_n(keys.begin() + k * columns, columns, one.keys.begin());
    if (layout.tags()) std::copy_n(tags.begin() + k * wide, wide, one.tag.begin());
    out.emplace_back();
    out.back().push_back(std::move(one));
  }
  return out;
}

/// Random words in the place of some members': where few columns chance to agree, 16 do not.
void spoil(const ShareLayout& layout, std::vector<std::vector<Combinations>>& words,
           const Members& members, Random& random, bool tag_alone = false) {
  for (const std::uint32_t k : members) {
    Combinations& one = words[k].front();
    for (std::uint64_t& word : one.tag.span()) {
      word = random.below(layout.tags()->field().modulus());
    }
    if (tag_alone) continue;
    for (std::uint64_t& word : one.keys.span()) {
      word = random.below(layout.keys().field().modulus());
    }
  }
}

void each_shape(std::uint32_t most, auto visit) {
  for (std::uint32_t n = 2; n <= most; ++n) {
    for (std::uint32_t t = n / 2 + 1; t <= n; ++t) visit(n, t);
  }
}

TEST("f is what a committee can bear, what is corrected, and at least one") {
  const auto f = [](std::uint64_t n, std::uint64_t t) {
    return scheme::assumed_dishonest(make_committee(n, t));
  };
  CHECK_EQ(f(2, 2), 1u);
  CHECK_EQ(f(3, 2), 1u);
  CHECK_EQ(f(4, 3), 1u);
  CHECK_EQ(f(5, 3), 1u);
  CHECK_EQ(f(5, 4), 2u);
  CHECK_EQ(f(7, 5), 2u);
  CHECK_EQ(f(9, 5), 2u);
  CHECK_EQ(f(10, 10), 9u);
  CHECK_EQ(f(13, 7), 3u);
}

TEST("a client is convicted just where its word is farther than f from all others, and n - t > f") {
  Random random(1);
  const Members clients = {5};
  each_shape(6, [&](std::uint32_t n, std::uint32_t t) {
    const Round round = make_committee_round({n, t, true});
    const ShareLayout layout(round);
    for (std::uint32_t bits = 0; bits < 1u << n; ++bits) {
      const Members bad = of_bits(bits);
      for (const bool tag_alone : {false, true}) {
        auto words = honest(layout, random);
        spoil(layout, words, bad, random, tag_alone);
        // Random words are on no other polynomial: the distance is their number, or n - t.
        const std::size_t distance = std::min<std::size_t>(bad.size(), n - t);
        for (std::uint32_t f = 0; f < n; ++f) {
          const Findings found = scheme::judge(layout, clients, everyone(n), words, f);
          const bool convicted = n - t > f && distance > f;
          CHECK(found.clients == (convicted ? clients : Members{}));
          Pairs expected;
          const bool placed = bad.size() <= (n - t) / 2 && n > t;
          if (!convicted && n > t) {
            for (const std::uint32_t k : placed ? bad : everyone(n)) expected.emplace_back(5, k);
          }
          CHECK(found.suspects == expected);
          Members fitting;
          if (!convicted && placed) {
            std::ranges::set_difference(everyone(n), bad, std::back_inserter(fitting));
          }
          CHECK(found.fitting == fitting);
        }
      }
    }
  });
}

TEST("no f members convict an honest client, whatever they say and whoever is silent") {
  Random random(2);
  const Members clients = {5};
  each_shape(6, [&](std::uint32_t n, std::uint32_t t) {
    const Round round = make_committee_round({n, t});
    const ShareLayout layout(round);
    const std::uint64_t p = layout.keys().field().modulus();
    for (std::uint32_t bits = 1; bits < 1u << n; ++bits) {
      const Members liars = of_bits(bits);
      const auto f = static_cast<std::uint32_t>(liars.size());
      for (int how = 0; how < 4; ++how) {
        auto words = honest(layout, random);
        const auto other = honest(layout, random);
        for (const std::uint32_t k : liars) {
          Combinations& one = words[k].front();
          if (how == 0) spoil(layout, words, {k}, random);
          // Together on another codeword; that minus this; and shares that they say they lack.
          for (std::size_t j = 0; j < one.keys.size(); ++j) {
            if (how == 1) one.keys[j] = other[k].front().keys[j];
            if (how == 2) one.keys[j] = (one.keys[j] + (j == 0 ? k + 1 : 0)) % p;
            if (how == 3) one.keys[j] = 0;
          }
          one.opened = how != 3;
        }
        for (std::uint32_t there = 0; there < 1u << n; ++there) {
          const Members members = of_bits(there);
          std::vector<std::vector<Combinations>> given;
          for (const std::uint32_t k : members) {
            const Combinations& one = words[k].front();
            Combinations copy{one.opened, ring::Elements(one.keys.size()), {}};
            std::ranges::copy(one.keys.span(), copy.keys.begin());
            given.emplace_back();
            given.back().push_back(std::move(copy));
          }
          const Findings found = scheme::judge(layout, clients, members, given, f);
          CHECK(found.clients.empty());
        }
      }
    }
  });
}

TEST("a member is convicted just where its answer fits not, and t + f others agree") {
  Random random(3);
  each_shape(6, [&](std::uint32_t n, std::uint32_t t) {
    const Round round = make_committee_round({n, t, true});
    const ShareLayout layout(round);
    const Manifest manifest = manifest_of_clients(round, kClients);
    for (std::uint32_t bits = 0; bits < 1u << n; ++bits) {
      const Members liars = of_bits(bits);
      scheme::OpenedAnswers answers;
      for (std::uint32_t k = 0; k < n; ++k) {
        answers.members.push_back(k);
        answers.shares.push_back(share_of_member(manifest, std::nullopt, k));
      }
      for (const std::uint32_t k : liars) {
        const bool in_tag = random.below(2) == 0;
        auto& words = in_tag ? answers.shares[k].tag : answers.shares[k].keys;
        const std::uint64_t p = (in_tag ? *layout.tags() : layout.keys()).field().modulus();
        for (std::uint64_t& word : words.span()) word = random.below(p);
      }
      for (std::uint32_t f = 1; f < n; ++f) {
        const MemberFindings found = scheme::judge_members(layout, everyone(n), answers, f);
        const bool convicted = liars.size() <= (n - t) / 2 && n - liars.size() >= t + f && n > t;
        CHECK(found.convicted == (convicted ? liars : Members{}));
        CHECK(found.seen == (n == t          ? scheme::AnswersSeen::kNone
                             : liars.empty() ? scheme::AnswersSeen::kFit
                                             : scheme::AnswersSeen::kDoubted));
        // Whose combinations did not fit is not looked at.
        const MemberFindings none = scheme::judge_members(layout, {}, answers, f);
        CHECK(none.convicted.empty() && none.seen == scheme::AnswersSeen::kNone);
      }
      scheme::OpenedAnswers unread;
      unread.unreadable = liars;
      CHECK(scheme::judge_members(layout, {}, unread, 1).convicted == liars);
    }
  });
}

TEST("combinations are shares of one value, by client, on every level") {
  for (const bool tagged : {false, true}) {
    const Round round = make_committee_round({5, 3, tagged, true});
    const ShareLayout layout(round);
    const Manifest manifest = manifest_of_clients(round, kClients);
    const Manifest reordered = manifest_of_clients(round, {0, 3, 2});
    CHECK(manifest.digest() == reordered.digest());
    const Certificate certificate = certify(manifest, some_blocks(round));
    const ring::PrimeField& field = layout.keys().field();
    std::vector<ChallengeAnswer> answers;
    for (std::uint32_t k = 0; k < 5; ++k) {
      answers.push_back(challenge_answer(certificate, manifest, k));
      CHECK(challenge_answer(certificate, reordered, k).words == answers[k].words);
      on_every_active_level(
          [&] { CHECK(challenge_answer(certificate, manifest, k).words == answers[k].words); });
    }
    const Members sorted = {0, 2, 3};
    for (std::size_t entry = 0; entry < sorted.size(); ++entry) {
      ring::Elements first;
      for (const Members& members : std::vector<Members>{{0, 1, 2}, {4, 2, 3}, {1, 3, 4}}) {
        ring::Elements rows(members.size() * layout.masks());
        for (std::size_t i = 0; i < members.size(); ++i) {
          const std::vector<Combinations> said = answers[members[i]].combinations(layout);
          CHECK_EQ(said.size(), sorted.size());
          CHECK(said[entry].opened);
          std::ranges::copy(said[entry].keys.span(), rows.begin() + i * layout.masks());
        }
        ring::Elements at_zero = ring::reconstruct(layout.keys(), {members, rows.span()});
        if (first.size() == 0)
          first = std::move(at_zero);
        else
          CHECK(std::ranges::equal(first.span(), at_zero.span()));
      }
      // What is left when the combinations of the keys are taken away is the masks' values, which
      // the combinations of another challenge have as well.
      const scheme::KeyCoefficients keys = scheme::expand_keys(round, seed32(sorted[entry] + 1));
      std::vector<std::uint64_t> elements;
      for (const std::int64_t key : keys.span()) elements.push_back(field.from_signed(key));
      const Digest asked = scheme::challenge_of(manifest.digest(), sorted[entry]);
      const ring::Elements combined = ring::combine_challenge(field, asked, elements);
      std::vector<std::uint64_t> masks;
      for (std::size_t i = 0; i < layout.masks(); ++i) {
        masks.push_back(field.subtract(first[i], combined[i]));
      }
      CHECK(std::ranges::any_of(masks, [](std::uint64_t mask) { return mask != 0; }));
      ring::Elements rows(3 * layout.masks());
      for (std::uint32_t k = 0; k < 3; ++k) {
        const scheme::MemberRequest request(manifest, some_blocks(round), k);
        SecretBuffer<std::uint8_t> plain(layout.share_bytes());
        const auto at = std::ranges::find(kClients, sorted[entry]) - kClients.begin();
        const auto& head = manifest.entries()[static_cast<std::size_t>(at)].head;
        CHECK(opener_of_member(round, k).open(
            {}, scheme::sealing_info(round, sorted[entry], head.nonce, k),
            request.part(static_cast<std::size_t>(at)), plain.span()));
        const Combinations other =
            scheme::combinations_of(layout, bytes32(9), scheme::read_share(layout, plain.span()));
        std::ranges::copy(other.keys.span(), rows.begin() + k * layout.masks());
      }
      const ring::Elements at_zero =
          ring::reconstruct(layout.keys(), {Members{0, 1, 2}, rows.span()});
      const ring::Elements others = ring::combine_challenge(field, bytes32(9), elements);
      for (std::size_t i = 0; i < layout.masks(); ++i) {
        CHECK_EQ(field.subtract(at_zero[i], others[i]), masks[i]);
      }
    }
    CHECK(scheme::challenge_of(manifest.digest(), 0) != scheme::challenge_of(manifest.digest(), 2));
  }
}

TEST("what members say is refused unless it is of this sum, whole, and signed") {
  const Round round = make_committee_round({4, 3, true, true});
  const Manifest manifest = manifest_of_clients(round, kClients);
  const Manifest fewer = manifest_of_clients(round, {0, 2});
  const Certificate certificate = certify(manifest, std::nullopt);
  const ChallengeAnswer good = challenge_answer(certificate, manifest, 1);
  const FakeVerifier verifier;
  good.check(certificate, verifier);
  CHECK_THROWS_WITH(good.check(certify(fewer, std::nullopt), verifier), RoundError, "another sum");
  ChallengeAnswer bad = good;
  bad.signature = changed(bad.signature, 3);
  CHECK_THROWS_WITH(bad.check(certificate, verifier), RoundError, "member 1 does not hold");
  bad = good;
  bad.words[5] ^= 1;
  CHECK_THROWS_WITH(bad.check(certificate, verifier), RoundError, "does not hold");
  bad = good;
  bad.member = 9;
  CHECK_THROWS_WITH(bad.check(certificate, verifier), RoundError, "no member number 9");
  CHECK_THROWS_WITH(
      challenge_answer_with(certificate, 1, Bytes(good.words.begin(), good.words.end() - 8))
          .check(certificate, verifier),
      RoundError, "another number");
  CHECK_THROWS_WITH(Verdict(certificate, {bad}, verifier), RoundError, "no member number 9");

  const ChallengeAnswer read = ChallengeAnswer::from_bytes(good.to_bytes(), round);
  CHECK(read.to_bytes() == good.to_bytes());
  const auto with = [&](std::size_t at, const Bytes& bytes) {
    ChallengeAnswer one = good;
    std::ranges::copy(bytes, one.words.begin() + static_cast<std::ptrdiff_t>(at));
    return one.to_bytes();
  };
  const auto refused = [&](const Bytes& bytes, const std::string& why) {
    CHECK_THROWS_WITH(ChallengeAnswer::from_bytes(bytes, round), WireFormatError, why);
  };
  refused(with(0, {2}), "0 or 1");
  refused(with(0, {0}), "not opened has words");
  refused(with(1, Bytes(8, 0xff)), "no element");
  refused(with(scheme::combinations_bytes(ShareLayout(round)) - 8, Bytes(8, 0xff)), "no element");
  refused(challenge_answer_with(certificate, 1, {}).to_bytes(), "opens no challenge");
  refused(challenge_answer_with(certificate, 1, Bytes(good.words.begin(), good.words.end() - 1))
              .to_bytes(),
          "truncated");
}

TEST("a verdict's bytes hold what it is computed from, each member once, in order") {
  const Round round = make_committee_round({5, 3, false, true});
  const Manifest manifest = manifest_of_clients(round, kClients);
  const Certificate certificate = certify(manifest, some_blocks(round));
  const FakeVerifier verifier;
  std::vector<ChallengeAnswer> answers;
  for (const std::uint32_t k : {4u, 1u, 0u, 3u, 1u}) {
    answers.push_back(challenge_answer(certificate, manifest, k));
  }
  Bytes words = answers[1].words;  // of member 1
  words[1] = static_cast<std::uint8_t>((words[1] + 1) % 128);
  answers[1] = challenge_answer_with(certificate, 1, words);
  const Verdict verdict(certificate, answers, verifier);
  CHECK_EQ(verdict.words().size(), 4u);
  // n' - t = 1: somebody deviates, nobody knows who.
  CHECK_EQ(verdict.suspects().size(), 4u);
  CHECK(verdict.suspects().front() == std::pair(0u, 0u));
  const Verdict read = Verdict::from_bytes(verdict.to_bytes(), round, verifier);
  CHECK(read.to_bytes() == verdict.to_bytes());
  CHECK(read.suspects() == verdict.suspects() && read.clients() == verdict.clients());
  CHECK_EQ(read.sentence(), verdict.sentence());

  const Bytes object = verdict.to_bytes();
  const std::size_t tail = 4 + 4 * 4 + 4 * words.size() + 4;
  std::size_t signatures = 0;
  for (const ChallengeAnswer& one : verdict.words()) signatures += one.signature.bytes().size();
  const std::size_t count_at = object.size() - tail - signatures;
  Bytes many = object;
  many[count_at] = 6;
  repair_checksum(many);
  CHECK_THROWS_WITH(Verdict::from_bytes(many, round, verifier), WireFormatError, "than there are");
  many[count_at] = 5;
  repair_checksum(many);
  CHECK_THROWS_WITH(Verdict::from_bytes(many, round, verifier), WireFormatError, "truncated");
  Bytes order = object;
  order[count_at + 4] = 4;  // another signature's length, or no order: both are refused
  repair_checksum(order);
  CHECK_THROWS(Verdict::from_bytes(order, round, verifier), WireFormatError);
  Bytes forged = object;
  forged[count_at + 8 + 5] ^= 1;
  repair_checksum(forged);
  CHECK_THROWS_WITH(Verdict::from_bytes(forged, round, verifier), RoundError, "does not hold");
  Bytes length = object;
  length[16 + 7] = 0xff;
  repair_checksum(length);
  CHECK_THROWS_WITH(Verdict::from_bytes(length, round, verifier), WireFormatError, "truncated");
}

}  // namespace
}  // namespace veilsum::test
