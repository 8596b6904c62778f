import asyncio
from types import SimpleNamespace

from streams.batches import BatchConsumerThread, _rest


def thread_whose_coordination(ends):
    async def coordination():
        ends()

    async def done():
        task = asyncio.ensure_future(coordination())
        await asyncio.wait([task])
        return task

    thread = BatchConsumerThread.__new__(BatchConsumerThread)
    thread._consumer = SimpleNamespace(_coordinator=SimpleNamespace(_coordination_task=asyncio.run(done())))
    return thread


def test_what_ended_the_membership_in_the_group_is_found():
    def refused():
        raise AssertionError("Received an assignment for unsubscribed topic")

    assert isinstance(thread_whose_coordination(refused)._left_group(), AssertionError)


def test_a_consumer_that_closed_or_has_no_group_is_no_failure():
    assert thread_whose_coordination(lambda: None)._left_group() is None
    thread = BatchConsumerThread.__new__(BatchConsumerThread)
    thread._consumer = None
    assert thread._left_group() is None


class Consumer:
    """What is asked of aiokafka's while it rests; the assignment changes meanwhile."""

    def __init__(self, before, after):
        self.owned, self.after, self.paused = set(before), set(after), set()

    def assignment(self):
        return set(self.owned)

    def pause(self, *partitions):
        self.paused |= set(partitions)
        asyncio.get_running_loop().call_soon(setattr, self, "owned", self.after)

    def resume(self, *partitions):
        assert set(partitions) <= self.owned, "aiokafka refuses to resume what is not assigned"
        self.paused -= set(partitions)


def test_what_stays_assigned_is_fetched_again_after_a_rest():
    consumer = Consumer({0, 1, 2}, {1, 2, 3})
    asyncio.run(_rest(consumer))
    assert consumer.paused == {0}
