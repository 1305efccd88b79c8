// Layer: bindings. The extension veilsum._openfhe: the OpenFHE engine over NumPy arrays. A module
// of its own, so that veilsum._core never loads OpenFHE. No logic; the interpreter's lock is
// released around OpenFHE's work, which touches no Python object.
#include <pybind11/complex.h>
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "bindings/guards.h"
#include "openfhe/engine.h"
#include "veilsum/errors.h"

namespace py = pybind11;

namespace {

using veilsum::openfhe::Blocks;
using veilsum::openfhe::Context;
using veilsum::openfhe::ContextRequest;
using veilsum::openfhe::KeyPair;
using veilsum::openfhe::PublicKey;
using veilsum::openfhe::SecretKey;
using veilsum::openfhe::Shape;

template <typename T>
using Array = py::array_t<T, py::array::c_style>;

/// The contiguous content of an array of the very dtype; nothing is cast or copied.
template <typename T>
std::span<const T> view(const Array<T>& array) {
  return {array.data(), static_cast<std::size_t>(array.size())};
}

void raise(const char* name, const std::exception& error) {
  // The types are the core's: Python users catch one tree, whatever module threw.
  const py::object type = py::module_::import("veilsum._core").attr(name);
  PyErr_SetString(type.ptr(), error.what());
}

void translate(std::exception_ptr pointer) {
  if (!pointer) return;
  try {
    std::rethrow_exception(pointer);
  } catch (const veilsum::ParameterError& error) {
    raise("ParameterError", error);
  } catch (const veilsum::HeadroomError& error) {
    raise("HeadroomError", error);
  } catch (const veilsum::WireFormatError& error) {
    raise("WireFormatError", error);
  } catch (const veilsum::VeilsumError& error) {
    raise("VeilsumError", error);
  }
}

Array<std::uint64_t> array_of(const std::vector<std::uint64_t>& words) {
  return Array<std::uint64_t>(static_cast<py::ssize_t>(words.size()), words.data());
}

Shape shape_of(std::uint32_t elements, bool rescaled) { return {elements, rescaled}; }

}  // namespace

