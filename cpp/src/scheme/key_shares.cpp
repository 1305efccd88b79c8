// Layer: scheme. See key_shares.h.
#include "scheme/key_shares.h"

#include <algorithm>
#include <cstring>

#include "ring/expander.h"
#include "scheme/certificate.h"
#include "veilsum/errors.h"

namespace veilsum::scheme {
namespace {

/// Streams of an upload's sharing key.
enum Stream : std::uint64_t { kKeyPolynomials = 0, kMaskValues, kTagPolynomials, kTagMaskValues };

/// Fields are packed eight at a time.
constexpr std::size_t padded(std::size_t count) { return (count + 7) / 8 * 8; }

void put_words(std::span<const std::uint64_t> words, std::uint8_t* out) {
  if (!words.empty()) std::memcpy(out, words.data(), words.size() * 8);
}

/// Elements of the tag's field, a word each.
ring::Elements get_words(const ring::PrimeField& field, ByteReader& in, std::size_t count) {
  const ByteView words = in.raw(count * 8);  // before anything is allocated
  ring::Elements out(count);
  std::memcpy(out.data(), words.data(), words.size());
  std::uint64_t beyond = 0;
  for (const std::uint64_t word : out.span()) beyond |= (field.modulus() - 1) - word;
  for (const std::uint64_t word : out.span()) beyond |= word & (std::uint64_t{1} << 63);
  if (beyond >> 63 != 0) in.fail("a word is no element of the tag's field");
  return out;
}

}  // namespace

ring::TagField tag_field(const Round& round) { return ring::TagField(round.plan().base()); }

ShareLayout::ShareLayout(const Round& round)
    : keys_(ring::PrimeField(
                ring::sharing_prime(round.plan().max_weight(), committee_of(round).size())),
            committee_of(round).size(), committee_of(round).threshold()),
      columns_(std::size_t{round.plan().degree()} * round.upload_keys()),
      masks_(ring::challenge_elements(keys_.field())),
      share_bytes_(ring::packed_bytes(keys_.field(), columns_ + padded(masks_))),
      answer_bytes_(ring::packed_bytes(keys_.field(), columns_)) {
  if (!round.tagged()) return;
  tags_.emplace(ring::PrimeField(tag_field(round).prime()), keys_.members(), keys_.threshold());
  share_bytes_ += 8 * (isa::kTagEvaluations + kTagMasks);
  answer_bytes_ += 8 * isa::kTagEvaluations;
}

KeyShare::KeyShare(const ShareLayout& layout)
    : keys(layout.columns(), Initialise::kZero),
      masks(layout.masks(), Initialise::kZero),
      tag(layout.tags() ? isa::kTagEvaluations : 0, Initialise::kZero),
      tag_masks(layout.tags() ? ShareLayout::kTagMasks : 0, Initialise::kZero) {}

void KeyShare::add(const ShareLayout& layout, const KeyShare& other) {
  ring::add_inplace(layout.keys().field(), keys.span(), other.keys.span());
  ring::add_inplace(layout.keys().field(), masks.span(), other.masks.span());
  if (!layout.tags()) return;
  ring::add_inplace(layout.tags()->field(), tag.span(), other.tag.span());
  ring::add_inplace(layout.tags()->field(), tag_masks.span(), other.tag_masks.span());
}

std::vector<SecretBuffer<std::uint8_t>> deal_shares(const Round& round, const Seed& seed,
                                                    const ring::TagSum* tag) {
  const ShareLayout layout(round);
  if ((tag != nullptr) != layout.tags().has_value()) {
    throw RoundError("shares of round " + short_hex(round.id()) +
                     (tag == nullptr ? " need the upload's tag" : " have no tag"));
  }
  const ring::Expander expander("veilsum/2/sharing", round.id(), seed.span(),
                                ring::KeySize::kAes256);
  const isa::AesKey& stream = expander.key();
  const std::uint32_t n = layout.keys().members();
  const std::size_t width = layout.columns() + padded(layout.masks());

  SecretBuffer<std::int64_t> secret(width, Initialise::kZero);
  {
    const KeyCoefficients keys = expand_keys(round, seed);
    std::copy(keys.begin(), keys.end(), secret.begin());
    const ring::Elements masks =
        ring::uniform_elements(layout.keys().field(), stream, kMaskValues, layout.masks());
    for (std::size_t i = 0; i < masks.size(); ++i) {
      secret[layout.columns() + i] = static_cast<std::int64_t>(masks[i]);
    }
  }
  ring::Elements shares = ring::share_signed(layout.keys(), secret.span(), stream, kKeyPolynomials);
  ring::Elements tags;
  constexpr std::size_t kTagWidth = isa::kTagEvaluations + ShareLayout::kTagMasks;
  if (layout.tags()) {
    ring::Elements words(kTagWidth);
    std::copy(tag->values().begin(), tag->values().end(), words.begin());
    const ring::Elements masks = ring::uniform_elements(layout.tags()->field(), stream,
                                                        kTagMaskValues, ShareLayout::kTagMasks);
    std::copy(masks.begin(), masks.end(), words.begin() + isa::kTagEvaluations);
    tags = ring::share(*layout.tags(), words.span(), stream, kTagPolynomials);
  }

  std::vector<SecretBuffer<std::uint8_t>> out;
  out.reserve(n);
  const std::size_t packed = ring::packed_bytes(layout.keys().field(), width);
  for (std::uint32_t k = 0; k < n; ++k) {
    // Places that only fill up the last eight are shares of 0, and would be bytes to compare.
    const std::span<std::uint64_t> row = shares.span().subspan(k * width, width);
    std::fill(row.begin() + static_cast<std::ptrdiff_t>(layout.columns() + layout.masks()),
              row.end(), 0);
    SecretBuffer<std::uint8_t> share(layout.share_bytes());
    ring::pack_elements(layout.keys().field(), row, share.data());
    if (layout.tags()) {
      put_words(tags.span().subspan(k * kTagWidth, kTagWidth), share.data() + packed);
    }
    out.push_back(std::move(share));
  }
  return out;
}

KeyShare read_share(const ShareLayout& layout, ByteView bytes) {
  ByteReader in(bytes, "key share");
  const ring::PrimeField& field = layout.keys().field();
  const std::size_t width = layout.columns() + padded(layout.masks());
  const ByteView packed = in.raw(ring::packed_bytes(field, width));  // before anything is allocated
  ring::Elements all(width);
  ring::unpack_elements(field, packed, all.span());
  KeyShare share(layout);
  const auto after_keys = all.begin() + layout.columns();
  const auto after_masks = after_keys + layout.masks();
  std::copy(all.begin(), after_keys, share.keys.begin());
  std::copy(after_keys, after_masks, share.masks.begin());
  std::uint64_t filled = 0;
  for (const std::uint64_t* at = after_masks; at != all.end(); ++at) filled |= *at;
  if (filled != 0) in.fail("places without a value are not 0");
  if (layout.tags()) {
    share.tag = get_words(layout.tags()->field(), in, isa::kTagEvaluations);
    share.tag_masks = get_words(layout.tags()->field(), in, ShareLayout::kTagMasks);
  }
  in.finish();
  return share;
}

SecretBuffer<std::uint8_t> write_answer(const ShareLayout& layout, const KeyShare& share) {
  SecretBuffer<std::uint8_t> out(layout.answer_bytes());
  ring::pack_elements(layout.keys().field(), share.keys.span(), out.data());
  put_words(share.tag.span(),
            out.data() + ring::packed_bytes(layout.keys().field(), share.keys.size()));
  return out;
}

KeyShare read_answer(const ShareLayout& layout, ByteView bytes) {
  ByteReader in(bytes, "answer");
  const ring::PrimeField& field = layout.keys().field();
  const ByteView packed = in.raw(ring::packed_bytes(field, layout.columns()));
  KeyShare share(layout);
  ring::unpack_elements(field, packed, share.keys.span());
  if (layout.tags()) share.tag = get_words(layout.tags()->field(), in, isa::kTagEvaluations);
  in.finish();
  return share;
}

}  // namespace veilsum::scheme
