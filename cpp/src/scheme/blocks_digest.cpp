// Layer: scheme. See blocks_digest.h.
#include "scheme/blocks_digest.h"

#include <cstring>
#include <string_view>

namespace veilsum::scheme {

void BlocksDigest::restart() noexcept {
  hash_.restart();
  constexpr std::string_view kLabel = "veilsum/1/blocks-digest";
  hash_.update({reinterpret_cast<const std::uint8_t*>(kLabel.data()), kLabel.size()});
}

void PieceHasher::update(ByteView bytes) noexcept {
  while (!bytes.empty()) {
    if (filled_ == 0 && bytes.size() >= kDigestPiece) {  // whole pieces go side by side
      const std::size_t count = bytes.size() / kDigestPiece;
      ring::sha256_pieces_into(bytes.first(count * kDigestPiece), kDigestPiece, digests_.data());
      digests_ = digests_.subspan(32 * count);
      bytes = bytes.subspan(count * kDigestPiece);
      continue;
    }
    const std::size_t part = std::min(bytes.size(), kDigestPiece - filled_);
    hash_.update(bytes.first(part));
    filled_ += part;
    bytes = bytes.subspan(part);
    if (filled_ == kDigestPiece) close_piece();
  }
}

void PieceHasher::finish() noexcept {
  if (filled_ != 0) close_piece();
}

void PieceHasher::close_piece() noexcept {
  const Digest digest = hash_.finish();
  std::memcpy(digests_.data(), digest.data(), digest.size());
  digests_ = digests_.subspan(digest.size());
  hash_.restart();
  filled_ = 0;
}

}  // namespace veilsum::scheme
