// Layer: base. Little-endian reading and writing with every length checked. The reader never
// allocates: it hands out views into the bytes it was given.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "veilsum/errors.h"

namespace veilsum {

static_assert(std::endian::native == std::endian::little,
              "Veilsum's wire format is little-endian and copied as it lies in memory");

using Bytes = std::vector<std::uint8_t>;
using ByteView = std::span<const std::uint8_t>;
using Digest = std::array<std::uint8_t, 32>;

/// Appends fixed-width little-endian fields.
class ByteWriter {
 public:
  explicit ByteWriter(std::size_t expected_bytes = 0) { bytes_.reserve(expected_bytes); }

  void raw(ByteView data) { bytes_.insert(bytes_.end(), data.begin(), data.end()); }
  void text(std::string_view data) {
    raw({reinterpret_cast<const std::uint8_t*>(data.data()), data.size()});
  }
  void u8(std::uint8_t value) { bytes_.push_back(value); }
  void u16(std::uint16_t value) { fixed(value); }
  void u32(std::uint32_t value) { fixed(value); }
  void u64(std::uint64_t value) { fixed(value); }
  void f64(double value) { fixed(value); }

  std::size_t size() const noexcept { return bytes_.size(); }
  const Bytes& bytes() const noexcept { return bytes_; }
  Bytes take() noexcept { return std::move(bytes_); }

 private:
  template <typename T>
  void fixed(T value) {
    std::uint8_t buffer[sizeof(T)];
    std::memcpy(buffer, &value, sizeof(T));
    bytes_.insert(bytes_.end(), buffer, buffer + sizeof(T));
  }
  Bytes bytes_;
};

/// Reads fixed-width little-endian fields from untrusted bytes.
/// Every call throws WireFormatError, naming `what`, when fewer bytes are left than it needs.
class ByteReader {
 public:
  ByteReader(ByteView bytes, std::string what) : bytes_(bytes), what_(std::move(what)) {}

  ByteView raw(std::uint64_t count) {
    if (count > bytes_.size()) {
      throw WireFormatError(what_ + ": truncated: a field needs " + std::to_string(count) +
                            " bytes, " + std::to_string(bytes_.size()) + " are left");
    }
    const ByteView taken = bytes_.first(static_cast<std::size_t>(count));
    bytes_ = bytes_.subspan(static_cast<std::size_t>(count));
    return taken;
  }
  std::uint8_t u8() { return fixed<std::uint8_t>(); }
  std::uint16_t u16() { return fixed<std::uint16_t>(); }
  std::uint32_t u32() { return fixed<std::uint32_t>(); }
  std::uint64_t u64() { return fixed<std::uint64_t>(); }
  double f64() { return fixed<double>(); }
  template <std::size_t N>
  std::array<std::uint8_t, N> array() {
    std::array<std::uint8_t, N> out;
    const ByteView view = raw(N);
    std::memcpy(out.data(), view.data(), N);
    return out;
  }

  std::size_t remaining() const noexcept { return bytes_.size(); }
  /// @throws WireFormatError when bytes are left over
  void finish() const {
    if (!bytes_.empty()) {
      throw WireFormatError(what_ + ": " + std::to_string(bytes_.size()) +
                            " bytes follow the last field");
    }
  }
  [[noreturn]] void fail(const std::string& reason) const {
    throw WireFormatError(what_ + ": " + reason);
  }

 private:
  template <typename T>
  T fixed() {
    T value;
    const ByteView view = raw(sizeof(T));
    std::memcpy(&value, view.data(), sizeof(T));
    return value;
  }
  ByteView bytes_;
  std::string what_;
};

/// Lower-case hexadecimal of public bytes (ids, digests).
inline std::string to_hex(ByteView bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  out.reserve(bytes.size() * 2);
  for (const std::uint8_t byte : bytes) {
    out.push_back(kDigits[byte >> 4]);
    out.push_back(kDigits[byte & 15]);
  }
  return out;
}

/// The first eight bytes in hex: enough to tell ids apart in a message.
inline std::string short_hex(ByteView bytes) { return to_hex(bytes.first(8)); }

}  // namespace veilsum
