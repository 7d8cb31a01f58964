"""Commands that train runs and use them: train, resume, evaluate, sample, sweep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from weft.cli.arguments import Accept, Checkpoint, RunPath, Words
from weft.cli.listing import run_values
from weft.cli.output import emit, pairs, readable
from weft.errors import UsageError, WeftError
from weft.shell import spelt
from weft.terminal import show, tell, unbroken
from weft.verbs.arguments import Json, Quiet

if TYPE_CHECKING:
    from rich.console import RenderableType

    from weft.run.registry import Run
    from weft.sweeps.sweep import Sweep
    from weft.task.metric import Metric


def train(
    words: Words,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what the run would cost.")
    ] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Train a new run; RUN steps=N continues a finished one in a new directory."""
    from weft import api
    from weft.run.named import continued

    longer = continued(words)
    if dry_run and longer is not None:
        raise UsageError(
            "the cost of a longer run is that of its config",
            where="--dry-run",
            expected=f"`{spelt('train', longer.path / 'config.yaml', 'steps=N', '--dry-run')}`",
        )
    for notice in api.configure(*words).notices if longer is None else ():
        tell(f"note: {notice}")
    if dry_run:
        values = api.dry_run(*words)
        emit(as_json, values, lambda: _costs(values))
        return
    _show_run(api.train(*words, show=not quiet), as_json)


def resume(
    run: RunPath,
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE ...]",
            help="Changes to log, engine or checkpoint; steps or epochs make it longer.",
        ),
    ] = None,
    quiet: Quiet = False,
    accept: Accept = "",
    as_json: Json = False,
) -> None:
    """Continue a run exactly where its newest good checkpoint left it."""
    from weft import api

    _show_run(api.resume(run, *(words or ()), show=not quiet, accept=accept), as_json)


def evaluate(
    run: RunPath, checkpoint: Checkpoint = None, accept: Accept = "", as_json: Json = False
) -> None:
    """Recompute the metrics of a run's checkpoint."""
    from weft import api
    from weft.run.named import named

    metrics = api.evaluate(run, checkpoint, accept, tell)
    emit(as_json, metrics, lambda: _metrics(metrics, named(run).declared))


def sample(
    run: RunPath,
    prompt: Annotated[
        list[str] | None,
        typer.Option(help="Text to continue, which may be empty; may be repeated."),
    ] = None,
    length: Annotated[
        int | None, typer.Option(min=1, help="Tokens to write; by default the rest of a chunk.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Passes in which they are written.")
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(min=0, help="0 takes the most likely token.")
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option(
            min=0.001, max=1, help="Draw from the fewest tokens whose probabilities reach this sum."
        ),
    ] = None,
    remask: Annotated[
        Literal["low-confidence", "random"] | None,
        typer.Option(help="Which tokens a pass leaves to later ones."),
    ] = None,
    block: Annotated[
        int | None,
        typer.Option(min=1, help="Tokens that are finished before later ones are begun."),
    ] = None,
    checkpoint: Checkpoint = None,
    accept: Accept = "",
    as_json: Json = False,
) -> None:
    """Draw what the trained model makes into the run's figures; with --prompt, have it write text.

    Options of writing that are left out are those of the run's config.
    """
    from weft import api
    from weft.task.writing import Writing

    asked = Writing(tuple(prompt or ()), length, steps, temperature, top_p, remask, block)
    if prompt is not None:
        texts = api.write(run, asked, checkpoint, accept, tell)
        values = {"texts": [text.plain() for text in texts]}
        emit(as_json, values, lambda: "\n\n".join(map(str, texts)))
        return
    if asked != Writing(()):
        raise UsageError(
            "these options say how text is written, but no --prompt asks for any",
            where="--length, --steps, --temperature, --top-p, --remask, --block",
            expected="--prompt TEXT beside them; '' for a text from nothing",
        )
    files = [str(path) for path in api.sample(run, checkpoint, accept, tell)]
    emit(as_json, {"figures": files}, lambda: "\n".join(files))


