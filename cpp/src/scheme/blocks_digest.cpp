// Layer: scheme. See blocks_digest.h.
#include "scheme/blocks_digest.h"

#include <string_view>

namespace veilsum::scheme {

void BlocksDigest::restart() noexcept {
  hash_.restart();
  constexpr std::string_view kLabel = "veilsum/2/blocks-digest";
  hash_.update({reinterpret_cast<const std::uint8_t*>(kLabel.data()), kLabel.size()});
}

Bytes piece_digests(ByteView bytes) {
  Bytes digests(32 * digest_pieces(bytes.size()));
  ring::sha256_pieces_into(bytes, kDigestPiece, digests.data());
  return digests;
}

}  // namespace veilsum::scheme
