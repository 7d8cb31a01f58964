"""Runs of the CET paper's scripts: one for each seed, with its result file."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from weft.errors import UsageError
from weft.papers import script
from weft.papers.cet.flags import origins


def train(preset: str, flags: argparse.Namespace, seed: int, config: Mapping[str, Any]) -> None:
    """Trains or resumes one run, and writes `results/<save_folder>/<run_name>.pt`.

    Args:
        preset: gives all values that the flags do not set.
        flags: of the command line.
        seed: of the run.
        config: the flags as config values by key.
    """
    from weft import api
    from weft.papers.cet.layout import OriginalLayout

    name = flags.run_name if flags.seeds == 1 else f"{flags.run_name}_seed{seed}"
    results = Path("results") / flags.save_folder
    parameters = {**vars(flags), "seed": seed}
    sinks = [lambda directory: OriginalLayout(results / f"{name}.pt", parameters)]
    if flags.resume:
        run = api.resume(_unfinished(results / "runs" / "cet", name), show=True, sinks=sinks)
    else:
        values = script.overlay(config, flags.set)
        values |= {"run.root": str(results / "runs"), "run.name": name}
        with script.told(flags.set, origins(flags)):
            run = api.train(preset, show=True, sinks=sinks, **values)
    if run is not None:
        print(f"{results / f'{name}.pt'}  {run.metrics}")


def _unfinished(folder: Path, name: str) -> Path:
    """The newest run of that name that is not finished.

    Raises:
        UsageError: if there is none.
    """
    from weft.run.registry import find_runs

    found = [
        run
        for run in find_runs(folder)
        if run.config.get("run", {}).get("name") == name and run.state != "finished"
    ]
    if not found:
        raise UsageError(
            f"there is no unfinished run `{name}`", where=str(folder), hint="leave --resume out"
        )
    return found[-1].path
