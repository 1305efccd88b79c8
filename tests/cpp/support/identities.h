// Layer: tests. Public identities made from small numbers: well-formed keys that nobody holds.
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

#include "scheme/upload.h"
#include "support/random.h"

namespace veilsum::test {

/// Their bytes; keys of different n differ, and those of one n are the same in both kinds.
inline Bytes identity_fields(std::uint64_t n,
                             scheme::SignatureKind kind = scheme::SignatureKind::kEd25519) {
  Random random(31 * n + 5);
  Bytes fields{static_cast<std::uint8_t>(kind)};
  const auto some = [&](std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      fields.push_back(static_cast<std::uint8_t>(random.next()));
    }
  };
  some(32);
  for (int i = 0; i < 3 * 128; ++i) {
    const auto low = static_cast<std::uint32_t>(random.below(3329));
    const auto high = static_cast<std::uint32_t>(random.below(3329));
    fields.push_back(static_cast<std::uint8_t>(low));
    fields.push_back(static_cast<std::uint8_t>(low >> 8 | high << 4));
    fields.push_back(static_cast<std::uint8_t>(high >> 4));
  }
  some(32);
  some(32);
  fields.back() &= 0x7f;
  if (kind == scheme::SignatureKind::kPostQuantum) some(scheme::kLatticeVerificationKeyBytes);
  return fields;
}

inline scheme::PublicIdentity fake_identity(
    std::uint64_t n, scheme::SignatureKind kind = scheme::SignatureKind::kEd25519) {
  return scheme::PublicIdentity(identity_fields(n, kind));
}

/// A signature with one bit changed.
inline scheme::Signature changed(const scheme::Signature& signature, std::size_t at) {
  Bytes bytes = signature.bytes();
  bytes.at(at) ^= 1;
  return scheme::Signature(bytes);
}

/// Somebody's word for blocks, with a signature of zeros.
inline scheme::UploadSignature empty_signature(
    std::uint32_t client, const Digest& blocks_digest,
    scheme::SignatureKind kind = scheme::SignatureKind::kEd25519) {
  return {client, blocks_digest, scheme::Signature(Bytes(scheme::signature_bytes(kind)))};
}

}  // namespace veilsum::test
