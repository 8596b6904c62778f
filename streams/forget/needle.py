"""How an id looks in bytes, so that one is found and no longer one that contains it is taken for it."""

from __future__ import annotations

import re
from collections.abc import Iterable

SHORTEST = 5  # bytes; a shorter id is found by chance in any large binary file


class Needle:
    """The names of one user.

    Attributes:
      names: what it is called, in bytes.
      is_short: too short for being looked for in binary files.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.names = frozenset(name.encode() for name in names)
        self.is_short = min(map(len, self.names)) < SHORTEST
        any_name = b"|".join(re.escape(name) for name in sorted(self.names, key=len, reverse=True))
        # Behind the header of a MessagePack string, whose length may look like a letter; else not within a word. In a
        # list of files RocksDB has a letter before it.
        begin = rb"(?:(?<=\xd9.)|(?<![\w.@-])[usd]?)"
        self._pattern = re.compile(begin + rb"(?:" + any_name + rb")(?!\.?[\w@-])", re.DOTALL)

    def count(self, data: bytes) -> int:
        """Return how often a name stands in `data`."""
        return sum(1 for _ in self._pattern.finditer(data))

    def is_key(self, key: bytes) -> bool:
        """Tell whether a record's key is a name, or a key that states are stored under."""
        return key in self.names or key[1:] in self.names or (key[:1] == b"s" and key[1:-1] in self.names)

    def in_record(self, key: bytes | None, value: bytes | None, headers: Iterable[tuple[str, bytes]] = ()) -> bool:
        """Tell whether a record names the user anywhere."""
        key, value = key or b"", value or b""
        if self.is_key(key) or any(name in value and self.count(value) for name in self.names):
            return True
        long = any(name in key and self.count(key) for name in self.names if len(name) >= SHORTEST)
        return long or any(self.count(content or b"") > 0 for _, content in headers)
