// Layer: tests. Objects damaged on purpose, with the checksum put right. Every reader must refuse
// them with a VeilsumError, or accept them as another object that is written back to the very same
// bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <string>

#include "check.h"
#include "support/bytes.h"
#include "support/envelopes.h"
#include "support/random.h"
#include "veilsum/errors.h"

namespace veilsum::test {

struct DamageReport {
  std::size_t refused = 0;
  std::size_t accepted = 0;
};

/// Reads damaged bytes with read(bytes), which returns what the object is written back as.
template <typename Read>
void read_damaged(const Bytes& damaged, Read& read, const std::string& how, DamageReport& report) {
  try {
    const Bytes again = read(damaged);
    ++report.accepted;
    if (again != damaged) CHECK_EQ(how, "accepted, but written back differently");
  } catch (const VeilsumError&) {
    ++report.refused;
  } catch (const std::exception& error) {
    CHECK_EQ(how, std::string("refused with a VeilsumError, not with: ") + error.what());
  }
}

/// Every byte before the trailer changed by a random amount, each at a time, checksum repaired; in
/// the first `dense` bytes of the payload also every single bit.
template <typename Read>
DamageReport flip_every_byte(const Bytes& object, Read read, std::size_t dense = 128,
                             std::size_t stride = 1) {
  DamageReport report;
  Random random(object.size());
  Bytes damaged = object;
  const auto try_flip = [&](std::size_t at, std::uint8_t change) {
    damaged[at] = static_cast<std::uint8_t>(object[at] ^ change);
    repair_checksum(damaged);
    read_damaged(damaged, read, "byte " + std::to_string(at) + " changed", report);
    damaged[at] = object[at];
  };
  for (std::size_t at = 0; at + kTrailerBytes < object.size(); ++at) {
    if (at < kHeaderBytes + dense) {
      for (unsigned bit = 0; bit < 8; ++bit) try_flip(at, static_cast<std::uint8_t>(1u << bit));
      try_flip(at, 0xff);
    } else if (at % stride == 0) {
      try_flip(at, static_cast<std::uint8_t>(1 + random.below(255)));
    }
  }
  return report;
}

/// The payload cut after every number of bytes, and continued with up to nine more; length and
/// checksum repaired. Nothing of that may be accepted.
template <typename Read>
DamageReport cut_everywhere(const Bytes& object, Read read, std::size_t stride = 1) {
  DamageReport report;
  const std::size_t body = object.size() - kTrailerBytes;
  for (std::size_t kept = 0; kept < object.size() + 10; ++kept) {
    if (kept == body) continue;
    if (kept > 512 && kept + 512 < body && kept % stride != 0) continue;
    Bytes damaged(object.begin(),
                  object.begin() + static_cast<std::ptrdiff_t>(kept < body ? kept : body));
    if (kept < kHeaderBytes) {
      // Not even a header: as it is.
    } else {
      damaged.resize(kept + kTrailerBytes, 0x5a);
      repair_length(damaged);
    }
    damaged.shrink_to_fit();
    read_damaged(damaged, read, "cut after byte " + std::to_string(kept), report);
  }
  CHECK_EQ(report.accepted, 0u);
  return report;
}

}  // namespace veilsum::test
