"""Rate and distortion of gaussvae runs and of known codecs: real bits, PSNR, BD-rate, a figure."""

# M pictures, h x w tile

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from weft.atomic import destined, write_text
from weft.config.paths import as_name
from weft.errors import UsageError
from weft.papers import script
from weft.reports.tables import Cell, Column, Table, rich_table
from weft.terminal import show, show_table, tell

if TYPE_CHECKING:
    from torch import Tensor

    from weft.families.gaussvae.score.bd_rate import Curve

STEPS = (2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0)
"""Quantisation steps, in mean posterior deviations."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs `weft study gaussvae-rd RUN... [--data SET] [--items M]`; returns the exit code."""
    return script.run(_print_curves, argv)


def _print_curves(words: list[str]) -> None:
    parser = argparse.ArgumentParser("weft study gaussvae-rd", description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, help="runs of gaussvae with arch=image")
    parser.add_argument(
        "--data", default="cifar10",
        help="a set, folder or file of pictures; larger ones are cut into tiles (default cifar10)",
    )  # fmt: skip
    parser.add_argument(
        "--items", type=script.at_least(1), default=2000, help="tiles at most (default 2000)"
    )
    parser.add_argument(
        "--refine", type=script.at_least(0), default=10, help="steps of refinement (default 10)"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("runs/gaussvae-rd"),
        help="folder of the figure and the numbers (default runs/gaussvae-rd)",
    )  # fmt: skip
    flags = script.parsed(parser, words)
    if flags.items < 2 or flags.refine < 0:
        raise UsageError("--items or --refine is too small", expected="at least 2, at least 0")
    name = as_name(Path(flags.data).name)
    # Before the work, not after it.
    picture, file = (destined(flags.out / f"{name}.{kind}") for kind in ("png", "json"))
    found, images = curves(flags.runs, flags.data, flags.items, flags.refine)
    pixels = images.shape[-2] * images.shape[-1]
    where = f"{len(images):,} pictures of {flags.data}, {images.shape[-1]} x {images.shape[-2]}"
    show_table(rich_table(points(found, pixels, where)))
    rates = bd_rates(found, [str(run) for run in flags.runs])
    show_table(rich_table(rates))
    _save(picture, file, found, rates, where)
    for path in (picture, file):
        show(str(path))


def curves(
    runs: Sequence[Path], data: str, items: int, refinement: int
) -> tuple[dict[str, Curve], Tensor]:
    """Name -> rate-distortion curve of each run and known codec, and the pictures they code.

    Components, ranges and tables of the known codecs come from the first run's training pictures.

    Args:
        runs: with models of pictures of one size.
        data: the pictures, as for `weft.data.albums.album`; of a set, its last split.
        items: largest number M of pictures.
        refinement: optimiser steps that fit a run's latents to each picture.

    Returns: the curves, and the pictures (M, 3, h, w).

    Raises:
        UsageError: if a run codes no pictures, or pictures of another size than the first.
    """
    import torch

    from weft.families.gaussvae.baselines.known import known
    from weft.families.gaussvae.codec.entropy import FINE
    from weft.families.gaussvae.score.rate import channels_last, ladder
    from weft.run.named import named
    from weft.verbs.gaussvae_compressors import opened

    found: dict[str, Curve] = {}
    train: Tensor | None = None
    images: Tensor | None = None
    for path in runs:
        compressor = opened(path, fit=True)
        if images is None:
            train = named(path).load().data.train.fields["image"].cpu()
            images = torch.from_numpy(_pictures(data, compressor.tile, items))
        if images.shape[-2:] != compressor.tile:
            raise UsageError(
                f"the pictures of {path} have {compressor.tile} pixels",
                expected=f"{tuple(images.shape[-2:])}, as those of {runs[0]}",
            )
        tell(f"coding with {path}")
        wanted = channels_last(images)
        latents = compressor.latents(wanted, refinement)
        steps = [round(FINE * step) for step in STEPS]
        found[str(path)] = ladder(compressor.tables, latents, compressor.pictures, wanted, steps)
    assert train is not None and images is not None
    tell("known codes")
    return {**found, **known(train, images)}, images


def points(found: Mapping[str, Curve], pixels: int, where: str) -> Table:
    """The table of all points of all curves.

    Args:
        found: name -> curve.
        pixels: number of pixels of a picture.
        where: the pictures, in words.
    """
    rows: list[dict[str, Cell]] = [
        {
            "code": name,
            "bits": float(bits),
            "header": float(header),
            "bits/pixel": float(bits) / pixels,
            "PSNR": float(psnr),
        }
        for name, curve in found.items()
        for bits, header, psnr in zip(curve.bits, curve.header, curve.psnr, strict=True)
    ]
    columns = (Column("code", role="text"), *(Column(key) for key in list(rows[0])[1:]))
    note = f"{where}: bits of a picture without and of its header, bits/pixel without"
    return Table(columns, tuple(rows), note=note)


def bd_rates(found: Mapping[str, Curve], runs: Sequence[str]) -> Table:
    """The table of BD-rates of each run against all other codecs, in percent."""
    from weft.families.gaussvae.score.bd_rate import bd_rate

    rows: list[dict[str, Cell]] = []
    for run in runs:
        row: dict[str, Cell] = {"code": run}
        for name, curve in found.items():
            share = bd_rate(found[run], curve) if name not in runs else None
            if name not in runs:
                row[name] = None if share is None else 100 * share
        rows.append(row)
    columns = (Column("code", role="text"), *(Column(key) for key in list(rows[0])[1:]))
    note = "BD-rate, percent: bits at equal PSNR beside the code of the column, negative is fewer"
    return Table(columns, tuple(rows), note=note)


def _pictures(data: str, tile: tuple[int, int], items: int) -> NDArray[np.uint8]:
    """Pictures (M, 3, h, w): whole ones of a tile's size, or tiles drawn from larger ones."""
    from weft.data.albums import album, tiles

    pictures = album([data])
    if all(picture.size == tile for picture in pictures):
        return np.stack([picture.pixels() for picture in pictures[:items]])
    if tile[0] != tile[1]:
        raise UsageError(f"tiles of {tile}", expected="a square, or pictures of this size")
    each = -(-items // len(pictures))
    return np.stack([part.pixels() for part in tiles(pictures, tile[0], each)[:items]])


def _save(picture: Path, file: Path, found: Mapping[str, Curve], rates: Table, where: str) -> None:
    """Writes the figure and the numbers."""
    from weft.families.gaussvae.figures.rate_distortion import drawn
    from weft.plots.images import save
    from weft.plots.style import style

    with style():
        save(drawn(found, where), picture)
    numbers = {
        "pictures": where,
        "curves": {
            each: {key: list(map(float, values)) for key, values in asdict(curve).items()}
            for each, curve in found.items()
        },
        "bd_rate_percent": [dict(row) for row in rates.rows],
    }
    write_text(file, json.dumps(numbers, indent=2))
