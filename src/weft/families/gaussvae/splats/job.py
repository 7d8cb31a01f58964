"""Many pictures fitted into a folder, so that a process killed at any moment goes on exactly."""

# M pictures, N splats each

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from weft.atomic import atomic_writer, sweep_halves, write_text
from weft.data.albums import Picture
from weft.data.npz import open_npz
from weft.errors import DataError, UsageError
from weft.families.gaussvae.splats.fit import Fit, Fitted, How, as_unit, begin, judged

Told = Callable[[float], object]
"""Called with how many pictures are done, parts of pictures counted in."""

_GROUP_PIXELS, _GROUP_LEAST = 2**18, 4
"""Pictures are fitted together until they have so many pixels, and so many at least."""

_WORD_SECONDS, _SAVE_SECONDS = 0.5, 20.0
"""Time between two words about progress, and between two saves of a fit under way."""


@dataclass(frozen=True)
class Result:
    """What was found of one picture.

    Attributes:
        splats: float32 (N, 8), layout `logcov`, sampling `centre`.
        psnr, ssim: see `fit.Fitted`.
        cells: (rows, columns) of its grid, or None.
        seconds: that it took, its share of what was fitted at once with it.
    """

    splats: np.ndarray[Any, np.dtype[np.float32]]
    psnr: float
    ssim: float
    cells: tuple[int, int] | None
    seconds: float


def open_job(folder: Path, pictures: Sequence[Picture], settings: dict[str, Any]) -> None:
    """Makes `folder` the place of this job, or sees that it is that already.

    Raises:
        UsageError: it holds another job: of other pictures, or with other settings.
    """
    described = sha256("".join(f"{one.name}{one.digest}" for one in pictures).encode())
    wanted = {"format": "weft fit", "version": 1, "pictures": described.hexdigest(), **settings}
    wanted = json.loads(json.dumps(wanted))
    path = folder / "fit.json"
    if path.exists():
        try:
            there = json.loads(path.read_text())
        except ValueError:
            there = {}
        if there != wanted:
            other = [key for key in wanted if key not in there or there[key] != wanted[key]]
            raise UsageError(
                f"{folder} holds another fit: it differs in {', '.join(other) or 'its settings'}",
                where="--out",
                expected="the folder of this very fit, to go on, or a new one",
                hint="--force fits anew",
            )
        return
    folder.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(wanted, indent=1) + "\n")


def run(
    folder: Path, pictures: Sequence[Picture], how: How, device: str, told: Told
) -> list[Result]:
    """Fits all pictures; what `folder` holds already is not done again.

    Args:
        folder: of `open_job`.
        how: of the fit.
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
            found = _fitted(path, [pictures[i] for i in members], how, device, len(results), told)
        results |= dict(zip(members, found, strict=True))
        told(len(results))
    return [results[index] for index in range(len(pictures))]


def close_job(folder: Path) -> None:
    """Removes what only a job under way needs."""
    shutil.rmtree(folder / "parts", ignore_errors=True)


def groups(pictures: Sequence[Picture]) -> Iterator[list[int]]:
    """Which pictures are fitted at once: some of one size, by their place in `pictures`."""
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


def results_of(found: Fitted, seconds: float) -> list[Result]:
    """What was found of each picture; the time is shared evenly."""
    splats = found.splats.cpu().numpy()
    scores = zip(splats, found.psnr.tolist(), found.ssim.tolist(), strict=True)
    return [Result(*one, found.cells, seconds / len(splats)) for one in scores]


def _fitted(
    path: Path, pictures: list[Picture], how: How, device: str, done: int, told: Told
) -> list[Result]:
    images = tensor(pictures, device)
    under_way = begin(images, how)
    state = path.with_suffix(".state")
    before = _restored(under_way, state)
    total, steps, start = under_way.left, 1, time.perf_counter()
    saved = start
    while under_way.left:
        began = time.perf_counter()
        under_way.advance(steps)
        now = time.perf_counter()
        # The results do not know how many steps were taken at once.
        steps = max(1, round(steps * min(2.0, _WORD_SECONDS / max(1e-6, now - began))))
        told(done + len(pictures) * (1 - under_way.left / max(total, under_way.how.steps)))
        if now - saved > _SAVE_SECONDS and under_way.left:
            with atomic_writer(state) as file:
                torch.save({"seconds": before + now - start, **under_way.state()}, file)
            saved = now
    results = results_of(judged(under_way, images), before + time.perf_counter() - start)
    _keep(path, results)
    state.unlink(missing_ok=True)
    return results


def _restored(under_way: Fit, state: Path) -> float:
    """Goes on from a file if there is one; seconds that were spent before."""
    if not state.exists():
        return 0.0
    saved = torch.load(state, map_location="cpu", weights_only=True)
    under_way.restore(saved)
    return float(saved["seconds"])


def _keep(path: Path, results: Sequence[Result]) -> None:
    with atomic_writer(path) as file:
        np.savez(
            file,
            splats=np.stack([one.splats for one in results]),
            scores=np.array([[one.psnr, one.ssim, one.seconds] for one in results]),
            cells=np.array(results[0].cells or (0, 0)),
        )


def _kept(path: Path, count: int) -> list[Result] | None:
    """What an earlier process found, or None where it must be found anew."""
    if not path.exists():
        return None
    try:
        with open_npz(path) as archive:
            splats, scores = archive.array("splats"), archive.array("scores")
            rows, columns = archive.array("cells").tolist()
    except DataError:
        return None
    if len(splats) != count:
        return None
    cells = (rows, columns) if rows else None
    return [
        Result(one, psnr, ssim, cells, seconds)
        for one, (psnr, ssim, seconds) in zip(splats, scores.tolist(), strict=True)
    ]


def plain(how: How) -> dict[str, Any]:
    """The settings of a fit, for a file."""
    return asdict(how)
