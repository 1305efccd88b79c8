// Layer: ring. See reed_solomon.h. With v_i = 1 / prod_(m != i) (x_i - x_m), the syndromes of a
// word y are S_j = sum_i v_i x_i^j y_i for 0 <= j < n' - t: v_i x_i^j is orthogonal to every
// polynomial of degree below t (MacWilliams and Sloane 1977, chapter 12). Errors e_i at a set E of
// members give S_j = sum_(i in E) (v_i e_i) x_i^j, so S obeys the linear recurrence whose
// connection polynomial is prod_(i in E) (1 - x_i z), and no shorter one as long as 2 |E| <= n' -
// t.
#include "ring/reed_solomon.h"

#include <algorithm>
#include <iterator>
#include <string>
#include <utility>

#include "veilsum/errors.h"

namespace veilsum::ring {
namespace {

/// Coefficients c_0 = 1, c_1, ... of a connection polynomial.
using Connection = std::vector<std::uint64_t>;

/// Rows of n' answers; positions are places in them, points their members' points.
class Word {
 public:
  Word(const Shamir& scheme, const Answers& answers)
      : scheme_(scheme),
        answers_(answers),
        columns_(check_answers(scheme, answers)),
        checks_(answers.members.size() - scheme.threshold()),
        factors_(inverse_differences(scheme, answers.members)) {}

  std::size_t length() const noexcept { return answers_.members.size(); }
  std::size_t columns() const noexcept { return columns_; }
  std::size_t checks() const noexcept { return checks_; }  ///< n' - t
  const PrimeField& field() const noexcept { return scheme_.field(); }
  std::uint64_t point(std::size_t position) const noexcept {
    return scheme_.point(answers_.members[position]);
  }

  /// Syndromes of columns [at, at + width): [checks][width]. Constant-time.
  Elements syndromes(std::size_t at, std::size_t width) const {
    std::vector<const std::uint64_t*> rows(length());
    for (std::size_t i = 0; i < length(); ++i) rows[i] = answers_.words.data() + i * columns_ + at;
    std::vector<std::uint64_t> weights = factors_;
    Elements out(checks_ * width);
    for (std::size_t j = 0; j < checks_; ++j) {
      combine_rows(field(), weights, std::span(rows), width, out.data() + j * width);
      for (std::size_t i = 0; i < length(); ++i) {
        weights[i] = field().multiply_public(weights[i], point(i));
      }
    }
    return out;
  }

  std::vector<std::uint32_t> members_at(const std::vector<std::size_t>& positions) const {
    std::vector<std::uint32_t> members;
    members.reserve(positions.size());
    for (const std::size_t i : positions) members.push_back(answers_.members[i]);
    std::sort(members.begin(), members.end());
    return members;
  }

 private:
  const Shamir& scheme_;
  const Answers& answers_;
  std::size_t columns_;
  std::size_t checks_;
  std::vector<std::uint64_t> factors_;
};

/// prod (1 - x_i z) over the positions.
Connection connection_of(const Word& word, const std::vector<std::size_t>& positions) {
  const PrimeField& field = word.field();
  Connection c{1};
  for (const std::size_t i : positions) {
    const std::uint64_t x = word.point(i);
    c.push_back(0);
    for (std::size_t k = c.size() - 1; k > 0; --k) {
      c[k] = field.subtract(c[k], field.multiply_public(x, c[k - 1]));
    }
  }
  return c;
}

/// s[at] + c_1 s[at - 1] + ... : zero when the recurrence holds there.
std::uint64_t discrepancy(const PrimeField& field, const Connection& c, const std::uint64_t* s,
                          std::size_t stride, std::size_t at) {
  std::uint64_t sum = 0;
  for (std::size_t k = 0; k < c.size() && k <= at; ++k) {
    sum = field.add(sum, field.multiply_public(c[k], s[(at - k) * stride]));
  }
  return sum;
}

/// Whether errors at the roots of `c` alone explain the syndromes of one column.
bool explains(const Word& word, const Connection& c, const std::uint64_t* s, std::size_t stride) {
  for (std::size_t at = c.size() - 1; at < word.checks(); ++at) {
    if (discrepancy(word.field(), c, s, stride, at) != 0) return false;
  }
  return true;
}

/// The shortest recurrence that one column's syndromes obey (Massey 1969): its connection
/// polynomial, padded to its length + 1.
Connection shortest_recurrence(const Word& word, const std::uint64_t* s, std::size_t stride) {
  const PrimeField& field = word.field();
  Connection c{1}, before{1};  // before: c as it was when the length last grew
  std::size_t length = 0, gap = 1;
  std::uint64_t before_discrepancy = 1;
  for (std::size_t at = 0; at < word.checks(); ++at, ++gap) {
    const std::uint64_t d = discrepancy(field, c, s, stride, at);
    if (d == 0) continue;
    const std::uint64_t factor = field.multiply_public(d, field.inverse_public(before_discrepancy));
    Connection next = c;
    next.resize(std::max(next.size(), before.size() + gap));
    for (std::size_t k = 0; k < before.size(); ++k) {
      next[k + gap] = field.subtract(next[k + gap], field.multiply_public(factor, before[k]));
    }
    if (2 * length <= at) {
      length = at + 1 - length;
      before = std::exchange(c, std::move(next));
      before_discrepancy = d;
      gap = 0;  // one in the next round
    } else {
      c = std::move(next);
    }
  }
  c.resize(length + 1);
  return c;
}

/// The positions whose points x are roots of z^L c(1 / z), L the polynomial's length.
std::vector<std::size_t> roots_of(const Word& word, const Connection& c) {
  std::vector<std::size_t> positions;
  for (std::size_t i = 0; i < word.length(); ++i) {
    std::uint64_t value = 0;
    for (const std::uint64_t coefficient : c) {
      value = word.field().add(word.field().multiply_public(value, word.point(i)), coefficient);
    }
    if (value == 0) positions.push_back(i);
  }
  return positions;
}

/// Collects, column by column, the positions of errors.
class Locator {
 public:
  explicit Locator(const Word& word) : word_(word), radius_(word.checks() / 2) {}

