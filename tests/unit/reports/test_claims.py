"""A claim is compared with the runs that match it, and with no others."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from tests.unit.reports.runs import run
from weft.config.family import Family
from weft.errors import ConfigError
from weft.reports.claims import Claim, compare, load_claims, matched
from weft.reports.tables import Column, Mean, format_column, tone_of
from weft.reports.written import as_json
from weft.run.registry import Run

CLAIM = Claim(
    id="mnist-20-10",
    where="Table 1",
    metric="test/accuracy",
    config={"family": "cet", "delay": 20, "order": 10, "data.dataset": "mnist"},
    published=0.98,
)


def accuracy(value: float | None, seed: int = 0, **options):
    return run(metrics={"test/accuracy": value}, seed=seed, **options)


def only_row(*runs):
    (row,) = compare([CLAIM], runs).rows
    return row


@pytest.mark.parametrize(
    ("ours", "verdict"),
    [
        (0.98, "met"),
        (0.975, "met"),
        (0.985, "met"),
        (0.9749, "worse"),
        (0.9851, "better"),
        (0.5, "worse"),
    ],
)
def test_met_means_that_ours_rounds_to_the_published_number(ours: float, verdict: str) -> None:
    assert only_row(accuracy(ours))["verdict"] == verdict


def test_seeds_are_averaged() -> None:
    row = only_row(accuracy(0.97, 0), accuracy(0.98, 1), accuracy(0.99, 2))
    cell = row["ours"]
    assert isinstance(cell, Mean) and cell.error is not None
    assert cell.value == pytest.approx(0.98) and cell.n == 3
    assert cell.error == pytest.approx(0.01 / 3**0.5)
    assert row["seeds"] == 3


@pytest.mark.parametrize(
    "other",
    [
        accuracy(0.1, delay=50),
        accuracy(0.1, data={"dataset": "cifar10"}),
        accuracy(0.1, status={"state": "interrupted"}),
        accuracy(0.1, status={"state": "failed"}),
        run(metrics={"val/accuracy": 0.1}),
    ],
)
def test_runs_that_do_not_match_do_not_count(other) -> None:
    assert only_row(other)["verdict"] == "not run"
    assert only_row(other).get("ours") is None
    assert only_row(other, accuracy(0.98, 1))["ours"] == Mean(0.98, None, 1)


def test_a_run_that_differs_in_what_a_number_depends_on_is_not_comparable() -> None:
    pinned = replace(CLAIM, pins={"hidden_dim": 512, "norm_op": ["batch", "group"]})

    def told(*runs: Run) -> tuple[str, str]:
        table = compare([pinned], runs)
        assert (table.rows[0].get("ours") is None) == (table.rows[0]["verdict"] != "met")
        return str(table.rows[0]["verdict"]), table.note

    usual = {"hidden_dim": 512, "norm_op": "group"}
    assert told(accuracy(0.98, **usual))[0] == "met"
    assert told(accuracy(0.98))[0] == "met"  # a weft that had no such option
    verdict, note = told(accuracy(0.98, **{**usual, "hidden_dim": 64}))
    assert verdict == "not comparable" and "for mnist-20-10 (hidden_dim)" in note
    both = told(accuracy(0.98, **usual), accuracy(0.1, 1, hidden_dim=64, norm_op="none"))
    assert both[0] == "met" and "not comparable" not in both[1]
    assert told(accuracy(0.98, delay=50, hidden_dim=64))[0] == "not run"
    assert tone_of("not comparable") == tone_of("not run")


def test_no_verdict_falls_where_the_paper_leaves_open_what_the_number_depends_on() -> None:
    (row,) = compare([replace(CLAIM, unknown="its scale", note="ours")], [accuracy(0.98)]).rows
    assert (row["ours"], row["verdict"]) == (Mean(0.98, None, 1), "not comparable")
    assert row["note"] == "its scale; ours"


@pytest.mark.parametrize("value", [None, math.nan])
def test_a_run_that_ended_in_nan_is_worse_and_is_not_left_out(value: float | None) -> None:
    for row in (only_row(accuracy(value)), only_row(accuracy(value), accuracy(0.98, 1))):
        assert row["verdict"] == "worse"
        assert format_column([row["ours"]], Column("ours")) == ["—"]


def test_runs_that_do_not_say_which_way_is_better_are_neither() -> None:
    for value, verdict in ((0.5, "below"), (0.99, "above"), (0.98, "met")):
        table = compare([CLAIM], [accuracy(value, status={"declared": []})])
        assert table.rows[0]["verdict"] == verdict
        assert ("do not say which way" in table.note) == (verdict != "met")
    assert tone_of("below") == tone_of("above") == "plain"


def test_true_is_not_one() -> None:
    claim = Claim("a", "", "test/accuracy", {"sparse_inputs": 1}, 0.98)
    assert compare([claim], [accuracy(0.98)]).rows[0]["verdict"] == "not run"


def test_the_longest_runs_are_used_even_if_they_are_worse() -> None:
    short = [accuracy(0.999, seed, steps=100) for seed in range(3)]
    long = accuracy(0.97, steps=8460)
    table = compare([CLAIM], [*short, long])
    assert table.rows[0]["ours"] == Mean(0.97, None, 1)
    assert table.rows[0]["steps"] == 8460
    assert "several lengths or settings match mnist-20-10" in table.note


def test_settings_are_not_mixed_and_the_best_is_not_picked() -> None:
    tuned = accuracy(0.999, optim={"kind": "adam", "lr": 1e-4})
    twice = [accuracy(0.97, 0), accuracy(0.97, 1)]
    assert only_row(tuned, *twice)["ours"] == Mean(0.97, 0.0, 2)


def test_repeats_may_differ_in_what_does_not_change_learning() -> None:
    moved = accuracy(0.99, 1, run={"dir": "x", "tags": []}, engine={"precision": "fp32"})
    moved.config["data"] = {"dataset": "mnist", "root": "/elsewhere"}
    assert only_row(accuracy(0.97), moved)["seeds"] == 2
    coarse = accuracy(0.99, 1, engine={"precision": "bf16"})
    assert only_row(accuracy(0.97), coarse)["seeds"] == 1


def test_of_one_seed_the_newest_run_counts() -> None:
    old = accuracy(0.5, status={"started": "2026-11-19T00:00:00Z"})
    assert only_row(accuracy(0.98), old)["ours"] == Mean(0.98, None, 1)
    assert only_row(old, accuracy(0.98))["ours"] == Mean(0.98, None, 1)


def test_the_budget_stands_beside_the_number() -> None:
    slow = accuracy(0.98, 1, status={"seconds": 400.0}, env={"device_name": "a GPU"})
    row = only_row(accuracy(0.98), slow)
    assert (row["steps"], row["seconds"], row["device"]) == (8460, 161.2, "a small CPU, a GPU")


def test_the_table_is_plain_data() -> None:
    (row,) = as_json(compare([CLAIM], [accuracy(0.98)]))["rows"]
    assert row["published"] == 0.98
    assert row["ours"] == {"mean": 0.98, "se": None, "n": 1}
    assert (row["verdict"], row["better"], row["unit"]) == ("met", "higher", "")


FILE = """
# What the paper says.
config:
  family: cet
  data.dataset: mnist
