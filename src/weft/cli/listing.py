"""Commands that show finished runs: runs, compare, report, reproduce."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from weft.cli.arguments import Root, there
from weft.cli.output import emit
from weft.errors import UsageError, WeftError
from weft.terminal import show, tell, unbroken
from weft.verbs.arguments import Json, Workers

if TYPE_CHECKING:
    from rich.console import RenderableType

    from weft.reports.tables import Table
    from weft.run.registry import Run
    from weft.sweeps.pool import Outcome

_MANY = 200
"""With more runs than this, the table is printed as plain lines."""


def runs(
    root: Root = Path("runs"),
    family: Annotated[str | None, typer.Option(help="Only this family.")] = None,
    state: Annotated[str | None, typer.Option(help="Only runs in this state.")] = None,
    where: Annotated[
        str | None,
        typer.Option(help="Conditions, such as `test/accuracy>.9 and delay=50`, `tags~night`."),
    ] = None,
    sort: Annotated[
        str | None, typer.Option(metavar="KEY", help="Order by this; -KEY: highest first.")
    ] = None,
    columns: Annotated[
        str | None, typer.Option(metavar="KEY,...", help="Columns to show instead.")
    ] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    as_latex: Annotated[bool, typer.Option("--latex", help="Print a LaTeX tabular.")] = False,
    as_json: Json = False,
) -> None:
    """List runs; select, order and tabulate them."""
    from weft import api
    from weft.reports import written
    from weft.reports.query import ordered, select, tabulated

    if as_csv + as_latex + as_json > 1:
        raise UsageError("--csv, --latex and --json exclude each other", expected="one of them")
    found = _of(api.runs(root), family, state)
    if where is not None:
        found = select(found, where)
    if sort is not None:
        found = ordered(found, sort)
    keys = [key.strip() for key in columns.split(",")] if columns is not None else []
    if as_csv or as_latex:
        shown = tabulated(found, keys or ["run", "state", "step", "seconds", *_measured(found)])
        show((written.as_csv if as_csv else written.as_latex)(shown))
        return
    kept = [f"{what} {word}" for what, word in (("family", family), ("state", state)) if word]
    kept += [f"`{where}`"] if where is not None else []
    none = f"no runs{' of ' * bool(kept)}{' and '.join(kept)} below {root}"
    if keys:
        shown = tabulated(found, keys)
        emit(as_json, shown.rows, lambda: _sized(shown) if found else none)
        return
    values = [run_values(run) for run in found]
    emit(as_json, values, lambda: _sized(_overview(values)) if values else none)


def compare(
    run: Annotated[
        list[Path],
        typer.Argument(metavar="RUN|FOLDER...", help="Runs, sweeps or folders of runs."),
    ],
    metric: Annotated[
        list[str] | None, typer.Option(help="Metric to compare; may be repeated.")
    ] = None,
    page: Annotated[
        Path | None, typer.Option(help="HTML page to write, with the curves over each other.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what differs between runs and what came of it, paired by seed."""
    from weft import api
    from weft.reports.written import as_json as table_json
    from weft.run.named import folder_named
    from weft.run.registry import find_runs, is_run

    for path in run:
        if not is_run(folder_named(path)):
            _tell_damaged(find_runs(folder_named(path)))
    compared = api.compare(*run, metrics=metric or (), page=page)
    values = {table.title: table_json(table) for table in compared.tables}
    emit(as_json, values, lambda: _grouped(compared.tables, *([f"report  {page}"] if page else [])))


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
            named(path)  # Raises before any page is written.
    pages = [str(api.report(path)) for path in run]
    emit(as_json, {"reports": pages}, lambda: "\n".join(pages))


def reproduce(
    family: Annotated[
        list[str],
        typer.Argument(metavar="FAMILY...|all", help="Families whose papers are compared."),
    ],
    budget: Annotated[
        Literal["smoke", "cpu", "gpu", "paper"] | None,
        typer.Option(help="Train the missing runs of this list first."),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(min=0.0, help="Wall time for training; runs under way then are saved."),
    ] = None,
    workers: Workers = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder that gets everything but the weights, to be copied back."),
    ] = None,
    root: Annotated[
        Path, typer.Option(help="Folder of runs; new ones go to `reproduce/BUDGET` in it.")
    ] = Path("runs"),
    as_json: Json = False,
) -> None:
    """Print papers' numbers beside those of finished runs that match them, or train those first."""
    if budget is not None:
        _trained(family, budget, minutes, workers, out, root, as_json)
        return
    if family == ["all"] or len(family) > 1 or minutes is not None or workers or out:
        raise UsageError(
            "several families, --minutes, --workers and --out need a budget to train with",
            where="--budget",
            expected="--budget smoke, cpu, gpu or paper beside them",
        )
    from weft import api
    from weft.reports.claims import by_metric
    from weft.reports.written import as_json as table_json

    table = api.reproduce(family[0], there(root))
    _tell_damaged(api.runs(root))
    emit(as_json, table_json(table), lambda: _grouped(by_metric(table)))


