"""Two processes work on one search and one is killed: no trial is lost, none is repeated."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from weft.run.registry import Run, find_runs

WORDS = (
    "sweep", "cet/digits", "steps=60", "log.every=1", "checkpoint.every=5 steps",
    "log.tensorboard=false", "hidden_dim=16", "optim.lr=log:1e-4:1e-1", "order=1,2",
    "--search", "random", "--trials", "6", "--metric", "test/accuracy", "--dir", "s", "--json",
)  # fmt: skip


def _start() -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "weft", *WORDS]
    return subprocess.Popen(
        command, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip


@pytest.mark.slow
def test_a_killed_process_of_a_search_loses_no_trial(workspace: Path) -> None:
    pytest.importorskip("optuna", reason="optuna is not installed")
    first = _start()
    running: list[Run] = []
    while not running:
        assert first.poll() is None
        time.sleep(0.05)
        # One that is starting has said nothing yet.
        running = [each for each in find_runs(".") if "pid" in each.status]
    second = _start()
    # The whole group, so that the process that trains is killed with the one that waits for it.
    os.killpg(first.pid, signal.SIGKILL)
    for run in running:
        if run.state == "running":
            os.kill(int(run.status["pid"]), signal.SIGKILL)
    first.communicate()
    printed, _ = second.communicate(timeout=240)
    assert second.returncode == 0
    if len(json.loads(printed)["table"]["rows"]) < 6 or "running" in printed:
        printed = subprocess.run(
            [sys.executable, "-m", "weft", *WORDS], capture_output=True, text=True, check=True
        ).stdout
    rows = json.loads(printed)["table"]["rows"]
    assert sorted(row["trial"] for row in rows) == [f"trial-{n:04d}" for n in range(6)]
    assert {row["state"] for row in rows} == {"complete"}
    assert [run.state for run in find_runs("s")] == ["finished"] * 6
