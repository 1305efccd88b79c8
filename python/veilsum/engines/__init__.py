"""Engines: implementations of the same steps behind the same calls.

`native` is Veilsum's own scheme, in the compiled core. `openfhe` is CKKS on OpenFHE, in the package
of that name here. A plan chooses (``vs.Plan(..., engine="openfhe")``) and everything made from it
follows; docs/engines.md compares them.
"""

from __future__ import annotations

from veilsum.engines.base import EngineObject, engine_name

__all__ = ["EngineObject", "engine_name"]