def sweep(
    words: Words,
    directory: Annotated[
        Path | None,
        typer.Option("--dir", help="The sweep's directory; an existing one is continued."),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1, help="Runs at a time; by default one per core or GPU, one of a search."
        ),
    ] = None,
    metric: Annotated[str | None, typer.Option(help="Metric to plot and to search by.")] = None,
    stack: Annotated[
        bool,
        typer.Option("--stack", help="Train all runs as one batched model, if the family can."),
    ] = False,
    search: Annotated[
        Literal["tpe", "random"] | None,
        typer.Option(help="Let Optuna propose settings within the axes."),
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option(min=1, help="Trials of the search in all; a larger number later adds some."),
    ] = None,
    prune: Annotated[
        bool,
        typer.Option("--prune", help="End trials of the search that are worse than the median."),
    ] = False,
    on: Annotated[
        str, typer.Option("--on", help="Where: local, ray[:ADDRESS], slurm[:OPTION=VALUE,…].")
    ] = "local",
    as_json: Json = False,
) -> None:
    """Train a grid: delay=1,3,5 seed=0..2 optim.lr=log:1e-4:1e-2; or search it: --search tpe."""
    from weft import api
    from weft.reports.tables import format_number
    from weft.sweeps.pool import Outcome

    def on_done(outcome: Outcome) -> None:
        found = outcome.result or {}
        shown = "  ".join(f"{name} {format_number(value)}" for name, value in found.items())
        tell(f"{outcome.point.name}: {outcome.state}  {shown or outcome.error}")

    def on_notice(notice: str) -> None:
        tell(f"note: {notice}")

    _check_sweep(stack, workers, on, search, trials, prune)
    if search is not None and trials is not None:
        result = api.search(
            *words, sampler=search, trials=trials, prune=prune, directory=directory,
            workers=workers, metric=metric, on=on, on_notice=on_notice,
        )  # fmt: skip
    else:
        result = api.sweep(
            *words, directory=directory, workers=workers, metric=metric, on_done=on_done,
            stack=stack, on=on, on_notice=on_notice,
        )  # fmt: skip
    _show_sweep(result, "runs" if search is None else "processes of the search", as_json)


def _show_sweep(result: Sweep, what: str, as_json: bool) -> None:
    """Prints what came of a sweep of `what`.

    Raises:
        WeftError: if some of them did not finish.
    """
    from weft.reports.tables import rich_table
    from weft.reports.written import as_json as table_json

    failed = [outcome for outcome in result.outcomes if outcome.state != "done"]
    values = {
        "directory": str(result.directory),
        "pictures": [str(path) for path in result.pictures],
        "report": str(result.page),
        "table": table_json(result.table),
        "failed": [outcome.point.name for outcome in failed],
    }
    emit(as_json, values, lambda: rich_table(result.table))
    if not as_json:
        plots = [f"plot    {path}" for path in result.pictures]
        show("\n".join([*plots, f"report  {result.page}"]))
    if failed:
        again = "the same command tries them once more"
        raise WeftError(
            f"{len(failed)} of {len(result.outcomes)} {what} did not finish",
            hint="\n".join([*dict.fromkeys(outcome.error for outcome in failed), again]),
        )


def _check_sweep(
    stack: bool, workers: int | None, on: str, search: str | None, trials: int | None, prune: bool
) -> None:
    """Refuses options of `sweep` that exclude or need each other."""
    if stack and (workers is not None or on != "local"):
        other = "--on" if workers is None else "--workers"
        raise UsageError(
            "--stack trains all runs in one process",
            where=other,
            expected=f"one of {other} and --stack",
        )
    if search is not None and (trials is None or stack):
        raise UsageError(
            "a search trains a given number of trials, each a run of its own",
            where="--search",
            expected="--trials N beside it, and no --stack",
        )
    if search is None and (trials is not None or prune):
        raise UsageError(
            "a grid has as many runs as it has points",
            where="--trials" if trials is not None else "--prune",
            expected="--search tpe or --search random beside it",
        )


def _show_run(run: Run | None, as_json: bool) -> None:
    if run is None:
        return
    values = run_values(run)

    def text() -> RenderableType:
        from rich.console import Group

        page = run.path / "report.html"
        places = [f"run     {run.path}"] + ([f"report  {page}"] if page.is_file() else [])
        table = _metrics(run.metrics, run.declared, values["run"])
        return Group(table, unbroken("\n".join(places)))

    emit(as_json, values, text)


def _metrics(
    values: Mapping[str, float | None], declared: Sequence[Metric], title: str = ""
) -> RenderableType:
    """A table of the metrics with unit and direction; what each one means is on the page."""
    from weft.reports.metrics import metric_table
    from weft.reports.tables import rich_table

    table = metric_table(values, declared)
    columns = tuple(column for column in table.columns if column.key != "about")
    return rich_table(replace(table, columns=columns, title=title))


def _costs(values: Mapping[str, Any]) -> str:
    costs = {key: value for key, value in values.items() if key not in ("schema", "notes")}
    return "\n".join([pairs(readable(costs)), *values["notes"]])
