// Layer: scheme. See capsule.h. Ciphertext number t holds N_c * lanes coefficients of r, lane after
// lane, as digits r + 21 >= 0; the top bit of the first 256 coefficients of ciphertext 0 carries
// the seed. In a sum that bit counts modulo two and nobody reads it.
#include "scheme/capsule.h"

#include <algorithm>

#include "isa/dispatch.h"
#include "ring/expander.h"
#include "veilsum/errors.h"

namespace veilsum::scheme {
namespace {

using ring::Domain;
using ring::stream_index;

constexpr std::size_t kSeedBits = 256;

/// Bytes of one polynomial (all limbs) of a capsule.
std::size_t row_bytes(const Plan& plan) {
  const CapsuleShape& shape = plan.capsule();
  return std::size_t{shape.degree} / isa::kGroup * isa::kGroupBytes * shape.limbs;
}

void sample_into(const ring::Expander& expander, std::uint64_t index, std::size_t n,
                 std::int64_t* out) {
  SecretBuffer<std::int8_t> narrow(n);
  isa::kernels().sample_cbd(expander.key(), index, n, narrow.data());
  for (std::size_t j = 0; j < n; ++j) out[j] = narrow[j];
}

/// Digits of ciphertext `t`, one word a coefficient.
void encode_into(const Plan& plan, const EphemeralKey& key, const Seed& seed, std::uint32_t t,
                 std::uint64_t* digits) {
  const CapsuleShape& shape = plan.capsule();
  const std::size_t n = shape.degree;
  for (std::size_t j = 0; j < n; ++j) digits[j] = 0;
  for (std::uint32_t lane = 0; lane < shape.lanes; ++lane) {
    const std::size_t first = (std::size_t{t} * shape.lanes + lane) * n;
    for (std::size_t j = 0; j < n && first + j < key.size(); ++j) {
      const auto digit =
          static_cast<std::uint64_t>(key[first + j] + static_cast<std::int64_t>(kErrorBound));
      digits[j] |= digit << (lane * shape.lane_bits);
    }
  }
  if (t != 0) return;
  for (std::size_t k = 0; k < kSeedBits; ++k) {
    const std::uint64_t bit = (seed.data()[k / 8] >> (k % 8)) & 1u;
    digits[k] |= bit << (shape.message_bits - 1);
  }
}

/// c0 + c1 s -> digits of one ciphertext.
void decode_into(const SecretKey& secret, const Plan& plan, const std::uint8_t* ciphertext,
                 std::uint64_t* digits) {
  const ring::Ring& ring = plan.capsule_ring();
  const std::size_t n = ring.degree();
  const std::size_t limb_bytes = n / isa::kGroup * isa::kGroupBytes;
  const isa::KernelTable& kernels = isa::kernels();
  SecretBuffer<std::uint64_t> pads(ring.words());
  AlignedBuffer<std::uint64_t> c1(n);
  for (std::size_t limb = 0; limb < ring.limbs(); ++limb) {
    (void)kernels.unpack(ciphertext + (ring.limbs() + limb) * limb_bytes, n, ring.q(limb),
                         c1.data());
    kernels.ntt_forward(c1.data(), ring.tables(limb).view());
    secret.minus_s().multiply_into_lazy(ring, limb, c1.data(), pads.data() + limb * n);
  }
  isa::DecryptBlock args{};
  args.packed = ciphertext;
  args.pads = pads.data();
  args.pad_stride = n;
  args.decode = &plan.capsule_codeword().decode_view();
  args.coefficients = n;
  args.planes = digits;
  args.plane_stride = n;
  kernels.decrypt_block(args);
}

/// Splits digits into key coefficients, removing `offset` from each.
void split_into(const Plan& plan, const std::uint64_t* digits, std::uint32_t t, std::int64_t offset,
                EphemeralKey& key) {
  const CapsuleShape& shape = plan.capsule();
  const std::size_t n = shape.degree;
  const std::uint64_t mask = (std::uint64_t{1} << shape.lane_bits) - 1;
  for (std::uint32_t lane = 0; lane < shape.lanes; ++lane) {
    const std::size_t first = (std::size_t{t} * shape.lanes + lane) * n;
    for (std::size_t j = 0; j < n && first + j < key.size(); ++j) {
      const std::uint64_t digit = (digits[j] >> (lane * shape.lane_bits)) & mask;
      key[first + j] = static_cast<std::int64_t>(digit) - offset;
    }
  }
}

}  // namespace

Capsule make_capsule(const Round& round, const Seed& seed) {
  const Plan& plan = round.plan();
  const CapsuleShape& shape = plan.capsule();
  const ring::Ring& ring = plan.capsule_ring();
  const std::size_t n = ring.degree();
  const isa::KernelTable& kernels = isa::kernels();
  const ring::Expander expander("veilsum/1/capsule", round.id(), seed.span(),
                                ring::KeySize::kAes256);

  Capsule capsule;
  capsule.bytes.resize(shape.bytes);
  capsule.key = EphemeralKey(plan.degree());
  sample_into(expander, stream_index(Domain::kEphemeralKey, 0, 0), plan.degree(),
              capsule.key.data());

  SecretBuffer<std::int64_t> u(n);
  SecretBuffer<std::uint64_t> u_slots(ring.words());
  SecretBuffer<std::uint64_t> pads(ring.words());
  SecretBuffer<std::uint64_t> digits(n);
  const AlignedBuffer<std::uint64_t> no_message(n, Initialise::kZero);
  std::uint8_t* out = capsule.bytes.data();
  for (std::uint32_t t = 0; t < shape.ciphertexts; ++t) {
    sample_into(expander, stream_index(Domain::kCapsuleU, t, 0), n, u.data());
    for (std::size_t limb = 0; limb < ring.limbs(); ++limb) {
      ring::small_to_slots_into(ring, limb, u.span(), u_slots.data() + limb * n);
    }
    encode_into(plan, capsule.key, seed, t, digits.data());
    // c0 = b u + e0 + Delta m, then c1 = a u + e1: the block kernel twice, with b u and a u as
    // pads.
    for (const bool first : {true, false}) {
      const PublicKey& key = round.public_key();
      const ring::SlotMultiplier& factor = first ? key.b() : key.a();
      for (std::size_t limb = 0; limb < ring.limbs(); ++limb) {
        factor.multiply_into_lazy(ring, limb, u_slots.data() + limb * n, pads.data() + limb * n);
      }
      isa::EncryptBlock args{};
      args.pads = pads.data();
      args.pad_stride = n;
      args.planes = first ? digits.data() : no_message.data();
      args.plane_stride = n;
      args.plane_count = 1;
      args.limb_count = ring.limbs();
      args.limbs = plan.capsule_codeword().limb_views();
      args.error_key = &expander.key();
      args.error_index = stream_index(first ? Domain::kCapsuleE0 : Domain::kCapsuleE1, t, 0);
      args.coefficients = n;
      args.out = out;
      kernels.encrypt_block(args);
      out += row_bytes(plan);
    }
  }
  return capsule;
}

bool capsule_well_formed(const Plan& plan, ByteView capsule) {
  const CapsuleShape& shape = plan.capsule();
  if (capsule.size() != shape.bytes) return false;
  const std::size_t n = shape.degree;
  const std::size_t limb_bytes = n / isa::kGroup * isa::kGroupBytes;
  AlignedBuffer<std::uint64_t> scratch(n);
  bool good = true;
  const std::uint8_t* row = capsule.data();
  for (std::uint32_t polynomial = 0; polynomial < 2 * shape.ciphertexts; ++polynomial) {
    for (std::size_t limb = 0; limb < shape.limbs; ++limb, row += limb_bytes) {
      good &= isa::kernels().unpack(row, n, plan.capsule_ring().q(limb), scratch.data());
    }
  }
  return good;
}

EphemeralKey open_fresh_capsule(const SecretKey& secret, const Round& round, ByteView capsule,
                                const std::string& whose) {
  const Plan& plan = round.plan();
  const CapsuleShape& shape = plan.capsule();
  SecretBuffer<std::uint64_t> digits(shape.degree);
  decode_into(secret, plan, capsule.data(), digits.data());
  Seed seed;
  for (std::size_t k = 0; k < kSeedBits; ++k) {
    const std::uint64_t bit = (digits[k] >> (shape.message_bits - 1)) & 1u;
    seed.data()[k / 8] =
        static_cast<std::uint8_t>(seed.data()[k / 8] | (static_cast<unsigned>(bit) << (k % 8)));
  }
  Capsule again = make_capsule(round, seed);
  if (!equal_constant_time(again.bytes.data(), capsule.data(), shape.bytes)) {
    throw RoundError("the capsule of " + whose + " was not made honestly for round " +
                     short_hex(round.id()) +
                     ": it is damaged, crafted or from another round; nothing was opened");
  }
  return std::move(again.key);
}

Bytes sum_capsules(const Plan& plan, std::span<const ByteView> capsules,
                   std::span<const std::uint64_t> weights) {
  const CapsuleShape& shape = plan.capsule();
  const std::size_t limb_bytes = std::size_t{shape.degree} / isa::kGroup * isa::kGroupBytes;
  Bytes out(shape.bytes);
  constexpr std::size_t kBatch = 1024;
  std::vector<const std::uint8_t*> sources;
  std::vector<std::uint64_t> factors;
  for (std::size_t offset = 0; offset < shape.bytes; offset += limb_bytes) {
    const std::size_t limb = offset / limb_bytes % shape.limbs;
    for (std::size_t first = 0; first < capsules.size(); first += kBatch) {
      sources.clear();
      factors.clear();
      if (first != 0) {
        sources.push_back(out.data() + offset);
        factors.push_back(1);
      }
      for (std::size_t k = first; k < std::min(first + kBatch, capsules.size()); ++k) {
        sources.push_back(capsules[k].data() + offset);
        factors.push_back(weights[k]);
      }
      isa::SumPacked args{};
      args.sources = sources.data();
      args.weights = factors.data();
      args.source_count = static_cast<std::uint32_t>(sources.size());
      args.coefficients = shape.degree;
      args.modulus = plan.capsule_ring().modulus(limb);
      args.out = out.data() + offset;
      if (!isa::kernels().sum_packed(args)) {
        throw WireFormatError("capsule: a residue is not below its modulus");
      }
    }
  }
  return out;
}

EphemeralKey open_summed_capsule(const SecretKey& secret, const Round& round, ByteView capsule,
                                 std::uint64_t total_weight) {
  const Plan& plan = round.plan();
  SecretBuffer<std::uint64_t> digits(plan.capsule().degree);
  EphemeralKey key(plan.degree());
  const auto offset = static_cast<std::int64_t>(kErrorBound * total_weight);
  for (std::uint32_t t = 0; t < plan.capsule().ciphertexts; ++t) {
    decode_into(secret, plan, capsule.data() + t * 2 * row_bytes(plan), digits.data());
    split_into(plan, digits.data(), t, offset, key);
  }
  return key;
}

}  // namespace veilsum::scheme
