// Layer: ring. See prime_field.h.
#include "ring/prime_field.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <type_traits>

#include "isa/dispatch.h"
#include "ring/fields.h"
#include "ring/primes.h"
#include "veilsum/errors.h"

namespace veilsum::ring {
namespace {

/// out[j] += w[0] a[j] + w[1] b[j] + w[2] c[j] + w[3] d[j]; every word below 2^32. The casts make
/// the products 32 by 32 bits, which baseline x86-64 has vector instructions for.
template <typename Word>
void accumulate_four(const std::uint64_t* w, const Word* const* rows, std::size_t at,
                     std::size_t columns, std::uint64_t* __restrict out) {
  const auto w0 = static_cast<std::uint32_t>(w[0]), w1 = static_cast<std::uint32_t>(w[1]);
  const auto w2 = static_cast<std::uint32_t>(w[2]), w3 = static_cast<std::uint32_t>(w[3]);
  const Word* const a = rows[0] + at;
  const Word* const b = rows[1] + at;
  const Word* const c = rows[2] + at;
  const Word* const d = rows[3] + at;
  for (std::size_t j = 0; j < columns; ++j) {
    out[j] += static_cast<std::uint64_t>(static_cast<std::uint32_t>(a[j])) * w0 +
              static_cast<std::uint64_t>(static_cast<std::uint32_t>(b[j])) * w1 +
              static_cast<std::uint64_t>(static_cast<std::uint32_t>(c[j])) * w2 +
              static_cast<std::uint64_t>(static_cast<std::uint32_t>(d[j])) * w3;
  }
}

template <typename Word>
void accumulate_one(std::uint64_t weight, const Word* row, std::size_t columns,
                    std::uint64_t* __restrict out) {
  const auto w = static_cast<std::uint32_t>(weight);
  for (std::size_t j = 0; j < columns; ++j) {
    out[j] += static_cast<std::uint64_t>(static_cast<std::uint32_t>(row[j])) * w;
  }
}

/// Sums of at most 1,024 products, each below 2^54, are reduced once. Sums grow in `out` itself, in
/// tiles that stay in the first cache.
template <typename Word>
void combine_narrow(const PrimeField& field, std::span<const std::uint64_t> weights,
                    std::span<const Word* const> rows, std::size_t columns, std::uint64_t* out) {
  constexpr std::size_t kTile = 512;
  for (std::size_t at = 0; at < columns; at += kTile) {
    const std::size_t width = std::min(kTile, columns - at);
    std::uint64_t* const sums = out + at;
    std::fill_n(sums, width, std::uint64_t{0});
    std::size_t i = 0;
    for (; i + 4 <= rows.size(); i += 4) {
      accumulate_four(&weights[i], &rows[i], at, width, sums);
    }
    for (; i < rows.size(); ++i) accumulate_one(weights[i], rows[i] + at, width, sums);
    for (std::size_t j = 0; j < width; ++j) sums[j] = field.reduce(sums[j]);
  }
}

template <typename Word>
void check_rows(std::span<const std::uint64_t> weights, std::span<const Word* const> rows) {
  if (weights.size() != rows.size() || rows.size() > kMaxMembers) {
    throw ParameterError("a combination has as many weights as rows, at most " +
                         std::to_string(kMaxMembers) + ", not " + std::to_string(weights.size()) +
                         " and " + std::to_string(rows.size()));
  }
}

/// The words that replace rejected ones.
template <typename Word>
class SpareWords {
 public:
  SpareWords(const isa::AesKey& key, std::uint64_t index, std::uint64_t next)
      : key_(key), index_(index), next_(next) {}
  SpareWords(const SpareWords&) = delete;
  SpareWords& operator=(const SpareWords&) = delete;
  ~SpareWords() { secure_wipe(block_, sizeof block_); }

