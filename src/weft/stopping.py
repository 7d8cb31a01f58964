"""What a signal does to a process: the first asks it to stop, a further one ends it at once."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)

_ECHO = 0.05
"""Seconds within which a repeated signal is the same one: `timeout` sends each twice."""

_PATIENCE = 10.0
"""Seconds until a process ends in which a library has swallowed the exception of a signal."""


class Stopped(SystemExit):
    """Ends the work at hand because of a signal; where nobody catches it, the process too.

    Attributes:
        name: of the signal.
        code: the exit code that shells give it.
    """

    def __init__(self, name: str = "SIGINT") -> None:
        self.name = name
        super().__init__(exit_code(name))


class CutShort(Stopped):
    """Ends what `Stop.cutting` guards, because of the first signal."""


def exit_code(name: str) -> int:
    """130 for SIGINT, 143 for SIGTERM, as shells count."""
    return 128 + int(signal.Signals[name])


def name_of(error: BaseException) -> str:
    """The signal behind `error`: a `Stopped`, or the KeyboardInterrupt of Python itself."""
    return error.name if isinstance(error, Stopped) else "SIGINT"


@dataclass
class Stop:
    """The first signal that asked to stop, if any, when it came, and whether it cuts work short."""

    name: str | None = None
    at: float = 0.0
    cuts: bool = False

    def is_echo(self) -> bool:
        """Whether a signal that comes now is the first one once more."""
        return self.name is not None and time.monotonic() - self.at < _ECHO

    def note(self, number: int) -> None:
        """Notes the first signal."""
        self.name, self.at = signal.Signals(number).name, time.monotonic()

    @contextmanager
    def cutting(self) -> Iterator[None]:
        """Work that can be done again: the first signal ends it as soon as it comes, or has come.

        Raises:
            CutShort: in the midst of it.
        """
        self.cuts = True
        try:
            if self.name is not None:
                raise CutShort(self.name)
            yield
        finally:
            self.cuts = False


@contextmanager
def stopped_by_signals() -> Iterator[Stop]:
    """Has the first SIGINT or SIGTERM raise `Stopped`; the second one ends the process at once.

    So does the first, a little later, if a library swallows the exception. All of a command line
    runs inside; where work must be saved first, `graceful_stop` stands inside of this.
    """
    stop = Stop()
    last: list[threading.Timer] = []

    def on_signal(number: int, frame: FrameType | None) -> None:
        if stop.is_echo():
            return
        if stop.name is not None:
            os._exit(exit_code(stop.name))
        stop.note(number)
        timer = threading.Timer(_PATIENCE, os._exit, (128 + number,))
        timer.daemon = True
        timer.start()
        last.append(timer)
        raise Stopped(signal.Signals(number).name)

    with handled(on_signal):
        try:
            yield stop
        finally:
            for timer in last:
                timer.cancel()


@contextmanager
def graceful_stop() -> Iterator[Stop]:
    """Turns the first SIGINT or SIGTERM into a flag, and cuts short what `Stop.cutting` guards; the
    second does what it would do outside."""
    stop = Stop()

    def on_signal(number: int, frame: FrameType | None) -> None:
        if stop.is_echo():
            return
        if stop.name is None:
            stop.note(number)
            if stop.cuts:
                raise CutShort(signal.Signals(number).name)
            return
        outside = before.get(number)
        if callable(outside):
            outside(number, frame)
        raise Stopped(stop.name)

    with handled(on_signal) as before:
        yield stop


_Handler = Callable[[int, FrameType | None], object]


@contextmanager
def handled(handler: _Handler) -> Iterator[dict[int, Any]]:
    """Both signals go to `handler`, which may look up who had them before."""
    before: dict[int, Any] = {}
    if threading.current_thread() is not threading.main_thread():
        # As in a notebook's executor: only the main thread may handle signals; they stay as is.
        yield before
        return
    old = {number: signal.signal(number, handler) for number in SIGNALS}
    before |= {int(number): kept for number, kept in old.items()}
    try:
        yield before
    finally:
        for number, kept in old.items():
            signal.signal(number, kept)
