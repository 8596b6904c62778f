"""One thread for NumPy's matrix products, so that a sum has one order; must be imported before NumPy.

What else it takes for a row to have the same bits in every batch is in `streams.core.tiles`.
"""

from __future__ import annotations

import os

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
