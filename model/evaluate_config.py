"""The file that holds every hyper-parameter of an evaluation (model/evaluate.toml), read into typed settings."""

from __future__ import annotations

import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from model.blend import BlendConfig
from model.inputs import SignalConfig
from model.recommender import RecommenderConfig
from model.sequence import SequenceConfig
from model.views import ViewConfig
from streams.config import ConfigError

DEFAULT = Path(__file__).with_name("evaluate.toml")
_Part = TypeVar("_Part")


def load_config(path: Path, section: str) -> RecommenderConfig:
    """Return the settings of one format; what the file leaves out keeps its default.

    Raises:
      ConfigError: the file cannot be read, or names a setting that does not exist or has another type.
    """
    try:
        table = tomllib.loads(path.read_text("utf-8")).get(section, {})
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}); name a TOML file with --config") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from None
    parts = {"signals": SignalConfig, "blend": BlendConfig, "sequence": SequenceConfig, "views": ViewConfig}
    made: dict[str, Any] = {
        name: _part(kind, table.pop(name, {}), f"{section}.{name}", path) for name, kind in parts.items()
    }
    return _part(RecommenderConfig, {**table, **made}, section, path)


def _part(kind: type[_Part], table: Any, where: str, path: Path) -> _Part:
    known = {one.name: getattr(kind(), one.name) for one in fields(kind)}  # type: ignore[arg-type]
    if not isinstance(table, dict):
        raise ConfigError(f"{path}: [{where}] must be a table")
    values = {}
    for name, value in table.items():
        if name not in known:
            raise ConfigError(f"{path}: [{where}] has no setting {name!r}; it has {', '.join(known)}")
        default = known[name]
        if isinstance(default, tuple) and isinstance(value, list):
            value = tuple(value)
        elif isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if type(value) is not type(default):
            raise ConfigError(f"{path}: {where}.{name} must be of the type of {default!r}")
        values[name] = value
    return kind(**values)
