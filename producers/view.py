"""Progress of a command on stderr: a bar on a terminal, else a line now and then."""

from __future__ import annotations

from typing import Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from streams.clock import Clock

_LINE_S = 10.0  # between two lines where there is no terminal


class View(Protocol):
    """Who watches a command: gets sentences, and how much of how much is done."""

    def say(self, text: str) -> None:
        """Tell something, in one sentence."""
        ...

    def show(self, done: int, total: int) -> None:
        """Tell how far it is; called often."""
        ...


class Bar:
    """A `View` on stderr.

    Args:
      what: is counted.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._console = Console(stderr=True, highlight=False)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._bar = Progress(*columns, console=self._console, disable=not self._console.is_terminal, transient=True)
        self._task: TaskID | None = None
        self._clock = Clock()
        self._told = self._clock.monotonic()

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def say(self, text: str) -> None:
        """Print a sentence."""
        self._console.print(f"freshloop: {text}", soft_wrap=True, markup=False)

    def show(self, done: int, total: int) -> None:
        """Move the bar, or print a line."""
        if self._console.is_terminal:
            if self._task is None:
                self._task = self._bar.add_task(self._what, total=total)
            self._bar.update(self._task, completed=done)
        elif (now := self._clock.monotonic()) - self._told >= _LINE_S:
            self._told = now
            self.say(f"{done} of {total} {self._what}")
