// Layer: bindings. The extension veilsum._core.
#include "bindings/guards.h"
#include "bindings/register.h"
#include "isa/dispatch.h"

PYBIND11_MODULE(_core, m) {
  m.doc() = "Native engine of Veilsum: encrypted sums of vectors.";
  veilsum::bindings::register_errors(m);
  veilsum::bindings::register_isa(m);
  veilsum::bindings::register_scheme(m);
  veilsum::bindings::register_aggregate(m);
  veilsum::bindings::register_committee_steps(m);
  veilsum::bindings::register_cipher(m);
  // Last: it guards what is there. A wrong VEILSUM_ISA is an error of the first call: deeper, where
  // functions may not throw, it would end the process.
  veilsum::bindings::guard_module(m, m.attr("ParameterError"),
                                  [] { (void)veilsum::isa::kernels(); });
}
