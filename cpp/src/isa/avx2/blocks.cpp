// Layer: isa, level avx2. The two ends of a block in one pass each, for one limb: errors, message,
// pad, canonical residue, rounding and packing without leaving registers; and unpacking, rounded
// pad and exact division into digits. Messages and quotients are integers in doubles, the rest
// 64-bit lanes; a "raised" number x is the double 2^52 + x, whose low 52 bits are the integer x, so
// that passing from one to the other costs nothing. The names are those of isa::BlockView; B + drop
// = 48. No branch or index depends on data; all loops depend on public sizes.
#include "isa/avx2/block_io.h"
#include "isa/avx2/kernels_internal.h"

namespace veilsum::isa::avx2 {
namespace {

constexpr unsigned kTopBits = 27;  ///< of x or u that meet delta in a product
constexpr unsigned kLowBits = 21;  ///< the others of u: 48 - 27

/// `round` before its last shift: 2^drop times the field, in bits drop ... 47.
struct Rounding {
  Field field;
  Vec delta;
  Vec constant;

  /// Adds `offset` 2^drop, modulo 2^48.
  Rounding(const BlockView& view, std::uint64_t offset)
      : field(view.modulus[0].q), delta(splat(view.modulus[0].delta)) {
    const unsigned drop = kPrimeBits - view.bits;
    // Bit 52 of a raised u is bit 31 of u >> 21 and adds 2^31 delta >> 27.
    constant =
        splat((std::uint64_t{1} << (drop - 1)) - (view.modulus[0].delta << 4) + (offset << drop));
  }
  /// Four registers of 2^52 + x, 0 <= x <= 15 q. Bits below `drop` and above 47 are left over.
  [[gnu::always_inline]] void operator()(Real* raised, Vec* out) const {
    field.make_canonical(raised);
    Vec product[kBatch];
#pragma GCC unroll 4
    for (std::size_t i = 0; i < kBatch; ++i) {
      product[i] = _mm256_mul_epu32(_mm256_srli_epi64(bits_of(raised[i]), kLowBits), delta);
    }
#pragma GCC unroll 4
    for (std::size_t i = 0; i < kBatch; ++i) {
      out[i] = _mm256_add_epi64(_mm256_add_epi64(bits_of(raised[i]), constant),
                                _mm256_srli_epi64(product[i], kTopBits));
    }
  }
};

// --- encrypt ------------------------------------------------------------------------------------

/// lift() of messages. Everything is exact: m Delta 2^drop < 2^48.
template <class Reader>
struct Lift {
  static constexpr bool kEmpty = false;
  Reader reader;
  Real top, whole, above;
  Vec shift, delta;

  explicit Lift(const BlockView& view)
      : reader{splat(static_cast<double>(digit_base(view))), view.digit_count},
        delta(splat(view.modulus[0].delta)) {
    const double scale = static_cast<double>(view.digit_scale[0]);
    const std::uint64_t up = view.bits < kTopBits ? kTopBits - view.bits : 0;
    top = splat(scale * static_cast<double>(std::uint64_t{1} << up));
    shift = splat(std::uint64_t{view.bits < kTopBits ? 0 : view.bits - kTopBits});
    whole = splat(scale * static_cast<double>(std::uint64_t{1} << (kPrimeBits - view.bits)));
    above = splat(kTwo52 + static_cast<double>(view.modulus[0].q));
  }
  /// x + lift(Delta m) + q as raised numbers, for coefficients 4i ... 4i + 3 in register i; x is
  /// below 9q.
  template <class LoadX>
  [[gnu::always_inline]] void operator()(const LoadX& load_x, const std::uint32_t* digits,
                                         std::size_t stride, Real* sum) const {
    Real message[kBatch];
    Vec high[kBatch];
    Vec raised[kBatch];
#pragma GCC unroll 4
    for (std::size_t i = 0; i < kBatch; ++i) message[i] = reader(digits + 4 * i, stride);
#pragma GCC unroll 4
    for (std::size_t i = 0; i < kBatch; ++i) {
      high[i] = bits_of(_mm256_fmadd_pd(message[i], top, splat(kTwo52)));
    }
#pragma GCC unroll 4
    for (std::size_t i = 0; i < kBatch; ++i) {
      raised[i] = _mm256_add_epi64(bits_of(_mm256_fmadd_pd(message[i], whole, above)), load_x(i));
    }
    // Bit 52 goes to bit 79 - B, above the 32 that are multiplied: B <= 46.
#pragma GCC unroll 4
    for (std::size_t i = 0; i < kBatch; ++i) {
      high[i] = _mm256_mul_epu32(_mm256_srlv_epi64(high[i], shift), delta);
    }
#pragma GCC unroll 4
    for (std::size_t i = 0; i < kBatch; ++i) {
      sum[i] = real_of(_mm256_sub_epi64(raised[i], _mm256_srli_epi64(high[i], kTopBits)));
    }
  }
};

/// The message of zeros.
struct NoLift {
  static constexpr bool kEmpty = true;
  Vec above;

