"""`veilsum compare`: the paper's experiments, on one machine, with their terms.

Above the federated loop, the leakage measures and the reports. One command runs every method on the
same data, model, seeds and rounds and writes figures 1 to 3, the AES table and a page. Importing
this package is cheap; PyTorch is loaded when a comparison begins.
"""
