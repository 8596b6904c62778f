"""What the core is made with, as the settings ask for it."""

from __future__ import annotations

from streams.cells import indexing
from streams.config import Settings
from streams.core.eligibility import Ages
from streams.core.lifts import LiftConfig
from streams.core.pool import FreshPool
from streams.core.quotas import Quotas
from streams.core.ranking import Policy
from streams.core.state import StateShape
from streams.core.step import StepConfig
from streams.quotas import parse_quotas
from streams.topics import HOUR_MS


def step_config(settings: Settings, events_id: str = "") -> StepConfig:
    """Return the core's configuration. `events_id` is the id of the events topic; slate ids begin with some of it."""
    return StepConfig(
        policy=Policy(
            settings.slate_size,
            settings.slate_minimum,
            settings.threshold,
            settings.author_cap,
            settings.exploration,
            Quotas.of(parse_quotas(settings.quotas)),
            settings.temperature if settings.exploration_by == "boltzmann" else 0.0,
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


def ages(settings: Settings) -> Ages:
    """Return for how long items are fresh; a kind that has no position in any slate is never open."""
    quotas = Quotas.of(parse_quotas(settings.quotas))
    most = quotas.most if quotas else (1, 1, 1)
    hours = settings.fresh_hours, settings.product_fresh_hours, settings.live_fresh_s / 3600
    return Ages(*(round(one * HOUR_MS) if some else 0 for one, some in zip(hours, most, strict=True)))


def make_pool(settings: Settings) -> FreshPool:
    """Return an empty pool; one whose seen videos are bits never asks an index, and has none."""
    start = settings.index_from if step_config(settings).shape.by_key(settings.pool_capacity) else 0
    return FreshPool(
        settings.pool_capacity,
        ages(settings),
        int(settings.popularity_half_life_s * 1000),
        indexing(start, settings.index_probes),
    )
