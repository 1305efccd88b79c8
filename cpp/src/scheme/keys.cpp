// Layer: scheme. See keys.h.
#include "scheme/keys.h"

#include <cstring>
#include <string>
#include <utility>

#include "base/file_io.h"
#include "ring/sha256.h"
#include "scheme/ledger.h"
#include "scheme/wire.h"
#include "veilsum/errors.h"

namespace veilsum::scheme {

PublicKey::PublicKey(ByteView bytes)
    : bytes_(std::make_shared<const Bytes>(bytes.begin(), bytes.end())) {
  if (bytes.size() != kPublicKeyBytes) {
    throw ParameterError("a public key has " + std::to_string(kPublicKeyBytes) + " bytes, not " +
                         std::to_string(bytes.size()));
  }
  const Digest digest = ring::labelled_hash("veilsum/2/public-key-id", {*bytes_});
  std::memcpy(id_.data(), digest.data(), id_.size());
}

void PublicKey::write_fields(ByteWriter& out) const { out.raw(*bytes_); }

PublicKey PublicKey::read_fields(ByteReader& in) { return PublicKey(in.raw(kPublicKeyBytes)); }

Bytes PublicKey::to_bytes() const { return seal(ObjectKind::kPublicKey, {*bytes_}); }

PublicKey PublicKey::from_bytes(ByteView bytes) {
  ByteReader in(open_envelope(bytes, ObjectKind::kPublicKey), "public key");
  PublicKey key = read_fields(in);
  in.finish();
  return key;
}

SecretKey::SecretKey(ByteView secret, PublicKey public_key)
    : secret_(kSecretKeyBytes),
      public_key_(std::move(public_key)),
      ledger_(std::make_unique<OpeningLedger>()) {
  if (secret.size() != kSecretKeyBytes) {
    throw ParameterError("a secret key has " + std::to_string(kSecretKeyBytes) + " bytes, not " +
                         std::to_string(secret.size()));
  }
  std::memcpy(secret_.data(), secret.data(), secret.size());
}

SecretKey::SecretKey(SecretKey&&) noexcept = default;
SecretKey& SecretKey::operator=(SecretKey&&) noexcept = default;
SecretKey::~SecretKey() = default;

Bytes SecretKey::to_bytes() const {
  return seal(ObjectKind::kSecretKey, {secret(), public_key_.bytes()});
}

SecretKey SecretKey::from_bytes(ByteView bytes) {
  ByteReader in(open_envelope(bytes, ObjectKind::kSecretKey), "secret key");
  const ByteView secret = in.raw(kSecretKeyBytes);
  PublicKey public_key = PublicKey::read_fields(in);
  in.finish();
  return SecretKey(secret, std::move(public_key));
}

void SecretKey::save(const std::string& path) {
  Bytes bytes = to_bytes();
  const ByteView parts[] = {bytes};
  try {
    write_file(path, parts, FileKind::kSecret);
  } catch (...) {
    secure_wipe(bytes.data(), bytes.size());
    throw;
  }
  secure_wipe(bytes.data(), bytes.size());
  ledger_->attach(path + ".opened");
}

SecretKey SecretKey::load(const std::string& path) {
  Bytes bytes = read_file(path, FileKind::kSecret);
  try {
    SecretKey key = from_bytes(bytes);
    secure_wipe(bytes.data(), bytes.size());
    key.ledger_->attach(path + ".opened");
    return key;
  } catch (...) {
    secure_wipe(bytes.data(), bytes.size());
    throw;
  }
}

}  // namespace veilsum::scheme
