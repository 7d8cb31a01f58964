"""`weft data fit`, `draw` and `convert`: splats of pictures, pictures of splats, file formats."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from weft.config.sections import Layout
from weft.errors import DataError, DeviceError, UsageError, asked_by
from weft.families.gaussvae.splats.meter import Meter
from weft.terminal import show, show_table, tell
from weft.verbs.arguments import DryRun, Json

if TYPE_CHECKING:
    from rich.table import Table

    from weft.data.albums import Picture
    from weft.families.gaussvae.splats.fit import How
    from weft.families.gaussvae.splats.quantise import Bits
    from weft.families.gaussvae.splats.result import Result

_LAYOUTS: dict[str, Layout | None] = {
    "": None,
    "channels_first": "channels_first",
    "channels_last": "channels_last",
}
_MOST_ROWS = 12
"""Pictures that the printed table lists."""


def fit(
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGES...",
            help="Files, folders, patterns, an npz file, or a set such as kodak or cifar10.",
        ),
    ],
    out: Annotated[
        Path, typer.Option(help="Folder to write to; an unfinished fit there is continued.")
    ],
    splats: Annotated[int, typer.Option(min=1, help="Splats of each picture.")] = 512,
    psnr: Annotated[
        float | None,
        typer.Option(min=0, help="Find the fewest splats that reach this PSNR, in dB."),
    ] = None,
    bits: Annotated[
        int | None,
        typer.Option(min=1, help="Take as many splats as fit into this many bits a picture."),
    ] = None,
    mode: Annotated[
        str, typer.Option(help="grid: splats anchored to cells; imagegs: Image-GS's schedule.")
    ] = "grid",
    steps: Annotated[int | None, typer.Option(min=1, help="Most steps of the fit.")] = None,
    quantise: Annotated[
        str,
        typer.Option(
            help="Bits of a position, scale, rotation and colour number, such as 16,16,16,16."
        ),
    ] = "",
    crops: Annotated[
        int,
        typer.Option(min=0, help="Fit squares of this side, in pixels, cut out of the pictures."),
    ] = 0,
    crops_each: Annotated[
        int,
        typer.Option(
            min=0, help="Squares cut at random places of each picture; 0: all, side by side."
        ),
    ] = 0,
    first: Annotated[
        int, typer.Option(min=0, help="Fit only this many pictures, the first ones; 0: all.")
    ] = 0,
    seed: Annotated[int, typer.Option(help="Seed of all random choices.")] = 123,
    split: Annotated[str, typer.Option(help="Split of a data set: train, val or test.")] = "",
    layout: Annotated[
        str, typer.Option(help="Order of an npz file's axes: channels_first or channels_last.")
    ] = "",
    root: Annotated[Path | None, typer.Option(help="Folder that holds the data sets.")] = None,
    form: Annotated[
        str,
        typer.Option(
            help="packed: one array; npz or pt: one file a picture, the default with --psnr."
        ),
    ] = "",
    keep_images: Annotated[
        bool, typer.Option("--keep-images", help="Keep the pictures beside packed splats.")
    ] = False,
    pictures: Annotated[
        int, typer.Option(min=0, help="PNG files to draw, picture and splats side by side.")
    ] = 8,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    force: Annotated[
        bool, typer.Option("--force", help="Fit again what is there already.")
    ] = False,
    dry_run: DryRun = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress and no table.")] = False,
    as_json: Json = False,
) -> None:
    """Fit 2D Gaussian splats to pictures."""
    from weft.data.albums import album, tiles
    from weft.families.gaussvae.splats import job, outcome

    _one_of("--mode", mode, ("grid", "imagegs"))
    _one_of("--form", form, ("", *outcome.FORMS) if psnr is None else ("", "npz", "pt"))
    _one_of("--layout", layout, tuple(_LAYOUTS))
    _usable(device)
    how = _how(mode, splats, steps, seed, quantise or ("16,16,16,16" if bits else ""))
    found = album(images, split=split, root=root, layout=_LAYOUTS[layout])[: first or None]
    if crops:
        found = tiles(found, crops, crops_each, seed)
    how = _settled(how, found, bits, psnr)
    form = form or ("packed" if psnr is None else "npz")
    settings = {"mode": mode, **asdict(how), "psnr": psnr, "form": form, "kept": keep_images}
    if dry_run:
        show(_plan(found, settings))
        return
    if out.exists() and not out.is_dir():
        raise UsageError(f"`{out}` is a file", where="--out", expected="a folder, or a new name")
    if force:
        outcome.clear(out)
    with asked_by("--out", "--force fits again"):
        job.open_job(out, found, settings)
    try:
        rows = outcome.read_table(out, found)
    except DataError as error:
        error.hint += "\n--force fits again"
        raise
    if rows is None:
        with Meter(len(found), "pictures fitted", quiet=quiet or as_json) as meter:
            results = job.run(out, found, how, meter, wanted=psnr, device=device)
        rows = _written(out, form, found, results, how, images=keep_images, drawn=pictures)
    elif not quiet:
        tell(f"{out} has this fit already; --force fits again")
    if as_json:
        show(json.dumps({"out": str(out), **outcome.mean_of(rows), "pictures": rows}, indent=2))
    elif not quiet:
        show_table(_table(rows, psnr))
        show(f"{out / outcome.TABLE} has all of them, {out / 'pictures'} the first side by side")


def draw(
    place: Annotated[
        Path,
        typer.Argument(metavar="SPLATS", help="A folder of `weft data fit`, or .pt or .npz files."),
    ],
    out: Annotated[Path, typer.Option(help="Folder for PNG files.")],
    size: Annotated[
        str,
        typer.Option(
            help="HEIGHTxWIDTH of the pictures of .pt and .npz files that no sizes.json gives."
        ),
    ] = "",
    height: Annotated[
        int | None, typer.Option(min=1, help="Height to draw at, in pixels; by default as fitted.")
    ] = None,
    topk: Annotated[
        int,
        typer.Option(min=0, help="Splats that count at a pixel, for .pt and .npz files; 0: all."),
    ] = 0,
    force: Annotated[
        bool, typer.Option("--force", help="Draw again what is there already.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
) -> None:
    """Draw splats as PNG files, without the pictures they were fitted to."""
    from weft.families.gaussvae.splats.shown import drawables, save

    with asked_by("--size"):
        found = list(drawables(place, _size(size) if size else None, topk))
    out.mkdir(parents=True, exist_ok=True)
    with Meter(len(found), "pictures drawn", quiet=quiet) as meter:
        for done, one in enumerate(found, start=1):
            if force or not (out / f"{one.name}.png").exists():
                save(out, one, height)
            meter(done)


def convert(
    place: Annotated[
        Path, typer.Argument(metavar="INPUT", help="A .pt or .npz file, or a folder of them.")
    ],
    out: Annotated[Path, typer.Option(help="Folder to write to.")],
    to: Annotated[str, typer.Option(help="npz, from checkpoints; or pt, from archives.")],
    batch_size: Annotated[
        int, typer.Option(min=1, help="Files converted between two lines of progress.")
    ] = 50,
    no_validate: Annotated[
        bool, typer.Option("--no-validate", help="Do not verify the written files by reading them.")
    ] = False,
    no_vis_feat: Annotated[
        bool, typer.Option("--no-vis-feat", help="Write checkpoints without the tensor vis_feat.")
    ] = False,
    log: Annotated[
        Path | None,
        typer.Option(
            help="File that gets a line for each file; by default conversion_log.jsonl in --out."
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Convert again what is there already.")
    ] = False,
    dry_run: DryRun = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress and no summary.")] = False,
    as_json: Json = False,
) -> None:
    """Convert splats between checkpoints (.pt) and archives (.npz), a folder at a time."""
    from weft.families.gaussvae.splats.convert import Order, convert_all, inputs, unfinished

    _one_of("--to", to, ("npz", "pt"))
    way = "pt2npz" if to == "npz" else "npz2pt"
    order = Order(way, not no_validate, not no_vis_feat, force, batch_size, log)
    paths = inputs(place, way)
    if dry_run:
        todo = unfinished(paths, out, order)
        show("\n".join([f"{len(todo)} of {len(paths)} files to convert", *map(str, todo)]))
        return
    with Meter(len(paths), "files converted", quiet=quiet or as_json) as meter:
        summary, failed = convert_all(paths, out, order, meter)
    if as_json:
        show(json.dumps({**summary, "failed": failed}, indent=2))
    elif not quiet:
        show("\n".join(f"{key}: {value}" for key, value in summary.items()))
    if failed:
        name, why = next(iter(failed.items()))
        others = f", nor can {len(failed) - 1} more" if len(failed) > 1 else ""
        raise DataError(f"{name} cannot be converted{others}", where=str(place), hint=why)


def _one_of(option: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise UsageError(
            f"unknown {option} `{value}`", expected=f"one of {', '.join(filter(None, known))}"
        )


def _size(text: str) -> tuple[int, int]:
    high, cross, wide = text.lower().partition("x")
    if not (cross and high.isdecimal() and wide.isdecimal() and int(high) and int(wide)):
        raise UsageError(f"--size {text}", expected="HEIGHTxWIDTH, such as 512x768")
    return int(high), int(wide)


def _usable(device: str) -> None:
    import torch

    kind = device.partition(":")[0]
    if kind not in ("cpu", "cuda") or (kind == "cuda" and not torch.cuda.is_available()):
        raise DeviceError(
            f"there is no device `{device}`", where="--device", expected="cpu or cuda"
        )


def _how(mode: str, splats: int, steps: int | None, seed: int, quantise: str) -> How:
    """The settings of a fit."""
    from weft.families.gaussvae.splats.anchored import Anchored
    from weft.families.gaussvae.splats.imagegs import ImageGS

    bits = _bits(quantise) if quantise else None
    if mode == "grid":
        how = Anchored(splats, bits=bits)
        return replace(how, steps=steps) if steps else how
    return ImageGS.lasting(steps or ImageGS.steps, splats, seed=seed, bits=bits)


def _bits(text: str) -> Bits:
    from weft.families.gaussvae.splats.quantise import LEAST_BITS, MOST_BITS

    words = text.split(",")
    if len(words) == 4 and all(word.strip().isdecimal() for word in words):
        position, scale, rotation, colour = map(int, words)
        bits = (position, scale, rotation, colour)
        if all(LEAST_BITS <= each <= MOST_BITS for each in bits):
            return bits
    raise UsageError(
        f"--quantise {text}",
        expected=f"four numbers from {LEAST_BITS} to {MOST_BITS}: position,scale,rotation,colour",
    )


def _settled(how: How, pictures: Sequence[Picture], bits: int | None, psnr: float | None) -> How:
    """The settings with the number of splats that the bits allow, checked with the pictures."""
    from weft.families.gaussvae.splats.anchored import Anchored, grid
    from weft.families.gaussvae.splats.search import affordable

    if bits is not None and psnr is not None:
        raise UsageError(
            "--bits and --psnr both choose the number of splats", expected="one of them"
        )
    if psnr is not None:
        return how
    if bits is not None and how.bits is not None:
        with asked_by("--bits", "--quantise sets the bits of a number"):
            how = replace(how, splats=affordable(*pictures[0].size, bits, how.bits))
    for height, width in {one.size for one in pictures}:
        if isinstance(how, Anchored):
            grid(how.splats, height, width)
        if how.splats > height * width:
            raise UsageError(
                f"{how.splats} splats for {height} x {width} pixels",
                expected="no more splats than pixels",
            )
    return how


def _plan(pictures: Sequence[Picture], settings: dict[str, Any]) -> str:
    """What a fit would do, as JSON."""
    sizes = sorted({f"{one.size[0]}x{one.size[1]}" for one in pictures})
    return json.dumps({"pictures": len(pictures), "sizes": sizes, **settings}, indent=2)


def _written(
    out: Path,
    form: str,
    pictures: Sequence[Picture],
    results: Sequence[Result],
    how: How,
    *,
    images: bool,
    drawn: int,
) -> list[dict[str, Any]]:
    """Writes splats, drawings and the table of a fit, which then is done; the table's rows."""
    from weft.families.gaussvae.splats import job, outcome

    outcome.write_splats(out, form, pictures, results, how, images=images)
    outcome.draw(out / "pictures", pictures[:drawn], results[:drawn], how)
    rows = outcome.rows_of(pictures, results)
    outcome.write_table(out, rows)
    job.close_job(out)
    return rows


def _table(rows: Sequence[dict[str, Any]], psnr: float | None) -> Table:
    """The first pictures, and the mean of all."""
    from rich.table import Table

    from weft.families.gaussvae.splats.outcome import mean_of

    table = Table(box=None, header_style="")
    for name in ("picture", "pixels", "splats", "PSNR", "SSIM", "seconds"):
        table.add_column(name, justify="left" if name == "picture" else "right")
    for row in rows[:_MOST_ROWS]:
        short = psnr is not None and row["psnr"] < psnr
        table.add_row(
            row["name"],
            f"{row['height']} x {row['width']}",
            f"{row['splats']:,}",
            f"{row['psnr']:.2f}" + (" (not reached)" if short else ""),
            f"{row['ssim']:.4f}",
            f"{row['seconds']:.2f}",
        )
    if len(rows) > _MOST_ROWS:
        table.add_row(f"... {len(rows) - _MOST_ROWS:,} more")
    mean = mean_of(rows)
    table.add_row(
        f"mean of {len(rows):,}",
        "",
        f"{mean['splats']:,.0f}",
        f"{mean['psnr']:.2f}",
        f"{mean['ssim']:.4f}",
        f"{mean['seconds']:.2f}",
    )
    return table
