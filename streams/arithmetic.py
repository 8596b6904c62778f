"""One thread and one kernel for NumPy's matrix products, so that a row has the same bits in every batch.

OpenBLAS picks a kernel by the processor's name. Those for AVX-512 and for plain AVX add up every element in one order;
that for AVX2 (`Haswell`) takes another order at other places of the matrix. So one of the former is named here, also
where `OPENBLAS_CORETYPE` names another; `streams.core.logits.stands_alone` is asked at start all the same.

This module must be imported before NumPy, and imports next to nothing.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from pathlib import Path

_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
_KERNEL = "OPENBLAS_CORETYPE"
_EXACT = frozenset({"SkylakeX", "Cooperlake", "SapphireRapids", "Sandybridge"})  # what `stands_alone` was seen true of
_AVX512 = frozenset({"avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"})


def kernel_of(features: frozenset[str]) -> str:
    """Return the kernel for a processor with these features; empty to leave the choice to OpenBLAS."""
    if features >= _AVX512:
        return "SkylakeX"
    return "Sandybridge" if "avx" in features else ""


def features_of(cpuinfo: str) -> frozenset[str]:
    """Return the features that `/proc/cpuinfo` names for the first processor."""
    line = next((one for one in cpuinfo.splitlines() if one.startswith("flags")), "")
    return frozenset(line.partition(":")[2].split())


def settle(environ: MutableMapping[str, str] = os.environ, cpuinfo: Path = Path("/proc/cpuinfo")) -> None:
    """Say in the environment how products are to be computed, here and in processes started from here."""
    for name in _THREADS:
        environ.setdefault(name, "1")
    if environ.get(_KERNEL) not in _EXACT:
        kernel = kernel_of(features_of(cpuinfo.read_text())) if cpuinfo.exists() else ""
        if kernel:
            environ[_KERNEL] = kernel


settle()