  /// Takes the syndromes of `width` columns, [checks][width].
  /// @return false when no radius_ positions explain all columns so far. A column is at most
  /// radius_
  ///   errors away from one codeword at most, and its errors are among those of all columns: so the
  ///   union is exact, and as soon as it is larger than radius_, so are the errors.
  bool take(const Elements& syndromes, std::size_t width) {
    for (std::size_t j = 0; j < width; ++j) {
      const std::uint64_t* const s = syndromes.data() + j;
      if (explains(word_, connection_, s, width)) continue;
      const Connection c = shortest_recurrence(word_, s, width);
      const std::vector<std::size_t> roots = roots_of(word_, c);
      if (roots.size() != c.size() - 1) return false;
      std::vector<std::size_t> both;
      std::set_union(positions_.begin(), positions_.end(), roots.begin(), roots.end(),
                     std::back_inserter(both));
      positions_ = std::move(both);
      if (positions_.size() > radius_) return false;
      connection_ = connection_of(word_, positions_);
    }
    return true;
  }

  const std::vector<std::size_t>& positions() const noexcept { return positions_; }  ///< ascending

 private:
  const Word& word_;
  std::size_t radius_;
  std::vector<std::size_t> positions_;
  Connection connection_{1};
};

/// To the next set of as many of 0 ... end - 1 in lexicographic order; false after the last.
template <typename T>
bool next_subset(std::vector<T>& subset, std::size_t end) {
  for (std::size_t i = subset.size(); i-- > 0;) {
    if (subset[i] < end - (subset.size() - i)) {
      ++subset[i];
      for (std::size_t k = i + 1; k < subset.size(); ++k) subset[k] = subset[k - 1] + 1;
      return true;
    }
  }
  return false;
}

template <typename T>
std::vector<T> first_subset(std::size_t size) {
  std::vector<T> subset(size);
  for (std::size_t i = 0; i < size; ++i) subset[i] = static_cast<T>(i);
  return subset;
}

/// min(n choose k, cap).
std::uint64_t choose(std::uint64_t n, std::uint64_t k, std::uint64_t cap) {
  k = std::min(k, n - k);
  std::uint64_t result = 1;  // (n - k + i choose i), growing in i; below 2^27 by 2^11
  for (std::uint64_t i = 1; i <= k; ++i) {
    result = result * (n - k + i) / i;
    if (result >= cap) return cap;
  }
  return result;
}

/// splitmix64 (Steele, Lea, Flood 2014), for choices that anyone may foresee.
std::uint64_t next_choice(std::uint64_t& state) {
  std::uint64_t z = (state += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

}  // namespace

Decoded decode(const Shamir& scheme, const Answers& answers) {
  const Word word(scheme, answers);
  Locator locator(word);
  constexpr std::size_t kTile = 1024;  // syndromes of many columns and members would be large
  for (std::size_t at = 0; at < word.columns(); at += kTile) {
    const std::size_t width = std::min(kTile, word.columns() - at);
    if (!locator.take(word.syndromes(at, width), width)) return {};
  }

  std::vector<std::uint32_t> used;
  std::vector<const std::uint64_t*> rows;
  for (std::size_t i = 0; used.size() < scheme.threshold(); ++i) {
    if (std::binary_search(locator.positions().begin(), locator.positions().end(), i)) continue;
    used.push_back(answers.members[i]);
    rows.push_back(answers.words.data() + i * word.columns());
  }
  Elements secret(word.columns());
  combine_rows(scheme.field(), weights_at_zero(scheme, used), std::span(rows), word.columns(),
               secret.data());
  return {std::move(secret), word.members_at(locator.positions())};
}

std::vector<std::vector<std::uint32_t>> trial_subsets(std::uint32_t answers,
                                                      std::uint32_t threshold) {
  if (threshold < 1 || threshold > answers || answers > kMaxMembers) {
    throw ParameterError("subsets of 1 to " + std::to_string(answers) + " of at most " +
                         std::to_string(kMaxMembers) + " answers, not " +
                         std::to_string(threshold));
  }
  std::vector<std::vector<std::uint32_t>> out;
  if (choose(answers, threshold, kMaxTrials + 1) <= kMaxTrials) {
    std::vector<std::uint32_t> subset = first_subset<std::uint32_t>(threshold);
    do out.push_back(subset);
    while (next_subset(subset, answers));
    return out;
  }
  // The first `threshold` places of a shuffle (Fisher and Yates); one that came before is drawn
  // again: there are more than 64.
  std::uint64_t state = std::uint64_t{answers} << 32 | threshold;
  while (out.size() < kMaxTrials) {
    std::vector<std::uint32_t> places = first_subset<std::uint32_t>(answers);
    for (std::uint32_t i = 0; i < threshold; ++i) {
      std::swap(places[i], places[i + next_choice(state) % (answers - i)]);
    }
    places.resize(threshold);
    std::sort(places.begin(), places.end());
    if (std::find(out.begin(), out.end(), places) == out.end()) out.push_back(std::move(places));
  }
  return out;
}

DistanceVerdict distance_from_code(const Shamir& scheme, const Answers& answers, std::uint32_t f) {
  const Part part{scheme, answers};
  return distance_from_code(std::span(&part, 1), f);
}

DistanceVerdict distance_from_code(std::span<const Part> parts, std::uint32_t f) {
  std::vector<Word> words;
  words.reserve(parts.size());
  for (const Part& part : parts) {
    words.emplace_back(part.scheme, part.word);
    if (part.scheme.members() != parts.front().scheme.members() ||
        part.scheme.threshold() != parts.front().scheme.threshold() ||
        !std::ranges::equal(part.word.members, parts.front().word.members)) {
      throw ParameterError("words that err together are of the same members and threshold");
    }
  }
  const Word& first = words.front();
  if (f >= first.checks()) {
    throw ParameterError(
        "a distance below " + std::to_string(first.checks()) + " can be told apart with " +
        std::to_string(first.length()) + " shares and a threshold of " +
        std::to_string(parts.front().scheme.threshold()) + ", not " + std::to_string(f));
  }
  std::vector<Elements> syndromes;
  std::vector<std::size_t> together;
  bool found = true;
  for (const Word& word : words) {
    syndromes.push_back(word.syndromes(0, word.columns()));
    Locator locator(word);
    found = found && locator.take(syndromes.back(), word.columns());
    if (!found) continue;
    std::vector<std::size_t> both;
    std::set_union(together.begin(), together.end(), locator.positions().begin(),
                   locator.positions().end(), std::back_inserter(both));
    together = std::move(both);
  }
  // Up to the radius each word's departures are the only ones, so their union is as well. A set
  // within the radius that explains all words would have been found.
  const std::size_t radius = first.checks() / 2;
  if (found && together.size() <= radius) {
    if (together.size() > f) return {Distance::kFarther, {}};
    return {Distance::kWithin, first.members_at(together)};
  }
  // Sets of every size from the radius on, so that the first that explains the words is minimal.
  std::uint64_t trials = 0;
  for (std::size_t size = radius + 1; size <= f; ++size) {
    trials += choose(first.length(), size, kMaxDistanceTrials + 1);
    if (trials > kMaxDistanceTrials) return {Distance::kUndecided, {}};
    std::vector<std::size_t> subset = first_subset<std::size_t>(size);
    do {
      bool all = true;
      for (std::size_t k = 0; k < words.size() && all; ++k) {
        const Connection c = connection_of(words[k], subset);
        for (std::size_t j = 0; j < words[k].columns() && all; ++j) {
          all = explains(words[k], c, syndromes[k].data() + j, words[k].columns());
        }
      }
      if (all) return {Distance::kWithin, first.members_at(subset)};
    } while (next_subset(subset, first.length()));
  }
  return {Distance::kFarther, {}};
}

}  // namespace veilsum::ring
