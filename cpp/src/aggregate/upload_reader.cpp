// Layer: aggregate. See upload_reader.h.
#include "aggregate/upload_reader.h"

#include <cstring>
#include <utility>

#include "isa/dispatch.h"
#include "scheme/wire.h"
#include "veilsum/errors.h"

namespace veilsum::aggregate {
namespace {

/// Files that are kept open at a time: a process may usually have 1024.
constexpr std::size_t kOpenFiles = 128;

}  // namespace

UploadCheck::UploadCheck(const scheme::Round& round, std::uint64_t bytes, Read read)
    : round_(round), read_(std::move(read)) {
  // The envelope first: bytes that are something else are told so.
  Bytes first(scheme::kEnvelopeHeaderBytes);
  if (bytes < first.size()) {
    throw WireFormatError("upload: truncated: it has " + std::to_string(bytes) + " bytes");
  }
  read_(0, first);
  scheme::check_envelope_header(first, bytes, scheme::ObjectKind::kUpload);
  try {
    read_head(bytes);
  } catch (const VeilsumError&) {
    scheme::check_checksum_of(read_, bytes, scheme::ObjectKind::kUpload);
    throw;
  }
}

void UploadCheck::read_head(std::uint64_t bytes) {
  Bytes first(scheme::kEnvelopeHeaderBytes);
  if (bytes >= first.size() + 32 + scheme::kEnvelopeTrailerBytes) {
    std::uint8_t id[32];
    read_(first.size(), id);
    ByteReader in(id, "upload");
    scheme::check_round_id(in.array<32>(), round_, "the upload");
  }
  blocks_offset_ = scheme::upload_head_bytes(round_, scheme::check_upload_size(bytes, round_));
  first.resize(static_cast<std::size_t>(blocks_offset_));
  read_(0, first);
  head_ = scheme::read_upload_head(first, bytes, round_);
  crc_of_head_ = isa::kernels().crc32c(0, first.data(), first.size());
  std::uint8_t last[scheme::kEnvelopeTrailerBytes];
  read_(bytes - sizeof last, last);
  std::memcpy(&stored_crc_, last, sizeof last);
  crc_ = crc_of_head_;
}

void UploadCheck::append(std::uint32_t crc, std::uint64_t bytes, ByteView piece_digests) noexcept {
  crc_ = scheme::crc32c_combine(crc_, crc, bytes);
  digest_.append(piece_digests);
}

void UploadCheck::check_whole() {
  if (crc_ != stored_crc_) scheme::refuse_checksum(scheme::ObjectKind::kUpload);
  if (hashed()) scheme::check_blocks(round_, head_, digest_.finish());
}

void UploadCheck::restart() noexcept {
  crc_ = crc_of_head_;
  digest_.restart();
}

UploadReader::UploadReader(const std::string& path, const scheme::Round& round, std::size_t files)
    : file_(std::make_shared<const InputFile>(
          path, files > kOpenFiles ? InputFile::Keep::kReopen : InputFile::Keep::kOpen)),
      check_(round, file_->size(),
             [file = file_](std::uint64_t offset, std::span<std::uint8_t> out) {
               file->read_at(offset, out);
             }) {}

}  // namespace veilsum::aggregate
