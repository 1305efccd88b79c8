// Layer: isa, level avx512. Blocks of two and four limbs, see isa::BlockView: numbers are registers
// of 52-bit words, little-endian, eight coefficients wide; residues are folded by the Chinese
// remainder theorem with fractions of 48 (k + 1) bits, and planes divided out exactly by a
// floating-point estimate and one correction. No branch or index depends on data.

// Worth a sixth for two limbs, see ntt.cpp.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("schedule-insns")
#endif

#include "isa/avx512/kernels_internal.h"
#include "isa/avx512/vector_ops.h"

namespace veilsum::isa::avx512 {
namespace {

constexpr unsigned kWordBits = 52;

/// The packed rows of a block.
template <int kWords, class Byte, class Row>
struct Rows {
  Row row[kMaxWords];
  Rows(const BlockView& view, Byte* at, std::size_t groups)
      : Rows(view, at, groups, offset(view, groups, 1), offset(view, groups, 2),
             offset(view, groups, 3)) {}

 private:
  static std::size_t offset(const BlockView& view, std::size_t groups, int row_number) {
    std::size_t bytes = 0;
    for (int w = 0; w < row_number && w < kWords; ++w) bytes += groups * view.fields[w]->bits;
    return bytes;
  }
  static std::uint32_t bits(const BlockView& view, int w) {
    return view.fields[w < kWords ? w : 0]->bits;
  }
  Rows(const BlockView& view, Byte* at, std::size_t groups, std::size_t one, std::size_t two,
       std::size_t three)
      : row{Row(at, bits(view, 0), groups), Row(at + one, bits(view, 1), groups),
            Row(at + two, bits(view, 2), groups), Row(at + three, bits(view, 3), groups)} {}
};

/// Sums of low and high products to words below 2^52; the topmost keeps what it has.
template <int kWords>
inline void carry_words(Vec* x) {
  const Vec mask52 = splat(kMask52);
#pragma GCC unroll 8
  for (int w = 0; w + 1 < kWords; ++w) {
    x[w + 1] = _mm512_add_epi64(x[w + 1], _mm512_srli_epi64(x[w], kWordBits));
    x[w] = _mm512_and_si512(x[w], mask52);
  }
}

/// The same for words that may be negative.
template <int kWords>
inline void carry_signed(Vec* x) {
  const Vec mask52 = splat(kMask52);
#pragma GCC unroll 4
  for (int w = 0; w + 1 < kWords; ++w) {
    x[w + 1] = _mm512_add_epi64(x[w + 1], _mm512_srai_epi64(x[w], kWordBits));
    x[w] = _mm512_and_si512(x[w], mask52);
  }
}

/// residues[i] += lift(Delta m): below 2q a word of the field.
template <int kLimbs, int kWords>
inline void add_lifted(const BlockView& view, const std::uint32_t* digits, std::size_t stride,
                       Vec* residues) {
  Vec low[kWords];
#pragma GCC unroll 4
  for (int w = 0; w < kWords; ++w) low[w] = _mm512_setzero_si512();
  for (std::size_t p = 0, d = 0; p < view.plane_count; ++p) {
    Vec plane = _mm512_setzero_si512();
    for (std::size_t i = 0; i < view.digits_per_plane && d < view.digit_count; ++i, ++d) {
      plane = add_low(plane, load_digits(digits + d * stride), splat(view.digit_scale[i]));
    }
#pragma GCC unroll 4
    for (int w = 0; w < kWords; ++w) {
      const Vec scale = splat(view.plane_scale[p][w]);
      low[w] = add_low(low[w], plane, scale);
      if (w + 1 < kWords) low[w + 1] = add_high(low[w + 1], plane, scale);
    }
  }
  carry_words<kWords>(low);
  low[kWords - 1] = _mm512_and_si512(low[kWords - 1], splat(view.fields[kWords - 1]->mask));
  // The quotients are gathered, of which the low 52 bits count, and taken off together.
#pragma GCC unroll 4
  for (int i = 0; i < kLimbs; ++i) {
    Vec quotient = _mm512_setzero_si512();
#pragma GCC unroll 4
    for (int w = 0; w < kWords; ++w) {
      residues[i] = add_low(residues[i], low[w], splat(view.lift_scale[i][w]));
      quotient = add_high(quotient, low[w], splat(view.lift_scale_shoup[i][w]));
    }
    residues[i] = add_low(residues[i], quotient, splat((kMask52 + 1) - view.modulus[i].q));
  }
}

/// Fields from words that begin `right` bits before them, fewer than 52.
template <int kWords>
inline void shift_words(const BlockView& view, const Vec* from, std::uint32_t right, Vec* fields) {
  const Vec down = splat(right);
  const Vec up = splat(kWordBits - right);
#pragma GCC unroll 4
  for (int w = 0; w < kWords; ++w) {
    const Vec field =
        _mm512_or_si512(_mm512_srlv_epi64(from[w], down), _mm512_sllv_epi64(from[w + 1], up));
    fields[w] = _mm512_and_si512(field, splat(view.fields[w]->mask));
  }
}

/// round() of any words: y_i in [0, q_i), their fractions summed, k + 1 words, and shifted.
template <int kLimbs, int kWords>
inline void round_fields(const BlockView& view, const Vec* residues, Vec* fields) {
  constexpr std::uint32_t kFractionBits = kPrimeBits * (kLimbs + 1);
  const std::uint32_t shift = kFractionBits - view.bits;
  const Vec mask52 = splat(kMask52);
  Vec sum[kLimbs + 3];
#pragma GCC unroll 8
  for (int w = 0; w < kLimbs + 3; ++w) sum[w] = _mm512_setzero_si512();
#pragma GCC unroll 4
  for (int i = 0; i < kLimbs; ++i) {
    const Vec q = splat(view.modulus[i].q);
    const Vec product =
        multiply_dirty(residues[i], splat(view.hat_inverse[i]), splat(view.hat_inverse_shoup[i]),
                       splat((kMask52 + 1) - view.modulus[i].q));
    const Vec y = reduce_once(_mm512_and_si512(product, mask52), q);
#pragma GCC unroll 4
    for (int w = 0; w < kLimbs; ++w) {
      const Vec fraction = splat(view.fraction[i][w]);
      sum[w] = add_low(sum[w], y, fraction);
      sum[w + 1] = add_high(sum[w + 1], y, fraction);
    }
  }
  const std::uint32_t half = shift - 1;
#pragma GCC unroll 8
  for (std::uint32_t w = 0; w < kLimbs + 1; ++w) {
    const std::uint64_t bit = w == half / kWordBits ? std::uint64_t{1} << (half % kWordBits) : 0;
    sum[w] = _mm512_add_epi64(sum[w], splat(bit));
  }
  carry_words<kLimbs + 1>(sum);
  sum[kLimbs] = _mm512_and_si512(sum[kLimbs], mask52);
  // F - B lies in one of two words, given how many words B has.
  constexpr int kFrom = kLimbs == 2 ? 2 - kWords : 4 - kWords;
  if (shift < (kFrom + 1) * kWordBits) {
    shift_words<kWords>(view, sum + kFrom, shift % kWordBits, fields);
  } else {
    shift_words<kWords>(view, sum + kFrom + 1, shift % kWordBits, fields);
  }
}

/// A lazy pad, reduced where a message of four words comes on top: 8q + 4 * 2q are too many.
template <int kWords>
inline Vec load_pad(const std::uint64_t* pad, const Modulus& modulus) {
  const Vec x = _mm512_loadu_si512(pad);
  if constexpr (kWords < 4) return x;
  return reduce_dirty(x, splat(16), splat((kMask52 + 1) - modulus.q));
}

/// Calls sink(group, e + 8) for all groups.
template <class Sink>
[[gnu::always_inline]] inline void for_each_error(const AesKey& key, std::uint64_t index,
                                                  std::size_t groups, const Sink& sink) {
  const auto run = [&]<int kRounds>(const ErrorKeys<kRounds>& keys) {
    CounterStream counters(keys.round, index, 0);
    Vec s[2];
    counters.next(s[0], s[1]);
    ctr_advance<kRounds, 2, 0, 2 * kRounds>(keys.round, s);
    for (std::size_t g = 0; g < groups;) {
      const Vec samples[2] = {_mm512_popcnt_epi16(s[0]), _mm512_popcnt_epi16(s[1])};
      counters.next(s[0], s[1]);  // the next chunk's, which nothing waits for yet
      ctr_advance<kRounds, 2, 0, 2 * kRounds>(keys.round, s);
      for (std::size_t i = 0; i < 8 && g < groups; ++i, ++g) {
        sink(g, spread_samples(i % 4, samples[i / 4]));
      }
    }
  };
  if (key.rounds == 10) return run(ErrorKeys<10>(key));
  run(ErrorKeys<14>(key));
}

template <int kWords>
struct FieldWriter {
  Rows<kWords, std::uint8_t, RowWriter> rows;
  RowPacker pack[kMaxWords];

