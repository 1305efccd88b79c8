// Layer: isa, level avx512. The two ends of a block in one pass each: error sampling, planes, pad,
// reduction and packing without leaving registers; and unpacking, pad, Chinese remainder (Garner's
// mixed radix), rounding and exact division into planes. Eight coefficients a register, products of
// 52-bit words by IFMA. No branch or index depends on data; all loops depend on public sizes.
#include "isa/avx512/kernels_internal.h"
#include "isa/avx512/vector_ops.h"

namespace veilsum::isa::avx512 {
namespace {

/// Packed rows are written and read in order, block after block, with microseconds of work in the
/// cache between, in which memory would lie idle: what the next block of 2048 coefficients will
/// touch is asked for here, into the second-level cache. Prefetching past the end is harmless.
constexpr std::size_t kAheadBytes = 2048 / kGroup * kGroupBytes;

// --- encrypt ------------------------------------------------------------------------------------

constexpr std::uint64_t kLow21 = (std::uint64_t{1} << kCbdWidth) - 1;

/// Keystream word -> e + 21 in [0, 42]: popcount(a) - popcount(b) = popcount(a) + popcount(~b)
/// - 21.
struct ErrorSampler {
  Vec low42 = splat((kLow21 << kCbdWidth) | kLow21);
  Vec high21 = splat(kLow21 << kCbdWidth);

  Vec operator()(Vec word) const {
    return _mm512_popcnt_epi64(
        _mm512_ternarylogic_epi64(word, low42, high21, 0x6a));  // (A & B) ^ C
  }
};

/// One limb and one plane: the product with Delta is below q, so its low 52 bits are all of it.
/// pad + (e + 21) + m Delta + (q - 21) is in [q - 21, 4q): pad < 2q, (m + 1) Delta <= q, Delta
/// > 42.
struct EncryptFinish {
  ErrorSampler sampler;
  Packer packer;
  Vec q, q2, centre, delta;
  const std::uint64_t* pad;
  const std::uint64_t* plane;
  std::uint8_t* out;

  explicit EncryptFinish(const LimbView& limb)
      : q(splat(limb.modulus.q)),
        q2(splat(2 * limb.modulus.q)),
        centre(splat(limb.modulus.q - kCbdWidth)),
        delta(splat(limb.plane_scale[0])) {}

  void operator()(std::size_t i, Vec word) const {
    Vec x = _mm512_add_epi64(sampler(word), centre);
    x = _mm512_add_epi64(x, _mm512_loadu_si512(pad + 8 * i));
    x = add_low(x, _mm512_loadu_si512(plane + 8 * i), delta);
    x = reduce_once(reduce_once(x, q2), q);
    store_group(out + kGroupBytes * i, packer(x));
  }
};

template <int kRounds>
void encrypt_single(const EncryptBlock& args) {
  RoundKeys keys;
  load_round_keys<kRounds>(*args.error_key, keys);
  EncryptFinish finish(args.limbs[0]);
  const std::size_t n = args.coefficients;
  Vec next[8];
  ctr_chunk<kRounds>(keys, args.error_index, 0, next);
  std::size_t j = 0;
  for (; j + kChunk < n; j += kChunk) {
    Vec current[8];
#pragma GCC unroll 8
    for (std::size_t i = 0; i < 8; ++i) current[i] = next[i];
    ctr_start<kRounds>(keys, args.error_index, (j + kChunk) / 2, next);
    finish.pad = args.pads + j;
    finish.plane = args.planes + j;
    finish.out = args.out + j / kGroup * kGroupBytes;
#pragma GCC unroll 8
    for (std::size_t line = 0; line < 8 * kGroupBytes; line += 64) {
      __builtin_prefetch(finish.out + kAheadBytes + line, 1, 2);  // for writing
    }
    pipelined_chunk<kRounds, 0>(keys, current, next, finish);
  }
  finish.pad = args.pads + j;
  finish.plane = args.planes + j;
  finish.out = args.out + j / kGroup * kGroupBytes;
  const std::size_t groups = (n - j) / kGroup;
#pragma GCC unroll 8
  for (std::size_t i = 0; i < 8; ++i) {
    if (i < groups) finish(i, next[i]);
  }
  wipe(keys);
}

/// x + sum_p plane_p * scale_p mod q, canonical, for x below 2q and any number of planes. The
/// running sum stays below 2q between planes.
struct PlaneSum {
  const LimbView& view;
  std::size_t planes, stride;
  Vec q, q2, minus_q;
  Vec mask52 = splat(kMask52);

