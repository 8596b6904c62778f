"""What a worker says of users it erased: to those who keep data of them too, and as receipts."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from streams.codecs import encode
from streams.config import Settings
from streams.core.erasure import Erased, Erasure, Receipt, mark_of
from streams.http.board import Board
from streams.pseudonyms import derived, keyed_hash
from streams.publisher import Out

KEY_FILE = "receipts.key"


class Erasures:
    """Makes the records.

    Args:
      part: who speaks, as `worker w1`.
      board: of last slates; an erased user's is taken down.
    """

    def __init__(self, settings: Settings, part: str, board: Board) -> None:
        self._settings, self._part, self._board = settings, part, board
        self._key: bytes | None = None

    def told(self, partition: int, erased: Sequence[Erased]) -> list[Out]:
        """Return the records of the `erasures` topic."""
        made = [
            Erasure(
                mark=mark_of(one.user_id).hex(), receipt=self._name(one.user_id), partition=partition,
                offset=one.offset, at_ms=one.at_ms,
            )
            for one in erased
        ]  # fmt: skip
        return [Out(one.mark.encode(), encode(one)) for one in made]

    def receipts(self, partition: int, erased: Sequence[Erased], begin: int) -> list[Out]:
        """Return receipts, and take last slates down.

        Args:
          begin: of the batch in the changelog; withdrawals are its first records.
        """
        found = []
        end = begin + sum(len(one.records()) for one in erased)
        for one in erased:
            removed = {"records": len(one.keys), **one.removed, "cached_slates": int(self._board.forget(one.user_id))}
            found.append(
                Receipt(
                    receipt=self._name(one.user_id), part=self._part, partition=partition, offset=one.offset,
                    at_ms=one.at_ms, removed=removed, changelog=(partition, begin, end),
                )
            )  # fmt: skip
        return [receipt_record(one) for one in found]

    def _name(self, user_id: str) -> str:
        if self._key is None:
            self._key = receipt_key(self._settings)
        return keyed_hash(user_id, self._key)


def receipt_record(receipt: Receipt) -> Out:
    """Return the record of a receipt."""
    return Out(f"{receipt.receipt}/{receipt.part}".encode(), encode(receipt))


def receipt_key(settings: Settings) -> bytes:
    """Return the key of receipts: it comes from the pseudonyms' key, or without one from a file of this machine."""
    secret = settings.pseudonym_key.get_secret_value()
    if not secret:
        path: Path = settings.data_dir / KEY_FILE
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _write_once(path, secrets.token_hex(32))
        secret = path.read_text("ascii")
    return derived(secret, b"receipt")


def _write_once(path: Path, text: str) -> None:
    """Write a file that only its owner reads, unless another process was first."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.touch(mode=0o600)
    draft.write_text(text, "ascii")
    with suppress(FileExistsError):
        os.link(draft, path)
    draft.unlink()
