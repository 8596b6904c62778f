import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from streams.core.tiles import product

ROOT = Path(__file__).parents[3]
#: What OpenBLAS has kernels for on x86-64; one that the processor cannot run is replaced by one that it can.
KERNELS = ["Nehalem", "Sandybridge", "Haswell", "Zen", "SkylakeX"]


@pytest.mark.parametrize("count", [1, 63, 64, 65, 150])
@pytest.mark.parametrize(("depth", "width"), [(34, 500), (64, 192), (7, 3), (105, 33)])
def test_a_row_of_the_product_does_not_depend_on_its_batch(count, depth, width):
    rng = np.random.default_rng(4)
    rows, keys = (rng.normal(size=(n, depth)).astype(np.float32) for n in (count, width))
    whole = product(rows, keys)
    np.testing.assert_allclose(whole, rows @ keys.T, atol=1e-4)
    assert np.array_equal(whole[::-1], product(rows[::-1].copy(), keys))
    for one in range(count):
        assert np.array_equal(whole[[one]], product(rows[[one]], keys))


@pytest.mark.parametrize("kernel", KERNELS)
def test_nor_with_another_processors_kernels(kernel):
    env = os.environ | {"OPENBLAS_CORETYPE": kernel, "OPENBLAS_NUM_THREADS": "1"}
    code = (
        "import numpy as np; from streams.core.tiles import TILE, product\n"
        "rng = np.random.default_rng(4)\n"
        "row, keys = rng.normal(size=(1, 34)).astype(np.float32), rng.normal(size=(501, 34)).astype(np.float32)\n"
        "found = product(np.repeat(row, TILE, axis=0), keys)\n"
        "assert (found == found[0]).all()\n"
    )
    subprocess.run([sys.executable, "-c", code], env=env, cwd=ROOT, check=True, timeout=60)
