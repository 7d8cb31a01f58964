"""How cost grows: sizes in order, exponents as of least squares, a table and a picture."""

from __future__ import annotations

from math import log
from pathlib import Path

import pytest

from weft import api, families
from weft.cli import main
from weft.studies.growth import _asked
from weft.studies.growth_curves import RUNS, Curve, Measured


def test_the_exponent_is_the_slope_of_the_logarithms() -> None:
    curve = Curve("toy", "width", "width", {1.0: (), 2.0: (), 4.0: ()})
    # A square, but for an overhead that the small sizes show.
    measured = Measured(curve, {1.0: 5.0, 2.0: 8.0, 4.0: 32.0})
    assert measured.exponent(2) == pytest.approx(2.0)
    assert measured.exponent() == pytest.approx(log(32 / 5) / log(4))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["cet/digits"], "one axis, not 0"),
        (["cet/digits", "delay=1,2", "order=1,2"], "one axis, not 2"),
        (["cet/digits", "delay=5,2"], "does not grow"),
        (["cet/digits", "delay=0,2"], "does not grow"),
        (["cet/digits", "arch=mlp,cnn"], "does not grow"),
    ],
)
def test_what_is_no_curve_is_refused(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["study", "growth", *words]) == 2
    assert told in capsys.readouterr().err


def test_every_curve_of_the_families_is_of_configs_that_resolve() -> None:
    curves = list(_asked([], None))
    assert {curve.family for curve in curves} == set(families.BUILT_IN)
    for curve in curves:
        assert curve.expected is not None and len(curve.sizes) >= 3
        for words in (curve.sizes[min(curve.sizes)], curve.sizes[max(curve.sizes)]):
            assert api.configure(*words).config.family == curve.family


def test_a_recipe_s_curve_is_timed_told_and_drawn(
    toy: str, workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [toy, "width=4,8,16", "--seconds", "0", "--expected", "1", "--picture", "g.svg"]
    assert main(["study", "growth", *words, "--markdown"]) == 0
    (row,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("| toy"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[1] == "width" and cells[2].startswith("4: ") and cells[3].startswith("16: ")
    assert float(cells[4]) < 3 and cells[6] == "1"
    assert "width" in Path("g.svg").read_text()


def test_runs_of_one_stack_are_an_axis(toy: str, workspace: Path) -> None:
    from weft.studies.growth_curves import measured

    curve = Curve.of("toy", "runs", [toy, "runs=1,3"], None)
    assert curve.key == RUNS and not any("runs=" in word for word in curve.sizes[3.0])
    assert set(measured(curve, 0.0).milliseconds) == {1.0, 3.0}


@pytest.mark.exhaustive
def test_every_family_s_curves_are_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", "growth", "--seconds", "0", "--markdown"]) == 0
    out = capsys.readouterr().out
    assert all(f"| {name} " in out for name in families.BUILT_IN)