  explicit NoLift(const BlockView& view) : above(splat(kTwo52Bits + view.modulus[0].q)) {}
  template <class LoadX>
  [[gnu::always_inline]] void operator()(const LoadX& load_x, const std::uint32_t* /*digits*/,
                                         std::size_t /*stride*/, Real* sum) const {
#pragma GCC unroll 4
    for (std::size_t i = 0; i < kBatch; ++i) sum[i] = real_of(_mm256_add_epi64(load_x(i), above));
  }
};

/// Sixteen coefficients at a time, from x = pad + e or u to packed fields.
template <class Message>
struct Encryptor {
  Message message;
  Rounding rounding;
  FieldStorer storer;
  Vec mask;

  explicit Encryptor(const BlockView& view)
      : message(view),
        rounding(view, 0),
        storer(view.bits, kPrimeBits - view.bits),
        mask(splat(view.fields[0]->mask << (kPrimeBits - view.bits))) {}

  template <class LoadX>
  [[gnu::always_inline]] void sixteen(const LoadX& load_x, const std::uint32_t* digits,
                                      std::size_t stride, std::uint8_t* out) const {
    Real sum[kBatch];
    Vec fields[kBatch];
    message(load_x, digits, stride, sum);
    rounding(sum, fields);
#pragma GCC unroll 4
    for (std::size_t i = 0; i < kBatch; ++i) fields[i] = _mm256_and_si256(fields[i], mask);
    storer.store_natural(out, fields);
  }
};

/// Coefficients j ... j + 15 of a block. Where the row ends, input and output take a detour.
template <class Message>
struct EncryptWork {
  const EncryptBlock& args;
  Encryptor<Message> encryptor;
  RowEnd end;
  std::size_t rows;

  explicit EncryptWork(const EncryptBlock& block)
      : args(block),
        encryptor(*block.view),
        end(block.coefficients, block.view->bits),
        rows(Message::kEmpty ? 0 : block.view->digit_count) {}

  void sixteen(const std::uint64_t* pads, const std::int16_t* errors, const std::uint32_t* digits,
               std::size_t stride, std::uint8_t* out) const {
    const auto load_x = [&](std::size_t i) {
      return _mm256_add_epi64(clean(load(pads + 4 * i)), load_errors(errors + 4 * i));
    };
    encryptor.sixteen(load_x, digits, stride, out);
  }

  void operator()(std::size_t j, const std::int16_t* errors) const {
    std::uint8_t* out = args.out + j / kGroup * end.bits;
    if (__builtin_expect(j + kSixteen <= args.coefficients && end.has_room(j), 1)) {
      prefetch_write(out + end.bytes);
      const std::uint32_t* digits = Message::kEmpty ? nullptr : args.digits + j;
      sixteen(args.pads + j, errors, digits, args.digit_stride, out);
    } else {
      last(j, errors, out);
    }
  }

