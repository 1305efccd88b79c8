// Layer: bindings (testing only). Block kernels of one level: encrypt, decrypt, sum, pack, unpack,
// with the constants of the core's Codeword, and those constants themselves.
#include <pybind11/stl.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <stdexcept>

#include "bindings/testing/registry.h"
#include "ring/codeword.h"
#include "ring/modular.h"
#include "ring/ring.h"

namespace veilsum::testing {
namespace {

/// A ring and how messages lie in it; named by numbers, so that Python needs no classes.
struct Geometry {
  Geometry(std::uint32_t n, std::uint32_t limbs, unsigned message_bits, unsigned plane_bits)
      : ring(n, limbs), codeword(ring, message_bits, plane_bits) {}
  ring::Ring ring;
  ring::Codeword codeword;
};

py::bytes encrypt_block(const std::string& level, const Geometry& geometry,
                        const Array<std::uint64_t>& pads, const Array<std::uint64_t>& planes,
                        const std::string& round_keys, std::uint64_t error_index,
                        std::size_t coefficients) {
  const auto limbs = geometry.ring.limbs();
  if (pads.ndim() != 2 || planes.ndim() != 2 || pads.shape(0) != limbs ||
      planes.shape(0) != geometry.codeword.planes() || coefficients % 8 != 0 ||
      std::min(pads.shape(1), planes.shape(1)) < static_cast<py::ssize_t>(coefficients)) {
    throw std::invalid_argument("pads are [limbs][>= n'], planes [planes][>= n'], n' % 8 == 0");
  }
  const isa::AesKey key = aes_key_of(round_keys);
  const GuardedBuffer pad_buffer = guarded(pads);
  const GuardedBuffer plane_buffer = guarded(planes);
  const GuardedBuffer out(limbs * coefficients / isa::kGroup * isa::kGroupBytes, 1);
  isa::EncryptBlock args{};
  args.pads = pad_buffer.as<const std::uint64_t>();
  args.pad_stride = static_cast<std::size_t>(pads.shape(1));
  args.planes = plane_buffer.as<const std::uint64_t>();
  args.plane_stride = static_cast<std::size_t>(planes.shape(1));
  args.plane_count = geometry.codeword.planes();
  args.limb_count = limbs;
  args.limbs = geometry.codeword.limb_views();
  args.error_key = &key;
  args.error_index = error_index;
  args.coefficients = coefficients;
  args.out = out.as<std::uint8_t>();
  table_of(level).encrypt_block(args);
  return to_bytes(out);
}

py::bytes add_message(const std::string& level, const Geometry& geometry, const std::string& packed,
                      const Array<std::uint64_t>& planes) {
  const auto limbs = geometry.ring.limbs();
  const std::size_t coefficients = packed.size() / isa::kGroupBytes / limbs * isa::kGroup;
  if (planes.ndim() != 2 || planes.shape(0) != geometry.codeword.planes() ||
      packed.size() != coefficients / isa::kGroup * isa::kGroupBytes * limbs ||
      planes.shape(1) < static_cast<py::ssize_t>(coefficients)) {
    throw std::invalid_argument("packed is [limbs][50 * groups] bytes, planes are [planes][>= n']");
  }
  const GuardedBuffer plane_buffer = guarded(planes);
  const GuardedBuffer row(packed.data(), packed.size(), 1);
  isa::AddMessage args{};
  args.planes = plane_buffer.as<const std::uint64_t>();
  args.plane_stride = static_cast<std::size_t>(planes.shape(1));
  args.plane_count = geometry.codeword.planes();
  args.limb_count = limbs;
  args.limbs = geometry.codeword.limb_views();
  args.coefficients = coefficients;
  args.packed = row.as<std::uint8_t>();
  table_of(level).add_message(args);
  return to_bytes(row);
}

Array<std::uint64_t> decrypt_block(const std::string& level, const Geometry& geometry,
                                   const std::string& packed, const Array<std::uint64_t>& pads) {
  const auto limbs = geometry.ring.limbs();
  const std::size_t groups = packed.size() / isa::kGroupBytes / limbs;
  const std::size_t coefficients = groups * isa::kGroup;
  if (pads.ndim() != 2 || pads.shape(0) != limbs ||
      packed.size() != groups * isa::kGroupBytes * limbs ||
      pads.shape(1) < static_cast<py::ssize_t>(coefficients)) {
    throw std::invalid_argument("packed is [limbs][50 * groups] bytes, pads are [limbs][>= n']");
  }
  const auto planes = geometry.codeword.planes();
  const GuardedBuffer in(packed.data(), packed.size(), 1);
  const GuardedBuffer pad_buffer = guarded(pads);
  const GuardedBuffer out(planes * coefficients * sizeof(std::uint64_t), kPolynomialAlignment);
  isa::DecryptBlock args{};
  args.packed = in.as<const std::uint8_t>();
  args.pads = pad_buffer.as<const std::uint64_t>();
  args.pad_stride = static_cast<std::size_t>(pads.shape(1));
  args.decode = &geometry.codeword.decode_view();
  args.coefficients = coefficients;
  args.planes = out.as<std::uint64_t>();
  args.plane_stride = coefficients;
  table_of(level).decrypt_block(args);
  return to_array<std::uint64_t>(out).reshape(
      {static_cast<py::ssize_t>(planes), static_cast<py::ssize_t>(coefficients)});
}

/// The constants of `geometry`, multi-precision ones as lists of 52-bit words.
py::dict constants_of(const Geometry& geometry) {
  const isa::DecodeView& view = geometry.codeword.decode_view();
  py::list moduli;
  py::list divisors;
  py::list reciprocals;
  py::list scales;
  const auto words = [](const std::uint64_t (&value)[isa::kMaxLimbs]) {
    py::list out;
    for (const std::uint64_t word : value) out.append(word);
    return out;
  };
  for (std::uint32_t i = 0; i < view.limb_count; ++i) {
    moduli.append(view.modulus[i].q);
    py::list row;
    for (std::uint32_t p = 0; p < view.plane_count; ++p) {
      row.append(geometry.codeword.limb_views()[i].plane_scale[p]);
    }
    scales.append(row);
  }
  for (std::uint32_t p = 0; p < view.plane_count; ++p) {
    divisors.append(words(view.divisor[p]));
    reciprocals.append(view.divisor_reciprocal[p]);
  }
  py::dict out;
  out["moduli"] = moduli;
  out["planes"] = view.plane_count;
  out["modulus_words"] = words(view.modulus_words);
  out["half_delta"] = words(view.half_delta);
  out["divisors"] = divisors;
  out["reciprocals"] = reciprocals;
  out["scales"] = scales;
  return out;
}

py::tuple sum_packed(const std::string& level, const std::vector<std::string>& sources,
                     const std::optional<std::vector<std::uint64_t>>& weights, std::uint64_t q,
                     std::optional<std::size_t> in_place) {
  if (sources.empty() || (weights && weights->size() != sources.size())) {
    throw std::invalid_argument("one weight for each source, at least one source");
  }
  const std::size_t bytes = sources.front().size();
  std::vector<GuardedBuffer> buffers;
  std::vector<const std::uint8_t*> pointers;
  buffers.reserve(sources.size());
  for (const std::string& source : sources) {
    if (source.size() != bytes || bytes % isa::kGroupBytes != 0) {
      throw std::invalid_argument("sources are equally many whole groups");
    }
    buffers.emplace_back(source.data(), bytes, 1);
    pointers.push_back(buffers.back().as<const std::uint8_t>());
  }
  const GuardedBuffer separate(bytes, 1);
  const GuardedBuffer& out = in_place ? buffers.at(*in_place) : separate;
  isa::SumPacked args{};
  args.sources = pointers.data();
  args.weights = weights ? weights->data() : nullptr;
  args.source_count = static_cast<std::uint32_t>(sources.size());
  args.coefficients = bytes / isa::kGroupBytes * isa::kGroup;
  args.modulus = ring::make_modulus(q);
  args.out = out.as<std::uint8_t>();
  const bool valid = table_of(level).sum_packed(args);
  for (const GuardedBuffer& buffer : buffers) buffer.check();
  return py::make_tuple(valid, to_bytes(out));
}

py::bytes pack(const std::string& level, const Array<std::uint64_t>& residues) {
  const auto n = static_cast<std::size_t>(residues.size());
  const GuardedBuffer in = guarded(residues);
  const GuardedBuffer out(n / isa::kGroup * isa::kGroupBytes, 1);
  table_of(level).pack(in.as<const std::uint64_t>(), n, out.as<std::uint8_t>());
  return to_bytes(out);
}

py::tuple unpack(const std::string& level, const std::string& packed, std::uint64_t q) {
  const std::size_t n = packed.size() / isa::kGroupBytes * isa::kGroup;
  const GuardedBuffer in(packed.data(), packed.size(), 1);
  const GuardedBuffer out(n * sizeof(std::uint64_t), kPolynomialAlignment);
  const bool valid =
      table_of(level).unpack(in.as<const std::uint8_t>(), n, q, out.as<std::uint64_t>());
  return py::make_tuple(valid, to_array<std::uint64_t>(out));
}

}  // namespace

void register_blocks(py::module_& m) {
  const auto array = [](const char* name) { return py::arg(name).noconvert(); };
  py::class_<Geometry, std::shared_ptr<Geometry>>(m, "Geometry")
      .def(py::init<std::uint32_t, std::uint32_t, unsigned, unsigned>(), py::arg("n"),
           py::arg("limbs"), py::arg("message_bits"), py::arg("plane_bits"))
      .def("constants", &constants_of);
  m.def("encrypt_block", &encrypt_block, py::arg("level"), py::arg("geometry"), array("pads"),
        array("planes"), py::arg("round_keys"), py::arg("error_index"), py::arg("coefficients"));
  m.def("add_message", &add_message, py::arg("level"), py::arg("geometry"), py::arg("packed"),
        array("planes"));
  m.def("decrypt_block", &decrypt_block, py::arg("level"), py::arg("geometry"), py::arg("packed"),
        array("pads"));
  m.def("sum_packed", &sum_packed, py::arg("level"), py::arg("sources"), py::arg("weights"),
        py::arg("q"), py::arg("in_place") = py::none());
  m.def("pack", &pack, py::arg("level"), array("residues"));
  m.def("unpack", &unpack, py::arg("level"), py::arg("packed"), py::arg("q"));
}

}  // namespace veilsum::testing