def _trained(
    families: Sequence[str],
    budget: Literal["smoke", "cpu", "gpu", "paper"],
    minutes: float | None,
    workers: int | None,
    out: Path | None,
    root: Path,
    as_json: bool,
) -> None:
    """Trains what the families' tables still lack, and prints the tables."""
    from weft import api
    from weft.reports.tables import format_seconds
    from weft.reports.written import as_json as table_json

    def on_done(outcome: Outcome) -> None:
        shown = "" if outcome.state == "done" else outcome.error
        about, seconds = outcome.point.values["of"], format_seconds(outcome.seconds)
        tell(f"{about} ({outcome.point.name}): {outcome.state}, {seconds}  {shown}".rstrip())

    done = api.train_tables(
        *families, budget=budget, minutes=minutes, root=root, workers=workers, on_done=on_done,
        out=out,
    )  # fmt: skip
    values = {
        "tables": [table_json(each) for each in done.tables],
        "results": str(done.text),
        "report": str(done.page),
        "left": done.left,
    }
    emit(as_json, values, lambda: _grouped(done.tables))
    if not as_json:
        show(f"results {done.text}\nreport  {done.page}")
    failed = [outcome for outcome in done.outcomes if outcome.state == "failed"]
    if failed:
        raise WeftError(
            f"{len(failed)} of {len(done.outcomes)} runs did not finish",
            hint="\n".join([failed[0].error, "the same command tries them once more"]),
        )


def _grouped(tables: Sequence[Table], *further: str) -> RenderableType:
    """Tables for a terminal, one below the other, and lines below them."""
    from rich.console import Group

    from weft.reports.tables import rich_table

    return Group(*map(rich_table, tables), *map(unbroken, further))


def run_values(run: Run) -> dict[str, Any]:
    """A run as `--json` prints it."""
    return {
        "run": str(run.path),
        "state": run.state,
        "step": f"{run.status['step']}/{run.status['total_steps']}",
        "seconds": run.seconds,
        "metrics": run.metrics,
        "declared": [metric.plain() for metric in run.declared],
        "parents": {key: pin["file"] for key, pin in run.parents.items()}
        | ({"continues": run.continues} if run.continues else {}),
        "note": run.damage or _not_installed(run.family),
    }


def _tell_damaged(runs: Sequence[Run]) -> None:
    for run in runs:
        if run.damage:
            tell(f"note: {run.path} is left out: {run.damage}")


def _overview(values: Sequence[Mapping[str, Any]]) -> Table:
    """The table of runs that is shown when no columns are asked for."""
    from weft.reports.tables import Column, Table, format_number

    columns = [Column("run", role="text"), Column("state", role="status")]
    further = ["step", "seconds", "metrics"]
    further += [key for key in ("parents", "note") if any(row[key] for row in values)]
    columns += [Column(name, role="text") for name in further]
    rows = tuple(
        {
            **row,
            "metrics": "  ".join(f"{k} {format_number(v)}" for k, v in row["metrics"].items()),
            "parents": "  ".join(f"{k} {_relative(v)}" for k, v in row["parents"].items()),
        }
        for row in values
    )
    return Table(tuple(columns), rows)


def _sized(table: Table) -> RenderableType:
    """The table for a terminal; aligned plain lines if it is long, which print sooner."""
    from weft.reports.tables import rich_table
    from weft.reports.written import aligned

    return rich_table(table) if len(table.rows) <= _MANY else aligned(table)


def _measured(runs: Sequence[Run]) -> list[str]:
    return list(dict.fromkeys(name for run in runs for name in run.metrics))


def _of(runs: Sequence[Run], family: str | None, state: str | None) -> list[Run]:
    """The runs of a family and in a state, where these are given.

    Raises:
        UsageError: if there is no such family or state.
    """
    from weft import families
    from weft.run.registry import STATES

    _check("--family", family, [*families.names(), *(run.family for run in runs)])
    _check("--state", state, [*STATES, *(run.state for run in runs)])
    return [
        run
        for run in runs
        # The family of a damaged run may be unknown: it is shown whichever is asked for.
        if family in (None, run.family or family) and state in (None, run.state)
    ]


def _check(option: str, word: str | None, known: Sequence[str]) -> None:
    """Refuses a family or state that does not exist."""
    if word is not None and word not in known:
        from weft.config.explain import suggest

        names = list(dict.fromkeys(known))
        raise UsageError(
            f"no run has the {option.removeprefix('--')} `{word}`",
            where=option,
            expected=f"one of {', '.join(names)}",
            hint=suggest(word, names, ""),
        )


def _not_installed(family: str) -> str:
    """A note if the run's family is not installed (any more); else ""."""
    from weft import families

    return "" if family in families.names() else f"family `{family}` is not installed"


def _relative(file: str) -> str:
    """The path relative to the working directory, if it lies below it."""
    path, here = Path(file), Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else file
