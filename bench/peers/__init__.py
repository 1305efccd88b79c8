"""Other ways to sum encrypted values, each in an interpreter of its own.

`environments` finds and makes the interpreters; `worker` talks to them. The files *_runner.py run
inside: they may import their library, NumPy and `service`, and nothing of this repository else.
"""
