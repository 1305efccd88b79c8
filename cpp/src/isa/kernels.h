// Layer: isa. The kernel table: every loop that is worth writing once per instruction set, as a
// plain function pointer over raw buffers. One table per level (scalar, avx2, avx512), picked once
// at run time. A kernel knows nothing of plans, rounds or keys; it sees numbers, and its comment
// states the ranges it accepts and returns. Every level returns the same bytes for the same input,
// except for lazy residues (see kLazyFactor), of which each level may return another one.
#pragma once

#include <cstddef>
#include <cstdint>

namespace veilsum::isa {

/// Coefficients are handled in groups of eight: eight fields of B bits are B bytes, so packed rows
/// need no padding and every vector width divides the group.
inline constexpr std::size_t kGroup = 8;

/// Primes lie in (2^48 - 2^24, 2^48), so a word of 52 bits holds 16 q.
inline constexpr std::uint32_t kPrimeBits = 48;
inline constexpr std::size_t kResidueBytes = kGroup * kPrimeBits / 8;  ///< of eight residues

/// A lazy residue of x modulo q is a word whose low 52 bits are congruent to x and below
/// kLazyFactor * q. What stands above bit 52 is left over and means nothing.
inline constexpr std::uint64_t kLazyFactor = 8;

/// Messages that `sha256_compress_lanes` hashes side by side.
inline constexpr std::size_t kHashLanes = 16;

/// Width of the centred binomial distribution: a sample is popcount(8 bits) - popcount(8 others).
inline constexpr int kCbdWidth = 8;

/// Element types an update may have. Values are part of no wire format.
enum class ElementType : std::uint8_t { kFloat32, kFloat64, kFloat16, kBfloat16 };

/// Expanded AES key (FIPS 197), encryption direction only.
/// `rounds` is 10 (AES-128) or 14 (AES-256). Round key i lies at bytes[16 * i].
struct AesKey {
  alignas(64) std::uint8_t bytes[15 * 16];
  std::uint32_t rounds;
};

/// One prime q = 2^48 - delta with delta < 2^24.
struct Modulus {
  std::uint64_t q;
  std::uint64_t delta;
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

/// Memory that the caller will touch after the call. A kernel computes for a microsecond or more in
/// which memory would lie idle, so it may ask for these lines as it goes; it does not access them.
struct Ahead {
  const void* read = nullptr;
  std::size_t read_bytes = 0;
  void* write = nullptr;
  std::size_t write_bytes = 0;
};

/// Input of `multiply_inverse`: what `multiply_slots` and then `ntt_inverse_lazy` make of a
/// polynomial in slots, times n.
struct MultiplyInverse {
  const std::uint64_t* a;           ///< n words below 2^52
  const std::uint64_t* slots;       ///< n words below q
  const std::uint64_t* companions;  ///< theirs
  const NttView* view;
  std::uint64_t* out;  ///< n lazy residues; may be `a`
  Ahead ahead;
};

/// How eight fields of `bits` bits lie in `bits` bytes: field i occupies bits [bits * i, bits * i +
/// bits) of the little-endian group. Made once for each width; see ring/fields.h.
struct FieldTable {
  std::uint32_t bits;  ///< 1 ... 52
  std::uint64_t mask;  ///< 2^bits - 1
  /// Byte of the group that is byte k of field l's window, at [8 * l + k]; at most 63. The field
  /// begins at bit first_bit[l] of its window.
  alignas(64) std::uint8_t window_bytes[64];
  alignas(64) std::uint64_t first_bit[8];
  /// From windows, shifted left by first_bit, to the group, for widths of at least 8: byte j of the
  /// group is the OR of byte even_bytes[j] of the eight even windows' register and byte
  /// odd_bytes[j] of the odd ones, where bit j of the masks is set.
  alignas(64) std::uint8_t even_bytes[64];
  alignas(64) std::uint8_t odd_bytes[64];
  std::uint64_t even_mask;
  std::uint64_t odd_mask;
};

/// floor(x / divisor) = (x * multiplier / 2^50) >> shift for every x < 2^50 (Granlund and
/// Montgomery 1994): shift = ceil(log2 divisor), multiplier = ceil(2^(50 + shift) / divisor).
struct Divider {
  std::uint64_t divisor;
  std::uint64_t multiplier;  ///< below 2^52
  std::uint32_t shift;
};

/// The integer functions of DESIGN's blocks for one plan: digits to messages, `lift`, `round`, and
/// back. Made once a plan; see ring/block_arithmetic.h. Multi-precision numbers are little-endian
/// words of 52 bits. B = bits, t the base of the digits, L = digit_count, k = limb_count,
/// Delta = floor(2^B / t^L).
///
/// One limb: x = sum_d digit_d * digit_scale[d] = Delta * m, below 2^B, B <= 46, and
///   lift(x) = (x << (48 - B)) - (((x >> (B - 27)) * delta) >> 27)  (a left shift where B < 27),
///   round(u) = (u + (((u >> 21) * delta) >> 27) + 2^(47 - B)) >> (48 - B) mod 2^B, u in [0, q).
///
/// Several limbs: digits are gathered into planes M_p = sum_i digit_(g p + i) * digit_scale[i] <
/// t^g, g = digits_per_plane, at most 2^52, so that m = sum_p M_p t^(g p). With q = q_0 ...
/// q_(k-1),
///   low = sum_p M_p * plane_scale[p] mod 2^B  (= Delta m q mod 2^B),
///   lift(x) = floor(x q / 2^B) has the residues sum_w low_w * lift_scale[i][w] mod q_i;
///   round(u) = (sum_i y_i * fraction[i] + 2^(F - B - 1)) >> (F - B) mod 2^B with F = 48 (k + 1),
///   y_i = u_i * hat_inverse[i] mod q_i in [0, q_i), u_i the residues in [0, q_i).
///
/// Back, from x = (field - round(pad) + half_delta) mod 2^B: in range when x < limit = Delta t^L;
/// then m = floor(x / Delta). One limb divides by Delta and t; several take planes from the top:
/// M_p = floor(x / divisor[p]), x -= M_p * divisor[p], divisor[p] = Delta t^(g p), then the digits
/// of each plane.
inline constexpr std::uint32_t kMaxLimbs = 4;
inline constexpr std::uint32_t kMaxWords = 4;
inline constexpr std::uint32_t kMaxPlanes = 8;
inline constexpr std::uint32_t kMaxDigits = 96;
struct BlockView {
  std::uint32_t limb_count;        ///< k: 1, 2 or 4
  std::uint32_t bits;              ///< B, at most 48 k - 2
  std::uint32_t words;             ///< ceil(B / 52): words of a field, and rows of a block
  std::uint32_t digit_count;       ///< L
  std::uint32_t plane_count;       ///< ceil(L / g); 1 with one limb
  std::uint32_t digits_per_plane;  ///< g; L with one limb
  Modulus modulus[kMaxLimbs];
  /// Row w holds word w of every field: 52 bits, the last row the rest. fields[w] is its table.
  const FieldTable* fields[kMaxWords];
  const FieldTable* residue_fields;       ///< 48 bits, for pads made ahead
  std::uint64_t digit_scale[kMaxDigits];  ///< one limb: Delta t^d, d < L; several: t^i, i < g
  std::uint64_t plane_scale[kMaxPlanes][kMaxWords];
  std::uint64_t hat_inverse[kMaxLimbs];
  std::uint64_t hat_inverse_shoup[kMaxLimbs];
  std::uint64_t fraction[kMaxLimbs][kMaxWords];    ///< floor(2^F / q_i), k words
  std::uint64_t lift_scale[kMaxLimbs][kMaxWords];  ///< -2^(52 w - B) mod q_i
  std::uint64_t lift_scale_shoup[kMaxLimbs][kMaxWords];
  std::uint64_t half_delta[kMaxWords];
  std::uint64_t limit[kMaxWords];
  std::uint64_t divisor[kMaxPlanes][kMaxWords];
  double divisor_reciprocal[kMaxPlanes];  ///< 1.0 / divisor, rounded to nearest
  Divider delta;                          ///< one limb
  Divider base;  ///< t, where a plane holds more than one digit (then its values are below 2^50)
};

/// Rows of digits: digit d of coefficient j at [d * stride + j]. Exactly one pointer is set.
struct DigitRows {
  std::uint32_t* narrow;  ///< t <= 2^32
  std::uint64_t* wide;
  std::size_t stride;
};

/// Input of `encrypt_block`: field = round((pad + e + lift(Delta m)) mod q), packed. e is one CBD
/// sample per coefficient, the same in every limb, from bytes 2j and 2j + 1 of the keystream of
/// (error_key, error_index).
struct EncryptBlock {
  const BlockView* view;
  const std::uint64_t* pads;  ///< [limbs][pad_stride], lazy residues
  std::size_t pad_stride;
  const std::uint32_t* digits;  ///< [digit_count][digit_stride]; below t; null: a message of zeros
  std::size_t digit_stride;
  const AesKey* error_key;
  std::uint64_t error_index;
  std::size_t coefficients;  ///< multiple of 8, at most n
  std::uint8_t* out;         ///< [words][coefficients / 8 * bits of the row]
};

/// Input of `make_pad`: u = (pad + e) mod q in [0, q), packed to 48 bits a residue; what
/// `encrypt_block` has in hand before the message comes.
struct MakePad {
  const BlockView* view;
  const std::uint64_t* pads;  ///< [limbs][pad_stride], lazy residues
  std::size_t pad_stride;
  const AesKey* error_key;
  std::uint64_t error_index;
  std::size_t coefficients;  ///< multiple of 8
  std::uint8_t* out;         ///< [limbs][coefficients / 8 * 48]
};

/// Input of `encrypt_from_pad`: field = round((u + lift(Delta m)) mod q) with u of `make_pad`; the
/// same bytes as `encrypt_block` gives.
struct EncryptFromPad {
  const BlockView* view;
  const std::uint8_t* pad;      ///< of make_pad
  const std::uint32_t* digits;  ///< as in EncryptBlock
  std::size_t digit_stride;
  std::size_t coefficients;
  std::uint8_t* out;  ///< as in EncryptBlock; apart from `pad`
  Ahead ahead;        ///< beside the pad and the output that follow these in memory
};

/// Input of `decrypt_block`: the digits of (field - round(pad)), see BlockView.
struct DecryptBlock {
  const BlockView* view;
  const std::uint8_t* packed;  ///< as EncryptBlock::out; any bytes
  const std::uint64_t* pads;   ///< [limbs][pad_stride], lazy residues
  std::size_t pad_stride;
  std::size_t coefficients;  ///< multiple of 8
  DigitRows digits;
};

/// Input of `noise_in_bounds`: the fields of a block whose message is zero.
struct NoiseCheck {
  const BlockView* view;
  const std::uint8_t* packed;
  const std::uint64_t* pads;
  std::size_t pad_stride;
  std::size_t coefficients;
  std::uint64_t bound;  ///< largest |field - round(pad)|, below 2^40
};

/// Input of `quantise`: for i < count, with y = weight * values[i]:
///   clipped if |y| > limit; y limited to [-limit, limit]; t = y * inverse_step;
///   to nearest: v = rint(t) (ties to even);
///   with `random`: v = floor(t + random[i] * 2^-32) in double; in float, where a sum would lose
///   bits, f = floor(t), v = f + 1 if (random[i] >> 8) * 2^-24 < t - f, else f;
///   v limited to [-levels, levels]; digits[i] = v + levels.
/// `in_float`: weight, limit and inverse_step are rounded to float once, and all of it is computed
/// in float (levels <= 32767; types other than kFloat64; the three constants within 2^-60 ...
/// 2^60): |t - exact| is then at most levels * 2^-22 < 0.008 steps. Otherwise in double. One
/// rounding per operation, no contraction: the same on every level.
struct Quantise {
  const void* values;  ///< count elements of `type`, element-aligned
  ElementType type;
  bool in_float;
  std::size_t count;
  double weight;
  double limit;                 ///< > 0, finite
  double inverse_step;          ///< levels / limit
  std::int64_t levels;          ///< 2^(value_bits - 1) - 1, at most 2^31 - 1
  const std::uint32_t* random;  ///< count words, or null for rounding to nearest
  std::uint32_t* digits;        ///< count words, each at most 2 * levels
};
struct QuantiseResult {
  std::uint64_t clipped;  ///< how many |y| > limit (finite ones)
  bool finite;            ///< false when a value was NaN or infinite: digits are then unspecified
};

/// Input of `dequantise`: v = int64(digit[i]) - offset, out[i] = v * scale.
/// `in_float` (kFloat32, narrow digits, all |v| < 2^24, scale within 2^-60 ... 2^60):
/// with hi = float(scale), lo = float(scale - hi), out = fma(v, hi, v * lo), in float. Otherwise
/// double(v) * scale, rounded to float for kFloat32.
/// No sum of that weight has v > offset (a digit is at most 2 * levels a unit of weight). Digits of
/// a block that decrypt_block found out of range may be anything; what they give is of no use.
struct Dequantise {
  const std::uint32_t* narrow;  ///< exactly one of the two is set
  const std::uint64_t* wide;
  bool in_float;
  std::size_t count;
  std::int64_t offset;  ///< total weight * levels, below 2^52
  double scale;
  ElementType type;  ///< kFloat32 or kFloat64
  void* out;
};

/// Input of `sum_fields`: out = sum_k weights[k] * source_k mod 2^B over packed blocks; with
/// `subtract`, out = source_0 - sum_(k > 0) weights[k] * source_k (weights[0] must be one then).
/// `out` may be one of the sources. Sum of weights <= 2^20; weights null means all one. Any bytes
/// are valid.
struct SumFields {
  const BlockView* view;
  const std::uint8_t* const* sources;  ///< each as EncryptBlock::out
  const std::uint64_t* weights;
  std::uint32_t source_count;  ///< 1 ... 4096
  bool subtract;
  std::size_t coefficients;  ///< multiple of 8
  std::uint8_t* out;
};

/// The sum tag's hash (DESIGN section 3, "Sum tag"; ring/tag_hash.h has the whole of it) works
/// modulo P = 2^50 - 27, the largest prime below 2^50, or P = 2^61 - 1. A run is at most kTagRun
/// words; both evaluations of it are made at once.
inline constexpr std::uint64_t kTagPrime50 = (std::uint64_t{1} << 50) - 27;
inline constexpr std::uint64_t kTagPrime61 = (std::uint64_t{1} << 61) - 1;
inline constexpr std::size_t kTagEvaluations = 2;
inline constexpr std::size_t kTagRun = 2048;
/// Words between two reductions of a run: powers of the point up to here stand in a table.
inline constexpr std::size_t kTagStep = 256;

/// Powers of one evaluation's point x modulo P, all in [0, P). Secret.
struct alignas(64) TagPowers {
  std::uint64_t power[kTagStep];           ///< x^j
  std::uint64_t step[kTagRun / kTagStep];  ///< x^(kTagStep k)
  /// For P = 2^50 - 27: power = low + 2^25 high, for multipliers of doubles. Integers below 2^25.
  double low[kTagStep];
  double high[kTagStep];
};

/// A word of 48 bits, as it lies among packed bytes: little-endian, anywhere.
struct PackedWord {
  std::uint8_t bytes[6];
};

/// Input of `tag_run`: sum_(j < count) w_j x^j mod P for each evaluation's x, with the words
/// w_j = sum_(i < digit_count) digit_i,j * t^i below P and below 2^52. Digit i of word j stands at
/// [i * stride + j] of the one pointer that is set, and is below t; packed words have one digit, t
/// = 2^48, and the prime 2^50 - 27.
struct TagRun {
  const std::uint32_t* narrow;
  const std::uint64_t* wide;
  const PackedWord* packed;
  std::size_t stride;
  std::uint64_t base;          ///< t, 2 ... 2^52
  std::uint32_t digit_count;   ///< g, at least 1
  const std::uint64_t* scale;  ///< t^i, i < g
  std::size_t count;           ///< multiple of 8, at most kTagRun
  std::uint64_t prime;         ///< one of the two
  const TagPowers* powers;     ///< [kTagEvaluations]
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
  /// even ones first, then the odd ones. Constant time.
  void (*ntt_forward)(std::uint64_t* a, const NttView& view);
  /// Slots in storage order, low 52 bits in [0, 2q) -> coefficients in natural order, lazy
  /// residues, times n. Constant time.
  void (*ntt_inverse_lazy)(std::uint64_t* a, const NttView& view);

