"""Benchmarks, each interleaving its contestants in one run; started by `freshloop bench`."""

import streams.arithmetic  # noqa: F401  before NumPy loads, in every contestant, as in `streams.main`
