// Layer: isa, level avx2. Encryption for plans with several limbs: what blocks.cpp does for one. A
// pass goes from pad, error and message to y_i = u_i hat_i mod q_i at once: the factors of `lift`
// and of `round` are one, and u itself is never made. The names are those of isa::BlockView. No
// branch or index depends on data; all loops depend on public sizes.
#include "isa/avx2/kernels_internal.h"
#include "isa/avx2/limb_words.h"

namespace veilsum::isa::avx2 {
namespace {

/// The message's part: low = sum_p M_p plane_scale[p] mod 2^B, in limb words.
template <int kLimbs>
struct WideMessage {
  const BlockView& view;
  Real base;
  double scale[kMaxPlanes][kLimbs];
  std::uint64_t none[kLimbs + 1] = {};
  Vec mask[kLimbs];

  explicit WideMessage(const BlockView& block)
      : view(block), base(splat(static_cast<double>(block.base.divisor))) {
    for (unsigned w = 0; w < kLimbs; ++w) {
      for (std::size_t p = 0; p < block.plane_count; ++p) {
        scale[p][w] = limb_word(block.plane_scale[p], w);
      }
      const unsigned begin = kPrimeBits * w;
      const unsigned bits = block.bits > begin ? block.bits - begin : 0;
      mask[w] = splat(bits < kPrimeBits ? (std::uint64_t{1} << bits) - 1 : kLimbWord - 1);
    }
  }
  /// Plane p of sixteen coefficients. Planes of several digits have a base of at most 2^24, single
  /// digits have up to 32 bits.
  [[gnu::always_inline]] void plane(const std::uint32_t* digits, std::size_t stride, std::size_t p,
                                    Real* m) const {
    const std::size_t first = p * view.digits_per_plane;
    const std::size_t left = view.digit_count - first;
    std::size_t d = left < view.digits_per_plane ? left : view.digits_per_plane;
    digits += (first + d - 1) * stride;
    if (view.digits_per_plane == 1) {
#pragma GCC unroll 4
      for (std::size_t i = 0; i < kBatch; ++i) m[i] = unsigned_digits(digits + 4 * i);
      return;
    }
#pragma GCC unroll 4
    for (std::size_t i = 0; i < kBatch; ++i) m[i] = signed_digits(digits + 4 * i);
    while (--d != 0) {
      digits -= stride;
#pragma GCC unroll 4
      for (std::size_t i = 0; i < kBatch; ++i) {
        m[i] = _mm256_fmadd_pd(m[i], base, signed_digits(digits + 4 * i));
      }
    }
  }
  /// Limb words of `low` for the digits of sixteen coefficients.
  [[gnu::always_inline]] void operator()(const std::uint32_t* digits, std::size_t stride,
                                         Real (*low)[kBatch]) const {
    ProductSum sums[kLimbs][kBatch];
    Real m[kBatch];
    plane(digits, stride, 0, m);
#pragma GCC unroll 4
    for (int w = 0; w < kLimbs; ++w) {
      const Real factor = _mm256_broadcast_sd(&scale[0][w]);
#pragma GCC unroll 4
      for (std::size_t i = 0; i < kBatch; ++i) sums[w][i].begin(splat(kLimbStart), m[i], factor);
    }
    for (std::size_t p = 1; p < view.plane_count; ++p) {
      plane(digits, stride, p, m);
#pragma GCC unroll 4
      for (int w = 0; w < kLimbs; ++w) {
        const Real factor = _mm256_broadcast_sd(&scale[p][w]);
#pragma GCC unroll 4
        for (std::size_t i = 0; i < kBatch; ++i) sums[w][i].add(m[i], factor);
      }
    }
    Vec words[kLimbs][kBatch];
    Vec carry[kBatch];
    carry_words<kLimbs>(sums, none, mask, words, carry);
#pragma GCC unroll 4
    for (int w = 0; w < kLimbs; ++w) {
#pragma GCC unroll 4
      for (std::size_t i = 0; i < kBatch; ++i) low[w][i] = to_real(words[w][i]);
    }
  }
};

template <int kLimbs, int kWords>
struct WideEncryptor {
  const BlockView& view;
  Limbs limbs;
  WideRounding<kLimbs> rounding;
  WideMessage<kLimbs> message;
  double hat[kLimbs];
  double scale[kLimbs][kLimbs];  ///< lift_scale times hat, by limb words
  RowTables<FieldStorer> rows;

