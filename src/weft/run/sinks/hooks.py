"""Functions of a program that follow a run: one for logged steps, one for evaluations."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from weft.run.directory import RunDirectory
from weft.task.metric import SPLITS

OnStep = Callable[[int, Mapping[str, float]], object]
OnEvaluate = Callable[[int, Mapping[str, float]], bool | None]


class Hooks:
    """Calls `on_step(step, values)` for each logged row and `on_evaluate(step, metrics)` for each
    evaluation; if `on_evaluate` returns True, the run ends there.

    After a function has raised it is not called again: a note in log.txt says so, and the run goes
    on.
    """

    def __init__(
        self, on_step: OnStep | None = None, on_evaluate: OnEvaluate | None = None
    ) -> None:
        self.on_step, self.on_evaluate = on_step, on_evaluate
        self.wished = False

    def on_row(self, step: int, values: Mapping[str, float]) -> None:
        """Passes the row on."""
        if any(name.partition("/")[0] in SPLITS[1:] for name in values):
            if self.on_evaluate is not None:
                self.wished = bool(self.on_evaluate(step, values))
        elif self.on_step is not None:
            self.on_step(step, values)

    def enough(self) -> bool:
        """Whether `on_evaluate` returned True for the last evaluation."""
        return self.wished

    def on_end(self, directory: RunDirectory, state: str) -> None:
        """Has nothing to close."""