  Word next() {
    constexpr std::size_t kWords = sizeof block_ / sizeof(Word);
    const std::uint64_t number = next_ / kWords;
    if (number != number_) {
      isa::kernels().aes_ctr(key_, index_, number, block_, 1);
      number_ = number;
    }
    Word word;
    std::memcpy(&word, block_ + (next_++ % kWords) * sizeof(Word), sizeof word);
    return word;
  }

 private:
  const isa::AesKey& key_;
  std::uint64_t index_;
  std::uint64_t next_;
  std::uint64_t number_ = ~std::uint64_t{0};
  std::uint8_t block_[16];
};

/// The first place in [from, count) whose word is rejected, or count. A function of its own because
/// its branches are the ones that depend on a keystream (tests/cpp/constant_time excuses it by
/// name).
template <typename Word>
[[gnu::noinline]] std::size_t find_rejected(const Word* words, std::size_t from, std::size_t count,
                                            Word end) noexcept {
  while (from < count && words[from] < end) ++from;
  return from;
}

/// @param out room for `count` words, rounded up to 16 bytes
template <typename Word>
void draw(const PrimeField& field, const isa::AesKey& key, std::uint64_t index, std::size_t count,
          Word* out) {
  constexpr std::size_t kWords = 16 / sizeof(Word);
  isa::kernels().aes_ctr(key, index, 0, reinterpret_cast<std::uint8_t*>(out),
                         (count + kWords - 1) / kWords);
  // 2^w - (2^w mod p), w bits in a word; p is odd, so the end is below 2^w.
  const std::uint64_t p = field.modulus();
  const std::uint64_t left_over = sizeof(Word) == 8 ? (0 - p) % p : (std::uint64_t{1} << 32) % p;
  const auto end = static_cast<Word>(0 - left_over);
  SpareWords<Word> spare(key, index, count);
  for (std::size_t j = 0; (j = find_rejected(out, j, count, end)) < count;) out[j] = spare.next();
  for (std::size_t j = 0; j < count; ++j) out[j] = static_cast<Word>(field.reduce(out[j]));
}

/// The sign bit is set when a word is p or more; words below 2^63.
std::uint64_t excess_bits(std::span<const std::uint64_t> words, std::uint64_t p) noexcept {
  std::uint64_t bits = 0;
  for (const std::uint64_t word : words) bits |= p - 1 - word;
  return bits;
}

}  // namespace

std::uint64_t sharing_prime(std::uint64_t total_weight, std::uint32_t members) {
  if (total_weight < 1 || total_weight > kMaxTotalWeight) {
    throw ParameterError("the total weight of a shared sum is 1 to " +
                         std::to_string(kMaxTotalWeight) + ", not " + std::to_string(total_weight));
  }
  if (members < 1 || members > kMaxMembers) {
    throw ParameterError("a committee has 1 to " + std::to_string(kMaxMembers) + " members, not " +
                         std::to_string(members));
  }
  std::uint64_t p = std::max<std::uint64_t>(32 * total_weight, members) + 1;
  while (!is_prime(p)) ++p;
  return p;
}

PrimeField::PrimeField(std::uint64_t p) : p_(p), reciprocal_(p == 0 ? 0 : (0 - p) / p + 1) {
  if (p < 3 || p > kWideTagPrime || !is_prime(p)) {
    throw ParameterError("a field's modulus is an odd prime of at most 2^61 - 1, not " +
                         std::to_string(p));
  }
}

std::uint64_t PrimeField::inverse_public(std::uint64_t a) const noexcept {
  std::uint64_t result = 1;
  for (std::uint64_t exponent = p_ - 2; exponent != 0; exponent >>= 1) {
    if (exponent & 1) result = multiply_public(result, a);
    a = multiply_public(a, a);
  }
  return result;
}

void combine_rows(const PrimeField& field, std::span<const std::uint64_t> weights,
                  std::span<const std::uint64_t* const> rows, std::size_t columns,
                  std::uint64_t* out) {
  check_rows(weights, rows);
  if (field.narrow()) return combine_narrow(field, weights, rows, columns, out);
  std::fill_n(out, columns, std::uint64_t{0});
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const PrimeField::Factor weight = field.factor(weights[i]);
    for (std::size_t j = 0; j < columns; ++j) {
      out[j] = field.add(out[j], field.multiply(rows[i][j], weight));
    }
  }
}

