// Layer: isa. The kernel table: every loop that is worth writing once per instruction set, as a
// plain function pointer over raw buffers. One table per level (scalar, avx2, avx512), picked once
// at run time. A kernel knows nothing of plans, rounds or keys; it sees numbers, and its comment
// states the ranges it accepts and returns. Every level returns the same bytes for the same input,
// except that lazy results, in [0, 2q), may differ by q.
#pragma once

#include <cstddef>
#include <cstdint>

namespace veilsum::isa {

/// Coefficients are handled in groups of eight: 8 x 50 bits = 50 bytes, so packed rows need no
/// padding and every vector width divides the group.
inline constexpr std::size_t kGroup = 8;
inline constexpr std::size_t kResidueBits = 50;
inline constexpr std::size_t kGroupBytes = kGroup * kResidueBits / 8;
inline constexpr std::uint64_t kResidueMask = (std::uint64_t{1} << kResidueBits) - 1;

/// Messages that `sha256_compress_lanes` hashes side by side.
inline constexpr std::size_t kHashLanes = 16;

/// CBD parameter: an error is popcount(21 bits) - popcount(21 other bits).
inline constexpr int kCbdWidth = 21;

/// Element types an update may have. Values are part of no wire format.
enum class ElementType : std::uint8_t { kFloat32, kFloat64, kFloat16, kBfloat16 };

/// Expanded AES key (FIPS 197), encryption direction only.
/// `rounds` is 10 (AES-128) or 14 (AES-256). Round key i lies at bytes[16 * i].
struct AesKey {
  alignas(64) std::uint8_t bytes[15 * 16];
  std::uint32_t rounds;
};

/// One prime q < 2^50 with q = 1 mod 2n, and what reductions modulo it need.
struct Modulus {
  std::uint64_t q;
  std::uint64_t barrett;      ///< floor(2^100 / q), below 2^51 because q > 2^49
  std::uint64_t two52_mod_q;  ///< 2^52 mod q, to fold the high words of 52-bit products
  std::uint64_t two52_shoup;  ///< floor(two52_mod_q * 2^52 / q)
};

/// Twiddle tables of one (n, q). A Shoup companion of w is floor(w * 2^52 / q) < 2^52:
/// with h = floor(x * w' / 2^52), x * w - h * q lies in [0, 2q) for every x < 2^52 (Harvey 2014).
/// `roots[m + i]` is psi^bitreverse(m + i), the factor of group i in the stage with m groups;
/// `inverse_roots` holds the inverses at the same places.
///
/// `tail` and `inverse_tail` repeat the factors of the last three stages (distance t = 4, 2, 1) in
/// the order in which a kernel that keeps sixteen elements in two registers meets them: for block b
/// of sixteen, 48 words: 8 factors then 8 companions for t = 4, for t = 2, for t = 1. Lane l
/// of the t = 4 factors belongs to element {0,1,2,3,8,9,10,11}[l], of t = 2 to
/// {0,1,4,5,8,9,12,13}[l], of t = 1 to 2 * l (the upper element of the butterfly, counted in the
/// block).
struct NttView {
  Modulus modulus;
  std::uint32_t n;  ///< power of two, 64 ... 32768
  std::uint32_t log_n;
  const std::uint64_t* roots;
  const std::uint64_t* roots_shoup;
  const std::uint64_t* inverse_roots;
  const std::uint64_t* inverse_roots_shoup;
  const std::uint64_t* tail;          ///< n / 16 * 48 words, 64-byte aligned
  const std::uint64_t* inverse_tail;  ///< n / 16 * 48 words, 64-byte aligned
};

/// What one limb of a block needs besides its pad.
struct LimbView {
  Modulus modulus;
  const std::uint64_t* plane_scale;        ///< [planes] Delta * 2^(bits below the plane) mod q
  const std::uint64_t* plane_scale_shoup;  ///< [planes] Shoup companions (52 bit)
};

/// Input of `encrypt_block`: c = pad + e + sum_p plane_p * scale_p mod q, per limb, packed.
/// e is one CBD sample per coefficient, the same in every limb, from word j of the keystream of
/// (error_key, error_index): popcount of bits 0..20 minus popcount of bits 21..41.
/// The planes of a coefficient are one message m with (m + 1) * Delta <= Q, Delta > 42; with one
/// limb and one plane a level may rely on it (m * Delta then needs no reduction of its own).
struct EncryptBlock {
  const std::uint64_t* pads;  ///< [limbs][pad_stride], lazy: below 2q
  std::size_t pad_stride;
  const std::uint64_t* planes;  ///< [plane_count][plane_stride], each below 2^50
  std::size_t plane_stride;
  std::uint32_t plane_count;  ///< 1 ... 64
  std::uint32_t limb_count;   ///< 1 ... 4
  const LimbView* limbs;
  const AesKey* error_key;
  std::uint64_t error_index;
  std::size_t coefficients;  ///< multiple of 8, at most n
  std::uint8_t* out;         ///< [limbs][coefficients / 8 * 50]
};

/// Input of `add_message`: c = x + sum_p plane_p * scale_p mod q, per limb, in place. With x = pad
/// + e mod q of the same block, which `encrypt_block` makes from planes of zeros, c is what it
/// makes from these planes. They obey the same rules.
struct AddMessage {
  const std::uint64_t* planes;  ///< [plane_count][plane_stride], each below 2^50
  std::size_t plane_stride;
  std::uint32_t plane_count;  ///< 1 ... 64
  std::uint32_t limb_count;   ///< 1 ... 4
  const LimbView* limbs;
  std::size_t coefficients;  ///< multiple of 8
  std::uint8_t* packed;      ///< [limbs][coefficients / 8 * 50], residues known to be < q
};

/// Constants to divide X in [0, Q) by Delta and split the quotient into planes, exactly.
/// Multi-precision numbers are little-endian words of 52 bits, `words` of them (enough for Q).
/// Plane p has weight 2^(plane_bits * p); the highest plane comes out first:
///   digit = floor(X / D_p), X -= digit * D_p, with D_p = Delta * 2^(plane_bits * p).
inline constexpr std::uint32_t kMaxLimbs = 4;
inline constexpr std::uint32_t kMaxPlanes = 8;
struct DecodeView {
  std::uint32_t limb_count;   ///< 1 ... 4
  std::uint32_t plane_count;  ///< 1 ... 8
  std::uint32_t words;        ///< 52-bit words of Q: 1, 2 or 4
  Modulus modulus[kMaxLimbs];
  /// Garner: garner[i][j] = (q_j)^-1 mod q_i for j < i, with Shoup companions.
  std::uint64_t garner[kMaxLimbs][kMaxLimbs];
  std::uint64_t garner_shoup[kMaxLimbs][kMaxLimbs];
  /// prefix[i] = q_0 * ... * q_(i-1) in 52-bit words (prefix[0] = 1).
  std::uint64_t prefix[kMaxLimbs][kMaxLimbs];
  std::uint64_t modulus_words[kMaxLimbs];        ///< Q
  std::uint64_t half_delta[kMaxLimbs];           ///< floor(Delta / 2)
  std::uint64_t divisor[kMaxPlanes][kMaxLimbs];  ///< D_p
  double divisor_reciprocal[kMaxPlanes];         ///< 1.0 / D_p, rounded to nearest
};

/// Input of `decrypt_block`: X = (c - pad) mod Q by CRT, then planes of floor((X + Delta/2 mod Q) /
/// Delta).
struct DecryptBlock {
  const std::uint8_t* packed;  ///< [limbs][coefficients / 8 * 50], residues known to be < q
  const std::uint64_t* pads;   ///< [limbs][pad_stride], lazy: below 2q
  std::size_t pad_stride;
  const DecodeView* decode;
  std::size_t coefficients;  ///< multiple of 8
  std::uint64_t* planes;     ///< [plane_count][plane_stride]; digit p, which must be below 2^49
  std::size_t plane_stride;
};

/// Input of `quantise`: for i < count, with y = weight * double(values[i]):
///   clipped if |y| > limit; y limited to [-limit, limit]; t = y * inverse_step;
///   v = rint(t) (ties to even), or, when `random` is given, floor(t + random[i] * 2^-32);
///   v limited to [-levels, levels]; plane[i] |= (v + levels) << shift  (or =, when `overwrite`).
/// Double arithmetic, one rounding per operation, no contraction: the same on every level.
struct Quantise {
  const void* values;  ///< count elements of `type`, element-aligned
  ElementType type;
  std::size_t count;
  double weight;
  double limit;                 ///< > 0, finite
  double inverse_step;          ///< levels / limit
  std::int64_t levels;          ///< 2^(value_bits - 1) - 1, at most 2^31 - 1
  const std::uint32_t* random;  ///< count words, or null for rounding to nearest
  std::uint32_t shift;          ///< of the lane inside its plane
  bool overwrite;
  std::uint64_t* plane;  ///< count words, 8-byte aligned
};
struct QuantiseResult {
  std::uint64_t clipped;  ///< how many |y| > limit (finite ones)
  bool finite;            ///< false when a value was NaN or infinite: plane is then unspecified
};

/// Input of `dequantise`: out[i] = double(int64((plane[i] >> shift) & mask) - offset) * scale, then
/// rounded to float32 when `type` is kFloat32, or left in double when kFloat64.
struct Dequantise {
  const std::uint64_t* plane;
  std::size_t count;
  std::uint32_t shift;
  std::uint64_t mask;
  std::int64_t offset;  ///< total weight * levels, below 2^52
  double scale;
  ElementType type;  ///< kFloat32 or kFloat64
  void* out;
};

/// Input of `sum_packed`: out = sum_k weights[k] * source_k mod q over packed residues.
/// `out` may be one of the sources. sum of weights <= 2^20; weights null means all one.
struct SumPacked {
  const std::uint8_t* const* sources;
  const std::uint64_t* weights;
  std::uint32_t source_count;  ///< 1 ... 8192
  std::size_t coefficients;    ///< multiple of 8
  Modulus modulus;
  std::uint8_t* out;
};

struct KernelTable {
  const char* level;  ///< "scalar", "avx2", "avx512"

