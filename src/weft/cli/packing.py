"""`weft data pack`: makes the npz file that families read of pictures or of a table of series."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from weft.cli.output import emit, pairs
from weft.errors import UsageError
from weft.verbs.arguments import Json

TABLES = (".csv", ".tsv")


def pack(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER|TABLE", help="Pictures, a folder for each class; or a .csv or .tsv."
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="FILE.npz", help="File to write.")],
    size: Annotated[int, typer.Option(min=4, help="Pictures: width and height in pixels.")] = 32,
    grey: Annotated[bool, typer.Option("--grey", help="Pictures: keep one channel.")] = False,
    steps: Annotated[int, typer.Option(min=2, help="Series: steps of a sequence.")] = 96,
    stride: Annotated[
        int | None,
        typer.Option(
            min=1, help="Series: rows from one sequence to the next; by default --steps / 4."
        ),
    ] = None,
    held_out: Annotated[
        float, typer.Option(min=0.01, max=0.9, help="Share to test on; the last rows of series.")
    ] = 0.2,
    seed: Annotated[int, typer.Option(help="Seed that chooses the pictures to test on.")] = 0,
    as_json: Json = False,
) -> None:
    """Make an npz file of your own pictures or series, to train on."""
    import numpy as np

    from weft.atomic import atomic_writer, destined
    from weft.data.pack.pictures import pictures
    from weft.data.pack.table import series

    if out.suffix != ".npz":
        raise UsageError(f"`{out}` is no npz file", where="--out", expected="a name ending in .npz")
    if source.is_dir():
        arrays, told = pictures(source, size, grey=grey, held_out=held_out, seed=seed)
    elif source.is_file() and source.suffix.lower() in TABLES:
        arrays, told = series(source, steps, stride or max(1, steps // 4), held_out)
    else:
        raise UsageError(
            f"`{source}` cannot be packed",
            expected=f"a folder of pictures, or a file ending in {' or '.join(TABLES)}",
        )
    with atomic_writer(destined(out)) as file:
        np.savez_compressed(file, **arrays)
    found = {"file": str(out), **told, **{name: list(each.shape) for name, each in arrays.items()}}
    emit(as_json, found, lambda: pairs({name: str(each) for name, each in found.items()}))
