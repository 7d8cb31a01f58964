"""A run's directory: its files, its one writer, and its state."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from weft.atomic import is_half, sweep_halves, write_text
from weft.config.sections import RunSection
from weft.config.yaml import read_file
from weft.config.yaml import write as to_yaml
from weft.errors import PlaceTaken, RunError
from weft.shell import spelt
from weft.system import MISNAMED, writing
from weft.terminal import printable

_POLL = 0.1
"""Seconds between two attempts while waiting for a lock."""

_ATTEMPTS = 10
"""Attempts to lock, a hundredth of a second apart: `is_locked` holds the lock for a moment, too."""

_BEFORE_THE_FIRST_STATUS = {"lock", "config.yaml", "resolved.yaml", "env.json", "log.txt"}


class RunDirectory:
    """Paths and files of one run; see docs/run-directory.md for the layout.

    Args:
        path: the directory, which exists.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: IO[str] | None = None

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.path / "checkpoints"

    @property
    def metrics(self) -> Path:
        """The scalar log, metrics.jsonl; all other records of the numbers derive from it."""
        return self.path / "metrics.jsonl"

    @property
    def figures(self) -> Path:
        """Pictures, with an index of their captions."""
        return self.path / "figures"

    @property
    def samples(self) -> Path:
        """The texts the model wrote for its last prompts, samples.txt."""
        return self.path / "samples.txt"

    @property
    def weights(self) -> Path:
        """The final weights alone, with the config in the file's metadata."""
        return self.path / "model.safetensors"

    def lock(self) -> None:
        """Makes this object the run's only writer, until `unlock` or the end of the process.

        Raises:
            PlaceTaken: if another process writes the run.
            RunError: if the lock file cannot be opened.
        """
        try:
            file = (self.path / "lock").open("a+")
        except OSError as error:
            raise RunError(
                f"cannot become the run's writer: {error.strerror}", where=str(self.path / "lock")
            ) from error
        if not _locked(file):
            file.close()
            raise self.in_use()
        self._lock = file
        with writing(self.path / "lock"):
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
            file.flush()
        sweep_halves(self.path)
        sweep_halves(self.figures)

    def in_use(self) -> PlaceTaken:
        """The error that says who writes the run."""
        holder = (self.path / "lock").read_text().strip()
        return PlaceTaken(
            "another process is writing here",
            where=str(self.path),
            expected=f"only one writer; it is {holder or 'unknown'}",
            hint="wait for it or stop it; `weft runs` shows what runs",
        )

    def unlock(self) -> None:
        """Releases the lock."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    @property
    def writes(self) -> bool:
        """Whether this object is the run's writer."""
        return self._lock is not None

    def is_locked(self) -> bool:
        """Whether some process, this one included, writes the run now."""
        if self._lock is not None:
            return True
        try:
            with (self.path / "lock").open("r") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            return False
        except OSError:
            return True
        return False

    def wait(self, seconds: float) -> None:
        """Waits until no other process writes the run, at most `seconds`."""
        end = time.monotonic() + seconds
        while self.is_locked() and time.monotonic() < end:
            time.sleep(_POLL)

    def write_yaml(self, name: str, values: Mapping[str, Any], comment: str = "") -> None:
        """Writes `values` as NAME.yaml."""
        head = f"# {comment}\n" if comment else ""
        write_text(self.path / f"{name}.yaml", head + to_yaml(dict(values)))

    def write_json(self, name: str, values: Mapping[str, Any]) -> None:
        """Writes `values` as NAME.json."""
        write_text(self.path / f"{name}.json", json.dumps(values, indent=2) + "\n")

    def note(self, text: str) -> None:
        """Appends a line to log.txt."""
        path = self.path / "log.txt"
        with writing(path), path.open("a", encoding="utf-8", errors="replace") as file:
            file.write(f"{now()} {printable(text)}\n")


def _locked(file: IO[str]) -> bool:
    """Locks the file for this process; False if another one holds it."""
    for _ in range(_ATTEMPTS):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            time.sleep(0.01)
        else:
            return True
    return False


def create(run: RunSection, family: str, name: str) -> RunDirectory:
    """Makes and locks a new directory: `run.dir`, or `<root>/<family>/<name>[-n]`.

    A directory whose run was killed before its first status counts as new.

    Raises:
        PlaceTaken: if `run.dir` exists and is not empty.
        RunError: if a directory cannot be made.
    """
    try:
        if run.dir is not None:
            free(run)
            Path(run.dir).mkdir(parents=True, exist_ok=True)
            return _claimed(Path(run.dir))
        base = Path(run.root) / family
        base.mkdir(parents=True, exist_ok=True)
        return _numbered(base, run.name or name)
    except OSError as error:
        kind = PlaceTaken if error.errno in MISNAMED else RunError
        raise kind(
            f"cannot make the run's directory: {error.strerror}",
            where=str(error.filename),
            hint="run.root=FOLDER or run.dir=FOLDER puts it elsewhere",
        ) from error


