// Layer: bindings (testing only). Quantising and dequantising of one level.
#include <pybind11/stl.h>

#include <optional>
#include <stdexcept>

#include "bindings/testing/registry.h"

namespace veilsum::testing {
namespace {

isa::ElementType element_type(const std::string& name) {
  if (name == "float32") return isa::ElementType::kFloat32;
  if (name == "float64") return isa::ElementType::kFloat64;
  if (name == "float16") return isa::ElementType::kFloat16;
  if (name == "bfloat16") return isa::ElementType::kBfloat16;
  throw std::invalid_argument("unknown element type '" + name + "'");
}

std::size_t element_bytes(isa::ElementType type) {
  if (type == isa::ElementType::kFloat64) return 8;
  return type == isa::ElementType::kFloat32 ? 4 : 2;
}

/// `plane` null: overwrite; else the digits are or-ed into a copy of it.
py::tuple quantise(const std::string& level, const std::string& values, const std::string& dtype,
                   double weight, double limit, unsigned value_bits, std::uint32_t shift,
                   const std::optional<Array<std::uint64_t>>& plane,
                   const std::optional<Array<std::uint32_t>>& random) {
  isa::Quantise args{};
  args.type = element_type(dtype);
  const std::size_t width = element_bytes(args.type);
  args.count = values.size() / width;
  const auto count = static_cast<py::ssize_t>(args.count);
  if (values.size() % width != 0 || (plane && plane->size() != count) ||
      (random && random->size() != count)) {
    throw std::invalid_argument("values, plane and random words do not match");
  }
  const GuardedBuffer in(values.data(), values.size(), width);
  const std::size_t plane_bytes = args.count * sizeof(std::uint64_t);
  const GuardedBuffer out =
      plane ? GuardedBuffer(plane->data(), plane_bytes, 8) : GuardedBuffer(plane_bytes, 8);
  const GuardedBuffer words =
      random ? GuardedBuffer(random->data(), args.count * sizeof(std::uint32_t), 4)
             : GuardedBuffer(0, 4);
  args.values = in.as<const void>();
  args.weight = weight;
  args.limit = limit;
  args.levels = (std::int64_t{1} << (value_bits - 1)) - 1;
  args.inverse_step = static_cast<double>(args.levels) / limit;
  args.random = random ? words.as<const std::uint32_t>() : nullptr;
  args.shift = shift;
  args.overwrite = !plane.has_value();
  args.plane = out.as<std::uint64_t>();
  const isa::QuantiseResult result = table_of(level).quantise(args);
  return py::make_tuple(to_array<std::uint64_t>(out), result.clipped, result.finite);
}

py::bytes dequantise(const std::string& level, const Array<std::uint64_t>& plane,
                     std::uint32_t shift, std::uint64_t mask, std::int64_t offset, double scale,
                     const std::string& dtype) {
  isa::Dequantise args{};
  args.type = element_type(dtype);
  args.count = static_cast<std::size_t>(plane.size());
  const std::size_t width = element_bytes(args.type);
  const GuardedBuffer in = guarded(plane, 8);
  const GuardedBuffer out(args.count * width, width);
  args.plane = in.as<const std::uint64_t>();
  args.shift = shift;
  args.mask = mask;
  args.offset = offset;
  args.scale = scale;
  args.out = out.as<void>();
  table_of(level).dequantise(args);
  return to_bytes(out);
}

}  // namespace

void register_codec(py::module_& m) {
  m.def("quantise", &quantise, py::arg("level"), py::arg("values"), py::arg("dtype"),
        py::arg("weight"), py::arg("limit"), py::arg("value_bits"), py::arg("shift"),
        py::arg("plane"), py::arg("random"));
  m.def("dequantise", &dequantise, py::arg("level"), py::arg("plane").noconvert(), py::arg("shift"),
        py::arg("mask"), py::arg("offset"), py::arg("scale"), py::arg("dtype"));
}

}  // namespace veilsum::testing
