// Layer: tests (fuzz). What the fuzz targets share. A target reads one kind of object from any
// bytes. The reader may refuse with a VeilsumError, or accept and then write the object back to the
// very same bytes; anything else - another exception, other bytes, a sanitizer's finding - is a
// bug. Each input is read as it is, and again with header and checksum put right, since a checksum
// would otherwise keep nearly every input away from the parser behind it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

#include "scheme/wire.h"
#include "support/committees.h"
#include "support/envelopes.h"
#include "support/rounds.h"
#include "support/signatures.h"
#include "support/toy_engine.h"

/// The entry point that libFuzzer, and driver.cpp, call.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace veilsum::fuzz {

using test::Bytes;

/// Valid objects of the target's kind, to mutate; defined by each target.
std::vector<Bytes> seed_corpus();

inline std::size_t accepted = 0;
inline std::size_t refused = 0;

template <typename Read>
void read_once(const Bytes& object, Read read) {
  try {
    if (read(object) != object) {
      std::fprintf(stderr, "accepted, but written back as other bytes\n");
      std::abort();
    }
    ++accepted;
  } catch (const VeilsumError&) {
    ++refused;
  }
}

/// @param read from bytes to an object and back to bytes
template <typename Read>
int read_any(const std::uint8_t* data, std::size_t size, scheme::ObjectKind kind, Read read) {
  Bytes object(data, data + size);
  read_once(object, read);
  if (object.size() < test::kHeaderBytes + test::kTrailerBytes) {
    object.resize(test::kHeaderBytes + test::kTrailerBytes);
  }
  const std::uint8_t header[8] = {
      'V', 'S', 'U', 'M', test::kVersion, 0, static_cast<std::uint8_t>(kind), 0};
  std::memcpy(object.data(), header, sizeof header);
  test::repair_length(object);
  object.shrink_to_fit();
  read_once(object, read);
  return 0;
}

/// The world that rounds, uploads and sums of the corpora live in: small, with every optional part.
struct World {
  World() : plan(test::make_plan(10, 16, 2, 128, "n2048")), key(test::make_key()) {}

  scheme::Round round(bool with_roster) const {
    scheme::RoundFields fields = test::fields_of({{9, 1.0}, {0, 1.0}, {4, 0.5}}, 2);
    fields.layout = "{\"a\":[9],\"b\":[4]}";
    if (with_roster) fields.roster = test::mixed_roster(3);
    return test::make_round(plan, key, fields);
  }

  /// Of another engine; its key is one of two parties'.
  scheme::Round toy_round(bool with_roster, bool trusting) const {
    scheme::RoundFields fields = test::fields_of({{9, 1.0}, {0, 1.0}, {4, 0.5}});
    fields.layout = "{\"a\":[9],\"b\":[4]}";
    fields.trust_aggregator = trusting;
    if (with_roster) fields.roster = test::mixed_roster(3);
    test::ToyShape shape;
    shape.weight_bits = 2;
    return test::make_toy_round(shape, toy_key, fields);
  }

  /// A committee's, small; its clients and members sign in both ways. With tags the clients read,
  /// and are the members; without, a server reads, and others are.
  scheme::Round committee_round(bool tagged) const {
    scheme::RoundFields fields = test::fields_of({{9, 1.0}, {0, 1.0}, {4, 0.5}}, 1);
    fields.roster = test::mixed_roster(3);
    if (tagged) {
      fields.group = test::fake_group();
      fields.step = test::step_of(4);
    } else {
      fields.reader = test::fake_identity(6000, scheme::SignatureKind::kPostQuantum);
    }
    return scheme::Round(
        test::make_plan(4, 8, 0, 128, "n2048"),
        tagged ? scheme::Committee(fields.roster, 2) : test::make_committee(3, 3, true), fields,
        test::bytes32(78));
  }

  scheme::Plan plan;
  scheme::SecretKey key;
  scheme::SecretKey toy_key = test::make_toy_key(2, {test::make_toy_key(1).id()});
};

/// The one of the rounds whose id stands where an object of a round has it, so that seeds of all
/// have readers; else the first.
inline const scheme::Round& round_named_in(const Bytes& object,
                                           const std::vector<scheme::Round>& rounds) {
  for (const scheme::Round& round : rounds) {
    const Digest& id = round.id();
    if (object.size() >= test::kHeaderBytes + id.size() &&
        std::memcmp(object.data() + test::kHeaderBytes, id.data(), id.size()) == 0) {
      return round;
    }
  }
  return rounds.front();
}

/// Signed by `client` where that is not negative. Nobody checks signatures on reading, so any bytes
/// do.
inline scheme::Upload as_client(scheme::Upload upload, int client) {
  if (client >= 0) {
    const auto number = static_cast<std::uint32_t>(client);
    scheme::UploadSignature signature = test::empty_signature(
        number, upload.blocks_digest(1),
        number % 2 == 0 ? scheme::SignatureKind::kEd25519 : scheme::SignatureKind::kPostQuantum);
    if (upload.tagged()) signature.blocks_digest.reset();
    upload.attach_signature(std::move(signature));
  }
  return upload;
}

/// An upload of the round with random blocks.
inline scheme::Upload make_upload(const scheme::Round& round, std::uint64_t n, int client) {
  const bool native = round.cipher().engine() == scheme::Engine::kNative;
  return as_client(
      native ? test::make_upload(round, n, client < 0 ? 0 : static_cast<std::uint32_t>(client))
             : test::make_toy_upload(round, n),
      client);
}

/// Lets every signature pass, so that signed sums can be built without keys.
class TrustingVerifier final : public scheme::SignatureVerifier {
  bool verify(const scheme::PublicIdentity&, const scheme::Signature&, ByteView) const override {
    return true;
  }
};

/// The committees' rounds that members' objects are read for: untagged and tagged.
inline const std::vector<scheme::Round>& committee_rounds() {
  static const World world;
  static const std::vector<scheme::Round> rounds = {world.committee_round(false),
                                                    world.committee_round(true)};
  return rounds;
}

/// The uploads of clients 1 and 2, whose signatures hold for a TrustingVerifier.
inline scheme::Manifest committee_manifest(const scheme::Round& round) {
  const TrustingVerifier trusting;
  scheme::Manifest manifest(round);
  for (const int client : {1, 2}) {
    manifest.add(make_upload(round, static_cast<std::uint64_t>(client), client).head(), 1,
                 &trusting);
  }
  return manifest;
}

}  // namespace veilsum::fuzz
