"""A sweep whose processes are killed is continued by the same command, to the same table."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.exhaustive

WORDS = ("cet/digits", "hidden_dim=8,16", "seed=0..1", "steps=6", "eval.every=3 steps",
         "checkpoint.every=2 steps", "log.tensorboard=false", "engine.device=cpu",
         "engine.threads=1", "data.download=false")  # fmt: skip


def start(folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "weft", "sweep", *WORDS, "--dir", "sweep", "--workers", "2"]
    return subprocess.Popen(
        [*command, "--json"],
        cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        start_new_session=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip


def finish(folder: Path) -> tuple[Any, list[str], float]:
    """The table, the files there are, and the seconds it took."""
    began = time.monotonic()
    process = start(folder)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    return json.loads(out)["table"], files, time.monotonic() - began


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, list[str], float]:
    return finish(tmp_path_factory.mktemp("straight"))


@pytest.mark.parametrize("seed", range(5))
def test_a_sweep_killed_at_a_random_moment_and_continued_has_the_same_table(
    straight: tuple[Any, list[str], float], tmp_path: Path, seed: int
) -> None:
    table, files, lasted = straight
    process = start(tmp_path)
    time.sleep(random.Random(seed).uniform(0.2, 1.0) * lasted)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    again = finish(tmp_path)
    assert again[0] == table
    assert again[1] == files
