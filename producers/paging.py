"""Pages of a JSON API: at a bounded rate, asked again with growing pauses when it fails or throttles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
import msgspec
import tenacity

from producers.mapping import Mapping, at
from streams.clock import Clock
from streams.config import ConfigError

MAX_PAGE_BYTES = 16 << 20
TIMEOUT_S = 30.0
LONGEST_PAUSE_S = 60.0
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True)
class Page:
    """An answer: its items, where the next page begins (None: not said), and whether there is one."""

    items: list[Any]
    cursor: str | None
    more: bool


class _Passing(Exception):
    """A failure that may pass; `after_s` is how long the API asks to wait."""

    def __init__(self, text: str, after_s: float | None = None) -> None:
        super().__init__(text)
        self.after_s = after_s


class Pages:
    """Asks an API for pages.

    Args:
      token: sent as a bearer token; empty sends none.
      attempts: tries of one page before giving up; `first_pause_s` doubles from one to the next, with jitter.
      sleep: waits; a test counts instead.
    Attributes:
      retries: pages asked for again, so far.
    """

    def __init__(
        self, mapping: Mapping, token: str, clock: Clock, sleep: Callable[[float], None],
        say: Callable[[str], None], attempts: int = 8, first_pause_s: float = 0.5,
    ) -> None:  # fmt: skip
        self._mapping, self._clock, self._sleep, self._say = mapping, clock, sleep, say
        headers = mapping.headers | ({"Authorization": f"Bearer {token}"} if token else {})
        self._client = httpx.Client(headers=headers, timeout=TIMEOUT_S, follow_redirects=False)
        self._next = 0.0
        self._pause = tenacity.wait_exponential_jitter(
            max=LONGEST_PAUSE_S, jitter=first_pause_s, multiplier=first_pause_s
        )
        self._attempts = attempts
        self.retries = 0

    def close(self) -> None:
        """Disconnect."""
        self._client.close()

    def page(self, cursor: str) -> Page:
        """Return the page at a cursor; an empty one asks for the first.

        Raises:
          ConfigError: the API refuses, or failed at every try.
        """
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_Passing),
            stop=tenacity.stop_after_attempt(self._attempts),
            wait=self._wait,
            sleep=self._sleep,
            before_sleep=self._tell,
            reraise=True,
        )
        try:
            return retrying(self._ask, cursor)
        except _Passing as error:
            raise ConfigError(
                f"{self._mapping.url} failed {self._attempts} times, the last time so: {error}; nothing is lost, start "
                f"the command again and it goes on"
            ) from None

    def _wait(self, state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = error.after_s if isinstance(error, _Passing) else None
        return min(asked, LONGEST_PAUSE_S) if asked is not None else self._pause(state)

    def _tell(self, state: tenacity.RetryCallState) -> None:
        self.retries += 1
        error = state.outcome.exception() if state.outcome else None
        self._say(f"{error}; asked again in {state.upcoming_sleep:.1f} s")

    def _ask(self, cursor: str) -> Page:
        mapping = self._mapping
        self._keep_to_rate()
        asked = mapping.params | ({mapping.cursor_param: cursor} if cursor else {})
        how: dict[str, Any] = {"params": asked} if mapping.method == "GET" else {"json": asked}
        try:
            answer = self._client.request(mapping.method, mapping.url, **how)
        except httpx.TransportError as error:
            raise _Passing(f"{mapping.url} does not answer ({type(error).__name__})") from None
        if answer.status_code in _PASSING:
            raise _Passing(f"{mapping.url} answers {answer.status_code}", _seconds(answer.headers.get("retry-after")))
        if answer.status_code != 200:
            hint = "; is FRESHLOOP_COLLECT_TOKEN right?" if answer.status_code in (401, 403) else ""
            raise ConfigError(f"{mapping.url} refuses with {answer.status_code}{hint}")
        return self._read(answer.content)

    def _read(self, body: bytes) -> Page:
        mapping = self._mapping
        if len(body) > MAX_PAGE_BYTES:
            raise ConfigError(f"{mapping.url} sends {len(body)} bytes a page, at most {MAX_PAGE_BYTES} are read")
        try:
            answer = msgspec.json.decode(body)
        except msgspec.DecodeError:
            raise _Passing(f"{mapping.url} answers with what is no JSON") from None
        items = at(mapping.items, answer)
        if not isinstance(items, list):
            raise ConfigError(f"{mapping.url} has no list at {mapping.items!r}; mend 'items' in the mapping")
        found = at(mapping.cursor, answer)
        cursor = None if found in (None, "") else str(found)
        return Page(items, cursor, bool(at(mapping.more, answer)) if mapping.more else cursor is not None)

    def _keep_to_rate(self) -> None:
        early = self._next - self._clock.monotonic()
        if early > 0:
            self._sleep(early)
        self._next = max(self._next, self._clock.monotonic()) + 1 / self._mapping.rate


def _seconds(text: str | None) -> float | None:
    try:
        return max(0.0, float(text)) if text else None
    except ValueError:  # a date; the growing pauses will do
        return None
