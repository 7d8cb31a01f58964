"""Shows a run while it trains: a progress bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Mapping

from weft.terminal import console, tell

_LINE_SECONDS = 10.0
"""Seconds between two lines of `Lines`, where nothing is evaluated."""

_BAR_COLUMNS = 90
"""Characters of a progress bar's line before the numbers: name, bar, steps, rate, time left."""


class Silent:
    """Shows nothing."""

    def row(self, step: int, values: Mapping[str, float]) -> None:
        """Ignores the row."""

    def say(self, text: str) -> None:
        """Ignores the text."""

    def close(self) -> None:
        """Has nothing to close."""


class Lines:
    """One line at each evaluation, and every ten seconds in between, on standard error."""

    def __init__(self, start: int, total: int) -> None:
        self.start, self.total, self.began = start, total, time.monotonic()
        self.last = 0.0

    def row(self, step: int, values: Mapping[str, float]) -> None:
        """Prints the row if it is an evaluation or the last, or ten seconds have passed."""
        evaluated = any(name.startswith(("val/", "test/")) for name in values)
        if not evaluated and time.monotonic() - self.last < _LINE_SECONDS and step < self.total:
            return
        self.last = time.monotonic()
        left = (self.last - self.began) / max(1, step - self.start) * (self.total - step)
        begin, end = f"step {step}/{self.total}  ", f"  {clock(left)} left"
        tell(f"{begin}{summary(values, columns() - len(begin) - len(end))}{end}")

    def say(self, text: str) -> None:
        """Prints the text."""
        tell(text)

    def close(self) -> None:
        """Has nothing to close."""


class Bar:
    """A rich progress bar with loss, rate and time left, on standard error."""

    def __init__(self, start: int, total: int, title: str) -> None:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        self.progress = Progress(
            TextColumn("{task.description}", style="bold", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[shown]}"),
            console=console(sys.stderr),
        )
        self.task = self.progress.add_task(title, total=total, completed=start, shown="", rate="")
        self.shown: dict[str, float] = {}
        self.progress.start()

    def row(self, step: int, values: Mapping[str, float]) -> None:
        """Moves the bar; the latest loss and metrics stand beside it."""
        self.shown.update(_headline(values))
        rate = values.get("time/step_ms")
        if rate:
            self.progress.update(self.task, rate=f"{1e3 / rate:,.0f} steps/s")
        shown = summary(self.shown, columns() - _BAR_COLUMNS)
        self.progress.update(self.task, completed=step, shown=shown)

    def say(self, text: str) -> None:
        """Prints the text above the bar."""
        self.progress.console.print(text)

    def close(self) -> None:
        """Leaves the bar as it stands."""
        self.progress.stop()


def display(start: int, total: int, title: str) -> Bar | Lines:
    """A bar on a terminal, lines elsewhere."""
    return Bar(start, total, title) if sys.stderr.isatty() else Lines(start, total)


def columns() -> int:
    """Width of the terminal in characters; 120 if there is none."""
    return shutil.get_terminal_size((120, 24)).columns


def summary(values: Mapping[str, float], room: int) -> str:
    """Loss and held-out metrics in one line of at most `room` characters.

    Each has its standard error beside it, if there is one; those that do not fit are counted. The
    first one is always shown.
    """
    shown = _headline(values)
    parts = [
        f"{name} {value:.4g}"
        + (f" ± {shown[error]:.1g}" if (error := f"{name}_se") in shown else "")
        for name, value in shown.items()
        if name.removesuffix("_se") not in shown.keys() - {name}
    ]
    for count in range(len(parts), 1, -1):
        more = f"  +{len(parts) - count} more" if count < len(parts) else ""
        line = "  ".join(parts[:count]) + more
        if len(line) <= room:
            return line
    return "  ".join(parts[:1])


def clock(seconds: float) -> str:
    """A duration as h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def _headline(values: Mapping[str, float]) -> dict[str, float]:
    wanted = ("train/loss", "train/accuracy", "val/", "test/")
    return {name: value for name, value in values.items() if name.startswith(wanted)}