  template <class Args>
  PlaneSum(const Args& args, std::size_t limb)
      : view(args.limbs[limb]),
        planes(args.plane_count),
        stride(args.plane_stride),
        q(splat(view.modulus.q)),
        q2(splat(2 * view.modulus.q)),
        minus_q(splat((kMask52 + 1) - view.modulus.q)) {}

  Vec operator()(Vec x, const std::uint64_t* plane) const {
    for (std::size_t p = 0; p < planes; ++p) {
      const Vec m = _mm512_loadu_si512(plane + p * stride);
      const Vec h = add_high(_mm512_setzero_si512(), m, splat(view.plane_scale_shoup[p]));
      x = add_low(add_low(x, m, splat(view.plane_scale[p])), h, minus_q);
      x = reduce_once(_mm512_and_si512(x, mask52), q2);
    }
    return reduce_once(x, q);
  }
};

/// One limb of one chunk.
inline void encrypt_limb(const EncryptBlock& args, std::size_t limb, std::size_t j,
                         std::size_t groups, const Vec errors[8], const Packer& packer) {
  const PlaneSum add_planes(args, limb);
  const Vec centre = splat(args.limbs[limb].modulus.q - kCbdWidth);
  const std::uint64_t* pad = args.pads + limb * args.pad_stride + j;
  const std::uint64_t* plane = args.planes + j;
  std::uint8_t* out = args.out + (limb * args.coefficients + j) / kGroup * kGroupBytes;
  for (std::size_t i = 0; i < groups; ++i) {
    Vec x = _mm512_add_epi64(_mm512_add_epi64(errors[i], centre), _mm512_loadu_si512(pad + 8 * i));
    x = add_planes(reduce_once(x, add_planes.q2), plane + 8 * i);
    store_group(out + kGroupBytes * i, packer(x));
  }
}

template <int kRounds>
void encrypt_general(const EncryptBlock& args) {
  RoundKeys keys;
  load_round_keys<kRounds>(*args.error_key, keys);
  const ErrorSampler sampler;
  const Packer packer;
  Vec errors[8];
  for (std::size_t j = 0; j < args.coefficients; j += kChunk) {
    ctr_chunk<kRounds>(keys, args.error_index, j / 2, errors);
#pragma GCC unroll 8
    for (std::size_t i = 0; i < 8; ++i) errors[i] = sampler(errors[i]);
    const std::size_t left = (args.coefficients - j) / kGroup;
    const std::size_t groups = left < 8 ? left : 8;
    for (std::size_t limb = 0; limb < args.limb_count; ++limb) {
      encrypt_limb(args, limb, j, groups, errors, packer);
    }
  }
  wipe(errors);
  wipe(keys);
}

template <int kRounds>
void encrypt_any(const EncryptBlock& args) {
  if (args.limb_count == 1 && args.plane_count == 1) {
    encrypt_single<kRounds>(args);
  } else {
    encrypt_general<kRounds>(args);
  }
}

// --- add a message to a packed row ---------------------------------------------------------------

/// Replaces each group of a packed row by add(group, number), eight residues below 2^50 in a
/// register. Whole registers are read and written where another group follows: masked stores cost
/// twice as much. A store then runs over the first 14 bytes of the next group, which was read
/// before.
template <class Add>
inline void update_row(std::uint8_t* row, std::size_t groups, const Add& add) {
  const Unpacker unpacker;
  const Packer packer;
  const auto read = [&](std::size_t g) {
    const std::uint8_t* p = row + g * kGroupBytes;
    return g + 1 < groups ? _mm512_loadu_si512(p) : load_group(p);
  };
  Vec bytes = read(0);
  std::size_t g = 0;
  for (; g + 1 < groups; ++g) {
    std::uint8_t* p = row + g * kGroupBytes;
    __builtin_prefetch(p + kAheadBytes, 1, 2);  // for writing
    const Vec next = read(g + 1);
    _mm512_storeu_si512(p, packer(add(unpacker(bytes), g)));
    bytes = next;
  }
  store_group(row + g * kGroupBytes, packer(add(unpacker(bytes), g)));
}

/// One limb and one plane: x + m Delta is below 2q, see EncryptFinish.
inline void add_message_single(const AddMessage& args) {
  const Vec q = splat(args.limbs[0].modulus.q);
  const Vec delta = splat(args.limbs[0].plane_scale[0]);
  const std::uint64_t* plane = args.planes;
  update_row(args.packed, args.coefficients / kGroup, [&](Vec x, std::size_t g) {
    return reduce_once(add_low(x, _mm512_loadu_si512(plane + kGroup * g), delta), q);
  });
}

// --- decrypt, one limb --------------------------------------------------------------------------

/// Multiplier and shift for floor(x / d), x < 2^51, 2 <= d < 2^52 (Granlund & Montgomery 1994):
/// with c = ceil(log2 d) and r = ceil(2^(51+c) / d), which is below 2^52, r d - 2^(51+c) < d <=
/// 2^c, so floor(x r / 2^(51+c)) is exact. The product's high 52 bits are shifted by c - 1 more.
struct Divisor {
  Vec d, multiplier, shift;

