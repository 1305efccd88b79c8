// Layer: isa, level avx512. The two ends of a block of one limb, each in one pass that leaves the
// registers only for its result: digits to message, lift, pad, error, canonical residue, rounding,
// packing; and unpacking, rounding of the pad, exact division into digits. Eight coefficients a
// register, products of 52-bit words by IFMA. `lift` and `round` are isa::BlockView's; several
// limbs are several_limbs.cpp's. No branch or index depends on data, all loops on public sizes.
#include "isa/avx512/kernels_internal.h"
#include "isa/avx512/vector_ops.h"

namespace veilsum::isa::avx512 {
namespace {

// What runs for every group is inlined by force: compilers stop by themselves after so many copies
// for all numbers of digits, and a call here costs a third of the kernel.

// Both functions take floor((x >> 21) delta / 2^27): the high word of x >> 21, below 2^27, times
// delta * 2^25, below 2^49.
constexpr unsigned kDropped = 21;
inline Vec ratio_of(const Modulus& modulus) { return splat(modulus.delta << 25); }

/// u -> a word whose bits from 48 - B on are round(u) - `minus`, modulo 2^B.
struct Rounding {
  Vec ratio, offset;

  Rounding(const BlockView& view, std::uint64_t minus) : ratio(ratio_of(view.modulus[0])) {
    const std::uint32_t low = kPrimeBits - view.bits;
    offset = splat((std::uint64_t{1} << (low - 1)) - (minus << low));
  }
  Vec operator()(Vec u) const {
    return add_high(_mm512_add_epi64(u, offset), _mm512_srli_epi64(u, kDropped), ratio);
  }
};

constexpr int kAnyDigits = -1;

/// Messages of kDigits digits, or of as many as the plan has. x * 2^(48 - B) = Delta m 2^(48 - B)
/// comes at once, its scales shifted: below 2^48.
template <int kDigits>
struct Message {
  std::uint64_t scales[kDigits == kAnyDigits ? kMaxDigits : kDigits == 0 ? 1 : kDigits];
  const std::uint32_t* digits;
  std::size_t stride, count;

  Message(const BlockView& view, const std::uint32_t* rows, std::size_t row_stride)
      : digits(rows), stride(row_stride), count(rows == nullptr ? 0 : view.digit_count) {
    for (std::size_t d = 0; d < count; ++d) {
      scales[d] = view.digit_scale[d] << (kPrimeBits - view.bits);
    }
  }
  Vec operator()(std::size_t j) const {
    Vec x = _mm512_setzero_si512();
    if constexpr (kDigits == kAnyDigits) {
      for (std::size_t d = 0; d < count; ++d) {
        x = add_low(x, load_digits(digits + d * stride + j), splat(scales[d]));
      }
    } else {
#pragma GCC unroll 4
      for (std::size_t d = 0; d < static_cast<std::size_t>(kDigits); ++d) {
        x = add_low(x, load_digits(digits + d * stride + j), splat(scales[d]));
      }
    }
    return x;
  }
};

/// u + lift(x) + `constant`, dirty. The sum with the constant costs nothing: it is where the high
/// product starts from, negated.
template <int kDigits>
struct Lift {
  Message<kDigits> message;
  Vec ratio, constant, minus_constant;

  Lift(const BlockView& view, const std::uint32_t* digits, std::size_t stride, std::uint64_t plus)
      : message(view, digits, stride),
        ratio(ratio_of(view.modulus[0])),
        constant(splat(plus)),
        minus_constant(splat(0 - plus)) {}
  Vec operator()(Vec u, std::size_t j) const {
    if constexpr (kDigits == 0) return _mm512_add_epi64(u, constant);
    const Vec x = message(j);
    const Vec high = add_high(minus_constant, _mm512_srli_epi64(x, kDropped), ratio);
    return _mm512_add_epi64(u, _mm512_sub_epi64(x, high));
  }
};

/// The last steps: canonical residue -> the group's bytes. A rotation brings the rounded bits to
/// the window that Packer wants; bits beside them fall away there.
struct PackRounded {
  Rounding round;
  Packer pack;
  Vec rotate;