  [[gnu::noinline]] void last(std::size_t j, const std::int16_t* errors, std::uint8_t* out) const {
    const std::size_t left = left_of(args.coefficients, j);
    alignas(32) std::uint64_t pads[kSixteen] = {};
    std::memcpy(pads, args.pads + j, left * sizeof pads[0]);
    DigitBounce bounce(Message::kEmpty ? nullptr : args.digits + j, args.digit_stride, rows, left);
    std::uint8_t bytes[kBounce];
    sixteen(pads, errors, bounce.digits[0], kSixteen, bytes);
    std::memcpy(out, bytes, end.left(j));
    wipe(pads);
    wipe(bounce);
  }
};

template <class Message>
struct FromPadWork {
  const EncryptFromPad& args;
  Encryptor<Message> encryptor;
  RowEnd end;
  std::size_t rows;

  explicit FromPadWork(const EncryptFromPad& block)
      : args(block),
        encryptor(*block.view),
        end(block.coefficients, block.view->bits),
        rows(Message::kEmpty ? 0 : block.view->digit_count) {}

  void sixteen(const std::uint8_t* pad, const std::uint32_t* digits, std::size_t stride,
               std::uint8_t* out) const {
    const auto load_x = [&](std::size_t i) { return load_residues(pad + 24 * i); };
    encryptor.sixteen(load_x, digits, stride, out);
  }

  void operator()(std::size_t j) const {
    const std::uint8_t* pad = args.pad + j / kGroup * kResidueBytes;
    std::uint8_t* out = args.out + j / kGroup * end.bits;
    if (__builtin_expect(j + kSixteen <= args.coefficients && end.has_room(j), 1)) {
      prefetch_write(out + end.bytes);
      prefetch_read(pad + args.coefficients / kGroup * kResidueBytes);
      sixteen(pad, Message::kEmpty ? nullptr : args.digits + j, args.digit_stride, out);
    } else {
      last(j, pad, out);
    }
  }

  [[gnu::noinline]] void last(std::size_t j, const std::uint8_t* pad, std::uint8_t* out) const {
    const std::size_t left = left_of(args.coefficients, j);
    std::uint8_t residues[2 * kResidueBytes] = {};
    std::memcpy(residues, pad, left / kGroup * kResidueBytes);
    DigitBounce bounce(Message::kEmpty ? nullptr : args.digits + j, args.digit_stride, rows, left);
    std::uint8_t bytes[kBounce];
    sixteen(residues, bounce.digits[0], kSixteen, bytes);
    std::memcpy(out, bytes, end.left(j));
    wipe(residues);
    wipe(bounce);
  }
};

/// Calls run<Lift or NoLift>() with the reader that the plan's digits need.
template <class Run>
void with_message(const BlockView& view, bool present, const Run& run) {
  constexpr std::uint64_t kSignedBases = std::uint64_t{1} << 31;
  if (!present) return run.template operator()<NoLift>();
  if (digit_base(view) > kSignedBases)
    return run.template operator()<Lift<DigitReader<0, false>>>();
  switch (view.digit_count) {
    case 1:
      return run.template operator()<Lift<DigitReader<1, true>>>();
    case 2:
      return run.template operator()<Lift<DigitReader<2, true>>>();
    case 3:
      return run.template operator()<Lift<DigitReader<3, true>>>();
    default:
      return run.template operator()<Lift<DigitReader<0, true>>>();
  }
}

// --- pads made ahead ----------------------------------------------------------------------------

struct PadWork {
  const MakePad& args;
  PadStorer storer;
  RowEnd end;

  explicit PadWork(const MakePad& block)
      : args(block),
        storer(Field(block.view->modulus[0].q), block.view->modulus[0].q),
        end(block.coefficients, kPrimeBits) {}

