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

from kafka.errors import KafkaError

from producers.cluster import Cluster
from producers.lines import Damage
from producers.logs import RecordedLog, event_number
from producers.preflight import Span, check_now, check_topic
from producers.sending import Sender
from producers.session import Session, Stalled
from producers.tally import PoolSize, Tally
from producers.view import View
from producers.watching import StoredStates, Watcher
from streams.clock import Clock
from streams.codecs import BadRecord, Decoder
from streams.config import ConfigError, Settings
from streams.core.events import Event
from streams.pseudonyms import pseudonyms, renamed
from streams.topics import HOUR_MS, Topics

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
      coming: workers that were started for this replay; they are waited for.
    """

    run: str
    speed: float | None = None
    resume: bool = False
    patience_s: float = 60.0
    force: bool = False
    extend_retention: bool = False
    coming: int = 0


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
            short = f"; {self.slates_short} slates chose from a part of the videos" if self.slates_short else ""
            return (
                f"every one of {self.events} events was applied exactly once; {self.users_with_slate} of {self.users} "
                f"users have a slate, {self.feedback} impressions have feedback{short}"
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
        self._rename = pseudonyms(settings)
        self._damage = Damage(view.say)
        self._videos = list(log.videos(self._damage))
        pool = PoolSize(self._videos, int(settings.fresh_hours * HOUR_MS), settings.pool_capacity)
        self._tally = Tally(options.run, pool, frozenset(video.video_id for video in self._videos))
        self._began = self._clock.monotonic()
        self._ended: float | None = None
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
        options = self._options
        survey = Survey.of(self._log.events(options.run, self._damage))
        self._damage.conclude()
        if not survey.events:
            raise ConfigError("the log has no event that can be read")
        states = StoredStates(self._settings, cluster)
        self._tally.start_from(dict(states.update()))
        sent_to = self._find_sent(cluster) if options.resume else {}
        self._check(cluster, Survey.of(self._unsent()) if sent_to else survey)
        watcher = Watcher(
            self._settings, cluster, self._tally, options.patience_s, self._look_after, from_start=bool(sent_to)
        )
        with closing(watcher), closing(Sender(self._settings)) as sender:
            self._began = self._clock.monotonic()
            session = Session(self._settings, sender, watcher, self._tally, self._view, sent_to, survey.events)
            self._complete = self._send(session, survey)
            self._ended = self._clock.monotonic()
        self._users_off = len(self._tally.users_off(states.update())) if self._complete else 0

    def _send(self, session: Session, survey: Survey) -> bool:
        """Send what the topic lacks and wait for all of it; False when patience ended."""
        events = self._unsent()
        if not survey.in_order:
            self._view.say("the log is not in the order of time; it is sorted in memory")
            events = iter(sorted(events, key=lambda event: (event.event_time_ms, event.user_id, event.video_id)))
        try:
            if session.send_videos(self._videos, self._options.coming):
                session.send_first(events)
            elif not self._options.coming:
                self._view.say(
                    f"no worker reads {self._topics.events} in group {self._topics.group}; start one with "
                    "'freshloop worker', or say --workers 1"
                )
            session.send_events(events, self._options.speed)
            session.finish()
        except Stalled:
            return False
        return True

    def _find_sent(self, cluster: Cluster) -> dict[int, int]:
        """Count what the topic holds of this run; return the offset after its last event, by partition."""
        sent_to: dict[int, int] = {}
        for record in cluster.read(self._topics.events, {}, cluster.ends(self._topics.events)):
            try:
                event = _decode_event(record.value)
            except BadRecord:
                continue
            if event_number(self._options.run, event.event_id) is not None:
                self._tally.send(event, record.offset)
                sent_to[record.partition] = record.offset + 1
        if sent_to:
            self._view.say(f"{len(self._tally.sent)} events of run {self._options.run} are in the topic already")
        return sent_to

    def _check(self, cluster: Cluster, left: Survey) -> None:
        if not left.events:
            return
        span, options, say = Span(left.first_ms, left.last_ms), self._options, self._view.say
        check_now(cluster.newest_ms(self._topics.events), span, self._tally.pool, options.force, say)
        check_topic(self._settings, cluster, span, self._clock.now_ms(), options.extend_retention, say)

    def _unsent(self) -> Iterator[Event]:
        """Yield the events that the topic does not hold; damage has been told of before."""
        for event in self._log.events(self._options.run, Damage()):
            number = event_number(self._options.run, event.event_id)
            if number is not None and number not in self._tally.sent:
                yield renamed(event, self._rename)
