"""Two processes at one place: one writes, the other is told which, and nothing is lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from weft import api
from weft.cli import main
from weft.run.directory import RunDirectory
from weft.sweeps.grid import open_plan
from weft.sweeps.space import parse

WRITER = """
import fcntl, os, sys
file = open(sys.argv[1], "a+")
fcntl.flock(file, fcntl.LOCK_EX)
file.truncate(0)
print("process", os.getpid(), "on this machine", file=file, flush=True)
print(flush=True)
sys.stdin.read()
"""

Write = Callable[[str], int]
SWEEP = ("sweep", "cet/digits", "steps=1", "seed=0,1")


@pytest.fixture
def another_writes(workspace: Path) -> Iterator[Write]:
    """Has another process write in a folder until the test ends; gives its number."""
    writers = []

    def write(folder: str) -> int:
        Path(folder).mkdir(parents=True, exist_ok=True)
        words = [sys.executable, "-c", WRITER, f"{folder}/lock"]
        pipe = subprocess.PIPE
        writer = subprocess.Popen(words, stdin=pipe, stdout=pipe)
        writers.append(writer)
        assert writer.stdout is not None and writer.stdout.readline()
        return writer.pid

    yield write
    for writer in writers:
        writer.communicate()


def contents(folder: str) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("folder", "words"),
    [
        ("run", ("train", "cet/digits", "run.dir=run")),
        ("run", ("train", "cet/digits", "run.dir=run", "--dry-run")),
        ("grid", (*SWEEP, "--dir", "grid")),
        ("grid", ("sweep", "cet/digits", "steps=1", "seed=0..2", "--dir", "grid")),
        ("home/reproduce/smoke",
         ("reproduce", "cet", "--budget", "smoke", "--root", "home")),
    ],
)  # fmt: skip
def test_a_place_that_another_process_writes_is_refused_by_its_number_and_left_alone(
    folder: str, words: tuple[str, ...], another_writes: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    if words[0] == "sweep":
        open_plan(Path("grid"), parse(SWEEP[1:]))
    number = another_writes(folder)
    before = contents(".")
    assert main(list(words)) == 2
    told = capsys.readouterr().err
    assert "another process is writing here" in told and f"({folder})" in told
    assert f"process {number} on" in told and "weft runs" in told
    assert contents(".") == before


def test_a_run_under_way_is_not_resumed_but_read_listed_and_drawn(
    toy: str,
    without_pictures: None,
    another_writes: Write,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = api.train(toy, "run.dir=runs/mine", "log.tensorboard=false", report=False)
    assert run is not None
    status = run.path / "status.json"
    status.write_text(json.dumps({**run.status, "state": "running"}))
    number = another_writes("runs/mine")
    for words in (["resume", "runs/mine"], ["resume", "runs/mine", "steps=900"]):
        assert main(words) == 2
        assert f"process {number} on" in capsys.readouterr().err
    for verb in ("evaluate", "sample", "report"):
        assert main([verb, "runs/mine"]) == 0, capsys.readouterr().err
    capsys.readouterr()
    assert main(["runs", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["state"] == "running"


def test_who_only_asks_whether_a_run_is_written_keeps_no_one_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    with (tmp_path / "lock").open("a+") as asking:
        fcntl.flock(asking, fcntl.LOCK_SH)
        monkeypatch.setattr(
            "weft.run.directory.time.sleep", lambda _: fcntl.flock(asking, fcntl.LOCK_UN)
        )
        place = RunDirectory(tmp_path)
        place.lock()
        assert place.writes
        place.unlock()


@pytest.mark.slow
def test_of_two_that_train_at_one_place_at_one_moment_one_does_and_the_other_is_refused(
    workspace: Path,
) -> None:
    words = [sys.executable, "-m", "weft", "train", "cet/digits", "hidden_dim=8", "steps=300",
             "log.tensorboard=false", "engine.threads=1", "run.dir=run", "-q"]  # fmt: skip
    pair = [
        subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    ends = [(*child.communicate(), child.returncode) for child in pair]
    assert sorted(code for _, _, code in ends) == [0, 2], ends
    [told] = [err for _, err, code in ends if code == 2]
    assert "run" in told and os.linesep in told
    [run] = api.runs(".")
    assert run.state == "finished" and run.status["step"] == 300
    assert [row["step"] for row in run.history() if "train/loss" in row][-1] == 300
