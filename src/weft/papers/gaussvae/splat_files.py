"""The GaussVAE tools' command lines: encode, decode, and convert in both directions."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from weft.atomic import destined
from weft.errors import DataError
from weft.papers import script


def encode(argv: Sequence[str] | None = None) -> int:
    """Fits pictures by the schedule of Image-GS and writes checkpoints; returns the exit code."""
    return script.run(_encode, argv)


def decode(argv: Sequence[str] | None = None) -> int:
    """Renders checkpoints and archives as pictures; the source pictures are not needed."""
    return script.run(_decode, argv)


def pt2npz(argv: Sequence[str] | None = None) -> int:
    """Converts checkpoints to archives; returns the exit code."""
    return script.run(lambda words: _convert(words, "pt2npz"), argv)


def npz2pt(argv: Sequence[str] | None = None) -> int:
    """Converts archives to checkpoints; returns the exit code."""
    return script.run(lambda words: _convert(words, "npz2pt"), argv)


_BITS = (16, 16, 16, 16)
"""Bits of each group of parameters with --quantize."""


def _encode(words: list[str]) -> None:
    from weft.data.albums import album
    from weft.families.gaussvae.splats import job, outcome
    from weft.families.gaussvae.splats.imagegs import ImageGS

    parser = _parser("encode.py", "Fit splats to pictures.")
    parser.add_argument("--num_gaussians", type=_positive, default=512)
    parser.add_argument("--max_steps", type=_positive, default=5000)
    parser.add_argument("--quantize", action="store_true", help="to 16 bits a number")
    parser.add_argument("--eval", action="store_true", help="write original/ and rendered/ PNGs")
    flags = script.parsed(parser, words)
    bits = _BITS if flags.quantize else None
    how = ImageGS.lasting(flags.max_steps, flags.num_gaussians, bits=bits)
    found = album([str(flags.input)])
    out: Path = flags.output
    todo = [one for one in found if flags.force or not (out / f"{one.name}.pt").exists()]
    if _only_said(flags, [one.name for one in todo], len(found)):
        return
    out.mkdir(parents=True, exist_ok=True)
    for members in job.groups(todo):
        group = [todo[index] for index in members]
        state = out / f".{group[0].name}.state"
        if flags.force:
            state.unlink(missing_ok=True)
        results = job.fitted(state, job.tensor(group), how, lambda done: None)
        outcome.write_splats(out, "pt", group, results, how, images=False)
        state.unlink(missing_ok=True)
        if flags.eval:
            outcome.draw_apart(out, group, results, how)
        for row in outcome.rows_of(group, results):
            _log(flags, row)
            _say(flags, f"{row['name']}  PSNR {row['psnr']:.2f}  SSIM {row['ssim']:.4f}")


def _decode(words: list[str]) -> None:
    import torch

    from weft.families.gaussvae.splats.quantise import quantised
    from weft.families.gaussvae.splats.shown import drawables, save

    parser = _parser("decode.py", "Draw splats as PNG files; their source pictures are not read.")
    parser.add_argument("--num_gaussians", type=_positive, help="only the first so many of each")
    parser.add_argument("--quantize", action="store_true", help="to 16 bits a number first")
    parser.add_argument("--render_height", type=_positive, help="pixels; as fitted if unset")
    parser.add_argument(
        "--size", type=_pair, help="HEIGHTxWIDTH of the pictures, where no sizes.json says it"
    )
    flags = script.parsed(parser, words)
    found = list(drawables(flags.input, flags.size))
    out: Path = flags.output
    todo = [one for one in found if flags.force or not (out / f"{one.name}.png").exists()]
    if _only_said(flags, [one.name for one in todo], len(found)):
        return
    out.mkdir(parents=True, exist_ok=True)
    for one in todo:
        splats = torch.from_numpy(one.splats[: flags.num_gaussians].copy())[None]
        splats = quantised(splats, _BITS) if flags.quantize else splats
        save(out, replace(one, splats=splats[0].numpy()), flags.render_height)
        _log(flags, {"name": one.name, "splats": splats.shape[1]})
        _say(flags, f"{one.name}  {splats.shape[1]} splats")


def _convert(words: list[str], way: str) -> None:
    from weft.families.gaussvae.splats.convert import Order, convert_all, inputs, unfinished

    parser = _parser(f"{way}.py", "Convert files of splats.")
    parser.add_argument("--batch_size", type=_positive, default=50, help="files to a summary")
    parser.add_argument("--no_validate", action="store_true", help="do not read what was written")
    if way == "npz2pt":
        parser.add_argument("--no_vis_feat", action="store_true", help="leave vis_feat out")
    flags = script.parsed(parser, words)
    order = Order(
        way,
        validate=not flags.no_validate,
        vis_feat=not getattr(flags, "no_vis_feat", False),
        force=flags.force,
        batch=flags.batch_size,
        log=flags.log,
    )
    paths = inputs(flags.input, way)
    todo = unfinished(paths, flags.output, order)
    if _only_said(flags, [path.name for path in todo], len(paths)):
        return
    summary, failed = convert_all(paths, flags.output, order, lambda done: None)
    _say(flags, f"{summary['converted']} of {summary['total_files']} files are converted")
    if failed:
        raise DataError(
            f"{len(failed)} files cannot be converted",
            where=str(flags.input),
            hint="\n".join(f"{name}: {why}" for name, why in failed.items()),
        )


def _parser(name: str, about: str) -> argparse.ArgumentParser:
    """A parser with the options that all four commands have."""
    parser = argparse.ArgumentParser(name, description=about, allow_abbrev=False)
    parser.add_argument("--input", type=Path, required=True, help="a file, or a folder")
    parser.add_argument("--output", type=Path, required=True, help="folder; finished files stay")
    parser.add_argument("--log", type=Path, help="file that gets a line of JSON for each file")
    parser.add_argument("--dry_run", action="store_true", help="only print what would be done")
    parser.add_argument("--force", action="store_true", help="overwrite existing output")
    parser.add_argument("--quiet", action="store_true", help="print errors only")
    return parser


def _positive(text: str) -> int:
    if text.isdecimal() and int(text):
        return int(text)
    raise argparse.ArgumentTypeError(f"`{text}` is no whole number above 0")


def _pair(text: str) -> tuple[int, int]:
    high, _, wide = text.lower().partition("x")
    return _positive(high), _positive(wide)


def _only_said(flags: argparse.Namespace, todo: Sequence[str], total: int) -> bool:
    """With --dry_run, prints what would be done; returns whether that is so."""
    if flags.dry_run:
        print("\n".join([f"{len(todo)} of {total} files to do", *todo]))
    return bool(flags.dry_run)


def _log(flags: argparse.Namespace, row: Mapping[str, Any]) -> None:
    if flags.log is not None:
        destined(flags.log)
        with flags.log.open("a") as file:
            file.write(json.dumps(dict(row)) + "\n")


def _say(flags: argparse.Namespace, text: str) -> None:
    if not flags.quiet:
        print(text)
