// Layer: codec. What an upload is made of before its values are known: the secrets of one upload,
// and a buffer in which the sum of pad and error stands for the blocks that were prepared. It
// knows nothing of values, and nothing of when or by whom blocks are prepared.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/entropy.h"
#include "ring/expander.h"
#include "ring/ring.h"
#include "scheme/round.h"

namespace veilsum::codec {

/// The secrets of one upload, each used for it alone.
struct UploadSeeds {
  Seed capsule;
  Seed errors;
  Seed rounding;

  static UploadSeeds fresh();
};

/// What the seeds expand to; shared, read-only, by whoever makes blocks of the upload.
struct UploadSecrets {
  UploadSecrets(const scheme::Round& round, const UploadSeeds& seeds);

  Bytes capsule;  ///< public
  ring::SlotMultiplier key;
  ring::Expander errors;
  ring::Expander rounding;

 private:
  struct Made;
  UploadSecrets(const scheme::Round& round, const UploadSeeds& seeds, Made made);
};

/// The blocks of an upload while pads, or pads beside ciphertexts, stand in them. What was touched
/// is wiped before the memory goes back, unless release() was called on finished ciphertexts. What
/// was not touched is never written: it need not be there at all yet.
class PadBuffer {
 public:
  explicit PadBuffer(std::size_t bytes) : bytes_(bytes) {}
  PadBuffer(PadBuffer&& other) noexcept;
  PadBuffer& operator=(PadBuffer&& other) noexcept;
  ~PadBuffer() { wipe(); }

  /// Bytes [0, end) may hold secrets from now on.
  void touch(std::size_t end) noexcept;
  std::uint8_t* data() noexcept { return bytes_.data(); }
  std::size_t size() const noexcept { return bytes_.size(); }
  AlignedBuffer<std::uint8_t> release() && noexcept;

 private:
  void wipe() noexcept;

  AlignedBuffer<std::uint8_t> bytes_;
  std::size_t touched_ = 0;
};

/// One upload in the making. Encrypting consumes it, also when it fails: a pad that met a message
/// never meets another.
class PreparedUpload {
 public:
  /// With no block prepared.
  PreparedUpload(const scheme::Round& round, const UploadSeeds& seeds);
  /// @param ready one byte a block: whether pad + error mod q stands packed in `blocks`; or empty
  PreparedUpload(const scheme::Round& round, std::shared_ptr<const UploadSecrets> secrets,
                 PadBuffer blocks, std::vector<std::uint8_t> ready);

  const scheme::Round& round() const noexcept { return round_; }

  struct Contents {
    std::shared_ptr<const UploadSecrets> secrets;
    PadBuffer blocks;
    std::vector<std::uint8_t> ready;
  };
  /// What the encryption works on, handed out once.
  /// @throws RoundError when it was handed out before
  Contents consume();

 private:
  const scheme::Round round_;  ///< const: stays when the rest is moved away
  std::optional<Contents> contents_;
};

/// Bytes of one full block of the round.
std::size_t full_block_bytes(const scheme::Round& round) noexcept;
/// Bytes of block `block`, which is smaller when it is the last one.
std::size_t bytes_of_block(const scheme::Round& round, std::uint64_t block) noexcept;

/// The digits of a block, [count][plan.degree()], or zeros in `count` planes.
struct Planes {
  const std::uint64_t* values;
  std::uint32_t count;
};

/// Writes one packed block: pad + error + message mod q.
/// @param pads scratch of plan.ring().words()
void make_block_into(const scheme::Round& round, const UploadSecrets& secrets, std::uint64_t block,
                     Planes planes, std::uint64_t* pads, std::uint8_t* out);

}  // namespace veilsum::codec
