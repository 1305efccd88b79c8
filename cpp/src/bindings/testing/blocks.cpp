// Layer: bindings (testing only). Block kernels of one level: encrypt, pads, decrypt, check, sum,
// pack, unpack, with the constants of the core's BlockArithmetic, and those constants themselves.
#include <pybind11/stl.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <stdexcept>

#include "bindings/testing/registry.h"
#include "ring/block_arithmetic.h"
#include "ring/fields.h"
#include "ring/ring.h"

namespace veilsum::testing {
namespace {

/// The numbers of a block, made from numbers, so that Python needs no plan. Kernels of blocks do
/// not meet the ring's degree.
struct Arithmetic {
  Arithmetic(std::uint32_t limbs, std::uint32_t bits, std::uint64_t base, std::uint32_t digits)
      : ring(64, limbs), numbers(ring, bits, base, digits) {}
  const isa::BlockView& view() const { return numbers.view(); }
  ring::Ring ring;
  ring::BlockArithmetic numbers;
};

std::size_t block_bytes(const isa::BlockView& view, std::size_t coefficients) {
  return coefficients / isa::kGroup * view.bits;
}

/// Coefficients of a packed block of this many bytes.
std::size_t coefficients_of(const isa::BlockView& view, const std::string& packed) {
  if (packed.size() % view.bits != 0) throw std::invalid_argument("a block is whole groups");
  return packed.size() / view.bits * isa::kGroup;
}

/// Rows as long as `coefficients` at least: pads a limb, digits a place.
template <typename T>
void check_rows(const Array<T>& rows, std::uint32_t count, std::size_t coefficients) {
  if (rows.ndim() != 2 || rows.shape(0) != count || coefficients % isa::kGroup != 0 ||
      rows.shape(1) < static_cast<py::ssize_t>(coefficients)) {
    throw std::invalid_argument("rows are [limbs or digits][>= coefficients], in whole groups");
  }
}

/// The digits a kernel reads, or none: a message of zeros.
struct DigitsIn {
  DigitsIn(const isa::BlockView& view, const std::optional<Array<std::uint32_t>>& digits,
           std::size_t coefficients) {
    if (!digits) return;
    check_rows(*digits, view.digit_count, coefficients);
    buffer.emplace(guarded(*digits));
    stride = static_cast<std::size_t>(digits->shape(1));
  }
  const std::uint32_t* data() const { return buffer ? buffer->as<const std::uint32_t>() : nullptr; }
  std::optional<GuardedBuffer> buffer;
  std::size_t stride = 0;
};

py::bytes encrypt_block(const std::string& level, const Arithmetic& arithmetic,
                        const Array<std::uint64_t>& pads,
                        const std::optional<Array<std::uint32_t>>& digits,
                        const std::string& round_keys, std::uint64_t error_index,
                        std::size_t coefficients) {
  const isa::BlockView& view = arithmetic.view();
  check_rows(pads, view.limb_count, coefficients);
  const isa::AesKey key = aes_key_of(round_keys);
  const GuardedBuffer pad_buffer = guarded(pads);
  const DigitsIn in(view, digits, coefficients);
  const GuardedBuffer out(block_bytes(view, coefficients), 1);
  isa::EncryptBlock args{};
  args.view = &view;
  args.pads = pad_buffer.as<const std::uint64_t>();
  args.pad_stride = static_cast<std::size_t>(pads.shape(1));
  args.digits = in.data();
  args.digit_stride = in.stride;
  args.error_key = &key;
  args.error_index = error_index;
  args.coefficients = coefficients;
  args.out = out.as<std::uint8_t>();
  table_of(level).encrypt_block(args);
  return to_bytes(out);
}

py::bytes make_pad(const std::string& level, const Arithmetic& arithmetic,
                   const Array<std::uint64_t>& pads, const std::string& round_keys,
                   std::uint64_t error_index, std::size_t coefficients) {
  const isa::BlockView& view = arithmetic.view();
  check_rows(pads, view.limb_count, coefficients);
  const isa::AesKey key = aes_key_of(round_keys);
  const GuardedBuffer pad_buffer = guarded(pads);
  const GuardedBuffer out(view.limb_count * coefficients / isa::kGroup * isa::kResidueBytes, 1);
  isa::MakePad args{};
  args.view = &view;
  args.pads = pad_buffer.as<const std::uint64_t>();
  args.pad_stride = static_cast<std::size_t>(pads.shape(1));
  args.error_key = &key;
  args.error_index = error_index;
  args.coefficients = coefficients;
  args.out = out.as<std::uint8_t>();
  table_of(level).make_pad(args);
  return to_bytes(out);
}

py::bytes encrypt_from_pad(const std::string& level, const Arithmetic& arithmetic,
                           const std::string& pad,
                           const std::optional<Array<std::uint32_t>>& digits) {
  const isa::BlockView& view = arithmetic.view();
  const std::size_t step = view.limb_count * isa::kResidueBytes;
  const std::size_t coefficients = pad.size() / step * isa::kGroup;
  if (pad.size() % step != 0) throw std::invalid_argument("a pad is whole groups in every limb");
  const GuardedBuffer in(pad.data(), pad.size(), 1);
  const DigitsIn message(view, digits, coefficients);
  const GuardedBuffer out(block_bytes(view, coefficients), 1);
  isa::EncryptFromPad args{};
  args.view = &view;
  args.pad = in.as<const std::uint8_t>();
  args.digits = message.data();
  args.digit_stride = message.stride;
  args.coefficients = coefficients;
  args.out = out.as<std::uint8_t>();
  table_of(level).encrypt_from_pad(args);
  return to_bytes(out);
}

/// (in range?, digits as [digits][coefficients]); `wide` chooses the row's type.
py::tuple decrypt_block(const std::string& level, const Arithmetic& arithmetic,
                        const std::string& packed, const Array<std::uint64_t>& pads, bool wide) {
  const isa::BlockView& view = arithmetic.view();
  const std::size_t coefficients = coefficients_of(view, packed);
  check_rows(pads, view.limb_count, coefficients);
  const GuardedBuffer in(packed.data(), packed.size(), 1);
  const GuardedBuffer pad_buffer = guarded(pads);
  const std::size_t width = wide ? sizeof(std::uint64_t) : sizeof(std::uint32_t);
  const GuardedBuffer out(view.digit_count * coefficients * width, kPolynomialAlignment);
  isa::DecryptBlock args{};
  args.view = &view;
  args.packed = in.as<const std::uint8_t>();
  args.pads = pad_buffer.as<const std::uint64_t>();
  args.pad_stride = static_cast<std::size_t>(pads.shape(1));
  args.coefficients = coefficients;
  args.digits.narrow = wide ? nullptr : out.as<std::uint32_t>();
  args.digits.wide = wide ? out.as<std::uint64_t>() : nullptr;
  args.digits.stride = coefficients;
  const bool in_range = table_of(level).decrypt_block(args);
  const std::vector<py::ssize_t> shape{static_cast<py::ssize_t>(view.digit_count),
                                       static_cast<py::ssize_t>(coefficients)};
  py::array digits = wide ? py::array(to_array<std::uint64_t>(out).reshape(shape))
                          : py::array(to_array<std::uint32_t>(out).reshape(shape));
  return py::make_tuple(in_range, digits);
}

bool noise_in_bounds(const std::string& level, const Arithmetic& arithmetic,
                     const std::string& packed, const Array<std::uint64_t>& pads,
                     std::uint64_t bound) {
  const isa::BlockView& view = arithmetic.view();
  const std::size_t coefficients = coefficients_of(view, packed);
  check_rows(pads, view.limb_count, coefficients);
  const GuardedBuffer in(packed.data(), packed.size(), 1);
  const GuardedBuffer pad_buffer = guarded(pads);
  isa::NoiseCheck args{};
  args.view = &view;
  args.packed = in.as<const std::uint8_t>();
  args.pads = pad_buffer.as<const std::uint64_t>();
  args.pad_stride = static_cast<std::size_t>(pads.shape(1));
  args.coefficients = coefficients;
  args.bound = bound;
  return table_of(level).noise_in_bounds(args);
}

/// The constants of `arithmetic`; multi-precision ones as lists of 52-bit words.
py::dict constants_of(const Arithmetic& arithmetic) {
  const isa::BlockView& view = arithmetic.view();
  const auto list = [](const std::uint64_t* values, std::size_t count) {
    py::list out;
    for (std::size_t i = 0; i < count; ++i) out.append(values[i]);
    return out;
  };
  const auto words = [&](const std::uint64_t (&value)[isa::kMaxWords]) {
    return list(value, isa::kMaxWords);
  };
  const auto divider = [](const isa::Divider& d) {
    return py::make_tuple(d.divisor, d.multiplier, d.shift);
  };
  py::list moduli;
  py::list fractions;
  py::list lift_scales;
  py::list lift_companions;
  for (std::uint32_t i = 0; i < view.limb_count; ++i) {
    moduli.append(py::make_tuple(view.modulus[i].q, view.modulus[i].delta));
    fractions.append(words(view.fraction[i]));
    lift_scales.append(words(view.lift_scale[i]));
    lift_companions.append(words(view.lift_scale_shoup[i]));
  }
  py::list plane_scales;
  py::list divisors;
  py::list reciprocals;
  for (std::uint32_t p = 0; p < view.plane_count; ++p) {
    plane_scales.append(words(view.plane_scale[p]));
    divisors.append(words(view.divisor[p]));
    reciprocals.append(view.divisor_reciprocal[p]);
  }
  py::list row_bits;
  for (std::uint32_t w = 0; w < view.words; ++w) row_bits.append(view.fields[w]->bits);
  py::dict out;
  out["moduli"] = moduli;
  out["words"] = view.words;
  out["row_bits"] = row_bits;
  out["residue_bits"] = view.residue_fields->bits;
  out["planes"] = view.plane_count;
  out["digits_per_plane"] = view.digits_per_plane;
  out["digit_scales"] = list(view.digit_scale, view.digits_per_plane);
  out["plane_scales"] = plane_scales;
  out["hat_inverses"] = list(view.hat_inverse, view.limb_count);
  out["hat_inverse_companions"] = list(view.hat_inverse_shoup, view.limb_count);
  out["fractions"] = fractions;
  out["lift_scales"] = lift_scales;
  out["lift_companions"] = lift_companions;
  out["half_delta"] = words(view.half_delta);
  out["limit"] = words(view.limit);
  out["divisors"] = divisors;
  out["reciprocals"] = reciprocals;
  out["delta"] = divider(view.delta);
  out["base"] = divider(view.base);
  return out;
}

py::bytes sum_fields(const std::string& level, const Arithmetic& arithmetic,
                     const std::vector<std::string>& sources,
                     const std::optional<std::vector<std::uint64_t>>& weights, bool subtract,
                     std::optional<std::size_t> in_place) {
  if (sources.empty() || (weights && weights->size() != sources.size())) {
    throw std::invalid_argument("one weight for each source, at least one source");
  }
  const isa::BlockView& view = arithmetic.view();
  const std::size_t bytes = sources.front().size();
  std::vector<GuardedBuffer> buffers;
  std::vector<const std::uint8_t*> pointers;
  buffers.reserve(sources.size());
  for (const std::string& source : sources) {
    if (source.size() != bytes) throw std::invalid_argument("sources are equally long");
    buffers.emplace_back(source.data(), bytes, 1);
    pointers.push_back(buffers.back().as<const std::uint8_t>());
  }
  const GuardedBuffer separate(bytes, 1);
  const GuardedBuffer& out = in_place ? buffers.at(*in_place) : separate;
  isa::SumFields args{};
  args.view = &view;
  args.sources = pointers.data();
  args.weights = weights ? weights->data() : nullptr;
  args.source_count = static_cast<std::uint32_t>(sources.size());
  args.subtract = subtract;
  args.coefficients = coefficients_of(view, sources.front());
  args.out = out.as<std::uint8_t>();
  table_of(level).sum_fields(args);
  for (const GuardedBuffer& buffer : buffers) buffer.check();
  return to_bytes(out);
}

py::bytes pack_fields(const std::string& level, const Array<std::uint64_t>& fields,
                      std::uint32_t bits) {
  const auto n = static_cast<std::size_t>(fields.size());
  const GuardedBuffer in = guarded(fields);
  const GuardedBuffer out(n / isa::kGroup * bits, 1);
  table_of(level).pack_fields(in.as<const std::uint64_t>(), n, ring::field_table(bits),
                              out.as<std::uint8_t>());
  return to_bytes(out);
}

Array<std::uint64_t> unpack_fields(const std::string& level, const std::string& packed,
                                   std::uint32_t bits) {
  const std::size_t n = packed.size() / bits * isa::kGroup;
  const GuardedBuffer in(packed.data(), packed.size(), 1);
  const GuardedBuffer out(n * sizeof(std::uint64_t), kPolynomialAlignment);
  table_of(level).unpack_fields(in.as<const std::uint8_t>(), n, ring::field_table(bits),
                                out.as<std::uint64_t>());
  return to_array<std::uint64_t>(out);
}

}  // namespace

void register_blocks(py::module_& m) {
  const auto array = [](const char* name) { return py::arg(name).noconvert(); };
  py::class_<Arithmetic, std::shared_ptr<Arithmetic>>(m, "Arithmetic")
      .def(py::init<std::uint32_t, std::uint32_t, std::uint64_t, std::uint32_t>(), py::arg("limbs"),
           py::arg("bits"), py::arg("base"), py::arg("digits"))
      .def("constants", &constants_of);
  m.def("encrypt_block", &encrypt_block, py::arg("level"), py::arg("arithmetic"), array("pads"),
        array("digits"), py::arg("round_keys"), py::arg("error_index"), py::arg("coefficients"));
  m.def("make_pad", &make_pad, py::arg("level"), py::arg("arithmetic"), array("pads"),
        py::arg("round_keys"), py::arg("error_index"), py::arg("coefficients"));
  m.def("encrypt_from_pad", &encrypt_from_pad, py::arg("level"), py::arg("arithmetic"),
        py::arg("pad"), array("digits"));
  m.def("decrypt_block", &decrypt_block, py::arg("level"), py::arg("arithmetic"), py::arg("packed"),
        array("pads"), py::arg("wide") = false);
  m.def("noise_in_bounds", &noise_in_bounds, py::arg("level"), py::arg("arithmetic"),
        py::arg("packed"), array("pads"), py::arg("bound"));
  m.def("sum_fields", &sum_fields, py::arg("level"), py::arg("arithmetic"), py::arg("sources"),
        py::arg("weights"), py::arg("subtract") = false, py::arg("in_place") = py::none());
  m.def("pack_fields", &pack_fields, py::arg("level"), array("fields"), py::arg("bits"));
  m.def("unpack_fields", &unpack_fields, py::arg("level"), py::arg("packed"), py::arg("bits"));
}

}  // namespace veilsum::testing