  FieldWriter(const BlockView& view, std::uint8_t* out, std::size_t groups)
      : rows(view, out, groups),
        pack{RowPacker(*view.fields[0]), RowPacker(*view.fields[kWords > 1 ? 1 : 0]),
             RowPacker(*view.fields[kWords > 2 ? 2 : 0]),
             RowPacker(*view.fields[kWords > 3 ? 3 : 0])} {}
  void operator()(std::size_t group, const Vec* fields) const {
#pragma GCC unroll 4
    for (int w = 0; w < kWords; ++w) rows.row[w](group, pack[w](fields[w]));
  }
};

template <int kLimbs, int kWords>
void encrypt_words(const EncryptBlock& args) {
  const BlockView& view = *args.view;
  const std::size_t groups = args.coefficients / kGroup;
  const FieldWriter<kWords> write(view, args.out, groups);
  for_each_error(*args.error_key, args.error_index, groups, [&](std::size_t g, Vec e) {
    Vec residues[kLimbs];
#pragma GCC unroll 4
    for (int i = 0; i < kLimbs; ++i) {
      const Modulus& modulus = view.modulus[i];
      const Vec pad = load_pad<kWords>(
          args.pads + static_cast<std::size_t>(i) * args.pad_stride + kGroup * g, modulus);
      residues[i] = _mm512_add_epi64(pad, _mm512_add_epi64(e, splat(modulus.q - kCbdWidth)));
    }
    if (args.digits != nullptr) {
      add_lifted<kLimbs, kWords>(view, args.digits + kGroup * g, args.digit_stride, residues);
    }
    Vec fields[kWords];
    round_fields<kLimbs, kWords>(view, residues, fields);
    write(g, fields);
  });
}

template <int kLimbs, int kWords>
void encrypt_ready_words(const EncryptFromPad& args) {
  const BlockView& view = *args.view;
  const std::size_t groups = args.coefficients / kGroup;
  const FieldWriter<kWords> write(view, args.out, groups);
  const ResidueUnpacker unpack;
  for (std::size_t g = 0; g < groups; ++g) {
    Vec residues[kLimbs];
#pragma GCC unroll 4
    for (int i = 0; i < kLimbs; ++i) {
      const RowReader read(args.pad + static_cast<std::size_t>(i) * groups * kResidueBytes,
                           kPrimeBits, groups);
      residues[i] = unpack(read(g));
    }
    if (args.digits != nullptr) {
      add_lifted<kLimbs, kWords>(view, args.digits + kGroup * g, args.digit_stride, residues);
    }
    Vec fields[kWords];
    round_fields<kLimbs, kWords>(view, residues, fields);
    write(g, fields);
  }
}

// --- back ---------------------------------------------------------------------------------------

/// field - round(pad) + plus modulo 2^B.
template <int kLimbs, int kWords>
struct WordSubtraction {
  const BlockView& view;
  Rows<kWords, const std::uint8_t, RowReader> rows;
  const std::uint64_t* pads;
  std::size_t stride;

