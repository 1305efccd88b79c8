// Layer: tests. Updates in files, several tensors to a file at odd offsets, as the streaming code
// reads them, beside the same update in memory.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/file_stream.h"
#include "cipher/encrypt_file.h"
#include "support/temporary_folder.h"
#include "support/updates.h"

namespace veilsum::test {

/// One random tensor a segment, of the given types in turn.
inline std::vector<Tensor> random_update(const scheme::Round& round, std::uint64_t seed,
                                         std::vector<ElementType> types) {
  Random random(seed);
  std::vector<Tensor> out;
  for (std::size_t i = 0; i < round.segments().size(); ++i) {
    out.push_back(
        random_tensor(random, types[i % types.size()], round.segments()[i], round.plan().levels()));
  }
  return out;
}

/// Writes the tensors last to first, three bytes apart, to one file.
inline std::vector<cipher::FilePiece> write_update(const std::string& path,
                                                   const std::vector<Tensor>& update) {
  std::string text = "a header of some length";
  std::vector<std::uint64_t> offsets(update.size());
  for (std::size_t i = update.size(); i-- > 0;) {
    text += "???";
    offsets[i] = text.size();
    text.append(reinterpret_cast<const char*>(update[i].bytes.data()), update[i].bytes.size());
  }
  put_contents(path, text);
  const auto file = std::make_shared<const InputFile>(path);
  std::vector<cipher::FilePiece> out;
  for (std::size_t i = 0; i < update.size(); ++i) {
    out.push_back({file, offsets[i], update[i].type, update[i].count});
  }
  return out;
}

}  // namespace veilsum::test
