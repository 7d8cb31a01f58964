"""`weft study plans` leads the dot by every planner on a run's frozen network."""

from __future__ import annotations

from pathlib import Path

import pytest

from weft import api
from weft.studies.jepa_plans import main


def test_every_planner_is_told_with_its_miss_and_beside_standing_still(
    workspace: Path, without_pictures: None, capsys: pytest.CaptureFixture[str]
) -> None:
    api.train("jepa/clean", "steps=1", "batch_size=4", "norm_batches=1", "val_dataset_size=8",
              "probe.size=8", "model.embedding_size=8", "val_n_steps=4", "probe.mpc_iterations=2",
              "run.dir=here", report=False)  # fmt: skip
    capsys.readouterr()
    assert main(["here", "--episodes", "3", "--horizon", "2"]) == 0
    head, *rows, still = capsys.readouterr().out.splitlines()
    assert head.split() == ["planner", "horizon", "miss", "px", "within", "1", "px", "s"]
    assert [row.split()[:2] for row in rows] == [
        [planner, ahead] for planner in ("gradient", "cem", "mppi") for ahead in ("once", "2")
    ]
    assert all(float(row.split()[2]) > 0 for row in rows)
    assert float(still.split()[1]) > 0
