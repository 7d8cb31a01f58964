"""A process that kills itself, kill -9, at its n-th act upon the files of its folder."""

from __future__ import annotations

import builtins
import io
import os
import signal
import sys
from pathlib import Path
from typing import Any

_ACTS = (
    "os.rename",
    "os.remove",
    "os.mkdir",
    "os.link",
    "os.symlink",
    "os.truncate",
)
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Doom:
    """Counts what the process does to files below the current folder, from `watch` on.

    An act is to open a file for writing, to write to one that weft opened itself, to fsync, rename
    or remove one, or to make a folder. The process dies before the act; of a write, half is done.

    Args:
        at: number of the act at which it dies; None for never.

    Attributes:
        acts: what was done so far.
    """

    def __init__(self, at: int | None = None) -> None:
        self.at, self.acts = at, list[str]()
        self.home = str(Path.cwd())

    def watch(self) -> None:
        """Begins to count; cannot be undone in this process."""
        opened, synced = io.open, os.fsync

        def fsync(descriptor: Any) -> None:
            self.act(f"fsync {self._short(os.readlink(f'/proc/self/fd/{int(descriptor)}'))}")
            synced(descriptor)

        def open_file(file: Any, mode: str = "r", *rest: Any, **more: Any) -> Any:
            found = opened(file, mode, *rest, **more)
            ours = isinstance(file, str | os.PathLike) and self._is_ours(file)
            return _Torn(found, self) if ours and set(mode) & set("wax+") else found

        os.fsync = fsync
        io.open = builtins.open = open_file  # type: ignore[assignment]
        sys.addaudithook(self._hear)

    def act(self, what: str, half: Any = None) -> None:
        """Notes an act, and dies if it is the one."""
        self.acts.append(what)
        if self.at == len(self.acts):
            if half is not None:
                half()
            os.kill(os.getpid(), signal.SIGKILL)

    def _hear(self, event: str, args: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = args
            if isinstance(path, str | os.PathLike) and flags & _WRITES and self._is_ours(path):
                self.act(f"open {self._short(path)}")
        elif event in _ACTS and self._is_ours(args[0]):
            self.act(f"{event.partition('.')[2]} {self._short(args[0])}")

    def _is_ours(self, path: Any) -> bool:
        return os.path.abspath(os.fsdecode(path)).startswith(self.home)

    def _short(self, path: Any) -> str:
        return os.path.relpath(os.fsdecode(path), self.home)


class _Torn:
    """A file that is open for writing; its last write may be cut in two."""

    def __init__(self, file: Any, doom: Doom) -> None:
        self._file, self._doom, self._count = file, doom, 0

    def write(self, data: Any) -> Any:
        """Writes, or half of it and no more."""

        def half() -> None:
            self._file.write(data[: len(data) // 2])
            self._file.flush()

        self._count += 1
        # A checkpoint takes hundreds of writes: the 1st, 2nd, 4th, 8th, … are acts.
        if self._count & (self._count - 1) == 0:
            self._doom.act(f"write {self._doom._short(self._file.name)}", half)
        return self._file.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> _Torn:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __iter__(self) -> Any:
        return iter(self._file)
