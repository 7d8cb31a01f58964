"""Kill -9 in the middle of an epoch, then resume: the same weights, to the last bit."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from weft import api as weft
from weft.engine.checkpoint import read
from weft.run.files import read_rows

WORDS = ("cet/digits", "steps=30", "checkpoint.every=7 steps", "log.every=1",
         "log.tensorboard=false", "engine.threads=1", "hidden_dim=32")  # fmt: skip

KILLED = """
import os, signal, sys
from weft.cli import main
from weft.run.record import RunRecorder

row = RunRecorder.row

def row_and_die(self, step, *values):
    row(self, step, *values)
    if step == 17:
        os.kill(os.getpid(), signal.SIGKILL)

RunRecorder.row = row_and_die
main(sys.argv[1:])
"""


def _weights(run: Path) -> dict[str, torch.Tensor]:
    return dict(read(run / "checkpoints" / "step_00000030.pt")["model"])


@pytest.mark.slow  # `tests/crash` kills at moments of every kind.
def test_kill_9_then_resume_equals_the_straight_run(workspace: Path) -> None:
    # The process kills itself: one that watched it from outside could be late.
    command = [sys.executable, "-c", KILLED, "train", *WORDS, "run.dir=killed", "--quiet"]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL

    killed = weft.runs(".")[0]
    assert killed.state == "crashed"
    steps = [row["step"] for row in killed.history()]
    assert max(steps) == 17
    resumed = weft.resume("killed", report=False)
    straight = weft.train(*WORDS, report=False, **{"run.dir": "straight"})
    assert resumed is not None and straight is not None
    assert resumed.metrics == straight.metrics
    ours, theirs = _weights(resumed.path), _weights(straight.path)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    rows = [row["step"] for row in read_rows(Path("killed/metrics.jsonl"))]
    assert rows == sorted(rows)