def free(run: RunSection) -> None:
    """Checks that a new run may be made where the config says.

    Raises:
        PlaceTaken: if `run.dir` exists and is not empty.
    """
    if run.dir is None:
        return
    path = Path(run.dir)
    there = RunDirectory(path)
    if there.is_locked():
        raise there.in_use()
    if path.exists() and not never_begun(path):
        begun = (path / "status.json").is_file()
        raise PlaceTaken(
            "the directory is not empty, and runs are never overwritten"
            if path.is_dir()
            else "this is a file, not a directory",
            where=f"run.dir={path}",
            hint=f"`{spelt('resume', path)}` goes on with the run in it; or choose another run.dir"
            if begun
            else "choose another run.dir",
        )


def check_unused(folder: Path, whose: str) -> None:
    """Checks that `folder` is free for something new, such as a sweep.

    Args:
        folder: need not exist.
        whose: what it is for, such as `a sweep`, for the message.

    Raises:
        PlaceTaken: if the folder is a file, or not empty.
    """
    sweep_halves(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise PlaceTaken(
            f"the directory is in use, and not by {whose}",
            where=str(folder),
            expected="a new or empty directory",
        )


def keep_plan(folder: Path, name: str, plan: Mapping[str, Any], whose: str, free: str) -> None:
    """Writes the plan of a folder of runs as NAME.yaml, or checks that the plan there is the same.

    Args:
        folder: need not exist.
        name: of the file, without its suffix.
        plan: what must be the same whenever work in the folder goes on.
        whose: what it is for, such as `a study of rates`.
        free: what else may change, for the message.

    Raises:
        PlaceTaken: if the folder holds another plan, or something else.
    """
    file = folder / f"{name}.yaml"
    if file.is_file():
        if read_file(file)[0] != plan:
            raise PlaceTaken(
                "this folder holds another study",
                where=str(file),
                hint=f"{free} may change; for the rest take another --dir",
            )
        return
    check_unused(folder, whose)
    folder.mkdir(parents=True, exist_ok=True)
    RunDirectory(folder).write_yaml(name, plan)


def never_begun(path: Path) -> bool:
    """Whether `path` is an empty directory, or that of a run killed before its first status.

    Such a run has computed nothing; its lock file shows that weft made the directory.
    """
    if not path.is_dir():
        return False
    entries = [entry for entry in path.iterdir() if not is_half(entry)]
    names = {entry.name for entry in entries}
    if "metrics.jsonl" in names and (path / "metrics.jsonl").stat().st_size == 0:
        names.remove("metrics.jsonl")
    return not entries or ("lock" in names and names <= _BEFORE_THE_FIRST_STATUS)


def _numbered(base: Path, name: str) -> RunDirectory:
    number = 1
    while True:
        path = base / (name if number == 1 else f"{name}-{number}")
        number += 1
        try:
            path.mkdir()
        except FileExistsError:
            if not never_begun(path):
                continue
        try:
            return _claimed(path)
        except RunError:
            continue  # Another process was faster.


def _claimed(path: Path) -> RunDirectory:
    """Locks the directory and removes the files of a run that never began.

    Raises:
        PlaceTaken: if another process writes there, or has begun a run meanwhile.
    """
    directory = RunDirectory(path)
    directory.lock()
    if not never_begun(path):
        directory.unlock()
        raise PlaceTaken(
            "another process has begun a run here",
            where=str(path),
            hint=f"`{spelt('resume', path)}` goes on with it; or choose another run.dir",
        )
    for name in _BEFORE_THE_FIRST_STATUS - {"lock"}:
        (path / name).unlink(missing_ok=True)
    return directory


def aside(path: Path) -> Path:
    """A free name beside `path` to move it to: `<name>.aside`, `<name>.aside-2`, …"""
    return unused(path.with_name(f"{path.name}.aside"))


def unused(path: Path) -> Path:
    """`path` if nothing is there, else the first free one of `path-2`, `path-3`, …"""
    free, number = path, 1
    while free.exists():
        number += 1
        free = path.with_name(f"{path.name}-{number}")
    return free


def now() -> str:
    """The time in UTC, to the millisecond, by which runs are ordered."""
    stamp = datetime.now(UTC).isoformat(timespec="milliseconds")
    return stamp.replace("+00:00", "Z")
