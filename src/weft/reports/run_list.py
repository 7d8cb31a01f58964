"""The list of runs on a folder's page: a column a metric, sorted and filtered by a script."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from weft.config.layer import dotted
from weft.config.yaml import is_number
from weft.errors import WeftError
from weft.plots.history import curve_of
from weft.reports.comparison import differing
from weft.reports.html import card, cell, link, metric_name, number, prose, safe, scalar
from weft.reports.tables import format_seconds, measured, tone_of
from weft.run.files import read_rows
from weft.run.registry import Run, counted, declared_by
from weft.task.metric import Metric, find

_MOST_KEYS, _MOST_METRICS = 6, 8
"""Most columns of config and of metrics; the others are on each run's own page."""

_POINTS, _WIDE, _HIGH = 48, 120, 32
"""Points, width and height of the curve that appears when the pointer is on a run's name."""


def script() -> str:
    """The JavaScript that sorts and filters the list."""
    return (files("weft.reports") / "run_list.js").read_text(encoding="utf-8")


def run_list(directory: Path, runs: Sequence[Run]) -> str:
    """The list as HTML, readable without its script, too.

    Args:
        directory: of the page.
        runs: below it, in any state.
    """
    keys = _varied(runs)[:_MOST_KEYS]
    metrics = _shown(runs)
    declared = declared_by(runs)
    heads = ["<th>run</th>", "<th>state</th>", '<th class="number">time</th>']
    heads += [f"<th>{safe(key)}</th>" for key in keys]
    heads += [
        f'<th class="number">{_metric_head(name, find(declared, name))}</th>' for name in metrics
    ]
    rows = "".join(_row(directory, run, keys, metrics, declared) for run in runs)
    field = (
        '<p class="filter"><label>Filter <input type="search" '
        'placeholder="words that a run must have" aria-label="Filter runs"></label>'
        '<span class="muted" role="status"></span></p>'
    )
    table = (
        f'<table class="runs"><thead><tr>{"".join(heads)}</tr></thead><tbody>{rows}</tbody></table>'
    )
    return field + card(table)


def sweep_links(directory: Path, runs: Iterable[Run]) -> str:
    """Links to the pages of sweeps and folders below, if there are any."""
    above = {
        folder
        for run in runs
        for folder in run.path.parents
        if folder != directory and folder.is_relative_to(directory)
    }
    places = [
        folder.relative_to(directory).as_posix()
        for folder in sorted(above, key=counted)
        if (folder / "report.html").is_file()
    ]
    items = "".join(f"<li>{link(f'{place}/report.html', safe(place))}</li>" for place in places)
    return f"<ul>{items}</ul>" if items else ""


def _row(
    directory: Path,
    run: Run,
    keys: Sequence[str],
    metrics: Sequence[str],
    declared: Iterable[Metric],
) -> str:
    place = run.path.relative_to(directory).as_posix()
    name = cell(place)
    if (run.path / "report.html").is_file():
        name = link(f"{place}/report.html", name)
    message = str(run.status.get("message") or "")
    said = f"<small>{prose(message)}</small>" if message else ""
    cells = [
        f'<td class="name">{name}{_curve(run)}{said}</td>',
        f'<td class="{tone_of(run.state)}">{safe(run.state)}</td>',
        f'<td class="number" data-sort="{run.seconds:g}">{safe(format_seconds(run.seconds))}</td>',
    ]
    config = dotted(run.config)
    cells += [_cell(config[key]) if key in config else "<td></td>" for key in keys]
    found = run.metrics
    for metric in metrics:
        value = found.get(metric, math.nan) if metric in found else None
        shown = number(value) if metric in found else ""
        sort = f' data-sort="{value!r}"' if value is not None and math.isfinite(value) else ""
        cells.append(f'<td class="number"{sort}>{safe(shown)}</td>')
    return f"<tr>{''.join(cells)}</tr>"


def _metric_head(name: str, metric: Metric | None) -> str:
    return metric_name(measured(name, metric.unit, metric.better) if metric else name, metric)


def _cell(value: Any) -> str:
    if is_number(value):
        return f'<td data-sort="{value!r}">{safe(number(value))}</td>'
    return f"<td>{cell(scalar(value))}</td>"


def _varied(runs: Sequence[Run]) -> list[str]:
    """The config keys whose values differ, the seed included."""
    told = [run for run in runs if run.config]
    varied = differing(told) if len(told) > 1 else []
    seeds = {run.config.get("seed") for run in told}
    return [*varied, *(["seed"] if len(seeds) > 1 else [])]


def _shown(runs: Sequence[Run]) -> list[str]:
    """The metrics to show: those of the test set, else all; those numbered by step last."""
    names = list(dict.fromkeys(name for run in runs for name in run.metrics))
    return sorted(names, key=lambda name: (name[-1].isdigit(), not name.startswith("test/")))[
        :_MOST_METRICS
    ]


def _curve(run: Run) -> str:
    """A small curve of the run's validation metric, or of its loss if there is none."""
    path = run.path / "metrics.jsonl"
    if not path.is_file():
        return ""
    try:
        rows = read_rows(path)
    except WeftError:  # The state column says that the run is damaged; the others are still listed.
        return ""
    leading = f"val/{run.declared[0].name}" if run.declared else ""
    for key in (leading, "train/loss"):
        points = _points(rows, key)
        if len(points) > 2:
            return (
                f'<svg class="curve" viewBox="0 0 {_WIDE} {_HIGH}" role="img" '
                f'aria-label="{safe(key)} over the run"><title>{safe(key)}</title>'
                f'<polyline points="{_line(points)}"/></svg>'
            )
    return ""


def _points(rows: Sequence[Mapping[str, Any]], key: str) -> list[tuple[int, float]]:
    points = [point for point in curve_of(rows, key) if math.isfinite(point[1])]
    every = max(1, len(points) // _POINTS)
    return points[::every]


def _line(points: Sequence[tuple[float, float]]) -> str:
    steps, values = zip(*points, strict=True)
    left, low = min(steps), min(values)
    wide = (max(steps) - left) or 1.0
    high = (max(values) - low) or 1.0
    places = (
        ((x - left) / wide * _WIDE, _HIGH - 2 - (y - low) / high * (_HIGH - 4)) for x, y in points
    )
    return " ".join(f"{x:.0f},{y:.1f}" for x, y in places)
