// Layer: scheme. A round: the public description of one sum. Everything that must agree between
// clients, aggregator and authority is in it, and its id is a hash over all of it, so that uploads
// of different rounds, plans, layouts or ranges cannot meet.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "scheme/cipher.h"
#include "scheme/keys.h"
#include "scheme/plan.h"
#include "scheme/verification_key.h"

namespace veilsum::scheme {

/// A run of values with one clipping limit: usually a tensor.
struct Segment {
  std::uint64_t count = 0;
  double limit = 1.0;  ///< values are clipped to [-limit, limit]; finite and positive
};

/// Largest vector a round may describe: 2^40 values.
inline constexpr std::uint64_t kMaxValues = std::uint64_t{1} << 40;
inline constexpr std::uint64_t kMinClientsFloor = 2;
/// What a round is made of; unchecked.
struct RoundFields {
  std::vector<Segment> segments;
  std::string layout;  ///< opaque to this layer; travels and is hashed
  std::uint64_t min_clients = kMinClientsFloor;
  std::vector<VerificationKey> roster;  ///< Ed25519 keys, one a client; empty: no signatures
  std::uint64_t upload_keys = 0;        ///< kappa; 0: the cipher's default
  /// Whether the key holder opens an aggregate without seeing the uploads; only for ciphers whose
  /// sums it can check in no other way.
  bool trust_aggregator = false;
};

/// Reads plans of the engines that live elsewhere; supplied by the caller.
class CipherReader {
 public:
  virtual ~CipherReader() = default;
  /// @param fields Cipher::kFieldBytes, of another engine than the native one
  /// @throws WireFormatError, BackendUnavailableError
  virtual std::shared_ptr<const Cipher> read(ByteView fields) const = 0;
};

/// Immutable; copies share the contents.
class Round {
 public:
  /// Draws the seed from the operating system.
  /// @throws ParameterError for ranges, sizes or rosters outside their rules
  /// @throws HeadroomError when an upload key would serve too many coefficients
  Round(const Plan& plan, const PublicKey& public_key, RoundFields fields);
  /// With a given seed: for tests and for reading back.
  Round(const Plan& plan, const PublicKey& public_key, RoundFields fields,
        const std::array<std::uint8_t, 32>& seed);
  /// Of any engine.
  Round(std::shared_ptr<const Cipher> cipher, const PublicKey& public_key, RoundFields fields);
  Round(std::shared_ptr<const Cipher> cipher, const PublicKey& public_key, RoundFields fields,
        const std::array<std::uint8_t, 32>& seed);

  const Cipher& cipher() const noexcept { return *contents_->cipher; }
  const std::shared_ptr<const Cipher>& shared_cipher() const noexcept { return contents_->cipher; }
  /// The native engine's plan.
  /// @throws RoundError for a round of another engine
  const Plan& plan() const;
  const PublicKey& public_key() const noexcept { return contents_->public_key; }
  const Digest& id() const noexcept { return contents_->id; }
  const std::array<std::uint8_t, 32>& seed() const noexcept { return contents_->seed; }
  const std::vector<Segment>& segments() const noexcept { return contents_->fields.segments; }
  const std::string& layout() const noexcept { return contents_->fields.layout; }
  const std::vector<VerificationKey>& roster() const noexcept { return contents_->fields.roster; }
  bool trust_aggregator() const noexcept { return contents_->fields.trust_aggregator; }
  bool has_roster() const noexcept { return !roster().empty(); }
  std::uint32_t min_clients() const noexcept {
    return static_cast<std::uint32_t>(contents_->fields.min_clients);
  }
  /// Number of values in an update.
  std::uint64_t size() const noexcept { return contents_->starts.back(); }
  /// starts()[i] is the first value of segment i; one more entry holds size().
  const std::vector<std::uint64_t>& starts() const noexcept { return contents_->starts; }
  /// AES key of the public matrix.
  const isa::AesKey& matrix_key() const noexcept { return contents_->matrix_key; }

  /// kappa: block b is encrypted under key b mod kappa and public polynomial b / kappa.
  std::uint32_t upload_keys() const noexcept {
    return static_cast<std::uint32_t>(contents_->fields.upload_keys);
  }
  /// Blocks that hold values.
  std::uint64_t value_blocks() const noexcept { return cipher().block_count(size()); }
  /// Blocks of zeros behind them, one under each key: what finds wrong keys, not changed sums.
  std::uint64_t check_blocks() const noexcept { return upload_keys(); }
  std::uint64_t blocks() const noexcept { return value_blocks() + check_blocks(); }
  /// Values in block `block`; 0 of a check block.
  std::uint64_t block_values(std::uint64_t block) const noexcept;
  /// Bytes of block `block`: a check block has as many as a full one.
  std::size_t block_bytes(std::uint64_t block) const noexcept;
  /// Coefficients of block `block` of the native engine: a check block has all N.
  std::uint32_t block_coefficients(std::uint64_t block) const;
  /// Where the bytes of block `block` begin, and so where block `block` - 1 ends; `block` may be
  /// blocks().
  std::uint64_t block_offset(std::uint64_t block) const noexcept;
  std::uint64_t payload_bytes() const noexcept { return block_offset(blocks()); }

  /// Segment that holds value `at` < size().
  std::size_t segment_of(std::uint64_t at) const noexcept;

  Bytes to_bytes() const;
  /// @param others null: rounds of the native engine only
  static Round from_bytes(ByteView bytes, const CipherReader* others = nullptr);

 private:
  struct Contents {
    std::shared_ptr<const Cipher> cipher;
    const Plan* native;  // the same, or null
    PublicKey public_key;
    RoundFields fields;
    std::array<std::uint8_t, 32> seed;
    std::vector<std::uint64_t> starts;
    Bytes wire_fields;
    Digest id;
    isa::AesKey matrix_key;
  };
  std::shared_ptr<const Contents> contents_;
};

}  // namespace veilsum::scheme
