"""The users of a secured cluster: one for each kind of part, with the rights that it needs and no others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from kafka.admin import (
    ACL,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ResourcePattern,
    ResourceType,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from streams.admin import admin_client
from streams.config import Settings
from streams.topics import Topics

ITERATIONS = 8192


@dataclass(frozen=True)
class Rights:
    """What a user may do with topics, by name; every user may see that they are there, and how they are set."""

    read: Sequence[str] = ()
    write: Sequence[str] = ()
    groups: Sequence[str] = ()
    transactions: Sequence[str] = field(default=())  # prefixes of transactional ids


def rights(settings: Settings) -> dict[str, Rights]:
    """Return the rights of each user.

    A worker may write `models` because its API puts versions into service, and `events` because its API takes them.
    """
    one = Topics(settings)
    return {
        "worker": Rights(
            read=(one.events, one.videos, one.vectors, one.models, one.workers, one.feedback, one.erasures,
                  one.states),
            write=(one.events, one.recommendations, one.feedback, one.dead_letters, one.states, one.workers,
                   one.erasures, one.receipts, one.models),
            groups=(one.group,),
            transactions=(f"{one.states}-",),
        ),
        "trainer": Rights(
            read=(one.models, one.videos, one.vectors, one.feedback, one.erasures), write=(one.models, one.receipts)
        ),
        "ingest": Rights(read=(one.videos, one.vectors), write=(one.vectors, one.dead_letters)),
        "viewer": Rights(read=(one.recommendations, one.videos), write=(one.events, one.videos)),
    }  # fmt: skip


def give(settings: Settings, passwords: dict[str, str]) -> None:
    """Make users with their passwords, and give them their rights.

    Args:
      settings: of an administrator.
    Raises:
      ConfigError: the cluster refuses.
    """
    known = rights(settings)
    made = [
        UserScramCredentialUpsertion(user, ScramMechanism.SCRAM_SHA_512, passwords[user].encode(), ITERATIONS)
        for user in known
    ]
    topics = [spec.name for spec in Topics(settings).specs()]
    with admin_client(settings) as client:
        client.alter_user_scram_credentials(made)
        client.create_acls([acl for user, his in known.items() for acl in _acls(f"User:{user}", his, topics)])


def _acls(principal: str, given: Rights, topics: Sequence[str]) -> list[Any]:
    def acl(operation: Any, kind: Any, name: str, prefix: bool = False) -> Any:
        pattern = ACLResourcePatternType.PREFIXED if prefix else ACLResourcePatternType.LITERAL
        return ACL(principal, "*", operation, ACLPermissionType.ALLOW, ResourcePattern(kind, name, pattern))

    topic, group, transaction = ResourceType.TOPIC, ResourceType.GROUP, ResourceType.TRANSACTIONAL_ID
    found = [acl(ACLOperation.DESCRIBE, topic, name) for name in topics]
    found += [acl(ACLOperation.DESCRIBE_CONFIGS, topic, name) for name in topics]
    found += [acl(ACLOperation.READ, topic, name) for name in given.read]
    found += [acl(ACLOperation.WRITE, topic, name) for name in given.write]
    for name in given.groups:
        found += [acl(one, group, name) for one in (ACLOperation.READ, ACLOperation.DESCRIBE, ACLOperation.DELETE)]
    for name in given.transactions:
        found += [acl(one, transaction, name, True) for one in (ACLOperation.WRITE, ACLOperation.DESCRIBE)]
    return found
