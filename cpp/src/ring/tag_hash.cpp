// Layer: ring. See tag_hash.h.
#include "ring/tag_hash.h"

#include <algorithm>
#include <string>

#include "base/wipe.h"
#include "isa/dispatch.h"
#include "ring/modular.h"
#include "ring/primes.h"
#include "ring/sha256.h"
#include "veilsum/errors.h"

namespace veilsum::ring {
namespace {

constexpr std::size_t kBlockBytes = 16;
constexpr std::uint64_t kMaxBase = std::uint64_t{1} << 52;
constexpr std::uint64_t kMaxBlock = (std::uint64_t{1} << 48) - 1;
/// Runs whose multipliers are made at a time: all those of a block in most plans.
constexpr std::size_t kRunsAtOnce = 16;
constexpr std::uint64_t kHalfMask = (std::uint64_t{1} << 25) - 1;

/// Elements [first, first + count) of a stream, at most two for each of kRunsAtOnce runs, each from
/// an AES block of its own.
void make_elements(const TagField& field, const isa::AesKey& key, std::uint64_t index,
                   std::uint64_t first, std::size_t count, std::uint64_t* out) {
  alignas(64) std::uint8_t stream[isa::kTagEvaluations * kRunsAtOnce * kBlockBytes];
  isa::kernels().aes_ctr(key, index, first, stream, count);
  for (std::size_t i = 0; i < count; ++i) out[i] = field.element(stream + i * kBlockBytes);
  secure_wipe(stream, count * kBlockBytes);
}

/// b where mask is all ones, a where it is zero.
std::uint64_t choose(std::uint64_t a, std::uint64_t b, std::uint64_t mask) noexcept {
  return a ^ ((a ^ b) & mask);
}

void require_same_field(const TagField& a, const TagField& b) {
  if (a == b) return;
  throw ParameterError("tags modulo " + std::to_string(a.prime()) + " and modulo " +
                       std::to_string(b.prime()) +
                       " do not add up: they belong to plans of different bases");
}

}  // namespace

TagField::TagField(std::uint64_t base) {
  if (base < 2 || base > kMaxBase) {
    throw ParameterError("a base of " + std::to_string(base) + ": tags need one of 2 to 2^52");
  }
  prime_ = base < isa::kTagPrime50 ? isa::kTagPrime50 : isa::kTagPrime61;
  bits_ = prime_ == isa::kTagPrime50 ? 50 : 61;
  digits_per_word_ = 1;
  for (uint128 end = static_cast<uint128>(base) * base; end < prime_; end *= base) {
    ++digits_per_word_;
  }
}

std::uint64_t TagField::add(std::uint64_t a, std::uint64_t b) const noexcept {
  return reduce_once(a + b, prime_);
}

std::uint64_t TagField::subtract(std::uint64_t a, std::uint64_t b) const noexcept {
  const std::uint64_t difference = a - b;
  return difference + (prime_ & sign_mask(difference));
}

std::uint64_t TagField::multiply(std::uint64_t a, std::uint64_t b) const noexcept {
  // 2^bits is worth 2^bits - P, at most 27. The product is below 2^122; folded once it is below
  // 2^62, or 2^55 + 2^50 with the smaller prime; folded twice, below P + 2^10.
  const std::uint64_t mask = (std::uint64_t{1} << bits_) - 1;
  const std::uint64_t excess = mask + 1 - prime_;
  const uint128 product = static_cast<uint128>(a) * b;
  std::uint64_t x = (static_cast<std::uint64_t>(product) & mask) +
                    static_cast<std::uint64_t>(product >> bits_) * excess;
  x = (x & mask) + (x >> bits_) * excess;
  return reduce_once(x, prime_);
}

std::uint64_t TagField::element(const std::uint8_t block[16]) const noexcept {
  const std::uint64_t mask = (std::uint64_t{1} << bits_) - 1;
  std::uint64_t first, second;
  std::memcpy(&first, block, sizeof first);
  std::memcpy(&second, block + sizeof first, sizeof second);
  first &= mask;
  second = reduce_once(second & mask, prime_);
  return choose(second, first, sign_mask(first - prime_));
}

TagSum::TagSum(const TagField& field, const Values& values) : field_(field), values_(values) {
  for (const std::uint64_t value : values) {
    if (value >= field.prime()) {
      throw ParameterError("a tag's value is not below " + std::to_string(field.prime()));
    }
  }
}

TagSum::~TagSum() { secure_wipe(values_.data(), sizeof values_); }

void TagSum::add(const TagSum& other) {
  require_same_field(field_, other.field_);
  for (std::size_t e = 0; e < values_.size(); ++e) {
    values_[e] = field_.add(values_[e], other.values_[e]);
  }
}

void TagSum::subtract(const TagSum& other) {
  require_same_field(field_, other.field_);
  for (std::size_t e = 0; e < values_.size(); ++e) {
    values_[e] = field_.subtract(values_[e], other.values_[e]);
  }
}

void TagSum::add_weighted(const TagSum& other, std::uint64_t weight) {
  require_same_field(field_, other.field_);
  if (weight >= field_.prime()) throw ParameterError("a tag's weight is not below the prime");
  for (std::size_t e = 0; e < values_.size(); ++e) {
    values_[e] = field_.add(values_[e], field_.multiply(other.values_[e], weight));
  }
}

bool TagSum::equals(const TagSum& other) const noexcept {
  return field_ == other.field_ &&
         equal_constant_time(values_.data(), other.values_.data(), sizeof values_);
}

Seed tag_round_key(const Digest& round_id, ByteView group_tag_key) {
  if (group_tag_key.size() != 32) {
    throw ParameterError("a group's tag key has 32 bytes, not " +
                         std::to_string(group_tag_key.size()));
  }
  Digest digest = labelled_hash("veilsum/2/tag-round", {round_id, group_tag_key});
  const Seed key(digest);
  secure_wipe(digest.data(), digest.size());
  return key;
}

TagSum tag_mask(const TagField& field, const Seed& round_key, std::uint32_t client,
                const std::array<std::uint8_t, 16>& nonce) {
  std::array<std::uint8_t, 4 + 16> context;
  std::memcpy(context.data(), &client, 4);  // little-endian, as base/bytes.h asserts
  std::copy(nonce.begin(), nonce.end(), context.begin() + 4);
  const Expander key("veilsum/2/tag-mask", context, round_key.span(), KeySize::kAes256);
  TagSum mask(field);
  make_elements(field, key.key(), stream_index(Domain::kTagMask, 0, 0), 0, isa::kTagEvaluations,
                mask.values_.data());
  return mask;
}

TagHash::TagHash(std::uint64_t base, std::uint32_t digits, const Seed& round_key)
    : field_(base),
      base_(base),
      digits_(digits),
      words_((digits + field_.digits_per_word() - 1) / field_.digits_per_word()),
      key_("veilsum/2/tag-hash", {}, round_key.span(), KeySize::kAes256),
      powers_(isa::kTagEvaluations) {
  if (digits == 0 || digits > isa::kMaxDigits) {
    throw ParameterError("tags of " + std::to_string(digits) +
                         " digits a coefficient: there are 1 to " +
                         std::to_string(isa::kMaxDigits));
  }
  std::uint64_t scale = 1;
  for (std::uint32_t i = 0; i < std::min(digits, field_.digits_per_word()); ++i) {
    scale_[i] = scale;
    scale *= base;  // after the last one it may wrap; it is not used then
  }
  std::uint64_t points[isa::kTagEvaluations];
  make_elements(field_, key_.key(), stream_index(Domain::kTagPoint, 0, 0), 0, isa::kTagEvaluations,
                points);
  for (std::size_t e = 0; e < isa::kTagEvaluations; ++e) {
    isa::TagPowers& powers = powers_[e];
    std::uint64_t power = 1;
    for (std::size_t j = 0; j < isa::kTagStep; ++j) {
      powers.power[j] = power;
      powers.low[j] = static_cast<double>(static_cast<std::int64_t>(power & kHalfMask));
      powers.high[j] = static_cast<double>(static_cast<std::int64_t>(power >> 25));
      power = field_.multiply(power, points[e]);
    }
    std::uint64_t step = 1;
    for (std::uint64_t& each : powers.step) {
      each = step;
      step = field_.multiply(step, power);
    }
    secure_wipe(&power, sizeof power);
    secure_wipe(&step, sizeof step);
  }
  secure_wipe(points, sizeof points);
}

void TagHash::add_block(std::uint64_t block, const ConstDigitRows& rows, std::size_t coefficients,
                        TagSum& sum) const {
  require_same_field(field_, sum.field());
  if (block > kMaxBlock || coefficients % isa::kGroup != 0 || coefficients > kMaxDegree) {
    throw ParameterError("a block to be tagged: number " + std::to_string(block) + " with " +
                         std::to_string(coefficients) +
                         " coefficients; it needs a number below 2^48 and a multiple of eight of "
                         "at most " +
                         std::to_string(kMaxDegree) + " coefficients");
  }
  const isa::KernelTable& kernels = isa::kernels();
  const std::size_t parts = (coefficients + isa::kTagRun - 1) / isa::kTagRun;
  const std::size_t runs = words_ * parts;
  std::uint64_t multipliers[isa::kTagEvaluations * kRunsAtOnce];
  TagSum total(field_);
  for (std::size_t run = 0; run < runs; ++run) {
    const std::size_t at = run % kRunsAtOnce;
    if (at == 0) {
      make_elements(field_, key_.key(), stream_index(Domain::kTagMultiplier, 0, block),
                    isa::kTagEvaluations * run,
                    isa::kTagEvaluations * std::min(kRunsAtOnce, runs - run), multipliers);
    }
    const auto first_digit = static_cast<std::uint32_t>(run / parts) * field_.digits_per_word();
    const std::size_t first = run % parts * isa::kTagRun;
    const std::size_t offset = first_digit * rows.stride + first;
    isa::TagRun args{};
    args.narrow = rows.narrow == nullptr ? nullptr : rows.narrow + offset;
    args.wide = rows.narrow == nullptr ? rows.wide + offset : nullptr;
    args.stride = rows.stride;
    args.base = base_;
    args.digit_count = std::min(field_.digits_per_word(), digits_ - first_digit);
    args.scale = scale_.data();
    args.count = std::min(isa::kTagRun, coefficients - first);
    args.prime = field_.prime();
    args.powers = powers_.data();
    std::uint64_t value[isa::kTagEvaluations];
    kernels.tag_run(args, value);
    for (std::size_t e = 0; e < isa::kTagEvaluations; ++e) {
      total.values_[e] = field_.add(
          total.values_[e], field_.multiply(value[e], multipliers[isa::kTagEvaluations * at + e]));
    }
    secure_wipe(value, sizeof value);
  }
  secure_wipe(multipliers, sizeof multipliers);
  sum.add(total);
}

void TagHash::add_packed(std::uint64_t block, const isa::PackedWord* packed, std::size_t words,
                         const isa::PackedWord* last, TagSum& sum) const {
  require_same_field(field_, sum.field());
  const isa::KernelTable& kernels = isa::kernels();
  const std::size_t whole = (words + isa::kTagRun - 1) / isa::kTagRun;
  const std::size_t runs = whole + (last == nullptr ? 0 : 1);
  std::uint64_t multipliers[isa::kTagEvaluations * kRunsAtOnce];
  isa::TagRun args{};
  args.base = base_;
  args.digit_count = 1;
  args.scale = scale_.data();
  args.prime = field_.prime();
  args.powers = powers_.data();
  TagSum total(field_);
  std::uint64_t value[isa::kTagEvaluations];
  for (std::size_t run = 0; run < runs; ++run) {
    const std::size_t at = run % kRunsAtOnce;
    if (at == 0) {
      make_elements(field_, key_.key(), stream_index(Domain::kTagMultiplier, 0, block),
                    isa::kTagEvaluations * run,
                    isa::kTagEvaluations * std::min(kRunsAtOnce, runs - run), multipliers);
    }
    args.packed = run < whole ? packed + run * isa::kTagRun : last;
    args.count = run < whole ? std::min(isa::kTagRun, words - run * isa::kTagRun) : isa::kGroup;
    kernels.tag_run(args, value);
    for (std::size_t e = 0; e < isa::kTagEvaluations; ++e) {
      total.values_[e] = field_.add(
          total.values_[e], field_.multiply(value[e], multipliers[isa::kTagEvaluations * at + e]));
    }
  }
  secure_wipe(value, sizeof value);
  secure_wipe(multipliers,
              isa::kTagEvaluations * std::min(kRunsAtOnce, runs) * sizeof *multipliers);
  sum.add(total);
}

}  // namespace veilsum::ring
