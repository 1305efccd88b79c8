// Layer: tests. A stand-in for Ed25519: a "signature" is a hash over the verification key and the
// message. Anyone can make one, which tests do; what matters here is who checks which bytes, when.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstring>
#include <vector>

#include "ring/sha256.h"
#include "scheme/upload.h"
#include "support/rounds.h"

namespace veilsum::test {

inline scheme::Signature fake_signature(const scheme::VerificationKey& key, ByteView message) {
  const Digest first = ring::labelled_hash("fake signature 1", {key, message});
  const Digest second = ring::labelled_hash("fake signature 2", {key, message});
  scheme::Signature out;
  std::memcpy(out.data(), first.data(), 32);
  std::memcpy(out.data() + 32, second.data(), 32);
  return out;
}

class FakeVerifier final : public scheme::SignatureVerifier {
 public:
  bool verify(const scheme::VerificationKey& key, const scheme::Signature& signature,
              ByteView message) const override {
    ++calls;
    return signature == fake_signature(key, message);
  }
  mutable std::atomic<int> calls{0};
};

/// Verification keys of clients 0 ... count - 1.
inline std::vector<scheme::VerificationKey> fake_roster(std::uint64_t count) {
  std::vector<scheme::VerificationKey> roster;
  for (std::uint64_t client = 0; client < count; ++client) roster.push_back(bytes32(9000 + client));
  return roster;
}

/// Signs an upload as `client` would. A client beyond the roster signs with a key of its own.
inline void sign(const scheme::Round& round, scheme::Upload& upload, std::uint32_t client) {
  scheme::UploadSignature signature;
  signature.client = client;
  signature.blocks_digest = upload.blocks_digest(1);
  const scheme::VerificationKey key =
      client < round.roster().size() ? round.roster()[client] : bytes32(1);
  signature.signature = fake_signature(
      key, scheme::signing_payload(round, client, upload.head(), signature.blocks_digest));
  upload.attach_signature(signature);
}

inline scheme::Upload make_signed_upload(const scheme::Round& round, std::uint64_t n,
                                         std::uint32_t client) {
  scheme::Upload upload = make_upload(round, n);
  sign(round, upload, client);
  return upload;
}

}  // namespace veilsum::test
