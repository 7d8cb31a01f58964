"""What a run shows while it trains."""

from __future__ import annotations

import pytest

from weft.run.display import Lines, summary

ROW = {"val/loss": 5.23456, "val/loss_se": 0.0712, "val/padded": 4.5} | {
    f"val/level_{level}": 0.1645 for level in range(16)
}


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_the_line_of_an_evaluation_fits_the_terminal(
    columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    Lines(0, 4000).row(1000, ROW)
    [line] = capsys.readouterr().err.splitlines()
    assert len(line) <= columns
    assert line.startswith("step 1000/4000  val/loss 5.235 ± 0.07")


def test_a_line_names_the_first_numbers_and_counts_the_others() -> None:
    assert summary(ROW, 50) == "val/loss 5.235 ± 0.07  val/padded 4.5  +16 more"
    assert summary({"val/loss": 1.0, "time": 3.0}, 50) == "val/loss 1"
    assert summary({"val/only_se": 1.0}, 50) == "val/only_se 1"
    assert summary(ROW, 3) == "val/loss 5.235 ± 0.07"
    assert summary({}, 50) == ""
