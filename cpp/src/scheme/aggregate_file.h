// Layer: scheme. An aggregate in a file, of which only the head is in memory: enough to open the
// sum. Its blocks, and with them the checksum, are looked at by whoever reads the blocks.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/file_stream.h"
#include "scheme/blocks_digest.h"
#include "scheme/opening.h"

namespace veilsum::scheme {

class AggregateFile {
 public:
  /// Reads and checks everything before the blocks.
  /// @throws WireFormatError, RoundError as Aggregate::from_bytes
  AggregateFile(const std::string& path, const Round& round);

  /// Reads the blocks where the request names them.
  OpeningRequest opening_request(int threads) const;
  const Manifest& manifest() const noexcept { return *manifest_; }
  const Round& round() const noexcept { return manifest_->round(); }
  const InputFile& file() const noexcept { return *file_; }
  std::uint64_t wire_bytes() const noexcept { return file_->size(); }
  /// Where the blocks begin in the file.
  std::uint64_t blocks_offset() const noexcept { return blocks_offset_; }
  /// @param crc_of_blocks of all blocks, as they were read
  /// @throws WireFormatError when the file's checksum is another one
  void check_checksum(std::uint32_t crc_of_blocks) const;
  /// Reads the whole file for its checksum alone.
  /// @throws WireFormatError when it is wrong
  void check_damage() const;
  /// Reads all blocks for the checksum.
  /// @throws WireFormatError
  void verify(int threads) const;
  /// The same, and the digest over the blocks, as of an upload's.
  Digest blocks_digest(int threads) const;
  /// The same, and the keyed hash over the blocks: what open_sum() takes. This object must outlive
  /// the function.
  HashBlocks hash_blocks(int threads) const;
  struct Reading {
    Digest digest;
    ring::TagSum hash;
  };
  /// Both, of the same bytes: whoever reads the blocks again knows by the hash that they are these.
  Reading read_blocks(int threads, const ring::BlocksHash& hash) const;

 private:
  /// Takes blocks [first, first + count), in any order and on any thread.
  using BlockBytes = std::function<void(std::uint64_t first, std::uint64_t count, ByteView bytes)>;
  /// Reads all blocks in order. @param digest null, @param each empty where it is not wanted
  void read_through(int threads, BlocksDigest* digest, const BlockBytes& each) const;
  ring::TagSum hash_through(int threads, BlocksDigest* digest, const ring::BlocksHash& hash) const;
  void read_head(const Round& round);

  std::shared_ptr<const InputFile> file_;
  std::shared_ptr<const Manifest> manifest_;
  std::uint64_t blocks_offset_ = 0;
  std::uint32_t crc_of_head_ = 0;
  std::uint32_t stored_crc_ = 0;
};

/// check_sum_key() of a sum in a file: of a damaged one, damage is told before anything else.
/// @throws KeyMismatchError, WireFormatError
void check_sum_key(const SumKey& key, const AggregateFile& total);

/// Everything of an aggregate before its blocks, envelope included.
Bytes write_aggregate_head(const Manifest& manifest);

}  // namespace veilsum::scheme
