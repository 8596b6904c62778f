"""Replays a recorded log through Kafka and counts what came of it.

Videos go first and are awaited; then the events, with the log's own times as record timestamps. Meanwhile, and until
every event is accounted for, what the workers publish is read without a consumer group.

What can be seen from outside of videos that were read: a worker that starts reads all of them before it takes a
partition, so only a running one must be waited for. Each slate says how many videos it chose from. So after the videos
are acknowledged, and a pause, the first events are sent alone, and the rest when their slates chose from all of the
log's videos; slates that did not are counted. No record is sent that is not in the log.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice

from kafka.errors import KafkaError

from producers.cluster import Cluster
from producers.lines import Damage
from producers.logs import RecordedLog, event_number
from producers.preflight import Span, check_now, check_topic
from producers.sending import Sender
from producers.tally import PoolSize, Tally
from producers.watching import StoredStates, Watcher
from streams.clock import Clock
from streams.codecs import BadRecord, Decoder
from streams.config import ConfigError, Settings
from streams.core.events import Event
from streams.topics import HOUR_MS, Topics

SETTLE_S = 1.0  # five polls of a worker's broadcast consumer
FIRST_EVENTS = 64  # sent alone: enough that each of a few partitions has some
FIRST_EVENTS_S = 15.0  # the longest wait for their slates
_CHUNK = 500  # events between two looks at what was published
_UNACKNOWLEDGED = 20_000  # most events in the producer's memory

_decode_event = Decoder(Event)


@dataclass(frozen=True)
class Options:
    """How to replay.

    Attributes:
      run: names the run, and begins every event id.
      speed: a multiple of the log's own pace; None is as fast as it goes.
      resume: the run may have been begun before: what the topic holds of it is counted and not sent again.
      patience_s: give up when nothing has been applied for so long.
      force: replay into a topic whose time has passed the log.
      extend_retention: raise the retention of `events` on a cluster that is not the embedded broker too.
      starts_workers: workers are on their way, so that none in the group is nothing to speak of.
    """

    run: str
    speed: float | None = None
    resume: bool = False
    patience_s: float = 60.0
    force: bool = False
    extend_retention: bool = False
    starts_workers: bool = False


@dataclass(frozen=True)
class Result:
    """The summary; its fields are the JSON object that the command prints.

    Attributes:
      events: distinct events sent. applied: those confirmed (see `Tally`).
      slates: distinct slate ids; slates_short: those chosen from fewer videos than the log has fresh ones.
      feedback: distinct impressions with a label; feedback_duplicates: records published again after a kill.
      users_off: users whose stored state did not make as many steps as they have events.
      exactly_once: everything was applied and nothing is off.
      complete: everything is accounted for; false when patience ended.
      seconds: from the first video sent to the last event accounted for.
    """

    run: str
    events: int
    applied: int
    users: int
    slates: int
    users_with_slate: int
    slates_short: int
    feedback: int
    feedback_duplicates: int
    dead_letters: int
    videos: int
    damaged_lines: int
    users_off: int
    exactly_once: bool
    complete: bool
    seconds: float

    @property
    def sentence(self) -> str:
        """Say it to a person."""
        if not self.complete:
            return f"not finished: {self.applied} of {self.events} events are applied; go on with --run {self.run}"
        if self.exactly_once:
            return (
                f"every one of {self.events} events was applied exactly once; {self.users_with_slate} of {self.users} "
                f"users have a slate, {self.feedback} impressions have feedback"
            )
        return (
            f"not every event was applied exactly once: {self.applied} of {self.events} are confirmed, "
            f"{self.dead_letters} are dead letters, {self.users_off} users' states made another number of steps"
        )


@dataclass
class Survey:
    """What a first reading of the log says."""

    events: int = 0
    first_ms: int = 0
    last_ms: int = 0
    in_order: bool = True

    @classmethod
    def of(cls, events: Iterable[Event]) -> Survey:
        """Read through the events."""
        survey = cls()
        for event in events:
            at = event.event_time_ms
            survey.in_order &= at >= survey.last_ms
            survey.first_ms = min(at, survey.first_ms) if survey.events else at
            survey.last_ms = max(at, survey.last_ms)
            survey.events += 1
        return survey


@dataclass
class View:
    """Who watches: `say` gets sentences, `show` the stage, what is done of it and the total."""

    say: Callable[[str], None] = lambda _: None
    show: Callable[[str, int, int], None] = lambda stage, done, total: None


class Replay:
    """One replay of a log. `look_after` is called about twice a second, for a supervisor to look after workers."""

    def __init__(
        self,
        settings: Settings,
        log: RecordedLog,
        options: Options,
        view: View,
        look_after: Callable[[], None] = lambda: None,
    ) -> None:
        self._settings, self._log, self._options, self._view = settings, log, options, view
        self._look_after = look_after
        self._topics, self._clock = Topics(settings), Clock()
        self._damage = Damage(view.say)
        self._videos = list(log.videos(self._damage))
        pool = PoolSize(self._videos, int(settings.fresh_hours * HOUR_MS), settings.pool_capacity)
        self._tally = Tally(options.run, pool, frozenset(video.video_id for video in self._videos))
        self._began = self._clock.monotonic()
        self._ended: float | None = None
        self._sent_to: dict[int, int] = {}  # of events, by partition
        self._total = 1
        self._users_off = 0
        self._complete = False

    def run(self) -> Result:
        """Replay, and wait until everything is accounted for or patience ends.

        Raises:
          ConfigError: the log or the topics cannot be used, or the cluster fails; one sentence.
        """
        try:
            with closing(Cluster(self._settings)) as cluster:
                self._run(cluster)
        except KafkaError as error:
            raise ConfigError(
                f"the cluster at {self._settings.bootstrap} failed ({error}); go on with --run {self._options.run}"
            ) from None
        return self.result()

    def result(self) -> Result:
        """Return the counts so far."""
        tally = self._tally
        events, applied = len(tally.sent), len(tally.confirmed)
        sure = applied == events and not (tally.letters or self._users_off or tally.sent_twice)
        return Result(
            run=self._options.run,
            events=events,
            applied=applied,
            users=len(tally.users),
            slates=len(tally.slates),
            users_with_slate=len(tally.users_with_slate),
            slates_short=tally.short_slates,
            feedback=len(tally.stepped),
            feedback_duplicates=tally.feedback_duplicates,
            dead_letters=len(tally.letters),
            videos=len(self._videos),
            damaged_lines=self._damage.count,
            users_off=self._users_off,
            exactly_once=self._complete and sure,
            complete=self._complete,
            seconds=round((self._ended or self._clock.monotonic()) - self._began, 1),
        )

    def _run(self, cluster: Cluster) -> None:
        survey = Survey.of(self._log.events(self._options.run, self._damage))
        self._damage.conclude()
        if not survey.events:
            raise ConfigError("the log has no event that can be read")
        self._total = survey.events
        states = StoredStates(self._settings, cluster)
        self._tally.start_from(dict(states.update()))
        if self._options.resume:
            self._find_sent(cluster)
        self._check(cluster, survey)
        watcher = Watcher(
            self._settings, cluster, self._tally, self._options.patience_s, self._look_after, self._options.resume
        )
        with closing(watcher), closing(Sender(self._settings)) as sender:
            self._began = self._clock.monotonic()
            self._send_videos(sender, watcher)
            self._send_events(sender, watcher, survey)
            self._complete = self._await(watcher)
            self._ended = self._clock.monotonic()
        if self._complete:
            self._users_off = len(self._tally.users_off(states.update()))

    def _find_sent(self, cluster: Cluster) -> None:
        """Count what the topic holds of this run."""
        ends = cluster.ends(self._topics.events)
        for record in cluster.read(self._topics.events, {}, ends):
            try:
                event = _decode_event(record.value)
            except BadRecord:
                continue
            if event_number(self._options.run, event.event_id) is not None:
                self._tally.send(event, record.offset)
                self._sent_to[record.partition] = record.offset + 1
        if self._sent_to:
            self._view.say(f"{len(self._tally.sent)} events of run {self._options.run} are in the topic already")

    def _check(self, cluster: Cluster, survey: Survey) -> None:
        left = Survey.of(self._unsent()) if self._sent_to else survey
        if not left.events:
            return
        span, options, say = Span(left.first_ms, left.last_ms), self._options, self._view.say
        check_topic(self._settings, cluster, span, self._clock.now_ms(), options.extend_retention, say)
        check_now(cluster.newest_ms(self._topics.events), span, self._tally.pool, options.force, say)

    def _unsent(self) -> Iterator[Event]:
        """Yield the events that the topic does not hold; their damage has been told."""
        for event in self._log.events(self._options.run, Damage()):
            number = event_number(self._options.run, event.event_id)
            if number is not None and number not in self._tally.sent:
                yield event

    def _send_videos(self, sender: Sender, watcher: Watcher) -> None:
        for count, video in enumerate(self._videos, start=1):
            sender.send(self._topics.videos, video.video_id, video)
            if count % _CHUNK == 0:
                self._view.show("videos", count, len(self._videos))
        sender.flush()
        watcher.ask()
        if watcher.workers:
            self._pause(watcher, SETTLE_S)
        elif not self._options.starts_workers:
            self._view.say(
                f"no worker reads {self._topics.events} in group {self._settings.app_id}; start one with "
                "'freshloop worker', or say --workers 1"
            )

    def _send_events(self, sender: Sender, watcher: Watcher, survey: Survey) -> None:
        events = self._unsent()
        if not survey.in_order:
            self._view.say("the log is not in the order of time; it is sorted in memory")
            events = iter(sorted(events, key=lambda event: (event.event_time_ms, event.user_id, event.video_id)))
        self._send_first(sender, watcher, events)
        started, first_ms = self._clock.monotonic(), None
        for count, event in enumerate(events, start=1):
            first_ms = event.event_time_ms if first_ms is None else first_ms
            if self._options.speed is not None:
                self._wait_until(
                    sender, watcher, started + (event.event_time_ms - first_ms) / 1000 / self._options.speed
                )
            self._send(sender, event)
            if count % _CHUNK == 0:
                self._look(watcher)
            if count % _UNACKNOWLEDGED == 0:
                sender.flush()
        sender.flush()
        self._note_ends(sender)

    def _send_first(self, sender: Sender, watcher: Watcher, events: Iterator[Event]) -> None:
        """Send the first events alone until their slates choose from every video."""
        if not watcher.workers:
            return  # one that starts now reads every video before it takes a partition
        deadline = self._clock.monotonic() + FIRST_EVENTS_S
        while self._clock.monotonic() < deadline:
            short, full = self._tally.short_slates, self._tally.full_slates
            first = list(islice(events, FIRST_EVENTS))
            for event in first:
                self._send(sender, event)
            sender.flush()
            while self._tally.full_slates - full + self._tally.short_slates - short < len(first):
                if self._clock.monotonic() > deadline:
                    break
                self._look(watcher, 0.1)
            if self._tally.short_slates == short:
                return
            self._pause(watcher, SETTLE_S)

    def _send(self, sender: Sender, event: Event) -> None:
        sender.send(self._topics.events, event.user_id, event, event.event_time_ms)
        self._tally.send(event)

    def _wait_until(self, sender: Sender, watcher: Watcher, due: float) -> None:
        while (left := due - self._clock.monotonic()) > 0.002:
            self._look(watcher, min(left, 0.5))
            self._note_ends(sender)
            if all(watcher.committed.get(number, 0) >= end for number, end in self._sent_to.items()):
                watcher.rest()

    def _note_ends(self, sender: Sender) -> None:
        self._sent_to |= sender.ends.get(self._topics.events, {})

    def _await(self, watcher: Watcher) -> bool:
        """Wait until the workers have committed what was sent, and read all they published; False when they stall."""
        while not all(watcher.committed.get(number, 0) >= end for number, end in self._sent_to.items()):
            if watcher.stalled:
                return False
            self._look(watcher, 0.2)
        watcher.read_to_end()
        self._look(watcher)
        return True

    def _pause(self, watcher: Watcher, seconds: float) -> None:
        until = self._clock.monotonic() + seconds
        while (left := until - self._clock.monotonic()) > 0:
            self._look(watcher, min(left, 0.2))

    def _look(self, watcher: Watcher, timeout_s: float = 0.0) -> None:
        watcher.poll(timeout_s)
        self._view.show("events", len(self._tally.confirmed), self._total)
