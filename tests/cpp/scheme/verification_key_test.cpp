// Layer: tests (scheme). Keys that identify nobody are refused wherever a round is made or read;
// their neighbours are not. tests/python/security/test_weak_keys.py computes the same keys from the
// curve.
#include "scheme/verification_key.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "check.h"
#include "scheme/round.h"
#include "support/envelopes.h"
#include "support/rounds.h"
#include "support/signatures.h"
#include "veilsum/errors.h"

namespace veilsum::test {
namespace {

using scheme::VerificationKey;
using scheme::weakness;

/// 2^255 - 19 + more, little-endian, with the sign bit.
VerificationKey around_p(int more, bool sign) {
  VerificationKey key;
  key.fill(0xff);
  key.front() = static_cast<std::uint8_t>(0xed + more);
  key.back() = sign ? 0xff : 0x7f;
  return key;
}

VerificationKey small(std::uint8_t number, bool sign) {
  VerificationKey key{};
  key.front() = number;
  key.back() = sign ? 0x80 : 0;
  return key;
}

TEST("a key is weak when its coordinate is that of a small point or not below p") {
  for (const bool sign : {false, true}) {
    CHECK(weakness(small(0, sign)) != nullptr);
    CHECK(weakness(small(1, sign)) != nullptr);
    CHECK(weakness(small(2, sign)) == nullptr);
    CHECK(weakness(around_p(-2, sign)) == nullptr);
    for (int more = -1; more <= 18; ++more) CHECK(weakness(around_p(more, sign)) != nullptr);
  }
  for (const VerificationKey& key : fake_roster(100)) CHECK(weakness(key) == nullptr);
}

TEST("no round takes a weak key, from fields or from bytes") {
  const scheme::Plan plan = make_plan(10, 16);
  const scheme::SecretKey key = make_key();
  scheme::RoundFields fields = fields_of({{100, 1.0}});
  fields.roster = fake_roster(4);
  const Bytes good =
      payload_of(scheme::Round(plan, key.public_key(), fields, bytes32(5)).to_bytes());
  for (const VerificationKey& weak : {small(1, false), around_p(0, true)}) {
    scheme::RoundFields spoilt = fields;
    spoilt.roster[2] = weak;
    CHECK_THROWS(scheme::Round(plan, key.public_key(), spoilt, bytes32(5)), ParameterError);
    Bytes bytes = good;
    const auto place =
        std::search(bytes.begin(), bytes.end(), fields.roster[2].begin(), fields.roster[2].end());
    CHECK(place != bytes.end());
    std::copy(weak.begin(), weak.end(), place);
    CHECK_THROWS(scheme::Round::from_bytes(envelope_of(4, bytes)), WireFormatError);
  }
}

}  // namespace
}  // namespace veilsum::test
