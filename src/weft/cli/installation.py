"""Commands about this installation: recipes, doctor, bench."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from weft.cli.arguments import Json
from weft.cli.output import described, emit, pairs
from weft.errors import WeftError
from weft.terminal import tell

if TYPE_CHECKING:
    from rich.console import RenderableType


def recipes(
    pattern: Annotated[
        str | None,
        typer.Argument(
            metavar="[FAMILY|PATTERN]", help="Only this family, or what is called so: 'jepa/*idm*'."
        ),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Also each row of the tables that families ship.")
    ] = False,
    as_json: Json = False,
) -> None:
    """List what can be trained."""
    from weft import api

    rows = api.recipes(pattern)
    about = {row["recipe"]: row["about"] for row in rows}
    emit(as_json, rows, lambda: described(about if pattern or everything else _folded(about, rows)))


def _folded(about: Mapping[str, str], rows: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """The recipes, those that are rows of a family's table as one."""
    from weft import families

    broken = {row["recipe"] for row in rows if "broken" in row}
    shown: dict[str, str] = {}
    for name in dict.fromkeys(recipe.partition("/")[0] for recipe in about):
        table = set() if name in broken else set(families.find(name).generated)
        of_it = {key: told for key, told in about.items() if key.partition("/")[0] == name}
        shown |= {key: told for key, told in of_it.items() if key.partition("/")[2] not in table}
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
        str, typer.Argument(metavar="FAMILY|loop", help="Family, or weft's own training loop.")
    ],
    full: Annotated[bool, typer.Option("--full", help="Also the slow cases.")] = False,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.")] = None,
    as_markdown: Annotated[
        bool, typer.Option("--markdown", help="One table of times and ratios, for a document.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Time fast forms against references and peers."""
    from weft import api
    from weft.reports.tables import Column, Table, rich_table

    if threads:
        import torch

        torch.set_num_threads(threads)
    result = api.bench(what, full=full, show=lambda name: tell(f"measuring {name}"))

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

    if as_markdown and not as_json:
        from weft.reports.speed import speeds
        from weft.reports.tables import markdown

        typer.echo(markdown(speeds(result)), nl=False)
        return
    emit(as_json, result, table)
