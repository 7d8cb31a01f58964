"""Measures how the time of a training step grows with length, batch, width or number of runs."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weft import families
from weft.atomic import destined
from weft.config.yaml import read_file
from weft.errors import ConfigError, UsageError
from weft.papers import script
from weft.reports.tables import Cell, Column, Table, rich_table
from weft.reports.written import markdown
from weft.terminal import show, show_table, tell

if TYPE_CHECKING:
    from weft.studies.growth_curves import Curve, Measured

FILE = "growth.yaml"
"""File, beside claims.yaml, in which a family says how its cost should grow."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs `weft study growth [FAMILY … | RECIPE KEY=A,B,… …]`; returns the exit code."""
    return script.run(_study, argv)


def _study(words: list[str]) -> None:
    parser = argparse.ArgumentParser("weft study growth", description=__doc__)
    parser.add_argument(
        "words",
        nargs="*",
        help="families, all by default; or a recipe and one axis, `runs` for models of one stack",
    )
    parser.add_argument("--expected", type=script.finite, help="exponent, for a recipe")
    parser.add_argument(
        "--seconds", type=script.not_negative, default=2.0, help="time for each curve"
    )
    parser.add_argument("--threads", type=script.at_least(1), default=1, help="CPU threads")
    parser.add_argument("--picture", type=Path, help="SVG or PNG to write")
    parser.add_argument("--markdown", action="store_true", help="the table for a document")
    flags = script.parsed(parser, words)
    if flags.picture is not None:
        if flags.picture.suffix not in (".svg", ".png"):
            raise UsageError(
                f"`{flags.picture}` is no picture",
                where="--picture",
                expected="a name ending in .svg or .png",
            )
        destined(flags.picture)

    from weft.engine.bench import machine
    from weft.engine.device import using_threads
    from weft.studies.growth_curves import draw, measured

    found: list[Measured] = []
    with using_threads(flags.threads):
        for curve in list(_asked(flags.words, flags.expected)):
            tell(f"{curve.family}: {curve.about}")
            found.append(measured(curve, flags.seconds))
        table = told(found, machine())
    if flags.picture is not None:
        draw(found, flags.picture)
        tell(f"picture {flags.picture}")
    if flags.markdown:
        show(markdown(table).rstrip())
    else:
        show_table(rich_table(table))


def _asked(words: Sequence[str], expected: float | None) -> Iterator[Curve]:
    from weft.studies.growth_curves import Curve

    if words and "/" in words[0]:
        yield Curve.of(words[0].partition("/")[0], "", words, expected)
        return
    for name in words or families.names():
        family = families.find(name)
        path = family.home / FILE
        if not path.is_file():
            if words:
                raise UsageError(
                    f"family `{name}` does not say how its cost grows",
                    where=str(path),
                    expected="a list of `curves`: about, words and expected",
                    hint=f"`weft study growth {name}/{family.default} batch_size=32,64,128`",
                )
            continue
        for entry in read_file(path)[0].get("curves") or []:
            try:
                yield Curve.of(name, entry["about"], entry["words"].split(), entry["expected"])
            except (KeyError, TypeError, AttributeError) as error:
                raise ConfigError(
                    f"this curve is malformed: {error}",
                    where=str(path),
                    expected="about, words with one axis, and expected, the exponent",
                ) from error


def told(found: Sequence[Measured], machine: Any) -> Table:
    """The table of curves: ends, exponent over all sizes and over the last two, and the expected
    one, which holds where the overhead of a step no longer counts."""
    rows: list[Mapping[str, Cell]] = []
    for each in found:
        points = list(each.milliseconds.items())
        (small, fast), (large, slow) = points[0], points[-1]
        rows.append(
            {
                "family": each.curve.family,
                "curve": each.curve.about,
                "from": f"{small:g}: {fast:.3g} ms",
                "to": f"{large:g}: {slow:.3g} ms",
                "exponent": f"{each.exponent():.2f}",
                "end": f"{each.exponent(2):.2f}",
                "expected": None if (of := each.curve.expected) is None else f"{of:g}",
            }
        )
    titles = {"end": "of the last two"}
    keys = ("family", "curve", "from", "to", "exponent", "end", "expected")
    columns = tuple(Column(key, title=titles.get(key, ""), role="text") for key in keys)
    note = (
        f"medians; {machine['threads']} thread(s) of {machine['cores']} cores, "
        f"torch {machine['torch']}, {machine['gemm_gflops']} GFLOP/s in a 1024-cube product"
    )
    return Table(columns, tuple(rows), note=note)
