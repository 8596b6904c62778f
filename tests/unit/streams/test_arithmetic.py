"""The kernel of matrix products is chosen so that a row stands alone; a worker does not start on another."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from streams.arithmetic import features_of, kernel_of, settle
from streams.core.logits import stands_alone

AVX512 = "avx avx2 fma avx512f avx512cd avx512bw avx512dq avx512vl"
PROBE = "import streams.core.logits as l, sys; sys.exit(not l.stands_alone())"


def test_a_row_stands_alone_on_this_machine():
    assert stands_alone()


@pytest.mark.parametrize(
    ("flags", "kernel"), [(AVX512, "SkylakeX"), ("sse2 avx avx2 fma avx512f", "Sandybridge"), ("asimd", "")]
)
def test_the_kernel_follows_the_processor(flags, kernel):
    assert kernel_of(features_of(f"processor: 0\nflags\t\t: {flags}\n\nflags: sse2\n")) == kernel


@pytest.mark.parametrize(("named", "kernel"), [("Haswell", "SkylakeX"), ("Cooperlake", "Cooperlake")])
def test_only_a_kernel_that_is_exact_stands(tmp_path, named, kernel):
    (tmp_path / "cpuinfo").write_text(f"flags: {AVX512}\n")
    environ = {"OPENBLAS_CORETYPE": named, "OMP_NUM_THREADS": "2"}
    settle(environ, tmp_path / "cpuinfo")
    assert environ["OPENBLAS_CORETYPE"] == kernel
    assert (environ["OMP_NUM_THREADS"], environ["OPENBLAS_NUM_THREADS"]) == ("2", "1")
    settle(other := {}, tmp_path / "cpuinfo")
    assert other["OPENBLAS_CORETYPE"] == "SkylakeX"
    settle(nowhere := {}, tmp_path / "none")
    assert "OPENBLAS_CORETYPE" not in nowhere


@pytest.mark.skipif("avx2" not in Path("/proc/cpuinfo").read_text(), reason="needs AVX2")
def test_the_check_sees_a_kernel_whose_rows_depend_on_their_place():
    environ = {**os.environ, "OPENBLAS_CORETYPE": "Haswell"}
    assert subprocess.run([sys.executable, "-c", PROBE], env=environ).returncode == 1
