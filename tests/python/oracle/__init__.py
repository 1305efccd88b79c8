"""A second implementation of Veilsum in Python integers, to test the C++ core against.

Written from docs/wire-format.md and the design alone, for clarity and not for speed: no NumPy in
the mathematics, no code shared with the core, and where two ways exist the other one is taken (the
NTT here is a twisted recursive FFT, the core's a merged in-place one). A bug would have to be made
twice, in two languages and two algorithms, to pass.

Modules, lowest first: `aes` (FIPS 197 in tables of integers), `streams` (labels and AES-CTR
streams), `ring` (primes, NTT, residues, `round` and `lift`, packing), `plans` (bounds and
geometry), `blocks` (quantising, digits, messages, fields), `mlkem` and `sealed` (an upload's
secrets, sealed), `identity` (parties), `scheme` (upload keys, uploads, sums, decryption), `tag`
(what finds a changed sum), `shamir` and `sharing` (what a committee's members hold), `tree` (the
hash over sealed shares), `wire` (bytes), `committee` (what members exchange), `group` (the
clients' keys).
"""
