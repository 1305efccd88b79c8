// Layer: scheme. See sealed_key.h.
#include "scheme/sealed_key.h"

#include <utility>

#include "isa/dispatch.h"
#include "ring/expander.h"
#include "veilsum/errors.h"

namespace veilsum::scheme {

Bytes sealing_info(const Round& round, const Nonce& nonce) {
  ByteWriter out(96);
  out.text("veilsum/2/sealed-key");
  out.raw(round.id());
  out.raw(nonce);
  out.raw(round.public_key().id());
  return out.take();
}

CipherPart seal_key(const Round& round, const Nonce& nonce, const Seed& seed,
                    const Sealer& sealer) {
  Bytes sealed = sealer.seal(round.public_key().body(), sealing_info(round, nonce), seed.span());
  if (sealed.size() != kSealedKeyBytes) {
    throw ParameterError("a sealed key has " + std::to_string(kSealedKeyBytes) + " bytes, not " +
                         std::to_string(sealed.size()));
  }
  return CipherPart(std::move(sealed));
}

KeyCoefficients expand_keys(const Round& round, const Seed& seed) {
  const ring::Expander expander(kUploadLabel, round.id(), seed.span(), ring::KeySize::kAes256);
  const std::size_t n = round.plan().degree();
  SecretBuffer<std::int8_t> narrow(n);
  KeyCoefficients keys(n * round.upload_keys());
  for (std::size_t i = 0; i < round.upload_keys(); ++i) {
    isa::kernels().sample_cbd(expander.key(), ring::stream_index(ring::Domain::kUploadKey, 0, i), n,
                              narrow.data());
    for (std::size_t j = 0; j < n; ++j) keys[i * n + j] = narrow[j];
  }
  return keys;
}

}  // namespace veilsum::scheme
