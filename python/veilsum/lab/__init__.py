"""Experiments: methods to compare with, attacks on what an aggregator holds, the paper's figures.

Above `veilsum.training`; nothing that users depend on imports it.
"""
