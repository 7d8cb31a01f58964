"""Points run side by side; one that fails, dies or is stopped takes no other with it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import pytest

from tests.unit.sweeps.trainers import AGES, train
from weft.sweeps import pool
from weft.sweeps.grid import points
from weft.sweeps.pool import Outcome, run_points
from weft.sweeps.space import parse

CPU = "engine.device=cpu"


@pytest.fixture(autouse=True)
def without_dynamo(monkeypatch: pytest.MonkeyPatch) -> None:
    """The processes need no torch._dynamo, which takes seconds to import."""
    start = pool._context
    monkeypatch.setattr(pool, "_context", lambda _: start(["a GPU"]))


def wait_for(condition) -> None:
    end = time.monotonic() + 120  # processes start slowly on a loaded machine
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def signal_when(*files: list[Path], number: int = signal.SIGINT) -> threading.Thread:
    """Sends this process a signal each time all of the next `files` exist, as a user would."""

    def press() -> None:
        for marks in files:
            wait_for(lambda marks=marks: all(file.exists() for file in marks))
            os.kill(os.getpid(), number)

    thread = threading.Thread(target=press)
    thread.start()
    return thread


def test_every_point_ends_and_only_the_guilty_fail() -> None:
    seen: list[Outcome] = []
    made = points(parse([CPU, "do=raise,miss,exit,die,add", "seed=0..1"]))
    outcomes = run_points(made, train, workers=2, on_done=seen.append)
    assert [outcome.point for outcome in outcomes] == made
    assert sorted(o.point.name for o in seen) == sorted(p.name for p in made)
    by_word = {o.point.values["do"]: o for o in outcomes}
    assert {word: o.state for word, o in by_word.items()} == {
        "raise": "failed", "miss": "failed", "exit": "failed", "die": "failed", "add": "done",
    }  # fmt: skip
    assert "RuntimeError: weights turned to dust" in by_word["raise"].error
    assert by_word["miss"].error.startswith("missing dependency: a search needs")
    assert "exit code 3" in by_word["exit"].error
    assert "SIGKILL" in by_word["die"].error and "memory" in by_word["die"].error
    assert by_word["add"].result is not None
    assert by_word["add"].result["sum"] == str(64**3)


def test_each_point_has_a_process_and_a_group_of_its_own() -> None:
    outcomes = run_points(points(parse([CPU, "do=finish", "seed=0..2"])), train, workers=2)
    results = [outcome.result or {} for outcome in outcomes]
    assert len({result["pid"] for result in results}) == 3
    # Its own group: the terminal's Ctrl-C does not reach it a second time.
    assert all(result["pid"] == result["group"] for result in results)


@pytest.mark.parametrize(("workers", "threads"), [(1, "8"), (3, "2"), (None, "2")])
def test_cores_are_shared_out(
    monkeypatch: pytest.MonkeyPatch, workers: int | None, threads: str
) -> None:
    monkeypatch.setattr(pool, "cores", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    made = points(parse([CPU, "do=finish", "seed=0..3"]))
    outcomes = run_points(made, train, workers=workers)
    assert {(o.result or {})["engine.threads"] for o in outcomes} == {threads}


def test_threads_that_the_user_set_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    (outcome,) = run_points(points(parse([CPU, "do=finish", "engine.threads=5"])), train)
    assert (outcome.result or {})["engine.threads"] == "5"
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    (outcome,) = run_points(points(parse([CPU, "do=finish"])), train)
    assert "engine.threads" not in (outcome.result or {})


def test_gpus_are_handed_out_one_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "_gpus", lambda _: ["4", "6"])
    outcomes = run_points(points(parse(["do=finish", "seed=0..5"])), train)
    assert {(o.result or {})["gpus"] for o in outcomes} == {"4", "6"}


@pytest.mark.parametrize(
    ("word", "gpus"),
    [
        ("steps=1", ["0", "1"]),
        ("engine.device=auto", ["0", "1"]),
        ("engine.device=cuda", ["0", "1"]),
        ("engine.device=cpu", []),
        ("engine.device=cuda:1", [""]),
    ],
)
def test_a_device_that_the_user_chose_is_kept(
    monkeypatch: pytest.MonkeyPatch, word: str, gpus: list[str]
) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert pool._gpus(points(parse([word]))) == gpus


def test_gpus_that_were_hidden_stay_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    assert pool._gpus(points(parse(["x=1,2"]))) == ["5", "7"]


def test_no_points_is_no_work() -> None:
    assert run_points([], train) == []


def test_a_point_that_does_not_fit_is_left_out() -> None:
    made = points(parse([CPU, "do=finish", "seed=0..2"]))
    outcomes = run_points(made, train, workers=2, fits=lambda p: p.name != "seed=1")
    assert [outcome.state for outcome in outcomes] == ["done", "stopped", "done"]


@pytest.mark.parametrize("left_out", [{"0", "1", "2"}, {"2"}])
def test_points_left_out_are_not_waited_for(left_out: set[str]) -> None:
    made = points(parse([CPU, "do=finish", "seed=0..2"]))
    outcomes = run_points(made, train, workers=1, fits=lambda p: p.name[-1] not in left_out)
    assert [o.state for o in outcomes] == [
        "stopped" if number in left_out else "done" for number in "012"
    ]


def test_at_the_end_of_the_time_runs_are_saved_and_nothing_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def over_once_both_run(waited: list[Any], left: float | None) -> list[Any]:
        wait_for(lambda: all((tmp_path / name).exists() for name in "01"))
        return [] if left is not None else wait(waited)

    monkeypatch.setattr(pool, "wait", over_once_both_run)
    made = points(parse([CPU, "do=save", f"mark={tmp_path}", "seed=0..2"]))
    outcomes = run_points(made, train, workers=2, end=time.monotonic() + 1e3)
    assert [(outcome.state, outcome.by) for outcome in outcomes] == [("stopped", "")] * 3
    assert sorted(path.name for path in tmp_path.glob("saved-*")) == ["saved-0", "saved-1"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_runs_save_and_begins_no_more(tmp_path: Path, number: int) -> None:
    made = points(parse([CPU, "do=save", f"mark={tmp_path}", "seed=0..3"]))
    before = signal.getsignal(signal.SIGINT)
    thread = signal_when([tmp_path / "0", tmp_path / "1"], number=number)
    outcomes = run_points(made, train, workers=2)
    thread.join()
    assert [outcome.state for outcome in outcomes] == ["stopped"] * 4
    assert sorted(path.name for path in tmp_path.glob("[0-9]*")) == ["0", "1"]
    assert sorted(path.name for path in tmp_path.glob("saved-*")) == ["saved-0", "saved-1"]
    assert signal.getsignal(signal.SIGINT) is before


def test_a_stop_keeps_what_is_finished(tmp_path: Path) -> None:
    made = points(parse([CPU, "do=finish,save", f"mark={tmp_path}", "seed=[0]"]))
    thread = signal_when([tmp_path / "0"])
    outcomes = run_points(made, train, workers=1)
    thread.join()
    assert [outcome.state for outcome in outcomes] == ["done", "stopped"]


def test_a_second_signal_stops_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "_ECHO", 0.0)
    made = points(parse([CPU, "do=ignore", f"mark={tmp_path}", "seed=0..1"]))
    running, told = ([tmp_path / f"{word}{i}" for i in range(2)] for word in ("", "told-"))
    thread = signal_when(running, told)
    outcomes = run_points(made, train, workers=2)
    thread.join()
    assert [(outcome.state, outcome.error) for outcome in outcomes] == [("stopped", "")] * 2


def test_an_echo_of_a_signal_is_not_a_second_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "_ECHO", 60.0)
    made = points(parse([CPU, "do=save", f"mark={tmp_path}", "seed=[0]"]))
    thread = signal_when([tmp_path / "0"], [tmp_path / "told-0"])
    run_points(made, train)
    thread.join()
    assert (tmp_path / "saved-0").exists()


def test_an_error_in_the_caller_leaves_no_process_behind(tmp_path: Path) -> None:
    made = points(parse([CPU, "do=finish,save", f"mark={tmp_path}", "seed=[0]"]))

    def explode(outcome: Outcome) -> None:
        wait_for((tmp_path / "0").exists)
        raise OSError("the terminal is gone")

    began = time.monotonic()
    with pytest.raises(OSError, match="terminal"):
        run_points(made, train, workers=2, on_done=explode)
    assert time.monotonic() - began < AGES / 2
    assert multiprocessing.active_children() == []


def test_processes_follow_a_parent_that_was_killed(tmp_path: Path) -> None:
    script = (
        "import multiprocessing\n"
        "from tests.unit.sweeps.trainers import train\n"
        "from weft.sweeps import pool\n"
        "from weft.sweeps.grid import points\n"
        "from weft.sweeps.space import parse\n"
        "if __name__ == '__main__':\n"
        "    pool._context = lambda _: multiprocessing.get_context('spawn')\n"
        f"    pool.run_points(points(parse(['{CPU}', 'do=pid', 'mark={tmp_path}'])), train)\n"
    )
    file = tmp_path / "sweep.py"
    file.write_text(script)
    parent = subprocess.Popen(
        [sys.executable, str(file)], env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )
    note = tmp_path / "pid"
    wait_for(lambda: note.exists() and note.read_text())
    child = int(note.read_text())
    parent.kill()
    parent.wait()

    def is_gone() -> bool:
        try:
            return Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
        except FileNotFoundError:
            return True

    wait_for(is_gone)


SCRIPT = """
import pathlib
pathlib.Path("seen").open("a").write("once more\\n")
from tests.unit.sweeps.trainers import train
from weft.sweeps import pool
from weft.sweeps.grid import points
from weft.sweeps.space import parse
start = pool._context
pool._context = lambda _: start(["a GPU"])
made = points(parse(["engine.device=cpu", "do=finish", "seed=0..1"]))
print(*[outcome.state for outcome in pool.run_points(made, train, workers=2)], __file__)
"""


def test_a_script_that_sweeps_needs_no_guard_and_is_run_once(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    here = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path.cwd()), *sys.path])}
    told = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, env=here, capture_output=True, text=True
    )
    assert told.stdout.split() == ["done", "done", str(script)], told.stderr
    assert (tmp_path / "seen").read_text() == "once more\n"


def test_a_temporary_folder_with_a_long_name_is_no_obstacle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("x" * 60) / ("y" * 60)
    long.mkdir(parents=True)
    monkeypatch.setattr("tempfile.tempdir", str(long))
    (outcome,) = run_points(points(parse([CPU, "do=finish"])), train)
    assert outcome.state == "done"
