// Layer: tests (scheme). The envelope: its layout byte by byte, and one typed refusal for each way
// in which a header can be wrong.
#include "scheme/wire.h"

#include <cstdint>
#include <string>
#include <vector>

#include "check.h"
#include "isa/dispatch.h"
#include "support/envelopes.h"
#include "support/random.h"
#include "veilsum/errors.h"

namespace veilsum::test {
namespace {

using scheme::ObjectKind;
using scheme::open_envelope;

const Bytes kPayload = {10, 20, 30, 40, 50};

TEST("the layout, for every kind and however the payload is cut") {
  constexpr std::uint16_t kKinds[] = {1,  2,  3,  4,  5,  6,  7,  8,  9,
                                      10, 11, 12, 13, 14, 15, 16, 17, 257};
  for (const std::uint16_t kind : kKinds) {
    const Bytes expected = envelope_of(kind, kPayload);
    const Bytes first = {10};
    const Bytes second = {20, 30};
    const Bytes third = {40, 50};
    CHECK_EQ(scheme::seal(static_cast<ObjectKind>(kind), {kPayload}), expected);
    CHECK_EQ(scheme::seal(static_cast<ObjectKind>(kind), {first, ByteView(), second, third}),
             expected);
    CHECK_EQ(scheme::seal(static_cast<ObjectKind>(kind), {}), envelope_of(kind, {}));
    const ByteView parts[] = {first, second, third};
    const scheme::Frame frame = scheme::frame_around(static_cast<ObjectKind>(kind), parts);
    CHECK_EQ(frame.total, expected.size());
    CHECK_EQ(frame.header, Bytes(expected.begin(), expected.begin() + 16));
    CHECK_EQ(frame.trailer, Bytes(expected.end() - 4, expected.end()));
  }
}

TEST("opening gives the payload where it lies") {
  const Bytes object = envelope_of(4, kPayload);
  const ByteView payload = open_envelope(object, ObjectKind::kRound);
  CHECK(payload.data() == object.data() + 16);
  CHECK_EQ(payload.size(), kPayload.size());
  CHECK_EQ(open_envelope(envelope_of(1, {}), ObjectKind::kPlan).size(), 0u);
}

TEST("each wrong field has its message") {
  const auto damaged = [](std::size_t at, std::uint8_t value) {
    Bytes object = envelope_of(4, kPayload);
    object[at] = value;
    repair_checksum(object);
    return object;
  };
  const auto open = [](const Bytes& object) { open_envelope(object, ObjectKind::kRound); };
  for (std::size_t at = 0; at < 4; ++at) {
    CHECK_THROWS_WITH(open(damaged(at, 'x')), WireFormatError, "not a Veilsum object");
  }
  CHECK_THROWS_WITH(open(damaged(4, 3)), WireFormatError, "version 3 is not supported");
  CHECK_THROWS_WITH(open(damaged(4, 1)), WireFormatError,
                    "version 1 is not supported (this is version 2)");
  CHECK_THROWS_WITH(open(damaged(4, 0)), WireFormatError, "version 0 is not supported");
  CHECK_THROWS_WITH(open(damaged(5, 1)), WireFormatError, "version 258 is not supported");
  CHECK_THROWS_WITH(open(damaged(6, 5)), WireFormatError,
                    "this is an upload, but a round is needed");
  CHECK_THROWS_WITH(open(damaged(6, 0)), WireFormatError, "unknown kind 0");
  // An engine's number is no part of a kind.
  CHECK_THROWS_WITH(open(damaged(7, 1)), WireFormatError, "unknown kind 260");
  CHECK_THROWS_WITH(open(damaged(7, 2)), WireFormatError, "unknown kind 516");
  CHECK_THROWS_WITH(open_envelope(envelope_of(4, kPayload), ObjectKind::kDecryptionShare),
                    WireFormatError, "this is a round, but a decryption share is needed");
  for (std::size_t at = 8; at < 16; ++at) {
    CHECK_THROWS_WITH(open(damaged(at, 0xff)), WireFormatError, "truncated or padded");
  }
  Bytes object = envelope_of(4, kPayload);
  for (std::size_t at = 16; at < object.size(); ++at) {
    for (unsigned bit = 0; bit < 8; ++bit) {
      object[at] = static_cast<std::uint8_t>(object[at] ^ (1u << bit));
      CHECK_THROWS_WITH(open(object), WireFormatError, "checksum");
      object[at] = static_cast<std::uint8_t>(object[at] ^ (1u << bit));
    }
  }
  open(object);
}

TEST("the version is told before anything else that another version may have otherwise") {
  // Kind, length and checksum may all be wrong: what a version 1 object has there is its own.
  for (const std::uint16_t kind : {std::uint16_t{1}, std::uint16_t{8}, std::uint16_t{99}}) {
    Bytes object = envelope_of(kind, kPayload, kFormerVersion);
    object.push_back(0);
    object.back() ^= 1;
    for (const char* part : {"version 1 ", "version 2"}) {
      CHECK_THROWS_WITH(open_envelope(object, ObjectKind::kRound), WireFormatError, part);
      CHECK_THROWS_WITH(
          scheme::check_envelope_header(ByteView(object).first(16), 5, ObjectKind::kUpload),
          WireFormatError, part);
    }
  }
}

TEST("every length is held against the bytes at hand") {
  const Bytes object = envelope_of(4, kPayload);
  for (std::size_t size = 0; size < object.size(); ++size) {
    const Bytes cut(object.begin(), object.begin() + static_cast<std::ptrdiff_t>(size));
    CHECK_THROWS(open_envelope(cut, ObjectKind::kRound), WireFormatError);
    Bytes repaired = cut;  // says itself how short it is
    repair_length(repaired);
    if (size < 20) CHECK_THROWS(open_envelope(repaired, ObjectKind::kRound), WireFormatError);
  }
  Bytes padded = object;
  padded.push_back(0);
  CHECK_THROWS_WITH(open_envelope(padded, ObjectKind::kRound), WireFormatError, "26 were given");
  CHECK_THROWS(open_envelope({}, ObjectKind::kRound), WireFormatError);
}

TEST("checksums of two parts join to that of the whole") {
  Random random(7);
  Bytes bytes(5000);
  for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(random.next());
  const auto crc = [&](std::size_t from, std::size_t to) {
    return isa::kernels().crc32c(0, bytes.data() + from, to - from);
  };
  for (std::size_t split = 0; split <= bytes.size(); split += split < 70 ? 1 : 311) {
    CHECK_EQ(scheme::crc32c_combine(crc(0, split), crc(split, bytes.size()), bytes.size() - split),
             crc(0, bytes.size()));
  }
  // Beyond 2^32 bytes: carrying over n zeros and then m is carrying over n + m.
  const std::uint32_t start = 0x12345678;
  const std::uint64_t lengths[] = {1, 65536, std::uint64_t{5} << 32, (std::uint64_t{1} << 40) + 3};
  for (const std::uint64_t n : lengths) {
    for (const std::uint64_t m : lengths) {
      CHECK_EQ(scheme::crc32c_combine(scheme::crc32c_combine(start, 0, n), 0, m),
               scheme::crc32c_combine(start, 0, n + m));
    }
  }
}

TEST("kinds have names for messages") {
  CHECK_EQ(scheme::kind_name(ObjectKind::kPlan), "plan");
  CHECK_EQ(scheme::kind_name(ObjectKind::kPublicKey), "public key");
  CHECK_EQ(scheme::kind_name(ObjectKind::kSecretKey), "secret key");
  CHECK_EQ(scheme::kind_name(ObjectKind::kRound), "round");
  CHECK_EQ(scheme::kind_name(ObjectKind::kUpload), "upload");
  CHECK_EQ(scheme::kind_name(ObjectKind::kAggregate), "aggregate");
  CHECK_EQ(scheme::kind_name(ObjectKind::kOpeningRequest), "opening request");
  CHECK_EQ(scheme::kind_name(ObjectKind::kSumKey), "sum key");
  CHECK_EQ(scheme::kind_name(ObjectKind::kDecryptionShare), "decryption share");
  CHECK_EQ(scheme::kind_name(ObjectKind::kPublicIdentity), "public identity");
  CHECK_EQ(scheme::kind_name(ObjectKind::kMemberRequest), "member request");
  CHECK_EQ(scheme::kind_name(ObjectKind::kEndorsement), "endorsement");
  CHECK_EQ(scheme::kind_name(ObjectKind::kCertificate), "certificate");
  CHECK_EQ(scheme::kind_name(ObjectKind::kAnswer), "answer");
  CHECK_EQ(scheme::kind_name(ObjectKind::kGroup), "group keys");
  CHECK_EQ(scheme::kind_name(ObjectKind::kChallengeAnswer), "challenge answer");
  CHECK_EQ(scheme::kind_name(ObjectKind::kVerdict), "verdict");
  for (const int unknown : {0, 18, 99, 256, 257, 265, 513, 65535}) {
    CHECK_EQ(scheme::kind_name(static_cast<ObjectKind>(unknown)),
             "object of unknown kind " + std::to_string(unknown));
  }
}

}  // namespace
}  // namespace veilsum::test
