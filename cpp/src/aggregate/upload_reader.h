// Layer: aggregate. An upload whose blocks stand elsewhere than in memory - in a file, or spooled
// while it arrived - with everything that must hold for it: head, checksum, signed digest.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "base/file_stream.h"
#include "scheme/blocks_digest.h"
#include "scheme/upload.h"

namespace veilsum::aggregate {

/// Head and running checks of one upload.
class UploadCheck {
 public:
  /// Fills the given bytes from an offset of the upload on. Thread-safe.
  using Read = std::function<void(std::uint64_t, std::span<std::uint8_t>)>;

  /// Reads and checks the head.
  /// @throws WireFormatError, RoundError
  UploadCheck(const scheme::Round& round, std::uint64_t bytes, Read read);

  const scheme::UploadHead& head() const noexcept { return head_; }
  /// Whether the blocks' digest is needed.
  bool hashed() const noexcept { return scheme::blocks_are_named(round_, head_); }
  void read_blocks(std::uint64_t offset, std::span<std::uint8_t> out) const {
    read_(blocks_offset_ + offset, out);
  }
  /// Takes note of the next span of blocks: its checksum, and when hashed its pieces' digests.
  void append(std::uint32_t crc, std::uint64_t bytes, ByteView piece_digests) noexcept;
  /// After the last span: checksum, and the digest that was signed.
  /// @throws WireFormatError, RoundError
  void check_whole();
  /// Forgets the spans.
  void restart() noexcept;

 private:
  void read_head(std::uint64_t bytes);

  scheme::Round round_;
  Read read_;
  scheme::UploadHead head_;
  std::uint64_t blocks_offset_ = 0;
  std::uint32_t crc_of_head_ = 0;
  std::uint32_t crc_ = 0;
  std::uint32_t stored_crc_ = 0;
  scheme::BlocksDigest digest_;
};

/// An upload in a file.
class UploadReader {
 public:
  /// @param files how many are read together: many are not kept open
  UploadReader(const std::string& path, const scheme::Round& round, std::size_t files);

  const InputFile& file() const noexcept { return *file_; }
  const scheme::UploadHead& head() const noexcept { return check_.head(); }
  void read_blocks(std::uint64_t offset, std::span<std::uint8_t> out) const {
    check_.read_blocks(offset, out);
  }
  void append(std::uint32_t crc, std::uint64_t bytes, ByteView pieces) noexcept {
    check_.append(crc, bytes, pieces);
  }
  void check_whole() { check_.check_whole(); }
  UploadCheck& check() noexcept { return check_; }

 private:
  std::shared_ptr<const InputFile> file_;
  UploadCheck check_;
};

}  // namespace veilsum::aggregate
