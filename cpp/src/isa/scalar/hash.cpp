// Layer: isa, scalar level. SHA-256 compression as FIPS 180-4 section 6.2.2 states it, and CRC-32C
// (Castagnoli polynomial 0x1EDC6F41, reflected; RFC 3720) by slicing-by-8 (Kounavis and Berry, "A
// systematic approach to building high performance software-based CRC generators", ISCC 2005).
// SHA-256 also hashes seeds into keys and is constant time; the CRC protects public bytes only, and
// indexes tables by them.
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/wipe.h"
#include "isa/scalar/kernels_internal.h"

namespace veilsum::isa::scalar {
namespace {

constexpr std::uint32_t kRoundConstants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

std::uint32_t rotate_right(std::uint32_t x, unsigned bits) {
  return (x >> bits) | (x << (32 - bits));
}

std::uint32_t load_big_endian(const std::uint8_t* p) {
  return (static_cast<std::uint32_t>(p[0]) << 24) | (static_cast<std::uint32_t>(p[1]) << 16) |
         (static_cast<std::uint32_t>(p[2]) << 8) | static_cast<std::uint32_t>(p[3]);
}

constexpr std::uint32_t kCrcPolynomial = 0x82f63b78;  // 0x1EDC6F41, bits reversed

/// Table s maps a byte to its CRC followed by s zero bytes.
constexpr std::array<std::array<std::uint32_t, 256>, 8> make_crc_tables() {
  std::array<std::array<std::uint32_t, 256>, 8> tables{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1u) * kCrcPolynomial);
    tables[0][byte] = crc;
  }
  for (std::size_t s = 1; s < 8; ++s) {
    for (std::size_t byte = 0; byte < 256; ++byte) {
      const std::uint32_t previous = tables[s - 1][byte];
      tables[s][byte] = (previous >> 8) ^ tables[0][previous & 0xff];
    }
  }
  return tables;
}

constexpr std::array<std::array<std::uint32_t, 256>, 8> kCrcTables = make_crc_tables();

}  // namespace

/// `state` in and out in native words; `data` holds 64 * blocks bytes, any alignment.
void sha256_compress(std::uint32_t state[8], const std::uint8_t* data, std::size_t blocks) {
  std::uint32_t w[64];
  for (; blocks != 0; --blocks, data += 64) {
    for (std::size_t t = 0; t < 16; ++t) w[t] = load_big_endian(data + 4 * t);
    for (std::size_t t = 16; t < 64; ++t) {
      const std::uint32_t x = w[t - 15], y = w[t - 2];
      const std::uint32_t s0 = rotate_right(x, 7) ^ rotate_right(x, 18) ^ (x >> 3);
      const std::uint32_t s1 = rotate_right(y, 17) ^ rotate_right(y, 19) ^ (y >> 10);
      w[t] = w[t - 16] + s0 + w[t - 7] + s1;
    }
    std::uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
    std::uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
    for (std::size_t t = 0; t < 64; ++t) {
      const std::uint32_t s1 = rotate_right(e, 6) ^ rotate_right(e, 11) ^ rotate_right(e, 25);
      const std::uint32_t choose = g ^ (e & (f ^ g));
      const std::uint32_t t1 = h + s1 + choose + kRoundConstants[t] + w[t];
      const std::uint32_t s0 = rotate_right(a, 2) ^ rotate_right(a, 13) ^ rotate_right(a, 22);
      const std::uint32_t majority = (a & b) | (c & (a | b));
      const std::uint32_t t2 = s0 + majority;
      h = g;
      g = f;
      f = e;
      e = d + t1;
      d = c;
      c = b;
      b = a;
      a = t1 + t2;
    }
    state[0] += a;
    state[1] += b;
    state[2] += c;
    state[3] += d;
    state[4] += e;
    state[5] += f;
    state[6] += g;
    state[7] += h;
  }
  secure_wipe(w, sizeof w);
}

void sha256_compress_lanes(std::uint32_t state[8][kHashLanes],
                           const std::uint8_t* const data[kHashLanes], std::size_t blocks) {
  for (std::size_t lane = 0; lane < kHashLanes; ++lane) {
    std::uint32_t one[8];
    for (std::size_t word = 0; word < 8; ++word) one[word] = state[word][lane];
    sha256_compress(one, data[lane], blocks);
    for (std::size_t word = 0; word < 8; ++word) state[word][lane] = one[word];
  }
}

std::uint32_t crc32c(std::uint32_t crc, const std::uint8_t* data, std::size_t bytes) {
  crc = ~crc;
  for (; bytes >= 8; bytes -= 8, data += 8) {
    const std::uint64_t x = load64(data) ^ crc;
    crc = kCrcTables[7][x & 0xff] ^ kCrcTables[6][(x >> 8) & 0xff] ^
          kCrcTables[5][(x >> 16) & 0xff] ^ kCrcTables[4][(x >> 24) & 0xff] ^
          kCrcTables[3][(x >> 32) & 0xff] ^ kCrcTables[2][(x >> 40) & 0xff] ^
          kCrcTables[1][(x >> 48) & 0xff] ^ kCrcTables[0][x >> 56];
  }
  for (; bytes != 0; --bytes, ++data) crc = (crc >> 8) ^ kCrcTables[0][(crc ^ *data) & 0xff];
  return ~crc;
}

}  // namespace veilsum::isa::scalar
