// Layer: aggregate. Sums of uploads in files, to a file, in one pass over them: memory does not
// grow with the vector nor, but for the manifest, with the number of uploads. The bytes are those
// of weighted_sum() and save().
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "scheme/opening.h"

namespace veilsum::aggregate {

/// Called from the calling thread between portions; throwing stops the work.
using Progress = std::function<void(std::uint64_t done_values, std::uint64_t total_values)>;

struct FileSumOptions {
  int threads = 0;
  Progress progress;
  bool resume = false;  ///< keep a journal, and continue the run of one that is there
};

/// Writes sum_k weights[k] * paths[k] to the file `path`; empty weights mean all one. Everything
/// that Upload::from_bytes and weighted_sum check is checked in the same pass, on the bytes that
/// are summed; `path` is as it was when something fails.
/// @param verifier required when the round has a roster
/// @throws as weighted_sum; WireFormatError, naming the file; std::system_error of the files
void sum_files(const scheme::Round& round, const std::vector<std::string>& paths,
               std::span<const std::uint64_t> weights, const scheme::SignatureVerifier* verifier,
               const std::string& path, const FileSumOptions& options);

}  // namespace veilsum::aggregate
