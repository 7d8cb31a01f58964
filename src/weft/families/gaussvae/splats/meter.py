"""Reports progress on standard error: a bar on a terminal, otherwise a line now and then."""

from __future__ import annotations

import sys
import time

from weft.terminal import console, tell

_LINE_SECONDS = 10.0


class Meter:
    """Reports how many of `total` things are done; used in a `with` block.

    Args:
        total: number of things.
        what: their name.
        quiet: whether nothing is reported.
    """

    def __init__(self, total: int, what: str, *, quiet: bool = False) -> None:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        self.total, self.what, self.quiet = total, what, quiet
        self.last = time.monotonic()
        self.bar = Progress(
            TextColumn(what),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console(sys.stderr),
            disable=quiet or not sys.stderr.isatty(),
        )
        self.task = self.bar.add_task(what, total=total)

    def __enter__(self) -> Meter:
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def __call__(self, done: float) -> None:
        """Reports that `done` things are done, which may be a fraction."""
        self.bar.update(self.task, completed=done)
        now = time.monotonic()
        if self.bar.disable and not self.quiet and now - self.last > _LINE_SECONDS:
            self.last = now
            tell(f"{self.what}: {done:.1f} of {self.total}")
