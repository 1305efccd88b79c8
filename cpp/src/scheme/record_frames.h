// Layer: scheme. Records in an append-only file, framed so that a crash while one was being written
// can be told from damage. What the records say is not known here; journal.h and ledger_file.h
// append them and read them back.
//
// A record, at byte `at` of its file: u32 length of the payload (not 0), u32 CRC-32C of LE64(at)
// and the length, the payload, u32 CRC-32C of the payload. The first checksum makes a damaged
// length damage, not a record that seems to be cut short and takes those behind it along.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/aligned_buffer.h"
#include "base/bytes.h"

namespace veilsum::scheme {

inline constexpr std::size_t kRecordHead = 8;
inline constexpr std::size_t kRecordTail = 4;

/// The bytes of a record that is to stand at `at`. Wiped when freed: journals hold secrets.
/// @param payload 1 to 2^32 - 1 bytes
/// @throws ParameterError for another length
SecretBuffer<std::uint8_t> frame_record(std::uint64_t at, ByteView payload);

/// What reading the records of a file found.
struct RecordScan {
  std::uint64_t end;     ///< behind the last whole record
  bool damaged = false;  ///< what follows there was no crash's doing
};

/// Reads the records in [first, size) of a file and calls visit(where the record stands, payload)
/// for each whole one. A crash leaves the beginning of a last record, or zeros where its bytes, or
/// the last of them, were to be: such a record is not whole. Never allocates more than the file
/// has.
/// @param path for messages
RecordScan scan_records(int fd, std::uint64_t first, std::uint64_t size, const std::string& path,
                        const std::function<void(std::uint64_t, ByteView)>& visit);

}  // namespace veilsum::scheme
