// Layer: ring. See sha256.h.
#include "ring/sha256.h"

#include <algorithm>
#include <cstring>

#include "base/wipe.h"
#include "isa/dispatch.h"

namespace veilsum::ring {

namespace {
constexpr std::uint32_t kInitialState[8] = {0x6a09e667u, 0xbb67ae85u, 0x3c6ef372u, 0xa54ff53au,
                                            0x510e527fu, 0x9b05688cu, 0x1f83d9abu, 0x5be0cd19u};
}  // namespace

Sha256::Sha256() noexcept : block_{} { restart(); }

void Sha256::restart() noexcept {
  std::memcpy(state_, kInitialState, sizeof state_);
  filled_ = 0;
  total_ = 0;
}

Sha256::~Sha256() {
  secure_wipe(state_, sizeof state_);
  secure_wipe(block_, sizeof block_);
}

Sha256& Sha256::update(ByteView data) noexcept {
  total_ += data.size();
  if (filled_ != 0) {
    const std::size_t take = std::min(data.size(), sizeof block_ - filled_);
    if (take != 0) std::memcpy(block_ + filled_, data.data(), take);
    filled_ += take;
    data = data.subspan(take);
    if (filled_ < sizeof block_) return *this;
    isa::kernels().sha256_compress(state_, block_, 1);
    filled_ = 0;
  }
  const std::size_t whole = data.size() / sizeof block_;
  if (whole != 0) isa::kernels().sha256_compress(state_, data.data(), whole);
  data = data.subspan(whole * sizeof block_);
  if (!data.empty()) std::memcpy(block_, data.data(), data.size());
  filled_ = data.size();
  return *this;
}

Digest Sha256::finish() noexcept {
  const std::uint64_t bits = total_ * 8;
  block_[filled_++] = 0x80;
  if (filled_ > 56) {
    std::memset(block_ + filled_, 0, sizeof block_ - filled_);
    isa::kernels().sha256_compress(state_, block_, 1);
    filled_ = 0;
  }
  std::memset(block_ + filled_, 0, 56 - filled_);
  for (int i = 0; i < 8; ++i) block_[56 + i] = static_cast<std::uint8_t>(bits >> (56 - 8 * i));
  isa::kernels().sha256_compress(state_, block_, 1);
  Digest digest;
  for (std::size_t i = 0; i < 32; ++i) {
    digest[i] = static_cast<std::uint8_t>(state_[i / 4] >> (24 - 8 * (i % 4)));
  }
  return digest;
}

void sha256_pieces_into(ByteView data, std::size_t piece_bytes, std::uint8_t* digests) noexcept {
  constexpr std::size_t kLanes = isa::kHashLanes;
  // Below that, hashing one after the other is no slower than a register with idle lanes.
  constexpr std::size_t kFewest = 6;
  // Whole pieces end on a block, so the padding is one block, the same for all (FIPS 180-4, 5.1.1).
  std::uint8_t padding[64] = {0x80};
  const std::uint64_t bits = std::uint64_t{piece_bytes} * 8;
  for (int i = 0; i < 8; ++i) padding[56 + i] = static_cast<std::uint8_t>(bits >> (56 - 8 * i));
  const std::uint8_t* paddings[kLanes];
  std::fill(paddings, paddings + kLanes, padding);

  std::size_t left = data.size() / piece_bytes;
  while (left >= kFewest) {
    const std::size_t count = std::min(left, kLanes);
    const std::uint8_t* starts[kLanes];
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      starts[lane] = data.data() + std::min(lane, count - 1) * piece_bytes;  // idle ones repeat
    }
    std::uint32_t state[8][kLanes];
    for (std::size_t word = 0; word < 8; ++word) {
      std::fill(state[word], state[word] + kLanes, kInitialState[word]);
    }
    isa::kernels().sha256_compress_lanes(state, starts, piece_bytes / 64);
    isa::kernels().sha256_compress_lanes(state, paddings, 1);
    for (std::size_t lane = 0; lane < count; ++lane, digests += 32) {
      for (std::size_t i = 0; i < 32; ++i) {
        digests[i] = static_cast<std::uint8_t>(state[i / 4][lane] >> (24 - 8 * (i % 4)));
      }
    }
    data = data.subspan(count * piece_bytes);
    left -= count;
  }
  for (; !data.empty(); digests += 32) {
    const ByteView piece = data.first(std::min(piece_bytes, data.size()));
    Sha256 hash;
    const Digest digest = hash.update(piece).finish();
    std::memcpy(digests, digest.data(), digest.size());
    data = data.subspan(piece.size());
  }
}

Digest labelled_hash(std::string_view label, std::initializer_list<ByteView> parts) noexcept {
  Sha256 hash;
  hash.update({reinterpret_cast<const std::uint8_t*>(label.data()), label.size()});
  for (const ByteView part : parts) hash.update(part);
  return hash.finish();
}

}  // namespace veilsum::ring
