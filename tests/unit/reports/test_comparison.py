"""Settings beside each other, paired by seed."""

from __future__ import annotations

from pathlib import Path

import pytest
from scipy.stats import t as student

from tests.unit.reports.runs import run
from weft.reports.comparison import arms, config_table, interval, metric_table, paired
from weft.reports.overlay import overlay, write_comparison
from weft.run.registry import Run


def _runs() -> list[Run]:
    made = []
    for order, values in ((1, (0.80, 0.82, 0.81)), (10, (0.90, 0.93, 0.92))):
        for seed, value in enumerate(values):
            place = Path(f"runs/cet/order={order},seed={seed}")
            made.append(run(place, metrics={"test/accuracy": value}, order=order, seed=seed))
    return made


def test_runs_that_differ_in_the_seed_alone_are_one_arm() -> None:
    found = arms(_runs())
    assert [(arm.name, len(arm.runs)) for arm in found] == [("order=1", 3), ("order=10", 3)]
    assert config_table(found).rows == ({"key": "order", "order=1": "1", "order=10": "10"},)


def test_what_changes_nothing_that_is_learnt_makes_no_arm() -> None:
    pair = [run(Path("a"), engine={"device": "cpu"}), run(Path("b"), engine={"device": "cuda"})]
    assert len(arms(pair)) == 1


def test_means_stand_with_their_errors_and_the_best_is_known() -> None:
    table = metric_table(arms(_runs()))
    assert [row["n"] for row in table.rows] == [3, 3]
    assert table.rows[0]["test/accuracy"].value == pytest.approx(0.81)
    assert table.best() == {(1, "test/accuracy")}


def test_differences_are_paired_by_seed() -> None:
    table = paired(arms(_runs()))
    assert table is not None
    (row,) = table.rows
    gaps = [0.10, 0.11, 0.11]
    mean, half = sum(gaps) / 3, student.ppf(0.975, 2) * (1 / 3 * 1e-4) ** 0.5 / 3**0.5
    assert row["difference"] == pytest.approx(mean)
    assert row["low"] == pytest.approx(mean - half, rel=1e-3)
    assert row["verdict"] == "better"


def test_seeds_that_are_not_shared_make_no_pair() -> None:
    runs = _runs()
    assert paired(arms([*runs[:3], *(run(Path("x"), order=10, seed=7),)])) is None


def test_an_interval_that_holds_zero_is_open() -> None:
    values = ((0.80, 0.90), (0.85, 0.84))
    made = [
        run(Path(f"{o}{s}"), metrics={"test/accuracy": v}, order=o, seed=s)
        for o, pair in enumerate(values)
        for s, v in enumerate(pair)
    ]
    table = paired(arms(made))
    assert table is not None
    assert table.rows[0]["verdict"] == "open"


def test_a_standard_error_has_no_curve_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"step": 1, "val/loss": 2.0, "val/loss_se": 0.1, "val/lone_se": 0.2}]
    monkeypatch.setattr(Run, "history", lambda self: rows)
    assert [name for name, *_ in overlay(arms(_runs()))] == ["val-loss", "val-lone_se"]


def test_bands_are_spoken_of_where_there_are_seeds_and_one_is_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(Run, "history", lambda self: [{"step": 1, "val/loss": 2.0}])
    several, single = arms(_runs()), arms(_runs()[:1])
    (_, caption, _), (_, alone, figure) = *overlay(several), *overlay(single)
    assert "2 settings; bands are standard errors over seeds." in caption
    assert alone.endswith("1 setting.") and "bands" not in alone
    assert all(float(tick).is_integer() for tick in figure.axes[0].get_xticks()), "half a step"
    page = write_comparison(tmp_path / "page.html", single, ()).read_text(encoding="utf-8")
    assert "1 run in 1 setting." in page


@pytest.mark.parametrize("count", [2, 3, 10, 31, 32, 60])
def test_the_interval_is_student_s(count: int) -> None:
    values = [float(i * i % 7) for i in range(count)]
    mean = sum(values) / count
    spread = sum((v - mean) ** 2 for v in values) / (count - 1)
    half = student.ppf(0.975, count - 1) * (spread / count) ** 0.5
    assert interval(values) == (pytest.approx(mean), pytest.approx(half, rel=2e-3))
