// Layer: tests (isa). SHA-256 and CRC-32C on every level: published vectors, chaining, alignment.
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "check.h"
#include "support/bytes.h"
#include "support/levels.h"
#include "support/random.h"

namespace veilsum::test {
namespace {

using isa::KernelTable;

/// FIPS 180-4 padding around the kernel; `offset` misaligns the data.
std::string sha256(const KernelTable& table, std::string_view text, std::size_t offset = 0) {
  Bytes padded(offset + (text.size() + 8) / 64 * 64 + 64, 0);
  std::uint8_t* data = padded.data() + offset;
  if (!text.empty()) std::memcpy(data, text.data(), text.size());
  data[text.size()] = 0x80;
  const std::size_t bytes = padded.size() - offset;
  for (std::size_t i = 0; i < 8; ++i) {
    data[bytes - 1 - i] = static_cast<std::uint8_t>((text.size() * 8) >> (8 * i));
  }
  std::uint32_t state[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                            0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  table.sha256_compress(state, data, bytes / 64);
  Bytes digest;
  for (const std::uint32_t word : state) {
    for (unsigned i = 0; i < 4; ++i)
      digest.push_back(static_cast<std::uint8_t>(word >> (24 - 8 * i)));
  }
  return to_hex(digest);
}

TEST("SHA-256: FIPS 180 examples") {
  on_every_level([](const KernelTable& table) {
    CHECK_EQ(sha256(table, ""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    CHECK_EQ(sha256(table, "abc"),
             "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    CHECK_EQ(sha256(table, "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
             "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    CHECK_EQ(sha256(table, std::string(1'000'000, 'a')),
             "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  });
}

TEST("SHA-256: every level equals scalar at any length and alignment") {
  on_every_level([](const KernelTable& table) {
    Random random(3);
    for (std::size_t size = 0; size < 600; size += 7) {
      std::string text(size, '\0');
      for (char& c : text) c = static_cast<char>(random.next());
      CHECK_EQ(sha256(table, text, size % 9), sha256(*isa::scalar_table(), text));
    }
  });
}

TEST("SHA-256 of messages side by side is SHA-256 of each, also where they overlap") {
  on_every_level([](const KernelTable& table) {
    Random random(5);
    for (const std::size_t blocks : {0u, 1u, 2u, 3u, 17u}) {
      Bytes data(64 * (blocks + 40));
      for (std::uint8_t& byte : data) byte = static_cast<std::uint8_t>(random.next());
      std::uint32_t state[8][isa::kHashLanes];
      const std::uint8_t* starts[isa::kHashLanes];
      std::uint32_t expected[isa::kHashLanes][8];
      for (std::size_t lane = 0; lane < isa::kHashLanes; ++lane) {
        starts[lane] = data.data() + (lane % 5 == 4 ? 7 : random.below(64 * 40));
        for (std::size_t word = 0; word < 8; ++word) {
          expected[lane][word] = static_cast<std::uint32_t>(random.next());
          state[word][lane] = expected[lane][word];
        }
        isa::scalar_table()->sha256_compress(expected[lane], starts[lane], blocks);
      }
      table.sha256_compress_lanes(state, starts, blocks);
      for (std::size_t lane = 0; lane < isa::kHashLanes; ++lane) {
        for (std::size_t word = 0; word < 8; ++word) {
          CHECK_EQ(state[word][lane], expected[lane][word]);
        }
      }
    }
  });
}

TEST("CRC-32C: check value and the examples of RFC 3720, B.4") {
  on_every_level([](const KernelTable& table) {
    const auto crc = [&](const Bytes& data) { return table.crc32c(0, data.data(), data.size()); };
    CHECK_EQ(crc({'1', '2', '3', '4', '5', '6', '7', '8', '9'}), 0xe3069283u);
    CHECK_EQ(crc(Bytes(32, 0)), 0x8a9136aau);
    CHECK_EQ(crc(Bytes(32, 0xff)), 0x62a8ab43u);
    Bytes ascending, descending;
    for (unsigned i = 0; i < 32; ++i) {
      ascending.push_back(static_cast<std::uint8_t>(i));
      descending.push_back(static_cast<std::uint8_t>(31 - i));
    }
    CHECK_EQ(crc(ascending), 0x46dd794eu);
    CHECK_EQ(crc(descending), 0x113fdb5cu);
    CHECK_EQ(crc(from_hex("01c00000 00000000 00000000 00000000 14000000 00000400"
                          "00000014 00000018 28000000 00000000 02000000 00000000")),
             0xd9963a56u);
    CHECK_EQ(crc({}), 0u);
    CHECK_EQ(table.crc32c(0x12345678u, nullptr, 0), 0x12345678u);
  });
}

TEST("CRC-32C: every level equals scalar on long data, continued from any value") {
  on_every_level([](const KernelTable& table) {
    Random random(5);
    Bytes data(70'000);
    for (std::uint8_t& byte : data) byte = static_cast<std::uint8_t>(random.next());
    for (const std::size_t size : {1023u, 1024u, 1025u, 1279u, 1280u, 1281u, 6143u, 6144u, 12'345u,
                                   65'535u, 65'536u, 69'990u}) {
      for (std::size_t offset = 0; offset < 9; offset += 4) {
        const auto start = static_cast<std::uint32_t>(random.next());
        const std::uint8_t* at = data.data() + offset;
        CHECK_EQ(table.crc32c(start, at, size), isa::scalar_table()->crc32c(start, at, size));
      }
    }
  });
}

TEST("CRC-32C: bit by bit, in one piece or two, at any alignment") {
  on_every_level([](const KernelTable& table) {
    Random random(4);
    for (std::size_t size = 0; size < 1400; size += size < 300 ? 1 : 61) {
      Bytes data(size + 8);
      for (std::uint8_t& byte : data) byte = static_cast<std::uint8_t>(random.next());
      const std::uint8_t* start = data.data() + size % 8;
      std::uint32_t expected = 0xffffffffu;
      for (std::size_t i = 0; i < size; ++i) {
        expected ^= start[i];
        for (int bit = 0; bit < 8; ++bit) {
          expected = (expected >> 1) ^ ((expected & 1u) != 0 ? 0x82f63b78u : 0u);
        }
      }
      expected = ~expected;
      CHECK_EQ(table.crc32c(0, start, size), expected);
      const std::size_t cut = random.below(size + 1);
      CHECK_EQ(table.crc32c(table.crc32c(0, start, cut), start + cut, size - cut), expected);
    }
  });
}

}  // namespace
}  // namespace veilsum::test
