"""The page of a run: its metrics, curves, the family's figures, config, and how to repeat it."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weft import families
from weft.config.load import validate
from weft.config.recipe import plain_defaults
from weft.engine.isolation import isolated
from weft.plots.images import Named, save
from weft.plots.style import style
from weft.reports.claims import matched
from weft.reports.config_tree import config_tree
from weft.reports.curves import curves
from weft.reports.gallery import drawn, gallery, samples
from weft.reports.html import (
    card,
    metric_name,
    number,
    pairs,
    prose,
    published,
    safe,
    scalar,
    section,
    table_html,
    write,
)
from weft.reports.metrics import metric_table
from weft.reports.tables import Table, format_seconds, tone_of
from weft.run.directory import RunDirectory
from weft.run.registry import CONTINUES
from weft.shell import spelt
from weft.task import calls
from weft.task.load import load_task
from weft.task.metric import Metric, find

if TYPE_CHECKING:
    from weft.run.registry import Run
    from weft.task.task import Task

_LOG_LINES = 60


@isolated()
def write_page(run: Run, task: Task[Any, Any, Any] | None = None) -> Path:
    """Writes the run's report.html and the figures on it, and returns the page's path.

    Args:
        run: in any state.
        task: of the run, if it is built already.
    """
    family, history = families.find(run.family), run.history()
    if task is None:
        task = load_task(family, validate(run.config, family, str(run.path / "config.yaml")))
    folder = RunDirectory(run.path).figures
    folder.mkdir(exist_ok=True)
    with style():
        own = list(calls.pictures(task.figures, history))
        for name, _, figure in own:
            save(figure, folder / f"{name}.png")
        drawn_curves = curves([_engine_scalars(row) for row in history], run.declared)
        figures = [*drawn_curves, *own]
    claims = matched(family, [run])
    return write_report(run, figures, defaults=plain_defaults(family), claims=claims)


def write_report(
    run: Run,
    figures: Iterable[Named],
    *,
    defaults: Mapping[str, Any] | None = None,
    claims: Table | None = None,
) -> Path:
    """Writes the run's `report.html` and returns its path.

    Args:
        run: in any state.
        figures: (name, caption, figure), in the order to show them.
        defaults: the nested default config; values that differ from it are marked.
        claims: table of published numbers beside the run's.
    """
    parts = [
        _head(run),
        _tiles(run),
        section(
            "Curves and figures",
            gallery([drawn(number, *figure) for number, figure in enumerate(figures)]),
        ),
        section("What the model makes", gallery(samples(run.path / "figures"))),
        section("Metrics", _metrics(run)),
        published(claims) if claims else "",
        section("Commands", _commands(run)),
        section("Starts from", pairs(_parents(run))),
        section("Config", config_tree(run.config, defaults)),
        '<div class="halves">'
        + section("Derived from the config", pairs(_derived(run.resolved)))
        + section("Environment", pairs(_environment(run.env)))
        + "</div>",
        section("Log", _log(run.path / "log.txt")),
    ]
    return write(run.path / "report.html", f"{run.name}: {run.family}", parts)


def _head(run: Run) -> str:
    status, state = run.status, run.state
    step, total = int(status["step"]), int(status["total_steps"])
    seconds, device = format_seconds(run.seconds), run.device
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
    # What there is to say of a run that finished is a warning.
    tone = "bad" if state == "finished" else tone_of(state)
    return (
        f'<header><p class="eyebrow">{safe(status.get("recipe") or run.family)} · '
        f"{safe(_date(status.get('started')))}</p>"
        f'<div class="title"><h1>{safe(run.name)}</h1>'
        f'<span class="badge {tone_of(state)}">{safe(state)}</span></div>'
        f'<p class="lead">{safe(verdict)}</p>'
        + (f'<p class="{tone}">{prose(message)}</p>' if message else "")
        + "</header>"
    )


def _tiles(run: Run) -> str:
    """The headline numbers: the family's first metrics, then time and size."""
    metrics, declared = run.metrics, run.declared
    names = list(dict.fromkeys([*run.headlines, *metrics]))
    tiles = [
        _metric_tile(name.replace("/", " "), metrics[name], find(declared, name))
        for name in names[:4]
    ]
    if best := run.status.get("best"):
        selects = declared[0] if declared else None
        step = f"step {best['step']:,}"
        tiles.append(_metric_tile("best on validation", best["value"], selects, step))
    tiles.append(_tile("training time", format_seconds(run.seconds)))
    if "parameters" in run.resolved:
        tiles.append(_tile("parameters", number(run.resolved["parameters"])))
    return f'<dl class="tiles">{"".join(tiles)}</dl>'


