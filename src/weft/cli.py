"""The command line: each command parses its words, calls the api, and prints."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.exceptions import TyperException

from weft.errors import WeftError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from weft.run.registry import Run

app = typer.Typer(
    help="A workbench for neural systems that keep what they know in unusual places.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
config_app = typer.Typer(help="Show a recipe's config or its schema.", no_args_is_help=True)
data_app = typer.Typer(help="List, fetch and verify data sets.", no_args_is_help=True)
app.add_typer(config_app, name="config")
app.add_typer(data_app, name="data")

Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Words = Annotated[
    list[str],
    typer.Argument(
        metavar="RECIPE|FILE... [KEY=VALUE ...]",
        help="Recipes and files, merged left to right, then overrides.",
    ),
]
RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="A run's directory.")]
Checkpoint = Annotated[
    str | None, typer.Option(help="`best`, `last` or a step; best where there is one.")
]
Root = Annotated[Path, typer.Option(help="Folder that is searched for runs.")]


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of errors.")] = False,
) -> None:
    """Options that stand before the command."""
    _Debug.on = debug


class _Debug:
    """Whether errors show their traceback; set once per call of `main`."""

    on = False


@app.command()
def train(
    words: Words,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Resolve and cost the run, train nothing.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
    as_json: Json = False,
) -> None:
    """Train a new run."""
    from weft import api

    if dry_run:
        values = api.dry_run(*words)
        _emit(as_json, values, lambda: _costs(values))
        return
    for notice in api.configure(*words).notices:
        _tell(f"note: {notice}")
    _show_run(api.train(*words, show=not quiet), as_json)


@app.command()
def resume(
    run: RunPath,
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE ...]", help="Changes to log, engine or checkpoint."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
    as_json: Json = False,
) -> None:
    """Go on with a run exactly where its newest good checkpoint left it."""
    from weft import api

    _show_run(api.resume(run, *(words or ()), show=not quiet), as_json)


@app.command()
def evaluate(run: RunPath, checkpoint: Checkpoint = None, as_json: Json = False) -> None:
    """Recompute the metrics of a run's checkpoint."""
    from weft import api

    metrics = api.evaluate(run, checkpoint)
    _emit(as_json, metrics, lambda: _pairs({k: f"{v:.4f}" for k, v in metrics.items()}))


@app.command()
def sample(run: RunPath, checkpoint: Checkpoint = None, as_json: Json = False) -> None:
    """Draw what the trained model makes into the run's figures."""
    from weft import api

    files = [str(path) for path in api.sample(run, checkpoint)]
    _emit(as_json, {"figures": files}, lambda: "\n".join(files))


@app.command()
def sweep(
    words: Words,
    directory: Annotated[
        Path | None, typer.Option("--dir", help="The sweep's directory; the same continues it.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes at a time; one per core or GPU.")
    ] = None,
    metric: Annotated[str | None, typer.Option(help="Metric of the plot.")] = None,
    as_json: Json = False,
) -> None:
    """Train a grid: delay=1,3,5 seed=0..2 optim.lr=log:1e-4:1e-2."""
    from weft import api
    from weft.reports.tables import as_json as table_json
    from weft.reports.tables import rich_table
    from weft.sweeps.pool import Outcome

    def on_done(outcome: Outcome) -> None:
        shown = "  ".join(f"{k} {v:.4g}" for k, v in (outcome.result or {}).items())
        _tell(f"{outcome.point.name}: {outcome.state}  {shown or outcome.error}")

    result = api.sweep(*words, directory=directory, workers=workers, metric=metric, on_done=on_done)
    failed = [o for o in result.outcomes if o.state != "done"]
    values = {
        "directory": str(result.directory),
        "pictures": [str(path) for path in result.pictures],
        "report": str(result.page),
        "table": table_json(result.table),
        "failed": [o.point.name for o in failed],
    }
    _emit(as_json, values, lambda: rich_table(result.table))
    if not as_json:
        print(*(f"plot    {path}" for path in result.pictures), sep="\n")
        print(f"report  {result.page}")
    if failed:
        raise WeftError(
            f"{len(failed)} of {len(result.outcomes)} runs did not finish",
            hint="the same command again tries them once more",
        )


