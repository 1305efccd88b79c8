// Layer: ring. See shamir.h.
#include "ring/shamir.h"

#include <algorithm>
#include <string>

#include "ring/expander.h"
#include "veilsum/errors.h"

namespace veilsum::ring {
namespace {

/// Sums of powers rather than Horner's rule: the powers are public, and in a narrow field a whole
/// sum needs one reduction instead of t. Members come innermost, tile by tile, because the
/// coefficients of many degrees outgrow a cache.
template <typename Word>
Elements evaluate_rows(const Shamir& scheme, const Word* coefficients, std::size_t columns) {
  const PrimeField& field = scheme.field();
  const std::size_t degrees = scheme.threshold();
  std::vector<std::uint64_t> powers(scheme.members() * degrees);  // [member][degree]
  for (std::uint32_t k = 0; k < scheme.members(); ++k) {
    std::uint64_t power = 1;
    for (std::size_t i = 0; i < degrees; ++i) {
      powers[k * degrees + i] = power;
      power = field.multiply_public(power, scheme.point(k));
    }
  }

  constexpr std::size_t kTileBytes = 24576;
  const std::size_t tile =
      std::clamp<std::size_t>(kTileBytes / (degrees * sizeof(Word)) / 16 * 16, 64, 4096);
  Elements shares(scheme.members() * columns);
  std::vector<const Word*> rows(degrees);
  for (std::size_t at = 0; at < columns; at += tile) {
    for (std::size_t i = 0; i < degrees; ++i) rows[i] = coefficients + i * columns + at;
    for (std::uint32_t k = 0; k < scheme.members(); ++k) {
      combine_rows(field, std::span(powers).subspan(k * degrees, degrees), std::span(rows),
                   std::min(tile, columns - at), shares.data() + k * columns + at);
    }
  }
  return shares;
}

/// @param secret(j) is coefficient j of the secret, an element
template <typename Secret>
Elements share_secret(const Shamir& scheme, std::size_t columns, const isa::AesKey& key,
                      std::uint64_t index, Secret secret) {
  const PrimeField& field = scheme.field();
  const std::size_t drawn = (scheme.threshold() - 1) * columns;
  if (field.narrow()) {
    SecretBuffer<std::uint32_t> coefficients(columns + drawn + 3);
    for (std::size_t j = 0; j < columns; ++j) {
      coefficients[j] = static_cast<std::uint32_t>(secret(j));
    }
    uniform_elements_into(field, key, index, drawn, coefficients.data() + columns);
    return evaluate_rows(scheme, coefficients.data(), columns);
  }
  Elements coefficients(columns + drawn);
  for (std::size_t j = 0; j < columns; ++j) coefficients[j] = secret(j);
  const Elements uniform = uniform_elements(field, key, index, drawn);
  std::copy(uniform.begin(), uniform.end(), coefficients.begin() + columns);
  return evaluate_rows(scheme, coefficients.data(), columns);
}

/// sum_j coefficients[j] words[j] mod p; the coefficients are public.
std::uint64_t inner_product(const PrimeField& field, std::span<const std::uint64_t> coefficients,
                            std::span<const std::uint64_t> words) {
  std::uint64_t sum = 0;
  if (!field.narrow()) {
    for (std::size_t j = 0; j < words.size(); ++j) {
      sum = field.add(sum, field.multiply(words[j], field.factor(coefficients[j])));
    }
    return sum;
  }
  // The sum so far counts as one product: it is an element.
  constexpr std::size_t kRun = kMaxMembers - 1;
  for (std::size_t at = 0; at < words.size(); at += kRun) {
    const std::size_t end = std::min(words.size(), at + kRun);
    for (std::size_t j = at; j < end; ++j) sum += coefficients[j] * words[j];
    sum = field.reduce(sum);
  }
  return sum;
}

}  // namespace

Shamir::Shamir(const PrimeField& field, std::uint32_t members, std::uint32_t threshold)
    : field_(field), members_(members), threshold_(threshold) {
  if (members < 1 || members > kMaxMembers || members >= field.modulus()) {
    throw ParameterError("a committee over GF(" + std::to_string(field.modulus()) + ") has 1 to " +
                         std::to_string(std::min<std::uint64_t>(kMaxMembers, field.modulus() - 1)) +
                         " members, not " + std::to_string(members));
  }
  if (threshold < 1 || threshold > members) {
    throw ParameterError("a committee of " + std::to_string(members) + " opens with 1 to " +
                         std::to_string(members) + " members, not " + std::to_string(threshold));
  }
}

Elements evaluate(const Shamir& scheme, std::span<const std::uint64_t> coefficients) {
  if (coefficients.size() % scheme.threshold() != 0) {
    throw ParameterError("polynomials of " + std::to_string(scheme.threshold()) +
                         " coefficients cannot be made of " + std::to_string(coefficients.size()));
  }
  const std::size_t columns = coefficients.size() / scheme.threshold();
  if (!scheme.field().narrow()) return evaluate_rows(scheme, coefficients.data(), columns);
  SecretBuffer<std::uint32_t> half(coefficients.size());
  for (std::size_t i = 0; i < half.size(); ++i) {
    half[i] = static_cast<std::uint32_t>(coefficients[i]);
  }
  return evaluate_rows(scheme, half.data(), columns);
}

Elements share(const Shamir& scheme, std::span<const std::uint64_t> secret, const isa::AesKey& key,
               std::uint64_t index) {
  return share_secret(scheme, secret.size(), key, index, [&](std::size_t j) { return secret[j]; });
}

Elements share_signed(const Shamir& scheme, std::span<const std::int64_t> secret,
                      const isa::AesKey& key, std::uint64_t index) {
  return share_secret(scheme, secret.size(), key, index,
                      [&](std::size_t j) { return scheme.field().from_signed(secret[j]); });
}

Elements reconstruct(const Shamir& scheme, const Answers& answers) {
  const std::size_t columns = check_answers(scheme, answers);
  if (answers.members.size() != scheme.threshold()) {
    throw ParameterError("a secret is interpolated from " + std::to_string(scheme.threshold()) +
                         " answers, not " + std::to_string(answers.members.size()) +
                         "; decode() takes more");
  }
  std::vector<const std::uint64_t*> rows(answers.members.size());
  for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = answers.words.data() + i * columns;
  Elements secret(columns);
  combine_rows(scheme.field(), weights_at_zero(scheme, answers.members), std::span(rows), columns,
               secret.data());
  return secret;
}

std::vector<std::uint64_t> inverse_differences(const Shamir& scheme,
                                               std::span<const std::uint32_t> members) {
  const PrimeField& field = scheme.field();
  std::vector<std::uint64_t> out;
  out.reserve(members.size());
  for (const std::uint32_t i : members) {
    std::uint64_t product = 1;
    for (const std::uint32_t m : members) {
      if (m == i) continue;
      product = field.multiply_public(product, field.subtract(scheme.point(i), scheme.point(m)));
    }
    out.push_back(field.inverse_public(product));
  }
  return out;
}

std::vector<std::uint64_t> weights_at_zero(const Shamir& scheme,
                                           std::span<const std::uint32_t> members) {
  // Weight i is prod_(m != i) (0 - x_m) / (x_i - x_m): all the numerators are one product, divided
  // by -x_i.
  const PrimeField& field = scheme.field();
  std::uint64_t product = 1;
  for (const std::uint32_t m : members) {
    product = field.multiply_public(product, field.subtract(0, scheme.point(m)));
  }
  std::vector<std::uint64_t> weights = inverse_differences(scheme, members);
  for (std::size_t i = 0; i < members.size(); ++i) {
    const std::uint64_t inverse = field.inverse_public(field.subtract(0, scheme.point(members[i])));
    weights[i] = field.multiply_public(weights[i], field.multiply_public(product, inverse));
  }
  return weights;
}

std::size_t check_answers(const Shamir& scheme, const Answers& answers) {
  const std::size_t count = answers.members.size();
  std::vector<bool> seen(scheme.members());
  for (const std::uint32_t member : answers.members) {
    if (member >= scheme.members()) {
      throw ParameterError("a committee of " + std::to_string(scheme.members()) +
                           " has no member number " + std::to_string(member));
    }
    if (seen[member]) {
      throw ParameterError("member number " + std::to_string(member) + " answers twice");
    }
    seen[member] = true;
  }
  if (count < scheme.threshold()) {
    throw ParameterError("a secret takes " + std::to_string(scheme.threshold()) + " answers; " +
                         std::to_string(count) + " are there");
  }
  if (answers.words.size() % count != 0) {
    throw ParameterError(std::to_string(answers.words.size()) + " words are no answers of " +
                         std::to_string(count) + " members, of one length");
  }
  return answers.words.size() / count;
}

std::size_t challenge_elements(const PrimeField& field) {
  // p^m >= 2^128 when dividing 2^128 - 1 by p, rounding down, m times leaves nothing.
  std::size_t count = 0;
  for (uint128 left = ~uint128{0}; left != 0; left /= field.modulus()) ++count;
  return count;
}

Elements combine_challenge(const PrimeField& field, const Digest& challenge,
                           std::span<const std::uint64_t> share, std::size_t count) {
  const Expander expander("veilsum/2/challenge-combination", {}, challenge, KeySize::kAes256);
  Elements out(count);
  for (std::size_t i = 0; i < out.size(); ++i) {
    const Elements coefficients = uniform_elements(field, expander.key(), i, share.size());
    out[i] = inner_product(field, coefficients.span(), share);
  }
  return out;
}

}  // namespace veilsum::ring