  void operator()(std::size_t j, const std::int16_t* errors) const {
    std::uint8_t* out = args.out + j / kGroup * kResidueBytes;
    if (__builtin_expect(j + kSixteen <= args.coefficients && end.has_room(j), 1)) {
      prefetch_write(out + end.bytes);
      storer(args.pads + j, errors, out);
    } else {
      last(j, errors, out);
    }
  }
  [[gnu::noinline]] void last(std::size_t j, const std::int16_t* errors, std::uint8_t* out) const {
    const std::size_t left = left_of(args.coefficients, j);
    alignas(32) std::uint64_t pads[kSixteen] = {};
    std::memcpy(pads, args.pads + j, left * sizeof pads[0]);
    alignas(32) std::uint8_t bytes[2 * kResidueBytes + 32];
    storer(pads, errors, bytes);
    std::memcpy(out, bytes, end.left(j));
    wipe(pads);
    wipe(bytes);
  }
};

// --- decrypt ------------------------------------------------------------------------------------

/// v = 2^drop x + g, g < 2^drop left over, x = (field - round(pad) + offset) mod 2^B; as 2^52 + v.
struct Difference {
  Rounding rounding;
  FieldLoader loader;
  Vec kept;

  /// Subtracting 2^drop offset in the rounded pad adds it to the difference.
  Difference(const BlockView& view, std::uint64_t offset)
      : rounding(view, 0 - offset),
        loader(view.bits, kPrimeBits - view.bits),
        kept(splat(~std::uint64_t{0} << (kPrimeBits - view.bits))) {}

  /// The four pairs of sixteen coefficients.
  [[gnu::always_inline]] void operator()(const std::uint8_t* in, const std::uint64_t* pads,
                                         Real* v) const {
    Vec rounded[kBatch];
#pragma GCC unroll 4
    for (std::size_t i = 0; i < kBatch; ++i) {
      v[i] = raise(clean(load_pair(pads + 2 * i)));
    }
    rounding(v, rounded);
#pragma GCC unroll 4
    for (std::size_t i = 0; i < kBatch; ++i) {
      const Vec difference =
          _mm256_sub_epi64(loader.pair(in, i), _mm256_and_si256(rounded[i], kept));
      v[i] = real_of(_mm256_blend_epi16(difference, splat(kTwo52Bits), 0x88));  // bits 48 ... 63
    }
  }
};

/// floor(v / d) for integers 0 <= v < 2^48 and an even d < 2^48: the nearest integer to y = (v + 1
/// - d / 2) / d (1 - e), where 2^-50 - 2^-52 < e < 2^-50 + 2^-52 holds the errors of the reciprocal
/// too. With v = k d + s, 0 <= s < d, y is at most (k + 1/2)(1 - e) < k + 1/2; and at least k - 1/2
/// + 1 / d - k e, above k - 1/2 as k e d < 2^48 2^-49. The FMA rounds once.
struct EvenDivisor {
  Real raised_centre, reciprocal;

  void set(std::uint64_t d) {
    raised_centre = splat(kTwo52 + static_cast<double>((d >> 1) - 1));
    reciprocal = splat(1.0 / static_cast<double>(d) * (1.0 - 0x1p-50));
  }
  /// 2^52 + v -> 1.5 * 2^52 + quotient
  Real operator()(Real raised) const {
    return _mm256_fmadd_pd(_mm256_sub_pd(raised, raised_centre), reciprocal, splat(kRound));
  }
};

/// Digits of x in range: h_d = floor(x / (Delta t^d)), digit d is h_d - t h_(d+1).
/// kDigits: how many, or 0 for the view's count.
template <int kDigits>
struct Decryptor {
  Difference difference;
  std::size_t count;
  Vec base;
  Real real_base;
  Real largest = _mm256_setzero_pd();  // of 2^52 + v
  EvenDivisor divisors[kDigits == 0 ? kMaxDigits : std::size_t{kDigits}];

