"""Reads and checks a run's files; of a damaged one it says in one line what is wrong."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from weft.config.yaml import read_file
from weft.errors import ConfigError, RunError
from weft.run.block import read_block
from weft.shell import spelt

Values = dict[str, Any]
Check = tuple[Callable[[Any], bool], str]

STATES = ("running", "finished", "interrupted", "failed")
RECORD = ("config.yaml", "resolved.yaml", "status.json", "env.json")
"""The files that describe a run; a folder with two of them counts as a run."""

_LARGEST = 2**24
_LARGEST_LOG = 2**32
_DEEP = re.compile(r"(?:[\[{]\s*){50}")
_CONTROL = re.compile(r"[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def read_record(path: Path, name: str) -> Values:
    """Reads one of `RECORD` in the run at `path` and checks it against what weft writes there.

    Raises:
        RunError: if it is damaged.
    """
    file = path / name
    values = read_yaml(file) if file.suffix == ".yaml" else _json(file)
    for key, (fits, expected) in _REQUIRED[name].items():
        if key not in values:
            raise damaged(file, f"`{key}` is missing", expected)
        if not fits(values[key]):
            raise damaged(file, f"`{key}` is {_shown(values[key])}", expected)
    for key, (fits, expected) in _OPTIONAL[name].items():
        if values.get(key) is not None and not fits(values[key]):
            raise damaged(file, f"`{key}` is {_shown(values[key])}", expected)
    return values


def read_rows(file: Path) -> list[Values]:
    """The rows of a metrics.jsonl, without a last line that a crash cut short.

    Raises:
        RunError: if it is damaged.
    """
    text = _text(file, _LARGEST_LOG)
    rows = []
    for number, line in enumerate(text[: text.rfind("\n") + 1].split("\n")[:-1], start=1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise damaged(file, "this line is not JSON", line=number) from error
        if not isinstance(row, dict) or not _is_whole(row.get("step")):
            raise damaged(file, "this line has no `step`", line=number)
        for key, value in row.items():
            if not _is_number_or_none(value):
                raise damaged(file, f"`{key}` is {_shown(value)}", _NUMBER, line=number)
        rows.append(row)
    return rows


def read_index(file: Path) -> list[dict[str, str]]:
    """The entries of a figures/index.json: `file`, `name` and `caption` of each sample.

    Raises:
        RunError: if it is damaged.
    """
    entries = _json(file).get("figures")
    keys = {"file", "name", "caption"}
    if not isinstance(entries, list) or not all(
        isinstance(entry, dict) and keys <= entry.keys() and all(map(_is_text, entry.values()))
        for entry in entries
    ):
        raise damaged(file, "`figures` is no list of file, name and caption")
    return entries


def damaged(file: Path, says: str, expected: str = "", line: int = 0) -> RunError:
    """The error that says what is wrong with a run's file, and what can be done."""
    where = f"{file}:{line}" if line else str(file)
    return RunError(
        f"{file.name} is damaged: {says}",
        where=where,
        expected=expected,
        hint=_HINTS.get(file.name, "").format(
            run=file.parent, again=spelt("sample", file.parent.parent)
        ),
    )


def read_yaml(file: Path) -> Values:
    """The mapping in a YAML file that weft wrote.

    Raises:
        RunError: if it is damaged.
    """
    text = _text(file, _LARGEST)
    values = read_block(text)
    if values is not None:
        return values
    if found := _CONTROL.search(text):
        line = text.count("\n", 0, found.start()) + 1
        raise damaged(file, f"it holds the control character {found[0]!r}", line=line)
    if _DEEP.search(text):
        raise damaged(file, "it is nested deeper than anything that weft writes")
    try:
        return read_file(file)[0]
    except (ConfigError, ValueError, RecursionError) as error:
        says = error.brief if isinstance(error, ConfigError) else "it is not YAML of weft's"
        raise damaged(file, says.replace(str(file), file.name)) from error


def _json(file: Path) -> Values:
    text = _text(file, _LARGEST)
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise damaged(
            file, "it is not JSON" if text else "it is empty", line=error.lineno
        ) from error
    except (ValueError, RecursionError) as error:
        raise damaged(file, "it is not JSON of weft's") from error
    if not isinstance(values, dict):
        raise damaged(file, f"it holds {_shown(values)}", "a mapping in braces")
    return values


