"""What SIGINT and SIGTERM do: the first asks the process to stop, a second one ends it at once."""

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
"""Seconds within which a second signal counts as the same one: `timeout` sends each twice."""

_PATIENCE = 10.0
"""Seconds after which the process is ended if a library has swallowed the signal's exception."""


class Stopped(SystemExit):
    """Raised by a signal; uncaught, it ends the process with that signal's exit code.

    Attributes:
        name: of the signal.
        code: the exit code that shells give it.
    """

    def __init__(self, name: str = "SIGINT") -> None:
        self.name = name
        super().__init__(exit_code(name))


class CutShort(Stopped):
    """Raised by the first signal inside `Stop.cutting`."""


def exit_code(name: str) -> int:
    """130 for SIGINT, 143 for SIGTERM, as shells count."""
    return 128 + int(signal.Signals[name])


def name_of(error: BaseException) -> str:
    """The signal behind `error`: a `Stopped`, or the KeyboardInterrupt of Python itself."""
    return error.name if isinstance(error, Stopped) else "SIGINT"


@dataclass
class Stop:
    """The first signal that has come, if any.

    Attributes:
        name: of the signal, such as `SIGTERM`; None if none has come.
        at: when it came, on the monotonic clock, in seconds.
        cuts: whether a signal raises `CutShort` at once (inside `cutting`).
    """

    name: str | None = None
    at: float = 0.0
    cuts: bool = False

    def is_echo(self) -> bool:
        """Whether a signal that comes now is a repetition of the first one."""
        return self.name is not None and time.monotonic() - self.at < _ECHO

    def note(self, number: int) -> None:
        """Records the first signal and its time."""
        self.name, self.at = signal.Signals(number).name, time.monotonic()

    @contextmanager
    def cutting(self) -> Iterator[None]:
        """Guards work that can be repeated: the first signal ends it at once.

        Raises:
            CutShort: when the signal comes, or on entry if it has come already.
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
    """Makes the first SIGINT or SIGTERM raise `Stopped`, and the second one end the process.

    If a library swallows the exception, the process ends ten seconds after the first signal. Every
    command runs inside this; where work must be saved first, `graceful_stop` is nested in it.
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
    """Records the first SIGINT or SIGTERM in the `Stop`, and interrupts only what `Stop.cutting`
    guards; the second signal goes to the handler that was installed before."""
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
    """Installs `handler` for both signals; yields signal number -> the handler before it."""
    before: dict[int, Any] = {}
    if threading.current_thread() is not threading.main_thread():
        # Only the main thread may install handlers; elsewhere, as in a notebook's executor, the
        # signals stay as they are.
        yield before
        return
    old = {number: signal.signal(number, handler) for number in SIGNALS}
    before |= {int(number): kept for number, kept in old.items()}
    try:
        yield before
    finally:
        for number, kept in old.items():
            signal.signal(number, kept)
