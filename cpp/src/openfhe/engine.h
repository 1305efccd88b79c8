// Layer: openfhe. CKKS on OpenFHE as seven verbs over plain arrays: make a context and keys,
// encrypt blocks, sum them, decrypt in shares, join shares, and residues in and out. It knows
// nothing of rounds, files or envelopes (Python does), and nothing outside this folder sees an
// OpenFHE type.
//
// Whatever comes from outside enters as residues below their primes, in a structure made here: no
// received byte ever reaches OpenFHE's deserialiser.
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
  std::uint32_t ring_degree = 0;  ///< a power of two, or 0: OpenFHE takes the smallest secure one
  std::uint32_t security = 128;   ///< 128, 192 or 256 by OpenFHE's HEStd_*_classic; 0 for none
  /// True: shares get noise of deviation 2^noise_bits * 2^15 * sqrt(12), and OpenFHE fixes the
  /// modulus at 60 + 59 bits. False: OpenFHE's constant deviation of 2^20, and the sizes below.
  bool flooding = true;
  double noise_bits = 0;
  std::uint32_t first_bits = 60;
  std::uint32_t scale_bits = 59;
};

class ContextState;

/// A public or a secret key; the secret is OpenFHE's to hold, and is never written but on request.
class PublicKey {
 public:
  struct State;
  explicit PublicKey(std::shared_ptr<const State> state) : state_(std::move(state)) {}
  const State& state() const { return *state_; }
  /// OpenFHE's name for the key pair, carried by all its ciphertexts.
  std::string tag() const;

 private:
  std::shared_ptr<const State> state_;
};

class SecretKey {
 public:
  struct State;
  explicit SecretKey(std::shared_ptr<const State> state) : state_(std::move(state)) {}
  const State& state() const { return *state_; }
  std::string tag() const;

 private:
  std::shared_ptr<const State> state_;
};

struct KeyPair {
  SecretKey secret;
  PublicKey public_key;
};

/// What a run of blocks is: ciphertexts, rescaled (weighted) ciphertexts, or decryption shares.
struct Shape {
  std::uint32_t elements = 2;  ///< polynomials a block: 2, or 1 for a share
  bool rescaled = false;       ///< one prime instead of two
};

/// Ciphertexts, one a block. Immutable once made.
class Blocks {
 public:
  struct State;
  explicit Blocks(std::shared_ptr<const State> state) : state_(std::move(state)) {}
  const State& state() const { return *state_; }
  std::size_t count() const;
  Shape shape() const;

 private:
  std::shared_ptr<const State> state_;
};

/// A CKKS context. Safe to share between threads once made.
class Context {
 public:
  /// @throws ParameterError when OpenFHE refuses the request, with its reason
  explicit Context(const ContextRequest& request);

  std::size_t ring_degree() const;
  std::size_t slots() const { return ring_degree() / 2; }
  std::vector<std::uint64_t> moduli() const;
  std::vector<std::uint64_t> roots() const;
  /// Deviation of the noise on a decryption share.
  double flooding_deviation() const;
  /// The context in OpenFHE's binary format.
  std::string serialised() const;

  KeyPair keygen() const;
  /// One more party: the public key that results is joint, the secret key the party's own.
  KeyPair next_party(const PublicKey& earlier) const;

  /// Encrypts values[i * slots ...] as block i. Values are expected in [-1, 1].
  Blocks encrypt(const PublicKey& key, std::span<const double> values, int threads) const;
  /// Sum of the runs of blocks; with weights, each is multiplied first and the sum rescaled.
  Blocks sum(const std::vector<Blocks>& terms, const std::vector<double>& weights,
             int threads) const;
  /// A party's share of the decryption: its key times each block's second polynomial, plus noise.
  Blocks share(const SecretKey& key, const Blocks& blocks, int threads) const;
  /// Adds shares of the same blocks into one.
  Blocks add_shares(const std::vector<Blocks>& shares, int threads) const;
  /// Fuses blocks and the sum of all parties' shares into out[i * slots ...]. Real values went in,
  /// so an imaginary part is nothing but error. The same values for whoever decrypts.
  void decrypt(const Blocks& blocks, const Blocks& shares, std::span<std::complex<double>> out,
               int threads) const;

  std::size_t residues(Shape shape) const;  ///< 64-bit residues a block
  /// Residues of `count` blocks from block `first`, in the order of OpenFHE's binary format.
  void write(const Blocks& blocks, std::size_t first, std::size_t count,
             std::span<std::uint64_t> out, int threads) const;
  /// Blocks from residues, each checked against its prime.
  /// @throws WireFormatError naming the first residue that is not below its prime
  Blocks read(const PublicKey& key, std::span<const std::uint64_t> residues, Shape shape,
              int threads) const;
  /// Runs of blocks one after the other.
  Blocks join(const std::vector<Blocks>& parts) const;
  /// One block in OpenFHE's own binary format, context and all, for use with OpenFHE.
  std::string serialised(const Blocks& blocks, std::size_t index) const;

  std::vector<std::uint64_t> write(const PublicKey& key) const;
  PublicKey read_public(std::span<const std::uint64_t> residues, const std::string& tag) const;
  std::string serialised(const PublicKey& key) const;
  std::vector<std::uint64_t> write(const SecretKey& key) const;
  SecretKey read_secret(std::span<const std::uint64_t> residues, const std::string& tag) const;

 private:
  std::shared_ptr<const ContextState> state_;
};

}  // namespace veilsum::openfhe
