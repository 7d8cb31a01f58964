"""The arguments that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


def _recipes(incomplete: str) -> list[str]:
    """Recipes that a word which has been begun could become, for the shell."""
    from weft import api

    return [row["recipe"] for row in api.recipes() if row["recipe"].startswith(incomplete)]


Words = Annotated[
    list[str],
    typer.Argument(
        metavar="RECIPE|FILE... [KEY=VALUE ...]",
        help="Recipes and files, merged left to right, then overrides.",
        autocompletion=_recipes,
    ),
]
RunPath = Annotated[
    Path, typer.Argument(metavar="RUN", help="A run's directory, or its FAMILY/NAME below runs/.")
]
Accept = Annotated[
    str,
    typer.Option(
        "--accept-changes",
        metavar="WHAT,...",
        help="Changes since the run was saved that are meant: config, data, checkpoints.",
    ),
]
Checkpoint = Annotated[
    str | None, typer.Option(help="`best`, `last` or a step; best where there is one.")
]
Root = Annotated[Path, typer.Option(help="Folder that is searched for runs.")]