  explicit PackRounded(const BlockView& view)
      : round(view, 0),
        pack(*view.fields[0]),
        rotate(
            _mm512_sub_epi64(splat(kPrimeBits - view.bits), Packer::first_bit(*view.fields[0]))) {}
  Vec operator()(Vec u) const { return pack(_mm512_rorv_epi64(round(u), rotate)); }
};

// --- with errors --------------------------------------------------------------------------------

constexpr std::size_t kChunkGroups = 8;  ///< whose errors are two registers of keystream

/// What the next block will touch is asked for while this one is worked on: blocks read and write
/// memory in bursts, with microseconds in the cache between, in which memory would lie idle. Blocks
/// follow each other, so it begins a row further. Asking past the end is harmless.
inline void prefetch_to_write(const RowWriter& row, std::size_t group, std::size_t ahead) {
  __builtin_prefetch(row.row + group * row.bits + ahead, 1, 2);
}

/// Groups kStep ... 7 of a chunk: bytes(group, e + 8), beside the AES of the next chunk.
template <int kRounds, int kStep, class Bytes>
[[gnu::always_inline]] inline void error_chunk(const RoundKeys& keys, const Vec* samples, Vec* next,
                                               const Bytes& bytes, const RowWriter& row,
                                               std::size_t group, std::size_t ahead) {
  constexpr int kOperations = 2 * kRounds;
  prefetch_to_write(row, group + kStep, ahead);
  const Vec e = spread_samples(kStep % 4, samples[kStep / 4]);
  _mm512_storeu_si512(row.row + (group + kStep) * row.bits, bytes(group + kStep, e));
  ctr_advance<kRounds, 2, kOperations * kStep / 8, kOperations*(kStep + 1) / 8>(keys, next);
  if constexpr (kStep < 7) {
    error_chunk<kRounds, kStep + 1>(keys, samples, next, bytes, row, group, ahead);
  }
}

/// Writes bytes(group, e + 8) for all groups of a row.
template <int kRounds, class Bytes>
[[gnu::always_inline]] inline void write_with_errors(const AesKey& key, std::uint64_t index,
                                                     const RowWriter& row, std::size_t groups,
                                                     const Bytes& bytes) {
  const ErrorKeys<kRounds> keys(key);
  CounterStream counters(keys.round, index, 0);
  const std::size_t ahead = groups * row.bits;
  Vec next[2];
  counters.next(next[0], next[1]);
  ctr_advance<kRounds, 2, 0, 2 * kRounds>(keys.round, next);
  std::size_t g = 0;
  for (; g + kChunkGroups <= row.whole; g += kChunkGroups) {
    const Vec samples[2] = {_mm512_popcnt_epi16(next[0]), _mm512_popcnt_epi16(next[1])};
    counters.next(next[0], next[1]);
    error_chunk<kRounds, 0>(keys.round, samples, next, bytes, row, g, ahead);
  }
  while (g < groups) {
    const Vec samples[2] = {_mm512_popcnt_epi16(next[0]), _mm512_popcnt_epi16(next[1])};
    for (std::size_t i = 0; i < kChunkGroups && g < groups; ++i, ++g) {
      row(g, bytes(g, spread_samples(i % 4, samples[i / 4])));
    }
    counters.next(next[0], next[1]);
    ctr_advance<kRounds, 2, 0, 2 * kRounds>(keys.round, next);
  }
}

/// Pad below 8q, error + 8 at most 16, lifted message below q, and q - 8: below 11q.
template <int kRounds, int kDigits>
void encrypt(const EncryptBlock& args) {
  const BlockView& view = *args.view;
  const std::size_t groups = args.coefficients / kGroup;
  const Lift<kDigits> lift(view, args.digits, args.digit_stride, view.modulus[0].q - kCbdWidth);
  const Canonical canonical(view.modulus[0]);
  const PackRounded pack(view);
  const std::uint64_t* pads = args.pads;
  write_with_errors<kRounds>(
      *args.error_key, args.error_index, RowWriter(args.out, view.bits, groups), groups,
      [&](std::size_t group, Vec e) __attribute__((always_inline)) {
        const Vec u = _mm512_add_epi64(e, _mm512_loadu_si512(pads + kGroup * group));
        return pack(canonical(lift(u, kGroup * group)));
      });
}

template <int kRounds>
void make_pad_rounds(const MakePad& args) {
  const Modulus& modulus = args.view->modulus[0];
  const std::size_t groups = args.coefficients / kGroup;
  const Vec centre = splat(modulus.q - kCbdWidth);
  const Canonical canonical(modulus);
  const ResiduePacker pack;
  const std::uint64_t* pads = args.pads;
  write_with_errors<kRounds>(
      *args.error_key, args.error_index, RowWriter(args.out, kPrimeBits, groups), groups,
      [&](std::size_t group, Vec e) __attribute__((always_inline)) {
        const Vec u = _mm512_add_epi64(e, _mm512_loadu_si512(pads + kGroup * group));
        return pack(canonical(_mm512_add_epi64(u, centre)));
      });
}

/// From the second-level cache to the first one.
constexpr std::size_t kSoonBytes = 768;

/// u and the lifted message are both below q. Of all kernels this one has the least to compute for
/// a byte of memory, so it asks for everything twice: into the second-level cache a block ahead,
/// the next values included, which quantising takes faster than memory gives them, and from there
/// into the first one a dozen lines ahead.
template <int kDigits>
void encrypt_ready(const EncryptFromPad& args) {
  const BlockView& view = *args.view;
  const std::size_t groups = args.coefficients / kGroup;
  const Lift<kDigits> lift(view, args.digits, args.digit_stride, 0);
  const ResidueUnpacker unpack;
  const PackRounded pack(view);
  const Vec q = splat(view.modulus[0].q);
  const RowReader read(args.pad, kPrimeBits, groups);
  const RowWriter write(args.out, view.bits, groups);
  const auto bytes = [&](std::size_t g, Vec residues) __attribute__((always_inline)) {
    return pack(reduce_once(lift(unpack(residues), kGroup * g), q));
  };
  const std::size_t ahead = groups * write.bits;
  const std::size_t read_ahead = groups * read.bits;
  const std::size_t whole = read.whole < write.whole ? read.whole : write.whole;
  Lines values(args.ahead.read, args.ahead.read_bytes, groups + 1);
  std::size_t g = 0;
  for (; g < whole; ++g) {
    const std::uint8_t* from = read.row + g * read.bits;
    std::uint8_t* to = write.row + g * write.bits;
    values.read();
    _mm_prefetch(reinterpret_cast<const char*>(from + read_ahead), _MM_HINT_T1);
    _mm_prefetch(reinterpret_cast<const char*>(from + kSoonBytes), _MM_HINT_T0);
    prefetch_to_write(write, g, ahead);
    __builtin_prefetch(to + kSoonBytes, 1, 3);
    _mm512_storeu_si512(to, bytes(g, _mm512_loadu_si512(from)));
  }
  for (; g < groups; ++g) write(g, bytes(g, read(g)));
}

// --- back ---------------------------------------------------------------------------------------

/// field - round(pad) + plus modulo 2^B.
struct PadSubtraction {
  Unpacker unpack;
  Canonical canonical;
  Rounding round;
  Vec low, mask;

