"""Functions over arrays, compiled by Numba when their module is loaded and kept on disk where that is possible.

What is compiled here compares, counts and mixes integers, and adds floats only where the order is written down term by
term; other sums stay with NumPy. So no bit depends on the processor that it was compiled for. Kept code is found again
by the source file and the processor: a function that is part of another stands in the same file, and so does every
number in it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(signature: str) -> Callable[[Function], Function]:
    """Return what compiles a function for arguments of these types; it runs without the interpreter lock."""

    def compile_(function: Function) -> Function:
        try:
            return cast(Function, njit(signature, cache=True, nogil=True)(function))
        except Exception:  # no folder can be written, or what is kept there is damaged; other errors come again
            return cast(Function, njit(signature, nogil=True)(function))

    return compile_


def part(function: Function) -> Function:
    """Return a function that is compiled as part of each that calls it."""
    return cast(Function, njit(nogil=True)(function))
