// Layer: cipher. What an upload is made of before its values are known: the secrets of one upload,
// and the pads of the blocks that were prepared. It knows nothing of values, and nothing of when or
// by whom blocks are prepared.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/entropy.h"
#include "base/process.h"
#include "cipher/pads.h"
#include "ring/expander.h"
#include "scheme/round.h"
#include "scheme/sealed_key.h"

namespace veilsum::cipher {

/// What one upload is made from, each used for it alone.
struct UploadSeeds {
  Seed key;       ///< of upload keys and errors; it is what is sealed
  Seed rounding;  ///< of stochastic rounding; leaves nobody's hands
  scheme::Nonce nonce{};

  static UploadSeeds fresh();
};

/// What the seeds expand to; shared, read-only, by whoever makes blocks of the upload.
struct UploadSecrets {
  UploadSecrets(const scheme::Round& round, const UploadSeeds& its_seeds);

  UploadSeeds seeds;
  BlockKeys keys;
  ring::Expander errors;
  ring::Expander rounding;
};

class PadWiper;

/// Pads of an upload that were made ahead: for each ready block u = pad + error, packed to 48 bits.
/// What was touched is wiped before the memory goes back. What was not touched is never written: it
/// need not be there at all yet.
class PadBuffer {
 public:
  /// @param wiper does the wiping; null: the destructor does
  explicit PadBuffer(std::size_t bytes, std::shared_ptr<PadWiper> wiper = nullptr)
      : bytes_(bytes), wiper_(std::move(wiper)) {}
  PadBuffer(PadBuffer&& other) noexcept;
  PadBuffer& operator=(PadBuffer&& other) noexcept;
  ~PadBuffer() { dispose(); }

  /// Bytes [0, end) may hold secrets from now on.
  void touch(std::size_t end) noexcept;
  std::uint8_t* data() noexcept { return bytes_.data(); }
  std::size_t size() const noexcept { return bytes_.size(); }

 private:
  /// Wipes them here, or gives them to the wiper.
  void dispose() noexcept;

  AlignedBuffer<std::uint8_t> bytes_;
  std::shared_ptr<PadWiper> wiper_;
  std::size_t touched_ = 0;
};

/// Wipes used pads and frees them, on a background thread of the lowest priority: tens of megabytes
/// are not to be written while somebody waits for a ciphertext. Wipes at once what comes while it
/// is busy, so that used pads never pile up.
class PadWiper {
 public:
  PadWiper();
  PadWiper(const PadWiper&) = delete;
  PadWiper& operator=(const PadWiper&) = delete;
  /// Waits until all is wiped.
  ~PadWiper();

  /// @param pads without a wiper of their own
  void take(PadBuffer pads) noexcept;

 private:
  struct Job;
  const ProcessMark process_;
  std::mutex guard_;
  std::unique_ptr<Job> job_;
};

/// One upload in the making. Encrypting consumes it, also when it fails: a pad that met a message
/// never meets another.
class PreparedUpload {
 public:
  /// With no block prepared.
  PreparedUpload(const scheme::Round& round, const UploadSeeds& seeds);
  /// @param ready one byte a block: whether its pad stands in `pads`; or empty
  PreparedUpload(const scheme::Round& round, std::shared_ptr<const UploadSecrets> secrets,
                 PadBuffer pads, std::vector<std::uint8_t> ready);

  const scheme::Round& round() const noexcept { return round_; }

  struct Contents {
    std::shared_ptr<const UploadSecrets> secrets;
    PadBuffer pads;
    std::vector<std::uint8_t> ready;
  };
  /// What the encryption works on, handed out once.
  /// @throws RoundError when it was handed out before
  Contents consume();

 private:
  const scheme::Round round_;  ///< const: stays when the rest is moved away
  std::optional<Contents> contents_;
};

/// Bytes of the pad of a full block, and of block `block`, which is smaller when its coefficients
/// are fewer. Pads lie at multiples of the first.
std::size_t full_pad_bytes(const scheme::Round& round);
std::size_t pad_bytes(const scheme::Round& round, std::uint64_t block);
/// Bytes of the pads of the first `blocks` blocks, and of a whole upload.
std::uint64_t first_pad_bytes(const scheme::Round& round, std::uint64_t blocks);
std::uint64_t all_pad_bytes(const scheme::Round& round);
/// Bytes of a buffer for the pads of a whole upload: with the gap behind a short block.
std::uint64_t pad_buffer_bytes(const scheme::Round& round);

/// Writes the pad of one block.
void make_pad_into(const scheme::Round& round, const UploadSecrets& secrets, std::uint64_t block,
                   PadMaker& maker, std::uint8_t* out);

}  // namespace veilsum::cipher