  /// Uniform residues, exact by rejection: word j is bytes [6j, 6j + 6) of the keystream of (key,
  /// index); when it is >= q, coefficient j takes the next unused word from words n, n + 1, ...
  /// (rejecting again as needed; extra words are handed out in increasing j). Data is public.
  /// n is a multiple of 8.
  void (*expand_uniform)(const AesKey& key, std::uint64_t index, const Modulus& modulus,
                         std::size_t n, std::uint64_t* out);
  /// out[j] = a[j] * slots[j] mod q, low 52 bits in [0, 2q). a[j] < 2^52, slots[j] < q with 52-bit
  /// companions; n a multiple of 8; `out` may be `a`. Constant time.
  void (*multiply_slots)(const std::uint64_t* a, const std::uint64_t* slots,
                         const std::uint64_t* companions, const Modulus& modulus, std::size_t n,
                         std::uint64_t* out);
  /// The pad of one limb from its slots. Constant time.
  void (*multiply_inverse)(const MultiplyInverse& args);
  /// CBD samples: out[j] = popcount(byte 2j) - popcount(byte 2j + 1) of the keystream of (key,
  /// index). n multiple of 8. Constant time.
  void (*sample_cbd)(const AesKey& key, std::uint64_t index, std::size_t n, std::int8_t* out);

