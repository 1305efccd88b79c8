// Layer: scheme. See keys.h.
#include "scheme/keys.h"

#include <cstring>

#include "base/file_io.h"
#include "isa/dispatch.h"
#include "ring/expander.h"
#include "ring/modular.h"
#include "ring/sha256.h"
#include "scheme/ledger.h"
#include "scheme/wire.h"
#include "veilsum/errors.h"

namespace veilsum::scheme {
namespace {

using ring::Domain;
using ring::stream_index;

/// Reads the ring a key stands over; only capsule rings are admissible.
std::shared_ptr<const ring::Ring> read_ring(ByteReader& in) {
  const std::uint32_t degree = in.u32();
  const std::uint32_t limbs = in.u32();
  const bool known = (degree == 2048 && limbs == 1) ||
                     (degree == 4096 && limbs <= 2 && limbs > 0) || (degree == 8192 && limbs == 2);
  if (!known) {
    in.fail("no capsule ring has degree " + std::to_string(degree) + " and " +
            std::to_string(limbs) + " limbs");
  }
  return ring::Ring::get(degree, limbs);
}

AlignedBuffer<std::uint64_t> expand_a(const ring::Ring& ring, ByteView seed) {
  const ring::Expander expander("veilsum/1/public-key", {}, seed, ring::KeySize::kAes128);
  AlignedBuffer<std::uint64_t> a(ring.words());
  for (std::size_t limb = 0; limb < ring.limbs(); ++limb) {
    isa::kernels().expand_uniform(expander.key(), stream_index(Domain::kPublicKey, limb, 0),
                                  ring.modulus(limb), ring.degree(),
                                  a.data() + limb * ring.degree());
  }
  return a;
}

SecretBuffer<std::int64_t> sample_small(const ring::Expander& expander, Domain domain,
                                        std::size_t n) {
  SecretBuffer<std::int8_t> narrow(n);
  isa::kernels().sample_cbd(expander.key(), stream_index(domain, 0, 0), n, narrow.data());
  SecretBuffer<std::int64_t> wide(n);
  for (std::size_t j = 0; j < n; ++j) wide[j] = narrow[j];
  return wide;
}

struct KeyMaterial {
  SecretBuffer<std::int64_t> minus_s;
  SecretBuffer<std::int64_t> error;
};

KeyMaterial derive(const ring::Ring& ring, const Seed& key_seed) {
  const ring::Expander expander("veilsum/1/secret-key", {}, key_seed.span(),
                                ring::KeySize::kAes256);
  KeyMaterial out{sample_small(expander, Domain::kSecretKey, ring.degree()),
                  sample_small(expander, Domain::kKeyError, ring.degree())};
  for (std::int64_t& s : out.minus_s) s = -s;
  return out;
}

/// b = e - a s, slot by slot. Constant-time in s and e.
AlignedBuffer<std::uint64_t> public_b(const ring::Ring& ring, const Seed& key_seed,
                                      ByteView public_seed) {
  const KeyMaterial material = derive(ring, key_seed);
  const AlignedBuffer<std::uint64_t> a = expand_a(ring, public_seed);
  const std::size_t n = ring.degree();
  AlignedBuffer<std::uint64_t> b(ring.words());
  SecretBuffer<std::uint64_t> s_slots(n);
  SecretBuffer<std::uint64_t> e_slots(n);
  for (std::size_t limb = 0; limb < ring.limbs(); ++limb) {
    const std::uint64_t q = ring.q(limb);
    ring::small_to_slots_into(ring, limb, material.minus_s.span(), s_slots.data());
    ring::small_to_slots_into(ring, limb, material.error.span(), e_slots.data());
    for (std::size_t j = 0; j < n; ++j) {
      const std::uint64_t companion = ring::shoup_companion_secret(s_slots[j], q);
      const std::uint64_t product =
          ring::reduce_once(ring::mul_shoup_lazy(a[limb * n + j], s_slots[j], companion, q), q);
      b[limb * n + j] = ring::reduce_once(product + e_slots[j], q);
    }
  }
  return b;
}

}  // namespace

PublicKey::PublicKey(std::shared_ptr<const ring::Ring> ring,
                     const std::array<std::uint8_t, 32>& seed, AlignedBuffer<std::uint64_t> b_slots)
    : ring_(std::move(ring)),
      a_(std::make_shared<const ring::SlotMultiplier>(
          ring::SlotMultiplier::from_slots(*ring_, expand_a(*ring_, seed).span()))),
      b_(std::make_shared<const ring::SlotMultiplier>(
          ring::SlotMultiplier::from_slots(*ring_, b_slots.span()))) {
  ByteWriter fields(40 + ring_->words() / isa::kGroup * isa::kGroupBytes);
  fields.u32(ring_->degree());
  fields.u32(ring_->limbs());
  fields.raw(seed);
  Bytes packed(ring_->words() / isa::kGroup * isa::kGroupBytes);
  isa::kernels().pack(b_slots.data(), ring_->words(), packed.data());
  fields.raw(packed);
  fields_ = fields.take();
  const Digest digest = ring::labelled_hash("veilsum/1/public-key-id", {fields_});
  std::memcpy(id_.data(), digest.data(), id_.size());
}

void PublicKey::write_fields(ByteWriter& out) const { out.raw(fields_); }

PublicKey PublicKey::read_fields(ByteReader& in) {
  std::shared_ptr<const ring::Ring> ring = read_ring(in);
  const auto seed = in.array<32>();
  const std::size_t row_bytes = ring->degree() / isa::kGroup * isa::kGroupBytes;
  AlignedBuffer<std::uint64_t> b(ring->words());
  for (std::size_t limb = 0; limb < ring->limbs(); ++limb) {
    const ByteView row = in.raw(row_bytes);
    if (!isa::kernels().unpack(row.data(), ring->degree(), ring->q(limb),
                               b.data() + limb * ring->degree())) {
      in.fail("a residue of the key is not below its modulus");
    }
  }
  return PublicKey(std::move(ring), seed, std::move(b));
}

Bytes PublicKey::to_bytes() const { return seal(ObjectKind::kPublicKey, {fields_}); }

PublicKey PublicKey::from_bytes(ByteView bytes) {
  ByteReader in(open_envelope(bytes, ObjectKind::kPublicKey), "public key");
  PublicKey key = read_fields(in);
  in.finish();
  return key;
}

SecretKey::SecretKey(std::shared_ptr<const ring::Ring> ring, const Seed& key_seed,
                     const std::array<std::uint8_t, 32>& public_seed)
    : ring_(std::move(ring)),
      key_seed_(key_seed),
      public_seed_(public_seed),
      minus_s_(*ring_, derive(*ring_, key_seed).minus_s.span()),
      public_key_(ring_, public_seed, public_b(*ring_, key_seed, public_seed)),
      ledger_(std::make_unique<OpeningLedger>()) {}

SecretKey::SecretKey(SecretKey&&) noexcept = default;
SecretKey& SecretKey::operator=(SecretKey&&) noexcept = default;
SecretKey::~SecretKey() = default;

Bytes SecretKey::to_bytes() const {
  // Reserved to its final size, so that no smaller copy of the seed is left on the heap.
  ByteWriter fields(72);
  fields.u32(ring_->degree());
  fields.u32(ring_->limbs());
  fields.raw(key_seed_.span());
  fields.raw(public_seed_);
  Bytes payload = fields.take();
  Bytes out = seal(ObjectKind::kSecretKey, {payload});
  secure_wipe(payload.data(), payload.size());
  return out;
}

SecretKey SecretKey::from_bytes(ByteView bytes) {
  ByteReader in(open_envelope(bytes, ObjectKind::kSecretKey), "secret key");
  std::shared_ptr<const ring::Ring> ring = read_ring(in);
  std::array<std::uint8_t, 32> seed_bytes = in.array<32>();
  const Seed key_seed(seed_bytes);
  secure_wipe(seed_bytes.data(), seed_bytes.size());
  const std::array<std::uint8_t, 32> public_seed = in.array<32>();
  in.finish();
  return SecretKey(std::move(ring), key_seed, public_seed);
}

void SecretKey::save(const std::string& path) {
  Bytes bytes = to_bytes();
  const ByteView parts[] = {bytes};
  try {
    write_file(path, parts, FileKind::kSecret);
  } catch (...) {
    secure_wipe(bytes.data(), bytes.size());
    throw;
  }
  secure_wipe(bytes.data(), bytes.size());
  ledger_->attach(path + ".opened");
}

SecretKey SecretKey::load(const std::string& path) {
  Bytes bytes = read_file(path, FileKind::kSecret);
  try {
    SecretKey key = from_bytes(bytes);
    secure_wipe(bytes.data(), bytes.size());
    key.ledger_->attach(path + ".opened");
    return key;
  } catch (...) {
    secure_wipe(bytes.data(), bytes.size());
    throw;
  }
}

SecretKey generate_key(const Plan& plan) {
  std::array<std::uint8_t, 32> public_seed{};
  os_entropy(public_seed);
  return SecretKey(ring::Ring::get(plan.capsule().degree, plan.capsule().limbs), fresh_seed(),
                   public_seed);
}

}  // namespace veilsum::scheme
