"""Engines: ciphers behind one interface (`base`), by name and number (`registry`).

`native` is Veilsum's own scheme, always there; `openfhe` is CKKS on OpenFHE, where that can be had.
docs/engines.md says what each is for and how to write another.
"""