  void set(std::uint64_t divisor) {
    const unsigned c = 64U - static_cast<unsigned>(__builtin_clzll(divisor - 1));
    const Wide top = Wide{1} << (51U + c);
    d = splat(divisor);
    multiplier = splat(static_cast<std::uint64_t>((top + divisor - 1) / divisor));
    shift = splat(c - 1);
  }
  Vec quotient(Vec x) const {
    return _mm512_srlv_epi64(add_high(_mm512_setzero_si512(), x, multiplier), shift);
  }
};

bool fits_single(const DecodeView& view) {
  if (view.limb_count != 1 || view.words != 1) return false;
  bool fits = true;
  for (std::size_t p = 0; p < view.plane_count; ++p) {
    fits = fits && view.divisor[p][0] >= 2 && view.divisor[p][0] <= kMask52;
  }
  return fits;
}

template <bool kOnePlane>
void decrypt_single(const DecryptBlock& args) {
  const DecodeView& view = *args.decode;
  const Unpacker unpacker;
  const Vec q = splat(view.modulus[0].q);
  const Vec q2 = splat(2 * view.modulus[0].q);
  const Vec half = splat(view.half_delta[0]);
  const Vec zero = _mm512_setzero_si512();
  Divisor divisors[kMaxPlanes];
  for (std::size_t p = 0; p < view.plane_count; ++p) divisors[p].set(view.divisor[p][0]);
  const Divisor lowest = divisors[0];

  const auto step = [&](std::size_t j, Vec bytes) {
    // c - pad + Delta / 2 in (-2q, 1.5q): the sum wraps when negative, and min picks x + 2q then.
    Vec x = _mm512_sub_epi64(_mm512_add_epi64(unpacker(bytes), half),
                             _mm512_loadu_si512(args.pads + j));
    x = _mm512_min_epu64(x, _mm512_add_epi64(x, q2));
    x = reduce_once(x, q);
    if constexpr (!kOnePlane) {
      for (std::size_t p = view.plane_count - 1; p > 0; --p) {
        const Vec digit = divisors[p].quotient(x);
        _mm512_storeu_si512(args.planes + p * args.plane_stride + j, digit);
        x = _mm512_sub_epi64(x, add_low(zero, digit, divisors[p].d));
      }
    }
    _mm512_storeu_si512(args.planes + j, lowest.quotient(x));
  };
  // Whole registers are read except for the last group, whose 50 bytes may end the buffer.
  std::size_t j = 0;
  const std::uint8_t* p = args.packed;
  for (; j + kGroup < args.coefficients; j += kGroup, p += kGroupBytes) {
    _mm_prefetch(reinterpret_cast<const char*>(p) + kAheadBytes, _MM_HINT_T1);
    step(j, _mm512_loadu_si512(p));
  }
  if (j < args.coefficients) step(j, load_group(p));
}

// --- decrypt, several limbs ---------------------------------------------------------------------
// Numbers are kWords registers of 52-bit words, little-endian. Differences keep a signed top word.

/// Lower words into [0, 2^52); the top word takes the carry. Words may be signed (borrows).
template <int kWords>
inline void carry(Vec* x, Vec mask52) {
#pragma GCC unroll 4
  for (int k = 0; k + 1 < kWords; ++k) {
    x[k + 1] = _mm512_add_epi64(x[k + 1], _mm512_srai_epi64(x[k], 52));
    x[k] = _mm512_and_si512(x[k], mask52);
  }
}

/// x >= y ? x - y : x; returns the mask of the lanes that were reduced.
template <int kWords, bool kKeep>
inline __mmask8 subtract_if_above(Vec* x, const std::uint64_t* y, Vec mask52) {
  Vec difference[kWords];
#pragma GCC unroll 4
  for (int k = 0; k < kWords; ++k) difference[k] = _mm512_sub_epi64(x[k], splat(y[k]));
  carry<kWords>(difference, mask52);
  const __mmask8 below = _mm512_movepi64_mask(difference[kWords - 1]);
  if constexpr (kKeep) {
#pragma GCC unroll 4
    for (int k = 0; k < kWords; ++k) x[k] = _mm512_mask_mov_epi64(difference[k], below, x[k]);
  }
  return static_cast<__mmask8>(~below);
}

/// digit = floor(x / d), x -= digit * d (when kKeep), for digits below 2^49.
/// The words are exact doubles; Horner, reciprocal and product round at most six times, relative
/// error below 7 * 2^-53 with the bias' own rounding. The bias of 2^-50 (divide_bias) makes the
/// estimate never too large, and too small by less than 2^49 (2^-50 + 7 * 2^-53) < 1 before
/// truncation: digit - 1 or digit. One conditional subtraction settles it.
constexpr double kDivideBias = 1.0 - 0x1p-50;

template <int kWords, bool kKeep>
inline Vec divide(Vec* x, const std::uint64_t* d, double biased_reciprocal, Vec mask52) {
  const __m512d two52 = _mm512_set1_pd(0x1p52);
  __m512d approximate = _mm512_cvtepi64_pd(x[kWords - 1]);
#pragma GCC unroll 4
  for (int k = kWords - 2; k >= 0; --k) {
    approximate = _mm512_fmadd_pd(approximate, two52, _mm512_cvtepi64_pd(x[k]));
  }
  const Vec digit =
      _mm512_cvttpd_epi64(_mm512_mul_pd(approximate, _mm512_set1_pd(biased_reciprocal)));
#pragma GCC unroll 4
  for (int k = 0; k < kWords; ++k) {
    Vec product = add_low(_mm512_setzero_si512(), digit, splat(d[k]));
    if (k > 0) product = add_high(product, digit, splat(d[k - 1]));
    x[k] = _mm512_sub_epi64(x[k], product);
  }
  carry<kWords>(x, mask52);
  const __mmask8 one_more = subtract_if_above<kWords, kKeep>(x, d, mask52);
  return _mm512_mask_add_epi64(digit, one_more, digit, splat(1));
}

/// The same with the number of words known at run time, at most kWords.
template <int kWords, bool kKeep>
inline Vec divide_words(Vec* x, int words, const std::uint64_t* d, double reciprocal, Vec mask52) {
  if constexpr (kWords > 1) {
    if (words < kWords) return divide_words<kWords - 1, kKeep>(x, words, d, reciprocal, mask52);
  }
  return divide<kWords, kKeep>(x, d, reciprocal, mask52);
}

/// How many words a remainder modulo `divisor` can fill.
int used_words(const std::uint64_t* divisor, int words) {
  while (words > 1 && divisor[words - 1] == 0) --words;
  return words;
}

template <int kLimbs, int kWords>
void decrypt_multi(const DecryptBlock& args) {
  const DecodeView& view = *args.decode;
  const Unpacker unpacker;
  const Vec mask52 = splat(kMask52);
  const std::size_t row_bytes = args.coefficients / kGroup * kGroupBytes;
  const std::size_t planes = view.plane_count;
  int words[kMaxPlanes];  // of X when plane p is its turn
  double reciprocal[kMaxPlanes];
  for (std::size_t p = 0; p < planes; ++p) {
    words[p] = p + 1 == planes ? kWords : used_words(view.divisor[p + 1], kWords);
    reciprocal[p] = view.divisor_reciprocal[p] * kDivideBias;
  }
  for (std::size_t j = 0; j < args.coefficients; j += kGroup) {
    Vec digit[kLimbs];
    Vec x[kWords];
#pragma GCC unroll 4
    for (int k = 0; k < kWords; ++k) x[k] = splat(view.half_delta[k]);
#pragma GCC unroll 4
    for (int i = 0; i < kLimbs; ++i) {
      const Vec q = splat(view.modulus[i].q);
      const Vec q2 = splat(2 * view.modulus[i].q);
      const Vec minus_q = splat((kMask52 + 1) - view.modulus[i].q);
      const std::size_t limb = static_cast<std::size_t>(i);
      const Vec c = unpacker(load_group(args.packed + limb * row_bytes + j / kGroup * kGroupBytes));
      // (-2q, q) -> [0, 2q); the products below take any t < 2q, and v_k < 2^50 < 2q.
      Vec t = _mm512_sub_epi64(c, _mm512_loadu_si512(args.pads + limb * args.pad_stride + j));
      t = _mm512_min_epu64(t, _mm512_add_epi64(t, q2));
#pragma GCC unroll 4
      for (int k = 0; k < i; ++k) {
        t = multiply_dirty(_mm512_sub_epi64(_mm512_add_epi64(t, q2), digit[k]),
                           splat(view.garner[i][k]), splat(view.garner_shoup[i][k]), minus_q);
      }
      digit[i] = reduce_once(_mm512_and_si512(t, mask52), q);
      if (i == 0) {
        x[0] = _mm512_add_epi64(x[0], digit[0]);
      } else {
        // q_0 ... q_(i-1) fills i words at most
#pragma GCC unroll 4
        for (int k = 0; k < i; ++k) {
          const Vec factor = splat(view.prefix[i][k]);
          x[k] = add_low(x[k], digit[i], factor);
          if (k + 1 < kWords) x[k + 1] = add_high(x[k + 1], digit[i], factor);
        }
      }
    }
    carry<kWords>(x, mask52);
    subtract_if_above<kWords, true>(x, view.modulus_words, mask52);
    for (std::size_t p = planes - 1; p > 0; --p) {
      _mm512_storeu_si512(
          args.planes + p * args.plane_stride + j,
          divide_words<kWords, true>(x, words[p], view.divisor[p], reciprocal[p], mask52));
    }
    _mm512_storeu_si512(args.planes + j, divide_words<kWords, false>(x, words[0], view.divisor[0],
                                                                     reciprocal[0], mask52));
  }
}

}  // namespace

void encrypt_block(const EncryptBlock& args) {
  if (args.coefficients == 0) return;
  if (args.error_key->rounds == 10) {
    encrypt_any<10>(args);
  } else {
    encrypt_any<14>(args);
  }
}

void add_message(const AddMessage& args) {
  if (args.coefficients == 0) return;
  if (args.limb_count == 1 && args.plane_count == 1) return add_message_single(args);
  const std::size_t groups = args.coefficients / kGroup;
  for (std::size_t limb = 0; limb < args.limb_count; ++limb) {
    const PlaneSum add_planes(args, limb);
    update_row(args.packed + limb * groups * kGroupBytes, groups,
               [&](Vec x, std::size_t g) { return add_planes(x, args.planes + kGroup * g); });
  }
}

void decrypt_block(const DecryptBlock& args) {
  const DecodeView& view = *args.decode;
  if (fits_single(view)) {
    if (view.plane_count == 1) {
      decrypt_single<true>(args);
    } else {
      decrypt_single<false>(args);
    }
    return;
  }
  switch (view.limb_count) {
    case 1:
      return decrypt_multi<1, 1>(args);
    case 2:
      return decrypt_multi<2, 2>(args);
    case 3:
      return decrypt_multi<3, 4>(args);
    default:
      return decrypt_multi<4, 4>(args);
  }
}

}  // namespace veilsum::isa::avx512
