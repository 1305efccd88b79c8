// Layer: bindings. NumPy arrays in and out without copies or casts.
#pragma once

#include <pybind11/numpy.h>

#include <string>
#include <vector>

#include "bindings/conversions.h"
#include "cipher/element.h"
#include "cipher/encrypt.h"
#include "veilsum/errors.h"

namespace veilsum::bindings {

inline isa::ElementType element_type(const std::string& name) {
  if (name == "float32") return isa::ElementType::kFloat32;
  if (name == "float64") return isa::ElementType::kFloat64;
  if (name == "float16") return isa::ElementType::kFloat16;
  if (name == "bfloat16") return isa::ElementType::kBfloat16;
  throw ParameterError("dtype " + shown(name) + " is not float32, float64, float16 or bfloat16");
}

/// Checks rank, order and item size; keeps a pointer into the array.
template <typename Name>
std::vector<cipher::Piece> make_pieces(const std::vector<py::array>& arrays,
                                       const std::vector<Name>& dtypes) {
  if (arrays.size() != dtypes.size()) {
    throw ParameterError(std::to_string(dtypes.size()) + " dtypes for " +
                         std::to_string(arrays.size()) + " arrays");
  }
  std::vector<cipher::Piece> pieces;
  for (std::size_t i = 0; i < arrays.size(); ++i) {
    const isa::ElementType type = element_type(dtypes[i]);
    const py::array& array = arrays[i];
    const std::string name = "array " + std::to_string(i);
    if (array.ndim() != 1) throw ParameterError(name + " is not one-dimensional");
    if (!(array.flags() & py::array::c_style)) throw ParameterError(name + " is not contiguous");
    const char kind = array.dtype().kind();
    const char expected = type == isa::ElementType::kBfloat16 ? 'u' : 'f';
    if (static_cast<std::size_t>(array.itemsize()) != cipher::element_bytes(type) ||
        kind != expected || !py::cast<bool>(array.dtype().attr("isnative"))) {
      throw ParameterError(name + " holds " + std::string(py::str(array.dtype())) +
                           ", which is not " + dtypes[i] + " in native byte order");
    }
    pieces.push_back({array.data(), type, static_cast<std::uint64_t>(array.size())});
  }
  return pieces;
}

inline cipher::EncryptOptions make_encrypt_options(double weight, const std::string& rounding,
                                                   const std::string& on_clip, int threads,
                                                   const std::optional<py::function>& progress) {
  cipher::EncryptOptions options;
  options.weight = weight;
  options.threads = checked_threads(threads);
  options.progress = make_progress(progress);
  if (rounding == "stochastic") {
    options.rounding = cipher::Rounding::kStochastic;
  } else if (rounding != "nearest") {
    throw ParameterError("rounding = " + shown(rounding) +
                         " is unknown; use \"nearest\" or \"stochastic\"");
  }
  if (on_clip == "error") {
    options.on_clip = cipher::OnClip::kError;
  } else if (on_clip != "count") {
    throw ParameterError("on_clip = " + shown(on_clip) + " is unknown; use \"count\" or \"error\"");
  }
  return options;
}

/// Read-only memory of an object, which it keeps alive.
inline py::memoryview view_of(const py::object& owner, ByteView bytes) {
  const py::array array(py::dtype::of<std::uint8_t>(), {static_cast<py::ssize_t>(bytes.size())},
                        {py::ssize_t{1}}, bytes.data(), owner);
  array.attr("setflags")(py::arg("write") = false);
  return py::memoryview(array);
}

}  // namespace veilsum::bindings