void combine_rows(const PrimeField& field, std::span<const std::uint64_t> weights,
                  std::span<const std::uint32_t* const> rows, std::size_t columns,
                  std::uint64_t* out) {
  check_rows(weights, rows);
  if (!field.narrow()) throw ParameterError("rows of 32-bit words belong to narrow fields");
  combine_narrow(field, weights, rows, columns, out);
}

void add_inplace(const PrimeField& field, std::span<std::uint64_t> sum,
                 std::span<const std::uint64_t> more) {
  if (sum.size() != more.size()) {
    throw ParameterError("shares of one sum have equal lengths, not " + std::to_string(sum.size()) +
                         " and " + std::to_string(more.size()));
  }
  for (std::size_t j = 0; j < sum.size(); ++j) sum[j] = field.add(sum[j], more[j]);
}

void uniform_elements_into(const PrimeField& field, const isa::AesKey& key, std::uint64_t index,
                           std::size_t count, std::uint32_t* out) {
  if (!field.narrow()) throw ParameterError("32-bit elements belong to narrow fields");
  draw(field, key, index, count, out);
}

SecretBuffer<std::uint64_t> uniform_elements(const PrimeField& field, const isa::AesKey& key,
                                             std::uint64_t index, std::size_t count) {
  SecretBuffer<std::uint64_t> out(count);
  const auto fill = [&]<typename Word>(SecretBuffer<Word> words) {  // of whole blocks of 16 bytes
    draw(field, key, index, count, words.data());
    std::copy_n(words.data(), count, out.data());
  };
  if (field.narrow()) {
    fill(SecretBuffer<std::uint32_t>(count + 3));
  } else {
    fill(SecretBuffer<std::uint64_t>(count + 1));
  }
  return out;
}

std::size_t packed_bytes(const PrimeField& field, std::size_t count) {
  field_table(field.bits());  // refuses more than 52 bits
  if (count % isa::kGroup != 0) {
    throw ParameterError("packed elements come in groups of eight, not " + std::to_string(count));
  }
  return count / isa::kGroup * field.bits();
}

void pack_elements(const PrimeField& field, std::span<const std::uint64_t> elements,
                   std::uint8_t* out) {
  packed_bytes(field, elements.size());
  isa::kernels().pack_fields(elements.data(), elements.size(), field_table(field.bits()), out);
}

void unpack_elements(const PrimeField& field, ByteView packed, std::span<std::uint64_t> out) {
  const std::size_t bytes = packed_bytes(field, out.size());
  if (packed.size() != bytes) {
    throw WireFormatError("packed elements: " + std::to_string(out.size()) + " take " +
                          std::to_string(bytes) + " bytes, not " + std::to_string(packed.size()));
  }
  isa::kernels().unpack_fields(packed.data(), out.size(), field_table(field.bits()), out.data());
  if (sign_mask(excess_bits(out, field.modulus())) != 0) {
    throw WireFormatError("packed elements: a field holds a number that is not below p = " +
                          std::to_string(field.modulus()));
  }
}

SecretBuffer<std::int64_t> centred(const PrimeField& field,
                                   std::span<const std::uint64_t> elements) {
  SecretBuffer<std::int64_t> out(elements.size());
  for (std::size_t j = 0; j < elements.size(); ++j) out[j] = field.centred(elements[j]);
  return out;
}

bool all_within(std::span<const std::int64_t> values, std::uint64_t bound) noexcept {
  std::uint64_t outside = 0;  // its sign bit
  for (const std::int64_t value : values) {
    const auto v = static_cast<std::uint64_t>(value);
    outside |= (bound - v) | (bound + v);
  }
  return sign_mask(outside) == 0;
}

}  // namespace veilsum::ring
