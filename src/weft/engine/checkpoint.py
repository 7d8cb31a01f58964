"""Checkpoints: written atomically with a checksum; finds the newest undamaged one again."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from weft.atomic import atomic_writer, replacing, sweep_halves, write_text
from weft.errors import CheckpointError, NoCheckpoint

FORMAT = 1
_NAME = re.compile(r"^step_(\d{8})\.pt$")
State = dict[str, Any]


class Store:
    """The checkpoints of one run.

    A checkpoint `step_00000390.pt` lies beside `step_00000390.pt.sha256`, in the format of
    `sha256sum -c`. The sum is written first, so a checkpoint under its final name always has one,
    and the rename to that name is the single moment at which a step becomes saved. When a step is
    saved again (after an evaluation that was cut short) the file lists both sums until the new
    checkpoint is in place. The newest checkpoint names the best one (`progress.best_step`), which
    is never deleted.

    Args:
        folder: where they lie; made when the first one is saved.
        keep: how many of the newest are kept.
        keep_every: checkpoints at multiples of this many steps are kept for good.
        warn: called with a line of text about each damaged checkpoint.
    """

    def __init__(
        self,
        folder: Path,
        keep: int = 2,
        keep_every: int | None = None,
        warn: Callable[[str], None] = print,
    ) -> None:
        self.folder, self.keep, self.keep_every, self.warn = folder, keep, keep_every, warn

    def save(self, state: State, step: int) -> Path:
        """Writes a checkpoint, deletes those that are too old, and returns its file.

        Raises:
            CheckpointError: if the disk is full or not writable; older checkpoints stay.
        """
        path = self._path(step)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            _write(path, {"format": FORMAT, **state})
            self._retire(_best_step(state))
        except OSError as error:
            raise CheckpointError(
                f"cannot write a checkpoint: {error.strerror}",
                where=str(path),
                hint="make room, then `weft resume` goes on from the last good checkpoint",
            ) from error
        return path

    def steps(self) -> list[int]:
        """Steps of the checkpoints there are, ascending, damaged ones included."""
        if not self.folder.is_dir():
            return []
        found = (_NAME.match(entry.name) for entry in self.folder.iterdir())
        return sorted(int(match[1]) for match in found if match)

    def newest(self) -> State | None:
        """The newest checkpoint whose checksum is right, or None if there are no checkpoints.

        If another process trains the run meanwhile, and replaces the checkpoints that were listed,
        the search starts again.

        Raises:
            CheckpointError: if there are checkpoints and all of them are damaged.
        """
        while steps := self.steps():
            for step in reversed(steps):
                path = self._path(step)
                try:
                    return read(path)
                except CheckpointError as error:
                    if path.exists():
                        self.warn(f"{error.message} ({path.name}); trying the one before")
            if self.steps() == steps:
                raise CheckpointError(
                    f"all {len(steps)} checkpoints are damaged",
                    where=str(self.folder),
                    hint="move them away to start the run from its first step",
                )
        return None

    def best(self) -> int | None:
        """Step of the best checkpoint, or None where nothing was held out to choose by."""
        state = self.newest() if self.steps() else None
        return None if state is None else _best_step(state)

    def load(self, name: str | None = None) -> State:
        """Reads checkpoint `best`, `last` or a step number; by default the best, if there is one.

        If the best is damaged or missing, and `name` is None, the newest good one is read instead,
        and `warn` is called.

        Raises:
            CheckpointError: if there is none, or the named one is damaged.
        """
        if name not in (None, "last"):
            return read(self.find(name))
        state = self.newest()
        if state is None:
            return read(self.find(name))  # Raises: there is none.
        best = _best_step(state)
        if name == "last" or best is None:
            return state
        try:
            return read(self.find(str(best)))
        except CheckpointError as error:
            name = self._path(best).name
            self.warn(f"the best, {name}: {error.message}; taking the newest good one instead")
            return state

    def tidy(self, newest: State | None = None) -> None:
        """Removes half-written files of a process that was killed while it saved.

        Args:
            newest: the newest good checkpoint, if it was read: those it made too old go, too.
        """
        if not self.folder.is_dir():
            return
        sweep_halves(self.folder)
        if newest is not None:
            self._retire(_best_step(newest))
        kept = {_sum_path(self._path(step)).name for step in self.steps()}
        for path in self.folder.glob("step_*.pt.sha256"):
            if path.name not in kept:
                path.unlink(missing_ok=True)

    def forget(self, step: int) -> None:
        """Removes checkpoints of steps after `step`, from which the run goes on."""
        for later in self.steps():
            if later > step:
                self._path(later).unlink()
                _sum_path(self._path(later)).unlink(missing_ok=True)

    def copy(self, step: int, folder: Path) -> None:
        """Copies the checkpoint of a step into another run's folder, its sum first."""
        path = self._path(step)
        folder.mkdir(parents=True, exist_ok=True)
        for file in (_sum_path(path), path):
            with replacing(folder / file.name) as temporary:
                shutil.copyfile(file, temporary)

    def find(self, name: str | None = None) -> Path:
        """The file of checkpoint `best`, `last` or a step number; by default the best, if any.

        Raises:
            CheckpointError: if there are no checkpoints.
            NoCheckpoint: if there are only others.
        """
        # From Python a step is a number as often as a word.
        name = None if name is None else str(name)
        steps = self.steps()
        named = {"last": steps[-1] if steps else None, "best": self.best()}
        name = name or ("last" if named["best"] is None else "best")
        step = named[name] if name in named else int(name) if name.isdigit() else None
        if step in steps:
            return self._path(step)
        missing, where = f"there is no checkpoint `{name}`", str(self.folder)
        if not steps:
            raise CheckpointError(missing, where=where, expected="a run that has saved one")
        known = [word for word, value in named.items() if value is not None]
        expected = f"one of {', '.join([*known, *map(str, steps)])}"
        raise NoCheckpoint(missing, where=where, expected=expected)

    def _path(self, step: int) -> Path:
        return self.folder / f"step_{step:08d}.pt"

    def _retire(self, best: int | None) -> None:
        for step in self.steps()[: -self.keep]:
            if step == best or (self.keep_every and step % self.keep_every == 0):
                continue
            self._path(step).unlink()
            _sum_path(self._path(step)).unlink(missing_ok=True)


