"""What identifies a run: its config, the bytes of its data, the versions of torch and weft."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch

from weft.config.layer import LENGTHS, dotted
from weft.errors import WrongRun
from weft.version import __version__

Identity = dict[str, Any]

FREE = ("log", "engine", "checkpoint", "run")
"""Config sections that change nothing that is computed, beyond rounding: not compared."""


def identity(config: Mapping[str, Any], files: Mapping[str, str]) -> Identity:
    """The identity that a checkpoint carries.

    Args:
        config: the run's config as plain values.
        files: data file -> its SHA-256.

    Returns: `options`, dotted name -> value of all options that change what is computed, without
        the length; `data`, the files; `torch` and `weft`, their versions.
    """
    return {
        "options": options_of(config),
        "data": dict(files),
        "torch": str(torch.__version__),
        "weft": __version__,
    }


def options_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted name -> value of the options in `config`, plain values, that change what is computed,
    without the length."""
    free = (*FREE, *LENGTHS)
    return dotted({key: value for key, value in config.items() if key not in free})


def saved_identity(state: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """The identity in a checkpoint; one that holds no options has those of the config beside it."""
    return {"options": options_of(config), **state.get("identity", {})}


def check(
    saved: Mapping[str, Any],
    now: Mapping[str, Any],
    accept: Collection[str],
    tell: Callable[[str], None],
) -> None:
    """Compares a checkpoint's identity with that of the run as it is now.

    Args:
        saved: the checkpoint's; one of an earlier weft may lack entries.
        now: that of this process.
        accept: `config`, `data` or both: differences there are allowed.
        tell: called with a line of text for each difference that is allowed.

    Raises:
        WrongRun: if config or data differ and that is not accepted.
    """
    for name in ("torch", "weft"):
        if name in saved and saved[name] != now[name]:
            tell(f"saved with {name} {saved[name]}, now {now[name]}: the last digits may differ")
    found = {}
    if lines := _edited(saved.get("options", now["options"]), now["options"], tell):
        found["config"] = (
            "config.yaml was edited since the run saved its last checkpoint: " + ", ".join(lines)
        )
    if lines := _changed(saved.get("data", {}), now["data"]):
        found["data"] = "; ".join(lines)
    for name, says in found.items():
        if name in accept:
            tell(f"accepted: {says}")
    refused = {name: says for name, says in found.items() if name not in accept}
    if refused:
        raise WrongRun(
            "the run is not what it was: " + "; ".join(refused.values()),
            where=", ".join(refused),
            expected="the config and the data it was started with",
            hint=f"put them back, or say --accept-changes {','.join(refused)}",
        )


def _edited(
    before: Mapping[str, Any], now: Mapping[str, Any], tell: Callable[[str], None]
) -> list[str]:
    """A line for each option that differs; an option that weft has gained since then is told, and
    does not count."""
    lines = []
    for name, value in now.items():
        if name not in before:
            tell(f"{name} = {value} is an option that this weft has gained since")
        elif before[name] != value:
            lines.append(f"{name} was {before[name]}, is {value}")
    return [*lines, *(f"{name} is gone" for name in before if name not in now)]


def _changed(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """A line for each data file that differs; files that are not read now are not compared.

    A file of a new name does not count if its content was among the data: it was moved.
    """
    lines = []
    for name, sha256 in now.items():
        if name in before:
            if before[name] != sha256:
                lines.append(
                    f"{name} has changed (sha256 {before[name][:12]}…, now {sha256[:12]}…)"
                )
        elif before and sha256 not in before.values():
            lines.append(f"{name} was not among the data (sha256 {sha256[:12]}…)")
    return lines
