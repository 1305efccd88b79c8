// Layer: scheme. Capsules: an upload's ephemeral key r under the authority's public key, as a
// BFV-style encryption that can be summed. Everything in a capsule - r, u, both errors - derives
// from one 32-byte seed and the round's id, and the seed travels inside the plaintext. Whoever
// opens a capsule re-derives it and compares (Fujisaki and Okamoto 1999): a crafted ciphertext that
// would probe the authority's key, or a capsule of another round, is refused.
#pragma once

#include <cstdint>
#include <span>

#include "base/entropy.h"
#include "scheme/round.h"

namespace veilsum::scheme {

/// r: one ephemeral key, N coefficients in [-21, 21].
using EphemeralKey = SecretBuffer<std::int64_t>;

struct Capsule {
  Bytes bytes;  ///< plan().capsule().bytes of them
  EphemeralKey key;
};

/// Makes the capsule of `seed` for this round. Constant-time in the seed.
Capsule make_capsule(const Round& round, const Seed& seed);

/// True when all residues are below their moduli.
bool capsule_well_formed(const Plan& plan, ByteView capsule);

/// Opens one fresh capsule and checks that it was made honestly for this round.
/// @return its ephemeral key
/// @throws RoundError naming `whose` when the re-derived capsule differs
EphemeralKey open_fresh_capsule(const SecretKey& secret, const Round& round, ByteView capsule,
                                const std::string& whose);

/// sum_k weights[k] * capsules[k]; residues must be well formed.
Bytes sum_capsules(const Plan& plan, std::span<const ByteView> capsules,
                   std::span<const std::uint64_t> weights);

/// Opens a summed capsule: R = sum_k weights[k] r_k, given the total weight.
EphemeralKey open_summed_capsule(const SecretKey& secret, const Round& round, ByteView capsule,
                                 std::uint64_t total_weight);

}  // namespace veilsum::scheme
