"""Schemathesis against the API: whatever is sent, the answer is documented, and never a fault of ours."""

from __future__ import annotations

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import GenerationMode

from streams.clock import Clock
from streams.config import Settings
from streams.http.api import make_api
from tests.served import FakeWorker, service

_app = make_api(service(FakeWorker(Settings(partitions=2))), "", lambda *_: None, Clock())
schema = schemathesis.openapi.from_asgi("/v1/openapi.json", _app)
schema.config.generation.update(modes=[GenerationMode.POSITIVE, GenerationMode.NEGATIVE])


@schema.hook
def map_body(context, body):
    """JSON Schema takes 2.0 for an integer, the decoder does not; and it cannot say that two fields differ."""
    return [apart(one) for one in integral(body)] if isinstance(body, list) else integral(body)


def apart(event):
    if isinstance(event, dict) and "other_id" in event and event["other_id"] == event.get("user_id"):
        return event | {"other_id": "somebody else"}
    return event


def integral(value):
    if isinstance(value, dict):
        return {name: integral(one) for name, one in value.items()}
    if isinstance(value, list):
        return [integral(one) for one in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


@schema.parametrize()
@settings(max_examples=20, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@pytest.mark.timeout(90)
def test_every_answer_is_as_documented(case):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("streams.http.service.WAIT_S", 0.02)  # an event sent twice brings no second slate
        case.call_and_validate()
