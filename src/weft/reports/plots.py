"""Figures in one style: curves of a run, a metric over a sweep, and their PNG and SVG forms."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weft.reports.tables import Mean, Table, format_number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray
    from PIL.Image import Image

    Numbers = NDArray[Any]

Named = tuple[str, str, "Figure"]
"""Name (of a file, without suffix), caption, figure."""

# Chosen to stay apart under protanopia, deuteranopia and tritanopia, which a test computes, and
# to differ in lightness; the second row takes the first one's place on a dark page.
PALETTE = ("#1f83d6", "#dd6a2d", "#13614f", "#c2609f", "#54391a", "#392e68")
PALETTE_DARK = ("#4d94de", "#e0763a", "#62cfa4", "#e08fc8", "#f2e6b0", "#7b50d8")
MARKERS = ("o", "s", "^", "D", "v", "P")
DASHES = ("-", "--", ":")
INK, MUTED, GRID, PAPER = "#1b2430", "#667079", "#e3e7ea", "#ffffff"

_SPLITS = ("train", "val", "test")
_CLOCKS = ("step", "epoch", "seconds")
_MOST_POINTS = 1200
"""Points drawn of one curve; a longer one is thinned to the extremes of equal stretches."""


@contextmanager
def style() -> Iterator[None]:
    """Figures made inside have the house style: colours, type, spines, grid, spacing."""
    import matplotlib
    from cycler import cycler

    settings: Any = {
        "figure.figsize": (6.4, 3.5),
        "figure.facecolor": PAPER,
        "figure.constrained_layout.use": True,
        "font.family": "DejaVu Sans",
        "font.size": 9,
        "text.color": INK,
        "axes.prop_cycle": cycler(color=PALETTE),
        "axes.facecolor": "none",
        "axes.edgecolor": MUTED,
        "axes.linewidth": 0.7,
        "axes.labelcolor": MUTED,
        "axes.titlelocation": "left",
        "axes.titlesize": 10.5,
        "axes.titleweight": "bold",
        "axes.titlepad": 8,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.grid.axis": "y",
        "axes.axisbelow": True,
        "grid.color": GRID,
        "grid.linewidth": 0.7,
        "xtick.color": MUTED,
        "ytick.color": MUTED,
        "xtick.major.width": 0.7,
        "ytick.major.size": 0,
        "xtick.minor.size": 0,
        "ytick.minor.size": 0,
        "lines.linewidth": 1.7,
        "lines.markersize": 4.5,
        "lines.solid_capstyle": "round",
        "legend.frameon": False,
        "image.cmap": "cividis",
        "savefig.dpi": 150,
        "svg.fonttype": "none",
        "svg.hashsalt": "weft",
    }
    with matplotlib.rc_context(settings):
        yield


def curves(history: Sequence[Mapping[str, Any]]) -> list[Named]:
    """A figure for each quantity in `metrics.jsonl`, over steps; train, val and test together.

    Args:
        history: the rows; where a step occurs twice (a resumed run) the later row counts.
    """
    figures = []
    with style():
        for group, series in _groups(history).items():
            name = re.sub(r"[^\w.-]+", "-", group)
            figures.append((name, *_curve_figure(group, series)))
    return figures


def sweep_plot(table: Table, metric: str) -> Figure:
    """The metric over the first axis of a sweep, one line for each setting of the other axes.

    Numbers lie on a line, logarithmic from a span of one decade on; words get bars. Error bars
    are standard errors over seeds.
    """
    from matplotlib.figure import Figure

    varied = table.with_role("axis")
    axis, others = (varied[0] if varied else None), varied[1:]
    lines: dict[tuple[str, ...], list[tuple[Any, Mean]]] = {}
    for row in table.rows:
        cell = row.get(metric)
        if not isinstance(cell, Mean) or not math.isfinite(cell.value):
            continue
        member = tuple(str(row.get(other.key)) for other in others)
        lines.setdefault(member, []).append((row.get(axis.key) if axis else "", cell))
    counts = [mean.n for points in lines.values() for _, mean in points]
    with style():
        figure = Figure(figsize=(6.4, 3.9))
        axes = figure.add_subplot()
        _head(axes, metric, _seeds(counts))
        if axis is not None:
            axes.set_xlabel(axis.heading)
        if not lines:
            axes.text(
                0.5,
                0.5,
                "no finished runs yet",
                transform=axes.transAxes,
                ha="center",
                va="center",
                color=MUTED,
            )
            return figure
        places = [place for points in lines.values() for place, _ in points]
        names = {member: ", ".join(member) for member in lines}
        heading = ", ".join(other.heading for other in others)
        if all(isinstance(p, int | float) and not isinstance(p, bool) for p in places):
            _draw_lines(axes, lines, names, heading)
        else:
            _draw_bars(axes, lines, names, heading)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Writes `figure` as a PNG of 150 dots an inch."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png(figure))


def save_animation(frames: Sequence[Image], path: Path, milliseconds: int = 250) -> None:
    """Writes `frames` as an animated GIF that repeats."""
    path.parent.mkdir(parents=True, exist_ok=True)
    first, *rest = frames
    first.save(path, save_all=True, append_images=rest, duration=milliseconds, loop=0)


def png(figure: Figure) -> bytes:
    """`figure` as a PNG of 150 dots an inch."""
    data = io.BytesIO()
    with style():
        figure.savefig(data, format="png", dpi=150)
    return data.getvalue()


def svg(figure: Figure, prefix: str = "") -> str:
    """`figure` as an SVG element to stand in a page, in the page's own colours and type.

    Colours of the style become `var(--ink)`, `var(--muted)`, `var(--grid)` and `var(--line-0)` …,
    text `var(--font)`, each with the printed colour to fall back on.

    Args:
        prefix: put before every id, so that the figures of a page do not share any.
    """
    text = io.StringIO()
    with style():
        figure.savefig(
            text,
            format="svg",
            transparent=True,
            metadata={"Date": None, "Creator": None, "Format": None, "Type": None},
        )
    drawing = text.getvalue()
    drawing = drawing[drawing.index("<svg") :]
    drawing = re.sub(r' (width|height)="[\d.]+pt"', "", drawing, count=2)
    drawing = re.sub(r"<metadata>.*?</metadata>", "", drawing, flags=re.DOTALL)
    drawing = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{prefix}", drawing)
    drawing = re.sub(r"'DejaVu Sans'[^;\"]*", "var(--font, sans-serif)", drawing)
    names = {INK: "ink", MUTED: "muted", GRID: "grid"}
    names |= {colour: f"line-{number}" for number, colour in enumerate(PALETTE)}
    for colour, name in names.items():
        drawing = drawing.replace(colour, f"var(--{name}, {colour})")
    return drawing


@dataclass(frozen=True)
class _Series:
    """One line of a curve figure: `y` over `x`, x strictly rising."""

    member: str
    split: str
    x: Numbers
    y: Numbers


def _groups(history: Sequence[Mapping[str, Any]]) -> dict[str, list[_Series]]:
    """The series of each figure: one quantity, or a family such as `similarity_w1`, `_w2`, …"""
    import numpy as np

    columns: dict[str, dict[int, float]] = {}
    for row in history:
        for key, value in row.items():
            if key not in _CLOCKS and (value is None or isinstance(value, int | float)):
                number = math.nan if value is None else float(value)
                columns.setdefault(key, {})[int(row["step"])] = number
    families = _families(columns)
    groups: dict[str, list[_Series]] = {}
    for key, values in columns.items():
        steps = sorted(values)
        y = np.array([values[step] for step in steps])
        if not np.isfinite(y).any():
            continue
        split, quantity = _split(key)
        group, member = families.get(quantity, (quantity, ""))
        groups.setdefault(group, []).append(_Series(member, split, np.array(steps), y))
    for series in groups.values():
        series.sort(key=lambda s: _SPLITS.index(s.split) if s.split else 0)
    last = ("opt", "time")
    return dict(sorted(groups.items(), key=lambda item: item[0].partition("/")[0] in last))


def _families(keys: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Quantity -> (family, member) where several share a stem: `sim/w1`, `loss_kl`, `time/step`."""
    quantities = dict.fromkeys(_split(key)[1] for key in keys)
    families: dict[str, dict[str, str]] = {}
    for quantity in quantities:
        stem, _, member = re.sub(r"[_/]([^_/]*)$", r"\0\1", quantity).partition("\0")
        # Optimiser scalars share a prefix but no unit.
        if member and stem != "opt":
            families.setdefault(stem, {})[quantity] = member
    return {
        quantity: (f"{stem} terms" if stem in quantities else stem, member)
        for stem, members in families.items()
        if len(members) > 1
        for quantity, member in members.items()
    }


