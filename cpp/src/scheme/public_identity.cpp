// Layer: scheme. See public_identity.h.
#include "scheme/public_identity.h"

#include <map>
#include <string_view>
#include <utility>

#include "ring/sha256.h"
#include "scheme/wire.h"
#include "veilsum/errors.h"

namespace veilsum::scheme {
namespace {

/// Bytes of the fields of a kind; 0 of one that is unknown.
std::size_t fields_bytes(std::uint8_t kind) {
  switch (static_cast<SignatureKind>(kind)) {
    case SignatureKind::kEd25519:
      return PublicIdentity::kLeastBytes;
    case SignatureKind::kPostQuantum:
      return PublicIdentity::kMostBytes;
    case SignatureKind::kNone:
      break;
  }
  return 0;
}

std::string unknown_kind(std::uint8_t kind) {
  return "identities of kind " + std::to_string(kind) + " are unknown; this version knows 1 and 2";
}

void refuse(const char* key, const char* reason) {
  if (reason != nullptr) throw ParameterError("its " + std::string(key) + " key " + reason);
}

std::string_view text(ByteView bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

const char* signature_name(SignatureKind kind) noexcept {
  return kind == SignatureKind::kNone      ? "no signature"
         : kind == SignatureKind::kEd25519 ? "Ed25519"
                                           : "Ed25519 and ML-DSA-65";
}

Signature::Signature(ByteView bytes) : bytes_(bytes.begin(), bytes.end()) {
  for (const SignatureKind kind : {SignatureKind::kEd25519, SignatureKind::kPostQuantum}) {
    if (bytes.size() == signature_bytes(kind)) {
      kind_ = kind;
      return;
    }
  }
  throw ParameterError("a signature has 64 bytes (Ed25519) or 3373 (with ML-DSA-65), not " +
                       std::to_string(bytes.size()));
}

PublicIdentity::PublicIdentity(ByteView fields) {
  if (fields.empty()) throw ParameterError("a public identity of 0 bytes");
  const std::size_t size = fields_bytes(fields.front());
  if (size == 0) throw ParameterError(unknown_kind(fields.front()));
  if (fields.size() != size) {
    throw ParameterError("a public identity of this kind has " + std::to_string(size) +
                         " bytes, not " + std::to_string(fields.size()));
  }
  bytes_ = std::make_shared<const Bytes>(fields.begin(), fields.end());
  VerificationKey signing;
  std::memcpy(signing.data(), verification_key().data(), signing.size());
  refuse("Ed25519", weakness(signing));
  refuse("ML-KEM-768", weakness_of_encapsulation_key(encapsulation_key()));
  refuse("X25519", weakness_of_exchange_key(exchange_key()));
  if (kind() == SignatureKind::kPostQuantum) {
    refuse("ML-DSA-65", weakness_of_lattice_key(lattice_verification_key()));
  }
  id_ = ring::labelled_hash("veilsum/2/identity-id", {*bytes_});
}

Bytes PublicIdentity::to_bytes() const { return seal(ObjectKind::kPublicIdentity, {*bytes_}); }

PublicIdentity PublicIdentity::from_bytes(ByteView bytes) {
  ByteReader in(open_envelope(bytes, ObjectKind::kPublicIdentity), "public identity");
  try {
    PublicIdentity identity = read_fields(in);
    in.finish();
    return identity;
  } catch (const ParameterError& error) {
    in.fail(error.what());
  }
}

PublicIdentity PublicIdentity::read_fields(ByteReader& in) {
  const ByteReader start = in;
  const std::uint8_t kind = in.u8();
  const std::size_t size = fields_bytes(kind);
  if (size == 0) in.fail(unknown_kind(kind));
  in = start;
  return PublicIdentity(in.raw(size));
}

void check_distinct(const std::vector<PublicIdentity>& list, const char* each, const char* all) {
  using Part = ByteView (PublicIdentity::*)() const noexcept;
  const std::pair<const char*, Part> parts[] = {
      {"Ed25519", &PublicIdentity::verification_key},
      {"ML-KEM-768", &PublicIdentity::encapsulation_key},
      {"X25519", &PublicIdentity::exchange_key},
      {"ML-DSA-65", &PublicIdentity::lattice_verification_key}};
  for (const auto& [name, part] : parts) {
    std::map<std::string_view, std::size_t> seen;
    for (std::size_t i = 0; i < list.size(); ++i) {
      const ByteView key = (list[i].*part)();
      if (key.empty()) continue;
      const auto [first, fresh] = seen.emplace(text(key), i);
      if (fresh) continue;
      throw ParameterError(std::string(each) + "s " + std::to_string(first->second) + " and " +
                           std::to_string(i) + " of the " + all + " have the same " + name +
                           " key; every " + each + " has an identity of its own");
    }
  }
}

}  // namespace veilsum::scheme