@app.command()
def runs(
    root: Root = Path("runs"),
    family: Annotated[str | None, typer.Option(help="Only this family.")] = None,
    state: Annotated[str | None, typer.Option(help="Only runs in this state.")] = None,
    as_json: Json = False,
) -> None:
    """List runs."""
    from weft import api
    from weft.reports.tables import Column, Table, rich_table

    found = [
        run for run in api.runs(root) if family in (None, run.family) and state in (None, run.state)
    ]
    values = [_run_values(run) for run in found]

    def table() -> RenderableType:
        columns = ("run", "state", "step", "seconds", "metrics")
        columns += ("parents",) if any(row["parents"] for row in values) else ()
        rows = tuple(
            {
                **row,
                "metrics": "  ".join(f"{k} {v:.4g}" for k, v in row["metrics"].items() if v),
                "parents": "  ".join(f"{k} {_near(v)}" for k, v in row["parents"].items()),
            }
            for row in values
        )
        roles = {"state": "status"}
        return rich_table(
            Table(tuple(Column(c, role=roles.get(c, "text")) for c in columns), rows)  # type: ignore[arg-type]
        )

    _emit(as_json, values, table if values else lambda: f"no runs below {root}")


@app.command()
def report(
    run: Annotated[
        list[Path],
        typer.Argument(metavar="RUN|FOLDER...", help="Runs, or folders of runs to show together."),
    ],
    as_json: Json = False,
) -> None:
    """Write the report of a run, a sweep or a folder of runs, one self-contained HTML page."""
    from weft import api

    pages = [str(api.report(path)) for path in run]
    _emit(as_json, {"reports": pages}, lambda: "\n".join(pages))


@app.command()
def reproduce(
    family: Annotated[str, typer.Argument(help="Family whose paper is compared with.")],
    root: Root = Path("runs"),
    as_json: Json = False,
) -> None:
    """Print a paper's numbers beside those of finished runs that match them."""
    from weft import api
    from weft.reports.tables import as_json as table_json
    from weft.reports.tables import rich_table

    table = api.reproduce(family, root)
    # What a terminal has room for; --json has all of it.
    shown = ("where", "published", "ours", "seeds", "steps", "seconds", "verdict")
    narrow = replace(table, columns=tuple(c for c in table.columns if c.key in shown))
    _emit(as_json, table_json(table), lambda: rich_table(narrow))


@app.command()
def recipes(
    family: Annotated[str | None, typer.Argument(help="Only this family.")] = None,
    as_json: Json = False,
) -> None:
    """List what can be trained."""
    from weft import api

    rows = api.recipes(family)
    _emit(as_json, rows, lambda: _pairs({row["recipe"]: row["about"] for row in rows}))


@app.command()
def doctor(as_json: Json = False) -> None:
    """Check the environment: versions, threads, devices, data, extras."""
    from weft import api

    found = api.doctor()

    def text() -> str:
        rows = {key: found[key] for key in ("weft", "python", "torch")}
        rows["threads"] = f"{found['threads']} of {found['cores']} cores"
        rows |= found["devices"]
        rows |= {f"data {name}": state for name, state in found["data"].items()}
        for extra, packages in found["extras"].items():
            missing = [name for name, version in packages.items() if version is None]
            lack = f"without {', '.join(missing)}: pip install 'weft[{extra}]'"
            rows[f"extra {extra}"] = lack if missing else "installed"
        return _pairs(rows)

    _emit(as_json, found, text)
    if found["problems"]:
        raise WeftError("; ".join(found["problems"]), hint="mend this before the next run")


