"""The benchmark suite: what Veilsum costs, beside AES and other ways to sum encrypted values.

Run by ``make bench`` and ``make bench-quick``; README.md in this folder explains the terms.
"""
