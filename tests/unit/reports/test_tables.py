"""Tables keep their numbers exact in JSON and show as many digits as the errors warrant."""

from __future__ import annotations

import io
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.reports.tables import (
    Cell,
    Column,
    Mean,
    Table,
    format_column,
    format_number,
    format_seconds,
    is_numeric,
    mean_of,
    pivot,
    rich_table,
    text_rows,
)
from weft.reports.written import as_json, markdown
from weft.task.metric import Metric

VALUE = Column("v")


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=9))
def test_mean_and_standard_error_equal_numpy(values: list[float]) -> None:
    mean = mean_of(values)
    assert mean.error is not None
    assert math.isclose(mean.value, np.mean(values), rel_tol=1e-9, abs_tol=1e-9)
    expected = np.std(values, ddof=1) / np.sqrt(len(values))
    assert math.isclose(mean.error, expected, rel_tol=1e-9, abs_tol=1e-9)


def test_one_run_has_no_standard_error() -> None:
    assert mean_of([0.5]) == Mean(0.5, None, 1)


def test_a_nan_is_not_averaged_away() -> None:
    mean = mean_of([1.0, math.nan])
    assert math.isnan(mean.value) and mean.error is not None and math.isnan(mean.error)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (8460, "8,460"),
        (8460.0, "8,460"),
        (0, "0"),
        (0.0, "0.0"),
        (1.0, "1.0"),
        (None, "—"),
        (0.97421, "0.9742"),
        (0.99996, "1.000"),
        (0.9, "0.9000"),
        (12.3456, "12.35"),
        (1234.56, "1,235"),
        (0.00012345, "0.0001234"),
        (3.2e-7, "3.200e-07"),
        (2.5e9, "2.500e+09"),
        (math.nan, "—"),
        (-math.inf, "-inf"),
    ],
)
def test_numbers_show_four_digits_and_none_is_a_dash(value: float | None, text: str) -> None:
    assert format_number(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.123, "0.1 s"),
        (9.96, "10.0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (161.2, "2 min 41 s"),
        (3599.6, "1 h 0 min"),
        (90000, "1 d 1 h"),
        (math.nan, "—"),
    ],
)
def test_durations_show_two_units(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


@pytest.mark.parametrize(
    ("cells", "texts"),
    [
        ([Mean(0.98123, 0.0034, 3), Mean(0.9, 0.002, 3)], ["0.981 ± 0.003", "0.900 ± 0.002"]),
        ([Mean(0.98123, 0.0013, 3)], ["0.9812 ± 0.0013"]),
        ([Mean(493.21, 3.2, 3), None], ["493 ± 3", "—"]),
        ([Mean(12345.6, 120.0, 3)], ["12,346 ± 120"]),
        ([Mean(0.98123, 1e-9, 3)], ["0.9812 ± 0.0000"]),
        ([Mean(0.5, 0.02, 2), Mean(0.6, 0.003, 2)], ["0.500 ± 0.020", "0.600 ± 0.003"]),
        ([Mean(0.98123, None, 1), Mean(0.5, None, 1)], ["0.9812", "0.5000"]),
        ([Mean(0.5, 0.0, 2)], ["0.5000 ± 0.0000"]),
        ([Mean(math.nan, math.nan, 2), Mean(0.5, 0.1, 2)], ["—", "0.50 ± 0.10"]),
        ([math.nan, 0.0], ["—", "0.0"]),
        ([1e-3, 12.0], ["0.001000", "12"]),
        ([3, 8460], ["3", "8,460"]),
    ],
)
def test_a_column_shows_the_digits_its_errors_warrant(cells: list[Cell], texts: list[str]) -> None:
    assert format_column(cells, VALUE) == texts


def test_settings_are_shown_as_they_are() -> None:
    axis = Column("x", role="axis")
    assert format_column([1000, 0.5, True, "no", [1, 2]], axis) == [
        "1000", "0.5", "true", "no", "[1, 2]",
    ]  # fmt: skip


TABLE = Table(
    columns=(
        Column("delay", role="axis"),
        Column("order", role="axis"),
        Column("acc", title="accuracy"),
        Column("time", unit="s"),
        Column("state", role="status"),
    ),
    rows=(
        {"delay": 20, "order": 1, "acc": Mean(0.5, 0.01, 3), "time": 61.0, "state": "finished"},
        {"delay": 20, "order": 10, "acc": Mean(math.nan, math.nan, 2), "state": "a|b"},
        {"delay": 50, "order": 10, "acc": None, "state": "[red]x"},
    ),
    title="Title",
    note="Note",
)


def test_markdown_is_a_table_with_escaped_bars() -> None:
    assert markdown(TABLE) == (
        "**Title**\n"
        "\n"
        "| delay | order |      accuracy |      time | state    |\n"
        "| ----: | ----: | ------------: | --------: | -------- |\n"
        "|    20 |     1 | 0.500 ± 0.010 | 1 min 1 s | finished |\n"
        "|    20 |    10 |             — |         — | a\\|b     |\n"
        "|    50 |    10 |             — |         — | [red]x   |\n"
        "\n"
        "*Note*\n"
    )


def test_json_is_valid_and_exact() -> None:
    plain = json.loads(json.dumps(as_json(TABLE), allow_nan=False))
    assert plain["columns"][2] == {
        "key": "acc", "title": "accuracy", "role": "value", "unit": "", "better": None,
    }  # fmt: skip
    assert [row["acc"] for row in plain["rows"]] == [
        {"mean": 0.5, "se": 0.01, "n": 3},
        {"mean": None, "se": None, "n": 2},
        None,
    ]
    assert plain["rows"][1]["time"] is None


def test_the_terminal_shows_cells_as_text_not_as_markup() -> None:
    from rich.console import Console

    console = Console(file=io.StringIO(), width=100, color_system="truecolor", force_terminal=True)
    console.print(rich_table(TABLE))
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert "[red]x" in shown
    assert "0.500 ± 0.010" in shown
    assert "\x1b[32mfinished" in shown


def test_a_pivot_has_the_second_axis_across() -> None:
    square = pivot(TABLE, "acc")
    assert [column.heading for column in square.columns] == ["delay", "order 1", "order 10"]
    assert text_rows(square) == [["20", "0.500 ± 0.010", "—"], ["50", "—", "—"]]


def test_the_columns_of_a_pivot_show_the_same_decimals() -> None:
    rows = [
        {"delay": 20, "order": 1, "acc": Mean(0.5, 0.02, 3)},
        {"delay": 20, "order": 2, "acc": Mean(0.5, 0.003, 3)},
    ]
    square = pivot(Table(TABLE.columns, tuple(rows)), "acc")
    assert text_rows(square) == [["20", "0.500 ± 0.020", "0.500 ± 0.003"]]


def test_alignment_follows_the_cells() -> None:
    numeric = [is_numeric(TABLE, column) for column in TABLE.columns]
    assert numeric == [True, True, True, True, False]
    assert not is_numeric(Table((VALUE,), ({"v": True},)), VALUE)
    assert not is_numeric(Table((VALUE,), ({"v": None},)), VALUE)


def test_an_empty_table_has_its_headings() -> None:
    empty = Table((VALUE,), ())
    assert text_rows(empty) == []
    assert markdown(empty).startswith("| v   |")


def test_units_stand_in_the_heading_except_durations() -> None:
    assert Column("peak", unit="MiB").heading == "peak (MiB)"
    assert Column("time", unit="s").heading == "time"


LOSS, ACCURACY = Metric("loss", "lower", "nats"), Metric("acc*", "higher")
MEASURED = Table(
    (
        Column("x", role="axis"),
        Column.of("test/loss", [LOSS, ACCURACY]),
        Column.of("accuracy", [LOSS, ACCURACY]),
        Column.of("speed", [LOSS, ACCURACY]),
    ),
    tuple(
        {"x": x, "test/loss": Mean(loss, None, 1), "accuracy": accuracy, "speed": 5.0 + x}
        for x, loss, accuracy in [(1, math.nan, 0.0), (2, 0.5, 0.7), (3, 0.25, 0.7)]
    ),
)


def test_headings_say_unit_and_direction_of_declared_metrics() -> None:
    headings = [column.heading for column in MEASURED.columns]
    assert headings == ["x", "test/loss (nats) ↓", "accuracy ↑", "speed"]
    directions = [column["better"] for column in as_json(MEASURED)["columns"]]
    assert directions == [None, "lower", "higher", None]


def test_the_best_is_by_direction_the_first_of_equals_and_never_nan() -> None:
    assert MEASURED.best() == {(2, "test/loss"), (1, "accuracy")}
    assert MEASURED.legend == "↓ lower is better; ↑ higher is better; bold: the best"
    assert Table(MEASURED.columns, MEASURED.rows[:1]).best() == set()
    assert TABLE.legend == ""


def test_a_square_has_one_best_number_and_says_its_metric_above() -> None:
    rows = [
        {"delay": delay, "order": order, "loss": Mean(value, None, 1)}
        for delay, order, value in [(1, 1, 0.4), (1, 2, 0.2), (2, 1, 0.3), (2, 2, math.nan)]
    ]
    axes = Column("delay", role="axis"), Column("order", role="axis")
    square = pivot(Table((*axes, Column.of("loss", [LOSS])), tuple(rows)), "loss")
    assert square.title == "loss (nats) ↓"
    assert [column.heading for column in square.columns] == ["delay", "order 1", "order 2"]
    assert square.best() == {(0, "order=2")}
    assert "| **0.2000** |" in markdown(square)


def test_a_table_without_rows_says_its_caption_in_whole_lines() -> None:
    from rich.console import Console

    console = Console(file=io.StringIO(), width=80)
    console.print(rich_table(Table((Column("key"),), (), title="Config", note="they are alike")))
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue() == "Config\nthey are alike\n"
