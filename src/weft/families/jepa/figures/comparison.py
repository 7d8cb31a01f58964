"""Figures over many runs: the paper's sweep over noise, and the error of each of three dots."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from weft.families.jepa.score.guess import guess_px2
from weft.families.jepa.sets.scene import ONE_DOT, THREE_DOTS, Scene
from weft.plots.axes import key_beside, label_axes
from weft.plots.images import Named
from weft.plots.style import DOTTED, colour

METHODS = ("random", "vicreg", "simclr", "rssm", "idm", "combo", "supervised")
TITLES = {
    "random": "random network",
    "vicreg": "VICReg",
    "simclr": "SimCLR",
    "rssm": "reconstruction\n(RSSM)",
    "idm": "inverse\ndynamics (IDM)",
    "combo": "combo (ours)",
    "supervised": "supervised",
    "guess": "always the centre",
}
NOISES = ("changing uniform", "changing structured", "fixed uniform", "fixed structured")
_REPEATS = ("seed", "run", "log", "checkpoint", "eval", "engine", "data")
"""Options in which runs of one setting may differ."""

_DOTS = ("C1", "C0", "C2")


@dataclass(frozen=True)
class Result:
    """One finished run, as the figures over many runs need it.

    Attributes:
        noise: one of `NOISES`.
        level: brightness of the background.
        method: the objective.
        rmse: error in pixels.
        dots: error of each dot in pixels; empty if there is one dot.
        setting: equal for runs that differ in their seed alone.
        validation: error in pixels on the sequences by which settings are chosen.
        guess: error in pixels of always guessing the centre, for each dot.
    """

    noise: str
    level: float
    method: str
    rmse: float
    dots: tuple[float, ...] = ()
    setting: str = ""
    validation: float = math.inf
    guess: tuple[float, ...] = ()


def results_of(config: Mapping[str, Any], metrics: Mapping[str, float]) -> list[Result]:
    """The results of a run: one, or one for each kind of noise if it was trained without noise.

    Args:
        config: of a finished run, as plain values.
        metrics: its last metrics; those of the test episodes are used if there are any.
    """
    split = "test" if "test/rmse_px" in metrics else "val"
    levels = {
        "changing": float(config["dataset_noise"]),
        "fixed": float(config["dataset_static_noise"]),
    }
    kind = "structured" if config["dataset_structured_noise"] else "uniform"
    noises = [f"{place} {kind}" for place, level in levels.items() if level > 0] or NOISES
    dots = [key for key in metrics if key.startswith(f"{split}/dot_rmse_px_")]
    setting = json.dumps(
        {key: value for key, value in config.items() if key not in _REPEATS}, default=str
    )
    return [
        Result(
            noise,
            max(levels.values()),
            str(config["objective"]),
            _pixels(metrics[f"{split}/rmse_px"]),
            tuple(_pixels(metrics[key]) for key in sorted(dots)),
            setting,
            _pixels(metrics.get("val/rmse_px")),
            _guess(config),
        )
        for noise in noises
    ]


def figures(runs: Iterable[tuple[Mapping[str, Any], Mapping[str, float]]]) -> Iterator[Named]:
    """The figures that can be drawn of finished runs, given as (config, metrics).

    If a method has several settings, such as learning rates, one is drawn: that with the most
    seeds, and among equals the one with the smallest error on the validation sequences.
    """
    found = chosen(result for config, metrics in runs for result in results_of(config, metrics))
    single = [result for result in found if not result.dots]
    if len({result.level for result in single}) > 1:
        noisy = {result.noise for result in single if result.level > 0}
        yield noise_sweep(result for result in single if result.noise in noisy)
    three = [result for result in found if result.dots and result.noise == NOISES[0]]
    if three:
        yield dots_kept(three)


def chosen(results: Iterable[Result]) -> list[Result]:
    """The results of one setting for each method, noise, level and number of dots."""
    settings: dict[tuple[Any, ...], dict[str, list[Result]]] = {}
    for r in results:
        place = settings.setdefault((r.noise, r.level, r.method, len(r.dots)), {})
        place.setdefault(r.setting, []).append(r)

    def rank(runs: list[Result]) -> tuple[int, float]:
        return -len(runs), sum(r.validation for r in runs) / len(runs)

    return [r for rivals in settings.values() for r in min(rivals.values(), key=rank)]


def noise_sweep(results: Iterable[Result]) -> Named:
    """The paper's Figure 3: error over brightness, a panel per kind of noise, a line per method.

    Bands are 95 % intervals of the mean over seeds (Student's t).
    """
    from matplotlib.figure import Figure

    results = list(results)
    present = [noise for noise in NOISES if any(r.noise == noise for r in results)]
    columns = min(2, len(present))
    rows = -(-len(present) // columns)
    figure = Figure(figsize=(4.1 * columns + 1.5, 2.9 * rows + 0.2), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True)
    guesses = [guess for r in results for guess in r.guess]
    top = max([r.rmse for r in results if math.isfinite(r.rmse)] + guesses, default=1.0)
    handles: dict[str, Any] = {}
    for axes, noise in zip(panels.flat, present, strict=False):
        handles |= _lines(axes, [r for r in results if r.noise == noise])
        if guesses:
            handles["guess"] = axes.axhline(max(guesses), color="0.6", linestyle=DOTTED, zorder=0)
        axes.set_ylim(0, 1.06 * top)
        label_axes(axes, f"{noise} noise", "brightness of the background", "")
    for axes in panels.flat[len(present) :]:
        axes.set_axis_off()
    for line in panels:
        line[0].set_ylabel("RMSE (px)")
    figure.legend(
        [handles[m] for m in TITLES if m in handles],
        [TITLES[m] for m in TITLES if m in handles],
        loc="outside right center",
    )
    seeds = _most_seeds(results)
    caption = (
        "Error of the position read out of the rollout (root mean squared Euclidean distance over "
        f"all frames), mean over up to {seeds} seed{'s' if seeds > 1 else ''}"
        + (" with 95 % intervals" if seeds > 1 else "")
        + ". The dot itself has brightness 1. Settings of a method were chosen by validation."
    )
    return "noise_sweep", caption, figure


def _lines(axes: Any, results: Sequence[Result]) -> dict[str, Any]:
    """Draws the error over brightness and its band for each method; returns the methods' lines."""
    handles: dict[str, Any] = {}
    for number, method in enumerate(METHODS):
        mine = [r for r in results if r.method == method]
        levels = sorted({r.level for r in mine})
        if not levels:
            continue
        means, reach = zip(
            *(_interval([r.rmse for r in mine if r.level == level]) for level in levels),
            strict=True,
        )
        shade = "0.55" if method == "random" else colour(number - 1)
        dash = DOTTED if method in ("random", "supervised") else "-"
        (handles[method],) = axes.plot(
            levels, means, color=shade, linestyle=dash, marker="o", markersize=3.6
        )
        low, high = (
            [mean + side * half for mean, half in zip(means, reach, strict=True)]
            for side in (-1, 1)
        )
        axes.fill_between(levels, low, high, color=shade, alpha=0.16, linewidth=0)
    return handles


def dots_kept(results: Iterable[Result]) -> Named:
    """The error of each of three dots for each method, mean over seeds.

    Args:
        results: runs on three dots.
    """
    from matplotlib.figure import Figure

    results = [r for r in results if r.dots]
    methods = [m for m in METHODS if any(r.method == m for r in results)]
    names = ("dot 1, whose actions are told", "dot 2, moving by itself", "dot 3, staying")
    figure = Figure(figsize=(1.5 * len(methods) + 2.6, 3.4), layout="constrained")
    axes = figure.add_subplot()
    for dot, name in enumerate(names):
        means, reach = zip(
            *(_interval([r.dots[dot] for r in results if r.method == m]) for m in methods),
            strict=True,
        )
        places = [n + 0.27 * (dot - 1) for n in range(len(methods))]
        bars = axes.bar(places, means, width=0.25, color=_DOTS[dot], yerr=reach, label=name,
                        error_kw={"elinewidth": 1.0, "ecolor": "0.2"})  # fmt: skip
        axes.bar_label(
            bars, [f"{m:.1f}" if math.isfinite(m) else "—" for m in means], padding=2, fontsize=7.5
        )
        guess = max(r.guess[dot] for r in results)
        axes.hlines(
            [guess] * len(places),
            [place - 0.125 for place in places],
            [place + 0.125 for place in places],
            color="0.3",
            linestyle=DOTTED,
            label=TITLES["guess"] if dot == 0 else "",
        )
    axes.set_ylim(top=1.18 * max(max(r.guess) for r in results))
    axes.set_xticks(range(len(methods)), [TITLES[m] for m in methods])
    label_axes(axes, "Which dots are kept", "", "RMSE (px)")
    key_beside(axes)
    caption = (
        "Error of each dot's position read out of the rollout. The model is told the actions of "
        "dot 1 alone; a bar at the dotted line means that the dot is lost."
    )
    return "dots_kept", caption, figure


# Student's t at 97.5 % for 1, 2, ... degrees of freedom, and its limit.
_T = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26)
_T_LIMIT = 1.96


