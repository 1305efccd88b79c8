// Layer: cipher. The hashes of a finished portion at the end of its journal record. Such a record
// is a secret: it is wiped from memory, and the journal itself is a file of mode 0600 that is
// overwritten when the run is done.
#pragma once

#include <cstdint>
#include <initializer_list>

#include "base/bytes.h"
#include "base/wipe.h"
#include "cipher/sum_tag.h"
#include "scheme/journal.h"

namespace veilsum::cipher {

/// Bytes of a hash in a record, of which there are two at most.
inline constexpr std::size_t kHashBytes = isa::kTagEvaluations * sizeof(std::uint64_t);

/// Records what was written to `record`, and behind it the hashes of the portion.
/// @param record with room for all of it, so that no part stays behind in memory that it left
/// @param hashes null where there is none
inline void record_with_hashes(scheme::ResumableOutput& output, ByteWriter record,
                               std::initializer_list<const ring::TagSum*> hashes) {
  struct Wiped {
    ~Wiped() { secure_wipe(bytes.data(), bytes.size()); }
    Bytes bytes;
  };
  for (const ring::TagSum* hash : hashes) {
    if (hash == nullptr) continue;
    for (const std::uint64_t value : hash->values()) record.u64(value);
  }
  const Wiped whole{record.take()};
  output.record(whole.bytes);
}

/// Reads the next hash at the end of a record.
/// @throws ParameterError, WireFormatError when it is none of this field
inline ring::TagSum read_hash(ByteReader& in, const ring::TagField& field) {
  ring::TagSum::Values values;
  for (std::uint64_t& value : values) value = in.u64();
  const ring::TagSum hash(field, values);
  secure_wipe(values.data(), sizeof values);
  return hash;
}

}  // namespace veilsum::cipher
