"""Runs are found, ordered and tabulated by what they are."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from tests.unit.reports.runs import run
from weft.errors import UsageError
from weft.reports.query import facts, ordered, select, tabulated

RUNS = [
    run(Path("a"), metrics={"test/accuracy": 0.9, "test/loss": 0.3}, delay=20, order=1),
    run(Path("b"), metrics={"test/accuracy": 0.95}, delay=50, run={"tags": ["night", "x"]}),
    run(Path("c"), metrics={"test/accuracy": None}, delay=50, run={"note": "a long one"}),
    run(Path("d"), status={"state": "failed", "metrics": {}}, family="jepa", optim={"lr": 0.5}),
]


def _names(text: str) -> str:
    return "".join(found.name for found in select(RUNS, text))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("test/accuracy>.9", "b"),
        ("test/accuracy>=.9 and delay=20", "a"),
        ("delay=50", "bc"),
        ("not delay=50", "ad"),
        ("delay=20 or tags~NIGHT", "abd"),
        ("(delay=20 or delay=50) and state=finished", "abc"),
        ("delay=20 or delay=50 and state=failed", "ad"),
        ("state!=finished", "d"),
        ("optim.lr=0.5", "d"),
        ("optim.lr<1e-2", "abc"),
        ("note~'long one'", "c"),
        ('name="b"', "b"),
        ("sparse_inputs=true", "abcd"),
        ("sparse_inputs=1", ""),
        ("data.root=null", "abcd"),
        ("started>=2026-11-20", "abcd"),
        ("test/accuracy<=1", "ab"),
    ],
)
def test_conditions_choose(text: str, names: str) -> None:
    assert _names(text) == names


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "ends too early"),
        ("delay", "ends too early"),
        ("delay = 20 20", "`20` comes too much"),
        ("(delay=20", "`\\)` is missing"),
        ("delay and 20", "compares nothing"),
        ("delay=20 !", "no meaning"),
    ],
)
def test_what_is_no_condition_is_said(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        select(RUNS, text)


def test_a_name_that_no_run_has_is_refused_with_one_that_some_have() -> None:
    with pytest.raises(UsageError) as told:
        select(RUNS, "test/acuracy>.9")
    assert "test/accuracy" in told.value.hint
    assert select([], "anything=1") == []


def test_runs_without_a_number_come_last_in_either_order() -> None:
    assert [r.name for r in ordered(RUNS, "test/accuracy")] == ["a", "b", "c", "d"]
    assert [r.name for r in ordered(RUNS, "-test/accuracy")] == ["b", "a", "c", "d"]


def test_a_table_shows_what_is_asked_for() -> None:
    table = tabulated(RUNS, ["name", "delay", "test/accuracy", "tags"])
    assert table.column("name") == ["a", "b", "c", "d"]
    assert table.column("tags")[1] == ["night", "x"]
    assert table.columns[2].metric is not None
    assert (0, "test/accuracy") not in table.best()
    assert (1, "test/accuracy") in table.best()


def test_a_metric_that_ended_in_no_number_is_known_as_nan() -> None:
    assert math.isnan(facts(RUNS[2])["test/accuracy"])
