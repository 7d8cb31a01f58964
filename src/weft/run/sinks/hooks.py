"""Functions of a program that follow a run: one for logged steps, one for evaluations."""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Callable, Mapping

from weft.config.place import told
from weft.run.directory import RunDirectory
from weft.task.metric import SPLITS, by_split

OnStep = Callable[[int, Mapping[str, float]], object]
OnEvaluate = Callable[[int, Mapping[str, float]], bool | None]


class Hooks:
    """Calls `on_step(step, values)` for each logged row and `on_evaluate(step, metrics)` for each
    evaluation; if `on_evaluate` returns True, the run ends there.

    A function that raises is not called again: a warning and a note in log.txt say so, and the run
    goes on.
    """

    def __init__(
        self, on_step: OnStep | None = None, on_evaluate: OnEvaluate | None = None
    ) -> None:
        self.on_step, self.on_evaluate = on_step, on_evaluate
        self.wished = False

    def on_row(self, step: int, values: Mapping[str, float]) -> None:
        """Passes the row on."""
        try:
            self._pass_on(step, values)
        except Exception as error:
            # Its author may show no progress, and look for nothing in log.txt.
            warnings.warn(
                f"a function that follows the run raised {told(error)}   ({_where(error)}); it is "
                "not called again, and the run goes on",
                stacklevel=2,
            )
            raise

    def _pass_on(self, step: int, values: Mapping[str, float]) -> None:
        if any(by_split(name)[0] in SPLITS[1:] for name in values):
            if self.on_evaluate is not None:
                self.wished = bool(self.on_evaluate(step, values))
        elif self.on_step is not None:
            self.on_step(step, values)

    def enough(self) -> bool:
        """Whether `on_evaluate` returned True for the last evaluation."""
        return self.wished

    def on_end(self, directory: RunDirectory, state: str) -> None:
        """Has nothing to close."""


def _where(error: Exception) -> str:
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{last.filename}:{last.lineno}"
