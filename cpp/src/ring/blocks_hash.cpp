// Layer: ring. See blocks_hash.h.
#include "ring/blocks_hash.h"

#include <cstring>
#include <string>

#include "base/shown.h"
#include "veilsum/errors.h"

namespace veilsum::ring {
namespace {

/// Bytes of eight words, which kernels take at a time.
constexpr std::size_t kStepBytes = isa::kGroup * sizeof(isa::PackedWord);
constexpr std::size_t kMostBytes = std::size_t{1} << 20;

}  // namespace

void BlocksHash::add_block(std::uint64_t block, ByteView bytes, TagSum& sum) const {
  if (block >= kBase || bytes.size() > kMostBytes) {
    throw ParameterError("a block to be hashed: number " + shown(block) + " of " +
                         std::to_string(bytes.size()) +
                         " bytes; it needs a number below 2^48, and " + std::to_string(kMostBytes) +
                         " bytes at most");
  }
  const std::size_t rest = bytes.size() % kStepBytes;
  const std::size_t words = (bytes.size() - rest) / sizeof(isa::PackedWord);
  const auto* packed = reinterpret_cast<const isa::PackedWord*>(bytes.data());
  isa::PackedWord last[isa::kGroup] = {};
  if (rest != 0) std::memcpy(last, bytes.data() + bytes.size() - rest, rest);
  add_packed(block, packed, words, rest == 0 ? nullptr : last, sum);
}

}  // namespace veilsum::ring
