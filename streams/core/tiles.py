"""Matrix products whose rows do not depend on the rows beside them, to the bit.

BLAS works on blocks of rows, and on some processors the place of a row within its block decides in which order its
products are added up. So rows are multiplied in tiles of a fixed shape, and each tile in as large a piece as this
machine's BLAS gives the same bits at every place of: 64 rows with most kernels, 8 with those for Haswell.
"""

from __future__ import annotations

import numpy as np

from streams.core.ports import Floats

TILE = 64  # rows that are laid out together; a power of two, so that vector operations on them are whole
_PIECES = (64, 16, 8, 4, 1)
_DEPTHS = (16, 34, 64, 105)  # columns of the left factor
_WIDTHS = (1, 7, 13, 64, 192, 500)  # columns of the right one


def _is_even(rows: int) -> bool:
    """Tell whether equal rows come out equal at every place of a piece, for right factors in either layout."""
    rng = np.random.default_rng(0)
    for depth in _DEPTHS:
        piece = np.tile(rng.normal(size=depth).astype(np.float32), (rows, 1))
        for width in _WIDTHS:
            right = rng.normal(size=(width, depth)).astype(np.float32)
            for factor in (right.T, np.ascontiguousarray(right.T)):
                found = piece @ factor
                if not np.array_equal(found, np.broadcast_to(found[:1], found.shape)):
                    return False
    return True


#: Rows of one call of BLAS. Tried once for each process, because it depends on the processor and on BLAS's threads.
PIECE = next(rows for rows in _PIECES if _is_even(rows))


def multiply(tile: Floats, factor: Floats, out: Floats) -> None:
    """Write `tile @ factor` [64, N] of a tile [64, D] and a factor [D, N] into `out`."""
    for start in range(0, TILE, PIECE):
        np.matmul(tile[start : start + PIECE], factor, out=out[start : start + PIECE])


def padded(rows: Floats) -> Floats:
    """Return `rows` [B, W] filled up with zeros to a multiple of the tile, so that every vector operation is whole."""
    short = -len(rows) % TILE
    if not short:
        return np.ascontiguousarray(rows)
    return np.concatenate([rows, np.zeros((short, rows.shape[1]), np.float32)])


def product(rows: Floats, keys: Floats) -> Floats:
    """Return `rows @ keys.T` [B, N] of rows [B, D] and keys [N, D], computed in tiles, the last one padded."""
    laid = padded(rows)
    out = np.empty((len(laid), len(keys)), np.float32)
    for start in range(0, len(laid), TILE):
        multiply(laid[start : start + TILE], keys.T, out[start : start + TILE])
    return out[: len(rows)]
