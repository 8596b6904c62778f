"""The setting `quotas`: least and most positions of a slate by kind, as text."""

from __future__ import annotations

import re

KINDS = ("video", "product", "live")
_PART = re.compile(rf"({'|'.join(KINDS)}):(\d{{1,3}})-(\d{{1,3}})")


def parse_quotas(text: str) -> dict[str, tuple[int, int]]:
    """Return the least and most positions by kind; a kind that is not named has no limits.

    Raises:
      ValueError: the text is not of the form 'product:0-2,live:1-3'.
    """
    found: dict[str, tuple[int, int]] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        match = _PART.fullmatch(part)
        if match is None:
            raise ValueError(f"{part!r} is not KIND:LEAST-MOST; the kinds are {', '.join(KINDS)}")
        kind, least, most = match[1], int(match[2]), int(match[3])
        if kind in found:
            raise ValueError(f"{kind} is named twice")
        if least > most:
            raise ValueError(f"the least positions of {kind} exceed the most")
        found[kind] = least, most
    return found