def _interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean, and half the width of its 95 % interval (0 for a single value)."""
    count = len(values)
    mean = sum(values) / count
    if count == 1:
        return mean, 0.0
    deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / (count - 1))
    factor = _T[count - 2] if count - 2 < len(_T) else _T_LIMIT
    return mean, factor * deviation / math.sqrt(count)


def _guess(config: Mapping[str, Any]) -> tuple[float, ...]:
    """Error in pixels of always guessing the centre, for each dot of a run's scene."""
    scene = Scene(
        walks=ONE_DOT if config.get("dataset_type", "Single") == "Single" else THREE_DOTS,
        num_frames=int(config.get("val_n_steps", 17)),
        std=float(config.get("dataset_dot_std", 1.3)),
        door=float(config["dataset_door"]) if config.get("dataset_rooms") == 2 else 0.0,
    )
    dots = zip(*guess_px2(scene), strict=True)
    return tuple(math.sqrt(sum(dot) / len(dot)) for dot in dots)


def _pixels(value: float | None) -> float:
    """A metric in pixels; infinite for null, which the log writes for what is no number."""
    return math.inf if value is None else float(value)


def _most_seeds(results: Sequence[Result]) -> int:
    settings = [(r.noise, r.level, r.method) for r in results]
    return max(settings.count(setting) for setting in set(settings))
