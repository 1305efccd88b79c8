// Layer: bindings. Vectors in, uploads out; aggregates in, vectors out.
#include <pybind11/stl.h>

#include "aggregate/aggregate.h"
#include "bindings/arrays.h"
#include "bindings/register.h"
#include "codec/decrypt.h"
#include "codec/encrypt.h"

namespace veilsum::bindings {
namespace {

scheme::Upload encrypt(const scheme::Round& round, const std::vector<py::array>& pieces,
                       const std::vector<std::string>& dtypes, double weight,
                       const std::string& rounding, const std::string& on_clip, int threads,
                       const std::optional<py::function>& progress) {
  const std::vector<codec::Piece> views = make_pieces(pieces, dtypes);
  const codec::EncryptOptions options =
      make_encrypt_options(weight, rounding, on_clip, threads, progress);
  const py::gil_scoped_release unlocked;  // the arrays are held by the caller's arguments
  return codec::encrypt(round, views, options);
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
                  const std::string& dtype, int threads,
                  const std::optional<py::function>& progress,
                  const std::optional<py::array>& out) {
  codec::DecryptOptions options;
  options.average = average;
  options.type = element_type(dtype);
  options.threads = checked_threads(threads);
  options.progress = make_progress(progress);
  if (options.type != isa::ElementType::kFloat32 && options.type != isa::ElementType::kFloat64) {
    throw ParameterError("dtype \"" + dtype + "\": decryption gives float32 or float64");
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
  void* values = result.mutable_data();
  {
    const py::gil_scoped_release unlocked;  // writes an array that nobody else has, or `out`
    codec::decrypt(key, total.manifest(), total.blocks(), options, values);
  }
  return result;
}

}  // namespace

void register_codec(py::module_& m) {
  m.def("encrypt", &encrypt, py::arg("round"), py::arg("pieces"), py::arg("dtypes"), py::kw_only(),
        py::arg("weight") = 1.0, py::arg("rounding") = "nearest", py::arg("on_clip") = "count",
        py::arg("threads") = 0, py::arg("progress") = py::none(),
        "Encrypts one contiguous array a segment, without copying them.");
  m.def("decrypt", &decrypt, py::arg("key"), py::arg("aggregate"), py::kw_only(),
        py::arg("average") = true, py::arg("dtype") = "float32", py::arg("threads") = 0,
        py::arg("progress") = py::none(), py::arg("out") = py::none(),
        "Decrypts a sum to a flat array.");
}

}  // namespace veilsum::bindings