  WideEncryptor(const BlockView& block, std::size_t coefficients)
      : view(block),
        limbs(block, kCbdWidth),
        rounding(block),
        message(block),
        rows(block, coefficients) {
    for (int i = 0; i < kLimbs; ++i) {
      const std::uint64_t q = block.modulus[i].q;
      hat[i] = centred(block.hat_inverse[i], q);
      std::uint64_t x = multiply_public(block.lift_scale[i][0], block.hat_inverse[i], q);
      for (int w = 0; w < kLimbs; ++w) {
        scale[i][w] = centred(x, q);
        x = multiply_public(x, block.modulus[i].delta, q);  // 2^48 = delta
      }
    }
  }

  /// y = (y + sum_w low_w lift_scale_w) hat mod q, in [0, q), for |y| <= 4q + 8.
  [[gnu::always_inline]] void lift(Real (*low)[kBatch], int limb, Real* y) const {
    const Field& field = limbs.field[limb];
    ProductSum sum[kBatch];
#pragma GCC unroll 4
    for (std::size_t i = 0; i < kBatch; ++i) {
      sum[i].begin(splat(kResidueStart), y[i], _mm256_broadcast_sd(&hat[limb]));
    }
#pragma GCC unroll 4
    for (int w = 0; w < kLimbs; ++w) {
      const Real factor = _mm256_broadcast_sd(&scale[limb][w]);
#pragma GCC unroll 4
      for (std::size_t i = 0; i < kBatch; ++i) sum[i].add(low[w][i], factor);
    }
    // Below 2^98: a quotient below 2^50. With the rests, 5 * 2^46, the remainder is below 2q.
#pragma GCC unroll 4
    for (std::size_t i = 0; i < kBatch; ++i) {
      const Real high = _mm256_sub_pd(sum[i].high, splat(kResidueStart));
      y[i] = _mm256_add_pd(field.reduce(high), sum[i].low);
    }
#pragma GCC unroll 4
    for (std::size_t i = 0; i < kBatch; ++i) y[i] = field.canonical(y[i]);
  }

  /// load_x(limb, i): pad and error of coefficients 4i ... 4i + 3. out(w): where row w goes.
  template <class LoadX, class Out>
  void sixteen(const LoadX& load_x, const std::uint32_t* digits, std::size_t stride,
               const Out& out) const {
    Real y[kLimbs][kBatch];
    Real low[kLimbs][kBatch];
    if (digits != nullptr) message(digits, stride, low);
#pragma GCC unroll 4
    for (int limb = 0; limb < kLimbs; ++limb) {
#pragma GCC unroll 4
      for (std::size_t i = 0; i < kBatch; ++i) y[limb][i] = load_x(limb, i);
      if (digits != nullptr) {
        lift(low, limb, y[limb]);
      } else {
        limbs.multiply_canonical(y[limb], limb, _mm256_broadcast_sd(&hat[limb]));
      }
    }
    Vec fields[kWords][kBatch];
    rounding.template operator()<kWords>(y, fields);
#pragma GCC unroll 4
    for (int w = 0; w < kWords; ++w) {
#pragma GCC unroll 4
      for (std::size_t i = 0; i < kBatch; ++i) {
        fields[w][i] = _mm256_and_si256(fields[w][i], splat(view.fields[w]->mask));
      }
      rows.of[w].store_natural(out(w), fields[w]);
    }
  }

