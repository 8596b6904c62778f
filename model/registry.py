"""The versions of one model lineage, from the records of the `models` topic: a pure state machine.

A version serves once `current` names it and all of it is there and sound; until then the one before it goes on.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from functools import cached_property

from model.config import ModelConfig
from model.forms import widened
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
from model.signature import is_signed, is_signed_current
from model.weights import Weights, WeightsError, check, from_bytes, initial, sha256
from streams.codecs import BadRecord
from streams.core.behaviour import FEATURES

KEPT = 4  # versions in memory besides those in use: what `current` may name next


class Version:
    """One sound version.

    Attributes:
      manifest: where it came from.
      weights: its arrays; not to be written to.
    """

    def __init__(self, manifest: Manifest, weights: Weights) -> None:
        self.manifest, self.weights = manifest, weights
        self._scorer: NumpyScorer | None = None

    @property
    def number(self) -> int:
        """The version number."""
        return self.manifest.version

    def scorer(self) -> NumpyScorer:
        """Return the form that serves; always the same object."""
        if self._scorer is None:
            manifest = self.manifest
            self._scorer = NumpyScorer(self.weights, manifest.config, manifest.version, manifest.trained_through)
        return self._scorer


def initial_version(name: str, config: ModelConfig) -> Version:
    """Return version 0: made from the seed, and never published."""
    return Version(
        Manifest(name=name, version=0, parent=0, config=config, trained_through=0, created_ms=0), initial(config)
    )


class Registry:
    """Takes the records of the `models` topic, a version's own in any order.

    Args:
      name: of the lineage; records of others are ignored.
      config: what weights must fit.
      frozen_after: the first version that learned from so many feedback records stays in memory; None: none does.
      kept: versions in memory besides those in use, the ones heard of last.
      key: manifests, and what names the serving version, are refused unless signed with it; empty: not looked at.

    Attributes:
      manifests: by version, refused candidates included.
      chunks: indices of the chunks that the topic holds, by version.
      named: the newest record of what serves; it may name a version that is not complete yet.
    """

    def __init__(
        self, name: str, config: ModelConfig, frozen_after: int | None = None, kept: int = KEPT, key: bytes = b""
    ) -> None:
        self.name, self.config = name, config
        self._frozen_after, self._kept, self._key = frozen_after, kept, key
        self.manifests: dict[int, Manifest] = {}
        self.chunks: dict[int, set[int]] = {}
        self.named: Current | None = None
        self._serving: Version | None = None
        self._frozen: Version | None = None
        self._pieces: OrderedDict[int, dict[int, bytes]] = OrderedDict()  # of versions that are not sound (yet)
        self._sound: OrderedDict[int, Version] = OrderedDict()  # both in the order in which they were heard of
        self._refused: dict[int, str] = {}

    def feed(self, key: bytes, value: bytes | None) -> str | None:
        """Take one record.

        Returns: None, or why something is refused: a stable word, a colon, and a detail. The words: `key`, `chunk`,
          `manifest`, `signature`, `current`, `epoch`, `incomplete`, `hash`, `pickle`, `format`, `shape`, `not-finite`,
          `keys`. Only `incomplete` is not final: the version serves once the rest is there.
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
        """Return the version in service; None before `current` named one that could serve."""
        return self._serving

    def trial(self) -> Version | None:
        """Return the version on trial; None when there is none, or when it cannot serve."""
        return self.version(self.named.canary) if self.named and self.named.canary else None

    def leading(self) -> Version | None:
        """Return the version that learning goes on from: the one on trial, else the one in service."""
        return self.trial() or self._serving

    def first_at_least(self, trained_through: int) -> Version | None:
        """Return the first accepted version in memory that learned from at least so many feedback records."""
        numbers = {*self._sound, *(held.number for held in (self._serving, self._frozen) if held)}
        for number in sorted(numbers):
            found = self.version(number)
            if found and found.manifest.trained_through >= trained_through and found.manifest.evaluation.accepted:
                return found
        return None

    def version(self, number: int) -> Version | None:
        """Return a version that is sound and in memory; version 0 always is."""
        for held in (self._serving, self._frozen, self._sound.get(number)):
            if held is not None and held.number == number:
                return held
        return self._initial if number == 0 else None

    @cached_property
    def _initial(self) -> Version:
        return initial_version(self.name, self.config)

    def why_not(self, number: int) -> str | None:
        """Return why a version cannot serve, in the form of `feed`; None when it can."""
        if self.version(number) is not None:
            return None
        if number in self._refused:
            return self._refused[number]
        manifest = self.manifests.get(number)
        if manifest is None:
            return f"incomplete: version {number} has no manifest"
        if not manifest.chunks:
            return f"incomplete: version {number} was published without weights"
        there = len(self.chunks.get(number, set()) & set(range(manifest.chunks)))
        if there == manifest.chunks:
            return f"incomplete: version {number} is no longer in memory"
        return f"incomplete: version {number} has {there} of {manifest.chunks} chunks"

    # -- records ----------------------------------------------------------------------------------------------------

    def _on_chunk(self, version: int, index: int, value: bytes | None) -> str | None:
        if value is None:
            self.chunks[version] = self.chunks.get(version, set()) - {index}
            if not self.chunks[version]:
                del self.chunks[version]
            self._pieces.get(version, {}).pop(index, None)
            self._refused.pop(version, None)
            self._sound.pop(version, None)  # one in use stays in use
            return None
        if not value:
            return f"chunk: chunk {index} of version {version} is empty"
        self.chunks.setdefault(version, set()).add(index)
        if version in self._sound:
            self._sound.move_to_end(version)  # a sound version does not change; this is a duplicate
            return None
        self._pieces.setdefault(version, {})[index] = value
        self._pieces.move_to_end(version)
        return self._look_at(version)

    def _on_manifest(self, version: int, value: bytes | None) -> str | None:
        if value is None:
            self.manifests.pop(version, None)
            self._refused.pop(version, None)
            return None
        try:
            manifest = decode_manifest(value)
        except BadRecord as bad:
            return f"manifest: {bad}"
        if (manifest.name, manifest.version) != (self.name, version):
            return f"manifest: under the key of version {version} is {manifest.name} version {manifest.version}"
        if self._key and not is_signed(manifest, self._key):
            return f"signature: the manifest of version {version} is not signed with FRESHLOOP_SIGNING_KEY"
        held = self.version(version)
        if held is not None and held.manifest.sha256 != manifest.sha256:
            return f"manifest: version {version} is another already; a version never changes"
        self.manifests[version] = manifest
        return self._look_at(version)

    def _on_current(self, value: bytes | None) -> str | None:
        if value is None:
            return "current: what serves is replaced, never deleted"
        try:
            found = decode_current(value)
        except BadRecord as bad:
            return f"current: {bad}"
        if found == self.named:
            return None
        if self._key and not is_signed_current(found, self.name, self._key):
            return f"signature: what names version {found.version} is not signed with FRESHLOOP_SIGNING_KEY"
        if self.named is not None and found.epoch <= self.named.epoch:
            return f"epoch: {found.epoch} (version {found.version}) is not beyond {self.named.epoch}"
        self.named = found
        self._swap()
        self._trim()
        return self.why_not(found.version)

    # -- versions ---------------------------------------------------------------------------------------------------

    def _look_at(self, number: int) -> str | None:
        """Check a version when all of it is there; return why it is refused."""
        manifest, pieces = self.manifests.get(number), self._pieces.get(number, {})
        self._refused.pop(number, None)
        reason = None
        if manifest is not None and (reason := self._misfit(manifest)) is None and _complete(manifest, pieces):
            try:
                self._admit(_build(manifest, pieces))
            except WeightsError as error:
                reason = f"{error} (version {number})"
        if reason is not None:
            self._refused[number] = reason
        self._trim()
        return reason

    def _misfit(self, manifest: Manifest) -> str | None:
        wrong = self.config.differences(manifest.config)
        if manifest.features != FEATURES:
            wrong.append("other behaviour features")
        return f"shape: version {manifest.version} has {' and '.join(wrong)}" if wrong else None

    def _admit(self, version: Version) -> None:
        self._pieces.pop(version.number, None)
        self._sound[version.number] = version
        if (
            self._frozen_after is not None
            and version.manifest.evaluation.accepted
            and version.manifest.trained_through >= self._frozen_after
            and (self._frozen is None or version.number < self._frozen.number)
        ):
            self._frozen = version
        self._swap()

    def _swap(self) -> None:
        """Put the version that `current` names into service, when it can serve."""
        found = self.version(self.named.version) if self.named else None
        if found is not None:
            self._serving = found

    def _trim(self) -> None:
        """Let go of the weights heard of longest ago, beyond those kept."""
        named = {self.named.version, self.named.canary} if self.named else set()
        for number in _beyond(self._pieces, self._kept, named):
            del self._pieces[number]
        for number in _beyond(self._sound, self._kept, named):
            del self._sound[number]


def _beyond(held: Iterable[int], kept: int, named: set[int]) -> list[int]:
    spare = [number for number in held if number not in named]
    return spare[: max(0, len(spare) - kept)]


def _complete(manifest: Manifest, pieces: dict[int, bytes]) -> bool:
    return manifest.chunks > 0 and all(index in pieces for index in range(manifest.chunks))


def _build(manifest: Manifest, pieces: dict[int, bytes]) -> Version:
    """Return the version that the pieces make.

    Raises:
      WeightsError: they are not what the manifest says, or must not serve.
    """
    value = b"".join(pieces[index] for index in range(manifest.chunks))
    found = sha256(value)
    if found != manifest.sha256:
        raise WeightsError("hash", f"SHA-256 is {found[:12]}, the manifest says {manifest.sha256[:12] or 'nothing'}")
    weights = widened(from_bytes(value))
    check(weights, manifest.config)
    return Version(manifest, weights)
