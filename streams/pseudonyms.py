"""Users under another name: a keyed hash of the id, formed wherever an id comes in, before it becomes a record's key.

Inside, in topics, states, files, logs and answers, there are pseudonyms alone. Who holds the key can form one of an id
again, which is how a user's data are found; nobody can go the other way.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from hashlib import blake2b

from msgspec import structs

from streams.config import Settings
from streams.core.events import SOCIAL, Event

_FORM = re.compile(r"p-[0-9a-f]{32}(@[^@]{1,64})?")
_POLICIES = ("online", "frozen", "popular", "random")

Rename = Callable[[str], str]


def pseudonyms(settings: Settings) -> Rename:
    """Return what turns a user id into the one that is known inside; without a key it changes nothing."""
    secret = settings.pseudonym_key.get_secret_value()
    if not secret:
        return lambda user_id: user_id
    key, arms = derived(secret, b"user"), {*settings.arms, *_POLICIES}

    @lru_cache(maxsize=1 << 16)
    def rename(user_id: str) -> str:
        if is_pseudonym(user_id):
            return user_id
        name = f"p-{keyed_hash(user_id, key)}"
        _, at, suffix = user_id.rpartition("@")
        return f"{name}@{suffix}" if at and suffix in arms else name

    return rename


def renamed(event: Event, rename: Rename) -> Event:
    """Return an event with its users' names inside: who acts, and who is befriended."""
    if event.type in SOCIAL and event.other_id is not None:
        return structs.replace(event, user_id=rename(event.user_id), other_id=rename(event.other_id))
    return structs.replace(event, user_id=rename(event.user_id))


def is_renamed(event: Event) -> bool:
    """Tell whether an event names users by pseudonyms alone."""
    other = event.other_id if event.type in SOCIAL else None
    return is_pseudonym(event.user_id) and (other is None or is_pseudonym(other))


def is_pseudonym(user_id: str) -> bool:
    """Tell whether an id has the form of a pseudonym: `p-`, 32 hexadecimal digits, and an arm where there is one."""
    return _FORM.fullmatch(user_id) is not None


def keyed_hash(text: str, key: bytes) -> str:
    """Return 128 bits of keyed BLAKE2b as hexadecimal digits."""
    return blake2b(text.encode(), digest_size=16, key=key).hexdigest()


def derived(secret: str, purpose: bytes) -> bytes:
    """Return a key for one purpose, at most 16 bytes long, so that what is made for one tells nothing of another."""
    return blake2b(secret.encode(), digest_size=32, person=purpose).digest()
