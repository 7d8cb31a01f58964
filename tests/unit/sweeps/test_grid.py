"""A grid names its points, continues where it stopped, and sums up what is finished."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import yaml

from weft.config.yaml import read_value
from weft.errors import RunError
from weft.reports.tables import Mean
from weft.run.registry import Run
from weft.sweeps.grid import Point, open_plan, outstanding, points, summarise, table_of
from weft.sweeps.space import parse

WORDS = ["cet/mnist", "delay=20,50", "steps=9", "order=1,10", "seed=0..1"]


def run_of(point: Point, state: str = "finished", **metrics: float | None) -> Run:
    status = {
        "state": state,
        "metrics": {k.replace("__", "/"): v for k, v in metrics.items()},
        "declared": [
            {"name": name, "better": "lower", "unit": "nats", "about": ""}
            for name in ("loss", "step_*", "part_*")
        ],
    }
    return Run(Path("sweep") / point.name, {"family": "cet"}, {}, status, {})


def test_points_are_the_product_with_the_seed_slowest() -> None:
    made = points(parse(WORDS))
    assert [point.name for point in made[:5]] == [
        "delay=20,order=1,seed=0",
        "delay=20,order=10,seed=0",
        "delay=50,order=1,seed=0",
        "delay=50,order=10,seed=0",
        "delay=20,order=1,seed=1",
    ]
    assert len({point.name for point in made}) == 8
    assert made[1].values == {"delay": "20", "order": "10", "seed": "0"}


def test_overrides_keep_the_order_in_which_they_were_typed() -> None:
    point = points(parse(WORDS), Path("runs/s"))[1]
    assert point.overrides == (
        "cet/mnist", "delay=20", "steps=9", "order=10", "seed=0",
        "run.dir=runs/s/delay=20,order=10,seed=0",
    )  # fmt: skip


def test_a_sweep_without_axes_has_one_point() -> None:
    (point,) = points(parse(["cet/mnist", "steps=9"]))
    assert point.overrides == ("cet/mnist", "steps=9")
    assert point.name


@pytest.mark.parametrize(
    ("word", "names"),
    [
        ("x=[[1,2],[3,4]]", ["x=1,2", "x=3,4"]),
        ("x=-1,1", ["x=-1", "x=1"]),
        ("x=a/b,c/d", ["x=a-b", "x=c-d"]),
        ("x=a/b,a-b", ["x=a-b~1", "x=a-b~2"]),
        ("x=A,a", ["x=A~1", "x=a~2"]),
        ("x='','..'", ["x=~1", "x=.."]),
    ],
)
def test_names_are_safe_and_tell_points_apart(word: str, names: list[str]) -> None:
    assert [point.name for point in points(parse([word]))] == names


def test_long_values_do_not_make_long_names() -> None:
    word = f"x={'a' * 90}1,{'a' * 90}2"
    assert [p.name for p in points(parse([word]))] == [f"x={'a' * 40}~1", f"x={'a' * 40}~2"]
    many = [f"{'k' * 30}{n}={'v' * 30},w" for n in range(4)]
    names = [p.name for p in points(parse(many))]
    assert max(map(len, names)) <= 200
    assert len(set(names)) == 16


def test_a_repeated_command_continues_the_plan(tmp_path: Path) -> None:
    first = open_plan(tmp_path / "s", parse(WORDS))
    shuffled = [WORDS[0], *reversed(WORDS[1:])]
    assert open_plan(tmp_path / "s", parse(shuffled)) == first
    assert [path.name for path in (tmp_path / "s").iterdir()] == ["sweep.yaml"]


def test_a_plan_keeps_values_that_yaml_would_change(tmp_path: Path) -> None:
    space = parse(["x=1e-3,no,'1',12:30,0x1F,[1,2]", "y={a: 1}"])
    assert open_plan(tmp_path, space) == open_plan(tmp_path, space)
    written = yaml.safe_load((tmp_path / "sweep.yaml").read_text())
    assert written["axes"] == {"x": ["1e-3", "no", "'1'", "12:30", "0x1F", "[1,2]"]}


def test_a_sweep_grows_by_values_and_keeps_the_names_of_its_points(tmp_path: Path) -> None:
    before = open_plan(tmp_path, parse(WORDS))
    grown = open_plan(tmp_path, parse([*WORDS[:4], "seed=0..2"]))
    assert len(grown) == 12 and {p.name for p in before} < {p.name for p in grown}
    # What it was before is another sweep now.
    with pytest.raises(RunError):
        open_plan(tmp_path, parse(WORDS))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([*WORDS[:4], "seed=1..2"], "`seed`: planned 0,1, asked for 1,2"),
        ([*WORDS[:4]], "`seed`: planned 0,1, asked for no values"),
        ([*WORDS, "optim.lr=1"], "planned without `optim.lr=1`"),
        (["cet/digits", *WORDS[1:]], "planned with `cet/mnist`"),
        ([*WORDS[:2], "steps=8", *WORDS[3:]], "planned with `steps=9`, which is missing now"),
    ],
)
def test_another_plan_in_the_same_directory_is_refused(
    tmp_path: Path, words: list[str], says: str
) -> None:
    open_plan(tmp_path, parse(WORDS))
    with pytest.raises(RunError) as caught:
        open_plan(tmp_path, parse(words))
    assert says in str(caught.value)
    assert len(open_plan(tmp_path, parse(WORDS))) == 8


def test_files_merged_in_another_order_make_another_plan(tmp_path: Path) -> None:
    open_plan(tmp_path, parse(["a.yaml", "b.yaml", "x=1,2"]))
    with pytest.raises(RunError, match="another sweep") as caught:
        open_plan(tmp_path, parse(["b.yaml", "a.yaml", "x=1,2"]))
    assert "a.yaml b.yaml" in str(caught.value)


def test_an_edited_recipe_file_makes_another_plan(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("family: cet\n")
    space = parse([str(recipe), "x=1,2"])
    open_plan(tmp_path / "s", space)
    recipe.write_text("family: cet\nsteps: 3\n")
    with pytest.raises(RunError) as caught:
        open_plan(tmp_path / "s", space)
    assert "was edited" in str(caught.value)


def test_a_directory_in_use_by_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(RunError, match="in use"):
        open_plan(tmp_path, parse(WORDS))
    assert not (tmp_path / "sweep.yaml").exists()


def test_a_damaged_plan_is_an_error_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "sweep.yaml").write_text("words: [a]\naxes: 3\nchecksums: {}\n")
    with pytest.raises(RunError, match="damaged"):
        open_plan(tmp_path, parse(WORDS))


def test_only_points_without_a_finished_run_are_outstanding() -> None:
    made = points(parse(["x=0..4"]))
    states = ["finished", "interrupted", "failed", "running"]
    runs = [run_of(point, state) for point, state in zip(made[:4], states, strict=True)]
    assert outstanding(made, runs) == made[1:]


def test_summary_is_mean_and_standard_error_over_seeds() -> None:
    made = points(parse(["lr=1e-3,[1,2]", "seed=0..3"]))
    accuracy = {point.name: 0.9 + 0.01 * number**1.5 for number, point in enumerate(made)}
    runs = [run_of(p, test__accuracy=accuracy[p.name], val__loss=1.0) for p in made]
    table = summarise(made, runs)
    assert [column.key for column in table.columns] == ["lr", "n", "test/accuracy"]
    for row, text in zip(table.rows, ["1e-3", "[1,2]"], strict=True):
        mine = [accuracy[p.name] for p in made if p.values["lr"] == text]
        cell = row["test/accuracy"]
        assert row["lr"] == read_value(text, "") and row["n"] == 4
        assert isinstance(cell, Mean) and cell.error is not None
        assert cell.value == pytest.approx(np.mean(mine), rel=1e-10)
        assert cell.error == pytest.approx(np.std(mine, ddof=1) / 2, rel=1e-10)


def test_summary_counts_finished_runs_only_and_says_so() -> None:
    made = points(parse(["x=1,2", "seed=0..1"]))
    runs = [run_of(made[0], test__loss=1.0), run_of(made[2], "interrupted", test__loss=9.0)]
    table = summarise(made, runs)
    assert table.rows == (
        {"x": 1, "n": 1, "test/loss": Mean(1.0, None, 1)},
        {"x": 2, "n": 0, "test/loss": None},
    )
    assert "3 of 4 runs are not finished" in table.note


def test_a_metric_that_is_no_number_is_not_hidden() -> None:
    made = points(parse(["seed=0..1"]))
    runs = [run_of(made[0], test__loss=1.0), run_of(made[1], test__loss=None)]
    (row,) = summarise(made, runs).rows
    cell = row["test/loss"]
    assert isinstance(cell, Mean) and math.isnan(cell.value) and cell.n == 2


def test_metrics_can_be_chosen() -> None:
    made = points(parse(["x=1,2"]))
    runs = [run_of(made[0], test__loss=1.0, val__loss=2.0)]
    assert summarise(made, runs, ["val/loss"]).rows[0]["val/loss"] == Mean(2.0, None, 1)


def test_of_a_metric_with_a_number_for_each_step_the_ends_are_shown() -> None:
    made = points(parse(["x=1,2"]))
    steps = {f"test__step_{t}": float(t) for t in (0, 16, 1, 2, 8, 4)}
    parts = {f"test__part_{k}": float(k) for k in (1, 2, 3)}
    parts |= {f"test__part_size_{k}": k for k in (0.7, 1.5)}  # These are no steps.
    columns = summarise(made, [run_of(made[0], **steps, **parts)]).columns
    assert [column.key for column in columns] == [
        "x", "n", "test/step_0", "test/step_16", "test/part_1", "test/part_2", "test/part_3",
        "test/part_size_0.7", "test/part_size_1.5",
    ]  # fmt: skip
    assert "test/step_4" in [
        column.key
        for column in summarise(made, [run_of(made[0], **steps)], ["test/step_4"]).columns
    ]


def test_columns_know_unit_and_direction_from_what_the_runs_declare() -> None:
    made = points(parse(["x=1,2"]))
    table = summarise(made, [run_of(made[0], test__loss=1.0, test__other=2.0)])
    assert [column.heading for column in table.columns] == [
        "x", "n", "test/loss (nats) ↓", "test/other",
    ]  # fmt: skip


def test_a_metric_asked_for_stands_beside_the_others(tmp_path: Path) -> None:
    (point,) = open_plan(tmp_path, parse(["x=1"]))
    table = table_of(tmp_path, [run_of(point, test__loss=1.0, val__loss=2.0)], "val/loss")
    assert table is not None
    assert table.rows == (
        {"n": 1, "test/loss": Mean(1.0, None, 1), "val/loss": Mean(2.0, None, 1)},
    )