  /// out[16 * i ...] = AES(key, in[16 * i ...]) for i < blocks. in == out allowed. Constant time.
  void (*aes_encrypt_blocks)(const AesKey& key, const std::uint8_t* in, std::uint8_t* out,
                             std::size_t blocks);
  /// Keystream: block i is AES(key, LE64(first_counter + i) || LE64(index)). Constant time.
  void (*aes_ctr)(const AesKey& key, std::uint64_t index, std::uint64_t first_counter,
                  std::uint8_t* out, std::size_t blocks);

  /// SHA-256 compression (FIPS 180-4) of `blocks` 64-byte blocks into `state`.
  void (*sha256_compress)(std::uint32_t state[8], const std::uint8_t* data, std::size_t blocks);
  /// The same for kHashLanes messages at once: state[w][l] is word w of message l, data[l] where
  /// its next 64 * blocks bytes lie. Pointers may be equal.
  void (*sha256_compress_lanes)(std::uint32_t state[8][kHashLanes],
                                const std::uint8_t* const data[kHashLanes], std::size_t blocks);
  /// CRC-32C (Castagnoli, reflected, RFC 3720) continued from `crc` (0 at the start; the
  /// initial and final inversion happen inside, so that calls chain like zlib's crc32).
  std::uint32_t (*crc32c)(std::uint32_t crc, const std::uint8_t* data, std::size_t bytes);