  PadSubtraction(const BlockView& view, std::uint64_t plus)
      : unpack(*view.fields[0]),
        canonical(view.modulus[0]),
        round(view, plus),
        low(splat(kPrimeBits - view.bits)),
        mask(splat(view.fields[0]->mask)) {}
  Vec operator()(Vec bytes, const std::uint64_t* pads) const {
    const Vec pad = _mm512_srlv_epi64(round(canonical(_mm512_loadu_si512(pads))), low);
    return _mm512_and_si512(_mm512_sub_epi64(unpack(bytes), pad), mask);
  }
};

/// Bits of m = floor(x / Delta), x < 2^B, for Delta >= 2.
inline std::uint32_t message_bits(const BlockView& view) {
  return view.bits - (view.delta.shift - 1);
}

/// kDigits digits of at most 31 bits, Delta >= 2. Groups go in pairs, so that sixteen digits are
/// one register. The range check falls to the topmost digit: x is below Delta t^L when it is below
/// t; and as Delta is floor(2^B / t^L) it is below 2t in any case. kShift: see Quotient.
template <int kDigits, bool kShift>
bool decrypt_narrow(const DecryptBlock& args) {
  alignas(64) static constexpr std::uint32_t kEven[16] = {0,  2,  4,  6,  8,  10, 12, 14,
                                                          16, 18, 20, 22, 24, 26, 28, 30};
  const BlockView& view = *args.view;
  const std::size_t groups = args.coefficients / kGroup;
  const PadSubtraction subtract(view, view.half_delta[0]);
  const Quotient by_delta(view.delta, view.bits);
  const Quotient by_base(kDigits > 1 ? Quotient(view.base, message_bits(view)) : Quotient());
  const std::uint64_t base = kDigits > 1 ? view.base.divisor : 0;
  const Vec minus_base = splat((kMask52 + 1) - base);
  const Vec even = _mm512_load_si512(kEven);
  const RowReader read(args.packed, view.bits, groups);
  const std::uint64_t* pads = args.pads;
  std::uint32_t* rows = args.digits.narrow;
  const std::size_t stride = args.digits.stride;
  const char* ahead = reinterpret_cast<const char*>(read.row) + groups * read.bits;
  Vec largest = _mm512_setzero_si512();

  // The low 32 bits of each word are the digit.
  const auto split = [&](Vec x, Vec* digits) __attribute__((always_inline)) {
    Vec rest = kShift ? by_delta(x) : by_delta.unshifted(x);
#pragma GCC unroll 8
    for (int d = 0; d + 1 < kDigits; ++d) {
      const Vec next = by_base(rest);
      digits[d] = add_low(rest, next, minus_base);
      rest = next;
    }
    digits[kDigits - 1] = rest;
  };
  const auto pair = [&](std::size_t g, Vec first, Vec second) __attribute__((always_inline)) {
    Vec low[kDigits];
    Vec high[kDigits];
    split(subtract(first, pads + kGroup * g), low);
    split(subtract(second, pads + kGroup * (g + 1)), high);
#pragma GCC unroll 8
    for (int d = 0; d < kDigits; ++d) {
      const Vec both = _mm512_permutex2var_epi32(low[d], even, high[d]);
      if (d == kDigits - 1) largest = _mm512_max_epu32(largest, both);
      _mm512_storeu_si512(rows + static_cast<std::size_t>(d) * stride + kGroup * g, both);
    }
  };
  std::size_t g = 0;
  for (; g + 2 <= read.whole; g += 2) {
    const std::uint8_t* at = read.row + g * read.bits;
    _mm_prefetch(ahead + g * read.bits, _MM_HINT_T1);
    _mm_prefetch(ahead + (g + 1) * read.bits, _MM_HINT_T1);
    pair(g, _mm512_loadu_si512(at), _mm512_loadu_si512(at + read.bits));
  }
  for (; g + 2 <= groups; g += 2) pair(g, read(g), read(g + 1));
  if (g < groups) {
    Vec low[kDigits];
    split(subtract(read(g), pads + kGroup * g), low);
#pragma GCC unroll 8
    for (int d = 0; d < kDigits; ++d) {
      const Vec eight = _mm512_maskz_permutexvar_epi32(0xff, even, low[d]);
      if (d == kDigits - 1) largest = _mm512_max_epu32(largest, eight);
      _mm256_storeu_si256(
          reinterpret_cast<__m256i*>(rows + static_cast<std::size_t>(d) * stride + kGroup * g),
          _mm512_castsi512_si256(eight));
    }
  }
  // t^L Delta = limit, also where there is no base.
  const std::uint64_t top = kDigits > 1 ? view.base.divisor : view.limit[0] / view.delta.divisor;
  return _mm512_cmpge_epu32_mask(largest, _mm512_set1_epi32(static_cast<int>(top))) == 0;
}

/// Any plan of one limb.
bool decrypt_any(const DecryptBlock& args) {
  const BlockView& view = *args.view;
  const std::size_t groups = args.coefficients / kGroup;
  const PadSubtraction subtract(view, view.half_delta[0]);
  const bool divides = view.delta.divisor > 1;
  const Quotient by_delta(divides ? Quotient(view.delta, view.bits) : Quotient());
  const Quotient by_base(view.digit_count > 1
                             ? Quotient(view.base, divides ? message_bits(view) : view.bits)
                             : Quotient());
  const Vec base = splat(view.base.divisor);
  const RowReader read(args.packed, view.bits, groups);
  Vec largest = _mm512_setzero_si512();
  for (std::size_t g = 0; g < groups; ++g) {
    const std::size_t j = kGroup * g;
    const Vec x = subtract(read(g), args.pads + j);
    largest = _mm512_max_epu64(largest, x);
    Vec rest = divides ? by_delta(x) : x;
    for (std::size_t d = 0; d + 1 < view.digit_count; ++d) {
      const Vec next = by_base(rest);
      const Vec taken = add_low(_mm512_setzero_si512(), next, base);
      store_digits(args.digits, d, j, _mm512_sub_epi64(rest, taken));
      rest = next;
    }
    store_digits(args.digits, view.digit_count - 1, j, rest);
  }
  return _mm512_cmpge_epu64_mask(largest, splat(view.limit[0])) == 0;
}

template <bool kShift>
bool decrypt_digits(const DecryptBlock& args) {
  switch (args.view->digit_count) {
    case 1:
      return decrypt_narrow<1, kShift>(args);
    case 2:
      return decrypt_narrow<2, kShift>(args);
    case 3:
      return decrypt_narrow<3, kShift>(args);
    case 4:
      return decrypt_narrow<4, kShift>(args);
    case 5:
      return decrypt_narrow<5, kShift>(args);
    case 6:
      return decrypt_narrow<6, kShift>(args);
    case 7:
      return decrypt_narrow<7, kShift>(args);
    case 8:
      return decrypt_narrow<8, kShift>(args);
    default:
      return decrypt_any(args);
  }
}

template <int kRounds>
void encrypt_rounds(const EncryptBlock& args) {
  if (args.digits == nullptr) return encrypt<kRounds, 0>(args);
  switch (args.view->digit_count) {
    case 1:
      return encrypt<kRounds, 1>(args);
    case 2:
      return encrypt<kRounds, 2>(args);
    case 3:
      return encrypt<kRounds, 3>(args);
    case 4:
      return encrypt<kRounds, 4>(args);
    default:
      return encrypt<kRounds, kAnyDigits>(args);
  }
}

}  // namespace

void encrypt_block(const EncryptBlock& args) {
  if (args.view->limb_count > 1) return encrypt_block_several(args);
  if (args.error_key->rounds == 10) return encrypt_rounds<10>(args);
  encrypt_rounds<14>(args);
}

void make_pad(const MakePad& args) {
  if (args.view->limb_count > 1) return make_pad_several(args);
  if (args.error_key->rounds == 10) return make_pad_rounds<10>(args);
  make_pad_rounds<14>(args);
}

void encrypt_from_pad(const EncryptFromPad& args) {
  if (args.view->limb_count > 1) return encrypt_from_pad_several(args);
  if (args.digits == nullptr) return encrypt_ready<0>(args);
  switch (args.view->digit_count) {
    case 1:
      return encrypt_ready<1>(args);
    case 2:
      return encrypt_ready<2>(args);
    case 3:
      return encrypt_ready<3>(args);
    case 4:
      return encrypt_ready<4>(args);
    default:
      return encrypt_ready<kAnyDigits>(args);
  }
}

bool decrypt_block(const DecryptBlock& args) {
  const BlockView& view = *args.view;
  if (view.limb_count > 1) return decrypt_block_several(args);
  constexpr std::uint64_t kNarrow = std::uint64_t{1} << 31;
  const std::uint64_t base =
      view.digit_count > 1 ? view.base.divisor : view.limit[0] / view.delta.divisor;
  if (args.digits.narrow == nullptr || base > kNarrow || view.delta.divisor < 2) {
    return decrypt_any(args);
  }
  if (Quotient::shift_of(view.delta, view.bits) == 0) return decrypt_digits<false>(args);
  return decrypt_digits<true>(args);
}

bool noise_in_bounds(const NoiseCheck& args) {
  const BlockView& view = *args.view;
  if (view.limb_count > 1) return noise_in_bounds_several(args);
  const std::size_t groups = args.coefficients / kGroup;
  const PadSubtraction subtract(view, args.bound);
  const RowReader read(args.packed, view.bits, groups);
  Vec largest = _mm512_setzero_si512();
  for (std::size_t g = 0; g < groups; ++g) {
    largest = _mm512_max_epu64(largest, subtract(read(g), args.pads + kGroup * g));
  }
  return _mm512_cmpgt_epu64_mask(largest, splat(2 * args.bound)) == 0;
}

}  // namespace veilsum::isa::avx512
