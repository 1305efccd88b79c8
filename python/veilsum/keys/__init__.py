"""Who takes part and with which keys: identities, rosters, and what is sealed to them.

Layer: Python API, over the core and files, below rounds. `identity` holds a party's keys, `roster`
lists the public halves of a round's clients, `sealing` is the one place that calls HPKE. Signing,
verifying and sealing are done by the package `cryptography`; the core knows the bytes of public
keys, and which of them identify nobody.
"""
