"""What the system refuses - room, rights, memory - told as such, and not as a mistake in weft."""

from __future__ import annotations

import errno
import os
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from weft.errors import Interrupted, SystemFault, UsageError, WeftError
from weft.stopping import Stopped, name_of

_RUST = re.compile(r"\(os error (\d+)\)")
"""How libraries written in Rust tell an error of the system."""

_NO_ROOM = re.compile(
    "can't allocate memory|not enough memory|storage size calculation overflow"
    "|multiplication overflow",
    re.IGNORECASE,
)
"""How torch tells that a CPU has no room for a tensor: as a RuntimeError, like any mistake."""

_ASKED = re.compile(r"tried to allocate (\d+) bytes")

MISNAMED = (errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP)
"""A path that can be none, such as one below a file: who named it asked for what is not."""

_HINTS = {
    errno.ENOSPC: "make room, or choose another folder",
    errno.EDQUOT: "your quota is used up: make room, or choose another folder",
    errno.EROFS: "what lies there can only be read: choose another folder",
    errno.EMFILE: "`ulimit -n` says how many files a process may open",
    errno.ENOMEM: "free memory, or ask for less",
}


def refusal(error: BaseException) -> OSError | None:
    """The system's own error in `error`, or behind what a library made of it; None if none is."""
    if isinstance(error, OSError):
        return error
    if isinstance(error, RuntimeError):
        # torch writes through Python's file, and tells what went wrong there in words of its own.
        behind = error.__cause__ or error.__context__
        return behind if isinstance(behind, OSError) else None
    if match := _RUST.search(str(error)):
        number = int(match[1])
        return OSError(number, os.strerror(number))
    return None


def is_of_the_disk(error: BaseException) -> bool:
    """Whether the disk refused, rather than a network or what was read."""
    refused = (*_HINTS, errno.EACCES, errno.EPERM, errno.EIO)
    return isinstance(error, OSError) and error.errno in refused


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Has what the system refuses inside name the file: a full disk itself names none."""
    try:
        yield
    except Exception as error:
        refused = refusal(error)
        if refused is None:
            raise
        named = OSError(refused.errno, refused.strerror or str(refused), str(path))
        raise named from error


def check_folder() -> None:
    """Sees that the folder the process works in is there: libraries that look for it may end the
    process without it.

    Raises:
        UsageError: if it was removed.
    """
    try:
        os.getcwd()
    except FileNotFoundError as error:
        raise UsageError(
            "the folder that this was called in is gone", hint="`cd` to one that is there"
        ) from error


def fault(error: BaseException) -> WeftError | None:
    """`error` as its reader should meet it, if the surroundings are at fault and not the code."""
    if isinstance(error, WeftError):
        return error
    if isinstance(error, KeyboardInterrupt | Stopped):
        again, saved = "the same command does it again", "what is on the disk is whole"
        return Interrupted(name_of(error), "", again, saved)
    if (package := _failed_import(error)) != "":
        return _not_imported(package, error)
    if isinstance(error, OSError):
        return _refused(error)
    if (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and _NO_ROOM.search(str(error)))
    ):
        asked = _ASKED.search(str(error))
        return SystemFault(
            "there is not enough memory",
            where=f"{int(asked[1]):,} bytes more" if asked else _first_line(error),
            hint="a smaller model or batch_size, or engine.accumulation, asks for less",
        )
    return None


def _refused(error: OSError) -> WeftError:
    names = [str(name) for name in (error.filename, error.filename2) if name is not None]
    what = error.strerror or str(error) or type(error).__name__
    if not what[1:2].isupper():
        what = what[:1].lower() + what[1:]
    if error.errno in MISNAMED:
        return UsageError(what, where=" -> ".join(names), expected="another place, or name")
    hint = _HINTS.get(error.errno or 0, "")
    if error.errno in (errno.EACCES, errno.EPERM):
        user = f"user {os.getuid()} " if hasattr(os, "getuid") else "this user "
        hint = f"{user}may not do this there: mend the rights, or choose another folder"
    return SystemFault(what, where=" -> ".join(names), hint=hint)


def _not_imported(package: str, error: BaseException) -> SystemFault:
    hint = f"install `{package}` anew; `weft doctor` says what else is wrong"
    if isinstance(error, ValueError):
        hint = f"it refuses a setting of its own: an environment variable, or a file of {package}'s"
    if (file := _in_the_way(error)) is not None:
        hint = f"`{file.name}` here is taken for the module of that name: rename it, or call weft "
        hint += "in another folder"
    return SystemFault(
        f"`{package}` cannot be imported: {type(error).__name__}: {_first_line(error)}",
        where=sys.executable,
        hint=hint,
    )


def _in_the_way(error: BaseException) -> Path | None:
    """The file of the folder at hand that Python found in place of a module of a package, if the
    error was raised there, or for want of what it lacks."""
    here = Path.cwd()
    found = [Path(frame.f_code.co_filename) for frame, _ in traceback.walk_tb(error.__traceback__)]
    lacking = getattr(error, "path", None) or getattr(getattr(error, "obj", None), "__file__", None)
    found += [Path(lacking)] if isinstance(lacking, str) else []
    return next((file for file in reversed(found) if file.parent == here and file.exists()), None)


def _failed_import(error: BaseException) -> str:
    """The package, not of weft, in whose own import `error` was raised; "" if in none."""
    ours = False
    for frame, _ in traceback.walk_tb(error.__traceback__):
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if ours and package not in ("weft", "importlib") and frame.f_code.co_name == "<module>":
            return package
        ours = package in ("weft", "__main__") or (ours and package == "importlib")
    absent = (error.name or "").partition(".")[0] if isinstance(error, ImportError) else ""
    return absent if absent != "weft" else ""


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]
