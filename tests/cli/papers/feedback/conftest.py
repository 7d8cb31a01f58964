"""The scripts' folder as a user has it, a base trained there, and a run that is interrupted."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.papers.feedback.scripts import PAPER, TEXT, feedforward, runs
from weft.engine.step import Stepper
from weft.task.context import Context


@pytest.fixture(autouse=True)
def folder(workspace: Path, without_pictures: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The scripts' folder as a user has it, and a small text."""
    for file in PAPER.iterdir():
        if file.is_file():
            shutil.copy(file, workspace)
    config = json.loads((PAPER / "config.json").read_text())
    config["training"]["save_epoch_interval"] = 1
    Path("config.json").write_text(json.dumps(config, indent=1))
    Path("mine.txt").write_text(TEXT)
    monkeypatch.setenv("WEFT_CACHE", str(workspace / "cache"))
    monkeypatch.setattr(sys, "argv", ["pytest"])
    return workspace


@pytest.fixture
def base(folder: Path) -> Path:
    """A trained feedforward model, with checkpoints of two epochs."""
    assert feedforward() == 0
    return runs()[0].path


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Has the next run interrupted after its step of that number."""
    awaited: list[int] = []

    step = Stepper.__call__

    def watched(self: Stepper, batches: Any, ctx: Context) -> Any:
        scalars = step(self, batches, ctx)
        if awaited == [ctx.step + 1]:
            awaited.clear()
            os.kill(os.getpid(), signal.SIGTERM)
        return scalars

    monkeypatch.setattr(Stepper, "__call__", watched)
    return awaited.append
