// Layer: scheme. See wire.h.
#include "scheme/wire.h"

#include <cstring>
#include <vector>

#include "isa/dispatch.h"

namespace veilsum::scheme {
namespace {

constexpr char kMagic[4] = {'V', 'S', 'U', 'M'};

/// What stands before and after a payload.
struct Frame {
  std::size_t total;
  Bytes header;
  Bytes trailer;
};

Frame frame_around(ObjectKind kind, std::initializer_list<ByteView> parts) {
  std::size_t total = kEnvelopeHeaderBytes + kEnvelopeTrailerBytes;
  for (const ByteView part : parts) total += part.size();
  ByteWriter header(kEnvelopeHeaderBytes);
  header.text({kMagic, sizeof kMagic});
  header.u16(kWireVersion);
  header.u16(static_cast<std::uint16_t>(kind));
  header.u64(total);
  const auto crc32c = isa::kernels().crc32c;
  std::uint32_t crc = crc32c(0, header.bytes().data(), header.size());
  for (const ByteView part : parts) crc = crc32c(crc, part.data(), part.size());
  ByteWriter trailer(kEnvelopeTrailerBytes);
  trailer.u32(crc);
  return {total, header.take(), trailer.take()};
}

}  // namespace

std::string kind_name(ObjectKind kind) {
  switch (kind) {
    case ObjectKind::kPlan:
      return "plan";
    case ObjectKind::kPublicKey:
      return "public key";
    case ObjectKind::kSecretKey:
      return "secret key";
    case ObjectKind::kRound:
      return "round";
    case ObjectKind::kUpload:
      return "upload";
    case ObjectKind::kAggregate:
      return "aggregate";
    case ObjectKind::kOpeningRequest:
      return "opening request";
    case ObjectKind::kSumKey:
      return "sum key";
  }
  return "object of unknown kind " + std::to_string(static_cast<unsigned>(kind));
}

Bytes seal(ObjectKind kind, std::initializer_list<ByteView> parts) {
  const Frame frame = frame_around(kind, parts);
  Bytes out;
  out.reserve(frame.total);
  out.insert(out.end(), frame.header.begin(), frame.header.end());
  for (const ByteView part : parts) out.insert(out.end(), part.begin(), part.end());
  out.insert(out.end(), frame.trailer.begin(), frame.trailer.end());
  return out;
}

void seal_to_file(const std::string& path, FileKind file_kind, ObjectKind kind,
                  std::initializer_list<ByteView> parts) {
  const Frame frame = frame_around(kind, parts);
  std::vector<ByteView> all{frame.header};
  all.insert(all.end(), parts.begin(), parts.end());
  all.emplace_back(frame.trailer);
  write_file(path, all, file_kind);
}

ByteView open_envelope(ByteView bytes, ObjectKind kind) {
  const std::string name = kind_name(kind);
  ByteReader in(bytes, name);
  const ByteView magic = in.raw(sizeof kMagic);
  if (std::memcmp(magic.data(), kMagic, sizeof kMagic) != 0) {
    in.fail("these bytes are not a Veilsum object (magic missing)");
  }
  const std::uint16_t version = in.u16();
  if (version != kWireVersion) {
    in.fail("format version " + std::to_string(version) + " is not supported (this is version " +
            std::to_string(kWireVersion) + ")");
  }
  const std::uint16_t found = in.u16();
  if (found != static_cast<std::uint16_t>(kind)) {
    in.fail("expected here, but the bytes are a " + kind_name(static_cast<ObjectKind>(found)));
  }
  const std::uint64_t total = in.u64();
  if (total != bytes.size() || total < kEnvelopeHeaderBytes + kEnvelopeTrailerBytes) {
    in.fail("the object says it has " + std::to_string(total) + " bytes, but " +
            std::to_string(bytes.size()) + " were given (truncated or padded)");
  }
  const std::size_t body = bytes.size() - kEnvelopeTrailerBytes;
  std::uint32_t stored = 0;
  std::memcpy(&stored, bytes.data() + body, sizeof stored);
  if (isa::kernels().crc32c(0, bytes.data(), body) != stored) {
    in.fail("checksum mismatch: the bytes were damaged on the way");
  }
  return bytes.subspan(kEnvelopeHeaderBytes, body - kEnvelopeHeaderBytes);
}

}  // namespace veilsum::scheme
