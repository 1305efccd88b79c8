// Layer: bindings. The error tree, and the operating system's errors as OSError.
#include <stdexcept>
#include <system_error>

#include "bindings/register.h"
#include "veilsum/errors.h"

namespace py = pybind11;

namespace veilsum::bindings {
namespace {

// Strong references for the life of the process: the translator outlives the module's dictionary.
struct ErrorTypes {
  PyObject* root = nullptr;
  PyObject* parameter = nullptr;
  PyObject* headroom = nullptr;
  PyObject* key_mismatch = nullptr;
  PyObject* wire_format = nullptr;
  PyObject* round = nullptr;
  PyObject* tampered = nullptr;
  PyObject* backend = nullptr;
};

ErrorTypes& types() {
  static ErrorTypes instance;
  return instance;
}

PyObject* make(py::module_& m, const char* name, const char* doc, const py::object& bases) {
  const std::string qualified = std::string("veilsum.") + name;
  PyObject* type = PyErr_NewExceptionWithDoc(qualified.c_str(), doc, bases.ptr(), nullptr);
  if (type == nullptr) throw py::error_already_set();
  m.attr(name) = py::reinterpret_borrow<py::object>(type);
  return type;
}

void translate(std::exception_ptr pointer) {
  if (!pointer) return;
  try {
    std::rethrow_exception(pointer);
  } catch (const ParameterError& error) {
    PyErr_SetString(types().parameter, error.what());
  } catch (const HeadroomError& error) {
    PyErr_SetString(types().headroom, error.what());
  } catch (const KeyMismatchError& error) {
    PyErr_SetString(types().key_mismatch, error.what());
  } catch (const WireFormatError& error) {
    PyErr_SetString(types().wire_format, error.what());
  } catch (const RoundError& error) {
    PyErr_SetString(types().round, error.what());
  } catch (const TamperedSumError& error) {
    PyErr_SetString(types().tampered, error.what());
  } catch (const BackendUnavailableError& error) {
    PyErr_SetString(types().backend, error.what());
  } catch (const VeilsumError& error) {
    PyErr_SetString(types().root, error.what());
  } catch (const std::length_error&) {
    PyErr_SetString(types().parameter, "an argument is longer than memory can be");
  } catch (const std::system_error& error) {
    // OSError(errno, text) becomes FileNotFoundError, PermissionError, ... by its number.
    const py::tuple arguments = py::make_tuple(error.code().value(), error.what());
    PyErr_SetObject(PyExc_OSError, arguments.ptr());
  }
}

}  // namespace

void register_errors(py::module_& m) {
  ErrorTypes& t = types();
  t.root = make(m, "VeilsumError", "Root of everything Veilsum raises on purpose.",
                py::reinterpret_borrow<py::object>(PyExc_Exception));
  const auto root = py::reinterpret_borrow<py::object>(t.root);
  t.parameter = make(m, "ParameterError", "An argument is outside its documented range.",
                     py::make_tuple(root, py::reinterpret_borrow<py::object>(PyExc_ValueError)));
  t.headroom =
      make(m, "HeadroomError", "More values, clients or weight than the plan can hold.", root);
  t.key_mismatch = make(m, "KeyMismatchError",
                        "A key that does not belong to this round, upload or aggregate.", root);
  t.wire_format =
      make(m, "WireFormatError",
           "Bytes that are not a well-formed Veilsum object of the expected kind.", root);
  t.round = make(m, "RoundError",
                 "A rule of the round is broken: wrong round, duplicate, too few clients, bad "
                 "signature, reopened.",
                 root);
  t.tampered = make(
      m, "TamperedSumError",
      "Blocks that cannot be the sum of what the clients encrypted: damaged, or under "
      "another key. Without a tag, most changes that are made on purpose are not noticed: blocks "
      "are not authenticated, see SECURITY.md.",
      root);
  t.backend = make(m, "BackendUnavailableError",
                   "An engine, instruction set or optional library that is missing here.", root);
  py::register_exception_translator(&translate);
}

}  // namespace veilsum::bindings
