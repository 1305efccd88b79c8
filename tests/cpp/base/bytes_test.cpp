// Layer: tests (base). The byte writer's layout, and the reader's refusal to look one byte beyond
// what it was given, field by field, with the object's name in the message.
#include "base/bytes.h"

#include <limits>
#include <string>
#include <type_traits>

#include "check.h"

namespace veilsum::test {
namespace {

TEST("fields are little-endian and lie next to each other") {
  ByteWriter out;
  out.u8(0x01);
  out.u16(0x0302);
  out.u32(0x07060504);
  out.u64(0x0f0e0d0c0b0a0908);
  out.f64(1.0);
  out.text("VS");
  out.raw(Bytes{0xfe, 0xff});
  const Bytes expected = {0x01,                                            // u8
                          0x02, 0x03,                                      // u16
                          0x04, 0x05, 0x06, 0x07,                          // u32
                          0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f,  // u64
                          0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xf0, 0x3f,  // f64
                          'V',  'S',  0xfe, 0xff};
  CHECK_EQ(out.bytes(), expected);
  CHECK_EQ(out.size(), 1u + 2 + 4 + 8 + 8 + 2 + 2);
  CHECK_EQ(out.take(), expected);
}

TEST("what was written is read back") {
  ByteWriter out(100);
  out.u8(255);
  out.u16(65535);
  out.u32(0xdeadbeef);
  out.u64(std::numeric_limits<std::uint64_t>::max() - 1);
  out.f64(-0.0);
  out.f64(std::numeric_limits<double>::denorm_min());
  out.raw(Bytes{1, 2, 3, 4});
  const Bytes bytes = out.take();
  ByteReader in(bytes, "thing");
  CHECK_EQ(in.remaining(), bytes.size());
  CHECK_EQ(in.u8(), 255);
  CHECK_EQ(in.u16(), 65535);
  CHECK_EQ(in.u32(), 0xdeadbeefu);
  CHECK_EQ(in.u64(), std::numeric_limits<std::uint64_t>::max() - 1);
  CHECK_EQ(std::bit_cast<std::uint64_t>(in.f64()), std::uint64_t{1} << 63);
  CHECK_EQ(in.f64(), std::numeric_limits<double>::denorm_min());
  const std::array<std::uint8_t, 4> expected = {1, 2, 3, 4};
  CHECK_EQ(in.array<4>(), expected);
  in.finish();
  CHECK_EQ(in.remaining(), 0u);
}

/// Reads with every number of bytes below, at and above what the field takes.
template <typename Read>
void check_bounds(std::size_t needed, Read read) {
  for (std::size_t given = 0; given <= needed + 2; ++given) {
    const Bytes bytes(given, 0x11);  // on the heap and exactly as long: a sanitizer sees over-reads
    ByteReader in(bytes, "an odd thing");
    if (given < needed) {
      CHECK_THROWS_WITH(read(in), WireFormatError, "an odd thing: truncated");
      CHECK_EQ(in.remaining(), given);  // a failed read takes nothing
    } else {
      read(in);
      CHECK_EQ(in.remaining(), given - needed);
    }
  }
}

TEST("every field is bounded by the bytes at hand") {
  check_bounds(1, [](ByteReader& in) { in.u8(); });
  check_bounds(2, [](ByteReader& in) { in.u16(); });
  check_bounds(4, [](ByteReader& in) { in.u32(); });
  check_bounds(8, [](ByteReader& in) { in.u64(); });
  check_bounds(8, [](ByteReader& in) { in.f64(); });
  check_bounds(32, [](ByteReader& in) { in.array<32>(); });
  check_bounds(7, [](ByteReader& in) { in.raw(7); });
  check_bounds(0, [](ByteReader& in) { in.raw(0); });
}

TEST("lengths that no memory has are refused, not wrapped") {
  const Bytes bytes(16, 0);
  for (const std::uint64_t length :
       {std::uint64_t{17}, std::uint64_t{1} << 32, (std::uint64_t{1} << 32) + 1,
        std::uint64_t{1} << 63, std::numeric_limits<std::uint64_t>::max()}) {
    ByteReader in(bytes, "x");
    CHECK_THROWS_WITH(in.raw(length), WireFormatError, std::to_string(length));
    CHECK_EQ(in.remaining(), 16u);
  }
}

TEST("views point into the bytes given; nothing is copied") {
  const Bytes bytes = {1, 2, 3, 4, 5};
  ByteReader in(bytes, "x");
  in.u8();
  CHECK(in.raw(3).data() == bytes.data() + 1);
}

TEST("finish and fail name the object") {
  const Bytes bytes(3, 0);
  ByteReader in(bytes, "sum key");
  CHECK_THROWS_WITH(in.finish(), WireFormatError, "sum key: 3 bytes follow the last field");
  CHECK_THROWS_WITH(in.fail("no"), WireFormatError, "sum key: no");
  in.raw(3);
  in.finish();
  ByteReader nothing({}, "x");
  nothing.finish();
  CHECK_THROWS(nothing.u8(), WireFormatError);
}

TEST("hexadecimal") {
  CHECK_EQ(veilsum::to_hex(ByteView{}), "");
  const Bytes bytes = {0x00, 0x0f, 0xf0, 0xff, 0x12, 0x9a, 0xbc, 0xde, 0x77};
  CHECK_EQ(veilsum::to_hex(bytes), "000ff0ff129abcde77");
  CHECK_EQ(short_hex(bytes), "000ff0ff129abcde");
}

TEST("every error is a VeilsumError and keeps its message") {
  const auto check_error = [](auto error) {
    const VeilsumError& base = error;
    CHECK_EQ(std::string(base.what()), "why");
  };
  check_error(ParameterError("why"));
  check_error(HeadroomError("why"));
  check_error(KeyMismatchError("why"));
  check_error(WireFormatError("why"));
  check_error(RoundError("why"));
  check_error(BackendUnavailableError("why"));
  static_assert(!std::is_base_of_v<ParameterError, WireFormatError>);
}

}  // namespace
}  // namespace veilsum::test
