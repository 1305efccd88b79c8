// Layer: bindings. The extension veilsum._core.
#include "bindings/guards.h"
#include "bindings/register.h"

PYBIND11_MODULE(_core, m) {
  m.doc() = "Native engine of Veilsum: encrypted sums of vectors.";
  veilsum::bindings::register_errors(m);
  veilsum::bindings::register_isa(m);
  veilsum::bindings::register_scheme(m);
  veilsum::bindings::register_aggregate(m);
  veilsum::bindings::register_cipher(m);
  veilsum::bindings::guard_module(m, m.attr("ParameterError"));  // last: it guards what is there
}
