// Layer: cipher. Encryption of some blocks of an update at a time, by the code that encrypts whole
// updates, for callers that do not hold the update in memory as one. Wiped when freed.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "cipher/encrypt.h"

namespace veilsum::cipher {

/// Everything that the blocks of one upload have in common.
class BlockEncryptor {
 public:
  /// All three, and the options' tag, must outlive the object.
  BlockEncryptor(const scheme::Round& round, const UploadSecrets& secrets,
                 const EncryptOptions& options);
  ~BlockEncryptor();

  /// What one thread works in.
  class Scratch {
   public:
    explicit Scratch(const BlockEncryptor& owner);
    ~Scratch();

   private:
    friend class BlockEncryptor;
    struct Buffers;
    std::unique_ptr<Buffers> buffers_;
  };

  /// Encrypts the blocks [first, first + count) to `out`. Thread-safe with a scratch for each
  /// thread.
  /// @param pieces one for each segment of the round; those that the blocks touch hold their values
  /// @param hash null, or what the blocks' hash is added to, under the key of the options' tag
  /// @return false once any call met a value that is not finite: `out` is then of no use
  bool encrypt(std::uint64_t first, std::uint64_t count, std::span<const Piece> pieces,
               Scratch& scratch, std::uint8_t* out, ring::TagSum* hash = nullptr);
  /// Values so far that lay beyond their limit.
  std::uint64_t clipped() const noexcept;

 private:
  struct Shared;
  std::unique_ptr<Shared> shared_;
};

}  // namespace veilsum::cipher
