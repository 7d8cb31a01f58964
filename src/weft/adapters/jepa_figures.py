"""Draws the JEPA paper's figures from finished runs: error over noise, and which dots are kept."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from weft.errors import RunError, WeftError


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m weft.adapters.jepa_figures FOLDER... [--out FOLDER]`; the exit code."""
    parser = argparse.ArgumentParser("jepa_figures", description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path, help="runs or sweeps to draw together")
    parser.add_argument("--out", type=Path, help="where to write; the first folder by default")
    flags = parser.parse_args(sys.argv[1:] if argv is None else argv)
    try:
        for path in draw(flags.folders, flags.out or flags.folders[0]):
            print(path)
    except WeftError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def draw(folders: Sequence[Path], out: Path) -> list[Path]:
    """Writes what the finished runs below `folders` allow for, and gives the files.

    Raises:
        RunError: if they allow for nothing.
    """
    from weft.families.jepa.comparison import figures
    from weft.reports.plots import save, style
    from weft.run.registry import find_runs

    runs = [
        (run.config, run.metrics)
        for folder in folders
        for run in find_runs(folder)
        if run.family == "jepa" and run.state == "finished"
    ]
    written = []
    with style():
        for name, _, figure in figures(runs):
            save(figure, out / f"{name}.png")
            written.append(out / f"{name}.png")
    if not written:
        raise RunError(
            f"{len(runs)} finished runs of jepa make no figure",
            where=", ".join(map(str, folders)),
            expected="several brightnesses of noise, or runs on three dots",
        )
    return written


if __name__ == "__main__":
    sys.exit(main())
