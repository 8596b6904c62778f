"""Signatures of manifests: who has the key made them. The weights are covered by the hash in the manifest."""

from __future__ import annotations

import hmac

from msgspec import structs

from model.manifest import Manifest
from streams.codecs import encode
from streams.config import Settings


def signing_key(settings: Settings) -> bytes:
    """Return the key; empty when manifests are not signed."""
    return settings.signing_key.get_secret_value().encode()


def signed(manifest: Manifest, key: bytes) -> Manifest:
    """Return a manifest with its signature: HMAC-SHA256 of the record without one."""
    return structs.replace(manifest, signature=_signature(manifest, key))


def is_signed(manifest: Manifest, key: bytes) -> bool:
    """Tell whether a manifest was signed with this key and not changed since."""
    return hmac.compare_digest(manifest.signature, _signature(manifest, key))


def _signature(manifest: Manifest, key: bytes) -> str:
    return hmac.new(key, encode(structs.replace(manifest, signature="")), "sha256").hexdigest()
