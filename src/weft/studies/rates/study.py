"""Trains every setting of a grid at the best of several learning rates, over seeds."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from weft.atomic import destined
from weft.errors import UsageError
from weft.papers import script
from weft.studies.rates.kept import Kept
from weft.studies.rates.rows import read
from weft.studies.rates.runs import Setting, Study
from weft.studies.rates.table import NEEDED, told
from weft.sweeps.grid import REPLICATE, points
from weft.sweeps.space import parse


def main(argv: Sequence[str] | None = None) -> int:
    """Runs `weft study rates RECIPE [KEY=A,B …] --form NAME:WORDS …`; returns the exit code."""
    return script.run(_study, argv)


def _study(words: list[str]) -> None:
    flags = script.parsed(_parser(), words)
    if flags.table is None:
        if flags.out is None and flags.dir is not None:
            flags.out = flags.dir / "rates.jsonl"
        if flags.out is None or not flags.words:
            raise UsageError(
                "there is nothing to train", expected="a recipe, and --out FILE or --dir FOLDER"
            )
        rates = tuple(flags.rates.split(",")) if flags.rates else ()
        study = Study(flags.key, rates, flags.further, flags.seeds, flags.final, flags.out)
        cells = _part(_settings(flags.words, flags.form), flags.part)
        destined(flags.out)
        if flags.dir is not None:
            if flags.final:
                raise UsageError("runs that are kept are tested as they are", where="--final")
            Kept(study, flags.dir, flags.stack, flags.workers).run(cells)
        elif flags.stack or flags.workers:
            raise UsageError("nothing is kept to go on with", expected="--dir FOLDER beside it")
        else:
            for cell in cells:
                study.run(cell)
    files = flags.table or [path for path in [flags.out] if path.is_file()]
    print(told(read(files, NEEDED)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("weft study rates", description=__doc__)
    parser.add_argument("words", nargs="*", help="recipe, overrides and axes, as for weft sweep")
    parser.add_argument(
        "--form",
        type=script.form,
        action="append",
        default=[],
        metavar="NAME:WORDS",
        help="a column of the table: its name and its overrides; with a rate of its own if it says",
    )
    parser.add_argument("--key", default="optim.lr", help="which option is the rate")
    parser.add_argument("--rates", default="", help="rates to choose from on validation")
    parser.add_argument(
        "--further", type=script.at_least(0), default=2, help="rates tried beyond an end that won"
    )
    parser.add_argument(
        "--seeds", type=script.at_least(1), default=3, help="seeds at the chosen rate"
    )
    parser.add_argument(
        "--final", type=script.split, default=(), help="overrides while the chosen runs are tested"
    )
    parser.add_argument("--part", default="1/1", help="I/N: every N-th cell from the I-th on")
    parser.add_argument("--out", type=Path, help="file that gets a line of JSON for every run")
    parser.add_argument("--dir", type=Path, help="keeps the runs there, and goes on with them")
    parser.add_argument("--stack", action="store_true", help="with --dir: trains them as one")
    parser.add_argument(
        "--workers", type=script.at_least(1), help="with --dir: processes at a time"
    )
    parser.add_argument("--table", nargs="+", type=Path, help="only print what such files hold")
    return parser


def _settings(words: Sequence[str], forms: Sequence[script.Form]) -> list[Setting]:
    """All cells, column after column."""
    space = parse(words)
    if REPLICATE in space.axes or any(word.startswith(f"{REPLICATE}=") for word in words):
        raise UsageError(
            "every cell has its own seeds, 0, 1, …", where=REPLICATE, expected="--seeds N, how many"
        )
    cells = []
    for name, own in forms or [("as it is", ())]:
        cells += [
            Setting(name, dict(point.values), (*point.overrides, *own)) for point in points(space)
        ]
    return cells


def _part(cells: list[Setting], part: str) -> list[Setting]:
    number, _, count = part.partition("/")
    if not (number.isdigit() and count.isdigit() and 1 <= int(number) <= int(count)):
        raise UsageError(f"`{part}` is no part", where="--part", expected="I/N, such as 2/6")
    return cells[int(number) - 1 :: int(count)]
