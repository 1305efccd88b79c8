// Layer: tests (isa). AES on every level: the published vectors, an AES written here from FIPS 197
// over an S-box computed in GF(2^8), and the counter layout of Veilsum's keystreams.
#include <array>
#include <cstring>
#include <vector>

#include "check.h"
#include "isa/aes_key.h"
#include "support/bytes.h"
#include "support/levels.h"
#include "support/random.h"
#include "veilsum/errors.h"

namespace veilsum::test {
namespace {

using isa::AesKey;
using isa::KernelTable;

std::uint8_t gf_multiply(std::uint8_t a, std::uint8_t b) {
  unsigned product = 0;
  for (unsigned i = 0; i < 8; ++i) {
    if ((b >> i & 1) != 0) product ^= static_cast<unsigned>(a) << i;
  }
  for (unsigned i = 14; i >= 8; --i) {
    if ((product >> i & 1) != 0) product ^= 0x11bu << (i - 8);
  }
  return static_cast<std::uint8_t>(product);
}

/// FIPS 197, 5.1.1: inverse in GF(2^8), then the affine map.
std::array<std::uint8_t, 256> make_sbox() {
  std::array<std::uint8_t, 256> sbox{};
  for (unsigned x = 0; x < 256; ++x) {
    unsigned inverse = 0;
    for (unsigned y = 1; y < 256 && inverse == 0; ++y) {
      if (gf_multiply(static_cast<std::uint8_t>(x), static_cast<std::uint8_t>(y)) == 1) inverse = y;
    }
    unsigned image = 0x63;
    for (unsigned shift = 0; shift < 5; ++shift) {
      image ^= (inverse << shift | inverse >> (8 - shift)) & 0xff;
    }
    sbox[x] = static_cast<std::uint8_t>(image);
  }
  return sbox;
}

const std::array<std::uint8_t, 256>& sbox() {
  static const std::array<std::uint8_t, 256> table = make_sbox();
  return table;
}

AesKey expand(const Bytes& key) {
  AesKey out;
  isa::aes_expand_key(key.data(), key.size(), out);
  return out;
}

/// One block, straight from FIPS 197, figure 5. State byte 4 c + r is row r of column c.
void reference_encrypt(const AesKey& key, std::uint8_t block[16]) {
  const auto add_key = [&](std::uint32_t round) {
    for (std::size_t i = 0; i < 16; ++i) block[i] ^= key.bytes[16 * round + i];
  };
  add_key(0);
  for (std::uint32_t round = 1; round <= key.rounds; ++round) {
    std::uint8_t s[16];
    for (std::size_t c = 0; c < 4; ++c) {
      for (std::size_t r = 0; r < 4; ++r) s[4 * c + r] = sbox()[block[4 * ((c + r) % 4) + r]];
    }
    for (std::size_t c = 0; c < 4; ++c) {
      for (std::size_t r = 0; r < 4; ++r) {
        const std::uint8_t* column = s + 4 * c;
        block[4 * c + r] =
            round == key.rounds
                ? column[r]
                : static_cast<std::uint8_t>(gf_multiply(2, column[r]) ^
                                            gf_multiply(3, column[(r + 1) % 4]) ^
                                            column[(r + 2) % 4] ^ column[(r + 3) % 4]);
      }
    }
    add_key(round);
  }
}

Bytes encrypt(const KernelTable& table, const AesKey& key, const Bytes& in) {
  Bytes out(in.size());
  table.aes_encrypt_blocks(key, in.data(), out.data(), in.size() / 16);
  return out;
}

TEST("key expansion: FIPS 197 appendix A") {
  const AesKey small = expand(from_hex("2b7e151628aed2a6abf7158809cf4f3c"));
  CHECK_EQ(small.rounds, 10u);
  CHECK_EQ(to_hex(small.bytes + 16, 16), "a0fafe1788542cb123a339392a6c7605");
  CHECK_EQ(to_hex(small.bytes + 160, 16), "d014f9a8c9ee2589e13f0cc8b6630ca6");
  CHECK_EQ(to_hex(small.bytes + 176, 64), std::string(128, '0'));
  const AesKey large =
      expand(from_hex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4"));
  CHECK_EQ(large.rounds, 14u);
  CHECK_EQ(to_hex(large.bytes + 32, 16), "9ba354118e6925afa51a8b5f2067fcde");
  CHECK_EQ(to_hex(large.bytes + 224, 16), "fe4890d1e6188d0b046df344706c631e");
}

TEST("key expansion: the S-box circuit is inversion and affine map, for every byte") {
  for (unsigned x = 0; x < 256; ++x) {
    Bytes key(16, 0);
    key[13] = static_cast<std::uint8_t>(x);  // RotWord brings it to the first byte of w4
    CHECK_EQ(expand(key).bytes[16], sbox()[x] ^ 1);
  }
}

TEST("key expansion: other key sizes are refused") {
  const Bytes key(64, 0);
  AesKey out;
  for (const std::size_t size : {0, 15, 17, 24, 31, 33, 64}) {
    CHECK_THROWS_WITH(isa::aes_expand_key(key.data(), size, out), ParameterError,
                      std::to_string(size) + " bytes");
  }
}

TEST("single blocks: FIPS 197 appendix C") {
  on_every_level([](const KernelTable& table) {
    const Bytes plain = from_hex("00112233445566778899aabbccddeeff");
    CHECK_EQ(to_hex(encrypt(table, expand(from_hex("000102030405060708090a0b0c0d0e0f")), plain)),
             "69c4e0d86a7b0430d8cdb78070b4c55a");
    CHECK_EQ(to_hex(encrypt(table,
                            expand(from_hex("000102030405060708090a0b0c0d0e0f"
                                            "101112131415161718191a1b1c1d1e1f")),
                            plain)),
             "8ea2b7ca516745bfeafc49904b496089");
  });
}

constexpr const char* kPlain =
    "6bc1bee22e409f96e93d7e117393172a ae2d8a571e03ac9c9eb76fac45af8e51"
    "30c81c46a35ce411e5fbc1191a0a52ef f69f2445df4f9b17ad2b417be66c3710";
constexpr const char* kKey128 = "2b7e151628aed2a6abf7158809cf4f3c";
constexpr const char* kKey256 = "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4";

TEST("ECB: SP 800-38A, F.1.1 and F.1.5") {
  on_every_level([](const KernelTable& table) {
    CHECK_EQ(to_hex(encrypt(table, expand(from_hex(kKey128)), from_hex(kPlain))),
             to_hex(from_hex("3ad77bb40d7a3660a89ecaf32466ef97 f5d3d58503b9699de785895a96fdbaaf"
                             "43b1cd7f598ece23881b00e3ed030688 7b0c785e27e8ad3f8223207104725dd4")));
    CHECK_EQ(to_hex(encrypt(table, expand(from_hex(kKey256)), from_hex(kPlain))),
             to_hex(from_hex("f3eed1bdb5d2a03c064b5a7e3db181f8 591ccb10d410ed26dc5ba74a31362870"
                             "b6ed21b99ca6f4f9f153e7b1beafed1d 23304b7a39f9f3ff067d8d8f9e24ecc7")));
  });
}

TEST("CTR: SP 800-38A, F.5.1 and F.5.5, big-endian counters built here") {
  on_every_level([](const KernelTable& table) {
    const auto counter_mode = [&](const char* key) {
      Bytes counters;
      for (unsigned i = 0; i < 4; ++i) {
        Bytes counter = from_hex("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff");
        // ...feff + i: the low byte wraps and carries into the next.
        const unsigned low = 0xfeffu + i;
        counter[14] = static_cast<std::uint8_t>(low >> 8);
        counter[15] = static_cast<std::uint8_t>(low);
        counters.insert(counters.end(), counter.begin(), counter.end());
      }
      Bytes out = encrypt(table, expand(from_hex(key)), counters);
      const Bytes plain = from_hex(kPlain);
      for (std::size_t i = 0; i < out.size(); ++i) out[i] ^= plain[i];
      return to_hex(out);
    };
    CHECK_EQ(counter_mode(kKey128),
             to_hex(from_hex("874d6191b620e3261bef6864990db6ce 9806f66b7970fdff8617187bb9fffdff"
                             "5ae4df3edbd5d35e5b4f09020db03eab 1e031dda2fbe03d1792170a0f3009cee")));
    CHECK_EQ(counter_mode(kKey256),
             to_hex(from_hex("601ec313775789a5b7a7f504bbf3d228 f443e3ca4d62b59aca84e990cacaf5c5"
                             "2b0930daa23de94ce87017ba2d84988d dfc9c58db67aada613c2dd08457941a6")));
  });
}

TEST("any number of blocks, in place or not, equals the reference") {
  on_every_level([](const KernelTable& table) {
    Random random(1);
    for (std::size_t blocks = 0; blocks <= 97; ++blocks) {
      const AesKey key = random_key(random, blocks % 2 == 0 ? 16 : 32);
      Bytes in(16 * blocks);
      for (std::uint8_t& byte : in) byte = static_cast<std::uint8_t>(random.next());
      Bytes expected = in;
      for (std::size_t i = 0; i < blocks; ++i) reference_encrypt(key, expected.data() + 16 * i);
      CHECK_EQ(to_hex(encrypt(table, key, in)), to_hex(expected));
      table.aes_encrypt_blocks(key, in.data(), in.data(), blocks);
      CHECK_EQ(to_hex(in), to_hex(expected));
    }
  });
}

TEST("keystream: block i is AES(LE64(first + i) || LE64(index))") {
  on_every_level([](const KernelTable& table) {
    Random random(2);
    const std::uint64_t firsts[] = {0, 1, 0xffffffffu - 5, (std::uint64_t{1} << 48) - 3,
                                    ~std::uint64_t{0} - 7};
    for (std::size_t blocks = 0; blocks <= 70; ++blocks) {
      for (const std::uint64_t first : firsts) {
        const AesKey key = random_key(random, random.below(2) == 0 ? 16 : 32);
        const std::uint64_t index = random.next();
        Bytes counters(16 * blocks);
        for (std::size_t i = 0; i < blocks; ++i) {
          const std::uint64_t pair[2] = {first + i, index};
          std::memcpy(counters.data() + 16 * i, pair, 16);
        }
        Bytes out(16 * blocks);
        table.aes_ctr(key, index, first, out.data(), blocks);
        CHECK(out == encrypt(*isa::scalar_table(), key, counters));
      }
    }
  });
}

}  // namespace
}  // namespace veilsum::test
