// Layer: scheme. See wire.h.
#include "scheme/wire.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <utility>
#include <vector>

#include "base/file_stream.h"
#include "isa/dispatch.h"
#include "scheme/kept_files.h"

namespace veilsum::scheme {
namespace {

constexpr char kMagic[4] = {'V', 'S', 'U', 'M'};

std::string with_article(const std::string& name) {
  return (std::string("aeiou").find(name[0]) != std::string::npos ? "an " : "a ") + name;
}

std::span<const ByteView> as_span(std::initializer_list<ByteView> parts) {
  return {parts.begin(), parts.size()};
}

}  // namespace

std::string kind_name(ObjectKind kind) {
  static constexpr const char* kNames[] = {"plan",
                                           "public key",
                                           "secret key",
                                           "round",
                                           "upload",
                                           "aggregate",
                                           "opening request",
                                           "sum key",
                                           "decryption share",
                                           "public identity",
                                           "member request",
                                           "endorsement",
                                           "certificate",
                                           "answer",
                                           "group keys",
                                           "challenge answer",
                                           "verdict"};
  const auto number = static_cast<std::uint16_t>(kind);
  if (number == 0 || number > std::size(kNames)) {
    return "object of unknown kind " + std::to_string(number);
  }
  return kNames[number - 1];
}

Frame frame_around(ObjectKind kind, std::span<const ByteView> parts) {
  std::size_t total = kEnvelopeHeaderBytes + kEnvelopeTrailerBytes;
  for (const ByteView part : parts) total += part.size();
  Bytes header = envelope_header(kind, total);
  const auto crc32c = isa::kernels().crc32c;
  std::uint32_t crc = crc32c(0, header.data(), header.size());
  for (const ByteView part : parts) crc = crc32c(crc, part.data(), part.size());
  ByteWriter trailer(kEnvelopeTrailerBytes);
  trailer.u32(crc);
  return {total, std::move(header), trailer.take()};
}

Bytes seal(ObjectKind kind, std::span<const ByteView> parts) {
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
  const Frame frame = frame_around(kind, as_span(parts));
  std::vector<ByteView> all{frame.header};
  all.insert(all.end(), parts.begin(), parts.end());
  all.emplace_back(frame.trailer);
  write_object(path, all, file_kind);
}

Bytes envelope_header(ObjectKind kind, std::uint64_t total_bytes) {
  ByteWriter header(kEnvelopeHeaderBytes);
  header.text({kMagic, sizeof kMagic});
  header.u16(kWireVersion);
  header.u16(static_cast<std::uint16_t>(kind));
  header.u64(total_bytes);
  return header.take();
}

void check_envelope_header(ByteView first_bytes, std::uint64_t actual_bytes, ObjectKind kind) {
  ByteReader in(first_bytes, kind_name(kind));
  const ByteView magic = in.raw(sizeof kMagic);
  if (std::memcmp(magic.data(), kMagic, sizeof kMagic) != 0) {
    in.fail("these bytes are not a Veilsum object (magic missing)");
  }
  const std::uint16_t version = in.u16();
  if (version != kWireVersion) {
    in.fail("format version " + std::to_string(version) + " is not supported (this is version " +
            std::to_string(kWireVersion) + "); make it anew with this Veilsum, or read it with " +
            (version < kWireVersion ? "the older" : "the newer") + " one that made it");
  }
  const std::uint16_t found = in.u16();
  if (found != static_cast<std::uint16_t>(kind)) {
    throw WireFormatError("this is " + with_article(kind_name(static_cast<ObjectKind>(found))) +
                          ", but " + with_article(kind_name(kind)) +
                          " is needed; are two arguments swapped?");
  }
  const std::uint64_t total = in.u64();
  if (total != actual_bytes || total < kEnvelopeHeaderBytes + kEnvelopeTrailerBytes) {
    in.fail("the object says it has " + std::to_string(total) + " bytes, but " +
            std::to_string(actual_bytes) + " were given (truncated or padded)");
  }
}

void refuse_other_kind(const std::string& path, ObjectKind kind) {
  const InputFile file(path);
  if (file.size() < kEnvelopeHeaderBytes) return;
  std::uint8_t first[kEnvelopeHeaderBytes];
  file.read_at(0, first);
  std::uint16_t found = 0;
  std::memcpy(&found, first + 6, sizeof found);
  const bool ours = std::memcmp(first, kMagic, sizeof kMagic) == 0 && first[4] == kWireVersion;
  if (ours && found != static_cast<std::uint16_t>(kind)) {
    check_envelope_header(first, file.size(), kind);
  }
}

void check_checksum_of(const std::function<void(std::uint64_t, std::span<std::uint8_t>)>& read,
                       std::uint64_t actual_bytes, ObjectKind kind) {
  const std::uint64_t body = actual_bytes - kEnvelopeTrailerBytes;
  Bytes portion(static_cast<std::size_t>(std::min<std::uint64_t>(body, std::uint64_t{1} << 20)));
  std::uint32_t crc = 0;
  for (std::uint64_t at = 0; at < body; at += portion.size()) {
    const auto bytes = static_cast<std::size_t>(std::min<std::uint64_t>(portion.size(), body - at));
    read(at, {portion.data(), bytes});
    crc = isa::kernels().crc32c(crc, portion.data(), bytes);
  }
  std::uint8_t last[kEnvelopeTrailerBytes];
  read(body, last);
  std::uint32_t stored = 0;
  std::memcpy(&stored, last, sizeof stored);
  if (crc != stored) refuse_checksum(kind);
}

void refuse_checksum(ObjectKind kind) {
  throw WireFormatError(kind_name(kind) + ": checksum mismatch: the bytes were damaged on the way");
}

std::uint32_t crc32c_combine(std::uint32_t crc_of_a, std::uint32_t crc_of_b,
                             std::uint64_t bytes_of_b) noexcept {
  constexpr std::uint32_t kPolynomial = 0x82f63b78u;  // reflected: bit 31 is x^0
  const auto multiply = [](std::uint32_t a, std::uint32_t b) {
    std::uint32_t product = 0;
    for (int i = 31; i >= 0; --i) {
      if ((a >> i & 1u) != 0) product ^= b;
      b = (b >> 1) ^ ((b & 1u) != 0 ? kPolynomial : 0u);  // times x
    }
    return product;
  };
  std::uint32_t power = 0x80000000u;   // x^0
  std::uint32_t square = 0x00800000u;  // x^8, then x^16, ...
  for (; bytes_of_b != 0; bytes_of_b >>= 1) {
    if ((bytes_of_b & 1u) != 0) power = multiply(power, square);
    square = multiply(square, square);
  }
  return multiply(crc_of_a, power) ^ crc_of_b;
}

ByteView open_envelope(ByteView bytes, ObjectKind kind) {
  check_envelope_header(bytes.first(std::min(bytes.size(), kEnvelopeHeaderBytes)), bytes.size(),
                        kind);
  const std::size_t body = bytes.size() - kEnvelopeTrailerBytes;
  std::uint32_t stored = 0;
  std::memcpy(&stored, bytes.data() + body, sizeof stored);
  if (isa::kernels().crc32c(0, bytes.data(), body) != stored) refuse_checksum(kind);
  return bytes.subspan(kEnvelopeHeaderBytes, body - kEnvelopeHeaderBytes);
}

}  // namespace veilsum::scheme
