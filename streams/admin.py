"""Topics on a cluster: creating them, mending their settings, and refusing those that do not fit."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient, MemberToRemove
from kafka.errors import KafkaError, for_code

from streams.config import ConfigError, Settings
from streams.security import kafka_options, refusal
from streams.topics import Topics, TopicSpec

log = logging.getLogger("freshloop.worker")

CONNECT_TIMEOUT_S = 3.0
REQUEST_TIMEOUT_MS = 15_000
_EXISTS = 36  # TOPIC_ALREADY_EXISTS, when two commands create at once


class BrokerUnreachable(ConfigError):
    """No broker answers; the message is one sentence that names the address and what to do."""


@dataclass(frozen=True)
class Problem:
    """What is wrong with a topic. `config` holds the settings that would mend it, empty when nothing safe would."""

    topic: str
    text: str
    config: dict[str, str]
    missing: bool = False


@contextmanager
def admin_client(settings: Settings) -> Iterator[KafkaAdminClient]:
    """Open an admin client, and close it.

    Raises:
      BrokerUnreachable: no configured server answers.
      ConfigError: the cluster refuses a request.
    """
    if not any(accepts(server) for server in settings.bootstrap.split(",") if server):
        raise _unreachable(settings)
    try:
        client = KafkaAdminClient(
            **kafka_options(settings),
            bootstrap_timeout_ms=int(CONNECT_TIMEOUT_S * 1000),
            request_timeout_ms=REQUEST_TIMEOUT_MS,
        )
    except (KafkaError, OSError) as error:
        if said := refusal(settings, error):
            raise ConfigError(said) from None
        raise _unreachable(settings) from None
    try:
        yield client
    except KafkaError as error:
        said = refusal(settings, error) or f"the Kafka cluster at {settings.bootstrap} refuses: {error}"
        raise ConfigError(said) from None
    finally:
        client.close()


def accepts(server: str, timeout_s: float = CONNECT_TIMEOUT_S) -> bool:
    """Tell whether something listens at `server` (host:port); it need not be Kafka."""
    host, _, port = server.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=timeout_s):
            return True
    except (OSError, OverflowError):
        return False


def answering_cluster(settings: Settings) -> str | None:
    """Return the id of the cluster whose metadata lists a broker, None when there is no such answer."""
    try:
        with admin_client(settings) as client:
            found = client.describe_cluster()
    except ConfigError:
        return None
    return str(found["cluster_id"]) if found.get("brokers") else None


def check_topics(settings: Settings) -> list[str]:
    """Return what is wrong with the topics, a sentence each; an empty list when they fit.

    Looked at: presence, partition count, clean-up policy and the size of the largest message. Retention is the
    operator's.

    Raises:
      BrokerUnreachable: no broker answers.
    """
    with admin_client(settings) as client:
        return [problem.text for problem in _problems(client, Topics(settings).specs())]


def create_topics(settings: Settings, mend: bool = False) -> list[str]:
    """Create the topics that are missing and return what was done.

    Args:
      mend: also set the clean-up policy and message size of topics that exist; off by default, since on a shared
        cluster a topic of that name may be another's, and a policy deletes data.
    Returns: a sentence for each change, none when everything fitted; the topics are ready for use.
    Raises:
      BrokerUnreachable: no broker answers.
      ConfigError: the cluster refuses, or a topic exists that does not fit; what is missing was created all the same.
    """
    specs = Topics(settings).specs()
    with admin_client(settings) as client:
        problems = _problems(client, specs)
        missing = {problem.topic for problem in problems if problem.missing}
        _create(client, [spec for spec in specs if spec.name in missing], settings)
        mended = [problem for problem in problems if mend and problem.config]
        if mended:
            client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, p.topic, p.config) for p in mended])
    left = [problem for problem in problems if not problem.missing and problem not in mended]
    if left:
        raise ConfigError(_advice(left))
    return [f"created {p.topic}" if p.missing else f"mended: {p.text}" for p in problems]


def delete_topics(settings: Settings) -> list[str]:
    """Delete those of our topics that exist, wait until they are gone, and return their names.

    Raises:
      BrokerUnreachable: no broker answers.
      ConfigError: the cluster refuses, or still lists them after a while.
    """
    ours = {spec.name for spec in Topics(settings).specs()}
    with admin_client(settings) as client:
        present = sorted(ours & set(client.list_topics()))
        if present:
            client.delete_topics(present)
        deadline = time.monotonic() + REQUEST_TIMEOUT_MS / 1000
        while ours & set(client.list_topics()):
            if time.monotonic() > deadline:
                raise ConfigError(f"the Kafka cluster at {settings.bootstrap} still lists topic {present[0]}")
            time.sleep(0.1)
    return present


def require_topics(settings: Settings) -> dict[str, str]:
    """Return the ids of our topics by name, when every topic fits; a topic made anew has another id.

    Raises:
      BrokerUnreachable: no broker answers.
      ConfigError: a topic is missing or does not fit; one sentence that names what mends it.
    """
    specs = Topics(settings).specs()
    with admin_client(settings) as client:
        problems = _problems(client, specs)
        if problems:
            raise ConfigError(_advice(problems))
        return {
            topic["name"]: str(topic["topic_id"]) for topic in client.describe_topics([spec.name for spec in specs])
        }


def leave_group(settings: Settings, instance: str) -> None:
    """Take a worker that stops out of the consumer group, so that its partitions need not wait for its session to end.

    A static member does not leave by itself, so that a restart is quick. Failing is no harm: the session ends later.
    """
    logging.getLogger("kafka").setLevel(logging.WARNING)
    try:
        with admin_client(settings) as client:
            member = MemberToRemove(group_instance_id=instance, reason="the worker was stopped")
            client.remove_group_members(Topics(settings).group, [member])
    except ConfigError as error:
        log.info("the worker did not leave its group at once: %s", error)


def _advice(problems: list[Problem]) -> str:
    """Say the worst problem and its cure: what no command may change, then what a command changes on request."""
    first = min(problems, key=lambda problem: (problem.missing, bool(problem.config)))
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    if first.missing:
        return f"{first.text}{more}; run 'freshloop topics create'"
    if first.config:
        return f"{first.text}{more}; if it is Freshloop's, run 'freshloop topics create --mend'"
    cure = "set FRESHLOOP_PARTITIONS to it or another FRESHLOOP_TOPIC_PREFIX"
    return f"{first.text}{more}; keys rest on that count, so {cure}"


def _unreachable(settings: Settings) -> BrokerUnreachable:
    if settings.kafka_security != "PLAINTEXT" and any(accepts(server) for server in settings.bootstrap.split(",")):
        return BrokerUnreachable(
            f"the cluster at {settings.bootstrap} does not let user {settings.kafka_user!r} in by "
            f"{settings.kafka_security}: check FRESHLOOP_KAFKA_USER, FRESHLOOP_KAFKA_PASSWORD and FRESHLOOP_KAFKA_CA"
        )
    return BrokerUnreachable(
        f"no Kafka broker answers at {settings.bootstrap}; "
        "start one with 'freshloop broker up' or set FRESHLOOP_BROKERS"
    )


def _create(client: Any, specs: list[TopicSpec], settings: Settings) -> None:
    if not specs:
        return
    wanted = {
        spec.name: {
            "num_partitions": spec.partitions,
            "replication_factor": settings.replication,
            "configs": spec.config | {"cleanup.policy": spec.cleanup},
        }
        for spec in specs
    }
    for answer in client.create_topics(wanted, raise_errors=False)["topics"]:
        code = answer["error_code"]
        if code not in (0, _EXISTS):
            reason = answer.get("error_message") or for_code(code).__name__
            raise ConfigError(f"topic {answer['name']} cannot be created: {reason}")
    client.wait_for_topics(list(wanted))


def _problems(client: Any, specs: list[TopicSpec]) -> list[Problem]:
    """Compare the cluster with the specifications, in their order."""
    present = {topic["name"]: topic for topic in client.describe_topics() if topic["error_code"] == 0}
    existing = [spec for spec in specs if spec.name in present]
    configs = _effective(client, existing)
    found: list[Problem] = []
    for spec in specs:
        if spec.name in present:
            found.extend(compare(spec, len(present[spec.name]["partitions"]), configs[spec.name]))
        else:
            found.append(Problem(spec.name, f"topic {spec.name} is missing", {}, missing=True))
    return found


def _effective(client: Any, specs: list[TopicSpec]) -> dict[str, dict[str, str]]:
    if not specs:
        return {}
    keys = ["cleanup.policy", "max.message.bytes"]
    resources = [ConfigResource(ConfigResourceType.TOPIC, spec.name, keys) for spec in specs]
    answers = client.describe_configs(resources, config_filter="all")["topic"]
    return {topic: {key: str(entry["value"]) for key, entry in values.items()} for topic, values in answers.items()}


def compare(spec: TopicSpec, partitions: int, config: dict[str, str]) -> list[Problem]:
    """Return what is wrong with a topic that exists.

    Args:
      partitions: how many it has.
      config: its effective `cleanup.policy` and `max.message.bytes`.
    """
    found = []
    if partitions != spec.partitions:
        text = f"topic {spec.name} has {partitions} partitions, not {spec.partitions}"
        found.append(Problem(spec.name, text, {}))
    policy, size = config.get("cleanup.policy", ""), int(config.get("max.message.bytes", 0))
    wrong: list[str] = []
    mend: dict[str, str] = {}
    if policy != spec.cleanup:
        wrong.append(f"cleanup.policy {policy!r}, not {spec.cleanup!r}")
        mend["cleanup.policy"] = spec.cleanup
    wanted = spec.config.get("max.message.bytes")
    if wanted is not None and size < int(wanted):
        wrong.append(f"max.message.bytes {size}, less than {wanted}")
        mend["max.message.bytes"] = wanted
    if wrong:
        found.append(Problem(spec.name, f"topic {spec.name} has {' and '.join(wrong)}", mend))
    return found
