import asyncio
from types import SimpleNamespace

from streams.batches import BatchConsumerThread


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
