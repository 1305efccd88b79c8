// Layer: bindings. See guards.h. Both guards use what pybind11 keeps for each function and class:
// the C function that Python calls, which is replaced by one that looks at its error, and the
// allocator of objects that no constructor has filled.
#include "bindings/guards.h"

#include <cstddef>
#include <string>
#include <string_view>

#include "base/shown.h"
#include "veilsum/errors.h"

namespace py = pybind11;

namespace veilsum::bindings {
namespace {

// As pybind11 defines it: METH_FASTCALL | METH_KEYWORDS.
using Call = PyObject* (*)(PyObject*, PyObject* const*, Py_ssize_t, PyObject*);

// For the life of the process, as pybind11's own records: one function behind all that is bound.
struct Guarded {
  Call call = nullptr;
  PyObject* parameter_error = nullptr;
  void (*ready)() = nullptr;
};

Guarded& guarded() {
  static Guarded instance;
  return instance;
}

Call call_of(const PyMethodDef& method) {
  return reinterpret_cast<Call>(reinterpret_cast<void (*)()>(method.ml_meth));
}

/// The type's own name, with an article; of a whole number what may keep it out of a range.
std::string type_of(py::handle thing) {
  if (thing.is_none()) return "None";
  if (PyLong_CheckExact(thing.ptr())) {
    int overflow = 0;
    const long long number = PyLong_AsLongLongAndOverflow(thing.ptr(), &overflow);
    PyErr_Clear();
    if (overflow > 0) return "an int above 2^63";
    if (overflow < 0 || number < 0) return "a negative int";
    if (number > 0x7fffffff) return "an int above 2^31";
  }
  if (PyBytes_CheckExact(thing.ptr())) return "bytes";
  std::string name = "object";
  try {
    name = py::type::handle_of(thing).attr("__qualname__").cast<std::string>();
  } catch (const py::error_already_set&) {  // a metaclass that hides it
  } catch (const py::cast_error&) {
  }
  constexpr std::string_view kVowels = "aeiouAEIOU";
  const bool vowel = !name.empty() && kVowels.find(name[0]) != std::string_view::npos;
  return (vowel || name.starts_with("nd") ? "an " : "a ") + name;
}

std::string name_of(const py::detail::function_record& function) {
  std::string name = function.name;
  if (!function.scope || !PyType_Check(function.scope.ptr())) return name;
  auto scope = function.scope.attr("__name__").cast<std::string>();
  if (function.is_constructor) return scope;
  return name.empty() ? "a property of " + scope : scope + "." + name;
}

std::string names_of_parameters(const py::detail::function_record& function) {
  std::string names;
  for (const py::detail::argument_record& parameter : function.args) {
    if (parameter.name == nullptr || std::string_view(parameter.name) == "self") continue;
    names += (names.empty() ? "" : ", ") + std::string(parameter.name);
  }
  return names.empty() ? "none" : names;
}

/// Raises ParameterError with the types of the arguments.
void refuse_types(const py::detail::function_record& function, PyObject* const* arguments,
                  Py_ssize_t count, PyObject* names) {
  try {
    std::string given;
    const auto add = [&given](const std::string& part) {
      given += (given.empty() ? "" : ", ") + part;
    };
    // The object that a method is called on is no argument to whoever calls it.
    const bool has_self =
        function.is_constructor || (function.is_method && count > 0 &&
                                    PyObject_IsInstance(arguments[0], function.scope.ptr()) == 1);
    PyErr_Clear();  // a metaclass that refuses the question
    for (Py_ssize_t i = has_self ? 1 : 0; i < count; ++i) add(type_of(arguments[i]));
    const Py_ssize_t named = names == nullptr ? 0 : PyTuple_GET_SIZE(names);
    for (Py_ssize_t i = 0; i < named; ++i) {
      // Through **options any text can stand in a name's place.
      const auto name = py::str(PyTuple_GET_ITEM(names, i)).cast<std::string>();
      add((name.size() <= kShownLetters ? name : "an option") + "=" +
          type_of(arguments[count + i]));
    }
    const std::string message = name_of(function) + " does not take arguments of these types: " +
                                (given.empty() ? "none" : given) + "; its parameters are " +
                                names_of_parameters(function);
    PyErr_SetString(guarded().parameter_error, message.c_str());
  } catch (const std::exception&) {
    PyErr_SetString(guarded().parameter_error,
                    "the arguments have types that this function does not take");
  }
}

/// Replaces pybind11's error for a call that fits no overload. Every other error stays: a callback
/// may have raised it.
void hide_values(const py::detail::function_record& function, PyObject* const* arguments,
                 Py_ssize_t count, PyObject* names) {
  if (!PyErr_ExceptionMatches(PyExc_TypeError)) return;
  py::error_already_set error;
  std::string text;
  try {
    text = py::str(error.value()).cast<std::string>();
  } catch (const std::exception&) {  // not pybind11's
    text.clear();
  }
  if (text.starts_with(std::string(function.name) + "(): incompatible ")) {
    refuse_types(function, arguments, count, names);
  } else {
    error.restore();
  }
}

bool tells_about_the_build(std::string_view name) {
  return name == "build_info" || name == "isa_levels" || name == "max_threads" ||
         name.starts_with("_set_");  // what the package does when it is imported
}

/// False, with an error set, when the module cannot work. Under the interpreter's lock.
bool is_ready(const py::detail::function_record& function) {
  if (guarded().ready == nullptr || tells_about_the_build(function.name)) return true;
  try {
    guarded().ready();
  } catch (...) {
    py::detail::try_translate_exceptions();
    return false;
  }
  guarded().ready = nullptr;
  return true;
}

/// Whether a constructor is called on an object that has its value already: pybind11 ignores that,
/// and what a Python class does beside it would make it half another object.
bool is_made(const py::detail::function_record& function, PyObject* self) {
  auto* const type = reinterpret_cast<PyTypeObject*>(function.scope.ptr());
  if (!function.is_constructor || !PyObject_TypeCheck(self, type)) return false;
  return reinterpret_cast<py::detail::instance*>(self)
      ->get_value_and_holder(py::detail::get_type_info(type))
      .instance_registered();
}

PyObject* call_guarded(PyObject* self, PyObject* const* arguments, Py_ssize_t count,
                       PyObject* names) {
  const py::detail::function_record* function = py::detail::function_record_ptr_from_PyObject(self);
  if (!is_ready(*function)) return nullptr;
  if (function->is_method && count > 0 && arguments[0] == Py_None) {
    // To pybind11 that is a null pointer, which a bound member function is called on.
    refuse_types(*function, arguments, count, names);
    return nullptr;
  }
  if (count > 0 && is_made(*function, arguments[0])) {
    PyErr_SetString(guarded().parameter_error,
                    "__init__ was called on an object that is made already; objects do not change "
                    "into others: make a new one");
    return nullptr;
  }
  PyObject* result = guarded().call(self, arguments, count, names);
  if (result == nullptr) hide_values(*function, arguments, count, names);
  return result;
}

void* refuse_empty(std::size_t /*bytes*/) {
  throw ParameterError(
      "an object that was made by __new__ alone is empty; make one by calling its class, or by "
      "from_bytes or load");
}

void guard_function(PyObject* function) {
  PyObject* self = PyCFunction_GET_SELF(function);
  if (self == nullptr || py::detail::function_record_ptr_from_PyObject(self) == nullptr) return;
  PyMethodDef* method = reinterpret_cast<PyCFunctionObject*>(function)->m_ml;
  if (method->ml_flags != (METH_FASTCALL | METH_KEYWORDS)) {
    throw py::import_error(
        "this version of pybind11 calls functions in another way; build with 3.1");
  }
  if (call_of(*method) == &call_guarded) return;
  if (guarded().call == nullptr) guarded().call = call_of(*method);
  if (call_of(*method) != guarded().call) {
    throw py::import_error("a function of this module is not called by pybind11");
  }
  method->ml_meth = reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(&call_guarded));
}

void guard_all(const py::dict& names);

/// A function, in whichever wrapper a class keeps it, or a class with everything in it.
void guard(py::handle thing) {
  if (PyInstanceMethod_Check(thing.ptr())) {
    guard(PyInstanceMethod_GET_FUNCTION(thing.ptr()));
  } else if (PyCFunction_Check(thing.ptr())) {
    guard_function(thing.ptr());
  } else if (Py_IS_TYPE(thing.ptr(), &PyStaticMethod_Type)) {
    guard(thing.attr("__func__"));
  } else if (PyObject_TypeCheck(thing.ptr(), &PyProperty_Type)) {
    for (const char* part : {"fget", "fset", "fdel"}) guard(thing.attr(part));
  } else if (PyType_Check(thing.ptr())) {
    py::detail::type_info* type =
        py::detail::get_type_info(reinterpret_cast<PyTypeObject*>(thing.ptr()));
    if (type == nullptr || type->operator_new == &refuse_empty) return;
    type->operator_new = &refuse_empty;
    guard_all(py::dict(thing.attr("__dict__")));
  }
}

void guard_all(const py::dict& names) {
  for (const auto& [name, thing] : names) guard(thing);
}

}  // namespace

void guard_module(const py::module_& m, py::handle parameter_error, void (*ready)()) {
  guarded().parameter_error = parameter_error.inc_ref().ptr();
  guarded().ready = ready;
  guard_all(py::dict(m.attr("__dict__")));
}

}  // namespace veilsum::bindings
