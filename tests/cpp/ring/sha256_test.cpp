// Layer: tests (ring). SHA-256 as a stream: any way of cutting the data gives the same digest, for
// every length around the block size, against digests made by another implementation.
#include "ring/sha256.h"

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "check.h"
#include "support/active_level.h"
#include "support/random.h"

namespace veilsum::test {
namespace {

using ring::Sha256;

std::string hex(const Digest& digest) { return veilsum::to_hex(digest); }

ByteView view(const std::string& text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

std::vector<std::uint8_t> pattern(std::size_t size) {
  std::vector<std::uint8_t> bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::uint8_t>(7 * i + 3);
  return bytes;
}

TEST("known digests") {
  on_every_active_level([] {
    CHECK_EQ(hex(Sha256().finish()),
             "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    CHECK_EQ(hex(Sha256().update(view("abc")).finish()),
             "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    CHECK_EQ(hex(Sha256().update(view(std::string(1'000'000, 'a'))).finish()),
             "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  });
}

TEST("every length from 0 to 300, by the digest of the digests (Python's hashlib)") {
  const std::vector<std::uint8_t> data = pattern(300);
  on_every_active_level([&] {
    Sha256 all;
    for (std::size_t size = 0; size <= data.size(); ++size) {
      all.update(Sha256().update({data.data(), size}).finish());
    }
    CHECK_EQ(hex(all.finish()), "7d917fbd2cf49ddff9ad0a8706bba32d204e92e71d2e369c5a03d6af29278c9f");
  });
}

TEST("cut in two at every place, and in many pieces") {
  const std::vector<std::uint8_t> data = pattern(260);
  Random random(1);
  for (const std::size_t size : {0u, 1u, 55u, 56u, 63u, 64u, 65u, 127u, 128u, 129u, 191u, 260u}) {
    const Digest whole = Sha256().update({data.data(), size}).finish();
    for (std::size_t cut = 0; cut <= size; ++cut) {
      CHECK(Sha256().update({data.data(), cut}).update({data.data() + cut, size - cut}).finish() ==
            whole);
    }
    Sha256 bytewise;
    for (std::size_t i = 0; i < size; ++i) bytewise.update({data.data() + i, 1});
    CHECK(bytewise.finish() == whole);
    for (int repeat = 0; repeat < 50; ++repeat) {
      Sha256 pieces;
      for (std::size_t at = 0; at < size;) {
        const std::size_t now = std::min<std::size_t>(size - at, random.below(100));
        pieces.update({data.data() + at, now});
        at += now;
      }
      CHECK(pieces.finish() == whole);
    }
  }
}

TEST("a labelled hash is the hash of label and parts, one after the other") {
  const std::vector<std::uint8_t> part = {0, 1, 2};
  CHECK_EQ(hex(ring::labelled_hash("veilsum/1/test", {view("abc"), part})),
           "6e06fbc8627a90ddf5aa3f471beabfa73bac32dfc0aab85ed5d2fb4f3f97fb99");
  CHECK_EQ(hex(ring::labelled_hash("abc", {})),
           "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(ring::labelled_hash("a", {ByteView{}, ByteView{}}) == ring::labelled_hash("a", {}));
}

TEST("the state is wiped: seeds pass through it") {
  alignas(Sha256) std::uint8_t memory[sizeof(Sha256)];
  Sha256* hash = new (memory) Sha256();
  const std::vector<std::uint8_t> secret(100, 0xa7);
  hash->update(secret);
  std::size_t before = 0, after = 0;
  for (const std::uint8_t byte : memory) before += byte == 0xa7;
  CHECK(before >= 36);  // the unfinished block lies there
  hash->~Sha256();
  for (const std::uint8_t byte : memory) after += byte == 0xa7;
  CHECK(after <= 1);  // nothing but, by chance, a counter
}

TEST("pieces side by side have the digests that they have alone") {
  on_every_active_level([] {
    Random random(9);
    for (const std::size_t piece : {64u, 128u, 1024u}) {
      for (std::size_t size = 0; size <= 40 * piece; size += 1 + random.below(2 * piece)) {
        Bytes data(size + 3);
        for (std::uint8_t& byte : data) byte = static_cast<std::uint8_t>(random.next());
        const ByteView view = ByteView(data).subspan(3);
        const std::size_t pieces = (size + piece - 1) / piece;
        Bytes digests(32 * pieces + 1, 0xee);
        ring::sha256_pieces_into(view, piece, digests.data());
        for (std::size_t i = 0; i < pieces; ++i) {
          const Digest expected =
              ring::Sha256()
                  .update(view.subspan(i * piece, std::min(piece, size - i * piece)))
                  .finish();
          CHECK(std::equal(expected.begin(), expected.end(), digests.begin() + 32 * i));
        }
        CHECK_EQ(digests.back(), 0xee);
      }
    }
  });
}

}  // namespace
}  // namespace veilsum::test
