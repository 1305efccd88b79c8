// Layer: codec. Decryption of some blocks of a sum at a time, by the code that decrypts whole sums.
// Unlike it, the packed bytes may be untrusted: their residues are checked here.
#pragma once

#include <cstdint>
#include <memory>

#include "codec/decrypt.h"

namespace veilsum::codec {

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
  /// options' type. Thread-safe with a scratch for each thread.
  /// @return false when a residue is not below its modulus
  bool decrypt(std::uint64_t first, std::uint64_t count, ByteView packed, Scratch& scratch,
               std::uint8_t* out) const;

 private:
  struct Shared;
  std::unique_ptr<Shared> shared_;
};

}  // namespace veilsum::codec
