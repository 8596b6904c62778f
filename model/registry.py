"""Versions of a model, put together from records of the `models` topic; what is not whole and sound never serves."""

A version serves once `current` names it and all of it is there and sound; until then the one before it goes on.
"""

from __future__ import annotations

from collections import OrderedDict

from model.config import ModelConfig
from model.manifest import (
    ChunkKey,
    Current,
    CurrentKey,
    Manifest,
    ManifestKey,
    decode_current,
    decode_manifest,
    parse_key,
)
from model.serving import NumpyScorer
from model.weights import Weights, WeightsError, check, from_bytes, initial, sha256
from streams.codecs import BadRecord
from streams.core.behaviour import FEATURES

KEPT = 4  # versions whose bytes are kept besides those in use: what `current` may name next


class Version:
    """One sound version.

    Attributes:
      manifest: its manifest.
      weights: its arrays; not to be written to.
    """

    def __init__(self, manifest: Manifest, weights: Weights) -> None:
        self.manifest, self.weights = manifest, weights
        self._scorer: NumpyScorer | None = None

    def scorer(self) -> NumpyScorer:
        """Return the form that serves; always the same object."""
        if self._scorer is None:
            manifest = self.manifest
            self._scorer = NumpyScorer(self.weights, manifest.config, manifest.version, manifest.trained_through)
        return self._scorer


class Registry:
    """Takes the records of the `models` topic in any order.

    Args:
      name: of the lineage; records of others are ignored.
      config: what weights must fit.
      frozen_after: the first version that learned from so many records is kept for `first_at_least`; None: none is.
      kept: versions whose bytes are kept besides, those heard of last.

    Attributes:
      manifests: by version, refused candidates included.
      chunks: indices of the chunks that the topic holds, by version.
      named: the newest record of what serves; it may name a version that is not complete yet.
    """

    def __init__(self, name: str, config: ModelConfig, frozen_after: int | None = None, kept: int = KEPT) -> None:
        self.name, self.config = name, config
        self._frozen_after, self._kept = frozen_after, kept
        self.manifests: dict[int, Manifest] = {}
        self.chunks: dict[int, set[int]] = {}
        self.named: Current | None = None
        self._serving: Version | None = None
        self._frozen: Version | None = None
        self._pieces: OrderedDict[int, dict[int, bytes]] = OrderedDict()  # by version, heard of last at the end
        self._refused: dict[int, str] = {}  # complete and unsound, with the reason

    def feed(self, key: bytes, value: bytes | None) -> str | None:
        """Take one record.

        Returns: None, or why it is refused: a stable word, a colon, and a detail. The words: `key`, `manifest`,
          `chunk`, `epoch`, `incomplete`, `hash`, `pickle`, `format`, `shape`, `not-finite`, `keys`. `incomplete` alone
          is not final: the version serves when the rest arrives.
        """
        try:
            about = parse_key(key, self.name)
        except ValueError as error:
            return f"key: {error}"
        if isinstance(about, ChunkKey):
            return self._on_chunk(about.version, about.index, value)
        if isinstance(about, ManifestKey):
            return self._on_manifest(about.version, value)
        if isinstance(about, CurrentKey):
            return self._on_current(value)
        return None

    def current(self) -> Version | None:
        """Return the version in service; None before `current` named one."""
        return self._serving

    def first_at_least(self, trained_through: int) -> Version | None:
        """Return the first sound version, of those kept, that learned from at least so many feedback records."""
        for number in sorted(self.manifests):
            if self.manifests[number].trained_through >= trained_through and (found := self.version(number)):
                return found
        return None

    def version(self, number: int) -> Version | None:
        """Return a version when it is complete, sound and its weights are kept; 0 is made from the seed."""
        for held in (self._serving, self._frozen):
            if held is not None and held.manifest.version == number:
                return held
        try:
            return self._build(number)
        except WeightsError:
            return None

    def why_not(self, number: int) -> str | None:
        """Return why a version cannot serve, in the form of `feed`; None when it can."""
        if number and number not in self.manifests:
            return f"incomplete: version {number} has no manifest"
        if not self._complete(number):
            return f"incomplete: version {number} has {self._count(number)} chunks"
        return self._refused.get(number)

    # -- records ----------------------------------------------------------------------------------------------------

    def _on_chunk(self, version: int, index: int, value: bytes | None) -> str | None:
        if value is None:
            self.chunks.get(version, set()).discard(index)
            self._pieces.get(version, {}).pop(index, None)
            return None
        if not value:
            return f"chunk: version {version} chunk {index} is empty"
        self.chunks.setdefault(version, set()).add(index)
        pieces = self._pieces.setdefault(version, {})
        self._pieces.move_to_end(version)
        changed = pieces.get(index) != value
        pieces[index] = value
        return self._on_change(version) if changed else None

    def _on_manifest(self, version: int, value: bytes | None) -> str | None:
        if value is None:
            self.manifests.pop(version, None)
            return None
        try:
            manifest = decode_manifest(value)
        except BadRecord as bad:
            return f"manifest: {bad}"
        if (manifest.name, manifest.version) != (self.name, version):
            return f"manifest: it is of {manifest.name} version {manifest.version}, under the key of version {version}"
        if self.manifests.get(version) == manifest:
            return None
        self.manifests[version] = manifest
        return self._on_change(version)

    def _on_current(self, value: bytes | None) -> str | None:
        if value is None:
            return "epoch: what serves cannot be deleted, only replaced"
        try:
            found = decode_current(value)
        except BadRecord as bad:
            return f"current: {bad}"
        if self.named is not None:
            if found == self.named:
                return None
            if found.epoch <= self.named.epoch:
                return f"epoch: {found.epoch} (version {found.version}) is not beyond {self.named.epoch}"
        self.named = found
        return self._swap()

    # -- versions ---------------------------------------------------------------------------------------------------

    def _on_change(self, version: int) -> str | None:
        """Look at a version again after one of its records changed."""
        self._refused.pop(version, None)
        reason = None
        if self._complete(version):
            try:
                self._build(version)
            except WeightsError as error:
                reason = str(error)
        if self.named is not None and self.named.version == version and reason is None and self._complete(version):
            reason = self._swap()
        self._trim()
        return reason

    def _swap(self) -> str | None:
        """Put the version that `current` names into service when it can."""
        return None

    def _trim(self) -> None:
        return None

    def _complete(self, version: int) -> bool:
        return False

    def _count(self, version: int) -> str:
        return ""

    def _build(self, number: int) -> Version:
        raise NotImplementedError