def _metric_tile(title: str, value: float | None, metric: Metric | None, note: str = "") -> str:
    """A metric with its unit and `note`; without a note, with which way is better."""
    if metric is None:
        return _tile(safe(title), number(value), note=note)
    note = note or f"{metric.better} is better"
    return _tile(metric_name(title, metric), number(value), metric.unit, note)


def _tile(title: str, value: str, unit: str = "", note: str = "") -> str:
    """A number with its title (HTML), unit and note."""
    unit = f' <span class="unit">{safe(unit)}</span>' if unit else ""
    note = f"<small>{safe(note)}</small>" if note else ""
    return f"<div><dt>{title}</dt><dd>{safe(value)}{unit}{note}</dd></div>"


def _metrics(run: Run) -> str:
    """All metrics of the last evaluation, with their meaning."""
    return card(table_html(metric_table(run.metrics, run.declared))) if run.metrics else ""


def _commands(run: Run) -> str:
    started = [str(word) for word in run.env.get("command") or ()]
    again = spelt("train", run.path / "config.yaml")
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
        entries.append(("metrics anew, from the checkpoint", spelt("evaluate", run.path)))
    else:
        entries.append(("go on where it stopped", spelt("resume", run.path)))
    return (
        '<dl class="commands">'
        + "".join(
            f"<dt>{safe(what)}</dt><dd><pre>{safe(command)}</pre></dd>" for what, command in entries
        )
        + "</dl>"
    )


def _derived(resolved: Mapping[str, Any]) -> dict[str, str]:
    shown = {}
    for key, value in resolved.items():
        if key in ("parents", CONTINUES):
            continue
        if key.startswith("bytes_") and isinstance(value, int | float):
            shown[key.removeprefix("bytes_") + " memory"] = f"{value / 2**20:,.1f} MiB"
        elif key.startswith("flops_") and isinstance(value, int | float):
            shown[key.replace("_", " ")] = f"{value / 1e9:,.3g} GFLOP"
        else:
            shown[key.replace("_", " ")] = number(value)
    return shown


def _parents(run: Run) -> dict[str, str]:
    """The earlier runs whose weights or whole state the run began with."""
    shown = {
        key: f"{pin['file']}, sha256 {pin['sha256'][:12]}…" for key, pin in run.parents.items()
    }
    return shown | ({"continues": run.continues} if run.continues else {})


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
            shown[key.replace("_", " ")] = scalar(value)
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
    text = safe("\n".join(tail))
    return (
        f'<div class="card log"><details><summary>{safe(count)} of {safe(path.name)}</summary>'
        f"<pre>{text}</pre></details></div>"
    )


def _date(stamp: Any) -> str:
    """An ISO time stamp in UTC as `20 November 2026, 14:03 UTC`."""
    if not stamp:
        return ""
    moment = datetime.fromisoformat(str(stamp))
    return f"{moment.day} {moment:%B %Y, %H:%M} UTC"


def _engine_scalars(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row without the family's own diagnostics, which the family itself draws."""
    own = ("train/", "val/", "test/", "opt/", "time/")
    return {k: v for k, v in row.items() if k.startswith(own) or "/" not in k}
