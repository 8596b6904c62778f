from __future__ import annotations

from streams.core.events import EventType
from streams.core.step import Partition
from streams.ticks import tick_ms
from tests.fakes import event
from tests.property.test_batch_cuts import CONFIG, make_pool

NOW = 1_700_000_000_000


def waiting(shown_ms: int) -> Partition:
    """A partition with an impression whose window of 100 ms is open."""
    core = Partition(0, CONFIG, make_pool())
    shown = event("u", EventType.IMPRESSION, 1, shown_ms, slate_id="0-0", position=0)
    core.plan([(0, shown_ms, shown)])
    return core


def test_no_tick_without_a_label_that_is_due():
    assert tick_ms(Partition(0, CONFIG, make_pool()), 60.0, NOW) is None
    assert tick_ms(waiting(NOW - 50), 0.05, NOW) is None


def test_the_watermark_goes_on_by_the_time_that_passes():
    assert tick_ms(waiting(NOW - 2_000), 2.0, NOW) == NOW


def test_a_log_of_another_year_stays_in_its_year():
    shown = NOW - 40_000_000_000
    assert tick_ms(waiting(shown), 1.5, NOW) == shown + 1_500


def test_never_beyond_the_present():
    assert tick_ms(waiting(NOW - 200), 3_600.0, NOW) == NOW
