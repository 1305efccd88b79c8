// Layer: bindings. What holds for every function and class of an extension module, whatever is
// bound: no call shows an argument's value, and no object without a C++ value is used.
#pragma once

#include <pybind11/pybind11.h>

namespace veilsum::bindings {

/// Guards everything that was bound to the module before; the last step of its initialisation.
/// - A call that fits no overload raises ParameterError with the types of the arguments. pybind11
///   prints their values.
/// - Objects that were made by __new__ alone raise ParameterError wherever they are used. pybind11
///   gives them memory that nobody initialised.
/// - __init__ on an object that is made raises ParameterError. pybind11 ignores it.
/// - Nothing runs before `ready` has returned once: what it throws, every call raises. The
/// functions
///   that tell about the build are called without it.
void guard_module(const pybind11::module_& m, pybind11::handle parameter_error,
                  void (*ready)() = nullptr);

}  // namespace veilsum::bindings
