"""Report pages: one self-contained HTML file, no script, nothing fetched, light and dark."""

from __future__ import annotations

import base64
import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weft.atomic import write_text
from weft.plots.images import Named, png, svg
from weft.plots.style import PALETTE, PALETTE_DARK
from weft.reports.tables import (
    Table,
    format_number,
    format_seconds,
    is_numeric,
    pivot,
    text_rows,
    tone_of,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from weft.run.registry import Run

_LOG_LINES = 60
_LARGEST_SVG = 1_500_000
"""Characters from which a figure is drawn as a picture of dots instead of lines."""

_MISSING = object()


@dataclass(frozen=True)
class _Picture:
    """A figure as an HTML element; a wide one takes the whole row."""

    caption: str
    element: str
    wide: bool = False


def write_report(
    run: Run, figures: Iterable[Named], *, defaults: Mapping[str, Any] | None = None
) -> Path:
    """Writes the run's `report.html` and gives its path.

    Args:
        run: in any state.
        figures: (name, caption, figure), in the order to show them.
        defaults: the nested default config; values that differ from it are marked.
    """
    parts = [
        _head(run),
        _tiles(run),
        _section(
            "Curves and figures",
            _gallery([_drawn(number, *figure) for number, figure in enumerate(figures)]),
        ),
        _section("What the model makes", _gallery(_samples(run.path / "figures"))),
        _section("Commands", _commands(run)),
        _section("Starts from", _pairs(_parents(run.parents))),
        _section("Config", _config(run.config, defaults)),
        '<div class="halves">'
        + _section("Derived from the config", _pairs(_derived(run.resolved)))
        + _section("Environment", _pairs(_environment(run.env)))
        + "</div>",
        _section("Log", _log(run.path / "log.txt")),
    ]
    return _write(run.path / "report.html", f"{run.name}: {run.family}", parts)


def write_overview(
    directory: Path, runs: Sequence[Run], figures: Iterable[Named], table: Table | None = None
) -> Path:
    """Writes the `report.html` of a folder of runs, such as a sweep's, and gives its path.

    Args:
        directory: the folder.
        runs: those below it, in any state.
        figures: what they show together, in the order to show them.
        table: a sweep's summary, one row a setting.
    """
    states = [run.state for run in runs]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    recipes = dict.fromkeys(str(run.status.get("recipe", "")) for run in runs)
    seconds = sum(float(run.status.get("seconds") or 0) for run in runs)
    tone = "good" if set(states) == {"finished"} else "busy"
    what, title = "Sweep" if table else "Runs", directory.resolve().name
    parts = [
        f'<header><p class="eyebrow">{what} of {_e(", ".join(recipes))}</p>'
        f'<div class="title"><h1>{_e(title)}</h1>'
        f'<span class="badge {tone}">{_e(counts)}</span></div>'
        f'<p class="lead">{len(runs)} runs, {_e(format_seconds(seconds))} of training in all.</p>'
        "</header>",
        _section(
            "Result",
            _gallery([_drawn(number, *figure) for number, figure in enumerate(figures)]),
        ),
        *(_section(shown.title or "Table", _card(_table(shown))) for shown in _views(table)),
        _section("Runs", _card(_run_list(directory, runs))),
    ]
    return _write(directory / "report.html", title, parts)


def _views(table: Table | None) -> list[Table]:
    """Two axes make a square for each metric; otherwise the table stays as it is."""
    if table is None:
        return []
    if len(table.with_role("axis")) != 2:
        return [table]
    return [pivot(table, column.key) for column in table.with_role("value")]


def _head(run: Run) -> str:
    status, state = run.status, run.state
    step, total = int(status["step"]), int(status["total_steps"])
    seconds = format_seconds(float(status.get("seconds") or 0))
    device = run.env.get("device_name") or run.resolved.get("device", "")
    steps = f"{step:,} of {total:,} steps"
    verdict = {
        "finished": f"Finished: {steps} in {seconds} on {device}.",
        "running": f"Still running when this page was written: {steps} after {seconds}.",
        "interrupted": f"Interrupted after {steps}; it can go on from where it stopped.",
        "failed": f"Failed after {steps}.",
        "crashed": f"Its process ended without a word after {steps}; "
        "it can go on from its last checkpoint.",
    }.get(state, f"{steps}.")
    message = str(status.get("message") or "")
    return (
        f'<header><p class="eyebrow">{_e(status.get("recipe") or run.family)} · '
        f"{_e(_date(status.get('started')))}</p>"
        f'<div class="title"><h1>{_e(run.name)}</h1>'
        f'<span class="badge {tone_of(state)}">{_e(state)}</span></div>'
        f'<p class="lead">{_e(verdict)}</p>'
        + (f'<p class="{tone_of(state)}">{_e(message)}</p>' if message else "")
        + "</header>"
    )


def _tiles(run: Run) -> str:
    """Headline numbers: the metrics that the family names first, then what they cost."""
    status, metrics = run.status, run.metrics
    wanted = [f"{split}/{metric.name}" for metric in run.declared for split in ("test", "val")]
    names = [name for name in wanted if name in metrics]
    names += [name for name in metrics if name not in names]
    tiles = [(name.replace("/", " "), _number(metrics[name]), "") for name in names[:4]]
    if best := status.get("best"):
        tiles.append(("best on validation", _number(best["value"]), f"step {best['step']:,}"))
    tiles.append(("training time", format_seconds(float(status.get("seconds") or 0)), ""))
    if "parameters" in run.resolved:
        tiles.append(("parameters", _number(run.resolved["parameters"]), ""))
    return (
        '<dl class="tiles">'
        + "".join(
            f"<div><dt>{_e(name)}</dt><dd>{_e(value)}{f'<small>{_e(note)}</small>' if note else ''}"
            "</dd></div>"
            for name, value, note in tiles
        )
        + "</dl>"
    )


def _drawn(number: int, name: str, caption: str, figure: Figure) -> _Picture:
    """A figure as lines in the page's colours, or as dots where it would be too long."""
    wide = figure.get_figwidth() > 2.2 * figure.get_figheight()
    drawing = svg(figure, prefix=f"figure-{number}-")
    if len(drawing) > _LARGEST_SVG:
        return _Picture(caption, _image(png(figure), name), wide)
    named = f'<svg role="img" aria-label="{_e(name)}" {_size(figure.get_figwidth())}'
    return _Picture(caption, drawing.replace("<svg", named, 1), wide)


def _image(data: bytes, name: str) -> str:
    encoded = base64.b64encode(data).decode()
    if data.startswith(b"GIF"):
        return f'<img src="data:image/gif;base64,{encoded}" alt="{_e(name)}">'
    # The width stands in bytes 16 to 20 of a PNG; ours have 150 dots an inch.
    inches = int.from_bytes(data[16:20], "big") / 150
    return f'<img src="data:image/png;base64,{encoded}" alt="{_e(name)}" {_size(inches)}>'


def _size(inches: float) -> str:
    """Not beyond the figure's own size, or the type of a small one would outgrow the page's."""
    return f'style="max-width:{7.8 * inches:.1f}rem"'


def _samples(folder: Path) -> list[_Picture]:
    """The pictures that `weft sample` left in the run."""
    index = folder / "index.json"
    if not index.is_file():
        return []
    pictures = []
    for entry in json.loads(index.read_text(encoding="utf-8"))["figures"]:
        # The name alone: an index that points outside of the folder is not followed.
        file = folder / Path(entry["file"]).name
        if file.is_file():
            pictures.append(_Picture(entry["caption"], _image(file.read_bytes(), entry["name"])))
    return pictures


def _gallery(pictures: Sequence[_Picture]) -> str:
    """Figures two abreast; a wide one, or one that would stand alone, takes the whole row."""
    items: list[str] = []
    beside = False
    for number, picture in enumerate(pictures):
        following = pictures[number + 1] if number + 1 < len(pictures) else None
        wide = picture.wide or (not beside and (following is None or following.wide))
        beside = not wide and not beside
        note = f"<figcaption>{_e(picture.caption)}</figcaption>" if picture.caption else ""
        kind = ' class="wide"' if wide else ""
        items.append(f"<figure{kind}>{picture.element}{note}</figure>")
    return f'<div class="figures">{"".join(items)}</div>' if items else ""


def _commands(run: Run) -> str:
    path = shlex.quote(str(run.path))
    started = [str(word) for word in run.env.get("command") or ()]
    again = f"weft train {shlex.quote(str(run.path / 'config.yaml'))}"
    if run.config.get("run", {}).get("dir"):
        again += " run.dir=NEW_DIRECTORY"
    commit = (run.env.get("git") or {}).get("commit")
    entries = []
    if started:
        program = Path(started[0])
        module = ["python", "-m", program.parent.name] if program.stem == "__main__" else None
        entries.append(
            ("as it was started", shlex.join([*(module or [program.name]), *started[1:]]))
        )
    if commit:
        entries.append(("at the same code", f"git checkout {commit}"))
    entries.append(("the same config again", again))
    if run.state == "finished":
        entries.append(("metrics anew, from the checkpoint", f"weft evaluate {path}"))
    else:
        entries.append(("go on where it stopped", f"weft resume {path}"))
    return (
        '<dl class="commands">'
        + "".join(
            f"<dt>{_e(what)}</dt><dd><pre>{_e(command)}</pre></dd>" for what, command in entries
        )
        + "</dl>"
    )


def _config(config: Mapping[str, Any], defaults: Mapping[str, Any] | None) -> str:
    note = ""
    if defaults is not None:
        note = '<p class="muted">Bold: differs from the default, which stands beside it.</p>'
    return f'{note}<div class="card tree">{_tree(config, defaults)}</div>'


def _tree(values: Mapping[str, Any], defaults: Mapping[str, Any] | None) -> str:
    """Nested lists, sections last; a section is open if it holds a value that was changed."""
    items = []
    for key, value in sorted(values.items(), key=lambda item: isinstance(item[1], Mapping)):
        known = _MISSING if defaults is None else defaults.get(key, _MISSING)
        label = f'<span class="key">{_e(key)}:</span>'
        if isinstance(value, Mapping):
            # A section of another kind than the default's has no defaults to compare with.
            below = known if isinstance(known, Mapping) else {}
            inner = _tree(value, None if defaults is None else below)
            opened = " open" if 'class="changed"' in inner else ""
            items.append(f"<li><details{opened}><summary>{label}</summary>{inner}</details></li>")
            continue
        text = _e(_scalar(value))
        if known is not _MISSING and not _same(value, known):
            text = (
                f'<span class="changed">{text}</span>'
                f'<span class="origin">default {_e(_scalar(known))}</span>'
            )
        items.append(f"<li>{label} {text}</li>")
    return f"<ul>{''.join(items)}</ul>"


def _same(value: Any, default: Any) -> bool:
    if isinstance(value, list | tuple) and isinstance(default, list | tuple):
        return list(value) == list(default)
    return bool(value == default)


def _derived(resolved: Mapping[str, Any]) -> dict[str, str]:
    shown = {}
    for key, value in resolved.items():
        if key == "parents":
            continue
        if key.startswith("bytes_") and isinstance(value, int | float):
            shown[key.removeprefix("bytes_") + " memory"] = f"{value / 2**20:,.1f} MiB"
        elif key.startswith("flops_") and isinstance(value, int | float):
            shown[key.replace("_", " ")] = f"{value / 1e9:,.3g} GFLOP"
        else:
            shown[key.replace("_", " ")] = _number(value)
    return shown


def _parents(parents: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    return {key: f"{pin['file']}, sha256 {pin['sha256'][:12]}…" for key, pin in parents.items()}


def _environment(env: Mapping[str, Any]) -> dict[str, str]:
    shown: dict[str, str] = {}
    for key, value in env.items():
        if key == "command":
            continue
        if key == "git":
            shown["git"] = (
                "not in a repository"
                if not value
                else f"commit {value['commit']}"
                + (", with changes that were not committed" if value["dirty"] else ", clean")
            )
        else:
            shown[key.replace("_", " ")] = _scalar(value)
    return shown


def _log(path: Path) -> str:
    if not path.is_file():
        return ""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    tail = lines[-_LOG_LINES:]
    count = (
        f"last {len(tail)} of {len(lines):,} lines"
        if len(tail) < len(lines)
        else (f"{len(lines)} lines")
    )
    text = _e("\n".join(tail))
    return (
        f'<div class="card log"><details><summary>{_e(count)} of {_e(path.name)}</summary>'
        f"<pre>{text}</pre></details></div>"
    )


def _run_list(directory: Path, runs: Sequence[Run]) -> str:
    rows = []
    for run in runs:
        name = _e(run.path.relative_to(directory).as_posix())
        if (run.path / "report.html").is_file():
            name = f'<a href="{name}/report.html">{name}</a>'
        metrics = ", ".join(f"{key} {_number(value)}" for key, value in run.metrics.items())
        message = str(run.status.get("message") or "")
        rows.append(
            f"<tr><td>{name}</td>"
            f'<td class="{tone_of(run.state)}">{_e(run.state)}</td>'
            f'<td class="number">{_e(format_seconds(float(run.status.get("seconds") or 0)))}</td>'
            f"<td>{_e(message or metrics)}</td></tr>"
        )
    return (
        '<table><thead><tr><th>run</th><th>state</th><th class="number">time</th>'
        f"<th>metrics</th></tr></thead><tbody>{''.join(rows)}</tbody></table>"
    )


def _table(table: Table) -> str:
    numeric = [' class="number"' if is_numeric(table, c) else "" for c in table.columns]
    head = "".join(
        f"<th{kind}>{_e(c.heading)}</th>" for c, kind in zip(table.columns, numeric, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(f"<td{kind}>{_e(cell)}</td>" for cell, kind in zip(row, numeric, strict=True))
        + "</tr>"
        for row in text_rows(table)
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _pairs(values: Mapping[str, str]) -> str:
    if not values:
        return ""
    rows = "".join(
        f'<tr><th scope="row">{_e(key)}</th><td>{_e(value)}</td></tr>'
        for key, value in values.items()
    )
    return _card(f"<table><tbody>{rows}</tbody></table>")


def _card(content: str) -> str:
    return f'<div class="card">{content}</div>'


def _section(title: str, content: str) -> str:
    return f"<section><h2>{_e(title)}</h2>{content}</section>" if content else ""


def _write(path: Path, title: str, parts: Sequence[str]) -> Path:
    # The policy makes the promise of the first line binding even for text that slipped through.
    page = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<link rel="icon" href="data:,">
<title>{_e(title)} · weft</title>
<style>{_css()}</style>
</head>
<body>
{"".join(parts)}
<footer>Written by weft. This page holds everything it shows and fetches nothing.</footer>
</body>
</html>
"""
    write_text(path, page)
    return path


@cache
def _css() -> str:
    """The style sheet, with the dark palette of the figures put in its dark section."""
    text = (files("weft.reports") / "page.css").read_text(encoding="utf-8")
    light = "".join(f"--line-{i}:{colour};" for i, colour in enumerate(PALETTE))
    dark = "".join(f"--line-{i}:{colour};" for i, colour in enumerate(PALETTE_DARK))
    return text + (
        f":root{{{light}}}@media screen and (prefers-color-scheme: dark){{:root{{{dark}}}}}"
    )


def _number(value: Any) -> str:
    """A number for people; null, which stands for one that is none, as a dash."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return format_number(value)
    return "—" if value is None else _scalar(value)


def _scalar(value: Any) -> str:
    """A value as the config file writes it."""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, default=str)


def _date(stamp: Any) -> str:
    """An ISO time stamp in UTC as `20 November 2026, 14:03 UTC`."""
    if not stamp:
        return ""
    moment = datetime.fromisoformat(str(stamp))
    return f"{moment.day} {moment:%B %Y, %H:%M} UTC"


def _e(text: Any) -> str:
    return escape(str(text), quote=True)
