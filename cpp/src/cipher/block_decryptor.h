// Layer: cipher. Decryption of some blocks of a sum at a time, by the code that decrypts whole
// sums. Whoever reads a sum in portions decrypts its check blocks first.
#pragma once

#include <cstdint>
#include <memory>

#include "cipher/decrypt.h"

namespace veilsum::cipher {

/// The sum key, ready for blocks. Wiped when freed.
class BlockDecryptor {
 public:
  /// @throws KeyMismatchError, ParameterError as decrypt()
  BlockDecryptor(const scheme::SumKey& key, const scheme::Manifest& manifest,
                 const DecryptOptions& options);
  ~BlockDecryptor();

  /// What one thread works in.
  class Scratch {
   public:
    explicit Scratch(const BlockDecryptor& owner);
    ~Scratch();

   private:
    friend class BlockDecryptor;
    struct Buffers;
    std::unique_ptr<Buffers> buffers_;
  };

  /// Decrypts the blocks [first, first + count), packed in `packed`, to `out`: their values, of the
  /// options' type. Check blocks have none and are only checked. Thread-safe with a scratch for
  /// each thread.
  /// @throws TamperedSumError when the blocks cannot be the sum that the key opens
  void decrypt(std::uint64_t first, std::uint64_t count, ByteView packed, Scratch& scratch,
               std::uint8_t* out) const;

 private:
  struct Shared;
  std::unique_ptr<Shared> shared_;
};

}  // namespace veilsum::cipher
