"""The Faust app of a worker: settings that hold, one agent, and the hooks around a rebalance."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import faust
from faust.types import TP

from streams.admin import leave_group
from streams.batches import BatchConsumer, BatchTopic, BatchTransport
from streams.config import Settings
from streams.gathering import Batch
from streams.security import faust_credentials
from streams.worker import Worker, die


class FreshloopApp(faust.App):
    """A Faust app whose consumer hands over batches; it starts and stops its worker."""

    freshloop_worker: Worker

    async def on_start(self) -> None:
        """Connect the worker before the first assignment."""
        cast(BatchConsumer, self.consumer).on_fatal = die  # type: ignore[method-assign]  # a slot for this
        await super().on_start()
        await self.freshloop_worker.start()

    async def on_shutdown(self) -> None:
        """Let the worker finish what is in flight."""
        await self.freshloop_worker.stop()
        await super().on_shutdown()
        await asyncio.to_thread(leave_group, self.freshloop_worker.settings, self.freshloop_worker.name)

    def _new_transport(self) -> Any:
        return BatchTransport(self.conf.broker_consumer, self)


def make_app(settings: Settings, worker: Worker) -> FreshloopApp:
    """Return the app that drives `worker`. The settings are those of `docs/adr/0001`, each for a measured reason."""
    app = FreshloopApp(
        worker.topics.group,
        broker=[f"kafka://{server}" for server in settings.bootstrap.split(",")],
        broker_credentials=faust_credentials(settings),
        datadir=str(settings.data_dir / "faust"),
        store="memory://",
        Topic=BatchTopic,
        processing_guarantee="at_least_once",
        producer_acks=-1,
        stream_wait_empty=True,
        stream_buffer_maxsize=4096,  # in batches, of which a few of each partition wait at most
        consumer_auto_offset_reset="earliest",
        consumer_group_instance_id=worker.name,
        broker_session_timeout=settings.session_timeout_s,
        broker_heartbeat_interval=min(2.0, settings.session_timeout_s / 4),
        broker_commit_interval=settings.commit_interval_s,
        broker_max_poll_records=settings.poll_records,
        consumer_max_fetch_size=4 << 20,
        producer_request_timeout=30,
        topic_disable_leader=True,
        topic_allow_declare=False,
        web_enabled=False,
        debug=False,
    )
    app.freshloop_worker = worker
    app.conf.datadir.mkdir(parents=True, exist_ok=True)
    topic = app.topic(worker.topics.events)

    @app.agent(topic, name="events")
    async def events(stream: Any) -> None:
        async for event in stream.noack().events():
            await _on_event(app, worker, event)

    @app.on_rebalance_complete.connect
    async def recover(sender: Any, /, *args: Any, signal: Any, **kwargs: Any) -> None:
        consumer: Any = app.consumer
        consumer.start_positions = lambda committed: _start_positions(worker, consumer, committed)
        mine = {tp.partition for tp in consumer.assignment() if tp.topic == worker.topics.events}
        await _or_die(worker.take_over(mine))

    app._freshloop_hooks = (events, recover)  # type: ignore[attr-defined]  # Faust holds receivers weakly
    return app


async def _on_event(app: Any, worker: Worker, event: Any) -> None:
    batch: Batch = event.value
    consumer: BatchConsumer = app.consumer
    message = event.message

    def take() -> int:
        consumer.close_batch(batch)
        return max(0, (consumer.highwater(batch.tp) or 0) - batch.end)

    await _or_die(worker.process(batch, lambda: consumer.ack(message), take, lambda: consumer.is_current(batch)))


async def _start_positions(worker: Worker, consumer: BatchConsumer, committed: Any) -> dict[TP, int]:
    found: dict[TP, int] = await _or_die(worker.start_positions(consumer, committed))
    return found


async def _or_die(coroutine: Any) -> Any:
    """Await; any failure ends the process, because Faust would restart the agent and go on behind the gap."""
    try:
        return await coroutine
    except asyncio.CancelledError:
        raise
    except BaseException as error:
        die(error)
