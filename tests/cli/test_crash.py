"""Kill -9 in the middle of an epoch, then resume: the same weights, to the last bit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch

from weft import api as weft
from weft.engine.checkpoint import read

WORDS = ("cet/digits", "steps=60", "checkpoint.every=7 steps", "log.every=1",
         "log.tensorboard=false", "engine.threads=1", "hidden_dim=32")  # fmt: skip


def _weights(run: Path) -> dict[str, torch.Tensor]:
    return dict(read(run / "checkpoints" / "step_00000060.pt")["model"])


def test_kill_9_then_resume_equals_the_straight_run(workspace: Path) -> None:
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "weft", "train", *WORDS, "run.dir=killed", "--quiet"]
    process = subprocess.Popen(command, env=environment)
    metrics = Path("killed/metrics.jsonl")
    deadline = time.monotonic() + 60
    while not metrics.exists() or metrics.read_text().count("\n") < 10:
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()

    killed = weft.runs(".")[0]
    assert killed.state == "crashed"
    steps = [row["step"] for row in killed.history()]
    assert 10 <= max(steps) < 60
    resumed = weft.resume("killed", report=False)
    straight = weft.train(*WORDS, report=False, **{"run.dir": "straight"})
    assert resumed is not None and straight is not None
    assert resumed.metrics == straight.metrics
    ours, theirs = _weights(resumed.path), _weights(straight.path)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    rows = [json.loads(line)["step"] for line in metrics.read_text().splitlines()]
    assert rows == sorted(rows)
