"""Benchmarks, each interleaving its contestants in one run; started by `freshloop bench`."""

import os

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")  # before NumPy loads, in every contestant, as in `streams.main`
