import socket

import pytest

from streams.admin import BrokerUnreachable, Problem, _advice, accepts, check_topics, compare, require_topics
from streams.topics import TopicSpec

EVENTS = TopicSpec("events", 4, "delete", {"max.message.bytes": "2097152", "retention.ms": "1"})
FITS = {"cleanup.policy": "delete", "max.message.bytes": "2097152"}


def test_a_topic_that_fits_has_no_problem():
    assert compare(EVENTS, 4, FITS) == []


def test_a_larger_message_size_fits():
    assert compare(EVENTS, 4, FITS | {"max.message.bytes": "2097153"}) == []


def test_a_topic_without_a_size_in_its_specification_fits_with_any():
    assert compare(TopicSpec("feedback", 4, "delete"), 4, FITS | {"max.message.bytes": "1"}) == []


def test_a_smaller_message_size_is_named_with_its_cure():
    (problem,) = compare(EVENTS, 4, FITS | {"max.message.bytes": "2097151"})
    assert problem.config == {"max.message.bytes": "2097152"}
    assert "2097151" in problem.text


@pytest.mark.parametrize("policy", ["compact", "compact,delete"])
def test_another_cleanup_policy_is_a_problem(policy):
    (problem,) = compare(EVENTS, 4, FITS | {"cleanup.policy": policy})
    assert problem.config == {"cleanup.policy": "delete"}


@pytest.mark.parametrize("partitions", [3, 5])
def test_another_partition_count_has_no_safe_cure(partitions):
    (problem,) = compare(EVENTS, partitions, FITS)
    assert problem.config == {}
    assert problem.text == f"topic events has {partitions} partitions, not 4"


def test_advice_names_the_worst_first_and_counts_the_rest():
    missing = Problem("a", "topic a is missing", {}, missing=True)
    policy = Problem("b", "topic b has a policy", {"cleanup.policy": "delete"})
    count = Problem("c", "topic c has 3 partitions, not 4", {})
    assert _advice([missing]) == "topic a is missing; run 'freshloop topics create'"
    assert "(and 1 more)" in _advice([missing, policy])
    assert "--mend" in _advice([missing, policy])
    assert "FRESHLOOP_PARTITIONS" in _advice([missing, policy, count])


@pytest.mark.parametrize("call", [check_topics, require_topics])
def test_without_a_broker_one_sentence_says_what_to_do(call, make_settings):
    settings = make_settings()
    with pytest.raises(BrokerUnreachable) as error:
        call(settings)
    assert str(error.value) == (
        f"no Kafka broker answers at 127.0.0.1:{settings.broker_port}; "
        "start one with 'freshloop broker up' or set FRESHLOOP_BROKERS"
    )


def test_a_listener_that_is_no_broker_is_told_from_one_that_answers(make_settings, monkeypatch):
    monkeypatch.setattr("streams.admin.CONNECT_TIMEOUT_S", 0.3)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        server = f"127.0.0.1:{listener.getsockname()[1]}"
        assert accepts(server)
        with pytest.raises(BrokerUnreachable):
            check_topics(make_settings(brokers=server))
    assert not accepts(server)


def test_an_impossible_port_is_not_accepted():
    assert not accepts("127.0.0.1:99999")
