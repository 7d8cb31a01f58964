"""A process of several that dies or stops answering ends the others: one clear error, and soon."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.dist

WORDS = ("train", "cet/digits", "streams=2", "batch_size=32", "hidden_dim=8", "steps=100000",
         "log.every=1", "log.tensorboard=false", "engine.device=cpu", "engine.threads=1",
         "checkpoint.every=20 steps", "eval.every=100000 steps", "run.dir=run",
         "--quiet")  # fmt: skip
SOON = 30.0
"""Seconds beyond the timeout, for a busy machine; an unbounded wait takes half an hour."""


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def _started(rank: int, port: int) -> subprocess.Popen[bytes]:
    """A process as torchrun starts it on one of two machines: it does not see the other's end."""
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2",
             "RANK": str(rank), "LOCAL_RANK": str(rank)}  # fmt: skip
    with Path(f"{rank}.err").open("wb") as said:
        return subprocess.Popen(
            [sys.executable, "-m", "weft", *WORDS, "engine.timeout=3"],
            stdout=subprocess.DEVNULL, stderr=said, env={**os.environ, **place},
        )  # fmt: skip


def _until_saved(*processes: subprocess.Popen[bytes]) -> None:
    ended = time.monotonic() + 120
    while not list(Path("run/checkpoints").glob("*.sha256")):
        assert time.monotonic() < ended and all(p.poll() is None for p in processes)
        time.sleep(0.05)


@pytest.mark.parametrize(("how", "lost"), [("SIGKILL", 1), ("SIGSTOP", 0)])
def test_a_lost_process_ends_the_other_with_one_error_within_the_timeout(
    workspace: Path, how: str, lost: int
) -> None:
    port = _free_port()
    processes = [_started(rank, port) for rank in (0, 1)]
    try:
        _until_saved(*processes)
        began = time.monotonic()
        processes[lost].send_signal(getattr(signal, how))
        code = processes[1 - lost].wait(timeout=300)
        waited = time.monotonic() - began
    finally:
        for process in processes:
            process.kill()
            process.wait()
    err = Path(f"{1 - lost}.err").read_text()
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
        _until_saved(process)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        began = time.monotonic()
        os.kill(int(children[-1]), signal.SIGKILL)
        code = process.wait(timeout=300)
    finally:
        process.kill()
    assert code == 1
    assert "mistake in weft" not in Path("said").read_text()
    assert time.monotonic() - began < SOON
