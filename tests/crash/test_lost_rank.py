"""A process of several that dies or stops answering ends the others: one clear error, and soon."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import ranks

pytestmark = pytest.mark.dist

WORDS = ("train", "cet/digits", "streams=2", "batch_size=32", "hidden_dim=8", "steps=100000",
         "log.every=1", "log.tensorboard=false", "engine.device=cpu", "engine.threads=1",
         "checkpoint.every=20 steps", "eval.every=100000 steps", "run.dir=run",
         "--quiet")  # fmt: skip
SOON = 30.0
"""Seconds beyond the timeout, for a busy machine; an unbounded wait takes half an hour."""


def _until_saved(*alive: Callable[[], bool]) -> None:
    ended = time.monotonic() + 120
    while not list(Path("run/checkpoints").glob("*.sha256")):
        assert time.monotonic() < ended and all(each() for each in alive)
        time.sleep(0.05)


@pytest.mark.parametrize(("how", "lost"), [("SIGKILL", 1), ("SIGSTOP", 0)])
def test_a_lost_process_ends_the_other_with_one_error_within_the_timeout(
    workspace: Path, how: str, lost: int
) -> None:
    # As torchrun starts them on two machines: neither sees the other's end.
    processes, said = ranks.start([*WORDS, "engine.timeout=3"])
    try:
        _until_saved(*(process.is_alive for process in processes))
        began = time.monotonic()
        pid = processes[lost].pid
        assert pid is not None
        os.kill(pid, getattr(signal, how))
        processes[1 - lost].join(300)
        code = processes[1 - lost].exitcode
        waited = time.monotonic() - began
    finally:
        for process in processes:
            process.kill()
            process.join()
    err = said[1 - lost].read_text()
    assert code == 1, err
    assert err.count("run error: ") == 1, err
    assert "has ended, or does not answer" in err and "engine.timeout = 3 s" in err
    assert "Traceback" not in err and "mistake in weft" not in err
    assert waited < 3 + SOON


def test_torchrun_ends_when_one_of_its_processes_is_killed(workspace: Path) -> None:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    with Path("said").open("wb") as said:
        process = subprocess.Popen(
            [*launcher, "--nproc-per-node=2", "-m", "weft", *WORDS],
            stdout=subprocess.DEVNULL, stderr=said,
        )  # fmt: skip
    try:
        _until_saved(lambda: process.poll() is None)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        began = time.monotonic()
        os.kill(int(children[-1]), signal.SIGKILL)
        code = process.wait(timeout=300)
    finally:
        process.kill()
    assert code == 1
    assert "mistake in weft" not in Path("said").read_text()
    assert time.monotonic() - began < SOON
