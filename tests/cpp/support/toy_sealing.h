// Layer: tests. A stand-in for HPKE that needs no library: anyone who knows the public key opens
// what it seals. What it has in common with HPKE is what matters here: so many bytes, bound to key
// and context, and refused after any change.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>

#include "base/entropy.h"
#include "ring/sha256.h"
#include "scheme/keys.h"
#include "scheme/sealed_key.h"
#include "support/bytes.h"

namespace veilsum::test {

/// `count` bytes that depend on every byte of the parts.
inline Bytes toy_stream(const char* label, std::initializer_list<ByteView> parts,
                        std::size_t count) {
  ByteWriter all;
  for (const ByteView part : parts) {
    all.u64(part.size());
    all.raw(part);
  }
  const Digest whole = ring::labelled_hash(label, {all.bytes()});
  Bytes out;
  for (std::uint64_t i = 0; out.size() < count; ++i) {
    ByteWriter counter;
    counter.u64(i);
    const Digest next = ring::labelled_hash(label, {whole, counter.bytes()});
    out.insert(out.end(), next.begin(), next.end());
  }
  out.resize(count);
  return out;
}

/// The public half of a toy key: in the form of a real one, every coefficient of 12 bits and the
/// coordinate below their modulus.
inline Bytes toy_public_key(ByteView secret) {
  Bytes key = toy_stream("toy public key", {secret}, scheme::kPublicKeyBytes);
  for (std::size_t at = 0; at < 1152; at += 3) {
    key[at + 1] &= 0xf7;
    key[at + 2] &= 0x7f;
  }
  key.back() &= 0x7f;
  return key;
}

/// Sealed: salt, the seed under a mask, and a long tag over everything.
class ToySealer final : public scheme::Sealer {
 public:
  /// @param randomised as HPKE is; otherwise the same input gives the same bytes
  explicit ToySealer(bool randomised = false) : randomised_(randomised) {}

  Bytes seal(ByteView key, ByteView info, ByteView seed) const override {
    ++calls;
    Bytes salt = toy_stream("toy salt", {key, info, seed}, kSaltBytes);
    if (randomised_) os_entropy(salt);
    Bytes out = salt;
    const Bytes mask = toy_stream("toy mask", {key, info, salt}, seed.size());
    for (std::size_t i = 0; i < seed.size(); ++i) {
      out.push_back(static_cast<std::uint8_t>(seed[i] ^ mask[i]));
    }
    const Bytes tag = toy_stream("toy tag", {key, info, out}, scheme::kSealedKeyBytes - out.size());
    out.insert(out.end(), tag.begin(), tag.end());
    return out;
  }

  mutable std::atomic<int> calls{0};

 private:
  static constexpr std::size_t kSaltBytes = 32;

  bool randomised_;
};

class ToyOpener final : public scheme::Opener {
 public:
  bool open(ByteView key, ByteView info, ByteView sealed, Seed& seed) const override {
    ++calls;
    constexpr std::size_t kSaltBytes = 32, kBodyBytes = 64;
    if (sealed.size() != scheme::kSealedKeyBytes) return false;
    const Bytes public_key = toy_public_key(key);
    const Bytes tag = toy_stream("toy tag", {public_key, info, sealed.first(kBodyBytes)},
                                 sealed.size() - kBodyBytes);
    if (std::memcmp(tag.data(), sealed.data() + kBodyBytes, tag.size()) != 0) return false;
    const Bytes mask = toy_stream("toy mask", {public_key, info, sealed.first(kSaltBytes)},
                                  kBodyBytes - kSaltBytes);
    for (std::size_t i = 0; i < mask.size(); ++i) {
      seed.data()[i] = static_cast<std::uint8_t>(sealed[kSaltBytes + i] ^ mask[i]);
    }
    return true;
  }

  mutable std::atomic<int> calls{0};
};

inline const ToySealer kSealer;
inline const ToyOpener kOpener;

}  // namespace veilsum::test
