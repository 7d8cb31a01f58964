"""What makes a run the one it is: its config, the bytes of its data, the versions it ran on."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from importlib.metadata import version
from typing import Any

import torch

from weft.config.layer import dotted
from weft.errors import WrongRun

Identity = dict[str, Any]

FREE = ("log", "engine", "checkpoint", "run")
"""Sections that do not change what is computed, beyond rounding: they are no part of it."""

LENGTHS = ("steps", "epochs")
"""How far a run goes, which may change when it goes on."""


def identity(config: Mapping[str, Any], files: Mapping[str, str]) -> Identity:
    """What a checkpoint carries.

    Args:
        config: plain, of the run.
        files: the data's, name -> SHA-256.
    Returns: `options`, all that change what is computed but for the length, by dotted
        name; `data`, the files; `torch`, `weft`, versions.
    """
    free = (*FREE, *LENGTHS)
    return {
        "options": dotted({key: value for key, value in config.items() if key not in free}),
        "data": dict(files),
        "torch": str(torch.__version__),
        "weft": version("weft"),
    }


def check(
    saved: Mapping[str, Any],
    now: Mapping[str, Any],
    accept: Collection[str],
    tell: Callable[[str], None],
) -> None:
    """Holds what a checkpoint was made with against what is here now.

    Args:
        saved: of the checkpoint; may lack entries, as one made by an earlier weft does.
        now: of this process.
        accept: `config` and `data` where a difference may be.
        tell: gets a line for each difference that is no obstacle.

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
    """What each option was and is now, of those that differ; one that weft has gained since is
    told, and is no difference."""
    lines = []
    for name, value in now.items():
        if name not in before:
            tell(f"{name} = {value} is an option that this weft has gained since")
        elif before[name] != value:
            lines.append(f"{name} was {before[name]}, is {value}")
    return [*lines, *(f"{name} is gone" for name in before if name not in now)]


def _changed(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """A line for each file that differs; what is not read now is not compared.

    A file of another name is no change if its content was among the data: it was moved.
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