def read(path: Path) -> State:
    """Reads a checkpoint after verifying its checksum; never runs code from the file.

    Raises:
        CheckpointError: if it is damaged, has no checksum, or is of an unknown format.
    """
    import torch

    sum_path = _sum_path(path)
    if not sum_path.is_file():
        raise CheckpointError("checkpoint without a checksum", where=str(path))
    try:
        # Errors are replaced: a damaged sum file then simply holds no matching sum.
        lines = sum_path.read_text(encoding="utf-8", errors="replace").splitlines() or [""]
        expected = [line[:64] for line in lines]
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError as error:
        raise CheckpointError("checkpoint is gone: its run goes on", where=str(path)) from error
    if found not in expected:
        raise CheckpointError(
            "checkpoint is damaged: its checksum differs",
            where=str(path),
            expected=f"sha256 {expected[0][:12]}…, found {found[:12]}…",
        )
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    # torch lets any error of its parsers through, and refuses code with an UnpicklingError.
    except Exception as error:
        raise CheckpointError(
            "checkpoint cannot be read, though its checksum is right",
            where=str(path),
            expected="a file that `torch.load(..., weights_only=True)` reads",
            hint=str(error).partition("\n")[0],
        ) from error
    version = state.get("format") if isinstance(state, dict) else None
    if not isinstance(state, dict) or version != FORMAT:
        raise CheckpointError(
            f"checkpoint has format {version}",
            where=str(path),
            expected=f"format {FORMAT}",
            hint="use the version of weft that wrote it",
        )
    return state


def _write(path: Path, state: State) -> None:
    import torch

    with atomic_writer(path) as file:
        torch.save(state, file)
        file.flush()
        with Path(file.name).open("rb") as written:
            digest = hashlib.file_digest(written, "sha256").hexdigest()
        said = f"{digest}  {path.name}\n"
        kept = _sum_path(path)
        # If this step was saved before, that checkpoint stays valid until it is replaced.
        before = kept.read_text("utf-8", "replace") if path.exists() and kept.exists() else ""
        write_text(kept, said + before)
    if before:
        write_text(kept, said)


def _best_step(state: State) -> int | None:
    step: int | None = state.get("progress", {}).get("best_step")
    return step


def _sum_path(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")
