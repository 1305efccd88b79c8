// Layer: tests. A stand-in for HPKE that needs no library: anyone who knows the public key opens
// what it seals. What it has in common with HPKE is what matters here: so many bytes, bound to key
// and context, and refused after any change.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <span>

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

/// Sealed: salt, the secret under a mask, and a long tag over everything.
class ToySealer final : public scheme::Sealer {
 public:
  /// @param randomised as HPKE is; otherwise the same input gives the same bytes
  explicit ToySealer(bool randomised = false) : randomised_(randomised) {}

  Bytes seal(ByteView key, ByteView info, ByteView secret) const override {
    ++calls;
    Bytes out = toy_stream("toy salt", {key, info, secret}, kSaltBytes);
    if (randomised_) os_entropy(out);
    const Bytes mask = toy_stream("toy mask", {key, info, out}, secret.size());
    for (std::size_t i = 0; i < secret.size(); ++i) {
      out.push_back(static_cast<std::uint8_t>(secret[i] ^ mask[i]));
    }
    const Bytes tag = toy_stream("toy tag", {key, info, out}, kTagBytes);
    out.insert(out.end(), tag.begin(), tag.end());
    return out;
  }

  static constexpr std::size_t kSaltBytes = 32;
  static constexpr std::size_t kTagBytes = scheme::kSealBytes - kSaltBytes;

  mutable std::atomic<int> calls{0};

 private:
  bool randomised_;
};

class ToyOpener final : public scheme::Opener {
 public:
  /// Opens with the secret keys of toy_public_key() that it is handed.
  ToyOpener() = default;
  /// Opens what is sealed to this public key, and is handed none.
  explicit ToyOpener(ByteView own) : own_(own.begin(), own.end()) {}

  bool open(ByteView key, ByteView info, ByteView sealed,
            std::span<std::uint8_t> secret) const override {
    ++calls;
    constexpr std::size_t kSaltBytes = ToySealer::kSaltBytes;
    if (own_.empty() == key.empty() || sealed.size() != scheme::kSealBytes + secret.size()) {
      return false;
    }
    const Bytes public_key = own_.empty() ? toy_public_key(key) : own_;
    const std::size_t body = kSaltBytes + secret.size();
    const Bytes tag =
        toy_stream("toy tag", {public_key, info, sealed.first(body)}, ToySealer::kTagBytes);
    if (std::memcmp(tag.data(), sealed.data() + body, tag.size()) != 0) return false;
    const Bytes mask =
        toy_stream("toy mask", {public_key, info, sealed.first(kSaltBytes)}, secret.size());
    for (std::size_t i = 0; i < mask.size(); ++i) {
      secret[i] = static_cast<std::uint8_t>(sealed[kSaltBytes + i] ^ mask[i]);
    }
    return true;
  }

  mutable std::atomic<int> calls{0};

 private:
  Bytes own_;
};

inline const ToySealer kSealer;
inline const ToyOpener kOpener;

}  // namespace veilsum::test