def _text(file: Path, most: int) -> str:
    try:
        # Without O_NONBLOCK a pipe of this name would block its reader for ever.
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK)
        with open(descriptor, "rb", buffering=0) as opened:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise damaged(file, "it is not a file")
            if found.st_size > most:
                raise damaged(file, f"it has {found.st_size:,} bytes", f"{most:,} at most")
            return opened.readall().decode("utf-8")
    except FileNotFoundError as error:
        raise damaged(file, "it is missing") from error
    except UnicodeDecodeError as error:
        raise damaged(file, "it is not text in UTF-8") from error
    except OSError as error:
        raise damaged(file, f"it cannot be read: {error.strerror}") from error


def _shown(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 40 else f"{text[:39]}…"


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 2**1000


def _is_number_or_none(value: Any) -> bool:
    # JSON written by other programs may hold NaN and Infinity, which Python reads as floats.
    return value is None or isinstance(value, float) or _is_number(value)


def _is_time(value: Any) -> bool:
    try:
        return bool(isinstance(value, str) and datetime.fromisoformat(value))
    except ValueError:
        return False


def _are_metrics(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_number_or_none, value.values()))


def _is_best(value: Any) -> bool:
    whole = isinstance(value, dict) and value.keys() >= {"step", "value"}
    return whole and _is_whole(value["step"]) and _is_number_or_none(value["value"])


def _are_declared(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(entry, dict)
        and entry.keys() <= {"name", "better", "unit", "about"}
        and _is_text(entry.get("name"))
        and entry.get("better") in ("lower", "higher")
        and all(map(_is_text, entry.values()))
        for entry in value
    )


def _are_parents(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(pin, dict) and _is_text(pin.get("file")) and _is_text(pin.get("sha256"))
        for pin in value.values()
    )


def _is_lineage(value: Any) -> bool:
    return isinstance(value, dict) and _is_text(value.get("run")) and _is_whole(value.get("step"))


def _is_git(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() >= {"commit", "dirty"}


def _is_mapping(value: Any) -> bool:
    return isinstance(value, dict)


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


def _is_state(value: Any) -> bool:
    return value in STATES


_NUMBER = "a number or null"
_WHOLE: Check = (_is_whole, "a whole number")
_TEXT: Check = (_is_text, "text")
_MAPPING: Check = (_is_mapping, "a mapping")

_REQUIRED: Mapping[str, Mapping[str, Check]] = {
    "status.json": {
        "state": (_is_state, f"one of {', '.join(STATES)}"),
        "recipe": _TEXT,
        "step": _WHOLE,
        "total_steps": _WHOLE,
        "seconds": (_is_number, "a number"),
        "started": (_is_time, "a time such as 2026-11-20T14:03:11Z"),
        "metrics": (_are_metrics, "names with numbers"),
    },
    "config.yaml": {"family": _TEXT, "seed": _WHOLE, "run": _MAPPING},
    "resolved.yaml": {"total_steps": _WHOLE, "batches_per_epoch": _WHOLE, "parameters": _WHOLE},
    "env.json": {},
}
_OPTIONAL: Mapping[str, Mapping[str, Check]] = {
    "status.json": {
        "family": _TEXT,
        "message": _TEXT,
        "saved": _WHOLE,
        "best": (_is_best, "null, or a step and a value"),
        "declared": (_are_declared, "a list of metrics, each with name and better"),
    },
    "config.yaml": dict.fromkeys(
        ("data", "optim", "schedule", "clip", "eval", "checkpoint", "log", "engine"), _MAPPING
    ),
    "resolved.yaml": {
        "parents": (_are_parents, "names, each with file and sha256"),
        "continues": (_is_lineage, "the directory of a run and a step"),
    },
    "env.json": {
        "git": (_is_git, "null, or commit and dirty"),
        "command": (_is_list, "a list of words"),
        "device_name": _TEXT,
    },
}
_HINTS = {
    "status.json": "put it back from a copy; what the run has learnt is in {run}/checkpoints",
    "config.yaml": "put it back from a copy: without it nobody knows what was trained",
    "resolved.yaml": "put it back from a copy",
    "env.json": "it only says what the run ran on: with {{}} alone in it the run can be used",
    "metrics.jsonl": "put it back from a copy, or take the damaged lines out of it",
    "index.json": "`{again}` draws the samples again",
    "sweep.yaml": "put it back from a copy; its runs are whole without it",
    "search.yaml": "put it back from a copy; the trials' runs are whole without it",
}
