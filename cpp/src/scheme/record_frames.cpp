// Layer: scheme. See record_frames.h.
#include "scheme/record_frames.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "base/file_stream.h"
#include "isa/dispatch.h"
#include "veilsum/errors.h"

namespace veilsum::scheme {
namespace {

constexpr std::size_t kWindow = std::size_t{64} * 1024;

std::uint32_t crc_of(ByteView bytes) {
  return isa::kernels().crc32c(0, bytes.data(), bytes.size());
}

std::uint32_t u32_at(const std::uint8_t* bytes) {
  std::uint32_t value = 0;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

/// Binds a length to the place where it stands.
std::uint32_t crc_of_length(std::uint64_t at, std::uint32_t length) {
  std::uint8_t bytes[12];
  std::memcpy(bytes, &at, 8);
  std::memcpy(bytes + 8, &length, 4);
  return crc_of(bytes);
}

/// Part of a file in memory, moved forward as it is asked for.
class Window {
 public:
  Window(int fd, std::uint64_t size, const std::string& path)
      : fd_(fd), size_(size), path_(path), buffer_(std::min<std::uint64_t>(kWindow, size)) {}

  /// The bytes [at, at + count), which the file has; nothing when it became shorter meanwhile.
  const std::uint8_t* get(std::uint64_t at, std::size_t count) {
    if (at >= at_ && at - at_ + count <= held_) return buffer_.data() + (at - at_);
    if (buffer_.size() < count) buffer_ = SecretBuffer<std::uint8_t>(count);
    at_ = at;
    held_ = static_cast<std::size_t>(std::min<std::uint64_t>(buffer_.size(), size_ - at));
    held_ = read_all_at(fd_, at, buffer_.span().first(held_), path_);
    return held_ < count ? nullptr : buffer_.data();
  }

 private:
  int fd_;
  std::uint64_t size_;
  const std::string& path_;
  SecretBuffer<std::uint8_t> buffer_;
  std::uint64_t at_ = 0;
  std::size_t held_ = 0;
};

bool only_zeros(Window& window, std::uint64_t first, std::uint64_t size) {
  while (first < size) {
    const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(kWindow, size - first));
    const std::uint8_t* bytes = window.get(first, count);
    if (bytes == nullptr) return false;
    if (!std::all_of(bytes, bytes + count, [](std::uint8_t b) { return b == 0; })) return false;
    first += count;
  }
  return true;
}

}  // namespace

SecretBuffer<std::uint8_t> frame_record(std::uint64_t at, ByteView payload) {
  if (payload.empty() || payload.size() > std::numeric_limits<std::uint32_t>::max()) {
    throw ParameterError("a record of " + std::to_string(payload.size()) +
                         " bytes cannot be stored; it has 1 to 2^32 - 1");
  }
  const auto length = static_cast<std::uint32_t>(payload.size());
  const std::uint32_t head[2] = {length, crc_of_length(at, length)};
  const std::uint32_t tail = crc_of(payload);
  SecretBuffer<std::uint8_t> out(kRecordHead + payload.size() + kRecordTail);
  std::memcpy(out.data(), head, kRecordHead);
  std::memcpy(out.data() + kRecordHead, payload.data(), payload.size());
  std::memcpy(out.data() + kRecordHead + payload.size(), &tail, kRecordTail);
  return out;
}

RecordScan scan_records(int fd, std::uint64_t first, std::uint64_t size, const std::string& path,
                        const std::function<void(std::uint64_t, ByteView)>& visit) {
  Window window(fd, size, path);
  std::uint64_t at = first;
  while (at < size && size - at >= kRecordHead) {
    const std::uint64_t left = size - at;
    const std::uint8_t* head = window.get(at, kRecordHead);
    if (head == nullptr) return {at, true};
    const std::uint32_t length = u32_at(head);
    if (length == 0 || u32_at(head + 4) != crc_of_length(at, length)) {
      return {at, !only_zeros(window, at, size)};
    }
    const std::uint64_t whole = kRecordHead + std::uint64_t{length} + kRecordTail;
    if (whole > left) break;  // cut short
    const std::uint8_t* record = window.get(at, static_cast<std::size_t>(whole));
    if (record == nullptr) return {at, true};
    const ByteView payload(record + kRecordHead, length);
    const std::uint32_t stored = u32_at(record + kRecordHead + length);
    if (stored != crc_of(payload)) return {at, whole != left || stored != 0};
    visit(at, payload);
    at += whole;
  }
  return {at, false};
}

}  // namespace veilsum::scheme
