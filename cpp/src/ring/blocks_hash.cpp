// Layer: ring. See blocks_hash.h.
#include "ring/blocks_hash.h"

#include <cstdint>
#include <cstring>

#include "base/aligned_buffer.h"

namespace veilsum::ring {
namespace {

constexpr std::size_t kWordBytes = sizeof(std::uint32_t);
/// Bytes of eight words, which kernels take at a time.
constexpr std::size_t kStepBytes = isa::kGroup * kWordBytes;

}  // namespace

void BlocksHash::add_block(std::uint64_t block, ByteView bytes, TagSum& sum) const {
  const auto add = [&](const std::uint8_t* data, std::size_t size) {
    const std::size_t words = size / kWordBytes;
    // Kernels are compiled apart and load what lies there: full blocks are hashed without a copy.
    hash_.add_block(block, {reinterpret_cast<const std::uint32_t*>(data), nullptr, words}, words,
                    sum);
  };
  const bool aligned = reinterpret_cast<std::uintptr_t>(bytes.data()) % kWordBytes == 0;
  if (aligned && bytes.size() % kStepBytes == 0) return add(bytes.data(), bytes.size());
  // The last block of values, and what follows it: few of a vector.
  const std::size_t whole = (bytes.size() + kStepBytes - 1) / kStepBytes * kStepBytes;
  AlignedBuffer<std::uint8_t> copy(whole, Initialise::kZero);
  std::memcpy(copy.data(), bytes.data(), bytes.size());
  add(copy.data(), whole);
}

}  // namespace veilsum::ring
