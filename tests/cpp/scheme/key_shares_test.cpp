// Layer: tests (scheme). Shares of an upload's keys, masks and tag, against integer arithmetic
// written here: what any t members hold of a sum gives the sum, and what t - 1 hold gives nothing;
// their sizes and bytes as the wire format says; bytes that nobody was dealt are refused.
#include "scheme/key_shares.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "check.h"
#include "isa/aes_key.h"
#include "ring/sha256.h"
#include "support/active_level.h"
#include "support/committees.h"
#include "support/modulus.h"
#include "veilsum/errors.h"

namespace veilsum::test {
namespace {

using scheme::KeyShare;
using scheme::Plan;
using scheme::Round;
using scheme::ShareLayout;

/// The smallest prime above max(32 W, n), by trial.
std::uint64_t prime_by_hand(std::uint64_t total_weight, std::uint64_t members) {
  std::uint64_t p = std::max(32 * total_weight, members) + 1;
  const auto prime = [&] {
    for (std::uint64_t d = 2; d * d <= p; ++d) {
      if (p % d == 0) return false;
    }
    return true;
  };
  while (!prime()) ++p;
  return p;
}

unsigned bits_of(std::uint64_t value) {
  unsigned bits = 0;
  for (; value != 0; value >>= 1) ++bits;
  return bits;
}

/// Uniform values that mask challenges: the least m with p^m >= 2^128.
std::size_t masks_by_hand(std::uint64_t p) {
  Uint128 power = 1;
  std::size_t count = 1;
  for (; power <= ~Uint128{0} / p; ++count) power *= p;  // p^count does not fit 128 bits
  return count;
}

std::size_t eights(std::size_t count) { return (count + 7) / 8 * 8; }

std::uint64_t field_at(ByteView bytes, std::size_t at, unsigned bits) {
  std::uint64_t out = 0;
  for (unsigned b = 0; b < bits; ++b) {
    const std::size_t bit = at * bits + b;
    out |= std::uint64_t{bytes[bit / 8] >> (bit % 8) & 1u} << b;
  }
  return out;
}

void set_field(Bytes& bytes, std::size_t at, unsigned bits, std::uint64_t value) {
  for (unsigned b = 0; b < bits; ++b) {
    const std::size_t bit = at * bits + b;
    const auto mask = static_cast<std::uint8_t>(1u << (bit % 8));
    bytes[bit / 8] =
        static_cast<std::uint8_t>((bytes[bit / 8] & ~mask) | ((value >> b & 1) != 0 ? mask : 0));
  }
}

std::uint64_t word_at(ByteView bytes, std::size_t at) {
  std::uint64_t word = 0;
  std::memcpy(&word, bytes.data() + at, 8);
  return word;
}

/// The value at 0 of the polynomial of degree members.size() - 1 through (member + 1, share).
std::uint64_t at_zero(const std::vector<std::uint32_t>& members,
                      const std::vector<std::uint64_t>& shares, std::uint64_t p) {
  std::uint64_t out = 0;
  for (std::size_t i = 0; i < members.size(); ++i) {
    std::uint64_t numerator = shares[i], denominator = 1;
    for (std::size_t m = 0; m < members.size(); ++m) {
      if (m == i) continue;
      const std::uint64_t x = members[m] + 1, own = members[i] + 1;
      numerator = multiply_mod(numerator, x, p);
      denominator = multiply_mod(denominator, (x + p - own) % p, p);
    }
    out = (out + multiply_mod(numerator, inverse_mod(denominator, p), p)) % p;
  }
  return out;
}

/// All sets of t of n members.
std::vector<std::vector<std::uint32_t>> sets_of(std::uint32_t n, std::uint32_t t) {
  std::vector<std::vector<std::uint32_t>> out;
  for (std::uint32_t bits = 0; bits < 1u << n; ++bits) {
    std::vector<std::uint32_t> some;
    for (std::uint32_t k = 0; k < n; ++k) {
      if ((bits >> k & 1) != 0) some.push_back(k);
    }
    if (some.size() == t) out.push_back(some);
  }
  return out;
}

std::vector<SecretBuffer<std::uint8_t>> deal(const Round& round, std::uint64_t n) {
  std::optional<ring::TagSum> tag;
  if (round.tagged()) tag.emplace(tag_of(round, n));
  return scheme::deal_shares(round, seed32(n), tag ? &*tag : nullptr);
}

/// A round of a committee for any plan, of two clients.
Round round_for(const Plan& plan, const CommitteeShape& shape) {
  return Round(plan, make_committee(shape.members, shape.threshold), committee_fields(shape),
               bytes32(7));
}

/// What an upload's shares are made of, as the wire format says: its sharing key's streams.
isa::AesKey sharing_key(const Round& round, std::uint64_t n) {
  const Digest bytes = ring::labelled_hash("veilsum/2/sharing", {round.id(), seed32(n).span()});
  isa::AesKey key;
  isa::aes_expand_key(bytes.data(), bytes.size(), key);
  return key;
}

TEST("what any t members hold of a sum gives the sums of keys, masks and tags; in any order") {
  for (const bool tagged : {false, true}) {
    for (const auto& [n, t] : std::vector<std::pair<std::uint32_t, std::uint32_t>>{
             {2, 2}, {3, 2}, {4, 3}, {5, 3}, {5, 5}}) {
      CommitteeShape shape{n, t, tagged};
      shape.upload_keys = t == 2 ? 2 : 1;
      const Round round = make_committee_round(shape);
      const ShareLayout layout(round);
      const std::uint64_t p = layout.keys().field().modulus();
      std::vector<KeyShare> held;
      for (std::uint32_t k = 0; k < n; ++k) held.emplace_back(layout);
      std::vector<std::uint64_t> masks(layout.masks());
      std::vector<std::uint64_t> tag_masks(2);
      const std::vector<std::uint32_t> clients = {2, 0, 3};
      for (const std::uint32_t client : clients) {
        const auto dealt = deal(round, client + 1);
        CHECK_EQ(dealt.size(), n);
        for (std::uint32_t k = 0; k < n; ++k) {
          held[k].add(layout, scheme::read_share(layout, dealt[k].span()));
        }
        const isa::AesKey key = sharing_key(round, client + 1);
        const auto some = ring::uniform_elements(layout.keys().field(), key, 1, masks.size());
        for (std::size_t i = 0; i < masks.size(); ++i) masks[i] = (masks[i] + some[i]) % p;
        if (!tagged) continue;
        const auto two = ring::uniform_elements(layout.tags()->field(), key, 3, 2);
        for (std::size_t e = 0; e < 2; ++e) {
          tag_masks[e] = (tag_masks[e] + two[e]) % ring::kTagPrime;
        }
      }
      const std::vector<std::int64_t> sum = key_of_clients(round, clients);
      for (const std::vector<std::uint32_t>& members : sets_of(n, t)) {
        const auto opened = [&](auto row_of, std::size_t at, std::uint64_t modulus) {
          std::vector<std::uint64_t> shares;
          for (const std::uint32_t k : members) shares.push_back(row_of(held[k])[at]);
          return at_zero(members, shares, modulus);
        };
        const auto keys = [](const KeyShare& share) { return share.keys.span(); };
        std::size_t wrong = 0;
        for (std::size_t j = 0; j < sum.size(); ++j) {
          const std::int64_t residue =
              (sum[j] % static_cast<std::int64_t>(p) + static_cast<std::int64_t>(p)) %
              static_cast<std::int64_t>(p);
          wrong += opened(keys, j, p) != static_cast<std::uint64_t>(residue);
        }
        CHECK_EQ(wrong, 0u);
        for (std::size_t i = 0; i < masks.size(); ++i) {
          CHECK_EQ(opened([](const KeyShare& s) { return s.masks.span(); }, i, p), masks[i]);
        }
        if (!tagged) continue;
        for (std::size_t e = 0; e < 2; ++e) {
          CHECK_EQ(opened([](const KeyShare& s) { return s.tag.span(); }, e, ring::kTagPrime),
                   tag_of_clients(round, clients)[e]);
          CHECK_EQ(opened([](const KeyShare& s) { return s.tag_masks.span(); }, e, ring::kTagPrime),
                   tag_masks[e]);
        }
      }
    }
  }
}

TEST("the polynomials are those of the sharing key's streams, on every level") {
  CommitteeShape shape{5, 3, true};
  shape.clients = 4;
  const Round round = round_for(make_plan(4, 8, 0, 128, "n2048"), shape);
  const ShareLayout layout(round);
  const std::uint64_t p = layout.keys().field().modulus();
  const std::size_t masks = layout.masks(), width = layout.columns() + eights(masks);
  CHECK(masks % 8 != 0);
  const isa::AesKey key = sharing_key(round, 3);
  const auto higher = ring::uniform_elements(layout.keys().field(), key, 0, 2 * width);
  const auto values = ring::uniform_elements(layout.keys().field(), key, 1, masks);
  const auto tag_higher = ring::uniform_elements(layout.tags()->field(), key, 2, 2 * 4);
  const auto tag_values = ring::uniform_elements(layout.tags()->field(), key, 3, 2);
  std::vector<std::uint64_t> secret;
  for (const std::int64_t c : scheme::expand_keys(round, seed32(3))) {
    secret.push_back(static_cast<std::uint64_t>(c + static_cast<std::int64_t>(p)) % p);
  }
  secret.insert(secret.end(), values.begin(), values.end());
  std::vector<std::uint64_t> tag = {tag_of(round, 3).values()[0], tag_of(round, 3).values()[1],
                                    tag_values[0], tag_values[1]};
  on_every_active_level([&] {
    const auto dealt = deal(round, 3);
    for (std::uint32_t k = 0; k < 5; ++k) {
      const std::uint64_t x = k + 1;
      const auto at = [&](const auto& constant, const auto& more, std::size_t columns,
                          std::size_t j, std::uint64_t modulus) {
        return (constant[j] + multiply_mod(more[j], x, modulus) +
                multiply_mod(more[columns + j], x * x, modulus)) %
               modulus;
      };
      const KeyShare share = scheme::read_share(layout, dealt[k].span());
      std::size_t wrong = 0;
      for (std::size_t j = 0; j < secret.size(); ++j) {
        const std::uint64_t found =
            j < layout.columns() ? share.keys[j] : share.masks[j - layout.columns()];
        wrong += found != at(secret, higher, width, j, p);
      }
      CHECK_EQ(wrong, 0u);
      for (std::size_t j = 0; j < 4; ++j) {
        CHECK_EQ(j < 2 ? share.tag[j] : share.tag_masks[j - 2],
                 at(tag, tag_higher, 4, j, ring::kTagPrime));
      }
    }
  });
}

TEST("shares depend on seed and round, and on nothing else") {
  const Round round = make_committee_round({}), other = make_committee_round({}, 2);
  const auto bytes_of = [](const Round& of, std::uint64_t n) {
    Bytes out;
    for (const auto& share : deal(of, n)) out.insert(out.end(), share.begin(), share.end());
    return out;
  };
  CHECK(bytes_of(round, 1) == bytes_of(round, 1));
  CHECK(bytes_of(round, 1) != bytes_of(round, 2));
  CHECK(bytes_of(round, 1) != bytes_of(other, 1));
}

TEST("sizes: for every ring, committee and number of keys, by hand and as the design says") {
  struct Case {
    Plan plan;
    CommitteeShape shape;
  };
  std::vector<Case> cases;
  for (const bool tagged : {false, true}) {
    cases.push_back({make_plan(10, 16), {4, 3, tagged}});
    cases.push_back({make_plan(10, 16, 0, 128, "n4096"), {2, 2, tagged}});
    cases.push_back({make_plan(1000, 8), {9, 6, tagged}});
    cases.push_back({make_plan(2, 4), {200, 101, tagged}});  // members before weights
    cases.push_back({make_plan(4, 8, 0, 128, "n2048"), {4, 3, tagged}});
    cases.push_back({make_plan(5, 8, 0, 192, "n4096q48"), {4, 3, tagged}});
    cases.back().shape.upload_keys = 8;
  }
  for (Case& c : cases) {
    c.shape.clients = 2;
    const Round round = round_for(c.plan, c.shape);
    const ShareLayout layout(round);
    const std::uint64_t p = prime_by_hand(c.plan.max_weight(), c.shape.members);
    const std::size_t columns = c.plan.degree() * c.shape.upload_keys;
    const std::size_t masks = masks_by_hand(p);
    CHECK_EQ(layout.keys().field().modulus(), p);
    CHECK_EQ(layout.keys().members(), c.shape.members);
    CHECK_EQ(layout.keys().threshold(), c.shape.threshold);
    CHECK_EQ(layout.columns(), columns);
    CHECK_EQ(layout.masks(), masks);
    CHECK_EQ(layout.tags().has_value(), c.shape.tagged);
    const std::size_t share =
        (columns + eights(masks)) / 8 * bits_of(p) + (c.shape.tagged ? 32 : 0);
    CHECK_EQ(layout.share_bytes(), share);
    CHECK_EQ(layout.answer_bytes(), columns / 8 * bits_of(p) + (c.shape.tagged ? 16 : 0));
    CHECK_EQ(scheme::sealed_share_bytes(round), 1136 + share);
    CHECK_EQ(scheme::part_bytes(round), 32u);
    for (const auto& dealt : deal(round, 1)) CHECK_EQ(dealt.size(), share);
    CHECK_EQ(scheme::write_answer(layout, KeyShare(layout)).size(), layout.answer_bytes());
  }
  // "About 2.3 kB a key and 1.1 kB a member", below the 3.6 kB a member that section 9 allows.
  const ShareLayout typical(make_committee_round({4, 3, true}));
  CHECK_EQ(typical.share_bytes(), 2322u + 32);
  CHECK(scheme::kSealBytes + typical.share_bytes() <= 3600);
}

TEST("shares in bytes: fields of the least width, eights filled up with zeros, words for tags") {
  for (const bool tagged : {false, true}) {
    const Round round = round_for(make_plan(4, 8, 0, 128, "n2048"), {5, 3, tagged});
    const ShareLayout layout(round);
    const unsigned bits = bits_of(layout.keys().field().modulus());
    const std::size_t columns = layout.columns(), masks = layout.masks();
    for (const auto& dealt : deal(round, 4)) {
      const KeyShare share = scheme::read_share(layout, dealt.span());
      std::size_t wrong = 0;
      for (std::size_t j = 0; j < columns; ++j) {
        wrong += share.keys[j] != field_at(dealt.span(), j, bits);
      }
      for (std::size_t i = 0; i < masks; ++i) {
        wrong += share.masks[i] != field_at(dealt.span(), columns + i, bits);
      }
      for (std::size_t i = masks; i < eights(masks); ++i) {
        wrong += field_at(dealt.span(), columns + i, bits) != 0;
      }
      CHECK_EQ(wrong, 0u);
      const std::size_t words = (columns + eights(masks)) / 8 * bits;
      CHECK_EQ(share.tag.size(), tagged ? 2u : 0u);
      CHECK_EQ(share.tag_masks.size(), tagged ? 2u : 0u);
      for (std::size_t e = 0; e < share.tag.size(); ++e) {
        CHECK_EQ(share.tag[e], word_at(dealt.span(), words + 8 * e));
        CHECK_EQ(share.tag_masks[e], word_at(dealt.span(), words + 16 + 8 * e));
      }
      // Answers: the same without the masks, and back.
      const auto answer = scheme::write_answer(layout, share);
      const std::size_t keys = columns / 8 * bits;
      CHECK(std::equal(answer.begin(), answer.begin() + keys, dealt.begin()));
      if (tagged) CHECK(std::memcmp(answer.data() + keys, dealt.data() + words, 16) == 0);
      const KeyShare again = scheme::read_answer(layout, answer.span());
      CHECK(std::equal(share.keys.begin(), share.keys.end(), again.keys.begin()));
      CHECK(std::equal(share.tag.begin(), share.tag.end(), again.tag.begin(), again.tag.end()));
      CHECK(std::all_of(again.masks.begin(), again.masks.end(), [](auto v) { return v == 0; }));
    }
  }
}

TEST("bytes that nobody was dealt are refused: lengths, numbers of p and more, filled places") {
  for (const bool tagged : {false, true}) {
    const Round round = round_for(make_plan(4, 8, 0, 128, "n2048"), {5, 3, tagged});
    const ShareLayout layout(round);
    const std::uint64_t p = layout.keys().field().modulus();
    const unsigned bits = bits_of(p);
    const std::size_t columns = layout.columns(), masks = layout.masks();
    const auto dealt = deal(round, 2);
    const Bytes share(dealt[1].begin(), dealt[1].end());
    const auto written = scheme::write_answer(layout, scheme::read_share(layout, share));
    const Bytes answer(written.begin(), written.end());
    for (const bool of_sum : {false, true}) {
      const Bytes& good = of_sum ? answer : share;
      const auto read = [&](const Bytes& bytes) {
        return (of_sum ? scheme::read_answer(layout, bytes) : scheme::read_share(layout, bytes))
            .keys.size();
      };
      CHECK_EQ(read(good), columns);
      for (std::size_t size = 0; size < good.size(); size += size < 40 ? 1 : 97) {
        CHECK_THROWS(read(Bytes(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(size))),
                     WireFormatError);
      }
      for (const std::size_t more : {1u, 8u, 16u, 2000u}) {
        Bytes longer = good;
        longer.resize(good.size() + more);
        CHECK_THROWS_WITH(read(longer), WireFormatError, "follow");
      }
      CHECK_THROWS(read(Bytes(good.begin(), good.end() - 1)), WireFormatError);
      std::vector<std::size_t> places = {0, 1, columns / 2, columns - 1};
      if (!of_sum) {
        places.push_back(columns);
        places.push_back(columns + masks - 1);
      }
      for (const std::size_t at : places) {
        Bytes other = good;
        for (std::uint64_t value = 0; value < std::uint64_t{1} << bits; ++value) {
          set_field(other, at, bits, value);
          if (value < p) {
            CHECK_EQ(read(other), columns);
          } else {
            CHECK_THROWS_WITH(read(other), WireFormatError, "not below p");
          }
        }
      }
      if (!of_sum) {
        for (std::size_t at = columns + masks; at < columns + eights(masks); ++at) {
          for (const std::uint64_t value : {std::uint64_t{1}, std::uint64_t{64}, p - 1}) {
            Bytes other = good;
            set_field(other, at, bits, value);
            CHECK_THROWS_WITH(read(other), WireFormatError, "places without a value are not 0");
          }
        }
      }
      for (std::size_t from_end = tagged ? (of_sum ? 16 : 32) : 0; from_end != 0; from_end -= 8) {
        for (const std::uint64_t value :
             {std::uint64_t{0}, ring::kTagPrime - 1, ring::kTagPrime, std::uint64_t{1} << 50,
              std::uint64_t{1} << 63, (std::uint64_t{1} << 63) - 1,
              (std::uint64_t{1} << 63) + ring::kTagPrime, ~std::uint64_t{0}}) {
          Bytes other = good;
          std::memcpy(other.data() + other.size() - from_end, &value, 8);
          if (value < ring::kTagPrime) {
            CHECK_EQ(read(other), columns);
          } else {
            CHECK_THROWS_WITH(read(other), WireFormatError, "no element of the tag's field");
          }
        }
      }
    }
  }
}

TEST("t - 1 shares tell nothing: in a round's own field, each comes equally often, exactly") {
  // Over all polynomials of degree t - 1 with a given value at 0, which the streams choose from.
  for (std::uint32_t t = 2; t <= 3; ++t) {
    CommitteeShape shape{3, t};
    shape.clients = 2;
    const Round round = round_for(make_plan(2, 4), shape);
    const ShareLayout layout(round);
    const std::uint64_t p = layout.keys().field().modulus();
    CHECK_EQ(p, 67u);
    const std::size_t all = t == 2 ? p : p * p;
    for (const std::uint64_t secret : {std::uint64_t{0}, std::uint64_t{8}, p - 8, p - 1}) {
      std::vector<std::uint64_t> coefficients(t * all, secret);
      for (std::size_t j = 0; j < all; ++j) {
        coefficients[all + j] = j % p;
        if (t == 3) coefficients[2 * all + j] = j / p;
      }
      const ring::Elements shares = ring::evaluate(layout.keys(), coefficients);
      for (std::uint32_t a = 0; a < 3; ++a) {
        for (std::uint32_t b = t == 2 ? a : a + 1; b < (t == 2 ? a + 1 : 3u); ++b) {
          std::map<std::pair<std::uint64_t, std::uint64_t>, int> seen;
          for (std::size_t j = 0; j < all; ++j) ++seen[{shares[a * all + j], shares[b * all + j]}];
          CHECK_EQ(seen.size(), all);  // so each once
        }
      }
    }
  }
}

TEST("a dealt share's values are uniform, whatever it is a share of") {
  // 8 uploads of 4,096 coefficients, one member: 32,768 values a bin of 331. Chi-square of 330
  // degrees has mean 330 and deviation 25.7; 6 deviations are exceeded once in 10^8 honest runs.
  CommitteeShape shape{4, 3};
  shape.upload_keys = 2;
  const Round round = make_committee_round(shape);
  const ShareLayout layout(round);
  const std::uint64_t p = layout.keys().field().modulus();
  for (std::uint32_t member = 0; member < 4; ++member) {
    std::vector<double> seen(p);
    double total = 0;
    for (std::uint64_t n = 1; n <= 8; ++n) {
      const auto dealt = deal(round, n);
      for (const std::uint64_t v : scheme::read_share(layout, dealt[member].span()).keys) {
        seen[v] += 1;
        total += 1;
      }
    }
    double chi_square = 0;
    const double due = total / static_cast<double>(p);
    for (const double count : seen) chi_square += (count - due) * (count - due) / due;
    CHECK(chi_square < 330 + 6 * 25.7);
    CHECK(chi_square > 330 - 6 * 25.7);
  }
}

TEST("shares are of committees' rounds, and have a tag just where the round has") {
  const Round single = make_round(make_plan(10, 16), make_key(), 10);
  CHECK_THROWS_WITH(ShareLayout{single}, RoundError, "one key holder");
  const Round plain = make_committee_round({}), tagged = make_committee_round({4, 3, true});
  const ring::TagSum tag = tag_of(tagged, 1);
  CHECK_THROWS_WITH(scheme::deal_shares(plain, seed32(1), &tag), RoundError, "have no tag");
  CHECK_THROWS_WITH(scheme::deal_shares(tagged, seed32(1), nullptr), RoundError,
                    "need the upload's tag");
  CHECK_EQ(scheme::deal_shares(tagged, seed32(1), &tag).size(), 4u);
}

}  // namespace
}  // namespace veilsum::test
