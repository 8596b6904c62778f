"""What the core is made with, as the settings ask for it."""

from __future__ import annotations

from streams.cells import indexing
from streams.config import Settings
from streams.core.lifts import LiftConfig
from streams.core.pool import FreshPool
from streams.core.ranking import Policy
from streams.core.state import StateShape
from streams.core.step import StepConfig


def step_config(settings: Settings, events_id: str = "") -> StepConfig:
    """Return the core's configuration. `events_id` is the id of the events topic; slate ids begin with some of it."""
    return StepConfig(
        policy=Policy(
            settings.slate_size, settings.slate_minimum, settings.threshold, settings.author_cap, settings.exploration
        ),
        shape=StateShape(
            settings.hidden_size,
            settings.recent_events,
            settings.seen_videos,
            positions=-(-settings.slate_size // 8) * 8,
        ),
        label_window_ms=int(settings.label_window_s * 1000),
        correction_window_ms=int(settings.correction_window_s * 1000),
        pending_kept=settings.pending_impressions,
        latest_only=settings.slates == "latest",
        topic_key=f"{events_id[:8]}-" if events_id else "",
        arms=dict(settings.arms),
        shares=tuple(settings.experiment_shares.items()),
        experiment=settings.experiment,
        user_limit=settings.user_events_per_minute,
        ties_kept=settings.ties_kept,
        lifts=LiftConfig(settings.follow_lift, settings.friends_lift, 1000 * settings.friends_half_life_s),
    )


def make_pool(settings: Settings) -> FreshPool:
    """Return an empty pool; one whose seen videos are bits never asks an index, and has none."""
    start = settings.index_from if step_config(settings).shape.by_key(settings.pool_capacity) else 0
    return FreshPool(
        settings.pool_capacity,
        int(settings.fresh_hours * 3_600_000),
        int(settings.popularity_half_life_s * 1000),
        indexing(start, settings.index_probes),
    )