pins: {width: 512, optim: {kind: sgd}}
claims:
  - id: mnist-20
    where: Table 1
    metric: test/accuracy
    config: {delay: 20, optim: {kind: adam}}
    published: .98
  - id: cifar-5
    where: appendix
    metric: test/accuracy
    config: {delay: 5, data.dataset: cifar10}
    published: .343
    tolerance: .0005
    note: another network
    pins: {width: 9}
"""


def test_claims_are_read_with_what_they_share(tmp_path: Path) -> None:
    path = tmp_path / "claims.yaml"
    path.write_text(FILE)
    assert load_claims(path) == [
        Claim(
            "mnist-20", "Table 1", "test/accuracy",
            {"family": "cet", "data.dataset": "mnist", "delay": 20, "optim.kind": "adam"}, 0.98,
            pins={"width": 512},
        ),
        Claim(
            "cifar-5", "appendix", "test/accuracy",
            {"family": "cet", "data.dataset": "cifar10", "delay": 5}, 0.343,
            "another network", 0.0005, {"width": 9, "optim.kind": "sgd"},
        ),
    ]  # fmt: skip


def test_only_claims_that_runs_match_are_shown_with_them(tmp_path: Path) -> None:
    (tmp_path / "claims.yaml").write_text(FILE)
    family = cast(Family, SimpleNamespace(home=tmp_path))
    table = matched(family, [accuracy(0.95)])
    assert table is not None and table.column("claim") == ["mnist-20"]
    assert matched(family, [accuracy(0.95, delay=7)]) is None
    assert matched(cast(Family, SimpleNamespace(home=tmp_path / "none")), []) is None


def test_every_mistake_in_the_file_is_reported_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "claims.yaml"
    path.write_text(
        "claims:\n"
        "  - {id: a, where: T, metric: m, published: .9}\n"
        "  - {id: a, where: T, metric: m, published: high}\n"
        "  - {id: b, metric: m, publishd: .9}\n"
        "  - {id: a, where: T, metric: m, published: .8}\n"
    )
    with pytest.raises(ConfigError) as caught:
        load_claims(path)
    told = [
        (problem.message, problem.where.rpartition(":")[2]) for problem in caught.value.problems
    ]
    assert told == [
        ("`published` must be a number, not `high`", "3"),
        ("unknown key `publishd`", "4"),
        ("`where` is missing", "4"),
        ("`published` is missing", "4"),
        ("the id `a` is used twice", str(path)),
    ]


@pytest.mark.parametrize("text", ["claims: 3\n", "other: []\n", "claims: [a]\n"])
def test_a_file_without_claims_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "claims.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match="must be a list"):
        load_claims(path)