@app.command()
def bench(
    family: Annotated[str, typer.Argument(help="Family to measure.")],
    full: Annotated[bool, typer.Option("--full", help="Also the slow cases.")] = False,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.")] = None,
    as_json: Json = False,
) -> None:
    """Time fast forms against references and peers."""
    from weft import api
    from weft.reports.tables import Column, Table, rich_table

    if threads:
        import torch

        torch.set_num_threads(threads)
    result = api.bench(family, full=full, show=lambda name: _tell(f"measuring {name}"))

    def table() -> RenderableType:
        from rich.console import Group

        keys = ("case", "form", "median_ms", "iqr_ms", "windows", "peak_mib", "flops")
        columns = tuple(Column(k, role="text" if k in ("case", "form") else "value") for k in keys)
        ratios = tuple({"ratio": k, "value": v} for k, v in result["ratios"].items())
        ratio_columns = (Column("ratio", role="text"), Column("value", title="time over time"))
        return Group(
            rich_table(Table(columns, tuple(result["cases"]))),
            rich_table(Table(ratio_columns, ratios, note=json.dumps(result["machine"]))),
        )

    _emit(as_json, result, table)


@config_app.command("show")
def config_show(
    words: Words,
    origin: Annotated[
        bool, typer.Option("--origin", help="Say where each value came from.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Print the resolved config."""
    from functools import reduce

    from weft import api
    from weft.config.layer import leaves
    from weft.config.yaml import write
    from weft.run.parents import whereabouts

    resolved = api.configure(*words)
    values, parents = resolved.config.plain(), whereabouts(resolved.config)
    if not origin:
        # As comments: what is printed is a file that `weft train` takes.
        notes = "".join(f"\n# {key}: {where}" for key, where in parents.items())
        _emit(as_json, values, lambda: write(values).rstrip() + notes)
        return
    rows = {}
    for path in leaves(values):
        value = reduce(lambda node, key: node[key], path, values)
        key = ".".join(path)
        rows[key] = {"value": value, "origin": resolved.origin(path) or "default"}
        if key in parents:
            rows[key]["origin"] += f"; {parents[key]}"
    _emit(
        as_json,
        rows,
        lambda: _pairs({k: f"{r['value']}   ({r['origin']})" for k, r in rows.items()}),
    )


@config_app.command("schema")
def config_schema(
    family: Annotated[str, typer.Argument(help="Family whose recipes the schema describes.")],
    table: Annotated[
        bool, typer.Option("--table", help="A table of all options instead of JSON schema.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Print the JSON schema of a family's recipes."""
    from weft import families
    from weft.config.recipe import recipe_class
    from weft.config.schema import json_schema, options_table

    model = recipe_class(families.find(family))
    _emit(as_json or not table, json_schema(model), lambda: options_table(model))


@data_app.command("list")
def data_list(root: Annotated[Path | None, typer.Option()] = None, as_json: Json = False) -> None:
    """List the data sets weft knows and whether they are here."""
    from weft.data.catalog import SETS
    from weft.data.fetch import locate

    rows = []
    for name, data_set in SETS.items():
        place = locate(name, root=root)
        rows.append(
            {
                "name": name,
                "here": place.complete,
                "items": dict(data_set.sizes),
                "licence": data_set.licence,
                "files": [str(status.path) for status in place.files if status.path],
            }
        )
    _emit(
        as_json,
        rows,
        lambda: _pairs(
            {r["name"]: f"{'here' if r['here'] else 'not here'}  {r['items']}" for r in rows}
        ),
    )


@data_app.command("get")
def data_get(
    name: str, root: Annotated[Path | None, typer.Option()] = None, as_json: Json = False
) -> None:
    """Download a data set, with its checksums verified."""
    from weft.data.fetch import get

    def progress(file: str, done: int, total: int) -> None:
        if not as_json and sys.stderr.isatty():
            print(f"\r{file}  {done / total:.0%}", end="", file=sys.stderr)

    place = get(name, root=root, progress=progress)
    files = {status.file.name: str(status.path) for status in place.files}
    _emit(as_json, files, lambda: _pairs(files))


@data_app.command("check")
def data_check(
    name: str, root: Annotated[Path | None, typer.Option()] = None, as_json: Json = False
) -> None:
    """Verify the checksums of a data set's files; exit code 1 if one is missing or damaged."""
    from weft.data.fetch import check

    place = check(name, root=root)
    states = {status.file.name: status.state for status in place.files}
    _emit(as_json, states, lambda: _pairs(states))
    if not place.intact:
        raise WeftError(f"data set `{name}` is not intact", hint=f"weft data get {name}")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line and gives its exit code: 0, 1 failure, 2 usage, 130/143 interrupted."""
    try:
        app(args=list(sys.argv[1:] if argv is None else argv), standalone_mode=False)
    except TyperException as error:
        # Also raised, without a message, to show help when no command is given.
        message = error.format_message() if hasattr(error, "format_message") else str(error)
        if message:
            _tell(f"usage error: {message}\n  `weft --help` and `weft COMMAND --help` say more")
        return 2
    except WeftError as error:
        if _Debug.on:
            traceback.print_exc()
        _tell(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        _tell("interrupted")
        return 130
    except BrokenPipeError:
        return 0
    except Exception as error:
        traceback.print_exc()
        _tell(
            f"error: {type(error).__name__}: {error}\n  this is a mistake in weft; please report it"
        )
        return 1
    return 0


def _show_run(run: Run | None, as_json: bool) -> None:
    if run is None:
        return
    values = _run_values(run)

    def text() -> RenderableType:
        from rich.console import Group

        from weft.reports.tables import Column, Table, rich_table

        rows = tuple({"metric": k, "value": v} for k, v in run.metrics.items())
        table = Table((Column("metric", role="text"), Column("value")), rows, title=values["run"])
        page = run.path / "report.html"
        places = [f"run     {run.path}"] + ([f"report  {page}"] if page.is_file() else [])
        return Group(rich_table(table), *places)

    _emit(as_json, values, text)


def _run_values(run: Run) -> dict[str, Any]:
    return {
        "run": str(run.path),
        "state": run.state,
        "step": f"{run.status['step']}/{run.status['total_steps']}",
        "seconds": run.status["seconds"],
        "metrics": run.metrics,
        "parents": {key: pin["file"] for key, pin in run.parents.items()},
    }


def _near(file: str) -> str:
    """The path as seen from here, where it lies below."""
    path, here = Path(file), Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else file


def _emit(as_json: bool, values: Any, text: Callable[[], RenderableType]) -> None:
    """Prints `values` as JSON, or the text that `text` makes of them."""
    if as_json:
        print(json.dumps(values, indent=2, default=str))
        return
    shown = text()
    if isinstance(shown, str):
        print(shown)
        return
    from rich.console import Console

    console = Console()
    # A file has no edge at which to break a table's lines.
    (console if console.is_terminal else Console(width=160)).print(shown)


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _pairs(values: Mapping[str, Any]) -> str:
    """Two aligned columns."""
    width = max(map(len, values), default=0)
    return "\n".join(f"{key:<{width}}  {value}" for key, value in values.items())


def _costs(values: Mapping[str, Any]) -> str:
    pairs = _pairs(_readable({key: value for key, value in values.items() if key != "notes"}))
    return "\n".join([pairs, *values["notes"]])


def _readable(values: Mapping[str, Any]) -> dict[str, str]:
    shown = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            shown |= {f"{key}.{below}": text for below, text in _readable(value).items()}
        elif key.startswith("bytes"):
            shown[key] = f"{value / 2**20:,.1f} MiB"
        else:
            shown[key] = f"{value:,}" if isinstance(value, int) else str(value)
    return shown


if __name__ == "__main__":
    sys.exit(main())
