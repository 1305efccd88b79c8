// Layer: isa, scalar level. The two halves of a block's life that follow its pad. encrypt_block:
// sample the error, add pad, error and scaled planes, reduce, pack. add_message: the planes alone,
// onto a packed sum of pad and error. decrypt_block: unpack, subtract the pad, rebuild X in [0, Q)
// from its residues by Garner's mixed radix (Knuth, TAOCP 2, 4.3.2), add Delta / 2, and divide
// exactly by multi-word divisors with a floating-point estimate of each digit. Both are free of
// secret-dependent branches, indices and divisions.
#include <cstddef>
#include <cstdint>

#include "base/wipe.h"
#include "isa/scalar/kernels_internal.h"

namespace veilsum::isa::scalar {
namespace {

constexpr std::size_t kChunk = 256;  // coefficients: four batches of the bitsliced AES
constexpr unsigned kWordBits = 52;
constexpr std::uint64_t kWordMask = (std::uint64_t{1} << kWordBits) - 1;

/// c + sum_p plane_p * scale_p mod q, canonical, for the `now` coefficients from `start` on; c
/// below 2^52. At most 64 lazy products below 2q: the sum is below 2^58, in reach of `reduce`.
template <class Args>
void add_planes(const Args& args, const LimbView& view, std::size_t start, std::size_t now,
                std::uint64_t* c) {
  for (std::size_t p = 0; p < args.plane_count; ++p) {
    const std::uint64_t* plane = args.planes + p * args.plane_stride + start;
    const std::uint64_t scale = view.plane_scale[p];
    const std::uint64_t scale_shoup = view.plane_scale_shoup[p];
    for (std::size_t j = 0; j < now; ++j) {
      c[j] += multiply_lazy(plane[j], scale, scale_shoup, view.modulus.q);
    }
  }
  for (std::size_t j = 0; j < now; ++j) c[j] = reduce(c[j], view.modulus);
}

/// One limb of `now` coefficients that start at `start`: pad below 2q, error (plus q when negative)
/// below q + 22, so their sum is below 2^52.
void encrypt_limb(const EncryptBlock& args, std::size_t limb, std::size_t start, std::size_t now,
                  const std::int64_t* error, std::uint64_t* c) {
  const LimbView& view = args.limbs[limb];
  const std::uint64_t q = view.modulus.q;
  const std::uint64_t* pad = args.pads + limb * args.pad_stride + start;
  for (std::size_t j = 0; j < now; ++j) {
    const std::uint64_t e = static_cast<std::uint64_t>(error[j]);
    c[j] = pad[j] + e + (q & sign_mask(e));
  }
  add_planes(args, view, start, now, c);
}

/// Residues (c - pad) mod q_i, canonical, of one group of eight coefficients in every limb.
void subtract_pads(const DecryptBlock& args, std::size_t start,
                   std::uint64_t residue[kMaxLimbs][kGroup]) {
  const std::size_t row_bytes = args.coefficients / kGroup * kGroupBytes;
  for (std::size_t i = 0; i < args.decode->limb_count; ++i) {
    const std::uint64_t q = args.decode->modulus[i].q;
    const std::uint64_t* pad = args.pads + i * args.pad_stride + start;
    unpack_group(args.packed + i * row_bytes + start / kGroup * kGroupBytes, residue[i]);
    for (std::size_t j = 0; j < kGroup; ++j) {
      const std::uint64_t x = residue[i][j] + 2 * q - pad[j];  // (0, 3q)
      residue[i][j] = subtract_if_above(subtract_if_above(x, 2 * q), q);
    }
  }
}

/// Residues of one coefficient -> X in [0, Q), words of 52 bits. Mixed radix: digit i of X is
/// v_i = (..((x_i - v_0) / q_0 - v_1) / q_1 ..) mod q_i, and X = sum v_i q_0 ... q_(i-1) < Q
/// exactly, so no final reduction. v_j < 2^50 < 2 q_i (every q > 2^49), so t + 2 q_i - v_j is in
/// (0, 4 q_i) for t < 2 q_i, which is what multiply_lazy takes.
template <std::size_t kWords>
void reconstruct(const DecodeView& view, const std::uint64_t residue[kMaxLimbs][kGroup],
                 std::size_t j, std::uint64_t x[kWords]) {
  std::uint64_t digit[kMaxLimbs];
  Uint128 sum[kWords] = {};
  for (std::size_t i = 0; i < view.limb_count; ++i) {
    const std::uint64_t q = view.modulus[i].q;
    std::uint64_t t = residue[i][j];
    for (std::size_t k = 0; k < i; ++k) {
      t = multiply_lazy(t + 2 * q - digit[k], view.garner[i][k], view.garner_shoup[i][k], q);
    }
    digit[i] = subtract_if_above(t, q);
    for (std::size_t k = 0; k < kWords; ++k) {
      sum[k] += static_cast<Uint128>(digit[i]) * view.prefix[i][k];  // 4 terms below 2^102
    }
  }
  Uint128 carry = 0;
  for (std::size_t k = 0; k < kWords; ++k) {
    carry += sum[k];
    x[k] = static_cast<std::uint64_t>(carry) & kWordMask;
    carry >>= kWordBits;
  }
}

/// x += (y & mask), words of 52 bits, modulo 2^(52 kWords).
template <std::size_t kWords>
void add_masked(std::uint64_t x[kWords], const std::uint64_t* y, std::uint64_t mask) {
  std::uint64_t carry = 0;
  for (std::size_t k = 0; k < kWords; ++k) {
    carry += x[k] + (y[k] & mask);
    x[k] = carry & kWordMask;
    carry >>= kWordBits;
  }
}

/// x -= y modulo 2^(52 kWords). Words wrap in 64 bits; the sign of a word is its borrow.
template <std::size_t kWords>
void subtract(std::uint64_t x[kWords], const std::uint64_t* y) {
  std::uint64_t borrow = 0;  // 0 or all ones, that is -1
  for (std::size_t k = 0; k < kWords; ++k) {
    const std::uint64_t difference = x[k] - y[k] + borrow;
    x[k] = difference & kWordMask;
    borrow = sign_mask(difference);
  }
}

/// All ones when x, read as a two's complement number of 52 kWords bits, is negative.
template <std::size_t kWords>
std::uint64_t is_negative(const std::uint64_t x[kWords]) {
  return 0 - (x[kWords - 1] >> (kWordBits - 1));
}

/// Returns d = floor(x / divisor) and leaves the remainder in x, for d < 2^49.
///
/// The estimate. u = 2^-53. Words are exact doubles. The Horner sum of kWords words rounds at most
/// kWords - 1 <= 3 times, all terms non-negative; the reciprocal and the product round once each.
/// So the estimate is (x / divisor)(1 + r) with |r| < (1 + u)^5 - 1 < 6u, off by less than 6 *
/// 2^-53 * 2^49 < 0.38. Truncated it is d - 1, d or d + 1. (d < 2^49 holds in every plan: digits
/// below the top one are below 2^plane_bits <= 2^48, and since Q < (Delta + 1) 2^P the top one is
/// below 2^48 (1 + 1 / Delta) even for X in the unused gap under Q; Delta >= 43.)
///
/// The correction. x - estimate * divisor lies in [-divisor, 2 divisor). It is computed modulo
/// 2^(52 kWords), where it is unambiguous as a signed number because 2 divisor <= 2 Q < 2^(52
/// kWords - 1) (Q < 2^50, 2^100, 2^200 for 1, 2, 4 words). One masked addition lifts the negative
/// case; one subtraction, undone by a masked addition when it goes below zero, settles the other.
template <std::size_t kWords>
std::uint64_t divide(std::uint64_t x[kWords], const std::uint64_t* divisor, double reciprocal) {
  double approximate = static_cast<double>(static_cast<std::int64_t>(x[kWords - 1]));
  for (std::size_t k = kWords - 1; k-- > 0;) {
    approximate = approximate * 0x1p52 + static_cast<double>(static_cast<std::int64_t>(x[k]));
  }
  std::uint64_t digit =
      static_cast<std::uint64_t>(static_cast<std::int64_t>(approximate * reciprocal));
  Uint128 product = 0;
  std::uint64_t borrow = 0;
  for (std::size_t k = 0; k < kWords; ++k) {
    product += static_cast<Uint128>(digit) * divisor[k];
    const std::uint64_t difference =
        x[k] - (static_cast<std::uint64_t>(product) & kWordMask) + borrow;
    x[k] = difference & kWordMask;
    borrow = sign_mask(difference);
    product >>= kWordBits;
  }
  const std::uint64_t too_large = is_negative<kWords>(x);
  add_masked<kWords>(x, divisor, too_large);
  digit += too_large;
  subtract<kWords>(x, divisor);
  const std::uint64_t fits = is_negative<kWords>(x);
  add_masked<kWords>(x, divisor, fits);
  return digit + 1 + fits;
}

template <std::size_t kWords>
void decrypt_words(const DecryptBlock& args) {
  const DecodeView& view = *args.decode;
  std::uint64_t residue[kMaxLimbs][kGroup];
  std::uint64_t x[kWords];
  for (std::size_t start = 0; start < args.coefficients; start += kGroup) {
    subtract_pads(args, start, residue);
    for (std::size_t j = 0; j < kGroup; ++j) {
      reconstruct<kWords>(view, residue, j, x);
      // X + Delta / 2 mod Q: below 2Q, one conditional subtraction.
      add_masked<kWords>(x, view.half_delta, ~std::uint64_t{0});
      subtract<kWords>(x, view.modulus_words);
      add_masked<kWords>(x, view.modulus_words, is_negative<kWords>(x));
      for (std::size_t p = view.plane_count; p-- > 0;) {
        args.planes[p * args.plane_stride + start + j] =
            divide<kWords>(x, view.divisor[p], view.divisor_reciprocal[p]);
      }
    }
  }
  secure_wipe(residue, sizeof residue);
  secure_wipe(x, sizeof x);
}

}  // namespace

/// Constant time. Ranges: see EncryptBlock.
void encrypt_block(const EncryptBlock& args) {
  std::uint64_t words[kChunk];
  std::int64_t error[kChunk];
  std::uint64_t c[kChunk];
  const std::size_t row_bytes = args.coefficients / kGroup * kGroupBytes;
  for (std::size_t start = 0; start < args.coefficients; start += kChunk) {
    const std::size_t left = args.coefficients - start;
    const std::size_t now = left < kChunk ? left : kChunk;
    aes_ctr(*args.error_key, args.error_index, start / 2, reinterpret_cast<std::uint8_t*>(words),
            now / 2);
    for (std::size_t j = 0; j < now; ++j) error[j] = cbd_from_word(words[j]);
    for (std::size_t limb = 0; limb < args.limb_count; ++limb) {
      encrypt_limb(args, limb, start, now, error, c);
      pack(c, now, args.out + limb * row_bytes + start / kGroup * kGroupBytes);
    }
  }
  secure_wipe(words, sizeof words);
  secure_wipe(error, sizeof error);
  secure_wipe(c, sizeof c);
}

/// Constant time. Ranges: see AddMessage.
void add_message(const AddMessage& args) {
  std::uint64_t c[kChunk];
  const std::size_t row_bytes = args.coefficients / kGroup * kGroupBytes;
  for (std::size_t limb = 0; limb < args.limb_count; ++limb) {
    const LimbView& view = args.limbs[limb];
    for (std::size_t start = 0; start < args.coefficients; start += kChunk) {
      const std::size_t left = args.coefficients - start;
      const std::size_t now = left < kChunk ? left : kChunk;
      std::uint8_t* row = args.packed + limb * row_bytes + start / kGroup * kGroupBytes;
      for (std::size_t j = 0; j < now; j += kGroup) {
        unpack_group(row + j / kGroup * kGroupBytes, c + j);
      }
      add_planes(args, view, start, now, c);
      pack(c, now, row);
    }
  }
  secure_wipe(c, sizeof c);
}

/// No secret-dependent branch. Ranges: see DecryptBlock and DecodeView; words is 1, 2 or 4.
void decrypt_block(const DecryptBlock& args) {
  switch (args.decode->words) {
    case 1:
      return decrypt_words<1>(args);
    case 2:
      return decrypt_words<2>(args);
    default:
      return decrypt_words<4>(args);
  }
}

}  // namespace veilsum::isa::scalar
