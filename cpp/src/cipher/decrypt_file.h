// Layer: cipher. From a file with a sum to a file of numbers, in portions: memory does not grow
// with the vector. The numbers are those that decrypt() gives.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "cipher/decrypt.h"
#include "scheme/aggregate_file.h"

namespace veilsum::cipher {

/// Where one segment's values go in the file, and as what.
struct FileTarget {
  std::uint64_t offset = 0;
  isa::ElementType type = isa::ElementType::kFloat32;
  std::uint64_t count = 0;
};

/// Decrypts `total` to the file `path`.
/// @param prefix the file's first bytes: a header that says where the values lie
/// @param targets one for each segment of the round, beyond the prefix, not overlapping
/// @param file_bytes the file's size
/// @param options type is what the values are decrypted to before they are rounded to a target's
/// @param resume keep a journal beside `path`, and continue the run of one that is there
/// The numbers stand in a file of mode 0600 beside `path` until the sum's tag, or the key's check
/// of the blocks, was found right, in the same pass; then it takes its name, or it is removed. A
/// key that names the blocks' digest has them read for that before.
/// @throws as decrypt(); WireFormatError for damaged blocks; ParameterError when a run cannot be
///         continued; std::system_error of the files. On an error `path` is as it was.
void decrypt_file(const scheme::SumKey& key, const scheme::AggregateFile& total,
                  const std::string& path, ByteView prefix, std::span<const FileTarget> targets,
                  std::uint64_t file_bytes, const DecryptOptions& options, bool resume);

/// Rounds `count` float32 or float64 values at `from` to the type `to`, ties to even, at `out`.
/// From float64 to bfloat16 the values are rounded to float32 first.
void convert_values(const void* from, isa::ElementType type, std::uint64_t count,
                    isa::ElementType to, void* out);

}  // namespace veilsum::cipher
