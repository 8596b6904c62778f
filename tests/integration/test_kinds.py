"""Videos, products and live rooms on the real broker: what is over is in no slate that was made with its end known."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from bisect import bisect_left
from collections import Counter
from contextlib import closing

import numpy as np
import pytest
from kafka import KafkaProducer

from deploy.scrape import scrape
from streams.codecs import Decoder, encode
from streams.config import environment
from streams.core.events import EventType, Kind, Slate, Video
from streams.journal import JOURNAL_KEY, Journal
from streams.topics import Topics
from tests.fakes import event
from tests.integration.test_worker import kill, now_ms
from tests.running import read, read_all, running, worker_spec

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

GONE = "freshloop_ended_to_gone_seconds"
SECONDS, USERS, LIVE_MS = 24, 40, 2_500
slate_of, video_of = Decoder(Slate), Decoder(Video)


class Shop:
    """Publishes items, ends them, and lets some of them come back, while viewers open their feeds."""

    def __init__(self, settings):
        self.settings, self.topics, self.rng = settings, Topics(settings), random.Random(7)
        self.producer = KafkaProducer(bootstrap_servers=settings.bootstrap, acks="all", linger_ms=0)
        self.items, self.count, self.ends = {}, 0, 0

    def new(self, kind, **fields):
        self.count += 1
        item = {"video_id": f"{kind.value[0]}{self.count}", "author_id": f"a{self.count}", "published_ms": now_ms()}
        self.items[item["video_id"]] = self.tell(item | {"kind": kind} | fields)

    def tell(self, item):
        self.producer.send(self.topics.videos, key=item["video_id"].encode(), value=encode(Video(**item)))
        return item

    def one_of(self, kind):
        return self.items.pop(self.rng.choice([key for key, item in self.items.items() if item["kind"] is kind]))

    def end_one(self):
        self.ends += 1
        way = self.ends % 5
        if way == 0:
            self.producer.send(self.topics.videos, key=self.one_of(Kind.VIDEO)["video_id"].encode(), value=None)
            self.new(Kind.VIDEO)
        elif way == 1:
            sold_out = self.one_of(Kind.PRODUCT)
            self.tell(sold_out | {"stock": 0})
            self.new(Kind.PRODUCT, stock=3)
            if self.ends % 2:  # it comes back, some time
                self.items[sold_out["video_id"]] = sold_out
        elif way == 2:
            self.tell(self.one_of(Kind.LIVE) | {"ended": True})
            self.new(Kind.LIVE)
        elif way == 3:
            self.tell(self.one_of(Kind.LIVE) | {"ends_ms": now_ms() - 1})
            self.new(Kind.LIVE, starts_ms=now_ms() + 700)
        else:
            self.one_of(Kind.LIVE)  # nothing is heard of it any more
            self.new(Kind.LIVE)

    def beat(self):
        for item in self.items.values():
            if item["kind"] is not Kind.VIDEO:
                self.tell(item | ({"viewers": self.rng.randrange(99)} if item["kind"] is Kind.LIVE else {}))

    def visit(self, number):
        one = event(f"u{number % USERS}", EventType.OPEN, at=now_ms(), event_id=f"e{number}")
        self.producer.send(self.topics.events, key=one.user_id.encode(), value=encode(one))


def run(shop, halfway):
    for kind, count in ((Kind.VIDEO, 12), (Kind.PRODUCT, 6), (Kind.LIVE, 6)):
        for _ in range(count):
            shop.new(kind)
    began, visits, beats, killed = time.monotonic(), 0, 0, False
    while (passed := time.monotonic() - began) < SECONDS:
        if passed > SECONDS / 2 and not killed:
            killed = True
            halfway()
        if passed * 1.5 > beats:
            beats += 1
            shop.beat()
        if passed * 4 > shop.ends:
            shop.end_one()
        for _ in range(4):
            shop.visit(visits)
            visits += 1
        time.sleep(0.02)
    shop.producer.flush()
    return visits


class Records:
    """The videos topic as it was before any of its records."""

    def __init__(self, records):
        self.by_key = {}
        for record in records:
            rows = self.by_key.setdefault(record.key.decode(), ([], []))
            rows[0].append(record.offset)
            rows[1].append((record.timestamp, video_of(record.value) if record.value else None))
        self.ends = [
            (record.key.decode(), record.offset, record.timestamp)
            for record in records
            if not record.value or (one := video_of(record.value)).ended or one.stock == 0 or one.ends_ms
        ]

    def last(self, video_id, end):
        offsets, rows = self.by_key[video_id]
        at = bisect_left(offsets, end)
        return rows[at - 1] if at else (0, None)

    def may_show(self, video_id, end, now):
        heard, item = self.last(video_id, end)
        if item is None or item.stock == 0:
            return False
        if item.kind is not Kind.LIVE:
            return True
        over = item.ended or (item.ends_ms is not None and item.ends_ms <= now)
        return not over and (item.starts_ms or 0) <= now < heard + LIVE_MS


def journals(settings):
    """Return the journal of each partition, from its changelog."""
    found = {}
    for record in read_all(settings, Topics(settings).states):
        if record.key[:1] == JOURNAL_KEY and len(record.key) == 2:
            found.setdefault(record.partition, []).append(record.value)
    return {number: Journal(values, 0, 1 << 60) for number, values in found.items()}


def test_what_is_over_is_in_no_slate_that_knows_of_it(broker, make_settings):
    settings = make_settings(
        partitions=2, slate_size=8, slate_minimum=8, quotas="product:2-3,live:1-2", live_fresh_s=LIVE_MS / 1000,
        poll_records=200,
    )  # fmt: skip
    spec = worker_spec(settings)
    metrics = int(spec.argv[spec.argv.index("--metrics-port") + 1])
    with running(settings, spec) as parts:
        shop = Shop(settings)

        down = []

        def again():
            down.append(now_ms() - 1000)
            kill(parts, spec.name)
            parts.start(spec)
            down.append(now_ms() + 2000)

        with closing(shop.producer):
            visits = run(shop, again)
        raw = read(settings, shop.topics.recommendations, lambda found: len(found) >= visits, 60)
        measured = scrape(metrics)
        tail = subprocess.run(
            [sys.executable, "-m", "streams.main", "tail", "--from-start", "--limit", "20"],
            env=environment(settings) | {"PATH": ""}, capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
    assert "[product" in tail.stdout
    assert "[live, " in tail.stdout

    records, journal = Records(read_all(settings, shop.topics.videos)), journals(settings)
    slates = [(record.timestamp, slate_of(record.value)) for record in raw]
    wrong, kinds, last_seen = [], Counter(), {}
    for published, slate in slates:
        _, number, offset = slate.slate_id.rsplit("-", 2)
        known = journal[int(number)].replayed(int(offset)).videos
        for video_id in slate.video_ids:
            kinds[video_id[0]] += 1
            last_seen.setdefault(video_id, []).append(published)
            if not records.may_show(video_id, known, slate.made_ms):
                wrong.append((slate.slate_id, video_id, known))
        for letter, least, most in (("p", 2, 3), ("l", 1, 2)):
            there = sum(records.may_show(one, known, slate.made_ms) for one in records.by_key if one[0] == letter)
            held = sum(one[0] == letter for one in slate.video_ids)
            if not min(least, there) <= held <= most:
                wrong.append((slate.slate_id, letter, held, there))
    assert not wrong, (len(wrong), wrong[:5])
    assert min(kinds[letter] for letter in "vpl") > 100

    # From the end's record to the last slate that was published with the item still in it. What was on its way when
    # the worker was killed comes under the journal, as late as its restart.
    delays = []
    for video_id, offset, at in records.ends:
        later = [one for one in records.by_key[video_id][0] if one > offset]
        stop = min((records.last(video_id, one + 1)[0] for one in later), default=1 << 60)
        seen = [one for one in last_seen.get(video_id, ()) if one < stop]
        if any(one < at for one in seen) and not down[0] < at < down[1]:
            delays.append(max(0, max(seen) - at))
    p50, p99 = np.percentile(delays, [50, 99])
    gone = {float(dict(labels)["le"]): count for (name, labels), count in measured.items() if name == f"{GONE}_bucket"}
    print(f"{len(delays)} ends, last slate with what ended: p50 {p50:.0f} ms, p99 {p99:.0f} ms; in the pool: {gone}")
    assert len(delays) > 25
    assert p99 < 500
    assert gone[0.5] >= 0.99 * gone[float("inf")] > 10
