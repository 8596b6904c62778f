"""The parameters of the simulated world, read from a TOML file and checked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from streams.config import ConfigError

DEFAULT = Path(__file__).with_name("simulation.toml")

Chance = Annotated[float, Meta(ge=0.0, le=1.0)]
Positive = Annotated[float, Meta(gt=0.0)]
NotNegative = Annotated[float, Meta(ge=0.0)]
Count = Annotated[int, Meta(ge=1, le=1_000_000)]


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table of the file; a name that it does not know is a mistake."""


class CatalogueParameters(_Section, frozen=True):
    """The studio; `producers/simulation.toml` explains each."""

    tags: Count
    authors: Count
    music: Count
    topics_per_author: tuple[Count, Count]
    tags_per_video: tuple[Count, Count]
    off_topic: Chance
    author_weight: NotNegative
    tag_weight: NotNegative
    music_weight: NotNegative
    own_weight: Positive
    author_quality: Chance
    zipf: NotNegative
    duration_median_s: Positive
    duration_sigma: NotNegative
    duration_range_s: tuple[Positive, Positive]
    new_author: Chance
    new_tag: Chance
    new_music: Chance
    withdrawn: Chance
    scripts: Annotated[tuple[str, ...], Meta(min_length=1)]


class ViewerParameters(_Section, frozen=True):
    """Who watches."""

    interests: tuple[Count, Count]
    zipf: NotNegative
    own_weight: NotNegative
    activity_sigma: NotNegative
    drift_rad_per_hour: NotNegative
    profiled: Chance
    interest_told: Chance


class BehaviourParameters(_Section, frozen=True):
    """What a viewer does with a video."""

    watch_bias: float
    watch_match: float
    watch_quality: float
    watch_duration: NotNegative
    loops: Annotated[float, Meta(ge=1.0)]
    like_bias: float
    like_match: float
    like_quality: float
    attention: Chance
    share: Chance
    comment: Chance
    follow: Chance
    skip_below: Chance
    hide: Chance
    together: Chance
    buy: Chance = 0.5


class GoodsParameters(_Section, frozen=True):
    """Products and live rooms, where there are any."""

    price: tuple[Positive, Positive] = (5.0, 200.0)
    currency: str = "EUR"
    stock: tuple[Count, Count] = (1, 8)
    restock_s: Positive = 60.0
    room_s: Positive = 90.0
    heartbeat_s: Positive = 5.0
    audience: Positive = 40.0


class PaceParameters(_Section, frozen=True):
    """When a viewer does it."""

    session_steps: Annotated[float, Meta(ge=1.0)]
    play_s: tuple[NotNegative, NotNegative]
    gap_s: tuple[NotNegative, NotNegative]
    first_wait_s: NotNegative
    missing: Chance
    late: Chance
    late_by: tuple[Positive, Positive]
    patience_s: Positive
    seen_kept: Count


class SocialParameters(_Section, frozen=True):
    """Whom viewers know and follow when they come for the first time."""

    friends: Annotated[int, Meta(ge=0, le=100)]
    follows: Annotated[int, Meta(ge=0, le=100)]
    met: Count


class Parameters(_Section, frozen=True):
    """The whole world. `dimension` is that of tastes and of what a video is about."""

    dimension: Annotated[int, Meta(ge=16, le=1024)]
    catalogue: CatalogueParameters
    viewers: ViewerParameters
    behaviour: BehaviourParameters
    pace: PaceParameters
    social: SocialParameters
    goods: GoodsParameters = GoodsParameters()


def load_parameters(path: Path = DEFAULT) -> Parameters:
    """Read the parameters.

    Raises:
      ConfigError: the file is not there, or a name or a value in it is wrong; the message names it.
    """
    try:
        parameters = msgspec.toml.decode(path.read_bytes(), type=Parameters)
    except OSError as error:
        raise ConfigError(f"the parameters in {path} cannot be read: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"the parameters in {path} cannot be used: {error}") from None
    for name, (low, high) in _ranges(parameters):
        if low > high:
            raise ConfigError(f"the parameters in {path} cannot be used: {name} begins above its end")
    return parameters


def _ranges(parameters: Parameters) -> list[tuple[str, tuple[float, float]]]:
    return [
        (f"{section}.{name}", value)
        for section in ("catalogue", "viewers", "pace", "goods")
        for name, value in msgspec.structs.asdict(getattr(parameters, section)).items()
        if isinstance(value, tuple) and len(value) == 2 and all(isinstance(end, int | float) for end in value)
    ]
