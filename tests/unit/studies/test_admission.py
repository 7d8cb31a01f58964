"""What a comparison may conclude: rates inside their grid, flat curves, a base that can read."""

from __future__ import annotations

import math

import pytest

from weft.studies.admission import (
    Difference,
    below,
    interior,
    last_quarter,
    plateau,
    verdict,
)
from weft.studies.interior import best, beyond

GIVEN = ("1e-3", "3e-3")


@pytest.mark.parametrize(
    ("judged", "following"),
    [
        ({"1e-3": 2.0, "3e-3": 1.0}, "0.009"),
        ({"1e-3": 1.0, "3e-3": 2.0}, "0.000333"),
        ({"1e-3": 2.0, "3e-3": 1.0, "0.009": 1.5}, None),
        ({"1e-3": 2.0, "3e-3": 1.0, "0.009": math.nan}, None),
        ({"1e-3": math.inf, "3e-3": math.nan}, "0.000333"),
    ],
)
def test_a_grid_grows_beyond_the_end_at_which_the_best_rate_stands(
    judged: dict[str, float], following: str | None
) -> None:
    assert beyond(judged, GIVEN, 4) == following


def test_a_grid_grows_four_times_and_no_more() -> None:
    judged = {"1e-3": 9.0, "3e-3": 8.0}
    while (rate := beyond(judged, GIVEN, 4)) is not None:
        judged[rate] = min(judged.values()) - 1
    assert len(judged) == 6 and best(judged) == "0.243"
    assert not interior("an arm", best(judged), list(judged)).held


def test_a_single_rate_of_its_own_is_not_at_an_end() -> None:
    assert interior("an arm", "3e-4", ["3e-4"], own=True).held
    assert not interior("an arm", "3e-4", ["3e-4"]).held


def test_the_last_quarter_is_what_the_best_loss_gained_after_three_quarters() -> None:
    rows = [{"step": n, "val/loss": loss} for n, loss in ((2, 5.0), (4, 4.2), (6, 4.1), (8, 4.0))]
    assert last_quarter(rows, "val/loss") == pytest.approx(0.1 / 4.0)
    assert last_quarter(rows[-1:], "val/loss") is None
    assert plateau("it", 0.01, 0.01).held and not plateau("it", 0.011, 0.01).held
    assert not plateau("it", None, 0.01).held


def test_a_base_reads_the_data_if_it_beats_their_frequencies() -> None:
    assert below("it", 3.0, 3.1).held
    assert not below("it", 3.1, 3.1).held and not below("it", 3.0, None).held


def test_a_difference_is_one_where_student_s_interval_leaves_out_0() -> None:
    # t = 4.303 for three seeds; the standard error is 0.01.
    spread = 0.01 * math.sqrt(3)
    small = Difference.of([-0.04 - spread, -0.04, -0.04 + spread])
    large = Difference.of([-0.05 - spread, -0.05, -0.05 + spread])
    assert small.margin == pytest.approx(0.04303)
    assert (small.word, large.word) == ("no difference", "better")
    assert Difference.of([0.5]).word == "no difference"


def test_no_verdict_is_given_where_a_check_fails() -> None:
    found = Difference.of([-1.0, -1.01, -1.02])
    assert verdict("it", "that", found, [below("base", 1.0, 2.0)]).startswith("it: better than")
    refused = verdict("it", "that", found, [below("base", 3.0, 2.0)])
    assert refused.startswith("it: no verdict") and "frequencies alone 2.0" in refused


def test_no_verdict_is_given_on_one_seed() -> None:
    told = verdict("it", "that", Difference.of([-0.5]), [below("base", 1.0, 2.0)])
    assert told == "it: no verdict, for one seed tells nothing of chance: -0.5000 from that"
