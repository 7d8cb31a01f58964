"""Commands about this installation: recipes, doctor, bench."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from weft.cli.output import described, emit, pairs
from weft.errors import UsageError, WeftError
from weft.terminal import tell
from weft.verbs.arguments import Json

if TYPE_CHECKING:
    from rich.console import RenderableType


def recipes(
    pattern: Annotated[
        str | None,
        typer.Argument(
            metavar="[FAMILY|PATTERN]", help="Only this family, or recipes such as 'jepa/*idm*'."
        ),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="List each row of the families' tables, too.")
    ] = False,
    as_json: Json = False,
) -> None:
    """List the recipes: what can be trained."""
    from weft import api

    rows = api.recipes(pattern)
    about = {row["recipe"]: row["about"] for row in rows}
    emit(as_json, rows, lambda: described(about if pattern or everything else _folded(about, rows)))


def _folded(about: Mapping[str, str], rows: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """The recipes, with those that are rows of a family's table folded into one line."""
    from weft import families

    broken = {row["recipe"] for row in rows if "broken" in row}
    shown: dict[str, str] = {}
    for name in dict.fromkeys(recipe.partition("/")[0] for recipe in about):
        table = set() if name in broken else set(families.find(name).generated)
        of_it = {key: text for key, text in about.items() if key.partition("/")[0] == name}
        shown |= {key: text for key, text in of_it.items() if key.partition("/")[2] not in table}
        if table:
            shown[f"{name}/… ({len(table)})"] = (
                f"Rows of a table: `weft recipes {name}` lists them."
            )
    return shown


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
        rows |= {f"family {name}": by for name, by in found["families"].items() if by}
        rows |= {name: f"broken: {reason}" for name, reason in found["broken"].items()}
        return pairs(rows)

    emit(as_json, found, text)
    if found["problems"]:
        raise WeftError("; ".join(found["problems"]), hint="mend this before the next run")


def bench(
    what: Annotated[
        str,
        typer.Argument(metavar="FAMILY|all|loop", help="Family, or weft's own training loop."),
    ],
    full: Annotated[bool, typer.Option("--full", help="Measure the slow cases, too.")] = False,
    case: Annotated[
        str | None,
        typer.Option(metavar="PATTERN", help="Only the cases of this name: 'render-*'."),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads; by default as many as torch takes.")
    ] = None,
    as_markdown: Annotated[
        bool, typer.Option("--markdown", help="One table of times and ratios, for a document.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Time fast forms against references and peers."""
    from weft import api, families
    from weft.reports.speed import speeds
    from weft.reports.written import markdown

    if case and what == "all":
        raise UsageError(
            "each family names its own cases, so a pattern needs one family",
            where="--case",
            expected="one family, or loop",
            hint="weft bench FAMILY --case PATTERN",
        )
    if threads:
        import torch

        torch.set_num_threads(threads)
    every = [name for name in families.names() if families.find(name).bench]
    results = {
        name: api.bench(name, full=full, case=case, show=lambda form: tell(f"measuring {form}"))
        for name in (every if what == "all" else [what])
    }
    if as_markdown and not as_json:
        tables = {name: speeds(result) for name, result in results.items()}
        if what == "all":
            tables = {name: replace(table, title=name) for name, table in tables.items()}
        typer.echo("\n".join(map(markdown, tables.values())), nl=False)
        return

    def text() -> RenderableType:
        from rich.console import Group

        return Group(*(part for result in results.values() for part in _measured(result)))

    emit(as_json, results if what == "all" else results[what], text)


def _measured(result: Mapping[str, Any]) -> Iterator[RenderableType]:
    """The times of a benchmark, then their ratios."""
    from weft.reports.tables import Column, Table, rich_table

    keys = ("case", "form", "median_ms", "iqr_ms", "windows", "peak_mib", "flops")
    columns = tuple(Column(k, role="text" if k in ("case", "form") else "value") for k in keys)
    yield rich_table(Table(columns, tuple(result["cases"])))
    ratios = tuple({"ratio": k, "value": v} for k, v in result["ratios"].items())
    ratio_columns = (Column("ratio", role="text"), Column("value", title="time over time"))
    yield rich_table(Table(ratio_columns, ratios, note=json.dumps(result["machine"])))
