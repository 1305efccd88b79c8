// Layer: bindings. Vectors in, uploads out; aggregates in, vectors out.
#include <pybind11/stl.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>

#include "aggregate/aggregate.h"
#include "base/wipe.h"
#include "bindings/arrays.h"
#include "bindings/conversions.h"
#include "bindings/docstrings.h"
#include "bindings/register.h"
#include "cipher/decrypt.h"
#include "cipher/decrypt_file.h"
#include "cipher/encrypt.h"
#include "cipher/encrypt_file.h"
#include "cipher/pad_store.h"
#include "cipher/sum_tag.h"

namespace veilsum::bindings {
namespace {

scheme::Upload encrypt(const scheme::Round& round, const std::vector<py::array>& pieces,
                       const std::vector<Word>& dtypes, double weight, const Word& rounding,
                       const Word& on_clip, int threads,
                       const std::optional<py::function>& progress, cipher::PadStore* pads,
                       const std::optional<std::uint32_t>& client,
                       const std::optional<py::buffer>& tag_key, const py::function& seal) {
  const std::vector<cipher::Piece> views = make_pieces(pieces, dtypes);
  cipher::EncryptOptions options =
      make_encrypt_options(weight, rounding, on_clip, threads, progress);
  options.client = client.value_or(scheme::kNoClient);
  const std::unique_ptr<const cipher::TagKey> held = make_tag_key(round, tag_key);
  std::optional<cipher::Tagging> tagging;
  if (held) options.tag = &tagging.emplace(cipher::Tagging{*held, std::nullopt});
  const PythonSealer sealer(seal);
  const py::gil_scoped_release unlocked;  // the arrays are held by the caller's arguments
  if (pads != nullptr) return cipher::encrypt(round, views, options, sealer, *pads);
  return cipher::encrypt(round, views, options, sealer);
}

std::unique_ptr<cipher::PadStore> make_pad_store(const scheme::Round& round,
                                                 std::int64_t budget_bytes, std::int64_t uploads,
                                                 std::int64_t threads) {
  cipher::PadOptions options;
  options.budget_bytes = not_negative("budget_bytes", budget_bytes);
  options.uploads = not_negative("uploads", uploads);
  options.threads =
      static_cast<int>(std::min<std::uint64_t>(not_negative("threads", threads), 1u << 16));
  const py::gil_scoped_release unlocked;  // allocates and starts threads; touches no Python object
  return std::make_unique<cipher::PadStore>(round, options);
}

/// Waits in slices, so that an interrupt is heard.
bool wait_for(cipher::PadStore& store, const std::optional<double>& timeout_s) {
  constexpr double kSlice = 0.1;
  if (timeout_s && (std::isnan(*timeout_s) || *timeout_s < 0)) {
    throw ParameterError("timeout_s is negative or not a number; give seconds to wait, or None");
  }
  double left = timeout_s.value_or(HUGE_VAL);
  for (;;) {
    bool ready = false;
    {
      const py::gil_scoped_release unlocked;  // background threads never want the lock
      ready = store.wait(std::min(left, kSlice));
    }
    left -= kSlice;
    if (ready || left <= 0 || store.stopped()) return ready;
    if (PyErr_CheckSignals() != 0) throw py::error_already_set();
  }
}

void register_pad_store(py::module_& m) {
  using cipher::PadStore;
  py::class_<PadStore>(m, "PadStore", docs::kPadStore)
      .def(py::init(&make_pad_store), py::arg("round"), py::kw_only(), py::arg("budget_bytes"),
           py::arg("uploads") = 1, py::arg("threads") = 1)
      .def_property_readonly("round_id",
                             [](const PadStore& store) { return to_python(store.round().id()); })
      .def_property_readonly("budget_bytes",
                             [](const PadStore& store) { return store.options().budget_bytes; })
      .def_property_readonly("planned_bytes", &PadStore::planned_bytes)
      .def_property_readonly("ready_bytes", &PadStore::ready_bytes)
      .def_property_readonly("background_seconds", &PadStore::background_seconds)
      .def_property_readonly("closed", &PadStore::closed)
      .def("wait", &wait_for, py::arg("timeout_s") = py::none())
      .def("close", &PadStore::close,
           py::call_guard<py::gil_scoped_release>())  // waits for threads that never want the lock
      .def("__repr__",
           [](const PadStore& store) {
             return "<veilsum.PadStore of round " + short_hex(store.round().id()) + ": " +
                    std::to_string(store.ready_bytes()) + " of " +
                    std::to_string(store.options().budget_bytes) + " bytes ready>";
           })
      .def("__reduce__", [](const PadStore&) {
        throw py::type_error(
            "a PadStore holds secrets of this process and cannot be pickled or copied; make a new "
            "one where it is needed");
      });
}

/// A one-dimensional array over the core's own memory, whose large pages are used again.
py::array fresh_array(const py::dtype& type, py::ssize_t size) {
  using Memory = AlignedBuffer<std::uint8_t>;
  auto memory = std::make_unique<Memory>(static_cast<std::size_t>(size * type.itemsize()));
  std::uint8_t* data = memory->data();
  const py::capsule owner(memory.get(), [](void* held) { delete static_cast<Memory*>(held); });
  memory.release();  // NOLINT(bugprone-unused-return-value): the capsule owns it now
  return py::array(type, {size}, {type.itemsize()}, data, owner);
}

py::array decrypt(const scheme::SumKey& key, const aggregate::Aggregate& total, bool average,
                  const Word& dtype, int threads, const std::optional<py::function>& progress,
                  const std::optional<py::array>& out, const std::optional<py::buffer>& tag_key) {
  cipher::DecryptOptions options;
  const std::unique_ptr<const cipher::TagKey> held = make_tag_key(total.round(), tag_key);
  std::optional<cipher::TagCheck> check;
  if (held) {
    scheme::check_sum_key(key, total.manifest());
    options.tag = &check.emplace(cipher::check_of(*held, key, total.manifest()));
  }
  options.average = average;
  options.type = element_type(dtype);
  options.threads = checked_threads(threads);
  options.progress = make_progress(progress);
  if (options.type != isa::ElementType::kFloat32 && options.type != isa::ElementType::kFloat64) {
    throw ParameterError("dtype " + shown(dtype) + ": decryption gives float32 or float64");
  }
  const auto size = static_cast<py::ssize_t>(total.round().size());
  const bool narrow = options.type == isa::ElementType::kFloat32;
  const py::dtype type = narrow ? py::dtype::of<float>() : py::dtype::of<double>();
  py::array result = out ? *out : fresh_array(type, size);
  if (out &&
      (result.ndim() != 1 || result.size() != size || !(result.flags() & py::array::c_style) ||
       !result.writeable() || !result.dtype().is(type))) {
    throw ParameterError("out must be a writeable, contiguous, one-dimensional " + dtype +
                         " array of " + std::to_string(size) + " values");
  }
  // Nobody may look at a number before the tag or the key's check holds, and a progress function
  // could. Without one nothing that the caller gave runs before `out` is complete or wiped, and
  // the copy would cost a quarter of the decryption.
  const bool withheld = held || (key.blocks_check() != nullptr && options.progress);
  py::array place = out && withheld ? fresh_array(type, size) : result;
  void* values = place.mutable_data();
  void* given = result.mutable_data();
  const auto bytes = static_cast<std::size_t>(size * type.itemsize());
  {
    const py::gil_scoped_release unlocked;  // writes an array that nobody else has, or `out`
    try {
      cipher::decrypt(key, total.manifest(), total.blocks(), options, values);
    } catch (...) {
      if (given != values) secure_wipe(given, bytes);
      throw;
    }
    if (given != values) std::memcpy(given, values, bytes);
  }
  return result;
}

using FileSource = std::tuple<std::filesystem::path, std::uint64_t, Word, std::uint64_t>;
using FilePlace = std::tuple<std::uint64_t, Word, std::uint64_t>;

py::tuple encrypt_file(const scheme::Round& round, const std::vector<FileSource>& sources,
                       const std::filesystem::path& target, double weight, const Word& rounding,
                       const Word& on_clip, int threads,
                       const std::optional<py::function>& progress, bool resume,
                       std::optional<std::uint32_t> client, const std::optional<py::function>& sign,
                       const std::optional<py::function>& locate,
                       const std::optional<py::buffer>& tag_key, const py::function& seal) {
  std::map<std::filesystem::path, std::shared_ptr<const InputFile>> files;
  std::vector<cipher::FilePiece> pieces;
  for (const auto& [path, offset, dtype, count] : sources) {
    std::shared_ptr<const InputFile>& file = files[path];
    if (!file) file = std::make_shared<const InputFile>(path.string());
    pieces.push_back({file, offset, element_type(dtype), count});
  }
  cipher::EncryptOptions options =
      make_encrypt_options(weight, rounding, on_clip, threads, progress);
  options.progress = make_interruptible(progress);
  const std::unique_ptr<const cipher::TagKey> held = make_tag_key(round, tag_key);
  std::optional<cipher::Tagging> tagging;
  if (held) options.tag = &tagging.emplace(cipher::Tagging{*held, std::nullopt});
  if (client.has_value() != sign.has_value()) {
    throw ParameterError("a client number and a signing function come together");
  }
  std::optional<cipher::FileSigner> signer;
  if (client) {
    // The reference is borrowed: the caller's argument outlives the call.
    const py::handle function = *sign;
    signer =
        cipher::FileSigner{*client, [function](ByteView payload) {
                             const py::gil_scoped_acquire lock;
                             const py::object made = function(to_python(payload));
                             return scheme::Signature(BufferView(bytes_from("sign", made)).view());
                           }};
  }
  const PythonSealer sealer(seal);
  cipher::FileUpload made;
  try {
    const py::gil_scoped_release unlocked;  // reads and writes files; callbacks lock themselves
    made = cipher::encrypt_file(round, pieces, target.string(), options, sealer, resume, signer);
  } catch (const cipher::NotFiniteError& error) {
    if (!locate) throw;
    throw ParameterError(std::string(py::str((*locate)(error.index))));
  }
  return py::make_tuple(made.bytes, made.clipped, to_python(made.digest));
}

void decrypt_file(const scheme::SumKey& key, const scheme::AggregateFile& total,
                  const std::filesystem::path& target, const py::buffer& prefix,
                  const std::vector<FilePlace>& places, std::uint64_t file_bytes, bool average,
                  const Word& dtype, int threads, const std::optional<py::function>& progress,
                  bool resume, const std::optional<py::buffer>& tag_key) {
  cipher::DecryptOptions options;
  scheme::check_sum_key(key, total);
  const std::unique_ptr<const cipher::TagKey> held = make_tag_key(total.round(), tag_key);
  std::optional<cipher::TagCheck> check;
  if (held) options.tag = &check.emplace(cipher::check_of(*held, key, total.manifest()));
  options.average = average;
  options.type = element_type(dtype);
  options.threads = checked_threads(threads);
  options.progress = make_interruptible(progress);
  std::vector<cipher::FileTarget> targets;
  targets.reserve(places.size());
  for (const auto& [offset, type, count] : places) {
    targets.push_back({offset, element_type(type), count});
  }
  const BufferView first(prefix);
  const py::gil_scoped_release unlocked;  // the prefix is held open; progress locks for itself
  cipher::decrypt_file(key, total, target.string(), first.view(), targets, file_bytes, options,
                       resume);
}

}  // namespace

void register_cipher(py::module_& m) {
  register_pad_store(m);
  m.def("encrypt", &encrypt, py::arg("round"), py::arg("pieces"), py::arg("dtypes"), py::kw_only(),
        py::arg("weight") = 1.0, py::arg("rounding") = "nearest", py::arg("on_clip") = "count",
        py::arg("threads") = 0, py::arg("progress") = py::none(),
        py::arg("pads").none(true) = py::none(), py::arg("client") = py::none(),
        py::arg("tag_key") = py::none(), py::arg("seal"),
        "Encrypts one contiguous array a segment, without copying them.");
  m.def("decrypt", &decrypt, py::arg("key"), py::arg("aggregate"), py::kw_only(),
        py::arg("average") = true, py::arg("dtype") = "float32", py::arg("threads") = 0,
        py::arg("progress") = py::none(), py::arg("out") = py::none(),
        py::arg("tag_key") = py::none(), "Decrypts a sum to a flat array.");
  m.def("encrypt_file", &encrypt_file, py::arg("round"), py::arg("sources"), py::arg("target"),
        py::kw_only(), py::arg("weight") = 1.0, py::arg("rounding") = "nearest",
        py::arg("on_clip") = "count", py::arg("threads") = 0, py::arg("progress") = py::none(),
        py::arg("resume") = false, py::arg("client") = py::none(), py::arg("sign") = py::none(),
        py::arg("locate") = py::none(), py::arg("tag_key") = py::none(), py::arg("seal"),
        "Encrypts one (path, offset, dtype, count) a segment to a file; returns bytes, clipped "
        "values and the upload's digest.");
  m.def("decrypt_file", &decrypt_file, py::arg("key"), py::arg("aggregate"), py::arg("target"),
        py::arg("prefix"), py::arg("places"), py::arg("file_bytes"), py::kw_only(),
        py::arg("average") = true, py::arg("dtype") = "float32", py::arg("threads") = 0,
        py::arg("progress") = py::none(), py::arg("resume") = false,
        py::arg("tag_key") = py::none(),
        "Decrypts a sum in a file to a file with one (offset, dtype, count) a segment.");
}

}  // namespace veilsum::bindings
