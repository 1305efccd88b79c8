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

py::tuple quantise(const std::string& level, const std::string& values, const std::string& dtype,
                   double weight, double limit, unsigned value_bits,
                   const std::optional<Array<std::uint32_t>>& random, bool in_float) {
  isa::Quantise args{};
  args.type = element_type(dtype);
  const std::size_t width = element_bytes(args.type);
  args.count = values.size() / width;
  if (values.size() % width != 0 ||
      (random && random->size() != static_cast<py::ssize_t>(args.count))) {
    throw std::invalid_argument("values and random words do not match");
  }
  const GuardedBuffer in(values.data(), values.size(), width);
  const GuardedBuffer out(args.count * sizeof(std::uint32_t), sizeof(std::uint32_t));
  const GuardedBuffer words =
      random ? GuardedBuffer(random->data(), args.count * sizeof(std::uint32_t), 4)
             : GuardedBuffer(0, 4);
  args.in_float = in_float;
  args.values = in.as<const void>();
  args.weight = weight;
  args.limit = limit;
  args.levels = (std::int64_t{1} << (value_bits - 1)) - 1;
  args.inverse_step = static_cast<double>(args.levels) / limit;
  args.random = random ? words.as<const std::uint32_t>() : nullptr;
  args.digits = out.as<std::uint32_t>();
  const isa::QuantiseResult result = table_of(level).quantise(args);
  return py::make_tuple(to_array<std::uint32_t>(out), result.clipped, result.finite);
}

/// `digits` are words of 32 or of 64 bits.
py::bytes dequantise(const std::string& level, const py::array& digits, std::int64_t offset,
                     double scale, const std::string& dtype, bool in_float) {
  isa::Dequantise args{};
  args.type = element_type(dtype);
  args.in_float = in_float;
  args.count = static_cast<std::size_t>(digits.size());
  const auto in_width = static_cast<std::size_t>(digits.itemsize());
  const bool wide = py::isinstance<Array<std::uint64_t>>(digits);
  if (!wide && !py::isinstance<Array<std::uint32_t>>(digits)) {
    throw std::invalid_argument("digits are contiguous uint32 or uint64");
  }
  const std::size_t width = element_bytes(args.type);
  const GuardedBuffer in(digits.data(), args.count * in_width, in_width);
  const GuardedBuffer out(args.count * width, width);
  args.narrow = wide ? nullptr : in.as<const std::uint32_t>();
  args.wide = wide ? in.as<const std::uint64_t>() : nullptr;
  args.offset = offset;
  args.scale = scale;
  args.out = out.as<void>();
  table_of(level).dequantise(args);
  return to_bytes(out);
}

}  // namespace

void register_values(py::module_& m) {
  m.def("quantise", &quantise, py::arg("level"), py::arg("values"), py::arg("dtype"),
        py::arg("weight"), py::arg("limit"), py::arg("value_bits"), py::arg("random").noconvert(),
        py::arg("in_float") = false);
  m.def("dequantise", &dequantise, py::arg("level"), py::arg("digits").noconvert(),
        py::arg("offset"), py::arg("scale"), py::arg("dtype"), py::arg("in_float") = false);
}

}  // namespace veilsum::testing
