"""How clients reach the cluster: addresses, TLS and SASL, from the settings, for each of the three client libraries."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aiokafka.errors import TopicAuthorizationFailedError as AioTopicAuthorizationFailedError
from kafka.errors import KafkaError, SaslAuthenticationFailedError, TopicAuthorizationFailedError

from streams.config import ConfigError, Settings


def kafka_options(settings: Settings) -> dict[str, Any]:
    """Return what every client of kafka-python is made with.

    Raises:
      ConfigError: a certificate cannot be read.
    """
    return {"bootstrap_servers": settings.bootstrap.split(",")} | _common(settings)


def aio_options(settings: Settings) -> dict[str, Any]:
    """Return what every client of aiokafka is made with; raises as `kafka_options` does."""
    return {"bootstrap_servers": settings.bootstrap} | _common(settings)


def faust_credentials(settings: Settings) -> Any:
    """Return the credentials of the Faust app, None where none are needed; raises as `kafka_options` does."""
    import faust

    protocol = settings.kafka_security
    if protocol == "PLAINTEXT":
        return None
    if protocol == "SSL":
        return faust.SSLCredentials(context=tls_context(settings))
    return faust.SASLCredentials(
        username=settings.kafka_user, password=settings.kafka_password.get_secret_value(),
        ssl_context=tls_context(settings), mechanism=settings.kafka_mechanism,
    )  # fmt: skip


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """Return the context of TLS connections, None where there are none.

    Raises:
      ConfigError: a certificate cannot be read.
    """
    if not settings.kafka_security.endswith("SSL"):
        return None
    try:
        context = ssl.create_default_context(cafile=settings.kafka_ca or None)
        if settings.kafka_cert:
            context.load_cert_chain(settings.kafka_cert, settings.kafka_cert_key or None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"the certificates of FRESHLOOP_KAFKA_CA or FRESHLOOP_KAFKA_CERT cannot be used: {error}"
        ) from None
    context.check_hostname = settings.kafka_check_hostname
    return context


def refusal(settings: Settings, error: BaseException) -> str | None:
    """Return one sentence for what a cluster refuses a user, None when that is not what happened."""
    user = f"user {settings.kafka_user!r}" if settings.kafka_user else "a client without a user name"
    if isinstance(error, (TopicAuthorizationFailedError, AioTopicAuthorizationFailedError)):
        named = error.args[0] if error.args else ""
        topics = ", ".join(sorted(map(str, named))) if isinstance(named, (set, frozenset, list, tuple)) else str(named)
        return (
            f"the cluster at {settings.bootstrap} refuses: {user} has no right to topic {topics}; set "
            "FRESHLOOP_KAFKA_USER to one who may, or give the right (docs/security.md)"
        )
    if isinstance(error, SaslAuthenticationFailedError):
        return (
            f"the cluster at {settings.bootstrap} does not let {user} in; set FRESHLOOP_KAFKA_USER and "
            "FRESHLOOP_KAFKA_PASSWORD"
        )
    return None


@contextmanager
def refusals_said(settings: Settings) -> Iterator[None]:
    """Turn what kafka-python raises into one sentence.

    Raises:
      ConfigError: in place of a KafkaError.
    """
    try:
        yield
    except KafkaError as error:
        said = refusal(settings, error) or f"the Kafka cluster at {settings.bootstrap} fails: {error}"
        raise ConfigError(said) from None


def _common(settings: Settings) -> dict[str, Any]:
    if settings.kafka_security == "PLAINTEXT":
        return {}
    found: dict[str, Any] = {"security_protocol": settings.kafka_security}
    if context := tls_context(settings):
        found["ssl_context"] = context
    if settings.kafka_security.startswith("SASL"):
        found |= {
            "sasl_mechanism": settings.kafka_mechanism, "sasl_plain_username": settings.kafka_user,
            "sasl_plain_password": settings.kafka_password.get_secret_value(),
        }  # fmt: skip
    return found
