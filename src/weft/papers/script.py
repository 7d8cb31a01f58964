"""Shared by the papers' command lines: parsing, `--set`, notes, errors and exit codes."""

from __future__ import annotations

import argparse
import math
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from weft.config.layer import LENGTHS
from weft.config.yaml import read_value
from weft.errors import ConfigError, PlaceTaken, RunError, UsageError
from weft.run.directory import unused as unused
from weft.stopping import stopped_by_signals
from weft.system import check_folder, fault
from weft.terminal import plainly, tell

_TRIES = 100
"""Scripts that may start in the same second."""

Trained = TypeVar("Trained")


def in_new_folder(choose: Callable[[], Path], train: Callable[[str], Trained]) -> Trained:
    """What `train` returns of the folder that `choose` names by the time. Scripts that start in the
    same second choose the same folder; all but the first choose again.
    """
    for _ in range(_TRIES):
        folder = choose()
        try:
            return train(str(folder))
        except PlaceTaken as error:
            # Of several processes only the first knows; the others wait for it where it was.
            if str(folder) not in error.where or os.environ.get("WORLD_SIZE", "1") != "1":
                raise
    raise RunError("other scripts take every new folder", where=str(folder))


def run(work: Callable[[list[str]], None], argv: Sequence[str] | None = None) -> int:
    """Runs a command; an expected error is printed on stderr, without a traceback.

    Expected are a `WeftError` and errors of the machine, such as a full disk. Others are raised.

    Args:
        work: the command, a function of its words. Blank words are left out, such as a space after
            the backslash at the end of a line makes.
        argv: the words; those of the process if None.
    Returns: the exit code: 0, 1 failure, 2 usage, 130 or 143 interrupted.
    """
    words = [word for word in (sys.argv[1:] if argv is None else argv) if word.strip()]
    plainly()
    try:
        with stopped_by_signals():
            check_folder()
            work(words)
    except BrokenPipeError:
        return 0
    except BaseException as error:
        if (found := fault(error)) is not None:
            tell(str(found))
            return found.exit_code
        # argparse has printed the error or the help.
        if isinstance(error, SystemExit) and isinstance(error.code, int):
            return error.code
        raise
    return 0


def note(text: str) -> None:
    """Prints a remark to the user on stderr."""
    tell(f"note: {text}")


def parsed(parser: argparse.ArgumentParser, words: Sequence[str]) -> argparse.Namespace:
    """The parsed words of a command line, with options before, between or after the others.

    argparse by itself accepts positional words in one place only, and rejects those after an
    option.
    """
    return parser.parse_intermixed_args(words)


Form = tuple[str, tuple[str, ...]]
"""One of several settings to compare: its name and its words."""


def form(text: str) -> Form:
    """Reads an option `NAME:WORDS`, for argparse's `type`."""
    name, colon, own = text.partition(":")
    if not colon:
        raise argparse.ArgumentTypeError(f"`{text}` has no colon: NAME:WORDS, such as `wide:d=8`")
    return name, split(own)


def split(text: str) -> tuple[str, ...]:
    """Reads an option that holds words as a shell splits them, for argparse's `type`."""
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"`{text}` cannot be split into words: {error}") from error


def at_least(least: int) -> Callable[[str], int]:
    """Reads an option that is a whole number of `least` or more, for argparse's `type`."""

    def read(text: str) -> int:
        if not re.fullmatch(r"[-+]?\d{1,18}", text) or int(text) < least:
            raise argparse.ArgumentTypeError(f"`{text}` is not a whole number of at least {least}")
        return int(text)

    return read


def finite(text: str) -> float:
    """Reads an option that is a number, for argparse's `type`."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"`{text}` is not a number")
    return value


def not_negative(text: str) -> float:
    """Reads an option that is a number of at least 0, for argparse's `type`."""
    value = finite(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"`{text}` is below 0")
    return value


def positive(text: str) -> float:
    """Reads an option that is a number above 0, for argparse's `type`."""
    value = finite(text)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"`{text}` is not above 0")
    return value


def add_set(parser: argparse.ArgumentParser) -> None:
    """Adds the option `--set KEY=VALUE`, which may be repeated, to a parser."""
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="any key of weft's config; overrides all other settings of it",
    )


def settings(words: Sequence[str], flag: str = "--set") -> dict[str, Any]:
    """The values of `key=value` words by key; the last one of a key counts.

    Args:
        words: values of the option `flag`.
    Raises:
        UsageError: for a word without `=`.
    """
    values = {}
    for word in words:
        key, sign, text = word.partition("=")
        if not sign:
            raise UsageError(f"`{word}` sets nothing", where=flag, expected="KEY=VALUE")
        values[key] = read_value(text, f"{flag} {word}")
    return values


def overlay(values: Mapping[str, Any], words: Sequence[str]) -> dict[str, Any]:
    """Config values by dotted key, overridden by the `--set` words.

    Values that lose their meaning by that are dropped: the options of a component that a word
    replaces, and the other one of the two ways to give a run's length.

    Raises:
        UsageError: for a word without `=`.
    """
    changes = settings(words)
    gone = {other: None for key, other in LENGTHS.items() if key in changes}
    replaced = tuple(
        key.removesuffix("kind")
        for key, value in changes.items()
        if key.endswith(".kind") and values.get(key, value) != value
    )
    kept = {key: value for key, value in values.items() if not key.startswith(replaced)}
    return {**kept, **gone, **changes}


@contextmanager
def told(words: Sequence[str], origins: Mapping[str, str] | None = None) -> Iterator[None]:
    """Inside this context config errors name the place where the user wrote a value.

    Args:
        words: those of `--set`.
        origins: key -> the place from which the script took its value, if no word sets it.
    """
    places = {**(origins or {}), **{word.partition("=")[0]: f"--set {word}" for word in words}}
    try:
        yield
    except ConfigError as error:
        for problem in error.problems:
            key = re.match(r"argument `(.+)`$", problem.where)
            if key is not None:
                problem.where = places.get(key[1], problem.where)
        raise