  explicit Decryptor(const BlockView& view)
      : difference(view, view.half_delta[0]),
        count(kDigits == 0 ? view.digit_count : std::size_t{kDigits}) {
    const std::uint64_t t = count == 1 ? 0 : view.base.divisor;
    base = splat(t);
    real_base = splat(static_cast<double>(t));
    for (std::size_t d = 0; d < count; ++d) {
      divisors[d].set(view.digit_scale[d] << (kPrimeBits - view.bits));
    }
  }

  [[gnu::always_inline]] void load(const std::uint8_t* in, const std::uint64_t* pads, Real* v) {
    difference(in, pads, v);
#pragma GCC unroll 4
    for (std::size_t i = 0; i < kBatch; ++i) largest = _mm256_max_pd(largest, v[i]);
  }
  /// Low 32 bits are enough of h_(d+1): digits are below 2^32.
  void sixteen(const std::uint8_t* in, const std::uint64_t* pads, std::uint32_t* out,
               std::size_t stride) {
    Real v[kBatch];
    load(in, pads, v);
    Vec above[kBatch];
    Vec digit[kBatch];
    std::size_t d = kDigits == 0 ? count - 1 : kDigits - 1;
#pragma GCC unroll 4
    for (std::size_t i = 0; i < kBatch; ++i) digit[i] = above[i] = bits_of(divisors[d](v[i]));
    store_narrow(out + d * stride, digit);
    while (d-- != 0) {
#pragma GCC unroll 4
      for (std::size_t i = 0; i < kBatch; ++i) {
        const Vec h = bits_of(divisors[d](v[i]));
        digit[i] = _mm256_sub_epi64(h, _mm256_mul_epu32(above[i], base));
        above[i] = h;
      }
      store_narrow(out + d * stride, digit);
    }
  }
  void sixteen(const std::uint8_t* in, const std::uint64_t* pads, std::uint64_t* out,
               std::size_t stride) {
    Real v[kBatch];
    load(in, pads, v);
    for (std::size_t i = 0; i < kBatch; ++i) {
      Real above = _mm256_setzero_pd();
      for (std::size_t d = count; d-- != 0;) {
        const Real h = _mm256_sub_pd(divisors[d](v[i]), splat(kRound));
        store_wide_pair(out + d * stride + 2 * i,
                        to_integer(_mm256_fnmadd_pd(above, real_base, h)));
        above = h;
      }
    }
  }

 private:
  static void store_narrow(std::uint32_t* out, const Vec* digit) {
    store_narrow_pairs(out, digit[0], digit[1]);
    store_narrow_pairs(out + 4, digit[2], digit[3]);
  }
};

/// All numbers seen were below 2^drop limit.
bool all_below(Real largest, std::uint64_t limit, unsigned drop) {
  const double scaled = static_cast<double>(limit) * static_cast<double>(std::uint64_t{1} << drop);
  const double bound = kTwo52 + (scaled < 0x1p48 ? scaled : 0x1p48);
  return _mm256_movemask_pd(_mm256_cmp_pd(largest, splat(bound), _CMP_NLT_UQ)) == 0;
}

/// Input of sixteen coefficients where a row ends. A second group of zeros is in range.
struct InputBounce {
  alignas(32) std::uint64_t pads[kSixteen] = {};
  std::uint8_t bytes[kBounce] = {};

