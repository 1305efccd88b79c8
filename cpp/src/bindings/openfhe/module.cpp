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

using veilsum::openfhe::Context;
using veilsum::openfhe::ContextRequest;

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

/// A new array, and where to write its content.
template <typename T>
std::pair<Array<T>, std::span<T>> make_array(std::size_t size) {
  Array<T> array(static_cast<py::ssize_t>(size));
  return {array, {array.mutable_data(), size}};
}

}  // namespace

PYBIND11_MODULE(_openfhe, m) {
  m.doc() = "OpenFHE engine of Veilsum: CKKS blocks over arrays.";
  py::register_local_exception_translator(&translate);
  m.def("library_version", &veilsum::openfhe::library_version,
        "Version of OpenFHE that this module was built with.");

  using Words = Array<std::uint64_t>;
  py::class_<Context>(m, "Context")
      .def(py::init([](std::uint32_t ring_degree, std::uint32_t security, std::uint32_t primes,
                       std::uint32_t first_bits, std::uint32_t scale_bits) {
             const py::gil_scoped_release unlocked;
             return Context(ContextRequest{ring_degree, security, primes, first_bits, scale_bits});
           }),
           py::kw_only(), py::arg("ring_degree"), py::arg("security"), py::arg("primes"),
           py::arg("first_bits"), py::arg("scale_bits"))
      .def_property_readonly("ring_degree", &Context::ring_degree)
      .def_property_readonly("moduli", &Context::moduli)
      .def_property_readonly("roots", &Context::roots)
      .def(
          "keygen",
          [](const Context& c, const Words& earlier) {
            auto [secret, secret_out] = make_array<std::uint64_t>(c.polynomial());
            auto [public_key, public_out] = make_array<std::uint64_t>(2 * c.polynomial());
            const auto before = view(earlier);
            {
              const py::gil_scoped_release unlocked;
              c.keygen(before, secret_out, public_out);
            }
            return py::make_tuple(std::move(secret), std::move(public_key));
          },
          py::arg("earlier").noconvert())
      .def(
          "encrypt",
          [](const Context& c, const Words& key, const Array<double>& values, int threads) {
            const std::size_t blocks = static_cast<std::size_t>(values.size()) / c.slots();
            auto [out, place] = make_array<std::uint64_t>(blocks * 2 * c.polynomial());
            const auto words = view(key);
            const auto numbers = view(values);
            {
              const py::gil_scoped_release unlocked;
              c.encrypt(words, numbers, place, threads);
            }
            return out;
          },
          py::arg("key").noconvert(), py::arg("values").noconvert(), py::arg("threads") = 0)
      .def(
          "share",
          [](const Context& c, const Words& key, const Words& blocks, double deviation,
             int threads) {
            auto [out, place] =
                make_array<std::uint64_t>(static_cast<std::size_t>(blocks.size()) / 2);
            const auto secret = view(key);
            const auto words = view(blocks);
            {
              const py::gil_scoped_release unlocked;
              c.share(secret, words, deviation, place, threads);
            }
            return out;
          },
          py::arg("key").noconvert(), py::arg("blocks").noconvert(), py::arg("deviation"),
          py::arg("threads") = 0)
      .def(
          "decrypt",
          [](const Context& c, const Words& blocks, const Words& shares, int threads) {
            const std::size_t count =
                static_cast<std::size_t>(blocks.size()) / (2 * c.polynomial());
            auto [out, place] = make_array<std::complex<double>>(count * c.slots());
            const auto words = view(blocks);
            const auto parts = view(shares);
            {
              const py::gil_scoped_release unlocked;
              c.decrypt(words, parts, place, threads);
            }
            return out;
          },
          py::arg("blocks").noconvert(), py::arg("shares").noconvert(), py::arg("threads") = 0)
      .def(
          "block_bytes",
          [](const Context& c, const Words& block, const std::string& tag) {
            return py::bytes(c.block_bytes(view(block), tag));
          },
          py::arg("block").noconvert(), py::arg("tag"))
      .def(
          "public_bytes",
          [](const Context& c, const Words& key, const std::string& tag) {
            return py::bytes(c.public_bytes(view(key), tag));
          },
          py::arg("key").noconvert(), py::arg("tag"));
  veilsum::bindings::guard_module(m, py::module_::import("veilsum._core").attr("ParameterError"));
}
