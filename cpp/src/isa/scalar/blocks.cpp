// Layer: isa, scalar level. Blocks after their pad. Encryption: add pad, error and the lifted
// message, take the canonical residue, round to B bits, pack. make_pad stops before the message,
// encrypt_from_pad goes on from there. Decryption: round the pad, subtract it from the packed
// fields, divide by Delta and split into digits. `round` and `lift` are DESIGN's integer functions;
// see isa::BlockView, whose names this file uses. Several limbs work on words of 52 bits, with
// exact division by a floating-point estimate of each digit and one correction. Free of
// secret-dependent branches, indices and divisions.
#include <cstddef>
#include <cstdint>

#include "base/wipe.h"
#include "isa/scalar/kernels_internal.h"

namespace veilsum::isa::scalar {
namespace {

constexpr std::size_t kChunk = 256;  // coefficients: one batch of the bitsliced AES
constexpr std::uint64_t kPrimeMask = (std::uint64_t{1} << kPrimeBits) - 1;

/// Eight fields, word by word.
using Fields = std::uint64_t[kMaxWords][kGroup];
/// Eight residues in every limb.
using Residues = std::uint64_t[kMaxLimbs][kGroup];

/// Where the rows of a block with `coefficients` coefficients begin.
struct Rows {
  Rows(const BlockView& view, std::size_t coefficients) {
    std::size_t next = 0;
    for (std::size_t w = 0; w < view.words; ++w) {
      at[w] = next;
      next += coefficients / kGroup * view.fields[w]->bits;
    }
  }
  std::size_t at[kMaxWords];
};

void store_fields(const BlockView& view, const Rows& rows, const Fields& fields, std::size_t start,
                  std::uint8_t* out) {
  for (std::size_t w = 0; w < view.words; ++w) {
    const std::uint32_t bits = view.fields[w]->bits;
    pack_group(fields[w], bits, out + rows.at[w] + start / kGroup * bits);
  }
}

void load_fields(const BlockView& view, const Rows& rows, const std::uint8_t* in, std::size_t start,
                 Fields& fields) {
  for (std::size_t w = 0; w < view.words; ++w) {
    const std::uint32_t bits = view.fields[w]->bits;
    unpack_group(in + rows.at[w] + start / kGroup * bits, bits, fields[w]);
  }
}

/// Lazy residues of pads -> [0, 2q).
void load_pads(const BlockView& view, const std::uint64_t* pads, std::size_t stride,
               std::size_t start, Residues& residues) {
  for (std::size_t i = 0; i < view.limb_count; ++i) {
    const std::uint64_t* pad = pads + i * stride + start;
    for (std::size_t j = 0; j < kGroup; ++j) {
      residues[i][j] = reduce_lazy(pad[j] & kWordMask, view.modulus[i]);
    }
  }
}

void make_canonical(const BlockView& view, Residues& residues) {
  for (std::size_t i = 0; i < view.limb_count; ++i) {
    for (std::size_t j = 0; j < kGroup; ++j) {
      residues[i][j] = reduce(residues[i][j], view.modulus[i]);
    }
  }
}

/// residues += e mod q: at most q + 8 more.
void add_errors(const BlockView& view, const std::uint8_t* stream, Residues& residues) {
  for (std::size_t j = 0; j < kGroup; ++j) {
    const auto error = static_cast<std::uint64_t>(cbd_from_bytes(stream[2 * j], stream[2 * j + 1]));
    for (std::size_t i = 0; i < view.limb_count; ++i) {
      residues[i][j] += error + (view.modulus[i].q & sign_mask(error));
    }
  }
}

/// residues += lift(Delta m): below 2^48 more with one limb, below 2q a word with several.
void add_lifted(const BlockView& view, const std::uint32_t* digits, std::size_t stride,
                Residues& residues) {
  if (view.limb_count == 1) {
    const std::uint64_t delta = view.modulus[0].delta;
    for (std::size_t j = 0; j < kGroup; ++j) {
      std::uint64_t x = 0;
      for (std::size_t d = 0; d < view.digit_count; ++d) {
        x += digits[d * stride + j] * view.digit_scale[d];
      }
      const std::uint64_t top = view.bits >= 27 ? x >> (view.bits - 27) : x << (27 - view.bits);
      residues[0][j] += (x << (kPrimeBits - view.bits)) - ((top * delta) >> 27);
    }
    return;
  }
  for (std::size_t j = 0; j < kGroup; ++j) {
    Uint128 sum[kMaxWords] = {};
    for (std::size_t p = 0, d = 0; p < view.plane_count; ++p) {
      std::uint64_t plane = 0;
      for (std::size_t i = 0; i < view.digits_per_plane && d < view.digit_count; ++i, ++d) {
        plane += digits[d * stride + j] * view.digit_scale[i];
      }
      for (std::size_t w = 0; w < view.words; ++w) {
        sum[w] += static_cast<Uint128>(plane) * view.plane_scale[p][w];  // 8 terms below 2^104
      }
    }
    std::uint64_t low[kMaxWords];
    Uint128 carry = 0;
    for (std::size_t w = 0; w < view.words; ++w) {
      carry += sum[w];
      low[w] = static_cast<std::uint64_t>(carry) & view.fields[w]->mask;  // the last row: mod 2^B
      carry >>= kWordBits;
    }
    for (std::size_t i = 0; i < view.limb_count; ++i) {
      for (std::size_t w = 0; w < view.words; ++w) {
        residues[i][j] += multiply_lazy(low[w], view.lift_scale[i][w], view.lift_scale_shoup[i][w],
                                        view.modulus[i].q);
      }
    }
  }
}

/// round() of residues in [0, q).
void round_fields(const BlockView& view, const Residues& residues, Fields& fields) {
  const std::uint32_t bits = view.bits;
  if (view.limb_count == 1) {
    const std::uint64_t delta = view.modulus[0].delta;
    const std::uint64_t half = std::uint64_t{1} << (kPrimeBits - 1 - bits);
    for (std::size_t j = 0; j < kGroup; ++j) {
      const std::uint64_t u = residues[0][j];
      const std::uint64_t stretched = u + (((u >> 21) * delta) >> 27) + half;
      fields[0][j] = (stretched >> (kPrimeBits - bits)) & view.fields[0]->mask;
    }
    return;
  }
  // Fractions have k words and F = 48 (k + 1) bits, so the sum (modulo 2^F) fits k + 1 words. It is
  // shifted right by F - B, 48 ... F bits: whole words and a part of one.
  const std::size_t sum_words = view.limb_count + 1;
  const std::uint32_t shift = kPrimeBits * static_cast<std::uint32_t>(sum_words) - bits;
  for (std::size_t j = 0; j < kGroup; ++j) {
    Uint128 sum[kMaxLimbs + 2] = {};
    sum[(shift - 1) / kWordBits] = std::uint64_t{1} << ((shift - 1) % kWordBits);
    for (std::size_t i = 0; i < view.limb_count; ++i) {
      const std::uint64_t q = view.modulus[i].q;
      const std::uint64_t y = subtract_if_above(
          multiply_lazy(residues[i][j], view.hat_inverse[i], view.hat_inverse_shoup[i], q), q);
      for (std::size_t w = 0; w < view.limb_count; ++w) {
        sum[w] += static_cast<Uint128>(y) * view.fraction[i][w];  // 4 terms below 2^100
      }
    }
    std::uint64_t words[kMaxLimbs + 3] = {};
    Uint128 carry = 0;
    for (std::size_t w = 0; w < sum_words; ++w) {
      carry += sum[w];
      words[w] = static_cast<std::uint64_t>(carry) & kWordMask;
      carry >>= kWordBits;
    }
    const std::uint32_t part = shift % kWordBits;
    for (std::size_t w = 0; w < view.words; ++w) {
      const std::size_t from = shift / kWordBits + w;
      const std::uint64_t field =
          (words[from] >> part) | (part == 0 ? 0 : words[from + 1] << (kWordBits - part));
      fields[w][j] = field & view.fields[w]->mask;
    }
  }
}

/// x += y modulo 2^(52 words).
void add_words(std::uint64_t* x, const std::uint64_t* y, std::uint64_t mask, std::size_t words) {
  std::uint64_t carry = 0;
  for (std::size_t w = 0; w < words; ++w) {
    carry += x[w] + (y[w] & mask);
    x[w] = carry & kWordMask;
    carry >>= kWordBits;
  }
}

/// x -= y modulo 2^(52 words); all ones when it went below zero. Words wrap in 64 bits; the sign of
/// a word is its borrow.
std::uint64_t subtract_words(std::uint64_t* x, const std::uint64_t* y, std::size_t words) {
  std::uint64_t borrow = 0;  // 0 or all ones, that is -1
  for (std::size_t w = 0; w < words; ++w) {
    const std::uint64_t difference = x[w] - y[w] + borrow;
    x[w] = difference & kWordMask;
    borrow = sign_mask(difference);
  }
  return borrow;
}

/// Returns d = floor(x / divisor) and leaves the remainder in x, for d < 2^49 and x < 2^B, in
/// kMaxWords words (208 bits) of which B <= 190 are in use, so that signs are unambiguous.
///
/// The estimate. u = 2^-53. Words are exact doubles. The Horner sum of four words rounds three
/// times, all terms non-negative; the reciprocal and the product round once each. So the estimate
/// is (x / divisor)(1 + r) with |r| < (1 + u)^5 - 1 < 6u, off by less than 6 * 2^-53 * 2^49 < 0.38.
/// Truncated it is d - 1, d or d + 1.
///
/// The correction. x - estimate * divisor lies in [-divisor, 2 divisor). One masked addition lifts
/// the negative case; one subtraction, undone by a masked addition when it goes below zero, settles
/// the other.
std::uint64_t divide(std::uint64_t* x, const std::uint64_t* divisor, double reciprocal) {
  double approximate = static_cast<double>(static_cast<std::int64_t>(x[kMaxWords - 1]));
  for (std::size_t w = kMaxWords - 1; w-- > 0;) {
    approximate = approximate * 0x1p52 + static_cast<double>(static_cast<std::int64_t>(x[w]));
  }
  auto digit = static_cast<std::uint64_t>(static_cast<std::int64_t>(approximate * reciprocal));
  Uint128 product = 0;
  std::uint64_t borrow = 0;
  for (std::size_t w = 0; w < kMaxWords; ++w) {
    product += static_cast<Uint128>(digit) * divisor[w];
    const std::uint64_t difference =
        x[w] - (static_cast<std::uint64_t>(product) & kWordMask) + borrow;
    x[w] = difference & kWordMask;
    borrow = sign_mask(difference);
    product >>= kWordBits;
  }
  add_words(x, divisor, borrow, kMaxWords);
  digit += borrow;
  const std::uint64_t fits = subtract_words(x, divisor, kMaxWords);
  add_words(x, divisor, fits, kMaxWords);
  return digit + 1 + fits;
}

/// The same for d < 2^52: 26 bits at a time.
std::uint64_t divide_wide(std::uint64_t* x, const std::uint64_t* divisor, double reciprocal) {
  constexpr unsigned kHalf = 26;
  std::uint64_t shifted[kMaxWords];
  std::uint64_t carry = 0;
  for (std::size_t w = 0; w < kMaxWords; ++w) {
    shifted[w] = ((divisor[w] << kHalf) & kWordMask) | carry;
    carry = divisor[w] >> (kWordBits - kHalf);
  }
  const std::uint64_t high = divide(x, shifted, reciprocal * 0x1p-26);
  return (high << kHalf) + divide(x, divisor, reciprocal);
}

/// floor(x / divisor), x < 2^50.
std::uint64_t quotient(std::uint64_t x, const Divider& divider) {
  return static_cast<std::uint64_t>((static_cast<Uint128>(x) * divider.multiplier) >> 50) >>
         divider.shift;
}

struct DigitSink {
  const DigitRows& rows;
  void put(std::size_t digit, std::size_t at, std::uint64_t value) const {
    if (rows.narrow != nullptr) {
      rows.narrow[digit * rows.stride + at] = static_cast<std::uint32_t>(value);
    } else {
      rows.wide[digit * rows.stride + at] = value;
    }
  }
};

/// Digits [first, first + count) of `value` in base t.
void split_plane(const BlockView& view, std::uint64_t value, std::size_t first, std::size_t count,
                 const DigitSink& sink, std::size_t at) {
  for (std::size_t i = 0; i + 1 < count; ++i) {
    const std::uint64_t rest = quotient(value, view.base);
    sink.put(first + i, at, value - rest * view.base.divisor);
    value = rest;
  }
  sink.put(first + count - 1, at, value);
}

/// Digits of x, in [0, 2^B). Returns all ones when x is in range.
std::uint64_t decode(const BlockView& view, std::uint64_t* x, const DigitSink& sink,
                     std::size_t at) {
  std::uint64_t copy[kMaxWords];
  for (std::size_t w = 0; w < kMaxWords; ++w) copy[w] = x[w];
  const std::uint64_t in_range = subtract_words(copy, view.limit, kMaxWords);
  if (view.limb_count == 1) {
    split_plane(view, quotient(x[0], view.delta), 0, view.digit_count, sink, at);
    return in_range;
  }
  // A single digit of more than 48 bits has a plane of its own.
  const bool wide = view.digits_per_plane == 1 && sink.rows.wide != nullptr;
  for (std::size_t p = view.plane_count; p-- > 0;) {
    const std::uint64_t plane = wide ? divide_wide(x, view.divisor[p], view.divisor_reciprocal[p])
                                     : divide(x, view.divisor[p], view.divisor_reciprocal[p]);
    const std::size_t first = p * view.digits_per_plane;
    const std::size_t left = view.digit_count - first;
    split_plane(view, plane, first, left < view.digits_per_plane ? left : view.digits_per_plane,
                sink, at);
  }
  return in_range;
}

/// field - round(pad) + offset modulo 2^B, for eight coefficients.
void subtract_pads(const BlockView& view, const Rows& rows, const std::uint8_t* packed,
                   const std::uint64_t* pads, std::size_t stride, std::size_t start,
                   const std::uint64_t* offset, std::uint64_t (&x)[kGroup][kMaxWords]) {
  Residues residues;
  Fields fields;
  Fields pad_fields;
  load_pads(view, pads, stride, start, residues);
  make_canonical(view, residues);
  round_fields(view, residues, pad_fields);
  load_fields(view, rows, packed, start, fields);
  for (std::size_t j = 0; j < kGroup; ++j) {
    std::uint64_t pad[kMaxWords] = {};
    for (std::size_t w = 0; w < kMaxWords; ++w) {
      x[j][w] = w < view.words ? fields[w][j] : 0;
      pad[w] = w < view.words ? pad_fields[w][j] : 0;
    }
    add_words(x[j], offset, ~std::uint64_t{0}, kMaxWords);
    subtract_words(x[j], pad, kMaxWords);
    for (std::size_t w = 0; w < kMaxWords; ++w)
      x[j][w] &= w < view.words ? view.fields[w]->mask : 0;
  }
}

/// The errors' keystream, kChunk coefficients at a time.
template <class F>
void for_each_error_chunk(const AesKey& key, std::uint64_t index, std::size_t coefficients, F f) {
  std::uint8_t stream[2 * kChunk];
  for (std::size_t start = 0; start < coefficients; start += kChunk) {
    const std::size_t left = coefficients - start;
    const std::size_t now = left < kChunk ? left : kChunk;
    aes_ctr(key, index, start / kGroup, stream, now / kGroup);
    for (std::size_t j = 0; j < now; j += kGroup) f(start + j, stream + 2 * j);
  }
  secure_wipe(stream, sizeof stream);
}

}  // namespace

/// Pads below 2q, errors below q + 9, a lifted message below 8q: the sum is below 11q + 9 < 2^52.
void encrypt_block(const EncryptBlock& args) {
  const BlockView& view = *args.view;
  const Rows rows(view, args.coefficients);
  Residues residues;
  Fields fields;
  for_each_error_chunk(*args.error_key, args.error_index, args.coefficients,
                       [&](std::size_t start, const std::uint8_t* stream) {
                         load_pads(view, args.pads, args.pad_stride, start, residues);
                         add_errors(view, stream, residues);
                         if (args.digits != nullptr) {
                           add_lifted(view, args.digits + start, args.digit_stride, residues);
                         }
                         make_canonical(view, residues);
                         round_fields(view, residues, fields);
                         store_fields(view, rows, fields, start, args.out);
                       });
  secure_wipe(residues, sizeof residues);
}

void make_pad(const MakePad& args) {
  const BlockView& view = *args.view;
  Residues residues;
  const std::size_t row_bytes = args.coefficients / kGroup * kResidueBytes;
  for_each_error_chunk(*args.error_key, args.error_index, args.coefficients,
                       [&](std::size_t start, const std::uint8_t* stream) {
                         load_pads(view, args.pads, args.pad_stride, start, residues);
                         add_errors(view, stream, residues);
                         make_canonical(view, residues);
                         for (std::size_t i = 0; i < view.limb_count; ++i) {
                           pack_group(residues[i], kPrimeBits,
                                      args.out + i * row_bytes + start / kGroup * kResidueBytes);
                         }
                       });
  secure_wipe(residues, sizeof residues);
}

void encrypt_from_pad(const EncryptFromPad& args) {
  const BlockView& view = *args.view;
  const Rows rows(view, args.coefficients);
  Residues residues;
  Fields fields;
  const std::size_t row_bytes = args.coefficients / kGroup * kResidueBytes;
  for (std::size_t start = 0; start < args.coefficients; start += kGroup) {
    for (std::size_t i = 0; i < view.limb_count; ++i) {
      unpack_group(args.pad + i * row_bytes + start / kGroup * kResidueBytes, kPrimeBits,
                   residues[i]);
      for (std::size_t j = 0; j < kGroup; ++j) residues[i][j] &= kPrimeMask;
    }
    if (args.digits != nullptr) add_lifted(view, args.digits + start, args.digit_stride, residues);
    make_canonical(view, residues);
    round_fields(view, residues, fields);
    store_fields(view, rows, fields, start, args.out);
  }
  secure_wipe(residues, sizeof residues);
}

bool decrypt_block(const DecryptBlock& args) {
  const BlockView& view = *args.view;
  const Rows rows(view, args.coefficients);
  const DigitSink sink{args.digits};
  std::uint64_t x[kGroup][kMaxWords];
  std::uint64_t in_range = ~std::uint64_t{0};
  for (std::size_t start = 0; start < args.coefficients; start += kGroup) {
    subtract_pads(view, rows, args.packed, args.pads, args.pad_stride, start, view.half_delta, x);
    for (std::size_t j = 0; j < kGroup; ++j) in_range &= decode(view, x[j], sink, start + j);
  }
  secure_wipe(x, sizeof x);
  return in_range != 0;
}

/// |noise| <= bound exactly when noise + bound, modulo 2^B, is at most 2 bound.
bool noise_in_bounds(const NoiseCheck& args) {
  const BlockView& view = *args.view;
  const Rows rows(view, args.coefficients);
  const std::uint64_t offset[kMaxWords] = {args.bound};
  const std::uint64_t above[kMaxWords] = {2 * args.bound + 1};
  std::uint64_t x[kGroup][kMaxWords];
  std::uint64_t within = ~std::uint64_t{0};
  for (std::size_t start = 0; start < args.coefficients; start += kGroup) {
    subtract_pads(view, rows, args.packed, args.pads, args.pad_stride, start, offset, x);
    for (std::size_t j = 0; j < kGroup; ++j) within &= subtract_words(x[j], above, kMaxWords);
  }
  secure_wipe(x, sizeof x);
  return within != 0;
}

}  // namespace veilsum::isa::scalar