  void (*encrypt_block)(const EncryptBlock& args);       ///< Constant time.
  void (*make_pad)(const MakePad& args);                 ///< Constant time.
  void (*encrypt_from_pad)(const EncryptFromPad& args);  ///< Constant time.
  /// True when every coefficient was in range; otherwise the digits are unspecified.
  bool (*decrypt_block)(const DecryptBlock& args);
  bool (*noise_in_bounds)(const NoiseCheck& args);
  QuantiseResult (*quantise)(const Quantise& args);  ///< Constant time for finite input.
  /// True when no v is above the offset. All are written, whatever they are.
  bool (*dequantise)(const Dequantise& args);

  /// out[e] = the run's value at point e, in [0, P). Constant time in words and powers.
  void (*tag_run)(const TagRun& args, std::uint64_t out[kTagEvaluations]);

  void (*sum_fields)(const SumFields& args);
  /// One row: `coefficients` words below 2^bits -> coefficients / 8 * bits bytes. Constant time.
  void (*pack_fields)(const std::uint64_t* in, std::size_t coefficients, const FieldTable& table,
                      std::uint8_t* out);
  void (*unpack_fields)(const std::uint8_t* in, std::size_t coefficients, const FieldTable& table,
                        std::uint64_t* out);
};

/// The tables. A level that is not compiled in (other processor) is null.
const KernelTable* scalar_table() noexcept;
const KernelTable* avx2_table() noexcept;
const KernelTable* avx512_table() noexcept;

}  // namespace veilsum::isa
