// Layer: tests (scheme). From answers to a sum key: any t give exactly the key; wrong ones are
// corrected and named up to the code's radius; beyond it sets of t are given, without names; what
// is no answer to this certificate is refused, and so is every key that no sum can have.
#include "scheme/combine.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "check.h"
#include "support/active_level.h"
#include "support/committees.h"
#include "support/modulus.h"
#include "veilsum/errors.h"

namespace veilsum::test {
namespace {

using scheme::Answer;
using scheme::Certificate;
using scheme::Combined;
using scheme::KeyShare;
using scheme::Manifest;
using scheme::Round;
using scheme::ShareLayout;
using scheme::SumKey;

using Members = std::vector<std::uint32_t>;

const Members kClients = {2, 0, 3};

/// A certified sum with every member's share of it.
struct Sum {
  explicit Sum(const CommitteeShape& shape, std::uint64_t n = 1)
      : round(make_committee_round(shape, n)),
        layout(round),
        manifest(manifest_of_clients(round, kClients)),
        certificate(certify(manifest, some_blocks(round))) {
    for (std::uint32_t k = 0; k < round.committee()->size(); ++k) {
      shares.push_back(share_of_member(manifest, some_blocks(round), k));
    }
  }

  std::vector<Answer> answers(const Members& members) const {
    std::vector<Answer> out;
    for (const std::uint32_t k : members) out.push_back(answer_with(certificate, k, shares[k]));
    return out;
  }
  Combined combined(const std::vector<Answer>& given, bool every = false) const {
    return scheme::combine(certificate, given, opener_of_reader(round), FakeVerifier(), every);
  }
  Combined combined_of(const Members& members, bool every = false) const {
    return combined(answers(members), every);
  }
  std::uint64_t prime() const { return layout.keys().field().modulus(); }
  /// Adds to a member's shares of keys: a different number other than 0 to each.
  void spoil_keys(std::uint32_t member, std::uint64_t n = 1) {
    Random random(n);
    for (std::uint64_t& v : shares[member].keys) v = (v + 1 + random.below(prime() - 1)) % prime();
  }
  void spoil_tag(std::uint32_t member) {
    shares[member].tag[1] = (shares[member].tag[1] + 1) % ring::kTagPrime;
  }
  /// Whether a key is the sum's, with everything that it says of itself.
  bool right(const SumKey& key) const {
    const std::vector<std::int64_t> expected = key_of_clients(round, kClients);
    return std::equal(expected.begin(), expected.end(), key.coefficients().begin(),
                      key.coefficients().end()) &&
           key.manifest() == manifest.digest() && key.round().id() == round.id() &&
           key.count() == kClients.size() && key.total_weight() == kClients.size() &&
           key.exportable() && key.blocks_digest() == some_blocks(round) &&
           (key.tag() != nullptr) == round.tagged() &&
           (!round.tagged() || key.tag()->values() == tag_of_clients(round, kClients));
  }

