"""The arguments that several commands take."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from weft.errors import UsageError


def _recipes(incomplete: str) -> list[str]:
    """Recipes that begin with what was typed, for the shell's completion."""
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
        help="Accept what changed since the run was saved: config, data, checkpoints.",
    ),
]
Checkpoint = Annotated[
    str | None, typer.Option(help="`best`, `last` or a step; by default best where there is one.")
]


def there(root: Path) -> Path:
    """Checks that `root` is a folder, and there; `runs`, where the first run will go, may lack."""
    if root.exists() and not root.is_dir():
        raise UsageError(f"`{root}` is a file", where="--root", expected="a folder of runs")
    if root != Path("runs") and not root.exists():
        from weft.config.explain import suggest

        raise UsageError(
            f"there is no folder `{root}`",
            where="--root",
            expected="a folder of runs",
            hint=suggest(str(root), os.listdir(), ""),
        )
    return root


Root = Annotated[Path, typer.Option(help="Folder that is searched for runs.", callback=there)]
