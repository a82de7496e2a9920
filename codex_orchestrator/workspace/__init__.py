"""The work tree as it travels to workers, and what stages make there as it comes back.

`sender` is the orchestrator's side, `copies` the worker's. What a worker runs needs the standard library
and this package, and nothing else.
"""
