"""Finds runs and checkpoints by the names that the feedback original gives them."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from weft.config.explain import suggest
from weft.config.sections import RunSection
from weft.errors import UsageError
from weft.papers import script
from weft.run.directory import RunDirectory, create, now

if TYPE_CHECKING:
    from weft.run.registry import Run

_STAMP = re.compile(r"_\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d(-\d+)?$")
_CHECKPOINT = re.compile(r"^step_(\d{8})\.pt$")


def fresh(home: Path, prefix: str) -> Path:
    """A new folder name below `home`: the prefix and the time."""
    return script.unused(home / f"{prefix}_{datetime.now().strftime('%Y-%m-%d_%H-%M-%S')}")


def latest(home: Path, prefix: str) -> Path:
    """The last started run whose name has the prefix.

    Raises:
        UsageError: if there is none.
    """
    from weft.run.registry import find_runs

    found = [run.path for run in find_runs(home) if _STAMP.sub("", run.name) == prefix]
    if not found:
        raise UsageError(
            f"there is no run `{prefix}_…` to resume",
            where=str(home),
            hint="leave --resume out to start one",
        )
    return found[-1]


def named(given: str, homes: Sequence[Path], flag: str) -> Path:
    """The run with the path `given`, or with this name below one of `homes`.

    Raises:
        UsageError: if there is none, or more than one.
    """
    looked = list(dict.fromkeys([Path(given), *(home / given for home in homes)]))
    found = {path.resolve(): path for path in looked if (path / "status.json").is_file()}
    if len(found) == 1 or looked[0].resolve() in found:
        return next(iter(found.values()))
    if found:
        raise UsageError(
            f"`{given}` is the name of {len(found)} runs",
            where=flag,
            expected="the path of one of them",
            hint="\n".join(map(str, found.values())),
        )
    names = [path.name for home in homes if home.is_dir() for path in home.iterdir()]
    places = "\n".join(["there is no run at", *(f"  {path}" for path in looked)])
    raise UsageError(
        f"there is no run `{given}`", where=flag, hint=suggest(Path(given).name, names, places)
    )


def checkpoint(run: Path, name: str, flag: str) -> Path:
    """weft's file of a run's checkpoint, given the original's name, which is a link to it.

    Raises:
        UsageError: if there is none of that name.
    """
    path = run / name
    if path.is_file():
        return path.resolve()
    known = sorted(each.name for each in run.glob("*ckpt*.pt"))
    raise UsageError(
        f"there is no checkpoint `{name}`",
        where=f"{flag}, {run}",
        expected=f"one of {', '.join(known)}" if known else "a run that has saved one",
        hint=suggest(name, known, ""),
    )


def is_newest(run: Run, saved: Path) -> bool:
    """Whether a checkpoint is the one from which the run would be resumed."""
    from weft.engine.checkpoint import Store

    return saved == Store(RunDirectory(run.path).checkpoints).find("last").resolve()


def branch(run: Run, saved: Path, path: Path) -> Path:
    """Makes a new run that starts from an older checkpoint of `run`, which is not changed.

    Training is a function of the seed and the step, so that the new run repeats the old one unless
    an option differs.

    Args:
        run: the old run.
        saved: its checkpoint.
        path: folder of the new run.
    Raises:
        CheckpointError: if the checkpoint is damaged.
        UsageError: if it is not a checkpoint of the run.
    """
    from weft.engine.checkpoint import Store, read

    number = _CHECKPOINT.match(saved.name)
    old, store = RunDirectory(run.path), Store(RunDirectory(run.path).checkpoints)
    if number is None or saved.parent != old.checkpoints.resolve():
        raise UsageError(
            f"`{saved}` is not a checkpoint that a run can start from",
            expected="one of the run's, such as epoch_ckpt_<dataset>_10.pt",
        )
    progress = read(saved)["progress"]
    best = progress["best_step"]
    new = create(RunSection(dir=str(path)), run.family, path.name)
    new.checkpoints.mkdir()
    kept = {int(number[1])} | ({best} if best in store.steps() else set())
    for step in kept:
        file = store.find(str(step))
        for each in (file, file.with_name(f"{file.name}.sha256")):
            shutil.copy2(each, new.checkpoints)
    # When the new run starts, rows after the checkpoint are dropped.
    for each in (old.metrics, *run.path.glob("*.py"), run.path / "config.json"):
        if each.is_file():
            shutil.copy2(each, new.path)
    config = {**run.config, "run": {**run.config["run"], "dir": str(path)}}
    new.write_yaml("config", config, f"goes on from {saved}")
    new.write_yaml("resolved", run.resolved)
    new.write_json("env", run.env)
    new.note(f"goes on from {saved}")
    state = {"state": "interrupted", "step": progress["step"], "started": now(), "message": ""}
    new.write_json("status", {**run.status, **state, "metrics": progress["metrics"]})
    new.unlock()
    return new.path