  Round round;
  ShareLayout layout;
  Manifest manifest;
  Certificate certificate;
  std::vector<KeyShare> shares;
};

Members everyone(std::uint32_t n) {
  Members out;
  for (std::uint32_t k = 0; k < n; ++k) out.push_back(k);
  return out;
}

TEST("any t answers give exactly the sum key, in any order, and more give the same") {
  for (const bool tagged : {false, true}) {
    const Sum sum({4, 3, tagged, true});
    for (const Members& members : std::vector<Members>{
             {0, 1, 2}, {3, 1, 0}, {2, 3, 0}, {1, 2, 3}, {0, 1, 2, 3}, {3, 2, 1, 0}}) {
      on_every_active_level([&] {
        const Combined made = sum.combined_of(members);
        CHECK_EQ(made.keys.size(), 1u);
        CHECK(sum.right(made.keys.at(0)));
        CHECK_EQ(made.wrong.size(), 1u);
        CHECK(made.wrong.at(0).empty());
      });
    }
    const Sum pair({2, 2, tagged});
    CHECK(pair.right(pair.combined_of({1, 0}).keys.at(0)));
    CommitteeShape many_keys{3, 2, tagged};
    many_keys.upload_keys = 3;
    const Sum keys(many_keys);
    CHECK(keys.right(keys.combined_of({0, 2}).keys.at(0)));
    // The key goes where any other sum key goes.
    const Bytes bytes = keys.combined_of({0, 2}).keys.at(0).to_bytes();
    CHECK(keys.right(SumKey::from_bytes(bytes, keys.round)));
  }
}

TEST("wrong answers within the radius are corrected and named, whatever in them is wrong") {
  const Sum honest({9, 5, true});
  for (const Members& liars : std::vector<Members>{{0}, {8}, {3, 4}, {0, 8}, {7, 2}}) {
    Members expected = liars;
    std::sort(expected.begin(), expected.end());
    // In all coefficients, in one alone, in the tag, and each liar in another thing.
    for (int how = 0; how < 4; ++how) {
      Sum sum({9, 5, true});
      for (std::size_t i = 0; i < liars.size(); ++i) {
        if (how == 0) sum.spoil_keys(liars[i], i + 1);
        if (how == 1) {
          std::uint64_t& v = sum.shares[liars[i]].keys[100 + 1900 * i];
          v = (v + 1) % sum.prime();
        }
        if (how == 2 || (how == 3 && i == 0)) sum.spoil_tag(liars[i]);
        if (how == 3 && i == 1) sum.spoil_keys(liars[i]);
      }
      const Combined made = sum.combined_of(everyone(9));
      CHECK_EQ(made.keys.size(), 1u);
      CHECK(sum.right(made.keys.at(0)));
      CHECK(made.wrong.at(0) == expected);
      // Seven answers of nine correct one.
      Members seven;
      for (std::uint32_t k = 0; k < 9 && seven.size() < 7; ++k) {
        if (k != 1 && k != 6) seven.push_back(k);
      }
      std::size_t among = 0;
      for (const std::uint32_t k : seven) among += std::count(liars.begin(), liars.end(), k);
      if (among != 1) continue;
      const Combined fewer = sum.combined_of(seven);
      CHECK_EQ(fewer.keys.size(), 1u);
      CHECK(sum.right(fewer.keys.at(0)));
      CHECK_EQ(fewer.wrong.at(0).size(), 1u);
    }
  }
  CHECK(honest.combined_of(everyone(9)).wrong.at(0).empty());
}

TEST("beyond the radius sets of t are given, the right one among them, and nobody is named") {
  for (const bool tagged : {false, true}) {
    for (std::uint32_t liar = 0; liar < 4; ++liar) {
      Sum sum({4, 3, tagged});
      sum.spoil_keys(liar);
      // One of four sets has no liar; each of the others fails the bound somewhere among 2,048
      // coefficients, all but surely: 49 of 331 residues are within it.
      const Combined made = sum.combined_of(everyone(4));
      CHECK_EQ(made.keys.size(), 1u);
      CHECK(sum.right(made.keys.at(0)));
      CHECK(made.wrong.at(0).empty());
      if (!tagged) continue;
      // A lie in the tag alone is in no bound: all four sets are given for the tag to decide.
      Sum tags({4, 3, true});
      tags.spoil_tag(liar);
      const Combined some = tags.combined_of(everyone(4));
      CHECK_EQ(some.keys.size(), 4u);
      CHECK_EQ(std::count_if(some.keys.begin(), some.keys.end(),
                             [&](const SumKey& key) { return tags.right(key); }),
               1);
      for (const Members& wrong : some.wrong) CHECK(wrong.empty());
    }
  }
  // Three liars of nine: 126 sets, of which 64 are tried; some of the six honest members' sets of
  // five are among them.
  Sum sum({9, 5});
  for (const std::uint32_t liar : {1u, 4u, 5u}) sum.spoil_keys(liar, liar);
  const Combined made = sum.combined_of(everyone(9));
  CHECK(!made.keys.empty() && made.keys.size() <= 6);
  for (const SumKey& key : made.keys) CHECK(sum.right(key));
}

TEST("asked for every set, the code's key comes first, and at most 64 sets follow") {
  const Sum small({4, 3});
  const Combined all = small.combined_of(everyone(4), true);
  CHECK_EQ(all.keys.size(), 1u + 4);
  CHECK_EQ(all.wrong.size(), all.keys.size());
  for (const SumKey& key : all.keys) CHECK(small.right(key));
  const Combined three = small.combined_of({0, 1, 3}, true);
  CHECK_EQ(three.keys.size(), 2u);
  const Sum large({9, 5});
  CHECK_EQ(large.combined_of(everyone(9), true).keys.size(), 1u + 64);
  Sum lying({9, 5});
  lying.spoil_keys(6);
  const Combined some = lying.combined_of(everyone(9), true);
  CHECK(some.wrong.at(0) == Members{6});
  CHECK(some.keys.size() > 1);
  for (std::size_t i = 0; i < some.keys.size(); ++i) {
    CHECK(lying.right(some.keys[i]));
    if (i != 0) CHECK(some.wrong[i].empty());
  }
}

TEST("fewer than t answers: the others are named") {
  const Sum sum({5, 3, true});
  CHECK_THROWS_WITH(sum.combined_of(Members{}), RoundError,
                    "3 of 5 members; 0 are there, those of members 0, 1, 2, 3, 4 are missing");
  CHECK_THROWS_WITH(sum.combined_of({4}), RoundError, "1 are there, those of members 0, 1, 2, 3");
  CHECK_THROWS_WITH(sum.combined_of({3, 1}), RoundError, "2 are there, those of members 0, 2, 4");
  // The same members again are no others.
  CHECK_THROWS_WITH(sum.combined_of({3, 1, 3, 1, 1}), RoundError, "2 are there");
  CHECK_EQ(sum.combined_of({3, 1, 0}).keys.size(), 1u);
}

TEST("of a member that answers twice the first answer counts") {
  Sum sum({4, 3});
  std::vector<Answer> given = sum.answers({0, 1, 2});
  sum.spoil_keys(1);
  const Answer wrong = sum.answers({1}).front();
  given.push_back(wrong);  // after the right one
  const Combined made = sum.combined(given);
  CHECK_EQ(made.keys.size(), 1u);
  CHECK(sum.right(made.keys.at(0)));
  CHECK(made.wrong.at(0).empty());
  given.insert(given.begin(), wrong);  // before it
  CHECK_THROWS(sum.combined(given), TamperedSumError);
}

TEST("an answer that cannot be read is as good as none, and its member is named") {
  for (const bool tagged : {false, true}) {
    const Sum sum({5, 3, tagged, true});
    const auto signed_answer = [&](std::uint32_t member, Bytes sealed) {
      scheme::Signature signature =
          fake_signature(sum.round.committee()->members()[member],
                         scheme::answer_payload(sum.round, member, sum.certificate.sum(), sealed));
      return Answer{sum.round.id(), member, sum.certificate.sum(), std::move(sealed),
                    std::move(signature)};
    };
    const auto sealed_as = [&](std::uint32_t member, const Digest& to, const Bytes& plain) {
      return kSealer.seal(scheme::reader_of(sum.round).key,
                          scheme::answer_info(sum.round, to, member), plain);
    };
    const auto written = scheme::write_answer(sum.layout, sum.shares[2]);
    const Bytes plain(written.begin(), written.end());
    Bytes altered = sum.answers({2}).front().sealed;
    altered[50] ^= 1;
    const Digest& own = sum.certificate.sum();
    for (const Bytes& sealed :
         {altered, Bytes(altered.size()), sealed_as(3, own, plain), sealed_as(2, bytes32(1), plain),
          sealed_as(2, own, Bytes(plain.size(), 0xff)),
          kSealer.seal(fake_identity(99).kem_key(), scheme::answer_info(sum.round, own, 2),
                       plain)}) {
      std::vector<Answer> given = sum.answers({0, 4, 3});
      given.push_back(signed_answer(2, sealed));
      const Combined made = sum.combined(given);
      CHECK_EQ(made.keys.size(), 1u);
      CHECK(sum.right(made.keys.at(0)));
      CHECK(made.wrong.at(0) == Members{2});
      given.erase(given.begin());
      CHECK_THROWS_WITH(sum.combined(given), RoundError,
                        "2 are there, those of members 0, 1, 2 are missing or cannot be read");
    }
    // Read by somebody else, none can be.
    CHECK_THROWS_WITH(scheme::combine(sum.certificate, sum.answers({0, 1, 2}),
                                      ToyOpener(fake_identity(99).kem_key()), FakeVerifier()),
                      RoundError, "0 are there");
  }
}

TEST("answers to another certificate, of another round, or that do not hold, are refused") {
  const Sum sum({4, 3}), other({4, 3}, 2);
  const Manifest fewer = manifest_of_clients(sum.round, {0, 1});
  const auto with = [&](const Answer& bad) {
    std::vector<Answer> given = sum.answers({0, 1, 2});
    given.push_back(bad);
    return sum.combined(given).keys.size();
  };
  CHECK_EQ(with(sum.answers({3}).front()), 1u);
  CHECK_THROWS_WITH(with(answer_with(certify(fewer, some_blocks(sum.round)), 3,
                                     share_of_member(fewer, some_blocks(sum.round), 3))),
                    RoundError, "member 3 answered another sum");
  CHECK_THROWS_WITH(
      with(answer_with(certify(sum.manifest, some_blocks(sum.round, 2)), 3, sum.shares[3])),
      RoundError, "member 3 answered another sum");
  CHECK_THROWS_WITH(with(other.answers({3}).front()), RoundError, "belongs to round");
  Answer forged = sum.answers({3}).front();
  forged.signature = changed(forged.signature, 5);
  CHECK_THROWS_WITH(with(forged), RoundError, "member 3 does not hold");
  forged = sum.answers({3}).front();
  forged.member = 7;
  CHECK_THROWS_WITH(with(forged), RoundError, "no member number 7");
  // Also where it would not have counted.
  forged = sum.answers({1}).front();
  forged.signature = changed(forged.signature, 5);
  CHECK_THROWS_WITH(with(forged), RoundError, "member 1 does not hold");
}

TEST("a coefficient of at most 8 W is a sum's; one beyond is refused, at both edges") {
  const Sum sum({4, 3});
  const std::uint64_t p = sum.prime();
  const std::vector<std::int64_t> expected = key_of_clients(sum.round, kClients);
  const auto bound = static_cast<std::int64_t>(8 * kClients.size());
  const Members members = {3, 0, 1};
  // What member 3's share counts for at 0.
  const std::uint64_t weight = multiply_mod(multiply_mod(1, inverse_mod((1 + p - 4) % p, p), p),
                                            multiply_mod(2, inverse_mod((2 + p - 4) % p, p), p), p);
  for (const std::size_t at : {std::size_t{0}, std::size_t{1000}, expected.size() - 1}) {
    for (const std::int64_t target :
         {bound, -bound, bound + 1, -bound - 1, std::int64_t{0}, static_cast<std::int64_t>(p / 2),
          -static_cast<std::int64_t>(p / 2)}) {
      Sum lying({4, 3});
      const auto difference = static_cast<std::uint64_t>(
          ((target - expected[at]) % static_cast<std::int64_t>(p) + static_cast<std::int64_t>(p)) %
          static_cast<std::int64_t>(p));
      std::uint64_t& share = lying.shares[3].keys[at];
      share = (share + multiply_mod(difference, inverse_mod(weight, p), p)) % p;
      if (std::abs(target) <= bound) {
        const Combined made = lying.combined_of(members);
        CHECK_EQ(made.keys.at(0).coefficients()[at], target);
      } else {
        CHECK_THROWS_WITH(lying.combined_of(members), TamperedSumError, "no value is given out");
      }
    }
  }
}

TEST("answers that are all wrong give no key") {
  Sum sum({4, 3, true});
  for (std::uint32_t k = 0; k < 4; ++k) sum.spoil_keys(k, k + 1);
  CHECK_THROWS(sum.combined_of(everyone(4)), TamperedSumError);
  CHECK_THROWS(sum.combined_of({0, 1, 2}), TamperedSumError);
}

}  // namespace
}  // namespace veilsum::test
