"""Counts what runs of several sizes would cost in parameters, memory, FLOPs and traffic."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from weft import families
from weft.papers import script
from weft.reports.tables import Column, Table
from weft.reports.written import markdown

_WEIGHTS = 4
"""Bytes of a number."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs `weft study costs RECIPE [KEY=VALUE …] --form NAME:WORDS …`; returns the exit code."""
    return script.run(_study, argv)


def _study(words: list[str]) -> None:
    parser = argparse.ArgumentParser("weft study costs", description=__doc__)
    parser.add_argument("words", nargs="+", help="recipe and overrides, as for weft train")
    parser.add_argument(
        "--form", type=script.form, action="append", default=[], metavar="NAME:WORDS",
        help="a row of the table: its name and its overrides",
    )  # fmt: skip
    parser.add_argument(
        "--tflops",
        type=script.positive,
        help="what a device sustains, in TFLOP/s: adds the time it takes",
    )
    flags = script.parsed(parser, words)
    rows = []
    for name, own in flags.form or [("as it is", ())]:
        rows.append({"size": name, **row(counted(*flags.words, *own), flags.tflops)})
    columns = tuple(Column(key, role="text") for key in rows[0])
    print(markdown(Table(columns, tuple(rows))))


def counted(*words: str) -> dict[str, Any]:
    """The costs of `weft train --dry-run`, counted on shapes alone where that is possible."""
    from weft import api
    from weft.data.own import settled
    from weft.engine.parts import Parts
    from weft.engine.profile import resolved

    config = settled(api.configure(*words).config)
    return resolved(Parts.of(families.find(config.family), config))


def row(found: dict[str, Any], tflops: float | None) -> dict[str, str]:
    """The costs of a run as text, each in the largest unit that fits.

    A process holds weights, gradients and optimiser state, and what one forward pass keeps for the
    backward pass. With several processes each holds the first three whole, sends every gradient
    once a step, and keeps a share of the rest.

    Args:
        found: the result of `counted`.
        tflops: rate that a device sustains, in 10^12 operations a second.
    """
    flops = float(found["flops_per_step"])
    steps = int(found["total_steps"])
    told = {
        "parameters": _scaled(float(found["parameters"]), ("", "k", "M", "G"), 1000),
        "weights, gradients, moments": _scaled(float(found["bytes_weights"]), _BYTES, 1024),
        "kept for the backward pass": _scaled(float(found["bytes_activations"]), _BYTES, 1024),
        "sent a step": _scaled(float(found["parameters"]) * _WEIGHTS, _BYTES, 1024),
        "FLOPs a step": _scaled(flops, _FLOPS, 1000),
        "steps": f"{steps:,}",
        "FLOPs in all": f"{flops * steps:.2g}",
    }
    if tflops is not None:
        told[f"at {tflops:g} TFLOP/s"] = _time(flops * steps / (tflops * 1e12))
    return told


_BYTES = ("B", "KiB", "MiB", "GiB", "TiB")
_FLOPS = ("", "k", "M", "G", "T", "P", "E")


def _scaled(value: float, units: Sequence[str], base: int) -> str:
    place = 0
    while value >= base and place < len(units) - 1:
        value, place = value / base, place + 1
    return f"{value:.3g} {units[place]}".strip()


def _time(seconds: float) -> str:
    for unit, size in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= size:
            return f"{seconds / size:.2g} {unit}"
    return f"{seconds:.2g} s"
