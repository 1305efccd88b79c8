// Layer: bindings. One register function a layer; no logic lives on this side.
#pragma once

#include <pybind11/pybind11.h>

namespace veilsum::bindings {

void register_errors(pybind11::module_& m);
void register_isa(pybind11::module_& m);
void register_scheme(pybind11::module_& m);
void register_cipher(pybind11::module_& m);
void register_aggregate(pybind11::module_& m);
void register_committee_steps(pybind11::module_& m);

}  // namespace veilsum::bindings
