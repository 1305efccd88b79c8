// Layer: cipher. Decryption of some blocks of a sum at a time, by the code that decrypts whole
// sums. Whoever reads a sum in portions decrypts its check blocks too, and gives no number out
// before the hashes of all of it, where the sum has a tag or its key a check, were found right.
#pragma once

#include <cstdint>
#include <memory>

#include "cipher/decrypt.h"

namespace veilsum::cipher {

/// The sum key, ready for blocks. Wiped when freed.
class BlockDecryptor {
 public:
  /// The options' tag must outlive the object.
  /// @throws KeyMismatchError, RoundError, ParameterError as check_decryption()
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
  /// @param hashes what the blocks' hashes are added to; null where none are wanted
  /// @return false when the blocks are not the sum that the key opens: `out` and `hashes` are then
  ///         of no use
  bool decrypt(std::uint64_t first, std::uint64_t count, ByteView packed, Scratch& scratch,
               std::uint8_t* out, SumHashes* hashes) const;

 private:
  struct Shared;
  std::unique_ptr<Shared> shared_;
};

}  // namespace veilsum::cipher
