"""What `vs.` offers: plans, rounds, encryption, sums, openings, decryption, files of any size.

Layer: Python API. Written once for every engine: what it returns and refuses does not depend on
the cipher. `plans` and `rounds` say what is summed; `encrypting`, `summing`, `opening` and
`decrypting` are the steps in memory, `large_files` from file to file; `members` opens sums by a
committee; `pads` works ahead; `row_mean` weighs by rows.
"""
