// Layer: ring. See expander.h.
#include "ring/expander.h"

#include "base/wipe.h"
#include "isa/aes_key.h"
#include "ring/sha256.h"

namespace veilsum::ring {

Expander::Expander(std::string_view label, ByteView context, ByteView seed, KeySize size) {
  Digest digest = labelled_hash(label, {context, seed});
  isa::aes_expand_key(digest.data(), static_cast<std::size_t>(size), key_);
  secure_wipe(digest.data(), digest.size());
}

Expander::~Expander() { secure_wipe(&key_, sizeof key_); }

}  // namespace veilsum::ring
