"""Which cases of a benchmark are taken."""

from __future__ import annotations

import pytest

from weft.families.cet import FAMILY
from weft.run import timing
from weft.task.bench import Case, Form


def _cases(full: bool) -> list[Case]:
    def form() -> Form:
        return Form(lambda: None, windows=3, steps_per_window=1)

    return [
        Case("short-1", {"only": form}, ()),
        Case("short-2", {"only": form}, ()),
        Case("long", {"only": form}, (), full=True),
    ]


@pytest.mark.parametrize(
    ("full", "pattern", "taken"),
    [
        (False, None, ["short-1", "short-2"]),
        (True, None, ["short-1", "short-2", "long"]),
        (False, "long", ["long"]),
        (True, "short-*", ["short-1", "short-2"]),
    ],
)
def test_slow_cases_wait_for_full_or_for_their_name(
    full: bool, pattern: str | None, taken: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "resolve", lambda path, what: _cases)
    told = timing.timed(FAMILY.name, full, pattern, lambda form: None)
    assert [row["case"] for row in told["cases"]] == taken
