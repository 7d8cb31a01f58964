"""Whatever was done to a run's files: each verb says it in a line, and the other runs are shown."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from weft import api
from weft.cli import main

QUICK = ("epochs=1", "log.tensorboard=false", "engine.threads=1")
Damage = Callable[[Path], object]


def _json(name: str, /, **changes: Any) -> Damage:
    """Sets keys of a JSON file; one that is set to `...` is taken out."""

    def damage(run: Path) -> None:
        values = {**json.loads((run / name).read_text()), **changes}
        values = {key: value for key, value in values.items() if value is not ...}
        (run / name).write_text(json.dumps(values))

    return damage


def _line(name: str, key: str, line: str) -> Damage:
    """Replaces the line of a YAML file that begins with `key`."""

    def damage(run: Path) -> None:
        lines = (run / name).read_text().splitlines()
        assert any(each.startswith(f"{key}:") for each in lines)
        kept = [line if each.startswith(f"{key}:") else each for each in lines]
        (run / name).write_text("\n".join(kept) + "\n")

    return damage


def _put(name: str, content: bytes) -> Damage:
    return lambda run: (run / name).write_bytes(content)


def _other(name: str, make: Callable[[Path], object]) -> Damage:
    """Something else in the place of a file or folder."""

    def damage(run: Path) -> None:
        path = run / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        make(path)

    return damage


def _cut(name: str) -> Damage:
    def damage(run: Path) -> None:
        data = (run / name).read_bytes()
        (run / name).write_bytes(data[: len(data) // 2])

    return damage


def _kinds() -> dict[str, Damage]:
    kinds: dict[str, Damage] = {}
    for name in ("status.json", "config.yaml", "resolved.yaml", "env.json", "metrics.jsonl"):
        kinds |= {
            f"{name} missing": _other(name, lambda path: None),
            f"{name} empty": _put(name, b""),
            f"{name} a folder": _other(name, Path.mkdir),
            f"{name} not UTF-8": _put(name, b"\xff\xfe{a: 1}\n"),
            f"{name} zeros": _put(name, bytes(64) + b"\n"),
            f"{name} a list": _put(name, b"[1, 2]\n"),
            f"{name} deep": _put(name, b"[" * 100_000 + b"\n"),
            f"{name} long number": _put(name, b'{"step": ' + b"9" * 5000 + b"}\n"),
        }
        if name != "metrics.jsonl":
            kinds[f"{name} cut"] = _cut(name)
    for key, wrong in {
        "state": "asleep", "step": "3", "total_steps": None, "seconds": [1], "metrics": {"a": "b"},
        "started": "yesterday", "recipe": 1, "declared": [{"nam": "loss"}], "best": {"step": 1},
        "message": {}, "saved": "x",
    }.items():  # fmt: skip
        kinds[f"status.json {key} wrong"] = _json("status.json", **{key: wrong})
    for key in ("state", "step", "metrics", "started"):
        kinds[f"status.json {key} gone"] = _json("status.json", **{key: ...})
    kinds |= {
        "config.yaml without family": _line("config.yaml", "family", "# gone"),
        "config.yaml family of a plug-in that is gone": _line(
            "config.yaml", "family", "family: lost"
        ),
        "config.yaml family a list": _line("config.yaml", "family", "family: [a]"),
        "config.yaml seed a word": _line("config.yaml", "seed", "seed: [x]"),
        "config.yaml unknown key": _line("config.yaml", "seed", "seed: 0\nsneed: 1"),
        "config.yaml twice a key": _line("config.yaml", "seed", "seed: 0\nseed: 0"),
        "config.yaml out of range": _line("config.yaml", "width", "width: -4"),
        "config.yaml a section empty": _line("config.yaml", "optim", "optim:"),
        "config.yaml bad YAML": _line("config.yaml", "seed", "seed: [0"),
        "resolved.yaml parents wrong": _line("resolved.yaml", "device", "parents: [a]"),
        "resolved.yaml pin wrong": _line("resolved.yaml", "device", "parents: {base: {file: 1}}"),
        "resolved.yaml steps a word": _line("resolved.yaml", "total_steps", "total_steps: many"),
        "env.json git wrong": _json("env.json", git={"commit": 1}),
        "env.json command wrong": _json("env.json", command=7),
        "metrics.jsonl a word": _put("metrics.jsonl", b'{"step": 1, "train/loss": "low"}\n'),
        "metrics.jsonl no step": _put("metrics.jsonl", b'{"train/loss": 1.0}\n'),
        "metrics.jsonl half a line amid": _put("metrics.jsonl", b'{"step": 1\n{"step": 2}\n'),
        "metrics.jsonl only steps": _put("metrics.jsonl", b'{"step": 1}\n{"step": 2}\n'),
        "index.json bad": _put("figures/index.json", b'{"figures": [3]}'),
        "figures a file": _other("figures", Path.touch),
        "log.txt not UTF-8": _put("log.txt", b"\xff\xff"),
        "log.txt a folder": _other("log.txt", Path.mkdir),
        "lock a folder": _other("lock", Path.mkdir),
        "checkpoints gone": _other("checkpoints", lambda path: None),
        "checkpoints a file": _other("checkpoints", Path.touch),
        "weights gone": _other("model.safetensors", lambda path: None),
        "status.json a pipe": _other("status.json", os.mkfifo),
    }
    return kinds


KINDS = _kinds()


@pytest.fixture
def good(toy: str, workspace: Path, without_pictures: None) -> Path:
    """`runs/toy/good`, a finished run, and `stopped`, one that could go on."""
    api.train(toy, *QUICK, **{"run.name": "good"})
    Path("runs/toy/good/figures").mkdir()
    shutil.copytree("runs/toy/good", "runs/toy/stopped")
    _json("status.json", state="interrupted", name="stopped", saved=None)(Path("runs/toy/stopped"))
    for each in Path("runs/toy/stopped/checkpoints").iterdir():
        each.unlink()
    return Path("runs/toy/good")


def told(capsys: pytest.CaptureFixture[str], kind: str, *words: str) -> tuple[int, str, str]:
    """Exit code, output and complaint of a command, which is readable."""
    code = main(list(words))
    out, err = capsys.readouterr()
    what = f"{kind}: weft {' '.join(words)}\n{err}"
    assert "Traceback" not in err and "mistake in weft" not in err, what
    assert code in (0, 1, 2), what
    assert code == 0 or "error: " in err, what
    return code, out, err


def try_all(kind: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every verb beside and on a run that was damaged in that way."""
    record = kind.split()[0] in ("status.json", "config.yaml", "resolved.yaml", "env.json")
    bad = Path("runs/toy/bad")
    # One that has ended and one that could go on, in turns.
    source = ("good", "stopped")[list(KINDS).index(kind) % 2]
    shutil.rmtree(bad, ignore_errors=True)
    shutil.copytree(place.parent / source, bad)
    KINDS[kind](bad)
    code, out, _ = told(capsys, kind, "runs", "--json")
    rows = {row["run"]: row for row in json.loads(out)}
    assert code == 0 and rows["runs/toy/good"]["state"] == "finished", kind
    assert str(bad) in rows, kind
    # What only a family's own config knows to be wrong, the list does not ask for.
    fine = ("unknown key", "out of range", "a section empty")
    if record and not kind.endswith(fine):
        assert rows[str(bad)]["note"], kind
    code, out, err = told(capsys, kind, "runs")
    assert code == 0 and "good" in out and "bad" in out, kind
    code, _, err = told(capsys, kind, "report", "runs")
    assert code == 0, (kind, err)
    page = Path("runs/report.html").read_text()
    assert "toy/good" in page and "toy/bad" in page
    assert told(capsys, kind, "reproduce", "cet")[0] == 0
    for verb in (
        ("report", str(bad)),
        ("evaluate", str(bad)),
        ("sample", str(bad)),
        ("resume", str(bad), "--quiet"),
        ("train", "toy/small", "base=toy/bad", "--dry-run"),
        ("train", "toy/small", "base=runs/toy/bad@last", "--dry-run"),
    ):
        told(capsys, kind, *verb)


def test_there_are_seventy_kinds_of_damage() -> None:
    assert len(KINDS) >= 70


@pytest.mark.parametrize("kind", random.Random(10).sample(sorted(KINDS), 6))
def test_a_damaged_run_is_told_in_a_line_and_hides_no_other(
    kind: str, good: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    try_all(kind, good, capsys)


@pytest.mark.exhaustive
def test_no_kind_of_damage_makes_a_verb_raise(
    good: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for kind in KINDS:
        try_all(kind, good, capsys)
