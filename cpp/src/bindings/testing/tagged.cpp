// Layer: bindings (testing only). Encryption and decryption with a sum tag, which the package's own
// calls do not offer yet: hashes come out bare, and sums of tags go in.
#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "aggregate/aggregate.h"
#include "bindings/arrays.h"
#include "bindings/conversions.h"
#include "bindings/testing/registry.h"
#include "cipher/decrypt.h"
#include "cipher/decrypt_file.h"
#include "cipher/encrypt.h"
#include "cipher/encrypt_file.h"
#include "cipher/pad_store.h"
#include "cipher/sum_tag.h"

namespace veilsum::testing {
namespace {

using Values = ring::TagSum::Values;
/// (upload seed, rounding seed, nonce)
using SeedBytes = std::tuple<std::string, std::string, std::string>;

ByteView view_of(const std::string& data) {
  return {reinterpret_cast<const std::uint8_t*>(data.data()), data.size()};
}

template <std::size_t N>
std::array<std::uint8_t, N> exactly(const std::string& data) {
  std::array<std::uint8_t, N> out{};
  if (data.size() != N) throw std::invalid_argument("a seed has 32 bytes, a nonce 16");
  std::copy(data.begin(), data.end(), out.begin());
  return out;
}

cipher::UploadSeeds seeds_of(const SeedBytes& seeds) {
  return {Seed(exactly<32>(std::get<0>(seeds))), Seed(exactly<32>(std::get<1>(seeds))),
          exactly<16>(std::get<2>(seeds))};
}

Values values_of(const cipher::Tagging& tag) {
  if (!tag.hash) throw std::logic_error("the encryption gave no hash");
  return tag.hash->values();
}

/// `round` is the upload's, `key_round` the one that the tag key is made for.
py::tuple encrypt_tagged(const scheme::Round& round, const scheme::Round& key_round,
                         const std::string& group_key, const std::vector<py::array>& pieces,
                         const std::vector<std::string>& dtypes, const py::function& seal,
                         const std::optional<SeedBytes>& seeds, cipher::PadStore* pads,
                         double weight, const std::string& rounding, const std::string& on_clip,
                         int threads, const std::optional<py::function>& progress,
                         const std::optional<std::uint32_t>& client) {
  const std::vector<cipher::Piece> views = bindings::make_pieces(pieces, dtypes);
  cipher::EncryptOptions options =
      bindings::make_encrypt_options(weight, rounding, on_clip, threads, progress);
  const bindings::PythonSealer sealer(seal);
  options.client = client.value_or(scheme::kNoClient);
  const cipher::TagKey key(key_round, view_of(group_key));
  cipher::Tagging tag{key, {}};
  options.tag = &tag;
  const auto run = [&] {
    const py::gil_scoped_release unlocked;  // the arrays are held by the caller's arguments
    if (pads != nullptr) return cipher::encrypt(round, views, options, sealer, *pads);
    return cipher::encrypt_with_seeds(round, views, options, sealer, seeds_of(seeds.value()));
  };
  scheme::Upload upload = run();
  return py::make_tuple(py::cast(std::move(upload)), values_of(tag));
}

using FileSource = std::tuple<std::filesystem::path, std::uint64_t, std::string, std::uint64_t>;

Values encrypt_file_tagged(const scheme::Round& round, const std::string& group_key,
                           const std::vector<FileSource>& sources,
                           const std::filesystem::path& target, const py::function& seal,
                           const SeedBytes& seeds, double weight, const std::string& rounding,
                           int threads, const std::optional<py::function>& progress, bool resume) {
  std::vector<cipher::FilePiece> pieces;
  pieces.reserve(sources.size());
  for (const auto& [path, offset, dtype, count] : sources) {
    pieces.push_back({std::make_shared<const InputFile>(path.string()), offset,
                      bindings::element_type(dtype), count});
  }
  cipher::EncryptOptions options =
      bindings::make_encrypt_options(weight, rounding, "count", threads, progress);
  const bindings::PythonSealer sealer(seal);
  const cipher::TagKey key(round, view_of(group_key));
  cipher::Tagging tag{key, {}};
  options.tag = &tag;
  const cipher::UploadSeeds given = seeds_of(seeds);
  {
    const py::gil_scoped_release unlocked;  // reads and writes files; callbacks lock themselves
    cipher::encrypt_file_with_seeds(round, pieces, target.string(), options, sealer, resume, {},
                                    given);
  }
  return values_of(tag);
}

cipher::DecryptOptions decrypt_options(bool average, const std::string& dtype, int threads,
                                       const std::optional<py::function>& progress,
                                       const cipher::TagCheck& tag) {
  cipher::DecryptOptions options;
  options.average = average;
  options.type = bindings::element_type(dtype);
  options.threads = bindings::checked_threads(threads);
  options.progress = bindings::make_progress(progress);
  options.tag = &tag;
  return options;
}

/// Decrypts `blocks`, which may be others than the aggregate's, into `out`.
void decrypt_tagged(const scheme::SumKey& sum_key, const aggregate::Aggregate& total,
                    const py::buffer& blocks, const scheme::Round& key_round,
                    const std::string& group_key, const Values& expected, py::array out,
                    bool average, int threads, const std::optional<py::function>& progress) {
  const bindings::BufferView packed(blocks);
  const bool narrow = out.dtype().is(py::dtype::of<float>());
  if (packed.view().size() != total.round().payload_bytes() || out.ndim() != 1 ||
      static_cast<std::uint64_t>(out.size()) != total.round().size() || !out.writeable() ||
      !(narrow || out.dtype().is(py::dtype::of<double>()))) {
    throw std::invalid_argument("blocks or out do not fit the round");
  }
  const cipher::TagKey key(key_round, view_of(group_key));
  const cipher::TagCheck tag{key, ring::TagSum(key.field(), expected)};
  const cipher::DecryptOptions options =
      decrypt_options(average, narrow ? "float32" : "float64", threads, progress, tag);
  void* const values = out.mutable_data();
  const py::gil_scoped_release unlocked;  // the caller's arguments hold all of it
  cipher::decrypt(sum_key, total.manifest(), packed.view(), options, values);
}

/// The segments one after the other, from the file's beginning.
void decrypt_file_tagged(const scheme::SumKey& sum_key, const scheme::AggregateFile& total,
                         const std::filesystem::path& target, const std::string& group_key,
                         const Values& expected, const std::string& dtype, int threads,
                         const std::optional<py::function>& progress, bool resume) {
  const cipher::TagKey key(total.round(), view_of(group_key));
  const cipher::TagCheck tag{key, ring::TagSum(key.field(), expected)};
  const cipher::DecryptOptions options = decrypt_options(true, dtype, threads, progress, tag);
  std::vector<cipher::FileTarget> targets;
  std::uint64_t bytes = 0;
  for (const scheme::Segment& segment : total.round().segments()) {
    targets.push_back({bytes, options.type, segment.count});
    bytes += segment.count * cipher::element_bytes(options.type);
  }
  const py::gil_scoped_release unlocked;  // progress locks for itself
  cipher::decrypt_file(sum_key, total, target.string(), {}, targets, bytes, options, resume);
}

Values upload_tag(const scheme::Round& round, const std::string& group_key, const Values& hash,
                  std::uint32_t client, const std::string& nonce) {
  const cipher::TagKey key(round, view_of(group_key));
  return key.tag(ring::TagSum(key.field(), hash), client, exactly<16>(nonce)).values();
}

}  // namespace

void register_tagged(py::module_& m) {
  m.def("encrypt_tagged", &encrypt_tagged, py::arg("round"), py::arg("key_round"),
        py::arg("group_key"), py::arg("pieces"), py::arg("dtypes"), py::arg("seal"), py::kw_only(),
        py::arg("seeds") = py::none(), py::arg("pads").none(true) = py::none(),
        py::arg("weight") = 1.0, py::arg("rounding") = "nearest", py::arg("on_clip") = "count",
        py::arg("threads") = 0, py::arg("progress") = py::none(), py::arg("client") = py::none());
  m.def("encrypt_file_tagged", &encrypt_file_tagged, py::arg("round"), py::arg("group_key"),
        py::arg("sources"), py::arg("target"), py::arg("seal"), py::kw_only(), py::arg("seeds"),
        py::arg("weight") = 1.0, py::arg("rounding") = "nearest", py::arg("threads") = 0,
        py::arg("progress") = py::none(), py::arg("resume") = false);
  m.def("decrypt_tagged", &decrypt_tagged, py::arg("key"), py::arg("aggregate"), py::arg("blocks"),
        py::arg("key_round"), py::arg("group_key"), py::arg("expected"), py::arg("out"),
        py::kw_only(), py::arg("average") = true, py::arg("threads") = 0,
        py::arg("progress") = py::none());
  m.def("decrypt_file_tagged", &decrypt_file_tagged, py::arg("key"), py::arg("aggregate"),
        py::arg("target"), py::arg("group_key"), py::arg("expected"), py::kw_only(),
        py::arg("dtype") = "float32", py::arg("threads") = 0, py::arg("progress") = py::none(),
        py::arg("resume") = false);
  m.def("upload_tag", &upload_tag, py::arg("round"), py::arg("group_key"), py::arg("hash"),
        py::arg("client"), py::arg("nonce"));
}

}  // namespace veilsum::testing
