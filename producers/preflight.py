"""What must hold before old events go into a topic: their time must not delete them, and must not lie in the past.

The stream's "now" is the record's timestamp, so a replay writes the log's own times: retention is judged by them, and
a topic that already holds later records keeps its later "now".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from producers.cluster import Cluster
from producers.logs import DAY_MS
from producers.tally import PoolSize
from streams.config import ConfigError, Settings
from streams.topics import HOUR_MS, Topics

RETENTION = "retention.ms"
_STAMPS = "message.timestamp.type"
_OLDEST = "message.timestamp.before.max.ms"


@dataclass(frozen=True)
class Span:
    """The first and last event time of what will be sent, in milliseconds."""

    first_ms: int
    last_ms: int


def check_topic(
    settings: Settings,
    cluster: Cluster,
    span: Span,
    now_ms: int,
    extend: bool,
    say: Callable[[str], None],
) -> None:
    """Refuse an events topic that would delete or restamp the log; extend its retention where that is ours to do.

    Args:
      extend: change the retention on a cluster that is not the embedded broker too.
    Raises:
      ConfigError: one sentence that says what to do.
    """
    topic = Topics(settings).events
    config = cluster.topic_config(topic, RETENTION, _STAMPS, _OLDEST)
    problem = refusal(config, now_ms - span.first_ms)
    if problem:
        raise ConfigError(f"topic {topic} {problem}")
    wanted = longer_retention(config, now_ms - span.first_ms, settings.events_retention_hours * HOUR_MS)
    if wanted is None:
        return
    days = f"topic {topic} keeps records for {int(config[RETENTION]) / DAY_MS:.0f} days by their own timestamps"
    if settings.brokers and not extend:
        old = (now_ms - span.first_ms) / DAY_MS
        raise ConfigError(
            f"{days} and would delete this log, which is {old:.0f} days old; "
            f"say --extend-retention to raise its {RETENTION}"
        )
    cluster.set_topic_config(topic, {RETENTION: str(wanted)})
    say(f"{days}; {RETENTION} is now {wanted / DAY_MS:.0f} days, so that this log stays")


def refusal(config: Mapping[str, str], age_ms: int) -> str:
    """Return why a topic cannot take records of that age, empty when it can."""
    if config.get(_STAMPS, "CreateTime") != "CreateTime":
        return f"has {_STAMPS} {config[_STAMPS]}, but a replay needs the log's own times: set it to CreateTime"
    if int(config.get(_OLDEST, age_ms)) < age_ms:
        return f"refuses records older than {_OLDEST} {config[_OLDEST]}; raise it above {age_ms}"
    return ""


def longer_retention(config: Mapping[str, str], age_ms: int, keep_ms: int) -> int | None:
    """Return the retention that keeps records of that age for `keep_ms` from now, None when a day is sure already."""
    current = int(config.get(RETENTION, -1))
    if current < 0 or current >= age_ms + DAY_MS:
        return None
    return age_ms + max(keep_ms, DAY_MS)


def check_now(newest_ms: int, span: Span, pool: PoolSize, force: bool, say: Callable[[str], None]) -> None:
    """Refuse a topic whose newest record has made the log's videos expire.

    Args:
      newest_ms: the largest record timestamp in the events topic, -1 when it is empty.
      force: go on all the same.
    Raises:
      ConfigError: one sentence that says what to do.
    """
    if newest_ms <= span.first_ms:
        return
    newest = datetime.fromtimestamp(newest_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")
    lost = pool.ended_between(span.first_ms, newest_ms)
    if lost and not force:
        raise ConfigError(
            f"the events topic already holds records up to {newest} UTC, when {lost} of this log's {len(pool)} videos "
            "have expired, and its time never goes back; replay with another FRESHLOOP_TOPIC_PREFIX and "
            "FRESHLOOP_APP_ID, or after 'freshloop broker wipe' and removing the workers' folder, or say --force"
        )
    say(
        f"the events topic already holds records up to {newest} UTC; "
        "the stream's time stays there until the log passes it"
    )
