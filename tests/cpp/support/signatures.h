// Layer: tests. A stand-in for signatures: one is made of hashes over the signer's identity and the
// message. Anyone can make one, which tests do; what matters here is who checks which bytes, when.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <vector>

#include "ring/sha256.h"
#include "scheme/upload.h"
#include "support/identities.h"
#include "support/rounds.h"

namespace veilsum::test {

inline scheme::Signature fake_signature(const scheme::PublicIdentity& signer, ByteView message) {
  Bytes out;
  const std::size_t size = scheme::signature_bytes(signer.kind());
  for (std::uint8_t part = 0; out.size() < size; ++part) {
    const std::uint8_t number[] = {part};
    const Digest hash = ring::labelled_hash("fake signature", {number, signer.fields(), message});
    out.insert(out.end(), hash.begin(), hash.end());
  }
  out.resize(size);
  return scheme::Signature(out);
}

class FakeVerifier final : public scheme::SignatureVerifier {
 public:
  bool verify(const scheme::PublicIdentity& signer, const scheme::Signature& signature,
              ByteView message) const override {
    ++calls;
    return signature == fake_signature(signer, message);
  }
  mutable std::atomic<int> calls{0};
};

/// Identities of clients 0 ... count - 1.
inline std::vector<scheme::PublicIdentity> fake_roster(std::uint64_t count) {
  std::vector<scheme::PublicIdentity> roster;
  roster.reserve(count);
  for (std::uint64_t client = 0; client < count; ++client) {
    roster.push_back(fake_identity(9000 + client));
  }
  return roster;
}

/// The same, every second one of them, from client 1 on, post-quantum.
inline std::vector<scheme::PublicIdentity> mixed_roster(std::uint64_t count) {
  std::vector<scheme::PublicIdentity> roster;
  roster.reserve(count);
  for (std::uint64_t client = 0; client < count; ++client) {
    roster.push_back(fake_identity(9000 + client, client % 2 == 0
                                                      ? scheme::SignatureKind::kEd25519
                                                      : scheme::SignatureKind::kPostQuantum));
  }
  return roster;
}

/// Signs an upload as `signer` would, under any client's number.
inline void sign_as(const scheme::Round& round, scheme::Upload& upload, std::uint32_t client,
                    const scheme::PublicIdentity& signer) {
  const std::optional<Digest> digest =
      round.tagged() ? std::nullopt : std::optional(upload.blocks_digest(1));
  upload.attach_signature(
      {client, digest,
       fake_signature(signer, scheme::signing_payload(round, client, upload.head(), digest))});
}

/// Signs an upload as `client` would. A client beyond the roster signs with a key of its own.
inline void sign(const scheme::Round& round, scheme::Upload& upload, std::uint32_t client) {
  sign_as(round, upload, client,
          client < round.roster().size() ? round.roster()[client] : fake_identity(1));
}

inline scheme::Upload make_signed_upload(const scheme::Round& round, std::uint64_t n,
                                         std::uint32_t client) {
  // A client that is not on the roster has nothing of its own to seal.
  scheme::Upload upload = make_upload(round, n, client < round.roster().size() ? client : 0);
  sign(round, upload, client);
  return upload;
}

}  // namespace veilsum::test