def _split(key: str) -> tuple[str, str]:
    """`val/loss` as (`val`, `loss`); other keys belong to no split."""
    head, _, rest = key.partition("/")
    return (head, rest) if head in _SPLITS and rest else ("", key)


def _curve_figure(group: str, series: list[_Series]) -> tuple[str, Figure]:
    """The caption and the figure of one quantity."""
    import numpy as np
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    figure = Figure()
    axes = figure.add_subplot()
    _head(axes, group.replace("_", " "), "")
    one_split = len({line.split for line in series}) == 1
    one_member = len({line.member for line in series}) == 1
    ends, smoothed = [], 0
    for number, line in enumerate(series):
        place = _SPLITS.index(line.split) if one_member and line.split else number
        colour, dash = PALETTE[place % len(PALETTE)], DASHES[place // len(PALETTE) % len(DASHES)]
        y, width = _smooth(line.y)
        if width:
            axes.plot(*_thin(line.x, line.y), color=colour, alpha=0.28, linewidth=0.8)
            smoothed = max(smoothed, width * int(np.median(np.diff(line.x))))
        marker = "o" if line.x.size <= 40 else ""
        axes.plot(*_thin(line.x, y), dash, color=colour, marker=marker, markersize=3.2)
        final = float(y[np.isfinite(y)][-1])
        split = "" if one_split and not (one_member and line.split) else line.split
        words = [word for word in (split, line.member, f"{final:.4g}") if word]
        ends.append((final, "  ".join(words), colour))
    first, last = min(s.x[0] for s in series), max(s.x[-1] for s in series)
    axes.set_xlim(min(first, 0) if last > first else first - 1, max(last, first + 1))
    if _falls_far(series):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlabel("step")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    _label_ends(axes, ends)
    caption = "Numbers at the right say where each line ends."
    if smoothed:
        caption += f" Faint: as logged; strong: smoothed over about {smoothed:,} steps."
    return caption, figure


def _smooth(y: Numbers) -> tuple[Numbers, int]:
    """A Gaussian average without lag, and its width in points; 0 where `y` needs none."""
    import numpy as np

    good = np.isfinite(y)
    if good.sum() < 40:
        return y, 0
    rises = np.sign(np.diff(y[good]))
    if np.mean(rises[1:] != rises[:-1]) < 0.25:
        return y, 0
    sigma = y.size / 60
    reach = math.ceil(3 * sigma)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    # Dividing by the smoothed weights keeps gaps and both ends unbiased.
    total = np.convolve(np.where(good, y, 0.0), kernel, mode="full")[reach : reach + y.size]
    weight = np.convolve(good.astype(float), kernel, mode="full")[reach : reach + y.size]
    return np.where(good, total / np.maximum(weight, 1e-12), np.nan), round(2 * sigma)


def _thin(x: Numbers, y: Numbers) -> tuple[Numbers, Numbers]:
    """At most `_MOST_POINTS` points that keep the lowest and highest of every stretch."""
    import numpy as np

    if x.size <= _MOST_POINTS:
        return x, y
    kept = {0, x.size - 1}
    for part in np.array_split(np.arange(x.size), _MOST_POINTS // 2):
        values = y[part]
        if np.isfinite(values).any():
            kept |= {int(part[np.nanargmin(values)]), int(part[np.nanargmax(values)])}
    chosen = np.array(sorted(kept))
    return x[chosen], y[chosen]


def _falls_far(series: list[_Series]) -> bool:
    """Whether all lines are positive and one falls by 1.5 decades: then a log scale reads best."""
    import numpy as np

    lines = [s.y[np.isfinite(s.y)] for s in series]
    return all((y > 0).all() for y in lines) and any(y[0] > 10**1.5 * y[-1] for y in lines)


def _draw_lines(
    axes: Axes,
    lines: Mapping[tuple[str, ...], list[tuple[Any, Mean]]],
    names: Mapping[tuple[str, ...], str],
    heading: str,
) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    ends = []
    for number, (member, points) in enumerate(lines.items()):
        points = sorted(points, key=lambda point: point[0])
        colour = PALETTE[number % len(PALETTE)]
        x, y = [p[0] for p in points], [p[1].value for p in points]
        axes.errorbar(
            x,
            y,
            yerr=[p[1].error or 0.0 for p in points],
            color=colour,
            elinewidth=1.0,
            marker=MARKERS[number % len(MARKERS)],
            markeredgewidth=0,
            linestyle=DASHES[number // len(PALETTE) % len(DASHES)],
        )
        if names[member]:
            ends.append((y[-1], names[member], colour))
    places = sorted({point[0] for points in lines.values() for point in points})
    if places[0] > 0 and places[-1] >= 10 * places[0]:
        axes.set_xscale("log")
        axes.xaxis.set_minor_locator(NullLocator())
    axes.margins(x=0.025)
    if len(places) <= 10:
        axes.xaxis.set_major_locator(FixedLocator(places))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    _label_ends(axes, ends, heading)


def _draw_bars(
    axes: Axes,
    lines: Mapping[tuple[str, ...], list[tuple[Any, Mean]]],
    names: Mapping[tuple[str, ...], str],
    heading: str,
) -> None:
    words = list(dict.fromkeys(str(place) for points in lines.values() for place, _ in points))
    width = 0.8 / len(lines)
    for number, (member, points) in enumerate(lines.items()):
        shift = (number - (len(lines) - 1) / 2) * width
        bars = axes.bar(
            [words.index(str(place)) + shift for place, _ in points],
            [mean.value for _, mean in points],
            width=width * 0.9,
            color=PALETTE[number % len(PALETTE)],
            label=names[member],
            yerr=[mean.error or 0.0 for _, mean in points],
            error_kw={"ecolor": INK, "elinewidth": 1.0},
        )
        if len(words) * len(lines) <= 12:
            axes.bar_label(
                bars,
                [format_number(mean.value, 3) for _, mean in points],
                padding=2,
                fontsize=7.5,
                color=MUTED,
            )
    axes.set_xticks(range(len(words)), [_plain(word) for word in words])
    axes.grid(axis="x", visible=False)
    if len(lines) > 1:
        axes.legend(title=_plain(heading), loc="center left", bbox_to_anchor=(1.0, 0.5))


def _head(axes: Axes, title: str, subtitle: str) -> None:
    axes.set_title(_plain(title), pad=20 if subtitle else 8)
    if subtitle:
        axes.annotate(
            subtitle,
            (0, 1),
            xytext=(0, 7),
            xycoords="axes fraction",
            textcoords="offset points",
            color=MUTED,
            fontsize=8.5,
        )


def _label_ends(axes: Axes, ends: Sequence[tuple[float, str, str]], heading: str = "") -> None:
    """Writes each line's name where it ends, moved apart as far as the letters need."""
    axes.autoscale_view()
    scale = axes.transScale + axes.transLimits
    wanted = sorted(
        (
            (float(scale.transform((axes.get_xlim()[1], y))[1]), text, colour)
            for y, text, colour in ends
        ),
    )
    figure = axes.get_figure(root=True)
    assert figure is not None
    # Height of a line of 8.5 pt text as a share of the axes, which take 3/4 of the figure.
    gap = 8.5 * 1.3 / (72 * 0.75 * figure.get_figheight())
    for height, (_, text, colour) in zip(_spread([w[0] for w in wanted], gap), wanted, strict=True):
        axes.annotate(
            _plain(text),
            (1, height),
            xytext=(8, 0),
            xycoords="axes fraction",
            textcoords="offset points",
            va="center",
            color=colour,
            fontsize=8.5,
            annotation_clip=False,
        )
    if heading and ends:
        axes.annotate(
            _plain(heading),
            (1, 1),
            xytext=(8, 7),
            xycoords="axes fraction",
            textcoords="offset points",
            color=MUTED,
            fontsize=8.5,
            annotation_clip=False,
        )


def _spread(heights: list[float], gap: float) -> list[float]:
    """Rising heights moved so that neighbours are `gap` apart and none lies above 1.

    Neighbours that are too close form a block around their mean; blocks that touch merge.
    """
    blocks: list[tuple[float, int]] = []
    for height in heights:
        centre, count = height, 1
        while True:
            centre = min(centre, 1 - (count - 1) * gap / 2)
            if not blocks or centre - blocks[-1][0] >= gap * (count + blocks[-1][1]) / 2:
                break
            before, size = blocks.pop()
            centre = (before * size + centre * count) / (size + count)
            count += size
        blocks.append((centre, count))
    return [
        centre + (place - (count - 1) / 2) * gap
        for centre, count in blocks
        for place in range(count)
    ]


def _seeds(counts: Sequence[int]) -> str:
    if not counts:
        return ""
    low, high = min(counts), max(counts)
    if high == 1:
        return "one seed"
    number = str(high) if low == high else f"{low} to {high}"
    return f"mean ± standard error, {number} seeds"


def _plain(text: str) -> str:
    """Text that is not taken for mathematics."""
    return text.replace("$", r"\$")
