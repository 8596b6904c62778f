"""A cluster of three brokers that loses its leader under load."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from tests.faults.cluster import three_brokers
from tests.faults.outcome import Tally
from tests.faults.rows import Plan, Row
from tests.faults.world import World


def leader_lost(here: World, plan: Plan, row: Row) -> Tally:
    """The leader of a partition is killed under load, again and again; replication 3, two in sync."""
    base = here.settings.model_copy(update={"topic_prefix": f"three-{here.settings.topic_prefix}"})
    with three_brokers(base.data_dir / "cluster", base) as cluster:
        there = World(cluster.settings, here.supervisor, plan.seed)
        there.load.options = {"retries": 100}
        topics = [there.topics.events, there.topics.states]
        there.start()
        there.await_ready()
        for number in range(plan.rounds):
            cluster.await_in_sync(topics)
            with ThreadPoolExecutor(1) as pool:
                sending = pool.submit(there.load.send, plan.events)
                leader = cluster.leader(topics[number % 2], number % cluster.settings.partitions)
                cluster.kill(leader)
            sending.result()
            row.lost += not there.drain(90)
            cluster.start(leader)
        cluster.await_in_sync(topics)
        row.lost += not there.drain(90)
        there.stop()
        row.note = f"{there.deaths} restarts of the worker"
        row.events = there.load.count
        return there.settle() + Tally(lost=row.lost)
