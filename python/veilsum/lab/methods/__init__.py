"""Other ways to get from one global model to the next, which Veilsum is compared with.

One class a file; `registry.make_method` makes each by its name, over the same rows, inputs, seeds
and rounds.
"""
