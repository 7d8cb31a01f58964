"""`weft compress` and `weft decompress`: pictures as files of a model's latents, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from weft.errors import UsageError
from weft.terminal import show, show_table
from weft.verbs.arguments import Json

Model = Annotated[
    Path,
    typer.Option(
        "--model",
        metavar="RUN|FILE",
        help="A run, or the compressor.safetensors that `weft compress` writes into it.",
    ),
]
_SUFFIX = ".lat"


def compress(
    pictures: Annotated[list[Path], typer.Argument(metavar="IMG...", help="Pictures of any size.")],
    model: Model,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE|FOLDER", help="Where to write; by default beside the pictures."),
    ] = None,
    step: Annotated[
        float,
        typer.Option(
            min=0.5,
            max=127.5,
            help="Quantisation step in mean posterior deviations, a multiple of 1/2; larger steps "
            "make smaller files.",
        ),
    ] = 4.0,
    refine: Annotated[
        int, typer.Option(min=0, help="Optimiser steps that fit the latents to each picture.")
    ] = 10,
    as_json: Json = False,
) -> None:
    """Compress pictures into .lat files; prints bits per pixel and PSNR."""
    import numpy as np

    from weft.atomic import atomic_writer, destined
    from weft.data.pictures import Decoder, decoding
    from weft.families.gaussvae.codec import container
    from weft.families.gaussvae.codec.compressor import HALVES, psnr
    from weft.families.gaussvae.codec.entropy import coder
    from weft.verbs.gaussvae_compressors import opened

    coder()
    halves = round(step * HALVES)
    if halves != step * HALVES:
        raise UsageError(f"--step {step:g}", expected="a multiple of 1/2, such as 4 or 2.5")
    targets = _targets(pictures, out, _SUFFIX)
    # A file that is no picture is found before anything is written.
    readable = Decoder()
    for path in pictures:
        readable(path)
    compressor = opened(model, fit=True)
    rows = []
    with decoding("the command line") as decode:
        for path, target in zip(pictures, targets, strict=True):
            wanted = np.asarray(decode(path))
            content = compressor.compress(wanted, halves=halves, refinement=refine)
            found = compressor.decompress(*container.unpack(content, target), str(target))
            with atomic_writer(destined(target)) as file:
                file.write(content)
            rows.append(
                _written(target, len(content), wanted.shape) | {"PSNR": psnr(found, wanted)}
            )
    _print(rows, as_json)


def decompress(
    files: Annotated[list[Path], typer.Argument(metavar="FILE.lat...", help="Compressed files.")],
    model: Model,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE|FOLDER", help="Where to write; by default beside the files."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace pictures that are there already.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Decompress .lat files into PNG pictures, with the same bytes on every CPU."""
    from PIL import Image

    from weft.atomic import destined, replacing
    from weft.families.gaussvae.codec import container
    from weft.families.gaussvae.codec.entropy import coder
    from weft.verbs.gaussvae_compressors import opened

    coder()
    targets = _targets(files, out, ".png")
    compressor = opened(model)
    coded = [container.read(path) for path in files]
    # A .lat file often lies beside the picture it was made from, which must not be replaced.
    if (there := next((each for each in targets if each.is_file()), None)) and not force:
        raise UsageError(
            "there is a picture already",
            where=str(there),
            expected="--out with a new name, or --force",
        )
    rows = []
    for path, target, (header, payload) in zip(files, targets, coded, strict=True):
        picture = compressor.decompress(header, payload, str(path))
        with replacing(destined(target)) as temporary:
            Image.fromarray(picture).save(temporary, "PNG")
        height, width = header.size
        rows.append({"file": str(target), "pixels": f"{width}x{height}"})
    _print(rows, as_json)


def _targets(sources: Sequence[Path], out: Path | None, suffix: str) -> list[Path]:
    """The file that the result of each source is written to.

    Raises:
        UsageError: if two results would go to one file.
    """
    if out is not None and out.suffix == suffix and not out.is_dir():
        targets = [out] * len(sources)
    else:
        targets = [(out or path.parent) / f"{path.stem}{suffix}" for path in sources]
    if twice := next((target for target in targets if targets.count(target) > 1), None):
        raise UsageError(
            f"{targets.count(twice)} of {len(sources)} files would be written to one",
            where=str(twice),
            expected="a folder, and names that differ",
        )
    return targets


def _written(target: Path, size: int, shape: tuple[int, ...]) -> dict[str, Any]:
    """The row of a file of `size` bytes that holds a picture (H, W, 3)."""
    from weft.families.gaussvae.codec.container import HEADER_BYTES

    height, width = shape[:2]
    return {
        "file": str(target),
        "pixels": f"{width}x{height}",
        "bytes": size,
        "header": HEADER_BYTES,
        "bits/pixel": 8 * size / (height * width),
    }


def _print(rows: Sequence[Mapping[str, Any]], as_json: bool) -> None:
    """Prints the rows, one a file, as JSON or as a table."""
    from weft.reports.tables import Column, Table, rich_table

    if as_json:
        show(json.dumps(rows, indent=2))
        return
    columns = tuple(
        Column(key, role="text" if isinstance(value, str) else "value")
        for key, value in rows[0].items()
    )
    show_table(rich_table(Table(columns, tuple(dict(row) for row in rows))))
