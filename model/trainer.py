"""The trainer: feedback in, judged versions out, while the model serves.

It goes on from the version in service and from where that version's manifest says it has learned up to. Everything it
keeps in memory can be read again from Kafka; only the optimiser's moments are kept in a file.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from model.config import ModelConfig
from model.examples import Examples
from model.forgotten import Forgotten
from model.gate import Verdict
from model.intake import Intake
from model.manifest import Current, Evaluation, Manifest
from model.moments import Moments
from model.nets import Net
from model.outbox import Outbox
from model.privacy import Privacy, reckoned
from model.progress import Journal, Through
from model.publish import Piece, current_record
from model.registry import Registry, Version
from model.signature import signing_key
from model.team import Alone, Count, Ended, Order
from model.train import Learner, Round, RoundAbandoned
from model.trainer_metrics import TrainerMetrics
from model.trial import LiveTrial
from model.weights import Weights, fitted, initial
from streams.clock import Clock
from streams.codecs import BadRecord, Decoder
from streams.config import Settings
from streams.core.content import VideoContent
from streams.core.erasure import mark_of
from streams.core.events import Feedback, Video
from streams.topics import Topics

log = logging.getLogger("freshloop.trainer")

READ_AGAIN = 20_000  # records of a partition that are read again to refill sequences and the replay buffer
_decode_feedback = Decoder(Feedback)
_decode_video = Decoder(Video)
_decode_content = Decoder(VideoContent)


class Trainer:
    """One lineage's trainer; `step` polls once and does a round when one is due.

    Args:
      learner: with an empty store.
      team: the other processes, of which this one is the chief.
    """

    def __init__(
        self,
        settings: Settings,
        config: ModelConfig,
        learner: Learner,
        registry: Registry,
        intake: Intake,
        outbox: Outbox,
        metrics: TrainerMetrics,
        clock: Clock,
        team: Alone | None = None,
    ) -> None:
        self._team = learner.team = team or Alone()
        self._stopping: Callable[[], bool] = lambda: False
        self._settings, self._config, self.learner = settings, config, learner
        self._registry, self._intake, self._outbox = registry, intake, outbox
        self._metrics, self._clock = metrics, clock
        self._topics = Topics(settings)
        self._moments = Moments(settings.data_dir / "trainer" / settings.model_name)
        self._forgotten = Forgotten()
        self._live = False  # past what was in the topics at the start
        self._base = 0  # the version that the next round starts from
        self._arrivals: dict[int, int] = {}  # by version made here, the records it knows
        self._journal = Journal(Through())
        self._new_from: dict[int, int] = {}
        self._last_round = clock.monotonic()
        self._left = 0  # examples that the last round left waiting
        self._trial: LiveTrial | None = None

    @property
    def store(self) -> Examples:
        """The examples that it learns from."""
        return self.learner.store

    @property
    def net(self) -> Net:
        """The net that learns."""
        return self.learner.net

    def run(self, stopping: Callable[[], bool]) -> None:
        """Learn until asked to stop; a round that has begun is abandoned then."""
        self._stopping = self.learner.stopping = self.net.stopping = stopping
        try:
            self.start(stopping)
            while not stopping():
                self.step()
            self._team.tell(Order("end"))
        except RoundAbandoned:
            log.info("a round is abandoned; the next start does it again")
        except Ended:
            log.info("another trainer process was asked to end, so all do")

    def start(self, stopping: Callable[[], bool]) -> None:
        """Read models and videos, take over the version in service, and begin with feedback."""
        self._read_whole(stopping)
        self._take_over(self._registry.leading())
        self._arrivals[self._base] = 0
        self._team.tell(Order("start", self._base, offsets=dict(self._journal.through.offsets)))
        self._new_from = self._intake.start_feedback(self._journal.through.offsets, READ_AGAIN)
        self._last_round = self._clock.monotonic()
        self._live = True

    def _read_whole(self, stopping: Callable[[], bool]) -> None:
        self.net.load(initial(self._config))
        self.net.compile()
        self._intake.start_whole()
        while not self._intake.caught_up() and not stopping():
            self._take(self._intake.poll(0.5))

    def step(self, timeout_s: float = 0.2) -> Round | None:
        """Poll once; return the round that was due, if one was."""
        self._take(self._intake.poll(timeout_s))
        self._follow()
        self._observe()
        return self._round() if self._due() else None

    # -- records ----------------------------------------------------------------------------------------------------

    def _take(self, polled: dict[str, list[Any]]) -> None:
        for record in polled.get(self._topics.models, ()):
            refused = self._registry.feed(record.key, record.value)
            if refused:
                log.warning("a record of the models topic is refused: %s", refused)
        catalogue = self.store.catalogue
        catalogue.add(list(_decoded(polled.get(self._topics.videos, ()), _decode_video)))
        catalogue.add_contents(list(_decoded(polled.get(self._topics.vectors, ()), _decode_content)))
        self.store.trim_videos()
        for record in polled.get(self._topics.erasures, ()):
            self._forget(record)
        for record in polled.get(self._topics.feedback, ()):
            self._metrics.records.labels(self._take_feedback(record)).inc()

    def _forget(self, record: Any) -> None:
        found = self._forgotten.take(record, self.store)
        if found is None:
            return
        self._metrics.erased.inc()
        if self._trial is not None:
            mark = bytes.fromhex(found[0].mark)
            self._trial.forget(lambda user: mark_of(user) == mark)
        if self._live:  # what was erased before this start has its receipt
            self._outbox.receipt(*found, self._clock.now_ms())

    def _take_feedback(self, record: Any) -> str:
        new = record.offset >= self._new_from[record.partition]
        try:
            result = self._add(_decode_feedback(record.value), new)
        except BadRecord as bad:
            log.warning("feedback %d-%d is passed over: %s", record.partition, record.offset, bad)
            result = "unreadable"
        if new:
            self._journal.note(self.store.records, record.partition, record.offset, record.timestamp)
        return result

    def _add(self, found: Feedback, new: bool) -> str:
        """Take in feedback, unless its user was erased since; return what became of it."""
        if self._forgotten.covers(found):
            return "erased"
        taken = self.store.add(found, new)
        if self._trial is not None and new and self._settings.arms.get(found.arm, "online") == "online":
            self._trial.add(found)
        return ("new" if new else "again") if taken else "duplicate"

    # -- rounds -----------------------------------------------------------------------------------------------------

    def _due(self) -> bool:
        """Tell whether enough is new since the last round; what a refused round left does not count again.

        None is due while a version is on trial: whatever came next would have to wait for it.
        """
        own = Count(len(self.store.fresh) - self._left, sum(self._intake.lag().values()), False)
        found, settings = self._team.total(own), self._settings
        new, behind = found.new, found.behind
        if self._trial is not None or new < settings.train_minimum:
            return False
        if self._clock.monotonic() - self._last_round >= settings.train_seconds:
            return True
        most = self.learner.options.most_new * self._team.count
        wanted = settings.train_examples if behind < settings.train_examples else most
        return new >= wanted  # far behind, a larger round catches up sooner

    def _round(self) -> Round:
        named = self._registry.named
        self._team.tell(Order("round", erased=self._forgotten.through))
        self._team.share(self.net)
        done = self.learner.round()
        through = self._team.through(self._journal.through, self._journal.upto(done.through))
        self._read_models()
        if done.weights is not None and self._registry.named != named:
            done = replace(done, weights=None, verdict=self._overtaken(done))
            self._go_back(self._registry.leading())
        self._last_round, self._left = self._clock.monotonic(), len(self.store.fresh)
        manifest = self._manifest(done, through)
        if done.weights is None:
            self._outbox.refuse(manifest)
        else:
            self._publish(manifest, done, through)
        self._report(done, manifest)
        return done

    def _overtaken(self, done: Round) -> Verdict:
        """Return the verdict on a candidate whose parent another hand took out of service during the round."""
        named = self._registry.named
        what = f"version {named.version} was put into service during its round" if named else "no version serves"
        return replace(done.verdict, accepted=False, reason=f"refused: {what}, so its parent no longer serves")

    def _publish(self, manifest: Manifest, done: Round, through: Through) -> None:
        """Publish a version, on trial where one is asked for; the order of the topic says who came first."""
        assert done.weights is not None
        settings, registry, version = self._settings, self._registry, manifest.version
        self._base = version
        self._forgotten.said(manifest)
        self._arrivals[version] = done.through
        self._journal.learned(done.through)
        self._journal.through = through
        self._team.tell(Order("learned", version))
        self._moments.save(version, self._journal.through.offsets, self.net.optimiser())
        incumbent = registry.current()
        if settings.canary_share and incumbent is not None:
            reason = f"version {version} is on trial with {settings.canary_share:.0%} of the users"
            current = self._current(incumbent.number, reason, version)
        else:
            current = self._current(version, manifest.evaluation.reason)
        self._outbox.publish(manifest, done.weights, current)
        self._read_models()
        self._outbox.withdraw(registry, version)
        self._follow()

    def _current(self, version: int, reason: str, canary: int = 0) -> Piece:
        named = self._registry.named
        share = self._settings.canary_share if canary else 0.0
        epoch = (named.epoch if named else 0) + 1
        return current_record(
            self._settings.model_name, epoch, version, reason, canary, share, signing_key(self._settings)
        )

    def _read_models(self) -> None:
        """Poll until all is known that the models topic holds now."""
        behind = self._intake.models_behind()
        while behind():
            self._take(self._intake.poll(0.1))

    def _follow(self) -> None:
        """Go on from what leads now, and begin or end a trial as the topic says."""
        registry, trial = self._registry, self._trial
        leading = registry.leading()
        if leading is not None and leading.number != self._base:
            self._go_back(leading)
        named: Current | None = registry.named if registry.trial() else None
        if named is None or trial is None or trial.current.epoch != named.epoch:
            trial = self._trial = LiveTrial(named, self._settings.canary_labels) if named else None
        ended = trial.outcome() if trial else None
        if ended is not None:
            log.info("%s", ended.reason)
            self._trial = None
            self._outbox.name(self._current(ended.version, ended.reason))
            self._read_models()
            self._follow()

    def _manifest(self, done: Round, through: Through) -> Manifest:
        verdict = done.verdict
        measured = bool(np.isfinite(verdict.difference))
        made = Manifest(
            name=self._settings.model_name,
            version=max([self._base, *self._registry.manifests]) + 1,
            parent=self._base,
            config=self._config,
            trained_through=through.records,
            trained_through_offsets=dict(through.offsets),
            trained_through_ms=through.time_ms,
            created_ms=self._clock.now_ms(),
            privacy=self._privacy(),
            form=self._settings.serving_form,
            evaluation=Evaluation(
                accepted=verdict.accepted,
                reason=verdict.reason,
                candidate_loss=verdict.candidate if measured else None,
                incumbent_loss=verdict.incumbent if measured else None,
                interval=(verdict.low, verdict.high) if measured else None,
                examples=verdict.examples,
                users=verdict.users,
            ),
        )
        return self._forgotten.note(made)

    def _privacy(self) -> Privacy | None:
        spent = self.learner.spent
        return reckoned(spent, self._settings.privacy_delta) if self.net.options.noise and spent else None

    # -- versions ---------------------------------------------------------------------------------------------------

    def _take_over(self, current: Version | None) -> None:
        """Go on from a version, or from the first weights; the optimiser too, when its state is that version's."""
        net = self.net
        if current is None:
            net.load(initial(self._config))
            self.learner.spent = ()
            log.info("no version serves yet: learning starts from the first weights")
            return
        manifest = current.manifest
        net.load(fitted(current.weights, manifest.config, self._config))
        self._learned_before(manifest)
        self._base = manifest.version
        self._forgotten.said(manifest)
        offsets = dict(manifest.trained_through_offsets)
        if kept := self._moments.load(manifest.version):
            offsets |= kept[0]
            self._resume(current, kept[1])
        self._journal.through = Through(manifest.trained_through, offsets, manifest.trained_through_ms)
        log.info("version %d serves, trained through %d records", manifest.version, manifest.trained_through)

    def _learned_before(self, manifest: Manifest) -> None:
        self.learner.spent = manifest.privacy.spent if manifest.privacy else None if manifest.version else ()
        if self.net.options.noise and self.learner.spent is None:
            log.warning("no epsilon can be given: version %d learned without noise", manifest.version)

    def _resume(self, current: Version, moments: Weights) -> None:
        try:
            self.net.set_optimiser(moments)
        except (KeyError, ValueError) as error:
            log.warning("the optimiser starts anew, since its state does not fit version %d: %s", current.number, error)
            self.net.load(fitted(current.weights, current.manifest.config, self._config))

    def _go_back(self, current: Version | None) -> None:
        """Another version leads than was expected: go on from it, and drop what only others had learned."""
        if current is None:
            return
        manifest, offsets = current.manifest, self._journal.through.offsets
        log.warning("version %d leads instead of %d: the next round starts from it", manifest.version, self._base)
        self.store.forget_trained(self._arrivals.get(manifest.version, -1))
        self._team.tell(Order("back", manifest.version))
        self._take_over(current)
        self._journal.through = Through(manifest.trained_through, offsets, manifest.trained_through_ms)
        self._moments.save(manifest.version, offsets, self.net.optimiser())

    # -- reports ----------------------------------------------------------------------------------------------------

    def _observe(self) -> None:
        metrics, store = self._metrics, self.store
        metrics.waiting.set(len(store.fresh))
        for what, count in (("users", store.users), ("examples", store.kept), ("videos", len(store.catalogue))):
            metrics.kept.labels(what).set(count)
        for partition, behind in self._intake.lag().items():
            metrics.lag.labels(str(partition)).set(behind)
        metrics.version.set(self._base)

    def _count_round(self, done: Round) -> None:
        metrics = self._metrics
        metrics.examples.inc(done.trained)
        metrics.round_seconds.observe(done.seconds)
        metrics.speed.set(done.trained / done.seconds)

    def _report(self, done: Round, manifest: Manifest) -> None:
        metrics, verdict = self._metrics, done.verdict
        self._count_round(done)
        metrics.rounds.labels("accepted" if verdict.accepted else "refused").inc()  # by the chief alone
        losses = {"train": done.train_loss, "held_back": verdict.candidate, "held_back_incumbent": verdict.incumbent}
        for stretch, loss in losses.items():
            metrics.loss.labels(stretch).set(loss)
        if np.isfinite(verdict.difference):
            metrics.difference.set(verdict.difference)
        if verdict.accepted:
            metrics.made.set(manifest.created_ms / 1000)
        log.info(
            "version %d %s (%d new examples, %d gone through in %.1f s, trained through %d)",
            manifest.version, verdict.reason, done.new, done.trained, done.seconds, manifest.trained_through,
        )  # fmt: skip


def _decoded(records: Any, decode: Callable[[bytes], Any]) -> Any:
    """Yield videos or their contents; what is withdrawn stays known, since sequences refer to it."""
    for record in records:
        if record.value:
            try:
                yield decode(record.value)
            except BadRecord as bad:
                log.warning("a record of %s is passed over: %s", record.topic, bad)
