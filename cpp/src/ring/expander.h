// Layer: ring. AES-CTR expansion of one key into many independent streams. A stream is named by
// (domain, sub, block); its 64-bit name is the upper half of every counter block, so two streams
// of one key never share an AES input.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/bytes.h"
#include "isa/kernels.h"

namespace veilsum::ring {

/// What a stream is used for. Values are part of the wire format.
enum class Domain : std::uint8_t {
  kMatrix = 1,         ///< public polynomial; sub = limb, block = b / kappa
  kBlockErrors = 2,    ///< errors of block b
  kRounding = 3,       ///< stochastic rounding of block b, 32-bit words
  kUploadKey = 4,      ///< upload key; block = its number
  kTagPoint = 5,       ///< points of the sum tag's hash
  kTagMultiplier = 6,  ///< multipliers of the hash's runs in block b
  kTagMask = 7,        ///< an upload's tag mask
};

/// The 64-bit name of a stream: domain, sub (8 bits), block (48 bits).
constexpr std::uint64_t stream_index(Domain domain, std::uint64_t sub,
                                     std::uint64_t block) noexcept {
  return static_cast<std::uint64_t>(domain) << 56 | sub << 48 | block;
}

enum class KeySize : std::uint8_t { kAes128 = 16, kAes256 = 32 };

/// An expanded AES key, wiped on destruction.
class Expander {
 public:
  /// Key = the first 16 or all 32 bytes of SHA-256(label || context || seed).
  Expander(std::string_view label, ByteView context, ByteView seed, KeySize size);
  Expander(const Expander&) = delete;
  Expander& operator=(const Expander&) = delete;
  ~Expander();

  const isa::AesKey& key() const noexcept { return key_; }

 private:
  isa::AesKey key_;
};

}  // namespace veilsum::ring