PYBIND11_MODULE(_openfhe, m) {
  m.doc() = "OpenFHE engine of Veilsum: CKKS blocks over arrays.";
  py::register_local_exception_translator(&translate);
  m.def("library_version", &veilsum::openfhe::library_version,
        "Version of OpenFHE that this module was built with.");

  py::class_<PublicKey>(m, "PublicKey").def_property_readonly("tag", &PublicKey::tag);
  py::class_<SecretKey>(m, "SecretKey")
      .def_property_readonly("tag", &SecretKey::tag)
      .def("__reduce_ex__", [](const SecretKey&, int) -> py::object {
        throw py::type_error("a secret key cannot be pickled or copied");
      });
  py::class_<Blocks>(m, "Blocks")
      .def("__len__", &Blocks::count)
      .def_property_readonly("elements", [](const Blocks& b) { return b.shape().elements; })
      .def_property_readonly("rescaled", [](const Blocks& b) { return b.shape().rescaled; });

  const auto unlock = py::call_guard<py::gil_scoped_release>();
  py::class_<Context>(m, "Context")
      .def(py::init([](std::uint32_t ring_degree, std::uint32_t security, bool flooding,
                       double noise_bits, std::uint32_t first_bits, std::uint32_t scale_bits) {
             const py::gil_scoped_release unlocked;
             return Context(ContextRequest{ring_degree, security, flooding, noise_bits, first_bits,
                                           scale_bits});
           }),
           py::kw_only(), py::arg("ring_degree"), py::arg("security"), py::arg("flooding"),
           py::arg("noise_bits"), py::arg("first_bits"), py::arg("scale_bits"))
      .def_property_readonly("ring_degree", &Context::ring_degree)
      .def_property_readonly("moduli", &Context::moduli)
      .def_property_readonly("roots", &Context::roots)
      .def_property_readonly("flooding_deviation", &Context::flooding_deviation)
      .def("serialised", [](const Context& c) { return py::bytes(c.serialised()); })
      .def(
          "keygen",
          [](const Context& c, const PublicKey* earlier) {
            KeyPair pair = [&] {
              const py::gil_scoped_release unlocked;
              return earlier == nullptr ? c.keygen() : c.next_party(*earlier);
            }();
            return py::make_tuple(std::move(pair.secret), std::move(pair.public_key));
          },
          py::arg("earlier").none(true) = py::none())
      .def(
          "encrypt",
          [](const Context& c, const PublicKey& key, const Array<double>& values, int threads) {
            const auto span = view(values);
            const py::gil_scoped_release unlocked;
            return c.encrypt(key, span, threads);
          },
          py::arg("key"), py::arg("values").noconvert(), py::arg("threads") = 0)
      .def("sum", &Context::sum, py::arg("terms"), py::arg("weights"), py::arg("threads") = 0,
           unlock)
      .def("share", &Context::share, py::arg("key"), py::arg("blocks"), py::arg("threads") = 0,
           unlock)
      .def("add_shares", &Context::add_shares, py::arg("shares"), py::arg("threads") = 0, unlock)
      .def(
          "decrypt",
          [](const Context& c, const Blocks& blocks, const Blocks& shares, int threads) {
            Array<std::complex<double>> out(static_cast<py::ssize_t>(blocks.count() * c.slots()));
            const std::span<std::complex<double>> span(out.mutable_data(),
                                                       static_cast<std::size_t>(out.size()));
            {
              const py::gil_scoped_release unlocked;
              c.decrypt(blocks, shares, span, threads);
            }
            return out;
          },
          py::arg("blocks"), py::arg("shares"), py::arg("threads") = 0)
      .def(
          "write",
          [](const Context& c, const Blocks& blocks, std::size_t first, std::size_t count,
             int threads) {
            if (first > blocks.count() || count > blocks.count() - first) {
              throw veilsum::ParameterError("there are no such blocks");
            }
            Array<std::uint64_t> out(static_cast<py::ssize_t>(count * c.residues(blocks.shape())));
            const std::span<std::uint64_t> span(out.mutable_data(),
                                                static_cast<std::size_t>(out.size()));
            {
              const py::gil_scoped_release unlocked;
              c.write(blocks, first, count, span, threads);
            }
            return out;
          },
          py::arg("blocks"), py::arg("first"), py::arg("count"), py::arg("threads") = 0)
      .def(
          "read",
          [](const Context& c, const PublicKey& key, const Array<std::uint64_t>& residues,
             std::uint32_t elements, bool rescaled, int threads) {
            const auto span = view(residues);
            const py::gil_scoped_release unlocked;
            return c.read(key, span, shape_of(elements, rescaled), threads);
          },
          py::arg("key"), py::arg("residues").noconvert(), py::arg("elements"), py::arg("rescaled"),
          py::arg("threads") = 0)
      .def("join", &Context::join, py::arg("parts"))
      .def(
          "block_bytes",
          [](const Context& c, const Blocks& blocks, std::size_t index) {
            return py::bytes(c.serialised(blocks, index));
          },
          py::arg("blocks"), py::arg("index"))
      .def(
          "write_public",
          [](const Context& c, const PublicKey& key) { return array_of(c.write(key)); },
          py::arg("key"))
      .def(
          "read_public",
          [](const Context& c, const Array<std::uint64_t>& residues, const std::string& tag) {
            return c.read_public(view(residues), tag);
          },
          py::arg("residues").noconvert(), py::arg("tag"))
      .def(
          "public_bytes",
          [](const Context& c, const PublicKey& key) { return py::bytes(c.serialised(key)); },
          py::arg("key"))
      .def(
          "write_secret",
          [](const Context& c, const SecretKey& key) { return array_of(c.write(key)); },
          py::arg("key"))
      .def(
          "read_secret",
          [](const Context& c, const Array<std::uint64_t>& residues, const std::string& tag) {
            return c.read_secret(view(residues), tag);
          },
          py::arg("residues").noconvert(), py::arg("tag"));
  veilsum::bindings::guard_module(m, py::module_::import("veilsum._core").attr("ParameterError"));
}