  InputBounce(const std::uint8_t* in, std::size_t in_bytes, const std::uint64_t* from,
              std::size_t left) {
    std::memcpy(bytes, in, in_bytes);
    std::memcpy(pads, from, left * sizeof pads[0]);
  }
};

template <int kDigits, class Digit>
bool decrypt_digits(const DecryptBlock& args, Digit* digits) {
  const BlockView& view = *args.view;
  Decryptor<kDigits> decryptor(view);
  const std::size_t stride = args.digits.stride;
  const RowEnd end(args.coefficients, view.bits);
  for (std::size_t j = 0; j < args.coefficients; j += kSixteen) {
    const std::uint8_t* in = args.packed + j / kGroup * end.bits;
    if (__builtin_expect(j + kSixteen <= args.coefficients && end.has_room(j), 1)) {
      prefetch_read(in + end.bytes);
      decryptor.sixteen(in, args.pads + j, digits + j, stride);
      continue;
    }
    const std::size_t left = left_of(args.coefficients, j);
    InputBounce input(in, end.left(j), args.pads + j, left);
    alignas(32) Digit out[kMaxDigits][kSixteen];
    decryptor.sixteen(input.bytes, input.pads, out[0], kSixteen);
    for (std::size_t d = 0; d < view.digit_count; ++d) {
      std::memcpy(digits + d * stride + j, out[d], left * sizeof(Digit));
    }
    wipe(input.pads);
    wipe(out);
  }
  return all_below(decryptor.largest, view.limit[0], kPrimeBits - view.bits);
}

bool decrypt_one_limb(const DecryptBlock& args) {
  if (args.digits.narrow == nullptr) return decrypt_digits<0>(args, args.digits.wide);
  switch (args.view->digit_count) {
    case 1:
      return decrypt_digits<1>(args, args.digits.narrow);
    case 2:
      return decrypt_digits<2>(args, args.digits.narrow);
    case 3:
      return decrypt_digits<3>(args, args.digits.narrow);
    default:
      return decrypt_digits<0>(args, args.digits.narrow);
  }
}

/// |noise| <= bound exactly when noise + bound, modulo 2^B, is at most 2 bound.
bool check_one_limb(const NoiseCheck& args) {
  const BlockView& view = *args.view;
  const Difference difference(view, args.bound);
  const RowEnd end(args.coefficients, view.bits);
  Real largest = _mm256_setzero_pd();
  const auto sixteen = [&](const std::uint8_t* in, const std::uint64_t* pads) {
    Real v[kBatch];
    difference(in, pads, v);
#pragma GCC unroll 4
    for (std::size_t i = 0; i < kBatch; ++i) largest = _mm256_max_pd(largest, v[i]);
  };
  for (std::size_t j = 0; j < args.coefficients; j += kSixteen) {
    const std::uint8_t* in = args.packed + j / kGroup * end.bits;
    if (j + kSixteen <= args.coefficients && end.has_room(j)) {
      sixteen(in, args.pads + j);
      continue;
    }
    const std::size_t left = left_of(args.coefficients, j);
    InputBounce input(in, end.left(j), args.pads + j, left);
    sixteen(input.bytes, input.pads);
    wipe(input.pads);
  }
  return all_below(largest, 2 * args.bound + 1, kPrimeBits - view.bits);
}

}  // namespace

void encrypt_block(const EncryptBlock& args) {
  if (args.view->limb_count != 1) return encrypt_several(args);
  with_message(*args.view, args.digits != nullptr, [&]<class Message> {
    const EncryptWork<Message> work(args);
    with_errors(*args.error_key, args.error_index, args.coefficients, work);
  });
}

void make_pad(const MakePad& args) {
  if (args.view->limb_count != 1) return make_pad_several(args);
  const PadWork work(args);
  with_errors(*args.error_key, args.error_index, args.coefficients, work);
}

void encrypt_from_pad(const EncryptFromPad& args) {
  if (args.view->limb_count != 1) return encrypt_from_pad_several(args);
  with_message(*args.view, args.digits != nullptr, [&]<class Message> {
    const FromPadWork<Message> work(args);
    for (std::size_t j = 0; j < args.coefficients; j += kSixteen) work(j);
  });
}

bool decrypt_block(const DecryptBlock& args) {
  return args.view->limb_count == 1 ? decrypt_one_limb(args) : decrypt_several(args);
}

bool noise_in_bounds(const NoiseCheck& args) {
  return args.view->limb_count == 1 ? check_one_limb(args) : check_several(args);
}

}  // namespace veilsum::isa::avx2
