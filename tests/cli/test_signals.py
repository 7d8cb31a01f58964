"""Signals x phases x verbs, in real processes: the exit code, and what is said to go on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.processes import LONG
from weft import api
from weft.run.directory import RunDirectory
from weft.run.registry import open_run

SHORT = ("steps=6", "hidden_dim=8", "log.tensorboard=false", "log.every=2", "engine.threads=1",
         "checkpoint.every=2 steps")  # fmt: skip
CODES = {"SIGINT": 130, "SIGTERM": 143}
TRAIN = ("train", "cet/digits", *SHORT, "run.dir=new", "--quiet")
SWEEP = ("sweep", "cet/digits", "seed=0,1", *SHORT, "engine.device=cpu", "--dir", "grid",
         "--workers", "1")  # fmt: skip

# Verb and phase -> what the message says; the same for every signal.
TABLE = {
    ("train", "config"): (TRAIN, "the same command does it again"),
    ("train", "data"): (TRAIN, "the same command does it again"),
    ("train", "training"): (TRAIN, "`weft resume new` goes on from step 1"),
    ("train", "evaluation"): (TRAIN, "the state is saved at step 6"),
    ("train", "saving"): (TRAIN, "`weft resume new` goes on from step"),
    ("train", "export"): (TRAIN, "the state is saved at step 6"),
    ("train", "sampling"): (TRAIN, "weft sample new\n  weft report new"),
    ("train", "report"): (TRAIN, "weft report new"),
    ("resume", "data"): (("resume", "half", "--quiet"), "the same command does it again"),
    ("resume", "training"): (("resume", "half", "--quiet"), "`weft resume half` goes on"),
    ("evaluate", "loading"): (("evaluate", "done"), "the same command does it again"),
    ("evaluate", "data"): (("evaluate", "done"), "the same command does it again"),
    ("sample", "sampling"): (("sample", "done"), "the same command does it again"),
    ("report", "report"): (("report", "done"), "the same command does it again"),
    ("runs", "listing"): (("runs", "--root", "."), "the same command does it again"),
    ("sweep", "planning"): (SWEEP, "the same command does it again"),
    ("sweep", "point"): (SWEEP, "the same sweep command goes on with it"),
    ("sweep", "overview"): (SWEEP, "the same command does it again"),
}
QUICK = [("train", "data"), ("train", "training"), ("train", "sampling"), ("runs", "listing")]


@pytest.fixture
def runs_to_use(workspace: Path, without_pictures: None) -> Iterator[None]:
    """`done`, finished, and `half`, which is to be resumed."""
    import json
    import shutil

    api.train("cet/digits", *SHORT, report=False, **{"run.dir": "done"})
    shutil.copytree("done", "half")
    for path in RunDirectory(Path("half")).checkpoints.glob("*00000006*"):
        path.unlink()
    status = Path("half/status.json")
    status.write_text(json.dumps({**json.loads(status.read_text()), "state": "interrupted"}))
    yield


def _case(key: tuple[str, str], name: str, *, twice: bool, number: int) -> dict[str, Any]:
    words = list(TABLE[key][0])
    place = f"{key[0]}-{number}"
    again = {"run.dir=new": f"run.dir={place}", "grid": place, "half": f"half-{number}"}
    return {
        "words": [again.get(word, word) for word in words],
        "phase": key[1],
        "signal": name,
        "twice": twice,
        "place": place,
    }


def _wrong(case: dict[str, Any], outcome: dict[str, Any], says: str) -> str:
    says = says.replace("new", case["place"]).replace("half", next(
        (word for word in case["words"] if word.startswith("half")), "half"))  # fmt: skip
    code, err = CODES[case["signal"]], outcome["err"]
    faults = [f"exit code {outcome['code']}, not {code}"] * (outcome["code"] != code)
    faults += ["a traceback"] * ("Traceback" in err) + ["a mistake"] * ("mistake in" in err)
    if case["twice"]:
        faults += [f"{outcome['seconds']:.1f} s"] * (outcome["seconds"] > LONG / 2)
    else:
        said = f"stopped by {case['signal']}" in err and says in err
        faults += [f"does not say {says!r}"] * (not said)
    return f"{case['words'][0]} {case['phase']} {case['signal']}: {faults}\n{err}" * bool(faults)


def _check(keys: list[tuple[str, str]], processes: Callable[..., Any], names: list[str]) -> None:
    import shutil

    cases = [
        (key, _case(key, name, twice=twice, number=number))
        for number, (key, name, twice) in enumerate(
            (key, name, twice) for key in keys for name in names for twice in (False, True)
        )
    ]
    for _, case in cases:
        for word in case["words"]:
            if word.startswith("half-"):
                shutil.copytree("half", word)
    found = processes([case for _, case in cases])
    wrong = [_wrong(c, o, TABLE[key][1]) for (key, c), o in zip(cases, found, strict=True)]
    assert not any(wrong), "\n".join(filter(None, wrong))


@pytest.mark.slow
def test_a_signal_ends_a_command_with_its_code_and_says_how_to_go_on(
    runs_to_use: None, processes: Callable[..., Any]
) -> None:
    _check(QUICK, processes, ["SIGTERM"])


@pytest.mark.slow
def test_nobody_waits_for_an_evaluation_and_it_is_made_when_the_run_goes_on(
    workspace: Path, processes: Callable[..., Any]
) -> None:
    words = [*TRAIN, "steps=4", "eval.every=2"]
    stopped = {"words": words, "phase": "evaluation", "signal": "SIGTERM", "lasts": True}
    straight = {"words": [word.replace("new", "straight") for word in words]}
    first, _, again = processes([stopped, straight, {"words": ["resume", "new", "--quiet"]}])
    assert first["code"] == 143 and first["seconds"] < LONG / 2
    assert "the state is saved at step 2" in first["err"], first["err"]
    assert again["code"] == 0, again["err"]
    rows = [
        [{key: row[key] for key in row if key not in ("seconds", "time/step_ms")} for row in rows]
        for rows in (open_run(Path(name)).history() for name in ("new", "straight"))
    ]
    assert rows[0] == rows[1] and sum("test/loss" in row for row in rows[0]) == 2
    assert open_run(Path("new")).metrics == open_run(Path("straight")).metrics


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", list(CODES))
def test_each_signal_in_each_phase_of_each_verb(
    runs_to_use: None, processes: Callable[..., Any], name: str
) -> None:
    _check(list(TABLE), processes, [name])


@pytest.mark.parametrize("module", ["typer", pytest.param("torch", marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize(("name", "code"), CODES.items())
def test_a_signal_while_weft_is_imported_has_its_code_too(
    workspace: Path, module: str, name: str, code: int
) -> None:
    program = f"""
import os, signal, sys

class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.{name})

sys.meta_path.insert(0, Watch())
sys.argv = ["weft", "train", "cet/digits"]
from weft.__main__ import run
sys.exit(run())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    assert f"stopped by {name}" in done.stderr and "Traceback" not in done.stderr
    assert list(workspace.iterdir()) == []


def _hears(process: int, number: int) -> bool:
    """Whether the process has a handler for the signal."""
    status = Path(f"/proc/{process}/status").read_text()
    return bool(int(status.partition("SigCgt:")[2].split()[0], 16) >> (number - 1) & 1)


@pytest.mark.exhaustive
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="asks /proc")
def test_a_signal_from_outside_at_any_time_has_its_code(workspace: Path) -> None:
    command = [sys.executable, "-m", "weft", "train", "cet/digits", "steps=1000000", "hidden_dim=8",
               "engine.threads=1", "--quiet"]  # fmt: skip
    for number in range(6):
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        while not _hears(process.pid, signal.SIGTERM):  # Python itself is starting.
            time.sleep(0.001)
        time.sleep(0.8 * number)
        os.kill(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 130, err
        assert "stopped by SIGINT" in err and "Traceback" not in err
