"""Signatures of manifests and of what names the serving version: who has the key made them.

The weights are covered by the hash in the manifest.
"""

from __future__ import annotations

import hmac

from msgspec import structs

from model.manifest import Current, Manifest, current_key
from streams.codecs import encode
from streams.config import Settings


def signing_key(settings: Settings) -> bytes:
    """Return the key; empty when nothing is signed."""
    return settings.signing_key.get_secret_value().encode()


def signed(manifest: Manifest, key: bytes) -> Manifest:
    """Return a manifest with its signature: HMAC-SHA256 of the record without one."""
    return structs.replace(manifest, signature=_signature(manifest, key))


def is_signed(manifest: Manifest, key: bytes) -> bool:
    """Tell whether a manifest was signed with this key and not changed since."""
    return hmac.compare_digest(manifest.signature, _signature(manifest, key))


def signed_current(current: Current, name: str, key: bytes) -> Current:
    """Return what names the serving version of a lineage with its signature."""
    return structs.replace(current, signature=_current_signature(current, name, key))


def is_signed_current(current: Current, name: str, key: bytes) -> bool:
    """Tell whether it was signed with this key, for this lineage, and not changed since."""
    return hmac.compare_digest(current.signature, _current_signature(current, name, key))


def _current_signature(current: Current, name: str, key: bytes) -> str:
    told = current_key(name) + b"\n" + encode(structs.replace(current, signature=""))
    return hmac.new(key, told, "sha256").hexdigest()


def _signature(manifest: Manifest, key: bytes) -> str:
    return hmac.new(key, encode(structs.replace(manifest, signature="")), "sha256").hexdigest()