  /// The same for coefficients j ... j + 15 of a block, of which `left` are there.
  template <class LoadX>
  void at(std::size_t j, std::size_t left, const LoadX& load_x, const std::uint32_t* digits,
          std::size_t stride, std::size_t coefficients, std::uint8_t* out) const {
    std::uint8_t bytes[kWords][kBounce + 8];
    const auto in_place = [&](int w) {
      const RowEnd end(coefficients, rows.of[w].bits());
      return left == kSixteen && end.has_room(j) && end.bits >= 8;
    };
    const auto place = [&](int w) { return out + rows.begin[w] + j / kGroup * rows.of[w].bits(); };
    const auto to = [&](int w) { return in_place(w) ? place(w) : bytes[w]; };
    if (digits != nullptr && left != kSixteen) {
      DigitBounce bounce(digits + j, stride, view.digit_count, left);
      sixteen(load_x, bounce.digits[0], kSixteen, to);
      wipe(bounce);
    } else {
      sixteen(load_x, digits == nullptr ? nullptr : digits + j, stride, to);
    }
    for (int w = 0; w < kWords; ++w) {
      if (in_place(w)) {
        prefetch_write(place(w) + RowEnd(coefficients, rows.of[w].bits()).bytes);
      } else {
        std::memcpy(place(w), bytes[w], RowEnd(coefficients, rows.of[w].bits()).left(j));
      }
    }
  }
};

template <int kLimbs, int kWords>
void encrypt_wide(const EncryptBlock& args) {
  const BlockView& view = *args.view;
  const WideEncryptor<kLimbs, kWords> encryptor(view, args.coefficients);
  const auto work = [&](std::size_t j, const std::int16_t* errors) {
    const auto encrypt = [&](const std::uint64_t* pads, std::size_t stride, std::size_t left) {
      const auto load_x = [&](int limb, std::size_t i) {
        const std::size_t row = static_cast<std::size_t>(limb) * stride;
        const Vec e = _mm256_add_epi64(load_errors(errors + 4 * i), splat(kTwo52Bits + kCbdWidth));
        return _mm256_sub_pd(real_of(_mm256_add_epi64(clean(load(pads + row + 4 * i)), e)),
                             encryptor.limbs.centre[limb]);
      };
      encryptor.at(j, left, load_x, args.digits, args.digit_stride, args.coefficients, args.out);
    };
    const std::size_t left = left_of(args.coefficients, j);
    if (__builtin_expect(left == kSixteen, 1)) {
      encrypt(args.pads + j, args.pad_stride, left);
    } else {
      PadBounce bounce(args.pads + j, args.pad_stride, kLimbs, left);
      encrypt(bounce.pads[0], kSixteen, left);
      wipe(bounce);
    }
  };
  with_errors(*args.error_key, args.error_index, args.coefficients, work);
}

template <int kLimbs, int kWords>
void encrypt_from_pad_wide(const EncryptFromPad& args) {
  const BlockView& view = *args.view;
  const WideEncryptor<kLimbs, kWords> encryptor(view, args.coefficients);
  const std::size_t row_bytes = args.coefficients / kGroup * kResidueBytes;
  const auto encrypt = [&](std::size_t j, std::size_t left, const std::uint8_t* pad,
                           std::size_t stride) {
    const auto load_x = [&](int limb, std::size_t i) {
      return to_real(load_residues(pad + static_cast<std::size_t>(limb) * stride + 24 * i));
    };
    encryptor.at(j, left, load_x, args.digits, args.digit_stride, args.coefficients, args.out);
  };
  for (std::size_t j = 0; j < args.coefficients; j += kSixteen) {
    const std::size_t left = left_of(args.coefficients, j);
    const std::uint8_t* pad = args.pad + j / kGroup * kResidueBytes;
    if (__builtin_expect(left == kSixteen, 1)) {
      prefetch_read(pad + row_bytes);
      encrypt(j, left, pad, row_bytes);
      continue;
    }
    std::uint8_t bounce[kLimbs][2 * kResidueBytes] = {};
    for (std::size_t i = 0; i < kLimbs; ++i) {
      std::memcpy(bounce[i], pad + i * row_bytes, left / kGroup * kResidueBytes);
    }
    encrypt(j, left, bounce[0], sizeof bounce[0]);
    wipe(bounce);
  }
}

}  // namespace

void encrypt_several(const EncryptBlock& args) {
  with_shape(*args.view, [&]<int kLimbs, int kWords> { encrypt_wide<kLimbs, kWords>(args); });
}

void make_pad_several(const MakePad& args) {
  const BlockView& view = *args.view;
  const Limbs limbs(view);
  const RowEnd end(args.coefficients, kPrimeBits);
  const auto work = [&](std::size_t j, const std::int16_t* errors) {
    const std::size_t left = left_of(args.coefficients, j);
    for (std::size_t limb = 0; limb < view.limb_count; ++limb) {
      const PadStorer storer(limbs.field[limb], view.modulus[limb].q);
      const std::uint64_t* pads = args.pads + limb * args.pad_stride + j;
      std::uint8_t* out = args.out + limb * end.bytes + j / kGroup * kResidueBytes;
      if (__builtin_expect(left == kSixteen && end.has_room(j), 1)) {
        storer(pads, errors, out);
        continue;
      }
      PadBounce bounce(pads, 0, 1, left);
      alignas(32) std::uint8_t bytes[2 * kResidueBytes + 32];
      storer(bounce.pads[0], errors, bytes);
      std::memcpy(out, bytes, end.left(j));
      wipe(bounce);
      wipe(bytes);
    }
  };
  with_errors(*args.error_key, args.error_index, args.coefficients, work);
}

void encrypt_from_pad_several(const EncryptFromPad& args) {
  with_shape(*args.view,
             [&]<int kLimbs, int kWords> { encrypt_from_pad_wide<kLimbs, kWords>(args); });
}

}  // namespace veilsum::isa::avx2
