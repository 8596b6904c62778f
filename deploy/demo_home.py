"""Where a demo's topics can be read, while it runs and after its end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from deploy import broker
from deploy.demo import PREFIX
from streams.admin import answering_cluster, check_topics
from streams.config import ConfigError, Settings, load_settings
from streams.topics import Topics


@contextmanager
def demo_cluster(settings: Settings, say: Callable[[str], None]) -> Iterator[Settings]:
    """Yield settings under which the demo's topics answer; a broker that had to be started is stopped at the end.

    Raises:
      ConfigError: there is no demo, running or ended.
    """
    folder = settings.data_dir.absolute() / "demo"
    common: dict[str, Any] = {"data_dir": folder}
    if answering_cluster(settings) is not None:
        named = load_settings(**common, brokers=settings.bootstrap, topic_prefix=f"{settings.topic_prefix}{PREFIX}")
        yield named if _has_topics(named) else load_settings(**common, brokers=settings.bootstrap)
        return
    if settings.brokers or not (folder / "broker").is_dir():
        raise ConfigError(
            f"no demo runs, and {folder} holds none that has ended; run 'freshloop demo', or say --cluster for the "
            f"topics that the settings name"
        )
    home = load_settings(**common, brokers="")
    say("the demo has ended; its broker is started for the reading")
    broker.up(home, say)
    try:
        yield home
    finally:
        broker.down(home)


def _has_topics(settings: Settings) -> bool:
    missing = f"{Topics(settings).recommendations} is missing"
    return not any(missing in problem for problem in check_topics(settings))