  template <class Args>
  WordSubtraction(const Args& args, std::size_t groups)
      : view(*args.view),
        rows(view, args.packed, groups),
        pads(args.pads),
        stride(args.pad_stride) {}
  void operator()(std::size_t g, const std::uint64_t* plus, Vec* x) const {
    Vec residues[kLimbs];
#pragma GCC unroll 4
    for (int i = 0; i < kLimbs; ++i) {
      residues[i] = _mm512_loadu_si512(pads + static_cast<std::size_t>(i) * stride + kGroup * g);
    }
    Vec rounded[kWords];
    round_fields<kLimbs, kWords>(view, residues, rounded);
#pragma GCC unroll 4
    for (int w = 0; w < kWords; ++w) {
      const Unpacker unpack(*view.fields[w]);
      const Vec field = _mm512_and_si512(unpack(rows.row[w](g)), splat(view.fields[w]->mask));
      x[w] = _mm512_sub_epi64(_mm512_add_epi64(field, splat(plus[w])), rounded[w]);
    }
    carry_signed<kWords>(x);
    x[kWords - 1] = _mm512_and_si512(x[kWords - 1], splat(view.fields[kWords - 1]->mask));
  }
};

/// Where x < y.
template <int kWords>
inline __mmask8 below(const Vec* x, const std::uint64_t* y) {
  Vec difference[kWords];
#pragma GCC unroll 4
  for (int w = 0; w < kWords; ++w) difference[w] = _mm512_sub_epi64(x[w], splat(y[w]));
  carry_signed<kWords>(difference);
  return _mm512_movepi64_mask(difference[kWords - 1]);
}

/// Returns floor(x / d) and leaves the remainder, for quotients below 2^49.
/// The words are exact doubles; Horner's sum, reciprocal and product round at most six times,
/// relative error below 7 * 2^-53 with the bias' own rounding. The bias of 2^-50 makes the estimate
/// never too large, and too small by less than 2^49 (2^-50 + 7 * 2^-53) < 1 before truncation: the
/// quotient or one less. One conditional subtraction settles it.
constexpr double kBias = 1.0 - 0x1p-50;

template <int kWords>
inline Vec divide(Vec* x, const std::uint64_t* d, double reciprocal) {
  const __m512d two52 = _mm512_set1_pd(0x1p52);
  __m512d approximate = _mm512_cvtepi64_pd(x[kWords - 1]);
#pragma GCC unroll 4
  for (int w = kWords - 2; w >= 0; --w) {
    approximate = _mm512_fmadd_pd(approximate, two52, _mm512_cvtepi64_pd(x[w]));
  }
  const Vec quotient =
      _mm512_cvttpd_epi64(_mm512_mul_pd(approximate, _mm512_set1_pd(reciprocal * kBias)));
  Vec less[kWords];
#pragma GCC unroll 4
  for (int w = 0; w < kWords; ++w) {
    Vec product = add_low(_mm512_setzero_si512(), quotient, splat(d[w]));
    if (w > 0) product = add_high(product, quotient, splat(d[w - 1]));
    x[w] = _mm512_sub_epi64(x[w], product);
  }
  carry_signed<kWords>(x);
#pragma GCC unroll 4
  for (int w = 0; w < kWords; ++w) less[w] = _mm512_sub_epi64(x[w], splat(d[w]));
  carry_signed<kWords>(less);
  const __mmask8 exact = _mm512_movepi64_mask(less[kWords - 1]);
#pragma GCC unroll 4
  for (int w = 0; w < kWords; ++w) x[w] = _mm512_mask_mov_epi64(less[w], exact, x[w]);
  return _mm512_mask_add_epi64(quotient, static_cast<__mmask8>(~exact), quotient, splat(1));
}

/// The same for an x of `words` words, at most kWords.
template <int kWords>
inline Vec divide_words(Vec* x, int words, const std::uint64_t* d, double reciprocal) {
  if constexpr (kWords > 1) {
    if (words < kWords) return divide_words<kWords - 1>(x, words, d, reciprocal);
  }
  return divide<kWords>(x, d, reciprocal);
}

/// The same for quotients below 2^52: 26 bits at a time.
template <int kWords>
inline Vec divide_wide(Vec* x, const std::uint64_t* d, double reciprocal) {
  constexpr unsigned kHalf = kWordBits / 2;
  std::uint64_t shifted[kWords];
  std::uint64_t carry = 0;
  for (int w = 0; w < kWords; ++w) {
    shifted[w] = ((d[w] << kHalf) & kMask52) | carry;
    carry = d[w] >> (kWordBits - kHalf);
  }
  // A divisor that leaves the words is above every x: its quotient is 0, its difference negative.
  shifted[kWords - 1] += carry << kWordBits;
  const Vec high = divide<kWords>(x, shifted, reciprocal * 0x1p-26);
  return _mm512_add_epi64(_mm512_slli_epi64(high, kHalf), divide<kWords>(x, d, reciprocal));
}

template <int kLimbs, int kWords>
bool decrypt_words(const DecryptBlock& args) {
  constexpr std::uint32_t kPlaneBits = 49;  // of planes with more than one digit
  const BlockView& view = *args.view;
  const std::size_t groups = args.coefficients / kGroup;
  const WordSubtraction<kLimbs, kWords> subtract(args, groups);
  const std::size_t per_plane = view.digits_per_plane;
  const Quotient by_base(per_plane > 1 ? Quotient(view.base, kPlaneBits) : Quotient());
  const Vec base = splat(view.base.divisor);
  // A single digit of more than 48 bits has a plane of its own.
  const bool wide = per_plane == 1 && args.digits.wide != nullptr;
  // What is left for plane p is below the divisor of the plane above.
  int words[kMaxPlanes];
  for (std::size_t p = 0; p < view.plane_count; ++p) {
    words[p] = kWords;
    while (p + 1 < view.plane_count && words[p] > 1 && view.divisor[p + 1][words[p] - 1] == 0) {
      --words[p];
    }
  }
  // Where t is a power of two the limit may be 2^B itself, above every x.
  const __mmask8 all =
      kWords < static_cast<int>(kMaxWords) && view.limit[kWords % kMaxWords] != 0 ? 0xff : 0;
  __mmask8 in_range = 0xff;
  for (std::size_t g = 0; g < groups; ++g) {
    Vec x[kWords];
    subtract(g, view.half_delta, x);
    in_range = static_cast<__mmask8>(in_range & (below<kWords>(x, view.limit) | all));
    for (std::size_t p = view.plane_count; p-- > 0;) {
      Vec rest =
          wide ? divide_wide<kWords>(x, view.divisor[p], view.divisor_reciprocal[p])
               : divide_words<kWords>(x, words[p], view.divisor[p], view.divisor_reciprocal[p]);
      const std::size_t first = p * per_plane;
      const std::size_t left = view.digit_count - first;
      const std::size_t last = first + (left < per_plane ? left : per_plane) - 1;
      for (std::size_t d = first; d < last; ++d) {
        const Vec next = by_base(rest);
        const Vec taken = add_low(_mm512_setzero_si512(), next, base);
        store_digits(args.digits, d, kGroup * g, _mm512_sub_epi64(rest, taken));
        rest = next;
      }
      store_digits(args.digits, last, kGroup * g, rest);
    }
  }
  return in_range == 0xff;
}

template <int kLimbs, int kWords>
bool noise_words(const NoiseCheck& args) {
  const std::size_t groups = args.coefficients / kGroup;
  const WordSubtraction<kLimbs, kWords> subtract(args, groups);
  const std::uint64_t plus[kMaxWords] = {args.bound};
  const std::uint64_t above[kMaxWords] = {2 * args.bound + 1};
  __mmask8 within = 0xff;
  for (std::size_t g = 0; g < groups; ++g) {
    Vec x[kWords];
    subtract(g, plus, x);
    within = static_cast<__mmask8>(within & below<kWords>(x, above));
  }
  return within == 0xff;
}

/// Calls run.operator()<limbs, words>() for the view's.
template <class Run>
auto with_sizes(const BlockView& view, const Run& run) {
  if (view.limb_count == 2) {
    if (view.words == 1) return run.template operator()<2, 1>();
    return run.template operator()<2, 2>();
  }
  switch (view.words) {
    case 1:
      return run.template operator()<4, 1>();
    case 2:
      return run.template operator()<4, 2>();
    case 3:
      return run.template operator()<4, 3>();
    default:
      return run.template operator()<4, 4>();
  }
}

}  // namespace

void encrypt_block_several(const EncryptBlock& args) {
  with_sizes(*args.view, [&]<int kLimbs, int kWords> { encrypt_words<kLimbs, kWords>(args); });
}

void make_pad_several(const MakePad& args) {
  const BlockView& view = *args.view;
  const std::size_t groups = args.coefficients / kGroup;
  const ResiduePacker pack;
  for_each_error(*args.error_key, args.error_index, groups, [&](std::size_t g, Vec e) {
    for (std::size_t i = 0; i < view.limb_count; ++i) {
      const Modulus& modulus = view.modulus[i];
      const Canonical canonical(modulus);
      const RowWriter write(args.out + i * groups * kResidueBytes, kPrimeBits, groups);
      const Vec pad = _mm512_loadu_si512(args.pads + i * args.pad_stride + kGroup * g);
      const Vec u = _mm512_add_epi64(pad, _mm512_add_epi64(e, splat(modulus.q - kCbdWidth)));
      write(g, pack(canonical(u)));
    }
  });
}

void encrypt_from_pad_several(const EncryptFromPad& args) {
  with_sizes(*args.view,
             [&]<int kLimbs, int kWords> { encrypt_ready_words<kLimbs, kWords>(args); });
}

bool decrypt_block_several(const DecryptBlock& args) {
  return with_sizes(*args.view,
                    [&]<int kLimbs, int kWords> { return decrypt_words<kLimbs, kWords>(args); });
}

bool noise_in_bounds_several(const NoiseCheck& args) {
  return with_sizes(*args.view,
                    [&]<int kLimbs, int kWords> { return noise_words<kLimbs, kWords>(args); });
}

}  // namespace veilsum::isa::avx512