  /// Coefficients in natural order, [0, q) -> slots in storage order, [0, q).
  /// Storage order: the bit-reversed order of Longa-Naehrig, and in each block of 16 slots the
  /// even ones first, then the odd ones.
  void (*ntt_forward)(std::uint64_t* a, const NttView& view);
  /// Slots in storage order, [0, 2q) -> coefficients in natural order, [0, 2q), times n.
  void (*ntt_inverse_lazy)(std::uint64_t* a, const NttView& view);

  /// Uniform residues, exact by rejection: word j of the keystream of (key, index), its low 50
  /// bits; when that is >= q, coefficient j takes the next unused word from words n, n + 1, ...
  /// (rejecting again as needed; extra words are handed out in increasing j). Data is public.
  /// n is a multiple of 8 here and in expand_multiply.
  void (*expand_uniform)(const AesKey& key, std::uint64_t index, const Modulus& modulus,
                         std::size_t n, std::uint64_t* out);
  /// The same residues times key slots: out[j] in [0, 2q). key_slots < q with 52-bit companions.
  void (*expand_multiply)(const AesKey& key, std::uint64_t index, const Modulus& modulus,
                          std::size_t n, const std::uint64_t* key_slots,
                          const std::uint64_t* key_slots_shoup, std::uint64_t* out);
  /// CBD samples of words 0 ... n-1 of the keystream of (key, index). n multiple of 8.
  /// Constant time.
  void (*sample_cbd)(const AesKey& key, std::uint64_t index, std::size_t n, std::int8_t* out);

  void (*encrypt_block)(const EncryptBlock& args);  ///< Constant time.
  void (*add_message)(const AddMessage& args);      ///< Constant time.
  void (*decrypt_block)(const DecryptBlock& args);
  QuantiseResult (*quantise)(const Quantise& args);  ///< Constant time for finite input.
  void (*dequantise)(const Dequantise& args);

  /// True when every residue of every source was < q. Otherwise `out` is unspecified.
  bool (*sum_packed)(const SumPacked& args);
  /// 50-bit packing: coefficient j occupies bits [50 j, 50 j + 50) of the little-endian row.
  void (*pack)(const std::uint64_t* in, std::size_t coefficients, std::uint8_t* out);
  /// Unpacks; true when every residue is < q.
  bool (*unpack)(const std::uint8_t* in, std::size_t coefficients, std::uint64_t q,
                 std::uint64_t* out);
};

/// The tables. A level that is not compiled in (other processor) is null.
const KernelTable* scalar_table() noexcept;
const KernelTable* avx2_table() noexcept;
const KernelTable* avx512_table() noexcept;

}  // namespace veilsum::isa
