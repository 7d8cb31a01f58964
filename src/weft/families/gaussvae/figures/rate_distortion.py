"""Figures over many runs: PSNR over bits, with the curves of known codes and the BD-rate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from weft.config.load import validate
from weft.families.gaussvae import FAMILY
from weft.families.gaussvae.baselines.known import known
from weft.families.gaussvae.config import Config
from weft.families.gaussvae.pictures.data import load_pictures
from weft.families.gaussvae.score.bd_rate import Curve, bd_rate
from weft.plots.images import Named
from weft.plots.labels import head
from weft.plots.style import DASHES, MARKERS, colour

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OURS = "latents"
CODED = 500
"""Number of held-out pictures, the first ones, that known codes are measured on."""
Run = tuple[Mapping[str, Any], Mapping[str, float]]


def figures(runs: Sequence[Run]) -> Iterator[Named]:
    """One figure for each set of pictures with several finished runs.

    Args:
        runs: (config, metrics) of each.
    """
    places: dict[str, list[Run]] = {}
    for config, metrics in runs:
        if _split(metrics):
            places.setdefault(str(config["data"]), []).append((config, metrics))
    for number, mine in enumerate(places.values()):
        if len(mine) < 2:
            continue
        config, metrics = mine[0]
        split = _split(metrics)
        points = np.array(sorted((m[f"{split}/bits"], m[f"{split}/psnr_coded"]) for _, m in mine))
        ours = Curve(points[:, 0], points[:, 1], np.zeros(len(points)))
        parsed = validate(config, FAMILY, "a run's config")
        assert isinstance(parsed, Config)
        data = load_pictures(parsed)
        source = data.test if split == "test" else data.val
        assert source is not None
        images = source.fields["image"][:CODED]
        curves = {OURS: ours, **known(data.train.fields["image"], images)}
        name = "rate_distortion" if number == 0 else f"rate_distortion_{number + 1}"
        where = f"{parsed.data.dataset}, {split}; known codes on {len(images)} pictures"
        yield name, caption(curves, OURS), drawn(curves, where)


def drawn(curves: Mapping[str, Curve], where: str) -> Figure:
    """PSNR over bits without headers, one line per code.

    Args:
        curves: name -> curve.
        where: name of the pictures.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.2))
    axes = figure.add_subplot()
    head(axes, "Quality over bits", where)
    for number, (name, curve) in enumerate(curves.items()):
        bits, psnr = curve.front
        dash, mark = DASHES[number // len(MARKERS) % len(DASHES)], MARKERS[number % len(MARKERS)]
        axes.plot(bits, psnr, dash, marker=mark, color=colour(number), label=name)
    axes.set_xscale("log")
    axes.set_xlabel("bits of a picture, without its header")
    axes.set_ylabel("PSNR, mean over pictures (dB)")
    axes.legend()
    return figure


def caption(curves: Mapping[str, Curve], ours: str) -> str:
    """The BD-rate of one code against each of the others, in words."""
    told = []
    for name, curve in curves.items():
        if name != ours:
            share = bd_rate(curves[ours], curve)
            amount = "no quality in common" if share is None else f"{share:+.1%}"
            told.append(f"{amount} against {name}")
    return f"BD-rate of {ours} (bits at equal PSNR): {', '.join(told)}."


def _split(metrics: Mapping[str, float]) -> str:
    """The split on which a run's rate was measured; "" if it was not."""
    return next((part for part in ("test", "val") if f"{part}/bits" in metrics), "")
