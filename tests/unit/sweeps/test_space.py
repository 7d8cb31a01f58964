"""The words of a sweep mean what they say, and every slip is named."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.errors import ConfigError, UsageError
from weft.sweeps.space import LIMIT, Space, parse


def axis(text: str) -> tuple[str, ...]:
    return parse([f"x={text}"]).axes["x"]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1,3,5", ("1", "3", "5")),
        ("[1,3,5]", ("1", "3", "5")),
        (" 1 , 3 ", ("1", "3")),
        ("0..3", ("0", "1", "2", "3")),
        ("-1..1", ("-1", "0", "1")),
        ("0..2,7", ("0", "1", "2", "7")),
        ("1e-3,no,12:30", ("1e-3", "no", "12:30")),
        ("true,1", ("true", "1")),
        ("[[1,2],[3,4]]", ("[1,2]", "[3,4]")),
        ("[1,2],[3,4]", ("[1,2]", "[3,4]")),
        ("[[],[1]]", ("[]", "[1]")),
        ("{kind: sgd, lr: 1},{kind: adam}", ("{kind: sgd, lr: 1}", "{kind: adam}")),
        ("'a,b',\"0..3\"", ("'a,b'", '"0..3"')),
        ("it's,that's", ("it's", "that's")),
        ("log:1e-4:1e-2", ("1e-4", "0.0003162", "0.001", "0.003162", "1e-2")),
        ("log:1:100:3", ("1", "10", "100")),
        ("log:100:1:3", ("100", "10", "1")),
        ("lin:0:1:3", ("0", "0.5", "1")),
        ("lin:0:0.3:4", ("0", "0.1", "0.2", "0.3")),
        ("lin:1000:5000", ("1000", "2000", "3000", "4000", "5000")),
    ],
)
def test_values_are_read_as_written(text: str, values: tuple[str, ...]) -> None:
    assert axis(text) == values


@pytest.mark.parametrize(
    ("word", "kept"),
    [
        ("steps=200", "steps=200"),
        ("x=[5]", "x=5"),
        ("x=[[1,2]]", "x=[1,2]"),
        ("x='1,2'", "x='1,2'"),
        ("x=", "x="),
        ("x={a: 1, b: [2,3]}", "x={a: 1, b: [2,3]}"),
        ("data.root=../somewhere", "data.root=../somewhere"),
    ],
)
def test_a_single_value_stays_a_fixed_override(word: str, kept: str) -> None:
    assert parse([word]) == Space((kept,), {})


def test_recipes_and_files_are_passed_on_in_place(tmp_path) -> None:
    file = tmp_path / "a=1,2.yaml"
    file.touch()
    space = parse(["cet/mnist", str(file), "delay=1,3", "steps=9"])
    assert space.fixed == ["cet/mnist", str(file), "steps=9"]
    assert list(space.axes) == ["delay"]


@given(st.floats(1e-6, 1e3), st.floats(1.5, 1e4), st.integers(3, 12))
def test_log_spacing_has_equal_ratios_to_four_digits(low: float, factor: float, n: int) -> None:
    values = [float(value) for value in axis(f"log:{low!r}:{low * factor!r}:{n}")]
    ratios = [b / a for a, b in pairwise(values)]
    assert len(values) == n
    assert all(math.isclose(r, factor ** (1 / (n - 1)), rel_tol=1.1e-3) for r in ratios)


@given(st.lists(st.integers(-50, 50), min_size=2, max_size=8, unique=True))
def test_with_and_without_brackets_is_the_same(values: list[int]) -> None:
    text = ",".join(map(str, values))
    assert axis(text) == axis(f"[{text}]") == tuple(map(str, values))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("1,,2", "missing beside a comma"),
        ("1,2,", "missing beside a comma"),
        ("[1,2", "`]` is missing"),
        ("1,2]", "closes nothing"),
        ("'a,b", "`'` is missing"),
        ("[]", "no values"),
        ("3..1", "runs backwards"),
        (f"0..{LIMIT}", "10,001 values"),
        ("log:0:1", "positive ends"),
        ("log:1:x", "cannot read"),
        ("lin:0:1:1", "cannot read"),
        ("lin:0:1:5:6", "cannot read"),
        ("lin:0:inf", "cannot read"),
        ("lin:0", "cannot read"),
        ("1,1.0", "listed twice"),
        ("1e-3,0.001", "listed twice"),
        ("a,b,a", "listed twice"),
    ],
)
def test_a_slip_is_named(text: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse([f"x={text}"])
    assert says in str(caught.value)
    assert caught.value.exit_code == 2


def test_all_slips_are_reported_at_once_with_their_place() -> None:
    with pytest.raises(ConfigError) as caught:
        parse(["cet/mnist", "a=1,,2", "b=3", "c=5..4", "b=1,2", "run.dir=x", "run.name=1,2"])
    assert [problem.where.partition(":")[0] for problem in caught.value.problems] == [
        f"command line, override {number}" for number in (1, 3, 4, 5, 6)
    ]


def test_a_grid_beyond_reason_is_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        parse(["a=0..199", "b=0..199"])
    assert "200 x 200 = 40,000 points" in str(caught.value)
