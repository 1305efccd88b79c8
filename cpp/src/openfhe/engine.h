// Layer: openfhe. CKKS on OpenFHE as a cipher over residues: make a context and keys, encrypt
// blocks, make a party's share of a decryption, decrypt. It knows nothing of rounds, files or
// envelopes, and it adds nothing: sums are residue arithmetic, which the core does for every
// engine. Nothing outside this folder sees an OpenFHE type.
//
// Blocks, shares and keys are residues in the order of OpenFHE's binary format, and each is checked
// against its prime where it enters: no received byte ever reaches OpenFHE's deserialiser.
#pragma once

#include <complex>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace veilsum::openfhe {

/// The version of OpenFHE that this was compiled against, as "1.5.1".
std::string library_version();

/// What a context is made from.
struct ContextRequest {
  std::uint32_t ring_degree = 0;  ///< a power of two
  std::uint32_t security = 128;   ///< 128, 192 or 256 by OpenFHE's HEStd_*_classic; 0 for none
  std::uint32_t primes = 1;       ///< 1, or 2: the second has about `scale_bits` bits
  std::uint32_t first_bits = 60;  ///< bits of the first prime
  std::uint32_t scale_bits = 0;  ///< a slot's value is multiplied by 2^scale_bits; below first_bits
};

/// Residues, below their primes. A polynomial is `primes` rows of N; a block or a public key is two
/// polynomials, a share or a secret key one.
using Residues = std::span<const std::uint64_t>;
using ResiduesOut = std::span<std::uint64_t>;

/// A CKKS context. Safe to share between threads once made. Every call throws ParameterError when
/// lengths do not fit each other, and VeilsumError with OpenFHE's words when OpenFHE fails.
class Context {
 public:
  /// @throws ParameterError when OpenFHE refuses the request, with its reason
  explicit Context(const ContextRequest& request);

  std::size_t ring_degree() const;
  std::size_t slots() const { return ring_degree() / 2; }
  std::vector<std::uint64_t> moduli() const;
  std::vector<std::uint64_t> roots() const;  ///< a primitive 2N-th root of unity for each
  /// Residues of one polynomial.
  std::size_t polynomial() const;

  /// Makes a key pair on top of the earlier parties' public key; the public key that results is
  /// joint, the secret key is the party's own.
  /// @param earlier  empty for the first party
  void keygen(Residues earlier, ResiduesOut secret, ResiduesOut public_key) const;

  /// Encrypts values[i * slots ...] as block i. Values are expected in [-1, 1].
  /// @throws WireFormatError naming the key's first residue that is not below its prime
  void encrypt(Residues public_key, std::span<const double> values, ResiduesOut blocks,
               int threads) const;

  /// A party's share of decrypting blocks: its key times each block's second polynomial, and noise
  /// drawn by OpenFHE's discrete Gaussian sampler.
  /// @param deviation  of the noise's coefficients; above 0, at most 1/16 of the smallest prime
  /// @throws WireFormatError naming the first residue that is not below its prime
  void share(Residues secret, Residues blocks, double deviation, ResiduesOut shares,
             int threads) const;

  /// Adds the sum of all parties' shares to the blocks' first polynomials, and decodes them into
  /// slots[i * slots ...]. Real values went in, so an imaginary part is nothing but error. Whoever
  /// decrypts gets the same values.
  /// @throws WireFormatError naming the first residue that is not below its prime
  void decrypt(Residues blocks, Residues shares, std::span<std::complex<double>> slots,
               int threads) const;

  /// One block in OpenFHE's own binary format, context and all, to go on computing with OpenFHE.
  /// @param tag  OpenFHE's name for the key pair; the same for the public key
  std::string block_bytes(Residues block, const std::string& tag) const;
  std::string public_bytes(Residues public_key, const std::string& tag) const;

 private:
  class State;
  std::shared_ptr<const State> state_;
};

}  // namespace veilsum::openfhe
