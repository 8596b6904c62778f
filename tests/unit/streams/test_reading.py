"""A topic is read to the end it had, past holes, and a silent cluster is a sentence."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from kafka import TopicPartition

from streams import reading
from streams.config import ConfigError, Settings

ONE, TWO = TopicPartition("t", 0), TopicPartition("t", 1)


class Consumer:
    """Gives each poll in turn, then nothing; positions go with the records, or beyond them where a poll says so."""

    def __init__(self, *polls, positions=None):
        self._polls, self._positions = list(polls), positions or {}

    def position(self, tp):
        return self._positions.get(tp, 0)

    def poll(self, timeout_ms):
        found = self._polls.pop(0) if self._polls else {}
        if callable(found):
            return found(self._positions) or {}
        for tp, records in found.items():
            self._positions[tp] = records[-1].offset + 1
        return found


def records(*offsets):
    return [SimpleNamespace(offset=offset) for offset in offsets]


def test_what_came_after_the_question_is_left_out():
    consumer = Consumer({ONE: records(0, 1)}, {ONE: records(2, 3, 4), TWO: records(0)})
    found = list(reading.read_until(consumer, {ONE: 4, TWO: 1}, Settings()))
    assert [record.offset for record in found] == [0, 1, 2, 3, 0]


def test_a_compacted_end_is_reached_by_position():
    consumer = Consumer({ONE: records(0)}, lambda positions: positions.update({ONE: 5}))
    assert [record.offset for record in reading.read_until(consumer, {ONE: 5}, Settings())] == [0]


def test_an_empty_topic_is_not_polled():
    consumer = Consumer(lambda positions: pytest.fail("polled"))
    assert list(reading.read_until(consumer, {ONE: 0}, Settings())) == []


def test_silence_before_the_end_is_a_sentence_that_names_the_topic(monkeypatch):
    monkeypatch.setattr(reading, "QUIET_S", 0.01)
    with pytest.raises(ConfigError, match=r"topic t at .* gives no records"):
        list(reading.read_until(Consumer({ONE: records(0)}), {ONE: 2}, Settings()))
