"""What commands print of numbers that are zero, or none at all."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest

from tests.toy.task import ToyTask
from weft import api
from weft.cli import main
from weft.run.registry import Run


@pytest.fixture
def run(toy: str, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run that ended with a loss of zero on validation, and of NaN on the test set."""

    def evaluate(self: ToyTask, model: Any, source: Any, ctx: Any) -> dict[str, float]:
        return {"loss": next(scores)}

    scores = iter([0.0, math.nan])
    monkeypatch.setattr(ToyTask, "evaluate", evaluate)
    made = api.train(toy, "eval.every=20 steps", "log.tensorboard=false", report=False)
    assert made is not None
    scores = iter([0.0, math.nan] * 2)
    return made


def test_zero_is_listed_and_nan_is_a_dash(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs"]) == 0
    assert "val/loss 0.0  test/loss —" in capsys.readouterr().out
    assert main(["evaluate", str(run.path)]) == 0
    assert re.search(r"val/loss +0\.0 +lower *\n *test/loss +— +lower", capsys.readouterr().out)


def test_nan_is_null_in_json(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(run.path), "--json"]) == 0
    wanted = {"val/loss": 0.0, "test/loss": None}
    assert json.loads(capsys.readouterr().out) == wanted == run.metrics
