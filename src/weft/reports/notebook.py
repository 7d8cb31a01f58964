"""Runs in a notebook: a list that shows itself as a table and becomes a pandas frame."""

from __future__ import annotations

from typing import TYPE_CHECKING, SupportsIndex, overload

from weft.errors import MissingExtra
from weft.reports.query import facts, tabulated
from weft.run.registry import Run

if TYPE_CHECKING:
    import pandas


class Runs(list[Run]):
    """Runs, oldest first."""

    @overload
    def __getitem__(self, place: SupportsIndex) -> Run: ...
    @overload
    def __getitem__(self, place: slice) -> Runs: ...
    def __getitem__(self, place: SupportsIndex | slice) -> Run | Runs:
        """One of them, or some, which are shown as all are."""
        found = super().__getitem__(place)
        return Runs(found) if isinstance(found, list) else found

    def frame(self) -> pandas.DataFrame:
        """The runs as a pandas frame: a row a run with what it is, its dotted config, its metrics.

        Raises:
            MissingExtra: if pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise MissingExtra("pandas", "frames", "a frame of runs") from error
        return pandas.DataFrame([facts(run) for run in self])

    def _repr_html_(self) -> str:
        if not self:
            return "<p>no runs</p>"
        names = list(dict.fromkeys(name for run in self for name in run.metrics))
        return tabulated(self, ["run", "state", "step", "seconds", *names])._repr_html_()
