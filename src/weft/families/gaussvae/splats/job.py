"""Fits many pictures to a folder; a killed fit can be continued exactly from any moment."""

# M pictures, N splats each

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from weft.atomic import atomic_writer, sweep_halves, write_text
from weft.data.albums import Picture
from weft.data.guard import parsing
from weft.data.npz import open_npz
from weft.errors import DataError, UsageError
from weft.families.gaussvae.splats.fit import Fit, How, as_unit, begin, judged
from weft.families.gaussvae.splats.result import Result, results_of
from weft.families.gaussvae.splats.search import smallest

Told = Callable[[float], object]
"""Called with the number of finished pictures, with fractions for unfinished ones."""

_GROUP_PIXELS, _GROUP_LEAST = 2**18, 4
"""Pictures are grouped up to this many pixels, and at least this many pictures."""

_WORD_SECONDS, _SAVE_SECONDS = 0.5, 20.0
"""Seconds between two reports of progress, and between two saves of a running fit."""


def open_job(folder: Path, pictures: Sequence[Picture], settings: dict[str, Any]) -> None:
    """Prepares `folder` for this job, or checks that it already has the same job.

    Raises:
        UsageError: if it has another job, with other pictures or settings.
    """
    described = sha256("".join(f"{one.name}{one.digest}" for one in pictures).encode())
    wanted = {"format": "weft fit", "version": 1, "pictures": described.hexdigest(), **settings}
    wanted = json.loads(json.dumps(wanted))
    path = folder / "fit.json"
    if path.exists():
        there = _settings(path)
        if there != wanted:
            other = [key for key in wanted if key not in there or there[key] != wanted[key]]
            raise UsageError(
                f"{folder} holds another fit: it differs in {', '.join(other) or 'its settings'}",
                expected="the folder of this very fit, to go on, or a new one",
            )
        return
    folder.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(wanted, indent=1) + "\n")


def _settings(path: Path) -> dict[str, Any]:
    """What fit.json says; nothing if it is damaged."""
    try:
        found = json.loads(path.read_bytes())
    # Also raised for what is not text, and for thousands of nested brackets.
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def run(
    folder: Path,
    pictures: Sequence[Picture],
    how: How,
    told: Told,
    *,
    wanted: float | None = None,
    device: str = "cpu",
) -> list[Result]:
    """Fits all pictures; those that `folder` already has are not fitted again.

    Args:
        folder: of `open_job`.
        pictures: the pictures.
        how: settings of the fit.
        told: reports progress.
        wanted: PSNR in decibels for which the number of splats is searched; None: that of `how`.
        device: of torch.
    """
    parts = folder / "parts"
    parts.mkdir(exist_ok=True)
    sweep_halves(parts)
    results: dict[int, Result] = {}
    for members in groups(pictures):
        path = parts / f"{members[0]:06d}.npz"
        found = _kept(path, len(members))
        if found is None:
            images, done = tensor([pictures[i] for i in members], device), len(results)

            def onwards(part: float, done: int = done) -> None:
                told(done + part)

            if wanted is None:
                found = fitted(path.with_suffix(".state"), images, how, onwards)
            else:
                found = smallest(images, wanted, how, onwards)
            _keep(path, found)
            path.with_suffix(".state").unlink(missing_ok=True)
        results |= dict(zip(members, found, strict=True))
        told(len(results))
    return [results[index] for index in range(len(pictures))]


def close_job(folder: Path) -> None:
    """Removes files that only a running job needs."""
    shutil.rmtree(folder / "parts", ignore_errors=True)


def groups(pictures: Sequence[Picture]) -> Iterator[list[int]]:
    """Groups of pictures of one size that are fitted at once, as indices into `pictures`."""
    sizes: dict[tuple[int, int], list[int]] = {}
    for index, picture in enumerate(pictures):
        sizes.setdefault(picture.size, []).append(index)
    for (height, width), members in sizes.items():
        count = max(_GROUP_LEAST, _GROUP_PIXELS // (height * width))
        yield from (members[first : first + count] for first in range(0, len(members), count))


def tensor(pictures: Sequence[Picture], device: str = "cpu") -> Tensor:
    """Pictures of one size as floats (M, 3, H, W) in [0, 1]."""
    pixels = np.stack([picture.pixels() for picture in pictures])
    return as_unit(torch.from_numpy(pixels).to(device))


def fitted(state: Path, images: Tensor, how: How, told: Told) -> list[Result]:
    """Fits pictures of one size; saves its state to the file `state`, and continues from it."""
    under_way = begin(images, how)
    before = _restored(under_way, state)
    steps, start = 1, time.perf_counter()
    saved = start
    while under_way.left:
        began = time.perf_counter()
        under_way.advance(steps)
        now = time.perf_counter()
        # Results do not depend on the number of steps taken at once.
        steps = max(1, round(steps * min(2.0, _WORD_SECONDS / max(1e-6, now - began))))
        told(len(images) * (1 - under_way.left / how.steps))
        if now - saved > _SAVE_SECONDS and under_way.left:
            with atomic_writer(state) as file:
                torch.save({"seconds": before + now - start, **under_way.state()}, file)
            saved = now
    return results_of(judged(under_way, images), before + time.perf_counter() - start)


def _restored(under_way: Fit, state: Path) -> float:
    """Continues from the file if there is one; returns the seconds spent before.

    Raises:
        DataError: if the file is damaged.
    """
    if not state.exists():
        return 0.0
    try:
        with parsing(state, "the state of a fit, as weft saved it"):
            saved = torch.load(state, map_location="cpu", weights_only=True)
            under_way.restore(saved)
            return float(saved["seconds"])
    except DataError as error:
        error.hint += "\nwithout this file, its pictures are fitted from the start"
        raise


def _keep(path: Path, results: Sequence[Result]) -> None:
    with atomic_writer(path) as file:
        np.savez(
            file,
            splats=np.concatenate([one.splats for one in results]),
            counts=np.array([len(one.splats) for one in results]),
            scores=np.array([[one.psnr, one.ssim, one.seconds] for one in results]),
            cells=np.array([one.cells or (0, 0) for one in results]),
        )


def _kept(path: Path, count: int) -> list[Result] | None:
    """The results of an earlier process; None if there are none."""
    if not path.exists():
        return None
    try:
        with open_npz(path) as archive:
            splats, counts = archive.array("splats"), archive.array("counts")
            scores, cells = archive.array("scores").tolist(), archive.array("cells").tolist()
    except DataError:
        return None
    if len(counts) != count:
        return None
    found = []
    each = np.split(splats, np.cumsum(counts)[:-1])
    for one, (psnr, ssim, seconds), (rows, columns) in zip(each, scores, cells, strict=True):
        found.append(Result(one, psnr, ssim, (rows, columns) if rows else None, seconds))
    return found
