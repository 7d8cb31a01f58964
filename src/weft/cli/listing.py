"""Commands that show finished runs: runs, report, reproduce."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from weft.cli.arguments import Json, Root
from weft.cli.output import emit
from weft.errors import UsageError
from weft.terminal import tell

if TYPE_CHECKING:
    from rich.console import RenderableType

    from weft.run.registry import Run

_MANY = 200
"""Runs beyond which they are listed as plain lines."""


def runs(
    root: Root = Path("runs"),
    family: Annotated[str | None, typer.Option(help="Only this family.")] = None,
    state: Annotated[str | None, typer.Option(help="Only runs in this state.")] = None,
    as_json: Json = False,
) -> None:
    """List runs."""
    from weft import api, families
    from weft.reports.tables import Column, Table, aligned, format_number, rich_table
    from weft.run.registry import STATES

    everything = api.runs(root)
    _check("--family", family, [*families.names(), *(run.family for run in everything)])
    _check("--state", state, [*STATES, *(run.state for run in everything)])
    found = [
        run
        for run in everything
        # Of a damaged one nobody may know the family.
        if family in (None, run.family or family) and state in (None, run.state)
    ]
    values = [run_values(run) for run in found]

    def table() -> RenderableType:
        columns = [Column("run", role="text"), Column("state", role="status")]
        further = ["step", "seconds", "metrics"]
        further += [key for key in ("parents", "note") if any(row[key] for row in values)]
        columns += [Column(name, role="text") for name in further]
        rows = tuple(
            {
                **row,
                "metrics": "  ".join(f"{k} {format_number(v)}" for k, v in row["metrics"].items()),
                "parents": "  ".join(f"{k} {_near(v)}" for k, v in row["parents"].items()),
            }
            for row in values
        )
        shown = Table(tuple(columns), rows)
        return rich_table(shown) if len(rows) <= _MANY else aligned(shown)

    kept = [f"{what} {word}" for what, word in (("family", family), ("state", state)) if word]
    none = f"no runs{' of ' * bool(kept)}{' and '.join(kept)} below {root}"
    emit(as_json, values, table if values else lambda: none)


def report(
    run: Annotated[
        list[Path],
        typer.Argument(metavar="RUN|FOLDER...", help="Runs, or folders of runs to show together."),
    ],
    as_json: Json = False,
) -> None:
    """Write the report of a run, a sweep or a folder of runs, one self-contained HTML page."""
    from weft import api
    from weft.run.named import folder_named, named

    for path in run:
        if not folder_named(path).exists():
            named(path)  # Says so before any page is written.
    pages = [str(api.report(path)) for path in run]
    emit(as_json, {"reports": pages}, lambda: "\n".join(pages))


def reproduce(
    family: Annotated[str, typer.Argument(help="Family whose paper is compared with.")],
    root: Root = Path("runs"),
    as_json: Json = False,
) -> None:
    """Print a paper's numbers beside those of finished runs that match them."""
    from weft import api
    from weft.reports.claims import by_metric
    from weft.reports.tables import as_json as table_json
    from weft.reports.tables import rich_table

    table = api.reproduce(family, root)
    for run in api.runs(root):
        if run.damage:
            tell(f"note: {run.path} is left out: {run.damage}")

    def text() -> RenderableType:
        from rich.console import Group

        return Group(*map(rich_table, by_metric(table)))

    emit(as_json, table_json(table), text)


def run_values(run: Run) -> dict[str, Any]:
    """What `--json` says of a run."""
    return {
        "run": str(run.path),
        "state": run.state,
        "step": f"{run.status['step']}/{run.status['total_steps']}",
        "seconds": run.status["seconds"],
        "metrics": run.metrics,
        "declared": [metric.plain() for metric in run.declared],
        "parents": {key: pin["file"] for key, pin in run.parents.items()},
        "note": run.damage or _homeless(run.family),
    }


def _check(option: str, word: str | None, known: Sequence[str]) -> None:
    """Refuses a word that no run can be filtered by."""
    if word is not None and word not in known:
        from weft.config.explain import suggest

        names = list(dict.fromkeys(known))
        raise UsageError(
            f"`{word}` is no {option.removeprefix('--')} that runs have",
            where=option,
            expected=f"one of {', '.join(names)}",
            hint=suggest(word, names, ""),
        )


def _homeless(family: str) -> str:
    """Says so where the family of a run is not there, as when its package was uninstalled."""
    from weft import families

    return "" if family in families.names() else f"there is no family `{family}` here"


def _near(file: str) -> str:
    """The path as seen from here, where it lies below."""
    path, here = Path(file), Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else file
