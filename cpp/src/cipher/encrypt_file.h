// Layer: cipher. From files of values to a file with the upload, in portions: memory does not grow
// with the vector. The bytes are those that encrypt() and save() would give with the same seeds.
//
// A resumable run keeps its seeds in a journal. The same pad under two messages would give away
// their difference, so the journal also holds a digest of every span of input from before its
// ciphertext is written, and a span is made again from exactly those bytes or not at all. With a
// tag the journal holds the hashes of finished portions, which are as secret as the seeds.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "base/file_stream.h"
#include "cipher/encrypt.h"

namespace veilsum::cipher {

/// One segment's values in a file: contiguous, little-endian.
struct FilePiece {
  std::shared_ptr<const InputFile> file;
  std::uint64_t offset = 0;
  isa::ElementType type = isa::ElementType::kFloat32;
  std::uint64_t count = 0;
};

/// Who signs the upload when its digest is known.
struct FileSigner {
  std::uint32_t client = 0;
  std::function<scheme::Signature(ByteView payload)> sign;
};

/// What is public about an upload that was written to a file.
struct FileUpload {
  std::uint64_t bytes = 0;
  std::uint64_t clipped = 0;
  Digest digest{};  ///< names the upload
};

/// A value that is NaN or infinite.
class NotFiniteError : public ParameterError {
 public:
  NotFiniteError(const std::string& message, std::uint64_t at)
      : ParameterError(message), index(at) {}
  std::uint64_t index;  ///< in the whole update
};

/// Encrypts `pieces`, one for each segment of the round, to the file `path`.
/// The blocks are made first, the upload's seed is sealed then, and the head, whose size is fixed,
/// is written last.
/// @param resume keep a journal beside `path`, and continue the run of one that is there
/// @throws as encrypt(); NotFiniteError for a NaN or an infinity; ParameterError when a run cannot
///         be continued; std::system_error of the files. On an error `path` is as it was.
FileUpload encrypt_file(const scheme::Round& round, std::span<const FilePiece> pieces,
                        const std::string& path, const EncryptOptions& options,
                        const scheme::Sealer& sealer, bool resume,
                        const std::optional<FileSigner>& signer);
/// The same with given seeds: tests only. A journal's own seeds win.
FileUpload encrypt_file_with_seeds(const scheme::Round& round, std::span<const FilePiece> pieces,
                                   const std::string& path, const EncryptOptions& options,
                                   const scheme::Sealer& sealer, bool resume,
                                   const std::optional<FileSigner>& signer,
                                   const UploadSeeds& seeds);

}  // namespace veilsum::cipher
